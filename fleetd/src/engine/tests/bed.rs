//! A whole cluster in a map: a registry, a leader and scripted agents, without time or tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    DesiredState, Hash, MachineId, MachineRecord, Phase, Placement, Presence, UnitFile, UnitName, UnitRecord,
    Verdict, parse_metadata,
};

use super::agents::Agent;
use crate::cluster::{Cluster, invariants};
use crate::engine::{Memory, Plan, Policy, Scheduler, Step, plan};
use crate::registry::keys::Keys;
use crate::registry::{Batch, Change, KeyValue, MAX_OPS, Op, Precondition, Revision, Snapshot, Txn, encode};

pub(super) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

/// The id of the `n`th machine; its short form is `n` in eight digits.
pub(super) fn id(n: usize) -> MachineId {
    MachineId::parse(&format!("{n:08x}{n:024x}")).unwrap()
}

/// The text of a unit with these lines in `[X-Fleet]`.
pub(super) fn text(lines: &str) -> String {
    format!("[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\n{lines}\n")
}

pub(super) fn hash(text: &str) -> Hash {
    UnitFile::parse(text).unwrap().hash()
}

#[derive(Debug)]
pub(super) struct Bed {
    pub(super) keys: Keys,
    pub(super) store: BTreeMap<String, KeyValue>,
    pub(super) revision: Revision,
    /// Folded from one change to the next, as the leader's.
    pub(super) cluster: Cluster,
    /// Told of every change, as the leader's.
    pub(super) scheduler: Scheduler,
    pub(super) memory: Memory,
    pub(super) now: Duration,
    pub(super) policy: Policy,
    pub(super) agents: BTreeMap<MachineId, Agent>,
    /// Units that do not come up anywhere.
    pub(super) broken: BTreeSet<UnitName>,
    /// Units that once were global: late starts of such copies prove nothing.
    pub(super) once_global: BTreeSet<UnitName>,
    /// Starts of a unit while another machine had it.
    pub(super) doubles: Vec<String>,
}

impl Bed {
    pub(super) fn new() -> Self {
        let keys = Keys::default();
        Self {
            cluster: Cluster::empty(keys.clone()),
            keys,
            scheduler: Scheduler::default(),
            store: BTreeMap::new(),
            revision: 1,
            memory: Memory::default(),
            now: Duration::ZERO,
            policy: Policy::default(),
            agents: BTreeMap::new(),
            broken: BTreeSet::new(),
            once_global: BTreeSet::new(),
            doubles: Vec::new(),
        }
    }

    /// A bed with one machine for each of these lists of metadata, all present and taken in.
    pub(super) fn with<const N: usize>(metadata: [&str; N]) -> (Self, [MachineId; N]) {
        let mut bed = Self::new();
        let mut n = 0;
        let ids = metadata.map(|metadata| {
            n += 1;
            bed.join(id(n), metadata);
            id(n)
        });
        bed.settle();
        (bed, ids)
    }

    // What the registry does.

