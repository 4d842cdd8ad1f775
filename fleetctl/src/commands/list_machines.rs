//! `fleetctl list-machines`.

use units::wire::v1::Machine;

use super::Context;
use super::table::{Column, choose, render};
use crate::cli::Table;
use crate::error::{Error, ExitStatus};
use crate::text;

const COLUMNS: [Column<Machine>; 3] = [
    Column {
        name: "machine",
        cell: |machine, full| text::machine(&machine.id, "", full),
    },
    Column {
        name: "ip",
        cell: |machine, _| machine.primary_ip.clone(),
    },
    Column {
        name: "metadata",
        cell: |machine, _| {
            let pairs: Vec<String> = machine
                .metadata
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            pairs.join(",")
        },
    },
];

pub(super) async fn run(context: &Context, table: Table, fields: &str) -> Result<ExitStatus, Error> {
    let columns = choose(&COLUMNS, fields)?;
    let mut machines = match context.api.machines().await {
        Ok(machines) => machines,
        Err(error) => {
            let printer = context.printer;
            printer.say(format_args!(
                "Error retrieving list of active machines from fleet API ({error})"
            ));
            printer.say("Possible issues:");
            printer.say("  - fleetd is not running, or not there: `systemctl status fleet.service fleet.socket`, --endpoint");
            printer.say("  - fleetd is running but cannot reach etcd: `journalctl -u fleet`, `etcdctl endpoint health`");
            return Ok(ExitStatus::Failure);
        }
    };
    machines.sort_by(|a, b| a.id.cmp(&b.id));
    context.printer.data(render(&columns, &machines, table))?;
    Ok(ExitStatus::Success)
}
