//! The command line: what can be said, and what it means.

mod remote;
mod settings;
mod unsupported;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::{Error, ExitStatus};
use crate::printer::Printer;

pub use remote::{Journal, Ssh};
pub use settings::Settings;

const EXIT_CODES: &str = "\
Exit codes:
  0  it is as asked, or there was nothing to do
  1  it is not: refused, failed, not placeable, timed out, API not reachable
  2  the command line could not be understood
  3  `status` only: the unit is not active (on its own machine: the code of `systemctl status`)
`ssh` and `journal` end as what they run there does; 255: ssh itself failed

Global options can be given in the environment too: FLEETCTL_ENDPOINT for --endpoint, and so on.
A command may be shortened as long as it stays unique: list-m for list-machines.";

/// fleetctl: run systemd units on a cluster of machines.
#[derive(Debug, Parser)]
#[command(
    name = "fleetctl",
    version = concat!("version ", env!("CARGO_PKG_VERSION")),
    about = "Run systemd units on a cluster of machines",
    after_help = EXIT_CODES,
    infer_subcommands = true,
    disable_version_flag = true,
    max_term_width = 110
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// What is said for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct GlobalArgs {
    /// Where the API of a fleetd is: unix:///path, http://host:port or https://host:port
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_ENDPOINT",
        hide_env = true,
        value_name = "URL"
    )]
    #[arg(default_value = settings::DEFAULT_ENDPOINT)]
    endpoint: String,

    /// Who vouches for the fleetd behind https://
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_CA_FILE",
        hide_env = true,
        value_name = "PEM"
    )]
    #[arg(alias = "etcd-cafile")]
    ca_file: Option<PathBuf>,

    /// Your certificate for https://
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_CERT_FILE",
        hide_env = true,
        value_name = "PEM"
    )]
    #[arg(alias = "etcd-certfile")]
    cert_file: Option<PathBuf>,

    /// Its key
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_KEY_FILE",
        hide_env = true,
        value_name = "PEM"
    )]
    #[arg(alias = "etcd-keyfile")]
    key_file: Option<PathBuf>,

    /// How to reach the registry: only API
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_DRIVER",
        hide = true,
        default_value = "API"
    )]
    driver: String,

    /// How long to wait for an answer of the API
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_REQUEST_TIMEOUT",
        hide_env = true,
        value_name = "SECONDS"
    )]
    #[arg(default_value = "10")]
    request_timeout: String,

    /// Show each request to the API
    #[arg(long, global = true, env = "FLEETCTL_DEBUG", hide_env = true, value_parser = FalseyValueParser::new())]
    debug: bool,

    /// What to compare machine ids with, to know whether a unit is on this machine
    #[arg(long, global = true, hide = true, default_value = "/etc/machine-id")]
    machine_id_file: PathBuf,

    /// Print the version
    #[arg(short = 'v', long, short_alias = 'V', action = ArgAction::Version)]
    version: Option<bool>,

    /// fleet's long form of -h
    #[arg(long = "h", global = true, hide = true, action = ArgAction::Help)]
    h: Option<bool>,

    #[command(flatten)]
    ssh: remote::SshArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make units known to the cluster without starting them
    Submit(Bring),
    /// Place units on machines and load them into systemd there, without starting them
    Load(BringAndWait),
    /// Place units on machines and start them
    Start(BringAndWait),
    /// Start units once more where they are
    Restart(KnownUnits),
    /// Stop units, and leave them loaded where they are
    Stop(KnownUnits),
    /// Stop units and take them off their machines
    Unload(KnownUnits),
    /// Stop units, take them off their machines and forget them
    Destroy(KnownUnits),
    /// Print the content of a unit
    Cat {
        /// The unit
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
    },
    /// Show where units are, why, and what systemd says of them
    Status {
        /// The units
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
        /// Accepted as fleet did, without effect
        #[arg(long, hide = true)]
        no_block: bool,
        /// Accepted as fleet did, without effect: no ssh is needed
        #[arg(long, hide = true)]
        ssh_port: Option<u16>,
    },
    /// Print the journal of a unit, from the machine it is on
    Journal(Journal),
    /// Go to a machine by ssh, or run a command there
    Ssh(Ssh),
    /// List what runs, machine by machine
    ListUnits {
        /// How the table looks
        #[command(flatten)]
        table: Table,
        /// Columns, of unit, machine, load, active, sub, hash
        #[arg(long, default_value = "unit,machine,active,sub")]
        fields: String,
    },
    /// List the units the cluster knows
    ListUnitFiles {
        /// How the table looks
        #[command(flatten)]
        table: Table,
        /// Columns, of unit, hash, dstate, state, target, global, desc
        #[arg(long, default_value = "unit,hash,dstate,state,target")]
        fields: String,
    },
    /// List the machines of the cluster
    ListMachines {
        /// How the table looks
        #[command(flatten)]
        table: Table,
        /// Columns, of machine, ip, metadata
        #[arg(long, default_value = "machine,ip,metadata")]
        fields: String,
    },
    /// Follow a registry that was wiped or restored, after putting back what runs
    ///
    /// A machine that finds the registry wiped, restored from a backup, or another one keeps every unit and refuses
    /// changes until a person says this, on any of the machines. All machines of the cluster then put back the units
    /// they run that the registry does not know, or knows in an older version, and take up their work again. Nothing is
    /// stopped by it.
    Recover {
        /// Say why this machine has a doubt, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Found a cluster on this machine: etcd and fleet (as root)
    #[command(disable_help_flag = true)]
    Init(OnThisMachine),
    /// Make this machine one of a cluster that `init` founded (as root)
    #[command(disable_help_flag = true)]
    Join(OnThisMachine),
    /// Take this machine out of its cluster; no unit is lost (as root)
    #[command(disable_help_flag = true)]
    Leave(OnThisMachine),
    /// Copy stdin to a unix socket, and what it answers to stdout: the far end of --tunnel
    #[command(hide = true)]
    FdForward {
        /// Where the socket is
        #[arg(value_name = "SOCKET")]
        sockets: Vec<String>,
    },
    /// Deprecated, as in fleet
    #[command(hide = true)]
    Verify {
        /// Units
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
    },
    /// Print the version
    Version,
}

