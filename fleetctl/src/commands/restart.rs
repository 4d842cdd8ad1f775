//! `fleetctl restart`.

use units::DesiredState;

use super::send::Change;
use super::{Context, withdraw};
use crate::cli;
use crate::error::{Error, ExitStatus};
use crate::wait::What;

const VERB: withdraw::Verb = withdraw::Verb {
    name: "restart",
    goals: &[What::Launched, What::Running],
    failing: "Error restarting units",
    waits_for_globals: false,
};

pub(super) async fn run(context: &Context, args: &cli::Change) -> Result<ExitStatus, Error> {
    let Some(found) = withdraw::find(context, &args.units).await? else {
        return Ok(ExitStatus::Success);
    };
    let mut changes = Vec::new();
    for (name, _, desired) in found.units() {
        if desired == DesiredState::Inactive {
            context
                .printer
                .say(format_args!("Unable to restart unit {name} in state {desired}"));
            return Ok(ExitStatus::Failure);
        }
        changes.push((name.clone(), Change::Run));
    }
    Ok(found.change(context, &VERB, changes, args.wait).await?.status())
}
