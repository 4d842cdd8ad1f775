//! What goes to the machines themselves: which one, and how to get there.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use units::{CopyView, MachineId, UnitView};

use super::Context;
use crate::error::{Error, ExitStatus};
use crate::ssh::{self, Destination};

/// How ssh ends when it is itself what failed.
const SSH_FAILED: u8 = 255;

/// Beginning of a machine's id, also as lists show it: `1234abcd...` or `1234abcd.../10.0.0.1`.
pub(super) fn beginning_of_id(text: &str) -> &str {
    text.split("...").next().unwrap_or_default()
}

/// The one of `machines` that `text` is the beginning of; `Err` says that there are several.
pub(super) fn by_id<'m, M>(
    machines: &'m [M],
    id: impl Fn(&M) -> &str,
    text: &str,
) -> Result<Option<&'m M>, &'static str> {
    let beginning = beginning_of_id(text);
    let fits = |machine: &&M| !beginning.is_empty() && id(machine).starts_with(beginning);
    let mut matching = machines.iter().filter(fits);
    match (matching.next(), matching.next()) {
        (Some(_), Some(_)) => Err("found more than one machine"),
        (machine, _) => Ok(machine),
    }
}

/// The machine a unit that is not global belongs on, and its address, which may be empty.
pub(super) async fn home<'v>(
    context: &Context,
    view: &'v UnitView,
) -> Result<Option<(&'v MachineId, String)>, Error> {
    let Some(placement) = &view.placement else {
        return Ok(None);
    };
    let id = &placement.machine;
    let is_there = |copy: &&CopyView| copy.machine == *id && !copy.address.is_empty();
    let address = match view.copies.iter().find(is_there) {
        Some(copy) => copy.address.clone(),
        None => context.api.addresses().await?.remove(id).unwrap_or_default(),
    };
    Ok(Some((id, address)))
}

/// Becomes ssh to that machine, which ends as the command there does, or with 255 if ssh itself fails; without a
/// command it is a shell. Comes back only if ssh cannot even be begun.
pub(super) async fn become_ssh(
    context: &Context,
    address: &str,
    port: Option<u16>,
    forward_agent: bool,
    command: &[String],
) -> Result<ExitStatus, Error> {
    let printer = context.printer;
    let Ok(destination) = Destination::parse(address) else {
        printer.say("Could not determine address of machine.");
        return Ok(ExitStatus::Failure);
    };
    let destination = destination.with_port(port);
    let way = ssh::way(&context.ssh, context.tunnel.as_deref(), &destination).await;
    let way = match way {
        Ok(way) => way,
        Err(error) => {
            printer.error("Failed building SSH client", error);
            return Ok(ExitStatus::Other(SSH_FAILED));
        }
    };
    let mut ssh = Command::new("ssh");
    if forward_agent {
        ssh.arg("-A");
    }
    ssh.args(way);
    if !command.is_empty() {
        // Else ssh would take a word that begins with a dash for an option of its own.
        ssh.arg("--").args(command);
    }
    printer.error(
        "Failed building SSH client",
        format_args!("cannot run ssh: {}", ssh.exec()),
    );
    Ok(ExitStatus::Other(SSH_FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_found_by_the_beginning_of_their_id() {
        let machines = ["1234abcd", "1299ffff", "beef0002"];
        let table: [(&str, Result<Option<&str>, &str>); 8] = [
            ("1234", Ok(Some("1234abcd"))),
            ("beef0002", Ok(Some("beef0002"))),
            ("beef0002...", Ok(Some("beef0002"))),
            ("beef0002.../10.0.0.1", Ok(Some("beef0002"))),
            ("12", Err("found more than one machine")),
            ("", Ok(None)),
            ("...", Ok(None)),
            ("c0", Ok(None)),
        ];
        for (text, expected) in table {
            let found = by_id(&machines, |id| id, text);
            assert_eq!(found.map(Option::<&&str>::copied), expected, "{text}");
        }
    }
}
