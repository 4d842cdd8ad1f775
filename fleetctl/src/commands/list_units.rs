//! `fleetctl list-units`.

use std::collections::BTreeMap;

use units::wire::v1::UnitState;

use super::Context;
use super::pattern::Patterns;
use super::table::{Column, Columns, text_or_null};
use crate::cli::Table;
use crate::error::{During, Error, ExitStatus};
use crate::text;

const FAILING: &str = "Error retrieving list of units from repository";

/// What one machine says of one unit, and where that machine is.
struct Row {
    state: UnitState,
    address: String,
}

const LIST: Columns<Row> = Columns {
    all: COLUMNS,
    of_a_table: "unit,machine,active,sub",
    of_an_object: "unit,machine,ip,load,active,sub,hash",
};

const COLUMNS: &[Column<Row>] = &[
    Column {
        name: "unit",
        cell: |row, _| row.state.name.clone(),
        value: |row| text_or_null(&row.state.name),
    },
    Column {
        name: "machine",
        cell: |row, full| text::machine(&row.state.machine_id, &row.address, full),
        value: |row| text_or_null(&row.state.machine_id),
    },
    Column {
        name: "load",
        cell: |row, _| row.state.systemd_load_state.clone(),
        value: |row| text_or_null(&row.state.systemd_load_state),
    },
    Column {
        name: "active",
        cell: |row, _| row.state.systemd_active_state.clone(),
        value: |row| text_or_null(&row.state.systemd_active_state),
    },
    Column {
        name: "sub",
        cell: |row, _| row.state.systemd_sub_state.clone(),
        value: |row| text_or_null(&row.state.systemd_sub_state),
    },
    Column {
        name: "hash",
        cell: |row, full| text::hash(&row.state.hash, full),
        value: |row| text_or_null(&row.state.hash),
    },
    Column {
        name: "ip",
        cell: |row, _| row.address.clone(),
        value: |row| text_or_null(&row.address),
    },
];

pub(super) async fn run(
    context: &Context,
    wanted: &[String],
    table: Table,
    fields: Option<String>,
) -> Result<ExitStatus, Error> {
    let list = LIST.choose(fields, table)?;
    let wanted = Patterns::parse(wanted)?;
    let api = &context.api;
    let (states, machines) = tokio::try_join!(api.states(), api.machines()).during(FAILING)?;
    let addresses: BTreeMap<String, String> = machines
        .into_iter()
        .map(|machine| (machine.id, machine.primary_ip))
        .collect();
    let row = |state: UnitState| Row {
        address: addresses.get(&state.machine_id).cloned().unwrap_or_default(),
        state,
    };
    let mut rows: Vec<Row> = states
        .into_iter()
        .filter(|state| wanted.matches(&state.name))
        .map(row)
        .collect();
    rows.sort_by(|a, b| (&a.state.name, &a.state.machine_id).cmp(&(&b.state.name, &b.state.machine_id)));
    context.printer.data(list.render(&rows))?;
    Ok(ExitStatus::Success)
}
