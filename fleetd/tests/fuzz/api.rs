//! Any request, against the API over the registry in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, Uri, header};
use fleetd::api::Api;
use fleetd::registry::keys::{Key, Keys};
use fleetd::registry::memory::MemoryRegistry;
use fleetd::registry::trust::Trust;
use fleetd::registry::{Registry, Txn};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proptest::collection::vec;
use proptest::prelude::*;
use units::{MachineId, UnitName};

use super::records;

#[derive(Debug, Clone)]
struct Ask {
    method: String,
    uri: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a.service", "b@.service", "b@1.service", "c.socket", "d\\x2d.service", "e:.timer"])
            .prop_map(str::to_owned),
        1 => "[a-z@.%/\\\\é -]{0,12}",
        1 => "a{250,260}\\.service",
        1 => ".{0,8}\\.service",
    ]
}

fn encode(text: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b".-_@:".contains(&b);
    let each = text.bytes().map(|b| {
        if keep(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    });
    each.collect()
}

/// Percent-encoded, now and then wrongly.
fn escaped() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => name().prop_map(|name| encode(&name)),
        1 => "[a-z]{0,4}(%[0-9A-Fa-f]{2}){1,4}\\.service",
        1 => "[a-z%]{0,6}",
    ]
}

fn query() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("0".to_owned()),
        Just("9223372036854775807".to_owned()),
        Just("9223372036854775806".to_owned()),
        Just("-1".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "[0-9a-z%+]{0,24}",
    ];
    let pair = prop_oneof![
        (Just("since"), number).prop_map(|(k, v)| format!("{k}={v}")),
        escaped().prop_map(|n| format!("unit={n}")),
        "[A-Za-z0-9+/=_%-]{0,40}".prop_map(|t| format!("nextPageToken={t}")),
        "[a-z%=&+]{0,12}",
    ];
    vec(pair, 0..3).prop_map(|pairs| {
        if pairs.is_empty() {
            String::new()
        } else {
            format!("?{}", pairs.join("&"))
        }
    })
}

fn uri() -> impl Strategy<Value = String> {
    let base = prop::sample::select(vec!["/fleet/v1", "/v1-alpha", "/fleet/v2", "/fleet/v3", ""]);
    let path = prop_oneof![
        6 => escaped().prop_map(|n| format!("/units/{n}")),
        1 => escaped().prop_map(|n| format!("/units/{n}/runs")),
        1 => escaped().prop_map(|n| format!("/state/{n}")),
        1 => (machine(), key()).prop_map(|(m, k)| format!("/machines/{m}/metadata/{k}")),
        2 => prop::sample::select(vec!["/units", "/state", "/machines", "/leader", "/events", "/recovery", "/discovery", ""])
            .prop_map(str::to_owned),
        1 => "/[a-z%/.]{0,12}",
    ];
    (base, path, query()).prop_map(|(base, path, query)| format!("{base}{path}{query}"))
}

/// A value's text with a piece cut out and another put in.
fn garbled(value: impl Strategy<Value = serde_json::Value>) -> impl Strategy<Value = Vec<u8>> {
    (value, any::<prop::sample::Index>(), vec(any::<u8>(), 0..4)).prop_map(|(value, at, bytes)| {
        let mut text = value.to_string().into_bytes();
        let at = at.index(text.len());
        let end = (at + 3).min(text.len());
        text.splice(at..end, bytes);
        text
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let option = ("[A-Z]?[a-z-]{0,6}", "[A-Z]?[a-zA-Z ]{0,6}", "(?s).{0,12}");
    let known = prop::sample::select(vec![
        ("Service", "ExecStart", "/bin/true"),
        ("X-Fleet", "Global", "true"),
        ("X-Fleet", "Conflicts", "*"),
        ("X-Fleet", "MachineOf", "a.service"),
        ("X-Fleet", "MachineID", "nonsense"),
    ])
    .prop_map(|(s, n, v)| (s.to_owned(), n.to_owned(), v.to_owned()));
    let options = vec(prop_oneof![3 => known, 1 => option], 0..4);
    let state = prop::sample::select(vec!["", "inactive", "loaded", "launched", "bogus"]);
    let unit = (name(), options, state).prop_map(|(name, options, state)| {
        let options: Vec<_> = options
            .into_iter()
            .map(|(section, name, value)| serde_json::json!({"section": section, "name": name, "value": value}))
            .collect();
        serde_json::json!({"name": name, "options": options, "desiredState": state})
    }).boxed();
    prop_oneof![
        6 => unit.clone().prop_map(|unit| unit.to_string().into_bytes()),
        2 => garbled(unit),
        1 => vec(any::<u8>(), 0..64),
        1 => Just(b"[".repeat(5_000)),
    ]
}

/// Machine ids, most of them such.
fn machine() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["1".repeat(32), "2".repeat(32), "3".repeat(32)]),
        1 => "[0-9a-f]{8}|[0-9A-F]{32}",
        1 => "[a-z%0-9]{0,12}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z0-9_.-]{1,4}",
        1 => prop::sample::select(vec![".", "..", "-", "metadata"]).prop_map(str::to_owned),
        1 => "[a-z%/ ]{0,6}",
    ]
}

