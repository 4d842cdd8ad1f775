//! fleet's own API, as every client of fleet 1.0 knows it (fleet-reference §5).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use units::wire::v1;
use units::{Hold, MachineId, UnitFile, UnitName, UnitRecord};

use super::change::{self, Known};
use super::error::{ApiError, whole};
use super::page::Page;
use super::{Api, gather, with_revision};
use crate::registry::keys::{Key, Keys};
use crate::registry::{Commit, Precondition, RegistryError, Select, Snapshot, Txn};

/// A user's change is tried again when something else changed the unit between reading and writing.
pub(crate) const TRIES: usize = 10;

type Parameters = Query<Vec<(String, String)>>;

fn values(parameters: &[(String, String)], name: &str) -> Vec<String> {
    parameters
        .iter()
        .filter(|(n, _)| n == name)
        .map(|(_, v)| v.clone())
        .collect()
}

pub(super) async fn only_get() -> ApiError {
    ApiError::Method("only GET supported against this resource")
}

pub(super) async fn only_get_and_patch() -> ApiError {
    ApiError::Method("only GET and PATCH supported against this resource")
}

/// `/`, `/fleet/v1` and `/v1-alpha`: there is something below them and nothing to do with them.
pub(super) async fn nothing_here() -> ApiError {
    ApiError::Method("")
}

/// One page of a listing, with every page of it from the revision of the first.
async fn listing<T>(
    api: &Api,
    name: &str,
    parameters: &[(String, String)],
    read: impl Future<Output = Result<Snapshot, RegistryError>>,
    entries: impl FnOnce(&Snapshot) -> Vec<T>,
) -> Result<(Vec<T>, String), ApiError> {
    let limit = api.page_size.load(Ordering::Relaxed);
    let page = Page::parse(&values(parameters, "nextPageToken"), limit)?;
    let kept = if page.number > 1 {
        api.pages.kept(name)
    } else {
        None
    };
    let snapshot = match kept {
        Some(snapshot) => snapshot,
        None => read.await?,
    };
    let (entries, next) = page.cut(entries(&snapshot));
    if page.number == 1 && !next.is_empty() {
        api.pages.keep(name, &snapshot);
    }
    Ok((entries, next))
}

pub(super) async fn units(
    State(api): State<Api>,
    Query(parameters): Parameters,
) -> Result<Json<v1::UnitPage>, ApiError> {
    let what = [
        api.keys.units(),
        api.keys.contents(),
        api.keys.schedules(),
        api.keys.agents(),
    ]
    .map(Select::Prefix);
    let keys = api.keys.clone();
    let all = |snapshot: &Snapshot| {
        let mut contents = BTreeMap::new();
        let names = snapshot.kvs.iter().filter_map(|kv| match keys.parse(&kv.key) {
            Some(Key::Unit(name)) => Some(name),
            _ => None,
        });
        names
            .map(|name| render(&keys, snapshot, &name, &mut contents))
            .collect()
    };
    let (units, next_page_token) = listing(&api, "units", &parameters, api.registry.read(&what), all).await?;
    Ok(Json(v1::UnitPage {
        units,
        next_page_token,
    }))
}

