//! How far a unit is from a goal.

use units::{Hold, State, Verdict};

use super::{Goal, Watched, What};
use crate::api::Addresses;
use crate::text::{self, Outcome};

/// How far a unit is from a goal.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Not there yet; says what is missing, to follow "waiting for".
    Waiting(String),
    /// No machine can hold it, for as long as nothing else changes.
    Unplaceable(Verdict),
    /// There; fleet's line for it.
    Reached(String),
    /// It will not get there by itself; says why.
    Failed(String),
}

use Progress::{Failed, Reached, Unplaceable, Waiting};

/// How far `watched` is from `goal`.
pub fn progress(goal: &Goal, watched: &Watched, addresses: &Addresses) -> Progress {
    let name = &goal.unit;
    if goal.what == What::Gone {
        // Created anew by somebody else, it is another unit.
        let is_ours = watched.unit.is_some() && watched.generation <= goal.revision;
        return match is_ours {
            true => Waiting("the registry to confirm".to_owned()),
            false => let_go(watched, addresses).map_or_else(|| Reached(format!("Destroyed {name}")), Waiting),
        };
    }
    match &watched.unit {
        Some(record) if goal.is_asked_by(record) => {}
        Some(record) if watched.generation > goal.revision => {
            return Failed(format!(
                "Unit {name} was changed by somebody else meanwhile: its desired state is {}, its content {}",
                record.desired,
                record.hash.short()
            ));
        }
        None if watched.seen > goal.revision => {
            return Failed(format!("Unit {name} was destroyed by somebody else meanwhile"));
        }
        _ => return Waiting("the registry to confirm".to_owned()),
    }
    match goal.what {
        What::Inactive => match watched.placement {
            None => {
                let_go(watched, addresses).map_or_else(|| Reached(format!("Unit {name} inactive")), Waiting)
            }
            Some(_) => {
                Waiting(let_go(watched, addresses).unwrap_or_else(|| "the engine to take it back".to_owned()))
            }
        },
        // Nothing starts it now, and nothing runs.
        What::Stopped if watched.placement.is_none() => {
            let_go(watched, addresses).map_or_else(|| Reached(format!("Unit {name} loaded")), Waiting)
        }
        _ => on_its_machine(goal, watched, addresses),
    }
}

/// What still keeps the unit on some machine, if anything.
fn let_go(watched: &Watched, addresses: &Addresses) -> Option<String> {
    let mut holders = watched
        .states
        .iter()
        .filter(|(_, state)| state.hold == Hold::Held);
    if let Some((machine, state)) = holders.next() {
        let machine = text::known_machine(machine, addresses);
        let obstacle = state.problem.as_ref().map(|problem| format!(": {problem}"));
        return Some(format!(
            "{machine} to let go of it{}",
            obstacle.unwrap_or_default()
        ));
    }
    let machine = watched.placement.as_ref()?.machine;
    Some(format!(
        "{} to let go of it",
        text::known_machine(&machine, addresses)
    ))
}

fn on_its_machine(goal: &Goal, watched: &Watched, addresses: &Addresses) -> Progress {
    let name = &goal.unit;
    let Some((machine, state)) = watched.placed() else {
        return match &watched.verdict {
            Some(verdict) if verdict.generation < watched.generation => Waiting("a place".to_owned()),
            Some(verdict) if verdict.passing => Waiting(format!("a place: {}", verdict.summary)),
            Some(verdict) => Unplaceable(verdict.clone()),
            None => Waiting(let_go(watched, addresses).unwrap_or_else(|| "a place".to_owned())),
        };
    };
    let place = text::known_machine(&machine, addresses);
    let todo = match goal.what {
        What::Loaded => "load",
        What::Stopped => "stop",
        What::Launched | What::Running | What::Inactive | What::Gone => "start",
    };
    let waiting = || match state.filter(|state| state.hold == Hold::Held && !state.active.is_empty()) {
        Some(state) => Waiting(format!("{place} to {todo} it: {}", text::systemd(state))),
        None => Waiting(format!("{place} to {todo} it")),
    };
    // Its last word on this unit may be about an earlier wish.
    let is_answer =
        |state: &&State| state.generation >= watched.generation || state.assignment > watched.generation;
    let Some(state) = state.filter(is_answer) else {
        return waiting();
    };
    match state.hold {
        Hold::Gone => return waiting(),
        // The engine looks for another machine now, or says that there is none.
        Hold::Refused => {
            let problem = state.problem.as_deref().unwrap_or("it gives no reason");
            return Waiting(format!("another place: {place} refused it: {problem}"));
        }
        Hold::Held => {}
    }
    if let Some(problem) = &state.problem {
        return Failed(match state.active.as_str() {
            "failed" => format!(
                "Unit {name} failed on {place}: {problem}; systemd says {}",
                text::systemd(state)
            ),
            _ => format!("Unit {name} is in trouble on {place}: {problem}"),
        });
    }
    if state.generation < watched.generation {
        return waiting();
    }
    match goal.what {
        What::Loaded | What::Stopped => loaded(goal, state, &place).unwrap_or_else(waiting),
        What::Launched if state.started => Reached(format!("Unit {name} launched on {place}")),
        What::Running if state.started => running(goal, state, &place).unwrap_or_else(waiting),
        _ => waiting(),
    }
}

/// `None`: not yet.
fn loaded(goal: &Goal, state: &State, place: &str) -> Option<Progress> {
    let name = &goal.unit;
    let is_stopped = match goal.what {
        What::Stopped => matches!(state.active.as_str(), "inactive" | "failed" | ""),
        // Another unit, or a socket, may have it started all the same: that is between them and systemd.
        _ => state.active != "deactivating",
    };
    if state.started || !is_stopped {
        return None;
    }
    Some(match state.load.as_str() {
        // Of what is to be stopped nothing runs, whatever else there is to say of its file.
        wrong @ ("bad-setting" | "error" | "masked") if goal.what == What::Loaded => Failed(format!(
            "Unit {name} cannot be loaded on {place}: systemd says {wrong}"
        )),
        _ => Reached(format!("Unit {name} loaded on {place}")),
    })
}

/// `None`: not yet.
fn running(goal: &Goal, state: &State, place: &str) -> Option<Progress> {
    let failed = |more: &str| {
        let words = text::systemd(state);
        Some(Failed(format!(
            "Unit {} failed on {place}: systemd says {words}{more}",
            goal.unit
        )))
    };
    match state.active.as_str() {
        "active" | "reloading" | "refreshing" => Some(Reached(String::new())),
        "inactive" if state.has_succeeded() => Some(Reached(String::new())),
        "inactive" | "failed" => failed(""),
        // Its first start has failed; whether one of the next does better nobody knows.
        "activating" if state.sub.starts_with("auto-restart") => failed("; it will try again"),
        _ => None,
    }
}
