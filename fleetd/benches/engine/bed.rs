//! A whole cluster in a map, through the keys and records of production: a registry and agents, without time or tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetd::engine::Step;
use fleetd::registry::keys::Keys;
use fleetd::registry::{Batch, Change, KeyValue, Op, Revision, Snapshot, Txn, encode};
use units::{
    Assignment, Capacity, DesiredState, Hold, MachineRecord, Presence, State, UnitFile, UnitName, UnitRecord,
};

use crate::case::Case;
use crate::flavour::{self, Flavour};
use crate::leader::{Leader, Way};

/// A cluster and its leader.
#[derive(Debug)]
pub(crate) struct Bed {
    flavour: Flavour,
    machines: usize,
    keys: Keys,
    store: BTreeMap<String, KeyValue>,
    revision: Revision,
    /// What the keys held that were written since the cluster was last at rest.
    before: BTreeMap<String, Option<Vec<u8>>>,
    leader: Leader,
}

impl Bed {
    /// Machines that have been taken in, and units that have no place yet.
    pub(crate) fn unplaced(way: Way, flavour: Flavour, machines: usize) -> Self {
        let keys = Keys::default();
        let nothing = Snapshot {
            kvs: Vec::new(),
            revision: 0,
        };
        let mut bed = Self {
            flavour,
            machines,
            store: BTreeMap::new(),
            revision: 1,
            before: BTreeMap::new(),
            leader: Leader::new(way, keys.clone(), &nothing),
            keys,
        };
        for n in 0..machines {
            let ops = bed.joins(n);
            bed.store(ops);
        }
        for template in flavour.templates(machines) {
            for unit in template.units() {
                let ops = bed.submits(&unit, &template.text);
                bed.store(ops);
            }
        }
        let snapshot = Snapshot {
            kvs: bed.store.values().cloned().collect(),
            revision: bed.revision,
        };
        bed.leader = Leader::new(way, bed.keys.clone(), &snapshot);
        bed.take_in();
        bed.before.clear();
        bed
    }

    /// The same with every unit placed, running and reported.
    pub(crate) fn full(way: Way, flavour: Flavour, machines: usize) -> Self {
        let mut bed = Self::unplaced(way, flavour, machines);
        bed.fill();
        bed
    }

    /// Places every unit, and has the agents run and report them.
    ///
    /// # Panics
    /// If some get none.
    pub(crate) fn fill(&mut self) {
        let steps = self.leader.pass().steps;
        self.commit(&steps);
        let mut said = Vec::new();
        for (id, machine) in &self.leader.cluster.machines {
            for (unit, entry) in &machine.assignments {
                let state = running(entry.value.as_ref().unwrap(), entry.modified);
                said.push(Txn::new().put(self.keys.state(id, unit), encode(&state)));
            }
        }
        assert_eq!(
            said.len() as u64,
            self.flavour.places(self.machines),
            "a unit without a place"
        );
        for txn in said {
            self.write(txn.ops);
        }
        self.rest();
    }

    /// How long the leader takes for the case, from the change to the plan, and how many units get a place by it. The
    /// cluster is as before afterwards.
    pub(crate) fn time(&mut self, case: Case) -> (Duration, usize) {
        if case == Case::First {
            self.leader.begin_term();
        }
        let batches: Vec<Batch> = self.change(case).into_iter().map(|ops| self.store(ops)).collect();
        let began = std::time::Instant::now();
        for batch in &batches {
            self.leader.take(batch);
        }
        let plan = std::hint::black_box(self.leader.pass());
        let took = began.elapsed();
        if case != Case::First {
            self.commit(&plan.steps);
            self.revert();
        }
        (took, placed(&plan.steps))
    }

    /// What happens, one revision each.
    fn change(&self, case: Case) -> Vec<Vec<Op>> {
        match case {
            Case::First => Vec::new(),
            Case::Submit => {
                let (unit, text) = self.flavour.newcomer(&self.flavour.templates(self.machines));
                vec![self.submits(&unit, &text)]
            }
            Case::State => vec![self.reports()],
            Case::Machine => self.lapses(&flavour::one_machine(self.machines)),
            Case::Zone => self.lapses(&flavour::one_zone(self.machines)),
        }
    }

    // What the registry does.

    /// Writes at one revision; what a watch would show of it.
    fn store(&mut self, ops: Vec<Op>) -> Batch {
        self.revision += 1;
        let revision = self.revision;
        let mut changes = Vec::new();
        for op in ops {
            let key = op.key().to_owned();
            let had = self.store.remove(&key);
            let created = had.as_ref().map_or(revision, |kv| kv.create_revision);
            self.before
                .entry(key.clone())
                .or_insert_with(|| had.map(|kv| kv.value));
            match op {
                Op::Put { key, value, lease } => {
                    let kv = KeyValue {
                        key: key.clone(),
                        value,
                        create_revision: created,
                        mod_revision: revision,
                        lease,
                    };
                    self.store.insert(key, kv.clone());
                    changes.push(Change::Put(kv));
                }
                Op::Delete { key } => changes.push(Change::Delete { key }),
            }
        }
        Batch { revision, changes }
    }