/// Bodies for `PATCH /machines`.
fn patch() -> impl Strategy<Value = Vec<u8>> {
    use serde_json::{Value, json};
    let op = prop_oneof![
        8 => prop::sample::select(vec!["add", "replace", "remove"]).prop_map(str::to_owned),
        1 => "[a-zA-Z]{0,7}",
    ];
    let path = prop_oneof![
        8 => (machine(), key()).prop_map(|(m, k)| format!("/{m}/metadata/{k}")),
        1 => "(?s).{0,12}",
        1 => "/{0,2}[a-z0-9]{0,4}/{0,2}metadata/{0,2}[a-z]{0,4}",
    ];
    let text = prop_oneof![4 => "[a-z0-9=,]{0,8}", 1 => "(?s).{0,8}", 1 => Just("v".repeat(70_000))];
    let value = prop_oneof![
        4 => text.clone().prop_map(Value::from),
        4 => text.prop_map(|text| json!({"value": text})),
        1 => prop::sample::select(vec![json!(null), json!(1), json!([]), json!({}), json!({"value": {}}), json!({"v": "x"})]),
    ];
    let item =
        (op, path, value).prop_map(|(op, path, value)| json!({"op": op, "path": path, "value": value}));
    let items = vec(item, 0..5).prop_map(Value::from).boxed();
    prop_oneof![
        8 => items.clone().prop_map(|items| items.to_string().into_bytes()),
        2 => garbled(items),
        1 => vec(any::<u8>(), 0..64),
        1 => Just(b"[".repeat(5_000)),
    ]
}

