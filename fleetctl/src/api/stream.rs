//! The event stream, message by message.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::timeout;
use units::Event;

use super::ApiError;
use super::http::Client;
use super::sse::{Message, Parser};

/// fleetd says something every 15 s, if only that it is alive. Three times that means the connection is dead.
const SILENCE: Duration = Duration::from_secs(45);

/// The kinds of event that this version acts on; a newer fleetd may send others.
const KINDS: [&str; 5] = ["unit", "placement", "verdict", "state", "current"];

/// An open `GET /fleet/v2/events`.
#[derive(Debug)]
pub struct EventStream<'a> {
    client: &'a Client,
    /// Kept because the stream ends with it.
    _connection: SendRequest<Full<Bytes>>,
    body: Incoming,
    parser: Parser,
}

impl<'a> EventStream<'a> {
    pub(super) fn new(client: &'a Client, connection: SendRequest<Full<Bytes>>, body: Incoming) -> Self {
        Self {
            client,
            _connection: connection,
            body,
            parser: Parser::default(),
        }
    }

    /// The next event and the revision it belongs to. Nothing is lost if this is dropped and called again.
    ///
    /// # Errors
    /// The stream broke off, ended, fell silent, or says what is not understood.
    pub async fn next(&mut self) -> Result<(i64, Event), ApiError> {
        loop {
            while let Some(message) = self.parser.next() {
                if KINDS.contains(&message.event.as_str()) {
                    return self.decode(&message);
                }
            }
            let broken = |reason: &str| ApiError::Broken {
                endpoint: self.client.endpoint.clone(),
                reason: reason.to_owned(),
            };
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let fed = self.parser.feed(frame.data_ref().map_or(&[], |data| &data[..]));
                    fed.map_err(|_| ApiError::Answer {
                        endpoint: self.client.endpoint.clone(),
                        reason: "a message of the event stream has no end".to_owned(),
                    })?;
                }
                Ok(Some(Err(error))) => return Err(self.client.broken(&error)),
                Ok(None) => return Err(broken("the event stream ended")),
                Err(_) => return Err(broken("the event stream fell silent")),
            }
        }
    }

    fn decode(&self, message: &Message) -> Result<(i64, Event), ApiError> {
        let misunderstood = |reason: String| ApiError::Answer {
            endpoint: self.client.endpoint.clone(),
            reason,
        };
        let revision = message
            .id
            .parse()
            .map_err(|_| misunderstood(format!("event id {:?}", message.id)))?;
        let event = serde_json::from_str(&message.data);
        Ok((
            revision,
            event.map_err(|error| misunderstood(format!("event {}: {error}", message.event)))?,
        ))
    }
}
