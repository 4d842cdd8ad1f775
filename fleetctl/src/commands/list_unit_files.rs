//! `fleetctl list-unit-files`.

use std::collections::BTreeMap;

use units::wire::v1::Unit;
use units::{Requirements, UnitFile, UnitName};

use super::Context;
use super::pattern::Patterns;
use super::table::{Column, Columns, text_or_null};
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

const LIST: Columns<Row> = Columns {
    all: COLUMNS,
    of_a_table: "unit,hash,dstate,state,target",
    of_an_object: "unit,hash,dstate,state,global,target,ip,desc",
};

const COLUMNS: &[Column<Row>] = &[
    Column {
        name: "unit",
        cell: |row, _| row.unit.name.clone(),
        value: |row| text_or_null(&row.unit.name),
    },
    Column {
        name: "hash",
        cell: |row, full| text::hash(&hash(row), full),
        value: |row| text_or_null(&hash(row)),
    },
    Column {
        name: "dstate",
        cell: |row, _| row.unit.desired_state.clone(),
        value: |row| text_or_null(&row.unit.desired_state),
    },
    Column {
        name: "state",
        cell: |row, _| state(row).to_owned(),
        value: |row| text_or_null(state(row)),
    },
    Column {
        name: "target",
        cell: target,
        value: |row| text_or_null(&row.unit.machine_id),
    },
    Column {
        name: "global",
        cell: |row, _| row.global.to_string(),
        value: |row| row.global.into(),
    },
    Column {
        name: "desc",
        cell: |row, _| description(row).to_owned(),
        value: |row| text_or_null(description(row)),
    },
    Column {
        name: "tmachine",
        cell: target,
        value: |row| text_or_null(&row.unit.machine_id),
    },
    Column {
        name: "ip",
        cell: |row, _| row.address.clone(),
        value: |row| text_or_null(&row.address),
    },
];

fn hash(row: &Row) -> String {
    let file = row.file.as_ref();
    file.map_or_else(String::new, |file| file.hash().to_string())
}

/// Of a unit that runs everywhere there is none.
fn state(row: &Row) -> &str {
    match row.global {
        true => "",
        false => &row.unit.current_state,
    }
}

fn description(row: &Row) -> &str {
    row.file
        .as_ref()
        .and_then(UnitFile::description)
        .unwrap_or_default()
}

fn target(row: &Row, full: bool) -> String {
    match (row.global, row.unit.machine_id.as_str()) {
        (true, _) => "global".to_owned(),
        (false, "") => String::new(),
        (false, id) => text::machine(id, &row.address, full),
    }
}

pub(super) async fn run(
    context: &Context,
    wanted: &[String],
    table: Table,
    fields: Option<String>,
) -> Result<ExitStatus, Error> {
    let list = LIST.choose(fields, table)?;
    let wanted = Patterns::parse(wanted)?;
    if list.columns.iter().any(|column| column.name == "tmachine") {
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
    let mut rows: Vec<Row> = units
        .into_iter()
        .filter(|unit| wanted.matches(&unit.name))
        .map(|unit| row(unit, &addresses))
        .collect();
    rows.sort_by(|a, b| a.unit.name.cmp(&b.unit.name));
    context.printer.data(list.render(&rows))?;
    Ok(ExitStatus::Success)
}

fn row(mut unit: Unit, addresses: &BTreeMap<String, String>) -> Row {
    let file = UnitFile::from_options(std::mem::take(&mut unit.options)).ok();
    let requirements = UnitName::parse(&unit.name)
        .ok()
        .zip(file.as_ref())
        .and_then(|(name, file)| Requirements::parse(&name, file).ok());
    Row {
        global: requirements.is_some_and(|asked| asked.global),
        address: addresses.get(&unit.machine_id).cloned().unwrap_or_default(),
        file,
        unit,
    }
}
