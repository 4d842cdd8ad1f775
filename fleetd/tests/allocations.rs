//! How often memory is asked for: a cost of the engine's that no clock has a say in.
//!
//! Counts are exact for one compiler and one lock file. Another std (how `format!` and maps grow) or serde_json may move
//! them a little, hence [`SLACK`]; whatever moves them further is ours, to be undone or to be stated here.

#![expect(clippy::unwrap_used, reason = "what cannot be built fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use fleetd::cluster::Cluster;
use fleetd::engine::{Memory, Plan, Policy, Scheduler, Step};
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::MemoryRegistry;
use fleetd::registry::{Batch, Commit, Registry, Select, Snapshot, Txn, encode};
use units::{DesiredState, Hold, MachineId, Presence, Requirements, State, UnitFile, UnitName, UnitRecord};

/// Allocations. The large cluster has 10 times the machines and 20 times the units: what a change costs does not show it.
const STATED: [(&str, u64); 7] = [
    ("web@.service parsed, with its requirements", 58),
    ("3 machines, 30 units: a new unit folded in", 7),
    ("3 machines, 30 units: its plan", 23),
    ("3 machines, 30 units: a plan when there is nothing to do", 0),
    ("30 machines, 600 units: a new unit folded in", 7),
    ("30 machines, 600 units: its plan", 23),
    ("30 machines, 600 units: a plan when there is nothing to do", 0),
];

/// Per cent, both ways: what costs less is to be stated as less.
const SLACK: u64 = 2;

const WEB: &str = include_str!("../../units/examples/web@.service");
const PLAIN: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

#[derive(Default)]
struct Ledger(BTreeMap<String, u64>);

impl Ledger {
    fn measure<T>(&mut self, what: String, work: impl FnOnce() -> T) -> T {
        let mut done = None;
        let counted = allocation_counter::measure(|| done = Some(work()));
        self.0.insert(what, counted.count_total);
        done.unwrap()
    }

    fn check(&self) {
        let stated: BTreeMap<String, u64> = STATED.map(|(what, n)| (what.to_owned(), n)).into();
        assert!(self.0.keys().eq(stated.keys()), "{:#?}", self.0);
        let mut differences = Vec::new();
        for (what, measured) in &self.0 {
            let (stated, allowed) = (stated[what], (stated[what] * SLACK).div_ceil(100));
            if measured.abs_diff(stated) > allowed {
                differences.push(format!("{what}: {measured} allocations, {stated} are stated"));
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// A registry in which everything has come to rest, and the leader's picture of it.
struct Bed {
    keys: Keys,
    store: MemoryRegistry,
    cluster: Cluster,
    scheduler: Scheduler,
    memory: Memory,
}

impl Bed {
    async fn new(machines: usize, units: usize) -> Self {
        let keys = Keys::default();
        let mut bed = Self {
            cluster: Cluster::empty(keys.clone()),
            keys,
            store: MemoryRegistry::new(),
            scheduler: Scheduler::default(),
            memory: Memory::default(),
        };
        for n in 1..=machines {
            let id = MachineId::parse(&format!("{n:032x}")).unwrap();
            let presence = Presence {
                boot_id: "boot".to_owned(),
                address: String::new(),
                leaving: false,
            };
            bed.commit(Txn::new().put(bed.keys.presence(&id), encode(&presence)))
                .await;
        }
        for n in 0..units {
            bed.commit(bed.launch(&format!("u{n}.service"))).await;
        }
        bed.look();
        while !bed.pass().await.is_empty() {
            bed.answer().await;
            bed.look();
        }
        bed
    }

    fn launch(&self, unit: &str) -> Txn {
        let file = UnitFile::parse(PLAIN).unwrap();
        let record = UnitRecord {
            hash: file.hash(),
            desired: DesiredState::Launched,
            run: 0,
        };
        let unit = UnitName::parse(unit).unwrap();
        Txn::new()
            .put(self.keys.content(&file.hash()), file.canonical())
            .put(self.keys.unit(&unit), encode(&record))
    }

    async fn commit(&self, txn: Txn) {
        let done = self.store.commit(txn).await.unwrap();
        assert!(matches!(done, Commit::Applied(_)));
    }

    fn look(&mut self) {
        let snapshot = Snapshot {
            kvs: self.store.dump(),
            revision: self.store.revision(),
        };
        self.cluster = Cluster::from_snapshot(self.keys.clone(), &snapshot);
        self.scheduler = Scheduler::default();
    }

    fn plan(&mut self) -> Plan {
        let (now, policy) = (Duration::ZERO, Policy::default());
        self.scheduler.plan(&self.cluster, &self.memory, now, &policy)
    }

    async fn pass(&mut self) -> Vec<Step> {
        self.memory
            .observe(&self.cluster, Duration::ZERO, &Policy::default());
        let steps = self.plan().steps;
        for step in &steps {
            self.commit(step.transaction(&self.cluster)).await;
        }
        steps
    }

    /// Every machine has what it was told to have.
    async fn answer(&mut self) {
        self.look();
        for (id, machine) in &self.cluster.machines {
            for (unit, entry) in &machine.assignments {
                let assigned = entry.value.as_ref().unwrap();
                let state = State {
                    assignment: entry.modified,
                    hold: Hold::Held,
                    generation: assigned.generation,
                    run: assigned.run,
                    hash: Some(assigned.hash),
                    started: true,
                    load: "loaded".to_owned(),
                    active: "active".to_owned(),
                    sub: "running".to_owned(),
                    result: "success".to_owned(),
                    restarts: 0,
                    since: 0,
                    problem: None,
                };
                self.commit(Txn::new().put(self.keys.state(id, unit), encode(&state)))
                    .await;
            }
        }
    }

    /// What the leader's watch brings it of one transaction.
    async fn hear(&self, txn: Txn) -> Batch {
        let everything = Select::Prefix(self.keys.root().to_owned());
        let mut watch = self.store.watch(everything, 0).await.unwrap();
        self.commit(txn).await;
        watch.next().await.unwrap()
    }
}

#[tokio::test]
async fn memory_is_asked_for_as_often_as_stated() {
    let mut ledger = Ledger::default();
    let unit = UnitName::parse("web@1.service").unwrap();
    let parsed = ledger.measure(STATED[0].0.to_owned(), || {
        let file = UnitFile::parse(WEB).unwrap();
        let requirements = Requirements::parse(&unit, &file).unwrap();
        (file, requirements)
    });
    assert!(!parsed.1.conflicts.is_empty());
    for (machines, units) in [(3, 30), (30, 600)] {
        let size = format!("{machines} machines, {units} units");
        let mut bed = Bed::new(machines, units).await;
        let idle = ledger.measure(format!("{size}: a plan when there is nothing to do"), || {
            bed.plan()
        });
        assert_eq!(idle.steps.len(), 0);
        let batch = bed.hear(bed.launch("new.service")).await;
        let touched = ledger.measure(format!("{size}: a new unit folded in"), || {
            bed.cluster.apply(&batch)
        });
        bed.scheduler.note(touched);
        let planned = ledger.measure(format!("{size}: its plan"), || bed.plan());
        assert_eq!(planned.steps.len(), 1);
    }
    ledger.check();
}
