//! Copies of a unit on machines where it does not belong: a machine that was out of sight has come back with them.
//!
//! Design §6, "Machine back": the old copy runs on until its successor is active, so that a cut that heals costs no
//! service a second time; if the successor never came up, the unit moves back to where it has been running all along.

use std::time::Duration;

use units::{Assignment, DesiredState, Hold, MachineId, OnDisconnect, Phase, State, UnitName, UnitRecord};

use super::filter::Rejection;
use crate::cluster::{Cluster, Entry, Machine};
use crate::registry::Revision;

/// What becomes of an old copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It ends, for this reason.
    Release(String),
    /// The unit belongs there again, for this reason.
    MoveBack(String),
    /// It goes on until there is more to see.
    Keep,
}

/// The copy of `unit` that an agent brought along and that no order speaks of.
///
/// Only on machines not taken in yet: on others a missing order is the order to let go.
pub(crate) fn stray<'a>(machine: &'a Machine, unit: &UnitName) -> Option<&'a Entry<State>> {
    if !machine.is_present() || machine.is_taken_in() || machine.assignments.contains_key(unit) {
        return None;
    }
    machine
        .states
        .get(unit)
        .filter(|s| s.value.hold == Hold::Held && s.value.hash.is_some())
}

/// The order that changes nothing about a copy.
pub(crate) fn as_it_is(state: &State, on_disconnect: OnDisconnect) -> Assignment {
    Assignment {
        generation: state.generation,
        run: state.run,
        hash: state.hash.unwrap_or_else(|| units::UnitFile::default().hash()),
        desired: if state.started {
            DesiredState::Launched
        } else {
            DesiredState::Loaded
        },
        phase: Phase::Run,
        on_disconnect,
    }
}

/// Decides about the copy of `unit` on `here`, a present machine that is not the unit's home.
///
/// `rejection` says which filter `here` does not pass, `kept` how long this leader has kept the copy already.
pub(crate) fn fate(
    cluster: &Cluster,
    unit: &UnitName,
    record: &UnitRecord,
    here: &MachineId,
    rejection: Option<&Rejection>,
    kept: Duration,
    limit: Duration,
) -> Fate {
    let generation = cluster.units.get(unit).map_or(0, |u| u.generation);
    let home = cluster
        .home(unit)
        .and_then(|id| cluster.machines.get_key_value(id));
    let successor = home
        .filter(|(_, m)| m.is_present())
        .and_then(|(_, m)| m.states.get(unit));
    let old = cluster.machines.get(here).and_then(|m| m.states.get(unit));
    // A copy that runs where it would not be placed any more still does its work until there is another. Not so one
    // that must not be beside what is there now, or whose machine is going anyway.
    let content = old.and_then(|s| s.value.hash);
    let of_copy = content.map(|hash| cluster.on_disconnect_of(unit, &hash));
    if [Some(cluster.on_disconnect(unit)), of_copy].contains(&Some(OnDisconnect::Stop)) {
        return Fate::Release("it must not run on two machines".to_owned());
    }
    use Rejection::{Conflict, DomainConflict, Leaving, NameClash};
    if let Some(reason @ (Conflict { .. } | DomainConflict { .. } | Leaving | NameClash(_))) = rejection {
        return Fate::Release(format!("the machine it came back with {reason}"));
    }
    if successor.is_some_and(|s| has_come_up(&s.value, record, generation)) {
        return Fate::Release("its successor is active".to_owned());
    }
    if rejection.is_none() && old.is_some_and(|s| is_healthy(&s.value, record)) {
        return Fate::MoveBack("still runs there, and its successor had not come up".to_owned());
    }
    if kept >= limit {
        return Fate::Release(format!(
            "its successor did not come up within {} s",
            limit.as_secs()
        ));
    }
    Fate::Keep
}

/// The new copy is what the owner wants: active, or come to its end by itself.
fn has_come_up(state: &State, record: &UnitRecord, generation: Revision) -> bool {
    let current = state.generation >= generation && state.hash.as_ref() == Some(&record.hash);
    let up = match record.desired {
        DesiredState::Launched => state.started && (state.active == "active" || state.ended()),
        DesiredState::Loaded | DesiredState::Inactive => true,
    };
    state.hold == Hold::Held && current && up
}

/// The old copy is as good as a new one. One that would have to be started again is not: the successor may still run.
fn is_healthy(state: &State, record: &UnitRecord) -> bool {
    let runs = state.started && state.active == "active" && state.run == record.run;
    let up = record.desired != DesiredState::Launched || runs;
    state.hold == Hold::Held && state.hash.as_ref() == Some(&record.hash) && up
}
