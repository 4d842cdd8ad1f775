//! fleetctl.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleetctl::main(std::env::args_os().collect())
}
