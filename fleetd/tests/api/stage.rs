//! A router, its store, and requests in one line each.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use fleetd::api::Api;
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::{MemoryClient, MemoryRegistry};
use fleetd::registry::trust::Trust;
use fleetd::registry::{Registry, Txn, encode};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use units::{Capacity, Hold, MachineId, MachineRecord, Placement, Presence, State, UnitName, parse_metadata};

pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

pub(crate) struct Stage {
    router: TowerToHyperService<Router>,
    pub(crate) store: MemoryRegistry,
    /// The API's own way to the store.
    pub(crate) link: MemoryClient,
    pub(crate) keys: Keys,
    pub(crate) trust: Arc<Trust>,
    _run: tempfile::TempDir,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// `404 {"error":…}`: all of it but the headers.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.status, self.body).trim_end().to_owned()
    }
}

/// An error in fleet's form, as a line.
pub(crate) fn error(code: u16, message: &str) -> String {
    let body = serde_json::json!({"error": {"code": code, "message": message}});
    format!("{code} {body}")
}

pub(crate) fn id(n: u8) -> MachineId {
    MachineId::parse(&format!("{n:x}").repeat(32)).unwrap()
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(set: impl FnOnce(&mut Api)) -> Self {
        let run = tempfile::tempdir().unwrap();
        let store = MemoryRegistry::new();
        let (link, keys) = (store.client("api"), Keys::default());
        let trust = Arc::new(Trust::open(run.path()).unwrap());
        let mut api = Api::new(Arc::new(link.clone()), keys.clone(), trust.clone());
        set(&mut api);
        Self {
            router: TowerToHyperService::new(api.router()),
            store,
            link,
            keys,
            trust,
            _run: run,
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self
            .router
            .call(request.body(body.into()).unwrap())
            .await
            .unwrap();
        let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().iter().map(header).collect(),
            body: String::from_utf8(to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec())
                .unwrap(),
        }
    }

    /// `GET /fleet/v1/units`, as a line.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let (method, path) = request.split_once(' ').unwrap();
        self.send(method, path, &[], "").await.line()
    }

    /// The same with a body of JSON.
    pub(crate) async fn tell(&self, request: &str, body: &str) -> String {
        let (method, path) = request.split_once(' ').unwrap();
        self.send(method, path, JSON, body.to_owned()).await.line()
    }

    pub(crate) async fn write(&self, key: String, value: impl Into<Vec<u8>>) {
        let other = self.store.client("other");
        other.commit(Txn::new().put(key, value)).await.unwrap();
    }

    /// A machine that is there.
    pub(crate) async fn machine(&self, n: u8, metadata: &str) {
        let record = MachineRecord {
            id: id(n),
            address: format!("10.0.0.{n}"),
            metadata: parse_metadata(metadata).unwrap(),
            overrides: BTreeMap::new(),
            capacity: Capacity::default(),
            version: "1".to_owned(),
            disable_engine: false,
            left: false,
            ttl: 15,
        };
        self.write(self.keys.machine(&id(n)), encode(&record)).await;
        let presence = Presence {
            boot_id: "b".to_owned(),
            address: String::new(),
            leaving: false,
        };
        self.write(self.keys.presence(&id(n)), encode(&presence)).await;
    }

    /// What machine `n` says of a unit, which the engine has put there.
    pub(crate) async fn runs(&self, unit: &str, n: u8, started: bool) {
        let name = UnitName::parse(unit).unwrap();
        let placement = Placement {
            machine: id(n),
            reason: String::new(),
        };
        self.write(self.keys.schedule(&name), encode(&placement)).await;
        let state = State {
            assignment: 1,
            hold: Hold::Held,
            generation: 1,
            run: 0,
            hash: Some("1c6fb6f3684bafb0c173d8b8b957ceff031180c1".parse().unwrap()),
            started,
            load: "loaded".to_owned(),
            active: if started { "active" } else { "inactive" }.to_owned(),
            sub: if started { "running" } else { "dead" }.to_owned(),
            result: String::new(),
            restarts: 0,
            since: 0,
            problem: None,
        };
        self.write(self.keys.state(&id(n), &name), encode(&state)).await;
    }
}
