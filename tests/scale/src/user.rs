//! A user of the API: what fleetctl does to start a unit, through the production router.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use units::{Event, Hold};

use crate::machine::Kind;
use crate::workload::Unit;

/// How long a user waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long each step of one start took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// The event stream was open and had told how things stand.
    pub opened: Duration,
    /// From the request to its answer.
    pub answered: Duration,
    /// From the request to the event of its placement.
    pub placed: Duration,
    /// From the request to the machine's word that it is active; to the placement where there are no agents.
    pub active: Duration,
}

/// Asks for a unit to be launched.
///
/// # Errors
/// If it is not created.
pub(crate) async fn put(api: &Router, unit: &Unit) -> Result<()> {
    let body = serde_json::json!({ "desiredState": "launched", "options": unit.file.options() });
    let request = Request::put(format!("/fleet/v1/units/{}", unit.name))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))?;
    let answer = api.clone().oneshot(request).await?;
    let status = answer.status();
    ensure!(
        status == StatusCode::CREATED,
        "PUT {} was answered {status}",
        unit.name
    );
    Ok(())
}

/// Starts a unit and waits until it is active.
///
/// # Errors
/// If it is not within two minutes.
pub(crate) async fn start(api: &Router, unit: &Unit, agents: Kind) -> Result<Start> {
    let waited = timeout(PATIENCE, follow(api, unit, agents)).await;
    waited.with_context(|| format!("{} did not start within {} s", unit.name, PATIENCE.as_secs()))?
}

async fn follow(api: &Router, unit: &Unit, agents: Kind) -> Result<Start> {
    let began = Instant::now();
    let request = Request::get(format!("/fleet/v2/events?unit={}", unit.name)).body(Body::empty())?;
    let mut stream = Stream {
        body: api.clone().oneshot(request).await?.into_body(),
        read: String::new(),
    };
    while !matches!(stream.next().await?, Event::Current { .. }) {}
    let opened = began.elapsed();

    let asked = Instant::now();
    put(api, unit).await?;
    let answered = asked.elapsed();
    let mut placed = None;
    loop {
        match stream.next().await? {
            Event::Placement {
                placement: Some(_), ..
            } => {
                placed = Some(asked.elapsed());
                if agents == Kind::Passive {
                    break;
                }
            }
            Event::State {
                state: Some(state), ..
            } if state.hold == Hold::Held && state.active == "active" => break,
            _ => {}
        }
    }
    let active = asked.elapsed();
    Ok(Start {
        opened,
        answered,
        placed: placed.unwrap_or(active),
        active,
    })
}

/// Server-sent events.
struct Stream {
    body: Body,
    read: String,
}

impl Stream {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let event = data.map(serde_json::from_str).transpose()?;
                self.read = rest.to_owned();
                match event {
                    Some(event) => return Ok(event),
                    // A comment, to keep the connection.
                    None => continue,
                }
            }
            let Some(frame) = self.body.frame().await else {
                bail!("the event stream ended");
            };
            if let Ok(data) = frame?.into_data() {
                self.read.push_str(std::str::from_utf8(&data)?);
            }
        }
    }
}
