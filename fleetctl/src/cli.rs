//! The command line: what can be said, and what it means.

mod help;
mod remote;
mod settings;
mod unsupported;
mod usage;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::error::{Error, ExitStatus};
use crate::printer::Printer;

pub use remote::{Journal, Ssh};
pub use settings::Settings;
pub(crate) use words::spell_out;

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
    disable_version_flag = true,
    disable_help_flag = true,
    args_override_self = true,
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
#[command(next_help_heading = "GLOBAL OPTIONS")]
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
    #[arg(alias = "etcd-cafile", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    ca_file: Option<PathBuf>,

    /// Your certificate for https://
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_CERT_FILE",
        hide_env = true,
        value_name = "PEM"
    )]
    #[arg(alias = "etcd-certfile", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    cert_file: Option<PathBuf>,

    /// Its key
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_KEY_FILE",
        hide_env = true,
        value_name = "PEM"
    )]
    #[arg(alias = "etcd-keyfile", value_parser = OsStringValueParser::new().map(PathBuf::from))]
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

    #[command(flatten)]
    ssh: remote::SshArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make units known to the cluster without starting them
    ///
    /// A new unit is stored with its content, and placed nowhere. The content of an instance (web@1) that has no file of
    /// its own is that of its template (web@.service): the cluster's, else the one beside the file that is named. With
    /// --replace what lies here goes first, and a unit that is loaded or started already is left as it is.
    Submit(Bring),
    /// Place units on machines and load them into systemd there, without starting them
    ///
    /// Units that the cluster does not have are submitted first. Of a unit that runs it stops the processes. Waits until
    /// the unit is loaded; if no machine fits, says why at once, and leaves it to be loaded when one does.
    Load(BringAndWait),
    /// Place units on machines and start them
    ///
    /// Units that the cluster does not have are submitted first; one that has failed or finished is started once more.
    /// Waits until the unit is active, or has finished well; if no machine fits, says why at once, and leaves it to be
    /// started when one does. Global units are not waited for. With --replace, new content is run where the unit is.
    Start(BringAndWait),
    /// Start units once more where they are
    ///
    /// What runs is stopped first. Global units are restarted on every machine, and not waited for. A unit that is
    /// neither loaded nor started cannot be restarted.
    Restart(KnownUnits),
    /// Stop units, and leave them loaded where they are
    ///
    /// A unit that waits for a machine can be stopped as well. Names only: a pattern which the shell left as it was
    /// would stop more than was meant.
    Stop(KnownUnits),
    /// Stop units and take them off their machines
    ///
    /// The cluster keeps their content: `fleetctl start NAME` brings them back, perhaps on another machine.
    Unload(KnownUnits),
    /// Stop units, take them off their machines and forget them
    ///
    /// Waits until no machine has the unit any more. Names that the cluster does not know are skipped.
    Destroy(KnownUnits),
    /// Print the content of a unit
    ///
    /// As the cluster keeps it, in fleet's canonical form: without comments and empty lines, sections in order.
    Cat {
        /// The unit
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
    },
    /// Show where units are, why, and what systemd says of them
    ///
    /// Of a unit without a place: for each machine why not. On the machine a unit runs on, also what `systemctl status`
    /// says there, whose exit code it then has; elsewhere 0 if the unit is active, and 3 if not.
    Status {
        /// The units: names, or patterns such as 'web@*', in quotes
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
    ///
    /// One row for each unit and machine. A pattern stands for whole names: `*` for any characters, `?` for one,
    /// `[a-z]` for one of these; `.service` may be left out. If none matches, the list is empty, and that is no error.
    ///
    /// As JSON a row is {"unit", "machine", "ip", "load", "active", "sub", "hash"}: text, or null where there is none.
    /// --fields chooses among them.
    ListUnits {
        /// Only these units: names, or patterns such as 'web@*', in quotes
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
        #[allow(missing_docs)]
        #[command(flatten)]
        table: Table,
        /// Columns, of unit, machine, load, active, sub, hash, ip [default: unit,machine,active,sub]
        #[arg(long)]
        fields: Option<String>,
    },
    /// List the units the cluster knows
    ///
    /// A pattern stands for whole names: `*` for any characters, `?` for one, `[a-z]` for one of these; `.service` may
    /// be left out. If none matches, the list is empty, and that is no error.
    ///
    /// As JSON a row is {"unit", "hash", "dstate", "state", "global", "target", "ip", "desc"}: "global" is true or
    /// false, the rest is text, or null where there is none; "target" is the id of the machine the unit is placed on.
    /// --fields chooses among them.
    ListUnitFiles {
        /// Only these units: names, or patterns such as 'web@*', in quotes
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
        #[allow(missing_docs)]
        #[command(flatten)]
        table: Table,
        /// Columns, of unit, hash, dstate, state, target, global, desc, ip [default: unit,hash,dstate,state,target]
        #[arg(long)]
        fields: Option<String>,
    },
    /// List the machines of the cluster
    ///
    /// As JSON a row is {"machine", "ip", "metadata"}: "metadata" is an object of texts, "ip" null if it is not known.
    /// --fields chooses among them.
    ListMachines {
        /// Only the machines whose id begins so
        #[arg(value_name = "MACHINE")]
        machines: Vec<String>,
        #[allow(missing_docs)]
        #[command(flatten)]
        table: Table,
        /// Columns, of machine, ip, metadata [default: all]
        #[arg(long)]
        fields: Option<String>,
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
    Init(OnThisMachine),
    /// Make this machine one of a cluster that `init` founded (as root)
    Join(OnThisMachine),
    /// Take this machine out of its cluster; no unit is lost (as root)
    Leave(OnThisMachine),
    /// Print the completions of a shell, names of units and machines among them
    ///
    /// The Debian package brings it along. Elsewhere: `source <(fleetctl completions bash)` in ~/.bashrc,
    /// `source <(fleetctl completions zsh)` in ~/.zshrc after compinit, or
    /// `fleetctl completions fish >~/.config/fish/completions/fleetctl.fish`.
    Completions {
        /// The shell
        shell: Shell,
    },
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

/// A shell that has completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // they have names
pub enum Shell {
    Bash,
    Zsh,
    Fish,
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
    /// As a table, or as one JSON array with whole ids and hashes
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// What a list is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // they have names; and clap would spread all help over many lines for words on them
pub enum Output {
    Table,
    Json,
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

/// Everything that can be said, as it is written down here: for the manual.
pub fn bare() -> clap::Command {
    Cli::command()
}

/// Everything that can be said, with what fleet could say besides, and how help looks.
pub(crate) fn command() -> clap::Command {
    help::layout(bare().args(unsupported::flags()))
}

/// What a line that is not finished says of where the API is; `None` if it cannot be asked at once.
pub fn settings_so_far(words: &[OsString]) -> Option<Settings> {
    let matches = command().ignore_errors(true).try_get_matches_from(words).ok()?;
    // Through a tunnel it takes long, and may ask for a password.
    let tunnel = matches.try_get_raw("tunnel").ok().flatten();
    if tunnel.is_some() || unsupported::refuse(&matches).is_err() {
        return None;
    }
    let settings = Settings::read(&GlobalArgs::from_arg_matches(&matches).ok()?).ok()?;
    // `--endpoint ssh://…` is one as well.
    settings.tunnel.is_none().then_some(settings)
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// It cannot be understood, or asks for what is not there yet.
pub fn parse(args: Vec<OsString>) -> Result<Parsed, Error> {
    let mut command = command();
    if args.len() < 2 {
        Printer::new(false).data(command.render_help().ansi())?;
        return Ok(Parsed::Done(ExitStatus::Success));
    }
    let args = words::arrange(&command, args);
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
