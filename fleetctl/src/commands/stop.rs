//! `fleetctl stop`.

use units::DesiredState;

use super::send::Change;
use super::{Context, withdraw};
use crate::cli;
use crate::error::{Error, ExitStatus};
use crate::wait::What;

const VERB: withdraw::Verb = withdraw::Verb {
    name: "stop",
    goals: &[What::Stopped],
    failing: "Error stopping units",
    waits_for_globals: false,
};

pub(super) async fn run(context: &Context, args: &cli::Change) -> Result<ExitStatus, Error> {
    let Some(found) = withdraw::find(context, &args.units).await? else {
        return Ok(ExitStatus::Success);
    };
    // What is wanted decides, not what has come of it: a unit that waits for a machine can be stopped, too.
    let mut changes = Vec::new();
    for (name, _, desired) in found.units() {
        match desired {
            DesiredState::Inactive => {
                context
                    .printer
                    .say(format_args!("Unable to stop unit {name} in state {desired}"));
                return Ok(ExitStatus::Failure);
            }
            DesiredState::Loaded => {}
            DesiredState::Launched => {
                let stop = Change::Put {
                    content: None,
                    desired: DesiredState::Loaded,
                };
                changes.push((name.clone(), stop));
            }
        }
    }
    let outcome = found.change(context, &VERB, changes, args.wait).await?;
    withdraw::conclude(context, "stop", "stopped", &outcome);
    Ok(outcome.status())
}
