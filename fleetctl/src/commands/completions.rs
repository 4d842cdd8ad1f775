//! `fleetctl completions`.

use crate::cli::Shell;
use crate::error::{Error, ExitStatus};
use crate::printer::Printer;

pub(super) fn run(printer: Printer, shell: Shell) -> Result<ExitStatus, Error> {
    printer.data(match shell {
        Shell::Bash => include_str!("../../dist/completions/fleetctl.bash"),
        Shell::Zsh => include_str!("../../dist/completions/_fleetctl"),
        Shell::Fish => include_str!("../../dist/completions/fleetctl.fish"),
    })?;
    Ok(ExitStatus::Success)
}
