//! Waiting for the cluster to do what was asked of it.
//!
//! [`Watched`] is what is known of a unit, folded from the event stream; [`progress`] says how far that is from a
//! [`Goal`]. Both are pure. [`Follower`] keeps the fold up to date over broken connections, and [`Waiter`] waits.

mod follower;
mod progress;
#[cfg(test)]
mod tests;
mod waiter;

use std::collections::BTreeMap;

use units::{DesiredState, Event, Hash, MachineId, Placement, State, UnitName, UnitRecord, Verdict};

pub use follower::Follower;
pub use progress::{Progress, progress};
pub use waiter::{Patience, Waiter};

/// Everything that is known of one unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// What is wanted of it; `None` if there is no such unit.
    pub unit: Option<UnitRecord>,
    /// Revision of the last change of that, up to which the rest is compared.
    pub generation: i64,
    /// The revision at which `unit` was last known to stand so.
    pub seen: i64,
    /// It runs on every machine that fits.
    pub global: bool,
    /// Where it belongs.
    pub placement: Option<Placement>,
    /// Why it has no place.
    pub verdict: Option<Verdict>,
    /// What each machine says of it.
    pub states: BTreeMap<MachineId, State>,
}

impl Watched {
    /// Takes in an event about this unit.
    pub fn apply(&mut self, revision: i64, event: Event) {
        match event {
            Event::Unit {
                unit,
                generation,
                global,
                ..
            } => {
                self.seen = self.seen.max(revision);
                self.generation = generation;
                self.global = global;
                self.unit = unit;
            }
            Event::Placement { placement, .. } => self.placement = placement,
            Event::Verdict { verdict, .. } => self.verdict = verdict,
            Event::State { machine, state, .. } => match state {
                Some(state) => drop(self.states.insert(machine, state)),
                None => drop(self.states.remove(&machine)),
            },
            Event::Current { revision } => self.seen = self.seen.max(revision),
        }
    }

    /// The machine it belongs on, and what that says of it.
    pub fn placed(&self) -> Option<(MachineId, Option<&State>)> {
        let machine = self.placement.as_ref()?.machine;
        Some((machine, self.states.get(&machine)))
    }

    /// What the machine it belongs on says of it, if that is about what is wanted now.
    pub fn present_state(&self) -> Option<&State> {
        let (_, state) = self.placed()?;
        state.filter(|state| state.generation >= self.generation)
    }
}

/// How far a unit shall get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// On no machine.
    Inactive,
    /// On its machine, and not started.
    Loaded,
    /// Not running, on its machine or for want of one.
    Stopped,
    /// Started on its machine.
    Launched,
    /// Active after that, or finished well.
    Running,
    /// Unknown to the cluster, and on no machine.
    Gone,
}

impl What {
    /// What the registry must say for this to come.
    fn desired(self) -> Option<DesiredState> {
        match self {
            Self::Inactive => Some(DesiredState::Inactive),
            Self::Loaded | Self::Stopped => Some(DesiredState::Loaded),
            Self::Launched | Self::Running => Some(DesiredState::Launched),
            Self::Gone => None,
        }
    }

    /// fleet's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Loaded | Self::Stopped => "loaded",
            Self::Launched => "launched",
            Self::Running => "active",
            Self::Gone => "gone",
        }
    }
}

/// What is waited for, for one unit.
///
/// The state of a machine counts once it speaks of the generation of the *record that answers the goal*, not simply of
/// a revision: a change that turned out to be none, because somebody else made it first, makes no generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The unit.
    pub unit: UnitName,
    /// How far it shall get.
    pub what: What,
    /// The revision our change made. A later one that wants something else means that somebody else changed it.
    pub revision: i64,
    /// The content it must have, if we said so.
    pub hash: Option<Hash>,
    /// The run counter it must have reached.
    pub run: u64,
}

impl Goal {
    /// Whether that record is what we asked for.
    fn is_asked_by(&self, record: &UnitRecord) -> bool {
        self.what
            .desired()
            .is_none_or(|desired| record.desired == desired)
            && self.hash.is_none_or(|hash| record.hash == hash)
            && record.run >= self.run
    }
}
