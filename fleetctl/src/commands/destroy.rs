//! `fleetctl destroy`.

use super::send::Change;
use super::{Context, withdraw};
use crate::cli;
use crate::error::{Error, ExitStatus};
use crate::wait::What;

const VERB: withdraw::Verb = withdraw::Verb {
    name: "destroy",
    goals: &[What::Gone],
    failing: "Error destroying units",
    // Destroyed is what runs nowhere any more.
    waits_for_globals: true,
};

pub(super) async fn run(context: &Context, args: &cli::Change) -> Result<ExitStatus, Error> {
    let Some(found) = withdraw::find(context, &args.units).await? else {
        return Ok(ExitStatus::Success);
    };
    let changes = found
        .units()
        .map(|(name, ..)| (name.clone(), Change::Delete))
        .collect();
    Ok(found.change(context, &VERB, changes, args.wait).await?.status())
}