/// A unit as v1 shows it. One whose record cannot be read is listed all the same: what cannot be seen cannot be removed.
fn render(
    keys: &Keys,
    snapshot: &Snapshot,
    name: &UnitName,
    contents: &mut BTreeMap<units::Hash, Option<UnitFile>>,
) -> v1::Unit {
    let value = snapshot
        .get(&keys.unit(name))
        .map(|kv| kv.value.as_slice())
        .unwrap_or_default();
    let Ok(record) = serde_json::from_slice::<UnitRecord>(value) else {
        return v1::Unit {
            name: name.to_string(),
            ..v1::Unit::default()
        };
    };
    let file = contents
        .entry(record.hash)
        .or_insert_with(|| gather::content(keys, snapshot, &record.hash))
        .as_ref();
    let home = snapshot.get(&keys.schedule(name));
    let home = home
        .and_then(|kv| serde_json::from_slice::<units::Placement>(&kv.value).ok())
        .map(|p| p.machine);
    let state = home.and_then(|id| snapshot.get(&keys.state(&id, name)));
    let state = state.and_then(|kv| serde_json::from_slice::<units::State>(&kv.value).ok());
    let current = match state {
        Some(state) if state.hold == Hold::Held && state.started => "launched",
        Some(state) if state.hold == Hold::Held && state.hash.is_some() => "loaded",
        _ => "inactive",
    };
    v1::Unit {
        name: name.to_string(),
        options: file.map(|f| f.options().to_vec()).unwrap_or_default(),
        desired_state: record.desired.to_string(),
        current_state: current.to_owned(),
        machine_id: home.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(super) async fn unit(
    State(api): State<Api>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    match method {
        Method::GET | Method::HEAD => get(&api, &name).await,
        Method::PUT => put(&api, &name, &headers, body).await,
        Method::DELETE => delete(&api, &name).await,
        _ => Err(ApiError::Method(
            "only GET, PUT and DELETE supported against this resource",
        )),
    }
}

/// A name that cannot be one belongs to no unit.
pub(super) fn existing(name: &str) -> Result<UnitName, ApiError> {
    UnitName::parse(name).map_err(|_| ApiError::NotFound("unit does not exist"))
}

async fn get(api: &Api, name: &str) -> Result<Response, ApiError> {
    let unit = existing(name)?;
    let gathered = gather::gather(&api.registry, &api.keys, &[unit.clone()].into()).await?;
    let missing = || ApiError::NotFound("unit does not exist");
    let view = gathered.units.into_values().next().and_then(|g| g.view);
    let Some(view) = view else {
        // It may be there and be unreadable.
        let found = api.registry.read(&[Select::Key(api.keys.unit(&unit))]).await?;
        found.get(&api.keys.unit(&unit)).ok_or_else(missing)?;
        return Ok(Json(v1::Unit {
            name: name.to_owned(),
            ..v1::Unit::default()
        })
        .into_response());
    };
    let content = api
        .registry
        .read(&[Select::Key(api.keys.content(&view.unit.hash))])
        .await?;
    let options = gather::content(&api.keys, &content, &view.unit.hash);
    let home = view.placement.as_ref().map(|p| p.machine);
    let state = view
        .copies
        .iter()
        .find(|c| Some(c.machine) == home)
        .and_then(|c| c.state.as_ref());
    let current = match state {
        // As in fleet: a single answer about a global unit says nothing of a current state.
        _ if view.global => "",
        Some(state) if state.hold == Hold::Held && state.started => "launched",
        Some(state) if state.hold == Hold::Held && state.hash.is_some() => "loaded",
        _ => "inactive",
    };
    let unit = v1::Unit {
        name: name.to_owned(),
        options: options.map(|f| f.options().to_vec()).unwrap_or_default(),
        desired_state: view.unit.desired.to_string(),
        current_state: current.to_owned(),
        machine_id: home.map(|id| id.to_string()).unwrap_or_default(),
    };
    Ok(Json(unit).into_response())
}

/// The unit as it is stored now.
pub(super) async fn known(api: &Api, unit: &UnitName) -> Result<(Option<Known>, i64), ApiError> {
    let key = api.keys.unit(unit);
    let snapshot = api.registry.read(&[Select::Key(key.clone())]).await?;
    let known = snapshot.get(&key).map(|kv| Known {
        record: serde_json::from_slice(&kv.value).ok(),
        revision: kv.mod_revision,
    });
    Ok((known, snapshot.revision))
}

async fn put(
    api: &Api,
    name: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    require_json(headers)?;
    let body: v1::Unit = serde_json::from_slice(&whole(body)?)
        .map_err(|e| ApiError::BadRequest(format!("unable to decode body: {e}")))?;
    api.believe()?;
    let unit = UnitName::parse(name).ok();
    for _ in 0..TRIES {
        // An invalid name is refused by `decide`, in its turn.
        let (known, seen) = match &unit {
            Some(unit) => known(api, unit).await?,
            None => (None, 0),
        };
        let (unit, change) = change::decide(name, body.clone(), known.as_ref())?;
        let status = match change {
            change::Change::Create(_) => StatusCode::CREATED,
            change::Change::Update(_) | change::Change::Nothing => StatusCode::NO_CONTENT,
        };
        let Some(txn) = change::transaction(&api.keys, &unit, known.as_ref(), &change) else {
            return Ok(with_revision(seen, status));
        };
        if let Commit::Applied(revision) = api.registry.commit(txn).await? {
            tracing::info!(%unit, revision, change = describe(&change), "changed a unit as asked");
            return Ok(with_revision(revision, status));
        }
    }
    Err(ApiError::Conflict(format!(
        "{name} is being changed by others all the time; try again"
    )))
}

fn describe(change: &change::Change) -> String {
    match change {
        change::Change::Create(new) => format!("content {}, {}", new.0.hash.short(), new.0.desired),
        change::Change::Update(record) => record.desired.to_string(),
        change::Change::Nothing => "nothing".to_owned(),
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let types: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
    let [one] = types.as_slice() else {
        return Err(ApiError::MediaType(format!(
            "expected 1 Content-Type, got {}",
            types.len()
        )));
    };
    let essence = one
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(ApiError::MediaType(
            "only acceptable Content-Type is application/json".to_owned(),
        ))
    }
}

async fn delete(api: &Api, name: &str) -> Result<Response, ApiError> {
    let unit = existing(name)?;
    api.believe()?;
    for _ in 0..TRIES {
        let (known, _) = known(api, &unit).await?;
        let known = known.ok_or(ApiError::NotFound("unit does not exist"))?;
        let key = api.keys.unit(&unit);
        let txn = Txn::new()
            .when(Precondition::Unchanged(key.clone(), known.revision))
            .delete(key);
        if let Commit::Applied(revision) = api.registry.commit(txn).await? {
            tracing::info!(%unit, revision, "destroyed a unit as asked");
            return Ok(with_revision(revision, StatusCode::NO_CONTENT));
        }
    }
    Err(ApiError::Conflict(format!(
        "{name} is being changed by others all the time; try again"
    )))
}

/// Every word of an agent about a unit it has.
fn all_states(keys: &Keys, snapshot: &Snapshot) -> BTreeMap<(UnitName, MachineId), v1::UnitState> {
    let state = |kv: &crate::registry::KeyValue| {
        let Some(Key::State(machine, unit)) = keys.parse(&kv.key) else {
            return None;
        };
        let state: units::State = serde_json::from_slice(&kv.value).ok()?;
        let hash = state.hash.filter(|_| state.hold == Hold::Held)?;
        let shown = v1::UnitState {
            name: unit.to_string(),
            hash: hash.to_string(),
            machine_id: machine.to_string(),
            systemd_load_state: state.load,
            systemd_active_state: state.active,
            systemd_sub_state: state.sub,
        };
        Some(((unit, machine), shown))
    };
    snapshot.kvs.iter().filter_map(state).collect()
}

pub(super) async fn states(
    State(api): State<Api>,
    Query(parameters): Parameters,
) -> Result<Json<v1::UnitStatePage>, ApiError> {
    let filter = |name: &str| {
        values(&parameters, name)
            .into_iter()
            .next()
            .filter(|v| !v.is_empty())
    };
    let (unit, machine) = (filter("unitName"), filter("machineID"));
    let keys = api.keys.clone();
    let all = |snapshot: &Snapshot| {
        let wanted = |s: &v1::UnitState| {
            unit.as_ref().is_none_or(|u| *u == s.name) && machine.as_ref().is_none_or(|m| *m == s.machine_id)
        };
        all_states(&keys, snapshot).into_values().filter(wanted).collect()
    };
    let name = format!("state {unit:?} {machine:?}");
    let what = [Select::Prefix(api.keys.agents())];
    let (states, next_page_token) = listing(&api, &name, &parameters, api.registry.read(&what), all).await?;
    Ok(Json(v1::UnitStatePage {
        states,
        next_page_token,
    }))
}

pub(super) async fn state(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<v1::UnitState>, ApiError> {
    let missing = || ApiError::NotFound("unit state does not exist");
    let unit = UnitName::parse(&name).map_err(|_| missing())?;
    let snapshot = api.registry.read(&[Select::Prefix(api.keys.agents())]).await?;
    let states = all_states(&api.keys, &snapshot);
    states
        .into_iter()
        .find(|((u, _), _)| *u == unit)
        .map(|(_, state)| Json(state))
        .ok_or_else(missing)
}

pub(super) async fn machines(
    State(api): State<Api>,
    Query(parameters): Parameters,
) -> Result<Json<v1::MachinePage>, ApiError> {
    let keys = api.keys.clone();
    let read = gather::read_machines(&api.registry, &api.keys);
    let all = |snapshot: &Snapshot| {
        gather::present(&keys, snapshot)
            .into_iter()
            .map(|(id, record)| v1::Machine {
                id: id.to_string(),
                primary_ip: record.as_ref().map(|r| r.address.clone()).unwrap_or_default(),
                metadata: record.map(|r| r.effective_metadata()).unwrap_or_default(),
            })
            .collect()
    };
    let (machines, next_page_token) = listing(&api, "machines", &parameters, read, all).await?;
    Ok(Json(v1::MachinePage {
        machines,
        next_page_token,
    }))
}
