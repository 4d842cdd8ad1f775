//! `fleetctl load`.

use units::DesiredState;

use super::{Context, bring};
use crate::cli::BringAndWait;
use crate::error::{Error, ExitStatus};
use crate::wait::What;

const VERB: bring::Verb = bring::Verb {
    name: "load",
    desired: DesiredState::Loaded,
    goals: &[What::Loaded],
    failing: "Error loading units",
    later: "be loaded",
};

pub(super) async fn run(context: &Context, args: &BringAndWait) -> Result<ExitStatus, Error> {
    bring::run(context, &VERB, &args.bring, args.wait).await
}
