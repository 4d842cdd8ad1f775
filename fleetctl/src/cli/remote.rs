//! Flags and commands that go to other machines by ssh (fleet-reference §4.2, §4.6).

use clap::Args;

/// How ssh is used; what is not said here is left to `ssh_config(5)`.
#[derive(Debug, Args)]
#[command(next_help_heading = "GLOBAL OPTIONS FOR SSH")]
pub(super) struct SshArgs {
    /// Go through this host, by ssh
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_TUNNEL",
        hide_env = true,
        value_name = "[USER@]HOST[:PORT]"
    )]
    pub(super) tunnel: Option<String>,

    /// Whom to log in as [default: see ssh_config(5)]
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_SSH_USERNAME",
        hide_env = true,
        value_name = "USER"
    )]
    pub(super) ssh_username: Option<String>,

    /// Time to connect [default: see ssh_config(5), else 10]
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_SSH_TIMEOUT",
        hide_env = true,
        value_name = "SECONDS"
    )]
    pub(super) ssh_timeout: Option<String>,

    /// Known host keys [default: see ssh_config(5)]
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_KNOWN_HOSTS_FILE",
        hide_env = true,
        value_name = "FILE"
    )]
    pub(super) known_hosts_file: Option<String>,

    /// true: ask about new host keys; false: take any
    #[arg(
        long,
        global = true,
        env = "FLEETCTL_STRICT_HOST_KEY_CHECKING",
        hide_env = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) strict_host_key_checking: Option<String>,
}

/// Where to go, and what to do there.
#[derive(Debug, Args)]
pub struct Ssh {
    /// The machine with this id, or beginning of an id
    #[arg(long, value_name = "ID")]
    pub machine: Option<String>,
    /// The machine this unit is on
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<String>,
    /// Forward the ssh-agent to the machine
    #[arg(short = 'A', long, alias = "A")]
    pub forward_agent: bool,
    /// The port of its sshd [default: see ssh_config(5)]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ssh_port: Option<u16>,
    /// A machine's id, or the beginning of one, or a unit; not if --machine or --unit is given
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// For the shell of that machine, with blanks in between; none: a shell to type into
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Which part of which journal.
#[derive(Debug, Args)]
pub struct Journal {
    /// The unit
    #[arg(value_name = "UNIT")]
    pub units: Vec<String>,
    /// How many of the last lines, or all
    #[arg(long, value_name = "N", default_value = "10")]
    pub lines: String,
    /// Go on with what is added
    #[arg(short = 'f', long, alias = "f")]
    pub follow: bool,
    /// The form, of those that journalctl(1) has
    #[arg(long, value_name = "FORM", default_value = "short")]
    pub output: String,
    /// Become root there to read it
    #[arg(long)]
    pub sudo: bool,
    /// Of the machines the unit is on, the one with this id, or beginning of an id
    #[arg(long, value_name = "ID")]
    pub machine: Option<String>,
    /// The port of its sshd [default: see ssh_config(5)]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ssh_port: Option<u16>,
}
