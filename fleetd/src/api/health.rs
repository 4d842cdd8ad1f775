//! For load balancers and monitoring: `/livez` (this process answers, none of its loops hangs) and `/readyz` (it is
//! registered, trusts the registry, and etcd answers). In text; with `?verbose` check by check, as Kubernetes does.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use units::Presence;

use super::{Api, Here};
use crate::metrics;
use crate::registry::{KeyValue, Select};

/// Whoever asks has deadlines too, and seldom long ones.
const ETCD_ANSWERS: Duration = Duration::from_secs(3);

/// A check by name, with what is wrong.
type Check = (&'static str, Result<(), String>);

pub(super) async fn livez(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    report("livez", &[loops(&api)], query.as_deref())
}

pub(super) async fn readyz(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    let [etcd, presence] = registered(&api).await;
    let trusted = match api.trust.doubt() {
        Some(doubt) => Err(doubt.to_string()),
        None => Ok(()),
    };
    let checks = [
        loops(&api),
        ("etcd", etcd),
        ("registry-trusted", trusted),
        ("registered", presence),
    ];
    report("readyz", &checks, query.as_deref())
}

pub(super) async fn scrape(State(api): State<Api>) -> Response {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        api.metrics.scrape().await,
    )
        .into_response()
}

fn loops(api: &Api) -> Check {
    let stuck = api.health.stuck();
    let check = match stuck.is_empty() {
        true => Ok(()),
        false => Err(format!("hangs: {}", stuck.join(", "))),
    };
    ("loops", check)
}

/// Whether etcd answers, and whether this machine's presence is there: one point read for both.
async fn registered(api: &Api) -> [Result<(), String>; 2] {
    let key = match &api.here {
        Some(here) => api.keys.presence(&here.machine),
        None => api.keys.cluster(),
    };
    let read = tokio::time::timeout(ETCD_ANSWERS, api.registry.read(&[Select::Key(key.clone())])).await;
    let snapshot = match read {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(error)) => return [Err(error.to_string()), Err("etcd cannot be asked".to_owned())],
        Err(_) => {
            let slow = format!("etcd did not answer within {} s", ETCD_ANSWERS.as_secs());
            return [Err(slow), Err("etcd cannot be asked".to_owned())];
        }
    };
    let presence = match (api.standing.objection(), snapshot.get(&key)) {
        (Some(objection), _) => Err(objection),
        (None, Some(kv)) => api.here.as_ref().map_or(Ok(()), |here| is_ours(here, kv)),
        (None, None) => Err("this machine has not joined the cluster".to_owned()),
    };
    [Ok(()), presence]
}

/// Whether a presence says that this machine takes part. One of an earlier boot stands until its lease has run out, one
/// of a machine with the same id for good.
fn is_ours(here: &Here, kv: &KeyValue) -> Result<(), String> {
    match serde_json::from_slice::<Presence>(&kv.value) {
        Err(error) => Err(format!("this machine's presence cannot be read: {error}")),
        Ok(presence) if presence.boot_id != here.boot_id => {
            Err("the presence is of an earlier boot, or of another machine with this id".to_owned())
        }
        Ok(presence) if presence.leaving => Err("this machine is leaving the cluster".to_owned()),
        Ok(_) => Ok(()),
    }
}

fn report(name: &str, checks: &[Check], query: Option<&str>) -> Response {
    let failed = checks.iter().any(|(_, check)| check.is_err());
    let is_verbose = query
        .unwrap_or_default()
        .split('&')
        .any(|p| p == "verbose" || p.starts_with("verbose="));
    let mut text = String::new();
    for (check, outcome) in checks {
        // Writing to a String cannot fail.
        let _ = match outcome {
            Ok(()) if is_verbose => writeln!(text, "[+]{check} ok"),
            Ok(()) => Ok(()),
            Err(why) => writeln!(text, "[-]{check} failed: {why}"),
        };
    }
    match (failed, is_verbose) {
        (false, false) => text.push_str("ok"),
        (false, true) => text.push_str(&format!("{name} check passed\n")),
        (true, _) => text.push_str(&format!("{name} check failed\n")),
    }
    let status = if failed {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    // Yesterday's health is no news.
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text).into_response()
}
