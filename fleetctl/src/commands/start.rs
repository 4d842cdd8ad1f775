//! `fleetctl start`.

use units::DesiredState;

use super::{Context, bring};
use crate::cli::BringAndWait;
use crate::error::{Error, ExitStatus};
use crate::wait::What;

const VERB: bring::Verb = bring::Verb {
    name: "start",
    desired: DesiredState::Launched,
    goals: &[What::Launched, What::Running],
    failing: "Error starting units",
    later: "start",
};

pub(super) async fn run(context: &Context, args: &BringAndWait) -> Result<ExitStatus, Error> {
    bring::run(context, &VERB, &args.bring, args.wait).await
}
