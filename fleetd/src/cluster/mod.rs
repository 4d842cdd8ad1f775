//! What the cluster looks like at one revision: machines, units, placements, states.
//!
//! Pure: [`Cluster`] is built from a read of the registry and moved on by folding observed changes into it. It never
//! fails on what somebody else wrote: a value that cannot be read is kept as unreadable, so that the engine leaves
//! alone what it does not understand instead of taking it for absent (design §1, law 1).

mod fold;
pub mod invariants;
#[cfg(test)]
mod tests;
mod touched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use units::{
    Assignment, Hash, Hold, MachineId, MachineRecord, Metadata, OnDisconnect, Phase, Placement, Presence,
    Requirements, State, UnitFile, UnitName, UnitRecord, Verdict,
};

use crate::registry::Revision;
use crate::registry::keys::Keys;

pub use touched::Touched;

/// A value with the revisions of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// What it holds.
    pub value: T,
    /// When the key came into being.
    pub created: Revision,
    /// When it last changed.
    pub modified: Revision,
}

/// The whole cluster at [`Cluster::revision`].
#[derive(Debug, Clone)]
pub struct Cluster {
    keys: Keys,
    /// The revision everything here holds at.
    pub revision: Revision,
    /// The cluster's uuid.
    pub uuid: Option<String>,
    /// Clusters of which some machine has seen a later revision than there is now, with that revision.
    pub doubted: BTreeMap<String, Revision>,
    /// Machines are being waited for after a recovery: nothing is to be decided before they are in.
    pub is_recovering: bool,
    /// Units by name.
    pub units: BTreeMap<UnitName, Unit>,
    /// Unit texts by hash.
    pub contents: BTreeMap<Hash, Content>,
    /// Units by the content that their record names, whether it is there or not; none without a unit.
    users: BTreeMap<Hash, BTreeSet<UnitName>>,
    /// Machines by the units that they were told of or say something about, in order; none without a machine.
    places: BTreeMap<UnitName, Vec<MachineId>>,
    /// Where non-global units belong; `None` inside is a record that cannot be read.
    pub schedule: BTreeMap<UnitName, Entry<Option<Placement>>>,
    /// Why units have no place; `None` inside is a record that cannot be read.
    pub verdicts: BTreeMap<UnitName, Entry<Option<Verdict>>>,
    /// Machines by id: those with a record, a presence, assignments or states.
    pub machines: BTreeMap<MachineId, Machine>,
}

/// A unit as its owner wants it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Revision of its record.
    pub generation: Revision,
    /// The record, or why it cannot be read.
    pub record: Result<UnitRecord, String>,
    /// What its content asks of a machine, or why that is not known.
    pub requirements: Result<Arc<Requirements>, String>,
}

impl Unit {
    /// What a machine that is to hold the unit is told, by its record and what its content asks for.
    pub fn order(&self, record: &UnitRecord, requirements: &Requirements) -> Assignment {
        Assignment {
            generation: self.generation,
            run: record.run,
            hash: record.hash,
            desired: record.desired,
            phase: Phase::Run,
            on_disconnect: requirements.on_disconnect,
        }
    }
}

/// A text that units refer to.
#[derive(Debug, Clone)]
pub struct Content {
    /// Revision of its last put.
    pub modified: Revision,
    /// Its `[X-Fleet]` section, or why the text cannot be read. The rest is for the machine that runs the unit: of many
    /// units with a text of their own it would be the most that a leader holds in memory.
    pub file: Result<Arc<UnitFile>, String>,
}

/// A machine, present or remembered.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// What the cluster remembers of it.
    pub record: Option<Entry<MachineRecord>>,
    /// Its record is there and cannot be read: nothing is known of its metadata.
    pub is_unreadable: bool,
    /// Metadata that units are matched against.
    pub metadata: Metadata,
    /// Its sign of life.
    pub presence: Option<Entry<Presence>>,
    /// The presence that the engine has taken in, by its create revision.
    pub seen: Option<Entry<Revision>>,
    /// What it has been told; `None` inside is a record that cannot be read.
    pub assignments: BTreeMap<UnitName, Entry<Option<Assignment>>>,
    /// What it says.
    pub states: BTreeMap<UnitName, Entry<State>>,
    /// Units of which it says something that cannot be read.
    pub unreadable_states: BTreeSet<UnitName>,
}

