//! fleetctl: the command line of fleet.
//!
//! It speaks the API of a fleetd ([`api`]) and nothing else. Each command is a file under [`commands`]; those that
//! change something and wait for it do so through [`wait`], whose decisions are pure.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it is as asked, or there was nothing to do |
//! | 1 | it is not: refused, failed, not placeable, timed out, API not reachable |
//! | 2 | the command line could not be understood |
//! | 3 | `status` only: the unit is not active (what `systemctl status` says; on the unit's own machine, any code of it) |
//!
//! `ssh` and `journal` end as what they run does, and with 255 if ssh itself fails; `verify` ends with 2, as in fleet.
//!
//! stdout carries data, stderr everything else. fleet's own lines keep the stream they had.

pub mod api;
pub mod cli;
pub mod commands;
mod complete;
mod error;
mod printer;
pub mod ssh;
mod text;
pub mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::{Error, ExitStatus};
pub use printer::{Printer, Progress};

/// Does what the command line says.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let status = run(args).unwrap_or_else(|error| error.report(Printer::new(false)));
    status.into()
}

fn run(args: Vec<OsString>) -> Result<ExitStatus, Error> {
    if let [_, word, rest @ ..] = args.as_slice()
        && word == complete::WORD
    {
        return complete::run(rest);
    }
    let invocation = match cli::parse(args)? {
        cli::Parsed::Run(invocation) => *invocation,
        cli::Parsed::Done(status) => return Ok(status),
    };
    // One thread is enough to wait on sockets, and is there at once.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(commands::run(invocation))
}
