//! `fleetctl verify`, which signatures of units were for.

use super::Context;
use crate::error::ExitStatus;

/// What fleet ended with.
const DEPRECATED: u8 = 2;

pub(super) fn run(context: &Context) -> ExitStatus {
    context.printer.warning(
        "verify is deprecated and does nothing: units are not signed; `fleetctl submit` checks each unit it sends",
    );
    ExitStatus::Other(DEPRECATED)
}
