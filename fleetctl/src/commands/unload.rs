//! `fleetctl unload`.

use units::DesiredState;

use super::send::Change;
use super::{Context, withdraw};
use crate::cli;
use crate::error::{Error, ExitStatus};
use crate::wait::What;

const VERB: withdraw::Verb = withdraw::Verb {
    name: "unload",
    goals: &[What::Inactive],
    failing: "Error unloading units",
    waits_for_globals: false,
};

pub(super) async fn run(context: &Context, args: &cli::Change) -> Result<ExitStatus, Error> {
    let Some(found) = withdraw::find(context, &args.units).await? else {
        return Ok(ExitStatus::Success);
    };
    let unload = || Change::Put {
        content: None,
        desired: DesiredState::Inactive,
    };
    let active = found
        .units()
        .filter(|(_, _, desired)| *desired != DesiredState::Inactive);
    let changes = active.map(|(name, ..)| (name.clone(), unload())).collect();
    let outcome = found.change(context, &VERB, changes, args.wait).await?;
    withdraw::conclude(context, "unload", "unloaded", &outcome);
    Ok(outcome.status())
}
