//! Watch and list: how a part of the store is followed without missing a change.
//!
//! After kube-runtime's watcher: a machine of few states, each of which says what is known. A dropped watch is opened
//! again behind the last change that was seen; the whole part is read again only when the store has forgotten the
//! history between, or when somebody asks for it.
//!
//! # A store that went back
//! After a restore from a backup the revision is lower than before, and a watch from the old revision stays silent
//! until the store gets there again. So every time a watch has been opened the store's revision is read too: in that
//! order, because a restore after the read breaks the watch (etcd was restarted) and one before it is seen by the read.
//! Not seen is a store that was restored and has since grown past the old revision while this mirror was cut off; only
//! a full read repairs that, which is one reason for [`Mirror::nudge_relist`].

#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep};

use super::{Backoff, Batch, RegistryError, Revision, Select, SharedRegistry, Snapshot, Watch};

/// What happened to the part of the store that a [`Mirror`] follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// This is all there is; whatever was known before is replaced.
    Reset(Snapshot),
    /// This changed since.
    Changed(Batch),
    /// The store cannot be reached: what is known may be out of date. Said once per outage; the mirror goes on trying.
    Disconnected(RegistryError),
    /// The outage is over: what was missed follows as [`Update::Changed`], or as an [`Update::Reset`] if the store has
    /// forgotten it. Not said when the outage ends with a [`Update::Reset`].
    Reconnected,
    /// The store is not the one that was followed: its revision is lower than one already seen. The mirror does
    /// nothing more until [`Mirror::accept`].
    WentBack {
        /// The highest revision seen.
        had: Revision,
        /// The store's revision now.
        found: Revision,
    },
}

/// Follows one selection of keys.
///
/// ```text
///            nudge_relist, Compacted
///        +------------------------------+
///        v                              |
///     Listing -----Reset------> Watching --Changed--+
///        ^ ^                      ^ |  ^             |
///        | +-- Pausing --> Opening+ |  +-------------+
///        |        ^ (errors)        |
///     WentBack    +-----(broken)----+
///     (accept)
/// ```
pub struct Mirror {
    registry: SharedRegistry,
    what: Select,
    backoff: Backoff,
    /// The highest revision that was seen.
    seen: Revision,
    connected: bool,
    state: State,
}

/// What the mirror waits for. The futures live here and not in [`Mirror::next`], so that dropping a call of `next`
/// loses no progress: a caller that selects over many things would otherwise never finish a slow read.
enum State {
    /// A watch is being opened, and then the whole part read.
    Listing(Call<(Watch, Snapshot)>),
    /// Everything up to `seen` is known; a watch of what follows is being opened and the store's revision read.
    Opening(Call<(Watch, Revision)>),
    /// Changes are being awaited.
    Watching(Watch, Instant),
    /// The store could not be reached; it is tried again after a pause, from scratch or from where it broke.
    Pausing(Pin<Box<Sleep>>, Next),
    /// The store went back to this revision; nothing is done until that is accepted.
    WentBack(Option<Revision>),
}

#[derive(Clone, Copy)]
enum Next {
    List,
    Open,
}

type Call<T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send>>;

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("what", &self.what)
            .field("seen", &self.seen)
            .field("connected", &self.connected)
            .finish_non_exhaustive()
    }
}

impl Mirror {
    /// A mirror that begins by reading everything. `backoff` spaces its attempts during an outage.
    pub fn new(registry: SharedRegistry, what: Select, backoff: Backoff) -> Self {
        Self {
            state: State::Listing(list(&registry, &what)),
            registry,
            what,
            backoff,
            seen: 0,
            connected: false,
        }
    }

    /// Takes `revision` as seen already, for instance before a restart, so that a store behind it counts as one that
    /// went back.
    #[must_use]
    pub fn with_seen(mut self, revision: Revision) -> Self {
        self.seen = revision;
        self
    }

    /// The highest revision seen, 0 if none.
    pub fn seen(&self) -> Revision {
        self.seen
    }

    /// Whether what was handed out is up to date, as far as can be known.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Reads everything again at the next [`Mirror::next`], as a safeguard: a [`Update::Reset`] follows. Does nothing
    /// if that is under way anyway, or while a store that went back has not been accepted.
    pub fn nudge_relist(&mut self) {
        match &mut self.state {
            State::Listing(_) | State::WentBack(_) => {}
            State::Pausing(_, next) => *next = Next::List,
            State::Opening(_) | State::Watching(..) => self.start(Next::List),
        }
    }

