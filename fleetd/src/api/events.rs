//! The event stream: everything about some units as it stands, then every change, so that nobody has to poll.
//!
//! The first part and the changes join without a gap: the watch begins right after the revision of the read. With
//! `since=REV` the changes after that revision are replayed instead, with `Last-Event-ID` (after a broken connection)
//! from that revision on. If the registry has forgotten those changes the stream ends at once. A client whose stream
//! ends at once, or was cut off before `current`, begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::mpsc;
use units::{Event, Hash, UnitFile, UnitName, UnitRecord};

use super::Api;
use super::error::ApiError;
use super::gather::{self, Gathering, is_global};
use crate::registry::keys::Key;
use crate::registry::{Batch, Change, KeyValue, RegistryError, Revision, Select, Watch};

/// Events that a slow client may lie behind before it is waited for.
const BUFFER: usize = 256;

pub(super) async fn events(
    State(api): State<Api>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, ApiError> {
    let names = parameters.iter().filter(|(name, _)| name == "unit");
    let names: Result<BTreeSet<UnitName>, _> = names.map(|(_, value)| UnitName::parse(value)).collect();
    let names = names.map_err(|e| ApiError::BadRequest(e.to_string()))?;
    let since = since(&parameters, &headers)?;
    if names.is_empty() && since.is_none() {
        let message = "name at least one unit (unit=NAME), or a revision to replay changes from (since=REV)";
        return Err(ApiError::BadRequest(message.to_owned()));
    }

    let everything = Select::Prefix(api.keys.root().to_owned());
    let (first, after, watch) = match since {
        Some(since) => (
            Vec::new(),
            since,
            api.registry.watch(everything, since + 1).await?,
        ),
        None => {
            // The watch first: see `registry::mirror`, where it is opened before the list.
            let watch = api.registry.watch(everything, 0).await?;
            let gathered = gather::gather(&api.registry, &api.keys, &names).await?;
            let revision = gathered.revision;
            let mut first: Vec<Event> = gathered
                .units
                .into_iter()
                .flat_map(|(name, g)| as_events(name, g))
                .collect();
            first.push(Event::Current { revision });
            (first, revision, watch)
        }
    };
    let (sender, receiver) = mpsc::channel(BUFFER);
    let ping = api.ping;
    let follower = Follower {
        api,
        names,
        contents: BTreeMap::new(),
    };
    tokio::spawn(follower.follow(first, after, watch, sender));
    let events = stream::unfold(receiver, |mut receiver| async move {
        let (revision, event) = receiver.recv().await?;
        Some((Ok(message(revision, &event)), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ping).text("ping")))
}

fn since(parameters: &[(String, String)], headers: &HeaderMap) -> Result<Option<Revision>, ApiError> {
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let given = parameters
        .iter()
        .find(|(name, _)| name == "since")
        .map(|(_, value)| value.clone());
    let bad = |text: &str| {
        ApiError::BadRequest(format!(
            "since must be a revision, a number from 0, got \"{text}\""
        ))
    };
    let parse = |text: String| match text.parse::<Revision>() {
        // There is none after the greatest.
        Ok(revision) if (0..Revision::MAX).contains(&revision) => Ok(revision),
        _ => Err(bad(&text)),
    };
    // The connection may have broken in the middle of a revision: all of it is told again, which does no harm.
    match resumed {
        Some(text) => parse(text).map(|last| Some((last - 1).max(0))),
        None => given.map(parse).transpose(),
    }
}

fn message(revision: Revision, event: &Event) -> sse::Event {
    let kind = match event {
        Event::Unit { .. } => "unit",
        Event::Placement { .. } => "placement",
        Event::Verdict { .. } => "verdict",
        Event::State { .. } => "state",
        Event::Current { .. } => "current",
    };
    let data = String::from_utf8(crate::registry::encode(event)).unwrap_or_default();
    sse::Event::default()
        .id(revision.to_string())
        .event(kind)
        .data(data)
}

/// The unit as it stands, told in events. What is not there is told too: a client that resumes may think it is.
fn as_events(name: UnitName, gathering: Gathering) -> Vec<Event> {
    let Gathering { view, copies } = gathering;
    let (unit, generation, global) = match &view {
        Some(view) => (Some(view.unit.clone()), view.generation, view.global),
        None => (None, 0, false),
    };
    let mut events = vec![Event::Unit {
        name: name.clone(),
        unit,
        generation,
        global,
    }];
    let (placement, verdict) = view.map(|v| (v.placement, v.verdict)).unwrap_or_default();
    events.push(Event::Placement {
        name: name.clone(),
        placement,
    });
    events.push(Event::Verdict {
        name: name.clone(),
        verdict,
    });
    for copy in copies {
        events.push(Event::State {
            name: name.clone(),
            machine: copy.machine,
            state: copy.state,
        });
    }
    events
}

type Numbered = (Revision, Event);

async fn send(
    sender: &mpsc::Sender<Numbered>,
    revision: Revision,
    events: Vec<Event>,
) -> Result<(), mpsc::error::SendError<Numbered>> {
    for event in events {
        sender.send((revision, event)).await?;
    }
    Ok(())
}

struct Follower {
    api: Api,
    /// All, if empty.
    names: BTreeSet<UnitName>,
    /// Whether a content makes a unit global takes its text, which is read once.
    contents: BTreeMap<Hash, Option<UnitFile>>,
}

impl Follower {
    async fn follow(
        mut self,
        first: Vec<Event>,
        mut revision: Revision,
        mut watch: Watch,
        sender: mpsc::Sender<Numbered>,
    ) {
        if send(&sender, revision, first).await.is_err() {
            return;
        }
        loop {
            let batch = tokio::select! {
                batch = watch.next() => batch,
                // The client has gone: nothing to follow for.
                () = sender.closed() => return,
            };
            let events = match batch {
                Ok(batch) if batch.revision <= revision => continue,
                Ok(batch) => {
                    revision = batch.revision;
                    self.translate(&batch).await
                }
                Err(error) => Err(error),
            };
            let events = match events {
                Ok(events) => events,
                // Rather no stream than one with a gap: the client comes back and looks anew.
                Err(error) => return tracing::debug!(%error, "ended an event stream"),
            };
            if send(&sender, revision, events).await.is_err() {
                return;
            }
        }
    }

    async fn translate(&mut self, batch: &Batch) -> Result<Vec<Event>, RegistryError> {
        let mut events = Vec::new();
        for change in &batch.changes {
            let Some(key) = self.api.keys.parse(change.key()) else {
                continue;
            };
            let (Key::Unit(name) | Key::Schedule(name) | Key::Verdict(name) | Key::State(_, name)) = &key
            else {
                continue;
            };
            if !self.names.is_empty() && !self.names.contains(name) {
                continue;
            }
            let kv = match change {
                Change::Put(kv) => Some(kv),
                Change::Delete { .. } => None,
            };
            events.push(match key {
                Key::Unit(name) => self.unit(name, kv).await?,
                Key::Schedule(name) => Event::Placement {
                    name,
                    placement: read(kv),
                },
                Key::Verdict(name) => Event::Verdict {
                    name,
                    verdict: read(kv),
                },
                Key::State(machine, name) => Event::State {
                    name,
                    machine,
                    state: read(kv),
                },
                _ => continue,
            });
        }
        Ok(events)
    }

    async fn unit(&mut self, name: UnitName, kv: Option<&KeyValue>) -> Result<Event, RegistryError> {
        let unit: Option<UnitRecord> = read(kv);
        let mut global = false;
        if let Some(record) = &unit {
            if !self.contents.contains_key(&record.hash) {
                let found = self
                    .api
                    .registry
                    .read(&[Select::Key(self.api.keys.content(&record.hash))])
                    .await?;
                let file = gather::content(&self.api.keys, &found, &record.hash);
                self.contents.insert(record.hash, file);
            }
            global = is_global(&name, self.contents.get(&record.hash).and_then(Option::as_ref));
        }
        Ok(Event::Unit {
            name,
            unit,
            generation: kv.map_or(0, |kv| kv.mod_revision),
            global,
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(kv: Option<&KeyValue>) -> Option<T> {
    serde_json::from_slice(&kv?.value).ok()
}