/// Tokens for pages of two entries: some good, some nearly, some not at all.
fn token() -> impl Strategy<Value = String> {
    let encoded = |limit: u16, page: u16| {
        use base64::Engine as _;
        let bytes = [limit.to_le_bytes(), page.to_le_bytes()].concat();
        base64::engine::general_purpose::URL_SAFE.encode(bytes)
    };
    prop_oneof![
        4 => any::<u16>().prop_map(move |page| encoded(2, page)),
        2 => (any::<u16>(), any::<u16>()).prop_map(move |(limit, page)| encoded(limit, page)),
        2 => "[A-Za-z0-9_-]{5,7}={0,3}",
        1 => "[A-Za-z0-9+/=_%&-]{0,40}",
        1 => vec(any::<u8>(), 0..8).prop_map(|bytes| bytes.iter().map(|b| format!("%{b:02X}")).collect()),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let method = prop_oneof![
        6 => prop::sample::select(vec!["PUT", "GET", "DELETE"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["POST", "HEAD", "OPTIONS", "PATCH", "TRACE"]).prop_map(str::to_owned),
        1 => "[A-Z]{1,8}",
    ];
    let text = || vec(prop_oneof![Just(9_u8), 32..=126_u8, 128..=255_u8], 0..16);
    let header = prop_oneof![
        8 => Just(("content-type", b"application/json".to_vec())),
        1 => text().prop_map(|value| ("content-type", value)),
        1 => prop_oneof![text(), Just(i64::MAX.to_string().into_bytes()), Just(i64::MIN.to_string().into_bytes())]
            .prop_map(|value| ("last-event-id", value)),
        1 => text().prop_map(|value| ("accept", value)),
    ];
    (method, uri(), vec(header, 0..3), body()).prop_map(|(method, uri, headers, body)| Ask {
        method,
        uri,
        headers,
        body,
    })
}

struct Server {
    router: TowerToHyperService<Router>,
    store: MemoryRegistry,
    _run: tempfile::TempDir,
}

impl Server {
    fn new() -> Self {
        let run = tempfile::tempdir().unwrap();
        let store = MemoryRegistry::new();
        let trust = Arc::new(Trust::open(run.path()).unwrap());
        let api = Api::new(Arc::new(store.client("api")), Keys::default(), trust);
        api.page_size.store(2, Ordering::Relaxed);
        Self {
            router: TowerToHyperService::new(api.router()),
            store,
            _run: run,
        }
    }

    /// Status, whether it is JSON, and the body; an endless one only as far as its head.
    async fn send(&self, ask: &Ask) -> Option<(StatusCode, bool, Vec<u8>)> {
        let mut request = Request::builder()
            .method(Method::from_bytes(ask.method.as_bytes()).ok()?)
            .uri(ask.uri.parse::<Uri>().ok()?);
        for (name, value) in &ask.headers {
            request = request.header(*name, value.as_slice());
        }
        let request = request.body(Body::from(ask.body.clone())).ok()?;
        let answer = tokio::time::timeout(Duration::from_secs(60), self.router.call(request));
        let response = answer.await.expect("no answer within a minute").unwrap();
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).cloned();
        let is = |wanted: &str| {
            kind.as_ref()
                .is_some_and(|k| k.as_bytes().starts_with(wanted.as_bytes()))
        };
        let body = match is("text/event-stream") {
            true => Vec::new(),
            false => to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec(),
        };
        Some((status, is("application/json"), body))
    }

    async fn plain(&self, method: &str, uri: String) -> (StatusCode, Vec<u8>) {
        let (method, headers, body) = (method.to_owned(), Vec::new(), Vec::new());
        let (status, _, body) = self
            .send(&Ask {
                method,
                uri,
                headers,
                body,
            })
            .await
            .unwrap();
        (status, body)
    }
}

/// Sends `asks` to an API whose registry holds what somebody else has written.
async fn answered(found: &[(String, Vec<u8>)], asks: &[Ask]) {
    let server = Server::new();
    let other = server.store.client("other");
    for (key, value) in found {
        let put = Txn::new().put(key.clone(), value.clone());
        other.commit(put).await.unwrap();
    }
    for ask in asks {
        let Some((status, is_json, body)) = server.send(ask).await else {
            continue;
        };
        assert!(!status.is_server_error(), "{status} to {ask:?}");
        assert!(
            !status.is_informational() && !status.is_redirection(),
            "{status} to {ask:?}"
        );
        if status.is_client_error() && ask.method != "HEAD" {
            let error: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let code = error.as_ref().and_then(|e| e.pointer("/error/code")?.as_u64());
            assert!(
                is_json,
                "{status} without JSON to {ask:?}: {:?}",
                String::from_utf8_lossy(&body)
            );
            assert_eq!(code, Some(u64::from(status.as_u16())), "to {ask:?}");
        }
    }
    // Whatever has been stored can be listed, shown and destroyed.
    let keys = Keys::default();
    for kv in server.store.dump() {
        let name = match keys.parse(&kv.key) {
            Some(Key::Unit(name)) => name,
            Some(Key::Content(_)) => continue,
            _ if found.iter().any(|(key, _)| *key == kv.key) => continue,
            Some(Key::Machine(machine)) => {
                undone(&server, &machine).await;
                continue;
            }
            other => panic!("{} was stored: {other:?}", kv.key),
        };
        let path = format!("/fleet/v1/units/{}", name.as_str().replace('\\', "%5C"));
        let mut listed = Vec::new();
        let mut next = String::from("/fleet/v1/units");
        loop {
            let page: serde_json::Value = serde_json::from_slice(&server.plain("GET", next).await.1).unwrap();
            for unit in page["units"].as_array().into_iter().flatten() {
                listed.push(unit["name"].as_str().unwrap().to_owned());
            }
            match page["nextPageToken"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => next = format!("/fleet/v1/units?nextPageToken={token}"),
                None => break,
            }
        }
        assert!(
            listed.contains(&name.to_string()),
            "{name} is not listed: {listed:?}"
        );
        assert_eq!(
            server.plain("GET", path.clone()).await.0,
            StatusCode::OK,
            "{name}"
        );
        assert_eq!(
            server.plain("DELETE", path.clone()).await.0,
            StatusCode::NO_CONTENT,
            "{name}"
        );
        assert_eq!(server.plain("GET", path).await.0, StatusCode::NOT_FOUND, "{name}");
    }
}

/// What was laid over a machine's metadata is shown, and can be taken off again.
async fn undone(server: &Server, machine: &MachineId) {
    let (status, body) = server.plain("GET", "/fleet/v2/machines".to_owned()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        String::from_utf8_lossy(&body).contains(machine.as_str()),
        "{machine} is not listed"
    );
    let path = format!("/fleet/v2/machines/{machine}/metadata");
    let (status, body) = server.plain("GET", path.clone()).await;
    assert_eq!(status, StatusCode::OK, "{machine}");
    let shown: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let overrides = shown["overrides"].as_object().unwrap();
    assert!(!overrides.is_empty(), "{machine} was stored for nothing");
    for key in overrides.keys() {
        let dropped = server.plain("DELETE", format!("{path}/{key}")).await;
        assert_eq!(dropped.0, StatusCode::NO_CONTENT, "{machine} {key}");
    }
    assert_eq!(
        server.plain("GET", path).await.0,
        StatusCode::NOT_FOUND,
        "{machine} is left"
    );
}

fn in_virtual_time(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work);
}

