//! `fleetctl version`.

use crate::error::{Error, ExitStatus};
use crate::printer::Printer;

pub(super) fn run(printer: Printer) -> Result<ExitStatus, Error> {
    printer.line(concat!("fleetctl version ", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitStatus::Success)
}
