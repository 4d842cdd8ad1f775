//! `fleetctl submit`.

use units::DesiredState;

use super::{Context, bring};
use crate::cli::{Bring, Wait};
use crate::error::{Error, ExitStatus};

const VERB: bring::Verb = bring::Verb {
    name: "submit",
    desired: DesiredState::Inactive,
    goals: &[],
    failing: "Error creating units",
    later: "",
};

pub(super) async fn run(context: &Context, args: &Bring) -> Result<ExitStatus, Error> {
    let wait = Wait {
        no_block: true,
        block_attempts: None,
    };
    bring::run(context, &VERB, args, wait).await
}
