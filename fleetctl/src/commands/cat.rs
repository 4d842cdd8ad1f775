//! `fleetctl cat`.

use units::UnitFile;

use super::{Context, named};
use crate::error::{During, Error, ExitStatus};

pub(super) async fn run(context: &Context, units: &[String]) -> Result<ExitStatus, Error> {
    let [_] = units else {
        context.printer.say("One unit file must be provided");
        return Ok(ExitStatus::Failure);
    };
    for name in named(units)?.into_iter().map(|named| named.unit) {
        let Some(unit) = context.api.unit(&name).await? else {
            context.printer.say(format_args!("Unit {name} not found"));
            return Ok(ExitStatus::Failure);
        };
        let file = UnitFile::from_options(unit.options).during("Error reading the unit's content")?;
        context.printer.data(file.canonical())?;
    }
    Ok(ExitStatus::Success)
}