/// For fleetd, which does it: fleetctl itself touches neither etcd nor systemd.
#[derive(Debug, Args)]
pub struct OnThisMachine {
    /// See --help of the command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    pub arguments: Vec<OsString>,
}

/// Units to bring into the cluster.
#[derive(Debug, Args)]
pub struct Bring {
    /// Unit files, or names of units or of instances of a template
    #[arg(value_name = "UNIT")]
    pub units: Vec<String>,
    /// Replace the content of a unit that the cluster has already
    #[arg(long)]
    pub replace: bool,
    /// Accepted as fleet did, without effect
    #[arg(long, hide = true)]
    pub sign: bool,
}

/// Units to bring into the cluster, and how to wait for that.
#[derive(Debug, Args)]
pub struct BringAndWait {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub bring: Bring,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub wait: Wait,
}

/// Units of the cluster to change, and how to wait for that.
#[derive(Debug, Args)]
pub struct KnownUnits {
    /// The units
    #[arg(value_name = "UNIT")]
    pub units: Vec<String>,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub wait: Wait,
}

/// How to wait.
#[derive(Debug, Clone, Copy, Args)]
pub struct Wait {
    /// Do not wait
    #[arg(long)]
    pub no_block: bool,
    /// Give up after so many attempts of 2 s; 0 or less: wait for ever, also for a machine that fits
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub block_attempts: Option<i64>,
}

/// How a table looks.
#[derive(Debug, Clone, Copy, Args)]
pub struct Table {
    /// Do not shorten ids and hashes
    #[arg(short = 'l', long, alias = "l")]
    pub full: bool,
    /// Leave the heading out
    #[arg(long)]
    pub no_legend: bool,
}

/// What a command line came to.
#[derive(Debug)]
pub enum Parsed {
    /// Something to do.
    Run(Box<Invocation>),
    /// Help, or the version: it has been printed.
    Done(ExitStatus),
}

/// Something to do.
#[derive(Debug)]
pub struct Invocation {
    /// Ready to use.
    pub settings: Settings,
    /// What to do.
    pub command: Command,
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// It cannot be understood, or asks for what is not there yet.
pub fn parse(args: Vec<OsString>) -> Result<Parsed, Error> {
    let mut command = Cli::command().args(unsupported::flags());
    if args.len() < 2 {
        Printer::new(false).data(command.render_help().ansi())?;
        return Ok(Parsed::Done(ExitStatus::Success));
    }
    let args = usage::plain_booleans(&command, args);
    let matches = match command.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) => return usage::explain(&command, &error).map(Parsed::Done),
    };
    unsupported::refuse(&matches)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| Error::Usage(error.to_string()))?;
    Ok(Parsed::Run(Box::new(Invocation {
        settings: Settings::read(&cli.global)?,
        command: cli.command,
    })))
}
