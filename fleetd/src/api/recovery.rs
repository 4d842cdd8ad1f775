//! `fleetctl recover`: a person's word that the registry is to be followed as it is ([`crate::recovery`]).

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use crate::recovery::{self, DeclareError};

/// How long the answer waits for this machine itself to have put back what it holds.
const OWN_PART: Duration = Duration::from_secs(8);

/// Whether there is anything to recover from.
#[derive(Debug, Serialize)]
pub(super) struct Recovery {
    /// Why this machine does not believe the registry; null if it does.
    doubt: Option<String>,
    /// The cluster that this machine belongs to.
    cluster: Option<String>,
}

impl Recovery {
    fn of(api: &Api) -> Self {
        Self {
            doubt: api.trust.doubt().map(|d| d.to_string()),
            cluster: api.trust.cluster(),
        }
    }
}

pub(super) async fn show(State(api): State<Api>) -> Json<Recovery> {
    Json(Recovery::of(&api))
}

/// Declares the registry recovered. Answers when this machine believes it, or still does not after a while.
pub(super) async fn recover(State(api): State<Api>) -> Result<Json<Recovery>, ApiError> {
    let mut doubts = api.trust.doubts();
    match recovery::declare(&api.registry, &api.keys, &api.trust).await {
        Ok(_) => {}
        Err(error @ DeclareError::NoDoubt) => return Err(ApiError::Conflict(error.to_string())),
        Err(DeclareError::Registry(error)) => return Err(error.into()),
    }
    let over = doubts.wait_for(Option::is_none);
    let _ = tokio::time::timeout(OWN_PART, over).await;
    Ok(Json(Recovery::of(&api)))
}