    pub(super) fn write(&mut self, ops: Vec<Op>) {
        self.revision += 1;
        let revision = self.revision;
        let mut changes = Vec::new();
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let kv = KeyValue {
                        create_revision: self.store.get(&key).map_or(revision, |kv| kv.create_revision),
                        mod_revision: revision,
                        key: key.clone(),
                        value,
                        lease,
                    };
                    self.store.insert(key, kv.clone());
                    changes.push(Change::Put(kv));
                }
                Op::Delete { key } => {
                    if self.store.remove(&key).is_some() {
                        changes.push(Change::Delete { key });
                    }
                }
            }
        }
        let touched = self.cluster.apply(&Batch { revision, changes });
        self.scheduler.note(touched);
    }

    pub(super) fn put(&mut self, key: String, value: impl Into<Vec<u8>>) {
        self.write(Txn::new().put(key, value).ops);
    }

    pub(super) fn delete(&mut self, key: String) {
        self.write(vec![Op::Delete { key }]);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            kvs: self.store.values().cloned().collect(),
            revision: self.revision,
        }
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        let kv = self.store.get(precondition.key());
        match precondition {
            Precondition::Unchanged(_, revision) => kv.is_some_and(|kv| kv.mod_revision == *revision),
            Precondition::Created(_, revision) => kv.is_some_and(|kv| kv.create_revision == *revision),
            Precondition::Absent(_) => kv.is_none(),
            Precondition::Value(_, value) => kv.is_some_and(|kv| kv.value == *value),
        }
    }

    // What the leader does.

    /// Decides; the same decision must come out twice, and also of a look at nothing but what has changed.
    pub(super) fn plan(&mut self) -> Plan {
        let before = (!self.scheduler.concerns_machines() && !self.memory.watches())
            .then(|| format!("{:?}", self.memory));
        self.memory.observe(&self.cluster, self.now, &self.policy);
        let unchanged = before.is_none_or(|before| before == format!("{:?}", self.memory));
        assert!(unchanged, "there was something to observe: {:?}", self.memory);
        let made = plan(&self.cluster, &self.memory, self.now, &self.policy);
        let again = plan(&self.cluster, &self.memory, self.now, &self.policy);
        assert_eq!(made, again, "the same cluster gives the same plan");
        for _ in 0..2 {
            let kept = self
                .scheduler
                .plan(&self.cluster, &self.memory, self.now, &self.policy);
            assert_eq!(
                kept, made,
                "a look at what has changed gives the same plan as a look at everything"
            );
        }
        made
    }

    /// Another leader, that knows nothing but the cluster.
    pub(super) fn begin_term(&mut self) {
        self.memory = Memory::default();
        self.scheduler = Scheduler::default();
    }

    /// One pass: decides and writes.
    pub(super) fn pass(&mut self) -> Plan {
        let made = self.plan();
        self.memory.retain(&made.retained, self.now);
        self.commit(&made.steps);
        made
    }

    /// Writes each step as its own transaction, as etcd would take it; all were decided on one state of the cluster.
    pub(super) fn commit(&mut self, steps: &[Step]) {
        let cluster = self.cluster.clone();
        for step in steps {
            let txn = step.transaction(&cluster);
            // One more compare is the leader's fence.
            assert!(txn.preconditions.len() < MAX_OPS, "{step:?}");
            assert!((1..=MAX_OPS).contains(&txn.ops.len()), "{step:?}");
            let keys: BTreeSet<&str> = txn.ops.iter().map(Op::key).collect();
            assert_eq!(keys.len(), txn.ops.len(), "a key twice in {step:?}");
            let broken = txn.preconditions.iter().find(|p| !self.holds(p));
            assert_eq!(broken, None, "nothing came between, and yet {step:?}");
            self.write(txn.ops);
            if matches!(step, Step::Unit(d) if d.is_rescue) {
                self.memory.moved(1);
            }
        }
    }

    /// Passes and answers until nobody has anything to say; the clock stands still.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            let steps = self.pass().steps.len();
            let answers = self.answer_all();
            if steps == 0 && answers == 0 {
                assert_eq!(self.doubles, Vec::<String>::new());
                return;
            }
        }
        panic!("does not come to rest: {:#?}", self.plan());
    }

    /// As [`Self::settle`], after so many seconds.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.settle();
    }

    /// Nothing is there that must not be, and the cluster as folded is the cluster as read.
    pub(super) fn check(&self) {
        // A machine out of sight keeps what it was told; what has come to conflict there is sorted out on its return.
        let is_present = |id: &MachineId| self.cluster.machines.get(id).is_some_and(|m| m.is_present());
        let mut found = invariants::check(&self.cluster);
        found.retain(|v| !matches!(v, invariants::Violation::Conflict(_, _, id) if !is_present(id)));
        assert_eq!(found, []);
        let read = Cluster::from_snapshot(self.keys.clone(), &self.snapshot());
        assert_eq!(format!("{read:#?}"), format!("{:#?}", self.cluster));
    }

    // What users do.

    /// Submits a unit with these lines in `[X-Fleet]`.
    pub(super) fn submit(&mut self, unit: &str, lines: &str, desired: DesiredState) {
        self.put_unit(unit, &text(lines), desired, 0);
    }

    /// Has a unit launched.
    pub(super) fn launch(&mut self, unit: &str, lines: &str) {
        self.submit(unit, lines, DesiredState::Launched);
    }

    pub(super) fn put_unit(&mut self, unit: &str, text: &str, desired: DesiredState, run: u64) {
        if text.contains("Global=true") {
            self.once_global.insert(name(unit));
        }
        let file = UnitFile::parse(text).unwrap();
        let hash = file.hash();
        let record = UnitRecord { hash, desired, run };
        let txn = Txn::new()
            .put(self.keys.unit(&name(unit)), encode(&record))
            .put(self.keys.content(&hash), file.canonical());
        self.write(txn.ops);
    }

    /// The same unit, another desired state.
    pub(super) fn want(&mut self, unit: &str, desired: DesiredState) {
        let record = self.cluster.units[&name(unit)].record.clone().unwrap();
        let record = UnitRecord { desired, ..record };
        self.put(self.keys.unit(&name(unit)), encode(&record));
    }

    pub(super) fn destroy(&mut self, unit: &str) {
        self.delete(self.keys.unit(&name(unit)));
    }

    // What machines do.

    pub(super) fn record(&mut self, machine: MachineId, metadata: &str, left: bool) {
        let record = MachineRecord {
            id: machine,
            address: format!("10.0.0.{}", machine.short().trim_start_matches('0')),
            metadata: parse_metadata(metadata).unwrap(),
            overrides: BTreeMap::new(),
            capacity: units::Capacity::default(),
            version: "1".to_owned(),
            disable_engine: false,
            left,
            ttl: 15,
        };
        self.put(self.keys.machine(&machine), encode(&record));
    }

    /// A machine that was never here, or comes back with this metadata.
    pub(super) fn join(&mut self, machine: MachineId, metadata: &str) {
        self.agents.entry(machine).or_default();
        self.record(machine, metadata, false);
        self.heal(machine);
    }

    /// Its lease runs out; what it holds runs on out of sight.
    pub(super) fn cut(&mut self, machine: MachineId) {
        let agent = self.agents.get_mut(&machine).unwrap();
        agent.cut();
        let agents = format!("{}{machine}/", self.keys.agents());
        let gone: Vec<Op> = self
            .store
            .keys()
            .filter(|key| key.starts_with(&agents))
            .map(|key| Op::Delete { key: key.clone() })
            .collect();
        self.write(gone);
    }

    /// It is back in sight, with what it holds.
    pub(super) fn heal(&mut self, machine: MachineId) {
        let presence = Presence {
            boot_id: "boot".to_owned(),
            address: String::new(),
            leaving: false,
        };
        let agent = self.agents.get_mut(&machine).unwrap();
        agent.heal();
        let mut txn = Txn::new().put(self.keys.presence(&machine), encode(&presence));
        // Presence and states come in one transaction.
        for (unit, state) in self.agents[&machine].brings() {
            txn = txn.put(self.keys.state(&machine, &unit), encode(&state));
        }
        self.write(txn.ops);
    }

    /// As [`Self::cut`], and nothing runs there any more.
    pub(super) fn kill(&mut self, machine: MachineId) {
        self.cut(machine);
        self.agents.get_mut(&machine).unwrap().forget();
    }

    /// It asks to leave; once its units are gone, it does.
    pub(super) fn leave(&mut self, machine: MachineId) {
        self.agents.get_mut(&machine).unwrap().is_leaving = true;
        let presence = Presence {
            boot_id: "boot".to_owned(),
            address: String::new(),
            leaving: true,
        };
        self.put(self.keys.presence(&machine), encode(&presence));
    }

    // What there is to see.

    pub(super) fn home(&self, unit: &str) -> Option<MachineId> {
        self.cluster.home(&name(unit)).copied()
    }

    pub(super) fn placement(&self, unit: &str) -> Placement {
        self.cluster.schedule[&name(unit)].value.clone().unwrap()
    }

    pub(super) fn verdict(&self, unit: &str) -> Option<Verdict> {
        self.cluster.verdicts.get(&name(unit))?.value.clone()
    }

    /// Why that machine cannot hold the unit, by its verdict.
    pub(super) fn refusal(&self, unit: &str, machine: MachineId) -> String {
        let verdict = self.verdict(unit).unwrap();
        let refusal = verdict.machines.into_iter().find(|r| r.machine == machine);
        refusal.map(|r| r.reason).unwrap_or_default()
    }

    /// What the machine is told about the unit.
    pub(super) fn phase(&self, unit: &str, machine: MachineId) -> Option<Phase> {
        Some(
            self.cluster
                .machines
                .get(&machine)?
                .assignment(&name(unit))?
                .phase,
        )
    }

    /// Machines that have the unit, in sight or not.
    pub(super) fn copies(&self, unit: &str) -> Vec<MachineId> {
        let has = |a: &Agent| a.copies.contains_key(&name(unit));
        self.agents
            .iter()
            .filter(|(_, a)| has(a))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Units with a verdict, or a place that is none, or no place though wanted: empty when all is well.
    pub(super) fn unplaced(&self) -> Vec<&str> {
        let placed = |unit: &&UnitName| self.cluster.home(unit).is_none();
        self.cluster
            .units
            .keys()
            .filter(placed)
            .map(UnitName::as_str)
            .collect()
    }
}

/// The decisions of a plan about one unit.
pub(super) fn decisions<'a>(plan: &'a Plan, unit: &str) -> Vec<&'a crate::engine::Decision> {
    let of = |step: &'a Step| match step {
        Step::Unit(decision) if decision.unit.as_str() == unit => Some(decision),
        _ => None,
    };
    plan.steps.iter().filter_map(of).collect()
}
