//! The HTTP API: fleet's v1 (fleet-reference §5) and what we add as v2.
//!
//! Requests are parsed into a change or a question ([`change`], [`gather`]), answered from one linearizable read at one
//! revision. Nothing is kept here between requests, so any fleetd answers for the whole cluster, leader or not; a watch
//! is open only while a client streams.

mod change;
mod discovery;
mod error;
mod events;
mod gather;
mod health;
pub mod listen;
mod metadata;
mod page;
mod recovery;
mod serve;
mod stall;
pub mod tls;
mod v1;
mod v2;

use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use units::MachineId;
use units::wire::v1::ErrorBody;

use crate::agent::Standing;
use crate::metrics::Metrics;
use crate::registry::keys::Keys;
use crate::registry::together::Together;
use crate::registry::trust::Trust;
use crate::registry::{Revision, SharedRegistry};
use crate::watchdog::Health;

use self::error::ApiError;

/// Largest body of a request: far above any unit file, below what etcd takes in one value (1.5 MiB).
const LARGEST_BODY: usize = 1 << 20;

/// Everything that a request waits for has deadlines of its own, and they are shorter.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);

/// The revision that a change made, on every answer to one.
pub(crate) const REVISION_HEADER: HeaderName = HeaderName::from_static("x-fleet-revision");

/// The machine that serves an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// From `/etc/machine-id`.
    pub machine: MachineId,
    /// Of the running kernel: the presence of another boot is not ours.
    pub boot_id: String,
}

/// What the API answers from.
#[derive(Debug, Clone)]
pub struct Api {
    /// The store.
    pub registry: SharedRegistry,
    /// Its layout.
    pub keys: Keys,
    /// Whether the store is to be believed.
    pub trust: Arc<Trust>,
    /// Entries on a page of v1; may change while it is served.
    pub page_size: Arc<AtomicU16>,
    /// Between two comments on an idle event stream, so that a client sees that it is alive.
    pub ping: Duration,
    /// Why this machine takes no part in the cluster, if so; its agent says it.
    pub standing: Arc<Standing>,
    /// The machine that serves it: ready while its presence is in the registry. Without one the registry is enough.
    pub here: Option<Here>,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// Which loops hang.
    pub health: Health,
    pages: Arc<page::Pages>,
}

impl Api {
    /// An API with fleet's default page size.
    pub fn new(registry: SharedRegistry, keys: Keys, trust: Arc<Trust>) -> Self {
        let pages = Arc::default();
        Self {
            registry: Arc::new(Together::new(registry)),
            keys,
            trust,
            page_size: Arc::new(AtomicU16::new(100)),
            ping: Duration::from_secs(15),
            standing: Arc::default(),
            here: None,
            metrics: Metrics::default(),
            health: Health::default(),
            pages,
        }
    }

    /// Every route.
    pub fn router(self) -> Router {
        let v1 = || {
            Router::new()
                .route("/units", get(v1::units).fallback(v1::only_get))
                .route("/units/{name}", any(v1::unit))
                .route("/state", get(v1::states).fallback(v1::only_get))
                .route("/state/{name}", get(v1::state).fallback(v1::only_get))
                .route(
                    "/machines",
                    get(v1::machines)
                        .patch(metadata::patch)
                        .fallback(v1::only_get_and_patch),
                )
                .route(
                    "/discovery",
                    get(discovery::document).fallback(discovery::only_get),
                )
        };
        let v2 = Router::new()
            .route("/units", get(v2::units))
            .route("/units/{name}", get(v2::unit))
            .route("/units/{name}/runs", axum::routing::post(v2::run))
            .route("/machines", get(v2::machines))
            .route("/machines/{machine}/metadata", get(metadata::overrides))
            .route(
                "/machines/{machine}/metadata/{key}",
                axum::routing::delete(metadata::drop_override),
            )
            .route("/leader", get(v2::leader))
            .route("/events", get(events::events));
        Router::new()
            .route("/", any(v1::nothing_here))
            .route("/fleet/v1", any(v1::nothing_here))
            .route("/v1-alpha", any(v1::nothing_here))
            .nest("/fleet/v1", v1())
            .nest("/v1-alpha", v1())
            .nest("/fleet/v2", v2)
            .layer(middleware::from_fn_with_state(self.clone(), warn))
            // What it says is the warning itself.
            .route("/fleet/v2/recovery", get(recovery::show).post(recovery::recover))
            .fallback(|| async { ApiError::NotFound("") })
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .layer(middleware::from_fn(in_time))
            .layer(middleware::from_fn(speak_json))
            // These speak text, and may do so as long as anything works.
            .route("/metrics", get(health::scrape).fallback(v1::only_get))
            .route("/livez", get(health::livez).fallback(v1::only_get))
            .route("/readyz", get(health::readyz).fallback(v1::only_get))
            .layer(middleware::from_fn(name_server))
            .with_state(self)
    }

    /// Refuses what would be written into a registry that is not to be believed.
    fn believe(&self) -> Result<(), ApiError> {
        self.trust
            .doubt()
            .map_or(Ok(()), |doubt| Err(ApiError::Unavailable(doubt.to_string())))
    }
}

/// Lets go of a client that does not send the body it promised. A stream is answered when it begins.
async fn in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await;
    answer.unwrap_or_else(|_| ApiError::Slow.into_response())
}

/// What axum itself refuses (a path that is no UTF-8, a method, a size) it refuses in plain text.
async fn speak_json(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let json = HeaderValue::from_static("application/json");
    let is_ours = response.headers().get(header::CONTENT_TYPE) == Some(&json);
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
    let message = match text.is_empty() {
        true => status.canonical_reason().unwrap_or_default().to_owned(),
        false => String::from_utf8_lossy(&text).into_owned(),
    };
    let body = crate::registry::encode(&ErrorBody::new(status.as_u16(), message));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, json);
    Response::from_parts(parts, Body::from(body))
}

/// Answers are read from the registry, whatever this machine thinks of it: whoever asks has to know.
async fn warn(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let doubt = api.trust.doubt().map(|d| d.to_string());
    if let Some(objection) = doubt.or_else(|| api.standing.objection()) {
        // A warn-text is a quoted string (RFC 7234 §5.5).
        let text = objection.replace(['"', '\\'], "'");
        if let Ok(value) = HeaderValue::from_str(&format!("199 fleet \"{text}\"")) {
            response.headers_mut().insert(header::WARNING, value);
        }
    }
    response
}

async fn name_server(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let server = HeaderValue::from_static(concat!("fleetd/", env!("CARGO_PKG_VERSION")));
    response.headers_mut().insert(header::SERVER, server);
    response
}

/// An answer with the revision it made or was seen at.
fn with_revision(revision: Revision, answer: impl IntoResponse) -> Response {
    ([(REVISION_HEADER, HeaderValue::from(revision))], answer).into_response()
}
