//! Who sees everything that is written, and when: the clock of all figures, by the store's own word.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use fleetd::registry::keys::{Key, Keys};
use fleetd::registry::mirror::{Mirror, Update};
use fleetd::registry::{Backoff, Batch, Change, KeyValue, Revision, Select, SharedRegistry};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use units::{Hold, MachineId, Placement, State, UnitName};

use crate::progress::Progress;

/// Follows the whole store.
#[derive(Debug)]
pub(crate) struct Witness {
    tally: Arc<Mutex<Tally>>,
    /// For the one who waits.
    has_changed: Arc<Notify>,
    following: JoinHandle<()>,
}

/// What has been seen, and when it last changed. Counted as it comes: whoever waits looks at each change, and a look at all
/// units would take its time from what is measured.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The last revision seen.
    pub revision: Revision,
    /// Machines that are present.
    pub present: HashMap<MachineId, Instant>,
    /// How often a machine ceased to be.
    pub missed: u64,
    /// Machines that the leader has taken in.
    pub seen: HashMap<MachineId, Instant>,
    /// Units of which anything was said.
    pub units: HashMap<UnitName, Whereabouts>,
    /// How many of them have a place.
    pub placed: usize,
    /// How many are active where they belong.
    pub at_home: usize,
}

/// Where a unit is, and since when.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    /// Where it belongs.
    pub placed: Option<(MachineId, Instant)>,
    /// Where it is active, by the word of these machines: of two for a while, when it is moved.
    active: Vec<(MachineId, Instant)>,
}

impl Witness {
    /// Begins with the store as it is.
    pub(crate) fn start(registry: SharedRegistry, keys: Keys) -> Self {
        let (tally, has_changed) = (Arc::<Mutex<Tally>>::default(), Arc::<Notify>::default());
        let following = tokio::spawn(follow(registry, keys, tally.clone(), has_changed.clone()));
        Self {
            tally,
            has_changed,
            following,
        }
    }

    /// What has been seen so far.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` counts `all`. It is asked after every change. One waits at a time.
    ///
    /// # Errors
    /// If that takes longer than `patience`, with how far it came.
    pub(crate) async fn until(
        &self,
        what: &str,
        all: usize,
        patience: Duration,
        progress: &Progress,
        mut done: impl FnMut(&Tally) -> usize,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let now = done(&self.tally());
            progress.at(what, now, all);
            if now >= all {
                return Ok(());
            }
            // Where changes never cease the clock would not be asked.
            let is_late = Instant::now() >= deadline;
            if is_late || timeout_at(deadline, self.has_changed.notified()).await.is_err() {
                bail!("waited {} s for {what}: {now} of {all}", patience.as_secs());
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn follow(registry: SharedRegistry, keys: Keys, tally: Arc<Mutex<Tally>>, has_changed: Arc<Notify>) {
    let mut mirror = Mirror::new(
        registry,
        Select::Prefix(keys.root().to_owned()),
        Backoff::default(),
    );
    loop {
        let update = mirror.next().await;
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match update {
            Update::Reset(snapshot) => {
                *tally = Tally {
                    missed: tally.missed,
                    ..Tally::default()
                };
                let now = Instant::now();
                for kv in &snapshot.kvs {
                    tally.put(&keys, kv, now);
                }
                tally.revision = snapshot.revision;
            }
            Update::Changed(batch) => tally.apply(&keys, &batch),
            Update::Disconnected(_) | Update::Reconnected | Update::WentBack { .. } => {}
        }
        has_changed.notify_one();
    }
}

impl Whereabouts {
    /// Since when it has belonged where it does, and since when it is active there, if it is.
    pub(crate) fn home(&self) -> Option<(Instant, Instant)> {
        let (home, placed) = self.placed?;
        let (_, active) = self.active.iter().find(|(on, _)| *on == home)?;
        Some((placed, *active))
    }
}

impl Tally {
    /// Where the unit belongs and since when, if it has a place.
    pub(crate) fn place(&self, unit: &UnitName) -> Option<(MachineId, Instant)> {
        self.units.get(unit)?.placed
    }

    fn note(&mut self, unit: UnitName, change: impl FnOnce(&mut Whereabouts)) {
        let there = self.units.entry(unit).or_default();
        self.placed -= usize::from(there.placed.is_some());
        self.at_home -= usize::from(there.home().is_some());
        change(there);
        self.placed += usize::from(there.placed.is_some());
        self.at_home += usize::from(there.home().is_some());
    }

    fn apply(&mut self, keys: &Keys, batch: &Batch) {
        let now = Instant::now();
        for change in &batch.changes {
            match change {
                Change::Put(kv) => self.put(keys, kv, now),
                Change::Delete { key } => self.delete(keys, key),
            }
        }
        self.revision = batch.revision;
    }

    fn put(&mut self, keys: &Keys, kv: &KeyValue, now: Instant) {
        match keys.parse(&kv.key) {
            Some(Key::Presence(machine)) => {
                self.present.entry(machine).or_insert(now);
            }
            Some(Key::Seen(machine)) => {
                self.seen.insert(machine, now);
            }
            Some(Key::Schedule(unit)) => {
                if let Ok(placement) = serde_json::from_slice::<Placement>(&kv.value) {
                    self.note(unit, |there| there.placed = Some((placement.machine, now)));
                }
            }
            Some(Key::State(machine, unit)) => {
                let Ok(state) = serde_json::from_slice::<State>(&kv.value) else {
                    return;
                };
                let is_active = state.hold == Hold::Held && state.active == "active";
                self.note(unit, |there| {
                    match (is_active, there.active.iter().position(|(on, _)| *on == machine)) {
                        (true, None) => there.active.push((machine, now)),
                        (false, Some(copy)) => drop(there.active.swap_remove(copy)),
                        _ => {}
                    }
                });
            }
            _ => {}
        }
    }

    fn delete(&mut self, keys: &Keys, key: &str) {
        match keys.parse(key) {
            Some(Key::Presence(machine)) => {
                self.missed += 1;
                self.present.remove(&machine);
            }
            Some(Key::Seen(machine)) => drop(self.seen.remove(&machine)),
            Some(Key::Schedule(unit)) => self.note(unit, |there| there.placed = None),
            Some(Key::State(machine, unit)) => {
                self.note(unit, |there| there.active.retain(|(on, _)| *on != machine));
            }
            _ => {}
        }
    }
}
