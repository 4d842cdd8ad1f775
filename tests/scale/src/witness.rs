//! Who sees everything that is written, and when: the clock of all figures, by the store's own word.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use fleetd::registry::keys::{Key, Keys};
use fleetd::registry::mirror::{Mirror, Update};
use fleetd::registry::{Backoff, Batch, Change, KeyValue, Revision, Select, SharedRegistry};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use units::{Hold, MachineId, Placement, State, UnitName};

use crate::progress::Progress;

/// How often a wait looks; what it waited for carries its own time. Each look goes through all units, on the processors
/// that are measured.
const PAUSE: Duration = Duration::from_millis(100);

/// Follows the whole store.
#[derive(Debug)]
pub(crate) struct Witness {
    tally: Arc<Mutex<Tally>>,
    following: JoinHandle<()>,
}

/// What has been seen, and when it last changed.
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
    /// Where units belong.
    pub placed: HashMap<UnitName, (MachineId, Instant)>,
    /// Where units are active, by the word of these machines: of two for a while, when one is moved.
    active: HashMap<UnitName, Vec<(MachineId, Instant)>>,
}

impl Witness {
    /// Begins with the store as it is.
    pub(crate) fn start(registry: SharedRegistry, keys: Keys) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let following = tokio::spawn(follow(registry, keys, tally.clone()));
        Self { tally, following }
    }

    /// What has been seen so far.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` counts `all`.
    ///
    /// # Errors
    /// If that takes longer than `patience`, with how far it came.
    pub(crate) async fn until(
        &self,
        what: &str,
        all: usize,
        patience: Duration,
        progress: &Progress,
        done: impl Fn(&Tally) -> usize,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            let now = done(&self.tally());
            progress.at(what, now, all);
            if now >= all {
                return Ok(());
            }
            if began.elapsed() >= patience {
                bail!("waited {} s for {what}: {now} of {all}", patience.as_secs());
            }
            sleep(PAUSE).await;
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn follow(registry: SharedRegistry, keys: Keys, tally: Arc<Mutex<Tally>>) {
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
                *tally = Tally::default();
                let now = Instant::now();
                for kv in &snapshot.kvs {
                    tally.put(&keys, kv, now);
                }
                tally.revision = snapshot.revision;
            }
            Update::Changed(batch) => tally.apply(&keys, &batch),
            Update::Disconnected(_) | Update::Reconnected | Update::WentBack { .. } => {}
        }
    }
}

impl Tally {
    /// Units that are active where they belong.
    pub(crate) fn at_home(&self) -> usize {
        self.placed
            .keys()
            .filter(|unit| self.home(unit).is_some())
            .count()
    }

    /// Since when the unit has belonged where it does, and since when it is active there, if it is.
    pub(crate) fn home(&self, unit: &UnitName) -> Option<(Instant, Instant)> {
        let (home, placed) = self.placed.get(unit)?;
        let copies = self.active.get(unit)?;
        let (_, active) = copies.iter().find(|(on, _)| on == home)?;
        Some((*placed, *active))
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
                    self.placed.insert(unit, (placement.machine, now));
                }
            }
            Some(Key::State(machine, unit)) => {
                let Ok(state) = serde_json::from_slice::<State>(&kv.value) else {
                    return;
                };
                let is_active = state.hold == Hold::Held && state.active == "active";
                let copies = self.active.entry(unit).or_default();
                match (is_active, copies.iter().position(|(on, _)| *on == machine)) {
                    (true, None) => copies.push((machine, now)),
                    (false, Some(copy)) => drop(copies.swap_remove(copy)),
                    _ => {}
                }
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
            Some(Key::Schedule(unit)) => drop(self.placed.remove(&unit)),
            Some(Key::State(machine, unit)) => {
                if let Some(copies) = self.active.get_mut(&unit) {
                    copies.retain(|(on, _)| *on != machine);
                }
            }
            _ => {}
        }
    }
}
