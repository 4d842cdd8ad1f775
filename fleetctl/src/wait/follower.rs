//! Keeps what is known of units up to date.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;
use units::{Event, UnitName};

use super::Watched;
use crate::api::{Api, ApiError, EventStream};

/// The first pause before asking again, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Follows some units; see [`Api::events`].
#[derive(Debug)]
pub struct Follower<'a> {
    api: &'a Api,
    units: BTreeMap<UnitName, Watched>,
    stream: Option<EventStream<'a>>,
    /// The last event taken in; `None` until everything that stands has been.
    last: Option<i64>,
    pause: Duration,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// This unit.
    Unit(UnitName),
    /// Perhaps everything: the connection was lost meanwhile.
    All,
}

impl<'a> Follower<'a> {
    /// Learns everything about these units as it stands.
    ///
    /// # Errors
    /// The API cannot be asked: at this point, before anything was changed, that is an answer rather than something
    /// to wait out.
    pub async fn open(api: &'a Api, names: impl IntoIterator<Item = UnitName>) -> Result<Self, ApiError> {
        let mut follower = Self {
            api,
            units: names.into_iter().map(|name| (name, Watched::default())).collect(),
            stream: None,
            last: None,
            pause: FIRST_PAUSE,
        };
        follower.connect().await?;
        Ok(follower)
    }

    /// What is known of a unit that is followed.
    pub fn get(&self, name: &UnitName) -> Option<&Watched> {
        self.units.get(name)
    }

    /// All that is followed, by name.
    pub fn units(&self) -> &BTreeMap<UnitName, Watched> {
        &self.units
    }

    /// Takes in what happens next. Connections that break are made again, for ever.
    ///
    /// # Errors
    /// The API says what no waiting will change, such as that it cannot stream events at all.
    pub async fn next(&mut self) -> Result<Change, ApiError> {
        loop {
            let Some(stream) = &mut self.stream else {
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                match self.connect().await {
                    Ok(()) => return Ok(Change::All),
                    Err(error) if error.is_transient() => continue,
                    Err(error) => return Err(error),
                }
            };
            match stream.next().await {
                Ok((revision, event)) => {
                    self.pause = FIRST_PAUSE;
                    if let Some(change) = self.take(revision, event) {
                        return Ok(change);
                    }
                }
                Err(error) if error.is_transient() => self.stream = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the stream: from the last event, or, where that is too long ago for fleetd, from the beginning.
    async fn connect(&mut self) -> Result<(), ApiError> {
        if self.last.is_some() {
            match self.api.events(self.units.keys(), self.last).await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => self.last = None,
            }
        }
        self.units
            .values_mut()
            .for_each(|watched| *watched = Watched::default());
        let mut stream = self.api.events(self.units.keys(), None).await?;
        while self.last.is_none() {
            let (revision, event) = stream.next().await?;
            self.take(revision, event);
        }
        self.stream = Some(stream);
        Ok(())
    }

    fn take(&mut self, revision: i64, event: Event) -> Option<Change> {
        let name = match &event {
            Event::Unit { name, .. }
            | Event::Placement { name, .. }
            | Event::Verdict { name, .. }
            | Event::State { name, .. } => name.clone(),
            Event::Current { .. } => {
                for watched in self.units.values_mut() {
                    watched.apply(revision, event.clone());
                }
                self.last = Some(revision);
                return Some(Change::All);
            }
        };
        // Before all that stands has come, there is nothing to go on from.
        self.last = self.last.map(|last| last.max(revision));
        self.units.get_mut(&name)?.apply(revision, event);
        Some(Change::Unit(name))
    }
}
