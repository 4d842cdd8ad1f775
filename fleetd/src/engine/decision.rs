//! What the engine decides, and the one transaction that each decision is.

use std::collections::BTreeMap;

use units::{Assignment, Hash, MachineId, Placement, UnitName, Verdict};

use crate::cluster::Cluster;
use crate::registry::{Precondition, Revision, Txn};

/// One thing to write. Each is a transaction of its own. Those for units come first, and may be applied in any order;
/// the others are applied after them, in the order of the plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Everything about one unit that has to change, together.
    Unit(Decision),
    /// The machine's presence has been looked at, with every copy it brought: from here on its agent may take a missing
    /// assignment for an order to stop.
    TakeIn {
        /// The machine.
        machine: MachineId,
        /// Create revision of the presence.
        presence: Revision,
    },
    /// No unit refers to this content.
    Discard {
        /// Its name.
        hash: Hash,
        /// The revision at which it was seen unused: a put since then saves it.
        modified: Revision,
    },
}

/// The new state of one unit in the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The unit.
    pub unit: UnitName,
    /// Where it belongs.
    pub schedule: Change<Placement>,
    /// What machines are told; machines not named are told nothing new.
    pub assigns: BTreeMap<MachineId, Change<Assignment>>,
    /// Why it has no place.
    pub verdict: Change<Verdict>,
    /// Why all this, for the log.
    pub reason: String,
    /// It takes a unit off a machine that is out of sight: such moves are paced after a mass loss.
    pub is_rescue: bool,
}

/// What happens to one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T> {
    /// It stays as it is.
    Keep,
    /// It becomes this.
    Set(T),
    /// It goes.
    Clear,
}

impl<T> Change<T> {
    pub(crate) fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// Machines that one transaction can speak to: each costs two compares, and etcd takes 128.
const MACHINES_AT_ONCE: usize = 60;

impl Decision {
    /// In parts that fit a transaction each. Only a Global unit speaks to many machines, and its copies do not depend
    /// on one another.
    pub(crate) fn split(mut self) -> Vec<Self> {
        let mut parts = Vec::new();
        while self.assigns.len() > MACHINES_AT_ONCE {
            let Some(at) = self.assigns.keys().nth(MACHINES_AT_ONCE).cloned() else {
                break;
            };
            let rest = self.assigns.split_off(&at);
            let rest = Self {
                assigns: rest,
                schedule: Change::Keep,
                verdict: Change::Keep,
                ..self.clone()
            };
            parts.push(std::mem::replace(&mut self, rest));
        }
        parts.push(self);
        parts
    }

    /// What it tells machines and readers, in short words for a log.
    pub(crate) fn orders(&self) -> impl Iterator<Item = String> {
        let place = match &self.schedule {
            Change::Keep => None,
            Change::Set(placement) => Some(format!("place on {}", placement.machine.short())),
            Change::Clear => Some("no place".to_owned()),
        };
        let verdict = match &self.verdict {
            Change::Set(_) => Some("verdict".to_owned()),
            Change::Keep | Change::Clear => None,
        };
        let orders = self.assigns.iter().filter_map(|(id, change)| match change {
            Change::Keep => None,
            Change::Set(order) => Some(format!("{} on {}", order.phase, id.short())),
            Change::Clear => Some(format!("nothing more on {}", id.short())),
        });
        place.into_iter().chain(orders).chain(verdict)
    }

    /// Whether anything would be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.schedule.is_keep() && self.verdict.is_keep() && self.assigns.values().all(Change::is_keep)
    }
}

impl Step {
    /// The transaction, without the leader's fence: it compares every revision the decision was made on, so that it
    /// fails in etcd if the unit, a presence or an earlier decision has changed since.
    pub fn transaction(&self, cluster: &Cluster) -> Txn {
        let keys = cluster.keys();
        match self {
            Self::Unit(decision) => decision.transaction(cluster),
            Self::TakeIn { machine, presence } => Txn::new()
                .when(Precondition::Created(keys.presence(machine), *presence))
                .put(keys.seen(machine), presence.to_string()),
            Self::Discard { hash, modified } => {
                let key = keys.content(hash);
                Txn::new()
                    .when(Precondition::Unchanged(key.clone(), *modified))
                    .delete(key)
            }
        }
    }
}

impl Decision {
    fn transaction(&self, cluster: &Cluster) -> Txn {
        let keys = cluster.keys();
        let mut txn = Txn::new().when(match cluster.units.get(&self.unit) {
            Some(unit) => Precondition::Unchanged(keys.unit(&self.unit), unit.generation),
            None => Precondition::Absent(keys.unit(&self.unit)),
        });

        let key = keys.schedule(&self.unit);
        let before = cluster.schedule.get(&self.unit).map(|e| e.modified);
        txn = write(txn, key, before, &self.schedule);

        for (id, change) in &self.assigns {
            if change.is_keep() {
                continue;
            }
            let machine = cluster.machines.get(id);
            // Whether the machine is there was part of every such decision: a new order needs somebody to take it, and
            // an order is only withdrawn unanswered from a machine that is out of sight.
            txn = txn.when(match machine.and_then(|m| m.presence.as_ref()) {
                Some(presence) => Precondition::Created(keys.presence(id), presence.created),
                None => Precondition::Absent(keys.presence(id)),
            });
            let before = machine
                .and_then(|m| m.assignments.get(&self.unit))
                .map(|e| e.modified);
            txn = write(txn, keys.assign(id, &self.unit), before, change);
        }

        let key = keys.verdict(&self.unit);
        let before = cluster.verdicts.get(&self.unit).map(|e| e.modified);
        write(txn, key, before, &self.verdict)
    }
}

fn write<T: serde::Serialize>(txn: Txn, key: String, before: Option<Revision>, change: &Change<T>) -> Txn {
    if change.is_keep() {
        return txn;
    }
    let txn = txn.when(match before {
        Some(revision) => Precondition::Unchanged(key.clone(), revision),
        None => Precondition::Absent(key.clone()),
    });
    match change {
        Change::Set(value) => txn.put(key, crate::registry::encode(value)),
        Change::Clear | Change::Keep => txn.delete(key),
    }
}
