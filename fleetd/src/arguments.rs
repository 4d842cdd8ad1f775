//! fleetd's command line (fleet-reference §3.6, §6).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{bootstrap, gateway};

/// The cluster init daemon: registers this machine, has systemd run what is placed on it, and takes part in placing.
///
/// Exit codes: 0 stopped as told, 1 could not start or ended by a fault, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(
    name = "fleetd",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true
)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
pub struct Arguments {
    /// The configuration file [default: /etc/fleet/fleet.conf, if there is one]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Print the version
    #[arg(long)]
    pub version: bool,
    /// Without one: be the daemon
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is done once.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "help is what the arguments of each say: a text here would take its place"
)]
pub enum Command {
    Bootstrap(bootstrap::command::Arguments),
    #[command(override_usage = "fleetctl init [OPTIONS]")]
    Init(bootstrap::init::Init),
    #[command(override_usage = "fleetctl join [OPTIONS] <ADDRESS>...")]
    Join(bootstrap::join::Join),
    #[command(override_usage = "fleetctl leave [OPTIONS]")]
    Leave(bootstrap::leave::Leave),
    /// What fleet-guard.service runs
    #[command(hide = true)]
    Guard,
    /// Have etcd answer on 127.0.0.1 of a machine that is none of its members: what fleet-gateway.service runs
    Gateway {
        /// The configuration file
        #[arg(long, value_name = "PATH", default_value = gateway::DEFAULT_FILE)]
        config: PathBuf,
    },
    /// The same as --version
    #[command(hide = true)]
    Version,
}

/// Reads a command line, the program's name first. Options may have one dash: unit files written for fleet 1.0 say
/// `-config`.
///
/// # Errors
/// Wrong usage, and being asked for help: both are for clap to print.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let line = line.into_iter().map(|word| match word.to_str() {
        Some("-config" | "-version") => [OsStr::new("-"), &word].into_iter().collect(),
        Some(text) if text.starts_with("-config=") => format!("-{text}").into(),
        _ => word,
    });
    Arguments::try_parse_from(line)
}
