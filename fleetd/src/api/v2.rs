//! What fleet 1.0 had no words for: why a unit is where it is, runs, revisions.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use units::{MachineRecord, Metadata, UnitRecord, UnitView};

use super::change::{self, Change};
use super::error::ApiError;
use super::gather::{self, content, is_global};
use super::v1::{TRIES, existing, known};
use super::{Api, with_revision};
use crate::registry::keys::Key;
use crate::registry::{Commit, Select};

#[derive(Debug, Serialize)]
pub(super) struct Units {
    revision: i64,
    units: Vec<UnitView>,
}

/// Every unit with its place or the reason it has none; copies are left to the question about one unit.
pub(super) async fn units(State(api): State<Api>) -> Result<Json<Units>, ApiError> {
    let keys = &api.keys;
    let verdicts = format!("{}verdict/", keys.root());
    let what = [keys.units(), keys.contents(), keys.schedules(), verdicts].map(Select::Prefix);
    let snapshot = api.registry.read(&what).await?;
    let mut units = Vec::new();
    for kv in &snapshot.kvs {
        let Some(Key::Unit(name)) = keys.parse(&kv.key) else {
            continue;
        };
        let Ok(unit) = serde_json::from_slice::<UnitRecord>(&kv.value) else {
            continue;
        };
        let file = content(keys, &snapshot, &unit.hash);
        let value = |key: &str| {
            snapshot
                .get(key)
                .map(|kv| kv.value.as_slice())
                .unwrap_or_default()
                .to_vec()
        };
        units.push(UnitView {
            revision: snapshot.revision,
            generation: kv.mod_revision,
            global: is_global(&name, file.as_ref()),
            description: file.as_ref().and_then(|f| f.description().map(str::to_owned)),
            placement: serde_json::from_slice(&value(&keys.schedule(&name))).ok(),
            verdict: serde_json::from_slice(&value(&keys.verdict(&name))).ok(),
            copies: Vec::new(),
            unit,
            name,
        });
    }
    Ok(Json(Units {
        revision: snapshot.revision,
        units,
    }))
}

pub(super) async fn unit(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<UnitView>, ApiError> {
    let unit = existing(&name)?;
    let gathered = gather::gather(&api.registry, &api.keys, &[unit].into()).await?;
    let view = gathered.units.into_values().next().and_then(|g| g.view);
    view.map(Json).ok_or(ApiError::NotFound("unit does not exist"))
}

#[derive(Debug, Serialize)]
struct Run {
    run: u64,
}

/// Another run of a unit, which is launched by it if it was not.
pub(super) async fn run(State(api): State<Api>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let unit = existing(&name)?;
    api.believe()?;
    for _ in 0..TRIES {
        let (known, _) = known(&api, &unit).await?;
        let known = known.ok_or(ApiError::NotFound("unit does not exist"))?;
        let unreadable = || ApiError::Conflict(format!("what is stored of {unit} cannot be read"));
        let record = change::run_again(&unit, known.record.as_ref().ok_or_else(unreadable)?)?;
        let run = record.run;
        let Some(txn) = change::transaction(&api.keys, &unit, Some(&known), &Change::Update(record)) else {
            continue;
        };
        if let Commit::Applied(revision) = api.registry.commit(txn).await? {
            tracing::info!(%unit, revision, run, "runs a unit again as asked");
            return Ok(with_revision(
                revision,
                (StatusCode::CREATED, Json(Run { run })).into_response(),
            ));
        }
    }
    Err(ApiError::Conflict(format!(
        "{name} is being changed by others all the time; try again"
    )))
}

#[derive(Debug, Serialize)]
pub(super) struct Machines {
    revision: i64,
    machines: Vec<MachineView>,
}

#[derive(Debug, Serialize)]
struct MachineView {
    record: MachineRecord,
    present: bool,
    metadata: Metadata,
}

/// Every machine the cluster remembers, present or not.
pub(super) async fn machines(State(api): State<Api>) -> Result<Json<Machines>, ApiError> {
    let snapshot = gather::read_machines(&api.registry, &api.keys).await?;
    let here = gather::present(&api.keys, &snapshot);
    let records = gather::machines(&api.keys, &snapshot).into_iter();
    let view = |record: MachineRecord| MachineView {
        present: here.contains_key(&record.id),
        metadata: record.effective_metadata(),
        record,
    };
    let machines = records.filter_map(|(_, record)| record).map(view).collect();
    Ok(Json(Machines {
        revision: snapshot.revision,
        machines,
    }))
}

#[derive(Debug, Serialize)]
pub(super) struct Leader {
    machine: Option<String>,
    address: String,
}

/// Who leads at the moment.
pub(super) async fn leader(State(api): State<Api>) -> Result<Json<Leader>, ApiError> {
    let what = [
        Select::Key(api.keys.leader()),
        Select::Prefix(api.keys.machines()),
    ];
    let snapshot = api.registry.read(&what).await?;
    let machine = snapshot
        .get(&api.keys.leader())
        .map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
    let records = gather::machines(&api.keys, &snapshot);
    let record = machine
        .as_deref()
        .and_then(|id| units::MachineId::parse(id).ok())
        .and_then(|id| records.get(&id));
    let address = record
        .and_then(|r| r.as_ref().map(|r| r.address.clone()))
        .unwrap_or_default();
    Ok(Json(Leader { machine, address }))
}