proptest! {
    #[test]
    fn any_request_is_answered_properly(
        found in vec((records::key(), records::value()), 0..6),
        asks in vec(ask(), 1..8),
    ) {
        in_virtual_time(answered(&found, &asks));
    }
}

proptest! {
    /// One kind of input at a time, so that each is met as often as it takes.
    #[test]
    fn any_body_of_a_unit_is_answered_properly(bodies in vec((name(), body()), 1..4)) {
        let put = |(name, body): (String, Vec<u8>)| Ask {
            method: "PUT".to_owned(),
            uri: format!("/fleet/v1/units/{}", encode(&name)),
            headers: vec![("content-type", b"application/json".to_vec())],
            body,
        };
        in_virtual_time(answered(&[], &bodies.into_iter().map(put).collect::<Vec<_>>()));
    }

    #[test]
    fn any_patch_of_metadata_is_answered_properly(
        found in vec((records::key(), records::value()), 0..3),
        bodies in vec(patch(), 1..4),
    ) {
        let patch = |body| Ask {
            method: "PATCH".to_owned(),
            body,
            ..get("/fleet/v1/machines")
        };
        in_virtual_time(answered(&found, &bodies.into_iter().map(patch).collect::<Vec<_>>()));
    }

    #[test]
    fn any_page_token_is_answered_properly(
        units in 0..6_u8,
        tokens in vec(("units|state|machines", token()), 1..4),
    ) {
        let put = |n| Ask {
            method: "PUT".to_owned(),
            headers: vec![("content-type", b"application/json".to_vec())],
            body: br#"{"options":[{"section":"Service","name":"ExecStart","value":"/bin/true"}]}"#.to_vec(),
            ..get(&format!("/fleet/v1/units/u{n}.service"))
        };
        let page = |(what, token): (String, String)| get(&format!("/fleet/v1/{what}?nextPageToken={token}"));
        let asks: Vec<Ask> = (0..units).map(put).chain(tokens.into_iter().map(page)).collect();
        in_virtual_time(answered(&[], &asks));
    }

    #[test]
    fn any_path_is_answered_properly(asks in vec((prop::sample::select(vec!["GET", "HEAD", "PUT", "DELETE", "PATCH"]), uri()), 1..4)) {
        let ask = |(method, uri): (&str, String)| Ask {
            method: method.to_owned(),
            ..get(&uri)
        };
        in_virtual_time(answered(&[], &asks.into_iter().map(ask).collect::<Vec<_>>()));
    }
}

fn get(uri: &str) -> Ask {
    Ask {
        method: "GET".to_owned(),
        uri: uri.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

#[test]
fn a_stream_since_the_last_revision_there_can_be_is_refused() {
    in_virtual_time(answered(
        &[],
        &[get("/fleet/v2/events?since=9223372036854775807")],
    ));
}

#[test]
fn a_unit_whose_run_counter_is_at_its_end_runs_again() {
    let unit = Keys::default().unit(&UnitName::parse("a.service").unwrap());
    let hash = "0".repeat(40);
    let record = format!(r#"{{"hash":"{hash}","desired":"launched","run":{}}}"#, u64::MAX);
    let again = Ask {
        method: "POST".to_owned(),
        ..get("/fleet/v2/units/a.service/runs")
    };
    in_virtual_time(answered(&[(unit, record.into_bytes())], &[again]));
}
