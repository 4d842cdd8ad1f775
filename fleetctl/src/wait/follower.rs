//! Keeps what is known of units up to date.
//!
//! A connection that broke is made anew from the beginning, not resumed from the last event: what is waited for is how
//! things stand, not how they came to, so that a fresh look misses nothing. To resume would take care of events that
//! share a revision, of which the connection may have carried some, and of revisions that etcd has forgotten.

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
    pause: Duration,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// This unit.
    Unit(UnitName),
    /// Perhaps everything: this was a fresh look.
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
            pause: FIRST_PAUSE,
        };
        follower.connect().await?;
        Ok(follower)
    }

    /// What is known of a unit that is followed.
    pub fn get(&self, name: &UnitName) -> Option<&Watched> {
        self.units.get(name)
    }

    /// Takes in what happens next. Connections that break are made again, for ever.
    ///
    /// # Errors
    /// The API says what no waiting will change, such as that it cannot stream events at all.
    pub async fn next(&mut self) -> Result<News, ApiError> {
        loop {
            let Some(stream) = &mut self.stream else {
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                match self.connect().await {
                    Ok(()) => return Ok(News::All),
                    Err(error) if error.is_transient() => continue,
                    Err(error) => return Err(error),
                }
            };
            match stream.next().await {
                Ok((revision, event)) => {
                    self.pause = FIRST_PAUSE;
                    if let Some(news) = self.take(revision, event) {
                        return Ok(news);
                    }
                }
                Err(error) if error.is_transient() => self.stream = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the stream and takes in everything as it stands.
    async fn connect(&mut self) -> Result<(), ApiError> {
        let mut stream = self.api.events(self.units.keys()).await?;
        self.units
            .values_mut()
            .for_each(|watched| *watched = Watched::default());
        loop {
            let (revision, event) = stream.next().await?;
            if self.take(revision, event) == Some(News::All) {
                self.stream = Some(stream);
                return Ok(());
            }
        }
    }

    fn take(&mut self, revision: i64, event: Event) -> Option<News> {
        let name = match &event {
            Event::Unit { name, .. }
            | Event::Placement { name, .. }
            | Event::Verdict { name, .. }
            | Event::State { name, .. } => name.clone(),
            Event::Current { .. } => {
                for watched in self.units.values_mut() {
                    watched.apply(revision, event.clone());
                }
                return Some(News::All);
            }
        };
        self.units.get_mut(&name)?.apply(revision, event);
        Some(News::Unit(name))
    }
}
