//! The measured half of a leader: it takes changes in and plans, as `engine::run` does between two writes.

use std::fmt;
use std::time::Duration;

use fleetd::cluster::Cluster;
use fleetd::engine::{Memory, Plan, Policy, Scheduler, plan};
use fleetd::registry::keys::Keys;
use fleetd::registry::{Batch, Snapshot};

/// Its clock stands still: nothing that is measured waits for it.
const NOW: Duration = Duration::from_secs(60);

/// How it comes to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the whole cluster, each time anew.
    Full,
    /// From what has changed since the plan before.
    Kept,
}

impl Way {
    /// All that are measured; what takes long comes last.
    pub(crate) const ALL: [Self; 2] = [Self::Kept, Self::Full];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full => "full",
            Self::Kept => "kept",
        })
    }
}

/// A leader, without the store.
#[derive(Debug)]
pub(crate) struct Leader {
    way: Way,
    /// As it sees it.
    pub(crate) cluster: Cluster,
    scheduler: Scheduler,
    memory: Memory,
    policy: Policy,
}

impl Leader {
    /// A leader that has just read the cluster.
    pub(crate) fn new(way: Way, keys: Keys, snapshot: &Snapshot) -> Self {
        Self {
            way,
            cluster: Cluster::from_snapshot(keys, snapshot),
            scheduler: Scheduler::default(),
            memory: Memory::default(),
            policy: Policy::default(),
        }
    }

    /// Forgets all but the cluster, as if it had just been read.
    pub(crate) fn begin_term(&mut self) {
        self.memory = Memory::default();
        self.scheduler = Scheduler::default();
    }

    /// Takes a change in.
    pub(crate) fn take(&mut self, batch: &Batch) {
        let touched = self.cluster.apply(batch);
        self.scheduler.note(touched);
    }

    /// Decides.
    pub(crate) fn pass(&mut self) -> Plan {
        self.memory.observe(&self.cluster, NOW, &self.policy);
        let made = match self.way {
            Way::Full => plan(&self.cluster, &self.memory, NOW, &self.policy),
            Way::Kept => self
                .scheduler
                .plan(&self.cluster, &self.memory, NOW, &self.policy),
        };
        self.memory.retain(&made.retained, NOW);
        made
    }
}
