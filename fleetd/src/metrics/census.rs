//! What the cluster consists of, in numbers. The leader knows: it has the whole cluster before it, and counts when it is
//! asked. Nobody reads etcd for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use units::{DesiredState, Hold};

use crate::cluster::Cluster;
use crate::registry::Revision;

/// A leader in the middle of a large plan is not waited for longer.
const ANSWERED: Duration = Duration::from_secs(2);

/// Numbers of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Units by desired state; `unreadable` where the record cannot be read.
    pub units: BTreeMap<&'static str, u64>,
    /// Units that have no place although they should; each has a verdict.
    pub unplaced: u64,
    /// Copies of units on machines, by systemd's ActiveState.
    pub copies: BTreeMap<String, u64>,
    /// Machines: `present`, `leaving`, `lost` (it should run something and shows no sign of life) or `away`.
    pub machines: BTreeMap<&'static str, u64>,
}

impl Census {
    /// Counts.
    pub fn of(cluster: &Cluster) -> Self {
        let mut census = Self {
            units: DesiredState::ALL.map(|state| (state.as_str(), 0)).into(),
            unplaced: u64::try_from(cluster.verdicts.len()).unwrap_or(u64::MAX),
            copies: ["active", "activating", "deactivating", "failed", "inactive"]
                .map(|state| (state.to_owned(), 0))
                .into(),
            machines: ["present", "leaving", "lost", "away"]
                .map(|state| (state, 0))
                .into(),
        };
        for unit in cluster.units.values() {
            let state = unit
                .record
                .as_ref()
                .map_or("unreadable", |record| record.desired.as_str());
            *census.units.entry(state).or_default() += 1;
        }
        for machine in cluster.machines.values() {
            let state = match machine {
                m if m.is_open() => "present",
                m if m.is_present() => "leaving",
                m if m.is_lost() => "lost",
                _ => "away",
            };
            *census.machines.entry(state).or_default() += 1;
            let held = machine.states.values().filter(|s| s.value.hold == Hold::Held);
            for state in held {
                match census.copies.get_mut(&state.value.active) {
                    Some(count) => *count += 1,
                    None => drop(census.copies.insert(state.value.active.clone(), 1)),
                }
            }
        }
        census
    }
}

/// The census of the last revision that somebody asked about: counting goes through every unit and copy.
#[derive(Debug, Default)]
pub(crate) struct LastCensus(Option<(Revision, Census)>);

impl LastCensus {
    /// The numbers of the cluster as it is at `revision`, counted at most once for each.
    pub(crate) fn at(&mut self, revision: Revision, count: impl FnOnce() -> Census) -> Census {
        match &self.0 {
            Some((counted, census)) if *counted == revision => census.clone(),
            _ => self.0.insert((revision, count())).1.clone(),
        }
    }
}

/// Where the leader of this process, if it leads, is asked.
#[derive(Debug, Default)]
pub struct CensusDesk(Mutex<Option<mpsc::Sender<oneshot::Sender<Census>>>>);

/// The leader's side of it, for one term. When it is dropped nobody is asked any more.
pub type CensusQuestions = mpsc::Receiver<oneshot::Sender<Census>>;

impl CensusDesk {
    /// Opens for a term.
    pub fn open(&self) -> CensusQuestions {
        let (sender, questions) = mpsc::channel(4);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        questions
    }

    /// The numbers of now; `None` where this process does not lead, or is too busy to say.
    pub async fn ask(&self) -> Option<Census> {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let asked = async {
            let (question, answer) = oneshot::channel();
            sender.send(question).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWERED, asked).await.ok().flatten()
    }
}
