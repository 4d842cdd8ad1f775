//! What a leader knows by its own clock alone: since when it has missed a machine or kept an old copy.
//!
//! Kept apart from the plan so that the plan has no clock, and in memory only: a new leader starts with its own first
//! look (design §6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{MachineId, UnitName};

use crate::cluster::Cluster;

/// How the engine paces itself. All times are spans of the leader's own clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The agents' TTL: how long a mass loss is watched before anything is moved.
    pub brake_hold: Duration,
    /// Units moved each second after a mass loss.
    pub brake_pace: u32,
    /// How long an old copy is kept for a successor that does not become active.
    pub retain: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            brake_hold: Duration::from_secs(15),
            brake_pace: 10,
            retain: Duration::from_secs(300),
        }
    }
}

/// How many units may be taken off lost machines now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowance {
    /// Any number: an ordinary loss.
    Free,
    /// None before this moment of the leader's clock.
    Held(Duration),
    /// This many; one more each time the given span passes.
    Paced(usize),
}

/// The leader's own observations.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    lost: BTreeMap<MachineId, Duration>,
    retained: BTreeMap<(UnitName, MachineId), Duration>,
    brake: Option<Brake>,
}

#[derive(Debug, Clone)]
struct Brake {
    released: Duration,
    moved: usize,
}

impl Memory {
    /// Takes note of what `cluster` shows at `now`.
    pub fn observe(&mut self, cluster: &Cluster, now: Duration, policy: &Policy) {
        self.lost
            .retain(|id, _| cluster.machines.get(id).is_some_and(|m| m.is_lost()));
        for (id, _) in cluster.machines.iter().filter(|(_, m)| m.is_lost()) {
            self.lost.entry(*id).or_insert(now);
        }
        if is_mass_loss(cluster, self.lost.len()) {
            let last = self.lost.values().max().copied().unwrap_or(now);
            let released = last + policy.brake_hold;
            let brake = self.brake.get_or_insert(Brake { released, moved: 0 });
            if released > brake.released {
                *brake = Brake { released, moved: 0 };
            }
        } else if self.lost.is_empty() {
            // Not before the last lost unit is in safety: the pace holds to the end of the evacuation.
            self.brake = None;
        }
    }

    /// Takes note of which old copies a plan keeps.
    pub fn retain(&mut self, kept: &BTreeSet<(UnitName, MachineId)>, now: Duration) {
        self.retained.retain(|copy, _| kept.contains(copy));
        for copy in kept {
            self.retained.entry(copy.clone()).or_insert(now);
        }
    }

    /// Takes note of units moved off lost machines.
    pub fn moved(&mut self, units: usize) {
        if let Some(brake) = &mut self.brake {
            brake.moved += units;
        }
    }

    /// Since when the copy of `unit` on `machine` has been kept.
    pub(crate) fn retained_since(&self, unit: &UnitName, machine: &MachineId) -> Option<Duration> {
        self.retained.get(&(unit.clone(), *machine)).copied()
    }

    /// Machines that are lost, with the time of this leader's first look.
    pub fn lost(&self) -> impl Iterator<Item = (&MachineId, Duration)> {
        self.lost.iter().map(|(id, since)| (id, *since))
    }

    /// How many units may be moved off lost machines at `now`.
    pub(crate) fn allowance(&self, now: Duration, policy: &Policy) -> Allowance {
        match &self.brake {
            None => Allowance::Free,
            Some(brake) if now < brake.released => Allowance::Held(brake.released),
            Some(brake) => {
                let seconds = (now - brake.released).as_secs_f64();
                // Truncation is meant: whole units only.
                let earned = 1 + (seconds * f64::from(policy.brake_pace)) as usize;
                Allowance::Paced(earned.saturating_sub(brake.moved))
            }
        }
    }
}

/// Two machines or more, and more than a third of all: that is etcd or the network, not the machines.
fn is_mass_loss(cluster: &Cluster, lost: usize) -> bool {
    let all = cluster
        .machines
        .values()
        .filter(|m| m.is_present() || m.is_lost())
        .count();
    lost >= 2 && lost * 3 > all
}
