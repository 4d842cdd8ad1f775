//! `cargo lab`: a cluster to play with, and faults as verbs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::bench::Size;
use crate::cluster::{Base, Cluster, Etcd, Options};
use crate::fleet::Fleet;
use crate::machine::Machine;
use crate::network::Index;
use crate::package::Package;
use crate::printer::Printer;
use crate::prove::soak::{self, Soak};
use crate::prove::{self, Request, Settings};
use crate::{bench, clean, demo, host, image, show};

/// Real machines on one host, with systemd, etcd and fleet on each.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring a cluster up, run the main job on it step by step, and leave it up to play with
    Demo(Shape),
    /// Bring a cluster up
    Up {
        #[command(flatten)]
        shape: Shape,
        /// Bare Debian machines with our package on them and nothing set up: `fleetctl init` is up to you
        #[arg(long, conflicts_with_all = ["no_fleet", "zones"])]
        plain: bool,
    },
    /// Measure how long a user waits and what fleet takes, on clusters of its own, against what is allowed
    Bench {
        /// What to measure; everything if nothing is named
        what: Vec<bench::What>,
        /// Only to see whether it works: few of everything
        #[arg(long)]
        quick: bool,
        /// A table for people, or for programs
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Put promises to the test with faults, on clusters of their own, and print what was measured
    Prove(ProveArgs),
    /// Change things and break things at random for a while; nothing may be lost, nothing may grow
    Soak(SoakArgs),
    /// Build the Debian package; its path is printed
    Deb {
        /// Its version, if not the project's
        #[arg(long, value_name = "VERSION")]
        deb_version: Option<String>,
    },
    /// List the machines, and how they are
    Ps,
    /// Run a command in a machine
    Exec {
        machine: usize,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Open a shell in a machine
    Shell { machine: usize },
    /// Show the journal of a machine, also of one that is off
    Logs {
        machine: usize,
        /// Only these units
        units: Vec<String>,
        /// How many lines
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
    },
    /// Cut a machine's power
    Kill { machine: usize },
    /// Shut a machine down in order
    Poweroff { machine: usize },
    /// Power a machine on, with the disk as it left it
    Boot { machine: usize },
    /// Pull a machine's network cable
    Cut { machine: usize },
    /// Hold a service's main process still, or the whole machine
    Freeze {
        machine: usize,
        #[arg(default_value = "fleet.service")]
        service: String,
        /// The whole machine, as a hypervisor pauses a VM
        #[arg(long, conflicts_with = "service")]
        all: bool,
    },
    /// End a service's main process without a warning
    Crash {
        machine: usize,
        #[arg(default_value = "fleet.service")]
        service: String,
    },
    /// Plug the cable in and let everything that stands still go on; without a number, on all machines
    Heal { machine: Option<usize> },
    /// Stop, start or kill the etcd of a machine
    Etcd {
        #[command(subcommand)]
        what: EtcdVerb,
    },
    /// Take the cluster down
    Down,
    /// Take away everything the lab made on this host, also what a crashed run left
    Clean {
        /// The cached machine images too
        #[arg(long)]
        images: bool,
    },
}

#[derive(Debug, Args)]
struct Shape {
    /// How many machines
    #[arg(long, default_value_t = 3)]
    machines: usize,
    /// Metadata `zone` for the machines, dealt out in turn
    #[arg(long, value_delimiter = ',')]
    zones: Vec<String>,
    /// Machines with etcd and containers only
    #[arg(long)]
    no_fleet: bool,
}

#[derive(Debug, Args)]
struct ProveArgs {
    /// What to prove; everything if nothing is named
    names: Vec<String>,
    /// List what there is to prove
    #[arg(long)]
    list: bool,
    /// For people, or for programs
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// On which etcd: the image's 3.5, the host's 3.4, or both
    #[arg(long, value_enum, value_delimiter = ',', default_value = "3.5")]
    etcd: Vec<Etcd>,
    /// With how many members of etcd, where that makes a difference
    #[arg(long, value_delimiter = ',', default_value = "3")]
    members: Vec<usize>,
    /// How long etcd is away
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    outage: u64,
    /// How many units crash all the time; two cores cannot do it with a thousand
    #[arg(long, default_value_t = 100, value_name = "UNITS")]
    flapping: usize,
}

#[derive(Debug, Args)]
struct SoakArgs {
    /// How long
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Where the random numbers come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// On which etcd
    #[arg(long, value_enum, default_value = "3.5")]
    etcd: Etcd,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum EtcdVerb {
    /// In order
    Stop { machine: usize },
    /// Again
    Start { machine: usize },
    /// Without a warning; its unit file has it started again
    Kill { machine: usize },
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let printer = Printer::loud();
    let verb = Cli::parse().verb;
    match host::require_root().and_then(|()| verb.act(&printer)) {
        Ok(code) => code,
        Err(error) => {
            printer.error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Verb {
    fn act(self, printer: &Printer) -> Result<ExitCode> {
        match self {
            Self::Demo(shape) => demo::run(shape.options(), printer)?,
            Self::Up { shape, plain: false } => up(shape.options(), printer)?,
            Self::Up { shape, plain: true } => up(Options::package(shape.machines), printer)?,
            Self::Bench { what, quick, output } => {
                host::prepare(printer)?;
                let size = if quick { Size::quick() } else { Size::full() };
                return Ok(verdict(bench::run(
                    &what,
                    &size,
                    output == Output::Json,
                    printer,
                )?));
            }
            Self::Prove(args) if args.list => printer.result(&prove::list()),
            Self::Prove(args) => {
                host::prepare(printer)?;
                return Ok(verdict(prove::run(&args.request(), printer)?));
            }
            Self::Soak(args) => {
                host::prepare(printer)?;
                let soak = Soak {
                    duration: Duration::from_secs(args.minutes * 60),
                    seed: args.seed,
                    etcd: args.etcd,
                };
                let report = soak::run(&soak, printer)?;
                printer.result(&prove::lines(&report));
                return Ok(verdict(report.is_kept()));
            }
            Self::Exec { machine, command } => return exec(machine, &command),
            Self::Shell { machine } => return exec(machine, &["bash".into(), "-l".into()]),
            Self::Clean { images } => {
                clean::everything(printer)?;
                if images {
                    image::remove_unused(printer)?;
                }
            }
            Self::Down => {
                let cluster = Cluster::open(Index::DEMO)?;
                printer.step("take the cluster down", |_| cluster.down())?;
            }
            Self::Deb { deb_version } => {
                let package = Package::build(deb_version.as_deref(), printer)?;
                printer.result(&package.path().display().to_string());
            }
            Self::Ps => printer.result(&show::machines(&Cluster::open(Index::DEMO)?)),
            Self::Heal { machine: None } => {
                let cluster = Cluster::open(Index::DEMO)?;
                cluster
                    .machines()
                    .iter()
                    .filter(|machine| machine.is_running())
                    .try_for_each(Machine::heal)?;
            }
            verb => verb.act_on(&Cluster::open(Index::DEMO)?, printer)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The verbs that befall one machine.
    fn act_on(self, cluster: &Cluster, printer: &Printer) -> Result<()> {
        match self {
            Self::Kill { machine } => printer.step(format!("cut the power of machine {machine}"), |_| {
                cluster.machine(machine)?.kill()
            }),
            Self::Poweroff { machine } => printer.step(format!("shut machine {machine} down"), |_| {
                cluster.machine(machine)?.poweroff()
            }),
            Self::Boot { machine } => printer
                .step(format!("boot machine {machine}"), |_| {
                    cluster.machine(machine)?.boot()
                })
                .map(drop),
            Self::Cut { machine } => cluster.machine(machine)?.cut(),
            Self::Heal {
                machine: Some(machine),
            } => cluster.machine(machine)?.heal(),
            Self::Freeze {
                machine, all: true, ..
            } => cluster.machine(machine)?.pause(),
            Self::Freeze { machine, service, .. } => cluster.machine(machine)?.freeze(&service),
            Self::Crash { machine, service } => cluster.machine(machine)?.crash(&service),
            Self::Etcd { what } => what.act_on(cluster),
            Self::Logs {
                machine,
                units,
                lines,
            } => {
                let units: Vec<&str> = units.iter().map(String::as_str).collect();
                printer.result(cluster.machine(machine)?.journal(&units, lines)?.trim_end());
                Ok(())
            }
            // Those that are about more than one machine were taken care of before.
            other => anyhow::bail!("{other:?} is not about one machine"),
        }
    }
}

impl EtcdVerb {
    fn act_on(self, cluster: &Cluster) -> Result<()> {
        let (Self::Stop { machine } | Self::Start { machine } | Self::Kill { machine }) = self;
        let unit = cluster.etcd_unit(machine);
        let machine = cluster.machine(machine)?;
        match self {
            Self::Stop { .. } => machine.run(&["systemctl", "stop", unit]).map(drop),
            Self::Start { .. } => machine.run(&["systemctl", "start", unit]).map(drop),
            Self::Kill { .. } => machine.crash(unit),
        }
    }
}

impl Shape {
    fn options(self) -> Options {
        Options {
            machines: self.machines,
            zones: self.zones,
            fleet: !self.no_fleet,
            images: true,
            ..Options::default()
        }
    }
}

impl ProveArgs {
    fn request(self) -> Request {
        Request {
            names: self.names,
            etcds: self.etcd,
            members: self.members,
            settings: Settings::full(Duration::from_secs(self.outage), self.flapping),
            json: self.output == Output::Json,
        }
    }
}

fn verdict(kept: bool) -> ExitCode {
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn up(options: Options, printer: &Printer) -> Result<()> {
    let cluster = start(options, printer)?;
    show::how_to_play(&cluster, printer);
    Ok(())
}

/// Makes the cluster that people play with, from nothing.
pub(crate) fn start(options: Options, printer: &Printer) -> Result<Cluster> {
    Cluster::require_none(Index::DEMO)?;
    host::prepare(printer)?;
    let fleet = match (options.fleet, options.base) {
        (false, _) => None,
        (true, Base::Lab) => Some(Fleet::quick(printer)?),
        (true, _) => Some(Fleet::default().packaged(printer)?),
    };
    Cluster::demo(options, fleet.as_ref(), printer)
}

fn exec(machine: usize, command: &[String]) -> Result<ExitCode> {
    let cluster = Cluster::open(Index::DEMO)?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut command = cluster.machine(machine)?.command(&words)?;
    let status = command.status().context("cannot run nsenter")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
