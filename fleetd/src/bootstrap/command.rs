//! `fleetd bootstrap FILE`: the command line, and what is done in which order.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;

/// Set this machine up as a CoreOS cloud-config says: users, files, units, etcd, fleet.
///
/// All of the file is checked before anything is changed. It may be run again at any time: what is so already is left
/// alone.
///
/// Exit codes: 0 done, 1 could not, 2 wrong usage or a bad file.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The cloud-config; - reads it from stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only say what is wrong with the file
    #[arg(long, conflicts_with = "dry_run")]
    pub validate: bool,
    /// Print what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
    /// What $private_ipv4 stands for [default: as /etc/environment or this machine's interfaces say]
    #[arg(long, value_name = "ADDRESS")]
    pub private_ipv4: Option<Ipv4Addr>,
    /// What $public_ipv4 stands for
    #[arg(long, value_name = "ADDRESS")]
    pub public_ipv4: Option<Ipv4Addr>,
}

/// Runs the command on this machine and returns its exit code.
pub async fn run(_arguments: Arguments) -> u8 {
    let _ = writeln!(std::io::stderr(), "fleetd bootstrap: not built yet");
    1
}
