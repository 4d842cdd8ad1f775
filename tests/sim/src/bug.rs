//! Bugs that we could have made, one rule broken by each, planted at the seams of a healthy product.
//!
//! They prove that the simulator sees: a rule whose violation it cannot find is no rule it checks.

use fleetd::registry::keys::{Key, Keys};
use fleetd::registry::{Change, Op, Precondition, Snapshot, Txn, Watch};

use crate::rules::Rule;
use crate::seam::Role;

/// One planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// The engine removes an unused content without comparing that it is still as it was seen.
    BlindDiscard,
    /// The API writes a change without comparing what it was decided on.
    BlindChange,
    /// The engine writes its decisions without comparing the unit and the presences they were made on.
    BlindDecision,
    /// The agent takes itself for taken in as soon as it is present.
    EagerSeen,
    /// A restarted fleetd has forgotten which registry it believed.
    Credulous,
    /// The engine writes without its fence.
    NoFence,
    /// A stop counts as done when systemd has accepted it.
    HastyStop,
    /// The guard does nothing.
    NoGuard,
    /// A restarted fleetd has forgotten what it started.
    Forgetful,
    /// The agent misses every third change of what it is told.
    DeafWatch,
    /// The engine's removal of unused contents does nothing.
    KeptContent,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::BlindDiscard,
        Self::BlindChange,
        Self::BlindDecision,
        Self::EagerSeen,
        Self::Credulous,
        Self::NoFence,
        Self::HastyStop,
        Self::NoGuard,
        Self::Forgetful,
        Self::DeafWatch,
        Self::KeptContent,
    ];

    /// The rule it breaks.
    pub fn rule(self) -> Rule {
        match self {
            Self::BlindDiscard | Self::BlindChange => Rule::NothingLost,
            Self::BlindDecision => Rule::NoNewViolation,
            Self::EagerSeen | Self::Credulous => Rule::NoStopUnasked,
            Self::NoFence => Rule::NoOldFence,
            Self::HastyStop => Rule::OneCopy,
            Self::NoGuard => Rule::AtMostOnce,
            Self::Forgetful => Rule::StartOnce,
            Self::DeafWatch => Rule::Converges,
            Self::KeptContent => Rule::NoGarbage,
        }
    }

    pub(crate) fn on_commit(self, role: Role, txn: &mut Txn) {
        let keys = Keys::default();
        let speaks_of = |key: &str, wanted: fn(&Key) -> bool| keys.parse(key).as_ref().is_some_and(wanted);
        let mut forget = |wanted: fn(&Key) -> bool| txn.preconditions.retain(|p| !speaks_of(p.key(), wanted));
        match (self, role) {
            (Self::NoFence, Role::Engine) => {
                // The one that takes the key in the first place is not a fence.
                let leader = keys.leader();
                txn.preconditions
                    .retain(|p| !matches!(p, Precondition::Created(key, _) if *key == leader));
            }
            (Self::BlindDiscard, Role::Engine) => forget(|key| matches!(key, Key::Content(_))),
            (Self::BlindDecision, Role::Engine) => {
                forget(|key| matches!(key, Key::Unit(_) | Key::Presence(_)));
            }
            (Self::BlindChange, Role::Api) => txn.preconditions.clear(),
            (Self::KeptContent, Role::Engine) => txn.ops.retain(
                |op| !matches!(op, Op::Delete { key } if speaks_of(key, |key| matches!(key, Key::Content(_)))),
            ),
            _ => {}
        }
    }

    pub(crate) fn on_read(self, role: Role, snapshot: &mut Snapshot) {
        if self != Self::EagerSeen || role != Role::Agent {
            return;
        }
        let keys = Keys::default();
        let presence = snapshot.kvs.iter().find_map(|kv| match keys.parse(&kv.key) {
            Some(Key::Presence(_)) => Some(kv.create_revision),
            _ => None,
        });
        for kv in &mut snapshot.kvs {
            if let (Some(Key::Seen(_)), Some(presence)) = (keys.parse(&kv.key), presence) {
                kv.value = presence.to_string().into_bytes();
            }
        }
    }

    pub(crate) fn on_watch(self, role: Role, mut watch: Watch) -> Watch {
        if self != Self::DeafWatch || role != Role::Agent {
            return watch;
        }
        let (out, deaf) = Watch::channel(64);
        tokio::spawn(async move {
            let mut heard = 0_u64;
            loop {
                let next = tokio::select! {
                    biased;
                    () = out.closed() => return,
                    next = watch.next() => next,
                };
                let is_over = next.is_err();
                heard += 1;
                let missed = heard.is_multiple_of(3)
                    && next
                        .as_ref()
                        .is_ok_and(|b| b.changes.iter().any(|c| matches!(c, Change::Put(_))));
                if !missed && (out.send(next).await.is_err() || is_over) {
                    return;
                }
            }
        });
        deaf
    }
}
