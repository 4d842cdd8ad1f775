//! The event stream as the API serves it: what is replayed, and from where.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use fleetd::api::Api;
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::MemoryRegistry;
use fleetd::registry::trust::Trust;
use futures_util::StreamExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

struct Server {
    router: TowerToHyperService<Router>,
    store: MemoryRegistry,
    _run: tempfile::TempDir,
}

/// A stream of events, read line by line.
struct Events {
    body: BodyDataStream,
    read: String,
}

impl Server {
    fn new() -> Self {
        let run = tempfile::tempdir().unwrap();
        let store = MemoryRegistry::new();
        let trust = Arc::new(Trust::open(run.path()).unwrap());
        let api = Api::new(Arc::new(store.client("api")), Keys::default(), trust);
        Self {
            router: TowerToHyperService::new(api.router()),
            store,
            _run: run,
        }
    }

    /// Creates or changes a unit; the revision that made.
    async fn put(&self, unit: &str, desired: &str) -> i64 {
        let options = r#"[{"section":"Service","name":"ExecStart","value":"/bin/true"}]"#;
        let body = format!(r#"{{"name":"{unit}","desiredState":"{desired}","options":{options}}}"#);
        let request = Request::put(format!("/fleet/v1/units/{unit}"))
            .header("content-type", "application/json")
            .body(Body::from(body));
        let answer = self.router.call(request.unwrap()).await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.headers()["x-fleet-revision"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    async fn events(&self, query: &str, last_event_id: Option<i64>) -> Events {
        let mut request = Request::get(format!("/fleet/v2/events?{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = self
            .router
            .call(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        Events {
            body: answer.into_body().into_data_stream(),
            read: String::new(),
        }
    }
}

impl Events {
    /// The `id:`s up to and with this one. Pings do not count.
    async fn up_to(&mut self, revision: i64) -> Vec<i64> {
        loop {
            let ids = self.read.lines().filter_map(|line| line.strip_prefix("id: "));
            let ids: Vec<i64> = ids.map(|id| id.parse().unwrap()).collect();
            if ids.last().is_some_and(|last| *last >= revision) {
                return ids;
            }
            let more = tokio::time::timeout(Duration::from_secs(5), self.body.next()).await;
            self.read
                .push_str(std::str::from_utf8(&more.unwrap().unwrap().unwrap()).unwrap());
        }
    }

    /// Whether the stream ends by itself, before anything else is said.
    async fn ends(mut self) -> bool {
        self.body.next().await.is_none()
    }
}

#[tokio::test(start_paused = true)]
async fn changes_after_a_revision_are_replayed_and_nothing_is_missed_between_a_write_and_the_wait_for_it() {
    let server = Server::new();
    let first = server.put("a.service", "inactive").await;
    let second = server.put("a.service", "loaded").await;
    let other = server.put("b.service", "loaded").await;
    let third = server.put("a.service", "launched").await;
    let mut events = server
        .events(&format!("unit=a.service&since={first}"), None)
        .await;
    assert_eq!(events.up_to(third).await, [second, third]);
    let fourth = server.put("a.service", "inactive").await;
    assert_eq!(events.up_to(fourth).await, [second, third, fourth]);

    let mut all = server.events(&format!("since={first}"), None).await;
    assert_eq!(all.up_to(third).await[..3], [second, other, third]);
    // That wins over `since`. The revision it names comes once more: its id is only on the last of its events.
    let mut resumed = server
        .events(&format!("unit=a.service&since={first}"), Some(third))
        .await;
    assert_eq!(resumed.up_to(fourth).await, [third, fourth]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_from_history_that_is_gone_ends_at_once() {
    let server = Server::new();
    let first = server.put("a.service", "inactive").await;
    let last = server.put("a.service", "loaded").await;
    server.store.compact(last).unwrap();
    let events = server
        .events(&format!("unit=a.service&since={first}"), None)
        .await;
    assert!(events.ends().await);
}
