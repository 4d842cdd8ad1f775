//! `fleetctl ssh`.

use units::UnitName;

use super::{Context, remote};
use crate::cli::Ssh;
use crate::error::{Error, ExitStatus};

/// A machine that was looked for: its address, or why there is none, in fleet's words (fleet-reference §4.6).
type Found = Result<String, String>;

pub(super) async fn run(context: &Context, args: &Ssh) -> Result<ExitStatus, Error> {
    let printer = context.printer;
    let mut command = args.command.clone();
    let found = match (&args.machine, &args.unit, &args.target) {
        (Some(_), Some(_), _) => {
            printer.say("Both machine and unit flags provided, please specify only one.");
            return Ok(ExitStatus::Failure);
        }
        (None, None, None) => Err("one machine or unit must be provided".to_owned()),
        (None, None, Some(target)) => either(context, target).await?,
        (machine, unit, target) => {
            // What would be the target is the command's first word.
            command.splice(0..0, target.clone());
            match (machine, unit) {
                (Some(machine), _) => of_machine(context, machine).await?,
                (None, Some(unit)) => of_unit(context, unit).await?,
                (None, None) => None,
            }
            .unwrap_or_else(|| Err(absent(machine.is_some())))
        }
    };
    match found {
        Ok(address) => {
            remote::become_ssh(context, &address, args.ssh_port, args.forward_agent, &command).await
        }
        Err(why) => {
            printer.say(format_args!("Unable to proceed: {why}"));
            Ok(ExitStatus::Failure)
        }
    }
}

fn absent(is_machine: bool) -> String {
    let what = if is_machine { "machine" } else { "unit" };
    format!("{what} does not exist")
}

/// Whichever of the two it is.
async fn either(context: &Context, target: &str) -> Result<Found, Error> {
    Ok(
        match (
            of_machine(context, target).await?,
            of_unit(context, target).await?,
        ) {
            (Some(Ok(_)), Some(Ok(_))) => Err(format!(
                "ambiguous argument, both machine and unit found for `{target}`. Please use flag `--machine` or `--unit` \
             to refine the search"
            )),
            (Some(Ok(address)), _) | (_, Some(Ok(address))) => Ok(address),
            // Nearly found is worth more than not found.
            (Some(Err(why)), _) | (_, Some(Err(why))) => Err(why),
            (None, None) => Err("could not find matching unit or machine".to_owned()),
        },
    )
}

async fn of_machine(context: &Context, target: &str) -> Result<Option<Found>, Error> {
    let machines = context.api.machines().await?;
    Ok(match remote::by_id(&machines, |machine| &machine.id, target) {
        Ok(machine) => machine.map(|machine| Ok(machine.primary_ip.clone())),
        Err(why) => Some(Err(why.to_owned())),
    })
}

async fn of_unit(context: &Context, target: &str) -> Result<Option<Found>, Error> {
    let Ok(name) = UnitName::from_argument(target) else {
        return Ok(None);
    };
    let Some(view) = context.api.view(&name).await? else {
        return Ok(None);
    };
    if view.global {
        let hint = "global units unsupported; --machine ID goes to one of its machines";
        return Ok(Some(Err(hint.to_owned())));
    }
    Ok(Some(match remote::home(context, &view).await? {
        Some((_, address)) => Ok(address),
        None => Err(format!(
            "unit {name} is on no machine; see `fleetctl status {name}`"
        )),
    }))
}
