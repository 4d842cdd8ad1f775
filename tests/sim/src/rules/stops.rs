//! Nothing is stopped without an authoritative word.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetd::registry::keys::{Key, Keys};
use fleetd::registry::{Revision, Snapshot};
use units::{Assignment, DesiredState, Hash, MachineId, Phase, Presence, UnitName};

/// One linearizable read of all that concerns a machine, as its agent got it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When it arrived.
    pub at: Duration,
    /// The machine's own present state allows it to be told to stop something: this is the registry it belongs to, and
    /// the engine has taken in the very presence of this boot.
    pub is_word: bool,
    /// What it is told; `None` inside cannot be read.
    pub orders: BTreeMap<UnitName, Option<Assignment>>,
    /// Create revision of the presence that stood there.
    pub presence: Option<Revision>,
}

/// What was started, as far as the registry's history tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its content, if that is known.
    pub hash: Option<Hash>,
    /// Its run.
    pub run: u64,
}

impl Reading {
    /// Reads `snapshot` as machine `id` in boot `boot` must. `is_ours`: it comes from the registry that the machine
    /// belongs to, and from no earlier time of it than one already seen.
    pub fn new(
        at: Duration,
        keys: &Keys,
        id: &MachineId,
        boot: &str,
        is_ours: bool,
        snapshot: &Snapshot,
    ) -> Self {
        let (mut presence, mut seen, mut orders) = (None, None, BTreeMap::new());
        let mut is_our_boot = false;
        for kv in &snapshot.kvs {
            match keys.parse(&kv.key) {
                Some(Key::Presence(m)) if m == *id => {
                    presence = Some(kv.create_revision);
                    is_our_boot =
                        serde_json::from_slice(&kv.value).is_ok_and(|p: Presence| p.boot_id == boot);
                }
                Some(Key::Seen(m)) if m == *id => {
                    seen = std::str::from_utf8(&kv.value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                }
                Some(Key::Assign(m, unit)) if m == *id => {
                    orders.insert(unit, serde_json::from_slice(&kv.value).ok());
                }
                _ => {}
            }
        }
        Self {
            at,
            is_word: is_ours && is_our_boot && presence.is_some() && presence == seen,
            orders,
            presence,
        }
    }

    /// Whether it is a reason to stop what was started of `unit`.
    pub fn ends(&self, unit: &UnitName, started: Option<Started>) -> bool {
        let differs = |order: &Assignment| {
            order.phase == Phase::Release
                || order.desired != DesiredState::Launched
                || started.is_none_or(|s| s.run != order.run || s.hash.is_some_and(|h| h != order.hash))
        };
        self.is_word
            && match self.orders.get(unit) {
                None => true,
                Some(order) => order.as_ref().is_some_and(differs),
            }
    }

    /// Whether it says that the unit does not belong here at all.
    pub fn releases(&self, unit: &UnitName) -> bool {
        let releases = |order: &Option<Assignment>| order.as_ref().is_some_and(|o| o.phase == Phase::Release);
        self.is_word && self.orders.get(unit).is_none_or(releases)
    }
}
