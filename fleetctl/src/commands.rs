//! The commands, one file each, and what several of them share.

mod bring;
mod cat;
mod completions;
mod content;
mod destroy;
mod fd_forward;
mod journal;
mod list_machines;
mod list_unit_files;
mod list_units;
mod load;
mod on_this_machine;
mod pattern;
mod recover;
mod remote;
mod restart;
mod send;
mod ssh;
mod start;
mod status;
mod stop;
mod submit;
mod table;
mod unload;
mod verify;
mod version;
mod withdraw;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use units::UnitName;

use crate::api::Api;
use crate::cli::{Command, Invocation, Wait};
use crate::error::{Error, ExitStatus};
use crate::printer::Printer;
use crate::ssh::{Options, Tunnel};
use crate::text;
use crate::wait::Patience;

/// One *attempt* of `--block-attempts`.
const ATTEMPT: Duration = Duration::from_secs(2);

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    api: Api,
    printer: Printer,
    /// Holds this machine's id.
    machine_id_file: PathBuf,
    /// How machines are gone to.
    ssh: Options,
    /// Through which host, if not directly.
    tunnel: Option<Rc<Tunnel>>,
}

/// Runs a command.
///
/// # Errors
/// It ended early, and nothing has been said of that yet.
pub async fn run(invocation: Invocation) -> Result<ExitStatus, Error> {
    let Invocation { settings, command } = invocation;
    let printer = Printer::new(settings.debug);
    let tunnel = settings
        .tunnel
        .map(|host| Rc::new(Tunnel::new(settings.ssh.clone(), host, printer)));
    let api = Api::new(settings.endpoint, settings.tls, settings.timeout, printer);
    let context = Context {
        api: api.through(tunnel.clone()),
        printer,
        machine_id_file: settings.machine_id_file,
        ssh: settings.ssh,
        tunnel,
    };
    match command {
        Command::Submit(args) => submit::run(&context, &args).await,
        Command::Load(args) => load::run(&context, &args).await,
        Command::Start(args) => start::run(&context, &args).await,
        Command::Restart(args) => restart::run(&context, &args).await,
        Command::Stop(args) => stop::run(&context, &args).await,
        Command::Unload(args) => unload::run(&context, &args).await,
        Command::Destroy(args) => destroy::run(&context, &args).await,
        Command::Cat { units } => cat::run(&context, &units).await,
        Command::Status { units, .. } => status::run(&context, &units).await,
        Command::ListUnits { units, table, fields } => list_units::run(&context, &units, table, fields).await,
        Command::ListUnitFiles { units, table, fields } => {
            list_unit_files::run(&context, &units, table, fields).await
        }
        Command::ListMachines {
            machines,
            table,
            fields,
        } => list_machines::run(&context, &machines, table, fields).await,
        Command::Ssh(args) => ssh::run(&context, &args).await,
        Command::Journal(args) => journal::run(&context, &args).await,
        Command::Recover { dry_run } => recover::run(&context, dry_run).await,
        Command::Init(args) => on_this_machine::run("init", &args.arguments),
        Command::Join(args) => on_this_machine::run("join", &args.arguments),
        Command::Leave(args) => on_this_machine::run("leave", &args.arguments),
        Command::Completions { shell } => completions::run(printer, shell),
        Command::FdForward { sockets } => fd_forward::run(&context, &sockets),
        Command::Verify { .. } => Ok(verify::run(&context)),
        Command::Version => version::run(printer),
    }
}

/// An argument, and the unit it means.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    argument: String,
    unit: UnitName,
}

/// The units that arguments mean, each once, in order.
fn named(arguments: &[String]) -> Result<Vec<Named>, Error> {
    let mut all: Vec<Named> = Vec::with_capacity(arguments.len());
    let mut seen = std::collections::BTreeSet::new();
    for argument in arguments {
        let unit = UnitName::from_argument(argument).map_err(|error| Error::Failed {
            what: "Error",
            message: format!("{}: {error}", text::one_line(argument)),
        })?;
        if seen.insert(unit.clone()) {
            all.push(Named {
                argument: argument.clone(),
                unit,
            });
        }
    }
    Ok(all)
}

/// How long to wait, from now on.
fn patience(wait: Wait) -> Patience {
    let attempts = wait
        .block_attempts
        .map(|attempts| u32::try_from(attempts).unwrap_or(0));
    Patience {
        deadline: attempts
            .filter(|&attempts| attempts > 0)
            .map(|attempts| Instant::now() + ATTEMPT * attempts),
        while_unplaced: attempts.is_some(),
    }
}