impl Machine {
    /// It lives: its lease holds.
    pub fn is_present(&self) -> bool {
        self.presence.is_some()
    }

    /// New units may go there.
    pub fn is_open(&self) -> bool {
        self.presence.as_ref().is_some_and(|p| !p.value.leaving)
    }

    /// It left in an orderly way: nothing runs there, and nothing is expected back.
    pub fn has_left(&self) -> bool {
        self.presence.is_none() && self.record.as_ref().is_some_and(|r| r.value.left)
    }

    /// It has something to do and shows no sign of life (design §6, "Machine lost").
    pub fn is_lost(&self) -> bool {
        self.presence.is_none() && !self.has_left() && !self.assignments.is_empty()
    }

    /// The engine has taken in the presence it has now.
    pub fn is_taken_in(&self) -> bool {
        match (&self.presence, &self.seen) {
            (Some(p), Some(s)) => s.value == p.created,
            _ => false,
        }
    }

    /// Its address, empty if it has none.
    pub fn address(&self) -> &str {
        self.record.as_ref().map_or("", |r| r.value.address.as_str())
    }

    /// The readable assignment of `unit`, if there is one.
    pub fn assignment(&self, unit: &UnitName) -> Option<&Assignment> {
        self.assignments.get(unit)?.value.as_ref()
    }

    /// Whether the machine has answered the present assignment of `unit` with `hold`.
    pub fn answers(&self, unit: &UnitName, hold: Hold) -> bool {
        match (self.assignments.get(unit), self.states.get(unit)) {
            (Some(a), Some(s)) => s.value.hold == hold && s.value.assignment == a.modified,
            _ => false,
        }
    }

    /// Whether the machine is to let go of `unit`.
    pub fn is_releasing(&self, unit: &UnitName) -> bool {
        self.assignment(unit).is_some_and(|a| a.phase == Phase::Release)
    }

    fn is_forgotten(&self) -> bool {
        self.record.is_none()
            && !self.is_unreadable
            && self.presence.is_none()
            && self.seen.is_none()
            && self.assignments.is_empty()
            && self.states.is_empty()
            && self.unreadable_states.is_empty()
    }
}

impl Cluster {
    /// The layout it is read with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Machines that live, in order of their ids.
    pub fn present(&self) -> impl Iterator<Item = (&MachineId, &Machine)> {
        self.machines.iter().filter(|(_, m)| m.is_present())
    }

    /// Machines that have been told of `unit` or say something about it, by id.
    pub fn places(&self, unit: &UnitName) -> &[MachineId] {
        self.places.get(unit).map_or(&[], Vec::as_slice)
    }

    /// Every unit that a machine has been told of or says something about.
    pub fn placed_units(&self) -> impl Iterator<Item = &UnitName> {
        self.places.keys()
    }

    /// Whether some unit refers to this content.
    pub fn is_used(&self, content: &Hash) -> bool {
        self.users.contains_key(content)
    }

    /// What `unit` asks for when its machine loses the cluster; `keep` if that is not known.
    pub fn on_disconnect(&self, unit: &UnitName) -> OnDisconnect {
        let requirements = self.units.get(unit).and_then(|u| u.requirements.as_ref().ok());
        requirements.map(|r| r.on_disconnect).unwrap_or_default()
    }

    /// What a copy of `unit` with that content asks for, whatever its owner wants by now; `keep` if that is not known.
    pub fn on_disconnect_of(&self, unit: &UnitName, content: &Hash) -> OnDisconnect {
        let file = self.contents.get(content).and_then(|c| c.file.as_ref().ok());
        let asked = file.and_then(|file| Requirements::parse(unit, file).ok());
        asked.map(|asked| asked.on_disconnect).unwrap_or_default()
    }

    /// The machine that `unit` belongs to.
    pub fn home(&self, unit: &UnitName) -> Option<&MachineId> {
        self.schedule.get(unit)?.value.as_ref().map(|p| &p.machine)
    }
}
