//! The HTTP API: fleet's v1 (fleet-reference §5) and what we add as v2.
//!
//! Requests are parsed into a change or a question ([`change`], [`gather`]), answered from one linearizable read at one
//! revision. Nothing is kept here between requests, so any fleetd answers for the whole cluster, leader or not; a watch
//! is open only while a client streams.

mod change;
mod error;
mod events;
mod gather;
pub mod listen;
mod page;
mod v1;
mod v2;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::registry::keys::Keys;
use crate::registry::trust::Trust;
use crate::registry::{Revision, SharedRegistry};

use self::error::ApiError;

/// Largest body of a request: far above any unit file, below what etcd takes in one value (1.5 MiB).
const LARGEST_BODY: usize = 1 << 20;

/// The revision that a change made, on every answer to one.
pub(crate) const REVISION_HEADER: HeaderName = HeaderName::from_static("x-fleet-revision");

/// What the API answers from.
#[derive(Debug, Clone)]
pub struct Api {
    /// The store.
    pub registry: SharedRegistry,
    /// Its layout.
    pub keys: Keys,
    /// Whether the store is to be believed.
    pub trust: Arc<Trust>,
    /// Entries on a page of v1.
    pub page_size: u16,
    /// Between two comments on an idle event stream, so that a client sees that it is alive.
    pub ping: Duration,
    pages: Arc<page::Pages>,
}

impl Api {
    /// An API with fleet's default page size.
    pub fn new(registry: SharedRegistry, keys: Keys, trust: Arc<Trust>) -> Self {
        let pages = Arc::default();
        Self {
            registry,
            keys,
            trust,
            page_size: 100,
            ping: Duration::from_secs(15),
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
                .route("/machines", get(v1::machines).fallback(v1::only_get))
        };
        let v2 = Router::new()
            .route("/units", get(v2::units))
            .route("/units/{name}", get(v2::unit))
            .route("/units/{name}/runs", axum::routing::post(v2::run))
            .route("/machines", get(v2::machines))
            .route("/leader", get(v2::leader))
            .route("/events", get(events::events));
        Router::new()
            .nest("/fleet/v1", v1())
            .nest("/v1-alpha", v1())
            .nest("/fleet/v2", v2)
            .fallback(|| async { ApiError::NotFound("") })
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
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