    /// Takes the store as it is now for the truth, after [`Update::WentBack`]; does nothing otherwise.
    pub fn accept(&mut self) {
        if let State::WentBack(_) = self.state {
            self.seen = 0;
            self.start(Next::List);
        }
    }

    /// The next update. Cancel safe. Never ends; during an outage it is silent after [`Update::Disconnected`].
    pub async fn next(&mut self) -> Update {
        loop {
            if let Some(update) = self.step().await {
                return update;
            }
        }
    }

    /// Waits for what the state waits for, and moves on. Nothing is awaited after a future has been finished: there is
    /// no point at which a cancelled call could lose an answer.
    async fn step(&mut self) -> Option<Update> {
        match &mut self.state {
            State::Listing(call) => match call.await {
                Ok((_, snapshot)) if snapshot.revision < self.seen => self.went_back(snapshot.revision),
                Ok((watch, snapshot)) => {
                    self.seen = snapshot.revision;
                    self.connected = true;
                    self.state = State::Watching(watch, Instant::now());
                    Some(Update::Reset(snapshot))
                }
                Err(error) => self.failed(error, Next::List),
            },
            State::Opening(call) => match call.await {
                Ok((_, revision)) if revision < self.seen => self.went_back(revision),
                Ok((watch, _)) => {
                    self.state = State::Watching(watch, Instant::now());
                    let again = !std::mem::replace(&mut self.connected, true);
                    again.then_some(Update::Reconnected)
                }
                Err(error) => self.failed(error, Next::Open),
            },
            State::Watching(watch, since) => match watch.next().await {
                // The watch is older than the list.
                Ok(batch) if batch.revision <= self.seen => None,
                Ok(batch) => {
                    self.seen = batch.revision;
                    Some(Update::Changed(batch))
                }
                Err(error) => {
                    // A watch that breaks as soon as it is open is no success to start counting anew from.
                    if since.elapsed() >= self.backoff.cap() {
                        self.backoff.reset();
                    }
                    self.failed(error, Next::Open)
                }
            },
            State::Pausing(pause, next) => {
                pause.as_mut().await;
                let next = *next;
                self.start(next);
                None
            }
            State::WentBack(found) => match found.take() {
                Some(found) => Some(Update::WentBack {
                    had: self.seen,
                    found,
                }),
                None => std::future::pending().await,
            },
        }
    }

    fn start(&mut self, next: Next) {
        self.state = match next {
            Next::List => State::Listing(list(&self.registry, &self.what)),
            Next::Open => State::Opening(open(&self.registry, &self.what, self.seen + 1)),
        };
    }

    fn went_back(&mut self, found: Revision) -> Option<Update> {
        tracing::warn!(what = ?self.what, had = self.seen, found, "etcd went back to an older revision");
        self.connected = false;
        self.state = State::WentBack(Some(found));
        None
    }

    /// Plans the next attempt, and tells of the first failure of an outage.
    fn failed(&mut self, error: RegistryError, next: Next) -> Option<Update> {
        // Forgotten history is no outage, but reading everything still keeps its distance from the last attempt.
        let compacted = matches!(error, RegistryError::Compacted(_));
        let next = if compacted { Next::List } else { next };
        self.state = State::Pausing(Box::pin(sleep(self.backoff.pause())), next);
        if compacted || !std::mem::replace(&mut self.connected, false) {
            return None;
        }
        Some(Update::Disconnected(error))
    }
}

/// The watch first, from now on: one that is opened behind the list, from its revision, waits up to 100 ms in etcd if
/// anything was written in between (`syncWatchersLoop`).
fn list(registry: &SharedRegistry, what: &Select) -> Call<(Watch, Snapshot)> {
    let (registry, what) = (registry.clone(), what.clone());
    Box::pin(async move {
        let watch = registry.watch(what.clone(), 0).await?;
        Ok((watch, registry.read(&[what]).await?))
    })
}

fn open(registry: &SharedRegistry, what: &Select, from: Revision) -> Call<(Watch, Revision)> {
    let (registry, what) = (registry.clone(), what.clone());
    // Any read tells the store's revision; this one is small and within what the watch needs rights for.
    let cheapest = match &what {
        Select::Key(key) | Select::Prefix(key) if !key.is_empty() => vec![Select::Key(key.clone())],
        _ => Vec::new(),
    };
    Box::pin(async move {
        let watch = registry.watch(what, from).await?;
        let now = registry.read(&cheapest).await?;
        Ok((watch, now.revision))
    })
}