    fn write(&mut self, ops: Vec<Op>) {
        let batch = self.store(ops);
        self.leader.take(&batch);
    }

    /// Writes each step as its own transaction; all were decided on one state of the cluster.
    fn commit(&mut self, steps: &[Step]) {
        let cluster = &self.leader.cluster;
        let txns: Vec<Txn> = steps.iter().map(|step| step.transaction(cluster)).collect();
        for txn in txns {
            self.write(txn.ops);
        }
    }

    /// Puts everything back to what it was when the cluster was last at rest.
    fn revert(&mut self) {
        let ops = std::mem::take(&mut self.before)
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => Op::Put {
                    key,
                    value,
                    lease: None,
                },
                None => Op::Delete { key },
            });
        let ops = ops.collect();
        self.write(ops);
        self.take_in();
        self.rest();
    }

    /// Takes in the presences that are new, as the leader would.
    fn take_in(&mut self) {
        let machines = self
            .leader
            .cluster
            .machines
            .iter()
            .filter(|(_, m)| !m.is_taken_in());
        let presences = machines.filter_map(|(id, m)| Some((*id, m.presence.as_ref()?.created)));
        for (id, presence) in presences.collect::<Vec<_>>() {
            self.write(Txn::new().put(self.keys.seen(&id), presence.to_string()).ops);
        }
    }

    /// The leader has nothing more to do.
    ///
    /// # Panics
    /// If it has: then something else would be measured than is meant.
    fn rest(&mut self) {
        assert_eq!(self.leader.pass().steps, [], "there is something left to do");
        self.before.clear();
    }

    // What users and machines do.

    fn submits(&self, unit: &UnitName, text: &str) -> Vec<Op> {
        let file = UnitFile::parse(text).unwrap();
        let record = UnitRecord {
            hash: file.hash(),
            desired: DesiredState::Launched,
            run: 0,
        };
        Txn::new()
            .put(self.keys.content(&record.hash), file.canonical())
            .put(self.keys.unit(unit), encode(&record))
            .ops
    }

    fn joins(&self, n: usize) -> Vec<Op> {
        let id = flavour::machine(n);
        let address = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        let record = MachineRecord {
            id,
            address: address.clone(),
            metadata: flavour::metadata(n),
            overrides: BTreeMap::new(),
            capacity: Capacity::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            disable_engine: false,
            left: false,
            ttl: 15,
        };
        let presence = Presence {
            boot_id: format!("boot-{n}"),
            address,
            leaving: false,
        };
        Txn::new()
            .put(self.keys.machine(&id), encode(&record))
            .put(self.keys.presence(&id), encode(&presence))
            .ops
    }

    /// A unit has been restarted by systemd.
    fn reports(&self) -> Vec<Op> {
        let id = flavour::machine(flavour::one_machine(self.machines)[0]);
        let (unit, state) = self.leader.cluster.machines[&id]
            .states
            .first_key_value()
            .unwrap();
        let state = State {
            restarts: state.value.restarts + 1,
            ..state.value.clone()
        };
        Txn::new().put(self.keys.state(&id, unit), encode(&state)).ops
    }

    /// The leases of these machines end.
    fn lapses(&self, lost: &[usize]) -> Vec<Vec<Op>> {
        let all_of = |n: &usize| {
            let prefix = format!("{}{}/", self.keys.agents(), flavour::machine(*n));
            let keys = self.store.range(prefix.clone()..).map(|(key, _)| key);
            let of_it = keys.take_while(|key| key.starts_with(&prefix));
            of_it.map(|key| Op::Delete { key: key.clone() }).collect()
        };
        lost.iter().map(all_of).collect()
    }
}

/// What a machine says of a unit that it runs as it was told at that revision.
fn running(told: &Assignment, assignment: Revision) -> State {
    State {
        assignment,
        hold: Hold::Held,
        generation: told.generation,
        run: told.run,
        hash: Some(told.hash),
        started: true,
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        result: "success".to_owned(),
        restarts: 0,
        since: 1_763_698_461_000_000,
        problem: None,
    }
}

/// Orders to run something: how often a place was found.
fn placed(steps: &[Step]) -> usize {
    let orders = steps.iter().map(|step| match step {
        Step::Unit(decision) => {
            let orders = decision.assigns.values();
            orders
                .filter(|order| matches!(order, fleetd::engine::Change::Set(_)))
                .count()
        }
        Step::TakeIn { .. } | Step::Discard { .. } => 0,
    });
    orders.sum()
}
