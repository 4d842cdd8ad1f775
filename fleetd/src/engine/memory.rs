//! What a leader knows by its own clock alone: since when it has missed a machine or kept an old copy.
//!
//! Kept apart from the plan so that the plan has no clock, and in memory only: a new leader starts with its own first
//! look (design §6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{MachineId, UnitName};

use crate::cluster::{Cluster, Machine};
use crate::guard;

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
    /// Machines without a sign of life that have something to do, or had until they were evacuated.
    absent: BTreeMap<MachineId, Absence>,
    retained: BTreeMap<(UnitName, MachineId), Duration>,
    brake: Option<Brake>,
    has_looked: bool,
}

#[derive(Debug, Clone)]
struct Absence {
    since: Duration,
    /// It was absent when this leader began: an outage may have hit it like the leader before, and it gets as long to
    /// come back as a machine has that falls silent now.
    grace: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Brake {
    released: Duration,
    moved: usize,
}

impl Memory {
    /// Takes note of what `cluster` shows at `now`.
    pub fn observe(&mut self, cluster: &Cluster, now: Duration, policy: &Policy) {
        let is_absent = |m: &Machine| !m.is_present() && !m.has_left();
        self.absent
            .retain(|id, _| cluster.machines.get(id).is_some_and(is_absent));
        let grace = (!self.has_looked).then_some(now + policy.brake_hold);
        self.has_looked = true;
        for (id, _) in cluster.machines.iter().filter(|(_, m)| m.is_lost()) {
            self.absent.entry(*id).or_insert(Absence { since: now, grace });
        }
        // The leases of machines that were cut off together end one after the other, and the first may be evacuated
        // by the time the last is missed: it counts all the same.
        let recent: Vec<Duration> = self
            .absent
            .values()
            .map(|a| a.since)
            .filter(|since| now < *since + policy.brake_hold)
            .collect();
        let present = cluster.machines.values().filter(|m| m.is_present()).count();
        if is_mass_loss(recent.len(), present) {
            let last = recent.into_iter().max().unwrap_or(now);
            let released = last + policy.brake_hold;
            let brake = self.brake.get_or_insert(Brake { released, moved: 0 });
            if released > brake.released {
                *brake = Brake { released, moved: 0 };
            }
        } else if !cluster.machines.values().any(Machine::is_lost) {
            // Not before the last lost unit is in safety: the pace holds to the end of the evacuation.
            self.brake = None;
        }
    }

    /// Whether time alone changes what is known: machines are missed, or were too many at once. If not, there is nothing
    /// to observe until machines change.
    pub(super) fn watches(&self) -> bool {
        !self.absent.is_empty() || self.brake.is_some()
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

    /// How many machines are missed.
    pub fn absent(&self) -> usize {
        self.absent.len()
    }

    /// Until when a machine that was missing from the beginning is given time to come back, if that is not over.
    pub(crate) fn grace(&self, machine: &MachineId, now: Duration) -> Option<Duration> {
        self.absent.get(machine)?.grace.filter(|until| now < *until)
    }

    /// Machines out of sight that may still be busy ending their units with `OnDisconnect=stop`, and until when: they
    /// have [`guard::bound`] from this leader's first sight of the loss (design §6).
    pub(crate) fn ending(
        &self,
        cluster: &Cluster,
        now: Duration,
        policy: &Policy,
    ) -> BTreeMap<MachineId, Duration> {
        let ttl = |id: &MachineId| {
            let record = cluster.machines.get(id)?.record.as_ref()?;
            (record.value.ttl > 0).then(|| Duration::from_secs(record.value.ttl))
        };
        let until = |(id, absence): (&MachineId, &Absence)| {
            let bound = guard::bound(ttl(id).unwrap_or(policy.brake_hold));
            (*id, absence.since + bound)
        };
        self.absent
            .iter()
            .map(until)
            .filter(|(_, until)| now < *until)
            .collect()
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
fn is_mass_loss(absent: usize, present: usize) -> bool {
    absent >= 2 && absent * 3 > absent + present
}
