//! `fleetctl list-machines`.

use units::wire::v1::Machine;

use super::Context;
use super::table::{Column, Columns, text_or_null};
use crate::cli::Table;
use crate::error::{Error, ExitStatus};
use crate::text;

const LIST: Columns<Machine> = Columns {
    all: COLUMNS,
    of_a_table: "machine,ip,metadata",
    of_an_object: "machine,ip,metadata",
};

const COLUMNS: &[Column<Machine>] = &[
    Column {
        name: "machine",
        cell: |machine, full| text::machine(&machine.id, "", full),
        value: |machine| text_or_null(&machine.id),
    },
    Column {
        name: "ip",
        cell: |machine, _| machine.primary_ip.clone(),
        value: |machine| text_or_null(&machine.primary_ip),
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
        value: |machine| serde_json::json!(machine.metadata),
    },
];

pub(super) async fn run(
    context: &Context,
    wanted: &[String],
    table: Table,
    fields: Option<String>,
) -> Result<ExitStatus, Error> {
    let list = LIST.choose(fields, table)?;
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
    let is_wanted =
        |id: &str| wanted.is_empty() || wanted.iter().any(|prefix| id.starts_with(prefix.as_str()));
    machines.retain(|machine| is_wanted(&machine.id));
    machines.sort_by(|a, b| a.id.cmp(&b.id));
    context.printer.data(list.render(&machines))?;
    Ok(ExitStatus::Success)
}
