//! The agent's plan for one unit: from what is wanted and what is there to the steps between, with a reason.
//!
//! Pure. Units do not depend on one another here: a step that fails, or takes long, concerns its own unit. What the
//! plan is made from is read again before each plan, so a plan that was cut short is simply made again.

use units::{Assignment, DesiredState, Hash, OnDisconnect, Phase};

use super::local::{Held, Started};
use crate::init::Status;

/// What the registry says should become of a unit on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Have it, in the state that is desired.
    Run(Assignment),
    /// Let go of it: said by an assignment, or by there being none.
    Release,
    /// Leave it exactly as it is: the registry could not be asked, or is not to be believed, or says something that
    /// cannot be read. Only a fresh and authoritative word may stop a unit (design §1, law 1).
    Keep,
}

/// One thing to do. Steps are done in order; if one fails the rest is not done, and the plan is made again later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Get the text from the registry, before anything is touched.
    Fetch(Hash),
    /// Make sure that the name is nobody else's on this machine.
    Claim,
    /// Take back its `[Install]`.
    Disable,
    /// Stop it and wait until it has stopped.
    Stop,
    /// Write the fetched text, as not started.
    Write {
        /// For which generation.
        generation: i64,
        /// For which run.
        run: u64,
    },
    /// Have systemd know the file.
    Link,
    /// Have systemd read its files again: it holds an older version of this one.
    Reload,
    /// Remember that systemd knows the file as it is now.
    Installed,
    /// Put its `[Install]` in force, if it has one.
    Enable,
    /// Have the guard look after it: it must not run where the cluster cannot see it.
    Guard,
    /// Start it and wait how that comes out.
    Start {
        /// For which generation.
        generation: i64,
        /// For which run.
        run: u64,
    },
    /// It is in the wanted state already: remember for which generation and run.
    Note {
        /// For which generation.
        generation: i64,
        /// For which run.
        run: u64,
        /// Whether it counts as started.
        started: bool,
    },
    /// Clear a failure, so that systemd can forget the unit.
    ResetFailed,
    /// Take the file out of systemd's sight and remove it.
    Remove,
}

/// What to do about one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order. Empty if all is as it should be.
    pub steps: Vec<Step>,
    /// Why, for the log.
    pub reason: &'static str,
}

impl Plan {
    fn nothing() -> Self {
        Self::default()
    }
}

/// Plans one unit. `held` is what this machine has of it, `status` what systemd says of its name.
pub fn plan(order: &Order, held: Option<&Held>, status: &Status) -> Plan {
    match (order, held) {
        (Order::Keep, _) | (Order::Release, None) => Plan::nothing(),
        (Order::Release, Some(held)) => release(held, status),
        (Order::Run(wanted), _) if wanted.phase == Phase::Release => plan(&Order::Release, held, status),
        (Order::Run(wanted), Some(held)) if held.hash == Some(wanted.hash) => advance(wanted, held, status),
        (Order::Run(wanted), held) => install(wanted, held, status),
    }
}

fn release(held: &Held, status: &Status) -> Plan {
    let mut steps = Vec::new();
    quieten(&mut steps, held, status);
    steps.push(Step::ResetFailed);
    steps.push(Step::Remove);
    Plan {
        steps,
        reason: "the unit no longer belongs on this machine",
    }
}

/// New content, over an older one or none.
fn install(wanted: &Assignment, held: Option<&Held>, status: &Status) -> Plan {
    let mut steps = vec![Step::Fetch(wanted.hash), Step::Claim];
    if let Some(held) = held {
        quieten(&mut steps, held, status);
    }
    let (generation, run) = (wanted.generation, wanted.run);
    steps.push(Step::Write { generation, run });
    steps.push(Step::Link);
    // systemd reads the file of a name it does not hold when the name is first used; only what it holds is stale.
    if status.load != "not-found" {
        steps.push(Step::Reload);
    }
    steps.push(Step::Installed);
    if wanted.desired == DesiredState::Launched {
        steps.push(Step::Enable);
        start(&mut steps, wanted);
    }
    let reason = if held.is_some() {
        "the unit's content changed"
    } else {
        "the unit was assigned to this machine"
    };
    Plan { steps, reason }
}

/// The same content: on to the desired state.
fn advance(wanted: &Assignment, held: &Held, status: &Status) -> Plan {
    let (generation, run) = (wanted.generation, wanted.run);
    let record = &held.record;
    let current = record.generation == generation && record.run == run;
    if !record.installed {
        // Written, and then something came between: systemd may not know the file, or know an older one.
        let steps = vec![Step::Link, Step::Reload, Step::Installed];
        return Plan {
            steps,
            reason: "the unit's file was written and systemd not told",
        };
    }
    match (wanted.desired, record.started) {
        (DesiredState::Launched, Started::Yes) if current => Plan::nothing(),
        // Asked for, then fleetd died. Any sign of a run means that systemd had accepted.
        (DesiredState::Launched, Started::Asked) if shows_a_run(status) => {
            let reason = "the start issued before fleetd was restarted had been accepted";
            // For what it was issued, that is; by now another run may be wanted.
            let (generation, run) = match record.generation {
                0 => (generation, run),
                known => (known, record.run),
            };
            Plan {
                steps: vec![Step::Note {
                    generation,
                    run,
                    started: true,
                }],
                reason,
            }
        }
        (DesiredState::Launched, before) => {
            let mut steps = Vec::new();
            let again = before == Started::Yes && record.run != run;
            if again && is_up(status) {
                steps.push(Step::Stop);
            }
            if !record.enabled {
                steps.push(Step::Enable);
            }
            start(&mut steps, wanted);
            let reason = if again {
                "another run was asked for"
            } else {
                "the unit is to be launched"
            };
            Plan { steps, reason }
        }
        (_, Started::No) if current => Plan::nothing(),
        (_, Started::No) => {
            let steps = vec![Step::Note {
                generation,
                run,
                started: false,
            }];
            Plan {
                steps,
                reason: "the unit is loaded already",
            }
        }
        // A unit that a person started by hand is not stopped: what happens on the machine is reported, not undone.
        (_, Started::Yes | Started::Asked) => {
            let mut steps = Vec::new();
            quieten(&mut steps, held, status);
            steps.push(Step::Note {
                generation,
                run,
                started: false,
            });
            Plan {
                steps,
                reason: "the unit is to be loaded, not launched",
            }
        }
    }
}

fn start(steps: &mut Vec<Step>, wanted: &Assignment) {
    let (generation, run) = (wanted.generation, wanted.run);
    if wanted.on_disconnect == OnDisconnect::Stop {
        steps.push(Step::Guard);
    }
    steps.push(Step::Start { generation, run });
}

/// Disabled before stopped, so that nothing starts it again meanwhile.
fn quieten(steps: &mut Vec<Step>, held: &Held, status: &Status) {
    if held.record.enabled {
        steps.push(Step::Disable);
    }
    // A start may be queued behind other units of the machine: nothing is up yet, and the stop cancels it.
    if is_up(status) || held.record.started != Started::No {
        steps.push(Step::Stop);
    }
}

pub(crate) fn is_up(status: &Status) -> bool {
    !matches!(status.active.as_str(), "inactive" | "failed")
}

fn shows_a_run(status: &Status) -> bool {
    status.active != "inactive" || !status.invocation.is_empty()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
