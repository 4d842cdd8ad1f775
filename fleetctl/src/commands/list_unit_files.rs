//! `fleetctl list-unit-files`.

use std::collections::BTreeMap;

use units::wire::v1::Unit;
use units::{Requirements, UnitFile, UnitName};

use super::Context;
use super::table::{Column, choose, render};
use crate::cli::Table;
use crate::error::{During, Error, ExitStatus};
use crate::text;

const FAILING: &str = "Error retrieving list of units from repository";

/// A unit, and what is read off its content.
struct Row {
    unit: Unit,
    file: Option<UnitFile>,
    global: bool,
    /// Of its machine.
    address: String,
}

const COLUMNS: [Column<Row>; 8] = [
    Column {
        name: "unit",
        cell: |row, _| row.unit.name.clone(),
    },
    Column {
        name: "hash",
        cell: |row, full| {
            row.file
                .as_ref()
                .map_or_else(String::new, |file| text::hash(file.hash().as_str(), full))
        },
    },
    Column {
        name: "dstate",
        cell: |row, _| row.unit.desired_state.clone(),
    },
    Column {
        name: "state",
        cell: |row, _| match row.global {
            true => String::new(),
            false => row.unit.current_state.clone(),
        },
    },
    Column {
        name: "target",
        cell: target,
    },
    Column {
        name: "global",
        cell: |row, _| row.global.to_string(),
    },
    Column {
        name: "desc",
        cell: |row, _| {
            row.file
                .as_ref()
                .and_then(UnitFile::description)
                .unwrap_or_default()
                .to_owned()
        },
    },
    Column {
        name: "tmachine",
        cell: target,
    },
];

fn target(row: &Row, full: bool) -> String {
    match (row.global, row.unit.machine_id.as_str()) {
        (true, _) => "global".to_owned(),
        (false, "") => String::new(),
        (false, id) => text::machine(id, &row.address, full),
    }
}

pub(super) async fn run(context: &Context, table: Table, fields: &str) -> Result<ExitStatus, Error> {
    let columns = choose(&COLUMNS, fields)?;
    if columns.iter().any(|column| column.name == "tmachine") {
        context
            .printer
            .warning("The \"tmachine\" field is deprecated. Use \"target\" instead");
    }
    let api = &context.api;
    let (units, machines) = tokio::try_join!(api.units(), api.machines()).during(FAILING)?;
    let addresses: BTreeMap<String, String> = machines
        .into_iter()
        .map(|machine| (machine.id, machine.primary_ip))
        .collect();
    let mut rows: Vec<Row> = units.into_iter().map(|unit| row(unit, &addresses)).collect();
    rows.sort_by(|a, b| a.unit.name.cmp(&b.unit.name));
    context.printer.data(render(&columns, &rows, table))?;
    Ok(ExitStatus::Success)
}

fn row(mut unit: Unit, addresses: &BTreeMap<String, String>) -> Row {
    let file = UnitFile::from_options(std::mem::take(&mut unit.options)).ok();
    let requirements = UnitName::parse(&unit.name)
        .ok()
        .zip(file.as_ref())
        .and_then(|(name, file)| Requirements::parse(&name, file).ok());
    Row {
        global: requirements.is_some_and(|parsed| parsed.requirements.global),
        address: addresses.get(&unit.machine_id).cloned().unwrap_or_default(),
        file,
        unit,
    }
}
