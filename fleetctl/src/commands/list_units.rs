//! `fleetctl list-units`.

use std::collections::BTreeMap;

use units::wire::v1::UnitState;

use super::Context;
use super::table::{Column, choose, render};
use crate::cli::Table;
use crate::error::{During, Error, ExitStatus};
use crate::text;

const FAILING: &str = "Error retrieving list of units from repository";

/// What one machine says of one unit, and where that machine is.
struct Row {
    state: UnitState,
    address: String,
}

const COLUMNS: [Column<Row>; 6] = [
    Column {
        name: "unit",
        cell: |row, _| row.state.name.clone(),
    },
    Column {
        name: "machine",
        cell: |row, full| text::machine(&row.state.machine_id, &row.address, full),
    },
    Column {
        name: "load",
        cell: |row, _| row.state.systemd_load_state.clone(),
    },
    Column {
        name: "active",
        cell: |row, _| row.state.systemd_active_state.clone(),
    },
    Column {
        name: "sub",
        cell: |row, _| row.state.systemd_sub_state.clone(),
    },
    Column {
        name: "hash",
        cell: |row, full| text::hash(&row.state.hash, full),
    },
];

pub(super) async fn run(context: &Context, table: Table, fields: &str) -> Result<ExitStatus, Error> {
    let columns = choose(&COLUMNS, fields)?;
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
    let mut rows: Vec<Row> = states.into_iter().map(row).collect();
    rows.sort_by(|a, b| (&a.state.name, &a.state.machine_id).cmp(&(&b.state.name, &b.state.machine_id)));
    context.printer.data(render(&columns, &rows, table))?;
    Ok(ExitStatus::Success)
}
