//! `fleetctl journal`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use units::{CopyView, MachineId, UnitName, UnitView};

use super::{Context, named, remote, status};
use crate::cli::Journal;
use crate::error::{Error, ExitStatus};
use crate::ssh::command_line;

pub(super) async fn run(context: &Context, args: &Journal) -> Result<ExitStatus, Error> {
    let printer = context.printer;
    let names = named(&args.units)?;
    let ([_], [name]) = (args.units.as_slice(), names.as_slice()) else {
        printer.say("One unit file must be provided.");
        return Ok(ExitStatus::Failure);
    };
    let name = &name.unit;
    let Some(view) = context.api.view(name).await? else {
        printer.say(format_args!("Unit {name} does not exist."));
        return Ok(ExitStatus::Failure);
    };
    let machine = match &args.machine {
        Some(machine) => chosen(context, &view, machine),
        None if view.global => {
            printer.say(format_args!("Unable to retrieve journal of global unit {name}."));
            printer.hint(format_args!(
                "--machine ID chooses one of its machines; `fleetctl status {name}` lists them"
            ));
            None
        }
        None => {
            let home = remote::home(context, &view).await?;
            if home.is_none() {
                printer.say(format_args!("Unit {name} does not appear to be running."));
            }
            home
        }
    };
    let Some((id, address)) = machine else {
        return Ok(ExitStatus::Failure);
    };
    let words = words(name, args);
    match status::machine_id(&context.machine_id_file).as_deref() == Some(id.as_str()) {
        true => become_journalctl(&words),
        false => {
            let command = [command_line(&words)];
            remote::become_ssh(context, &address, args.ssh_port, false, &command).await
        }
    }
}

/// One of the machines the unit is on; if there is none, that has been said.
fn chosen<'v>(context: &Context, view: &'v UnitView, machine: &str) -> Option<(&'v MachineId, String)> {
    let name = &view.name;
    match remote::by_id(&view.copies, |copy: &CopyView| copy.machine.as_str(), machine) {
        Ok(Some(copy)) => return Some((&copy.machine, copy.address.clone())),
        Ok(None) => context.printer.say(format_args!(
            "Unit {name} is not on a machine {machine}; `fleetctl status {name}` lists where it is."
        )),
        Err(why) => context.printer.say(format_args!("Unable to proceed: {why}")),
    }
    None
}

/// What is run on the machine.
fn words(name: &UnitName, args: &Journal) -> Vec<String> {
    let mut words = vec![
        "journalctl",
        "--unit",
        name.as_str(),
        "--no-pager",
        "-n",
        &args.lines,
    ];
    words.extend(["--output", &args.output]);
    if args.follow {
        words.push("-f");
    }
    if args.sudo {
        words.insert(0, "sudo");
    }
    words.into_iter().map(str::to_owned).collect()
}

/// Becomes it; comes back only if that is not possible.
fn become_journalctl(words: &[String]) -> Result<ExitStatus, Error> {
    let (program, arguments) = words.split_first().map_or(("", words), |(p, a)| (p.as_str(), a));
    Err(Error::Failed {
        what: "Error running local command",
        message: format!("{program}: {}", Command::new(program).args(arguments).exec()),
    })
}
