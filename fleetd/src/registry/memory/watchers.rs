//! Who has to hear of a change.
//!
//! A change looks its watchers up by its own key and that key's prefixes, instead of asking each watcher: a simulated
//! cluster of a thousand machines has a thousand watchers, of which a change concerns two.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::{Batch, Change, RegistryError, Revision, Select};

/// What a watcher is told, and when the store said it.
pub(super) type News = (Instant, Result<Batch, RegistryError>);

#[derive(Debug)]
struct Watcher {
    what: Select,
    /// The first revision it wants to hear of; may be yet to come.
    from: Revision,
    to: mpsc::UnboundedSender<News>,
}

/// All open watches of a store.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    next: u64,
    open: BTreeMap<u64, Watcher>,
    by_key: HashMap<String, Vec<u64>>,
    /// By the length of the prefix, then by the prefix.
    by_prefix: BTreeMap<usize, HashMap<String, Vec<u64>>>,
}

impl Watchers {
    /// Adds a watcher; the number is for [`Watchers::remove`].
    pub(super) fn add(&mut self, what: Select, from: Revision, to: mpsc::UnboundedSender<News>) -> u64 {
        let id = self.next;
        self.next += 1;
        match &what {
            Select::Key(key) => self.by_key.entry(key.clone()).or_default().push(id),
            Select::Prefix(prefix) => {
                let same_length = self.by_prefix.entry(prefix.len()).or_default();
                same_length.entry(prefix.clone()).or_default().push(id);
            }
        }
        self.open.insert(id, Watcher { what, from, to });
        id
    }

    /// Forgets a watcher.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(Watcher { what, .. }) = self.open.remove(&id) else {
            return;
        };
        match what {
            Select::Key(key) => forget(&mut self.by_key, &key, id),
            Select::Prefix(prefix) => {
                if let Some(same_length) = self.by_prefix.get_mut(&prefix.len()) {
                    forget(same_length, &prefix, id);
                    if same_length.is_empty() {
                        self.by_prefix.remove(&prefix.len());
                    }
                }
            }
        }
    }

    /// Ends every watch: each finds the other end gone.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.by_key.clear();
        self.by_prefix.clear();
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Tells each watcher the part of `batch` that it asked for.
    pub(super) fn tell(&self, batch: &Batch, now: Instant) {
        let mut parts: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
        for change in &batch.changes {
            for id in self.interested(change.key()) {
                parts.entry(id).or_default().push(change.clone());
            }
        }
        for (id, changes) in parts {
            if let Some(watcher) = self.open.get(&id)
                && watcher.from <= batch.revision
            {
                let revision = batch.revision;
                // A watcher that has gone meanwhile removes itself.
                let _ = watcher.to.send((now, Ok(Batch { revision, changes })));
            }
        }
    }

    fn interested(&self, key: &str) -> impl Iterator<Item = u64> {
        let exact = self.by_key.get(key).into_iter();
        let prefixes = self.by_prefix.range(..=key.len());
        let above = prefixes.filter_map(move |(length, same)| same.get(key.get(..*length)?));
        exact.chain(above).flatten().copied()
    }
}

fn forget(index: &mut HashMap<String, Vec<u64>>, text: &str, id: u64) {
    if let Some(ids) = index.get_mut(text) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            index.remove(text);
        }
    }
}
