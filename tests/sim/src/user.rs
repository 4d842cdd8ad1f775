//! Users: what they ask goes through the production router, as an HTTP request would.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt;
use units::wire::v1;
use units::{UnitFile, UnitName, UnitRecord};

use crate::rules::lost;
use crate::witness::Witness;
use crate::work::Change;

/// How long a user waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks a fleetd for a change, and holds it to its answer.
pub(crate) async fn ask(m: usize, api: Option<Router>, change: Change, witness: Arc<Witness>) {
    let Some(api) = api else {
        return witness.note("user", format_args!("finds nobody on m{m}"));
    };
    let (name, method, body) = match &change {
        Change::Put(name, text, desired) => {
            (*name, Method::PUT, Some(unit(name, Some(text), desired.as_str())))
        }
        Change::Desire(name, desired) => (*name, Method::PUT, Some(unit(name, None, desired.as_str()))),
        Change::Run(name) => (*name, Method::POST, None),
        Change::Destroy(name) => (*name, Method::DELETE, None),
    };
    let what = describe(&change);
    witness.note("user", format_args!("asks m{m}: {what}"));
    let path = match change {
        Change::Run(_) => format!("/fleet/v2/units/{name}/runs"),
        _ => format!("/fleet/v1/units/{name}"),
    };
    let body = body.map_or_else(Body::empty, |unit| {
        Body::from(serde_json::to_vec(&unit).unwrap_or_default())
    });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body);
    let Ok(request) = request else { return };
    let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, api.oneshot(request)).await else {
        return witness.note("user", format_args!("gets no answer to: {what}"));
    };
    let status = answer.status();
    let revision = answer
        .headers()
        .get("x-fleet-revision")
        .and_then(|v| v.to_str().ok()?.parse().ok());
    witness.note("user", format_args!("gets {status} at {revision:?} for: {what}"));
    if let (true, Some(revision)) = (status.is_success(), revision) {
        acknowledged(&change, status, revision, &witness);
    }
}

/// A person says `fleetctl recover`.
pub(crate) async fn recover(m: usize, api: Option<Router>, witness: &Witness) {
    let request = Request::post("/fleet/v2/recovery").body(Body::empty());
    let (Some(api), Ok(request)) = (api, request) else {
        return;
    };
    let answer = tokio::time::timeout(PATIENCE, api.oneshot(request)).await;
    let status = answer.map(|a| a.map(|a| a.status()));
    witness.note("user", format_args!("says recover on m{m}: {status:?}"));
}

/// What was acknowledged is there. Only of the newest revision can that be seen in the registry as it is; an older
/// one is held by the rule that nobody but users changes units.
fn acknowledged(change: &Change, status: StatusCode, revision: i64, witness: &Witness) {
    let (Change::Put(name, ..) | Change::Desire(name, _) | Change::Run(name) | Change::Destroy(name)) =
        change;
    let Ok(unit) = UnitName::parse(name) else { return };
    let stands = witness.with_cluster(|cluster| {
        let known = cluster.units.get(&unit);
        let made_something = status == StatusCode::CREATED;
        match known {
            // Somebody else has been there since.
            Some(known) if known.generation > revision => true,
            Some(known) => {
                let is = known.record.as_ref().ok();
                matches_record(change, is) && (!made_something || known.generation == revision)
            }
            None => matches!(change, Change::Destroy(_)) || cluster.revision > revision,
        }
    });
    witness.accuse(lost::acknowledged(&unit, revision, &describe(change), stands));
}

fn matches_record(change: &Change, is: Option<&UnitRecord>) -> bool {
    let Some(is) = is else { return false };
    match change {
        Change::Put(_, text, desired) => {
            UnitFile::parse(text).is_ok_and(|file| file.hash() == is.hash) && is.desired == *desired
        }
        Change::Desire(_, desired) => is.desired == *desired,
        Change::Run(_) => is.run > 0,
        Change::Destroy(_) => false,
    }
}

fn unit(name: &str, text: Option<&str>, desired: &str) -> v1::Unit {
    let file = text.and_then(|text| UnitFile::parse(text).ok());
    v1::Unit {
        name: name.to_owned(),
        options: file.map(|f| f.options().to_vec()).unwrap_or_default(),
        desired_state: desired.to_owned(),
        ..v1::Unit::default()
    }
}

fn describe(change: &Change) -> String {
    match change {
        Change::Put(name, text, desired) => format!("{desired} {name} {text:?}"),
        Change::Desire(name, desired) => format!("{desired} {name}"),
        Change::Run(name) => format!("another run of {name}"),
        Change::Destroy(name) => format!("destroy {name}"),
    }
}
