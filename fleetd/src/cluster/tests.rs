//! Folding: whatever is written, in whatever order, the cluster moved on change by change is the cluster read afresh.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use units::{
    Assignment, DesiredState, Hold, MachineId, MachineRecord, Phase, Placement, Presence, State, UnitFile,
    UnitName, UnitRecord, Verdict,
};

use super::Cluster;
use crate::registry::keys::Keys;
use crate::registry::{Batch, Change, KeyValue, Revision, Snapshot, encode};

const TEXTS: [&str; 3] = [
    "[Service]\nExecStart=/bin/a\n",
    "[Service]\nExecStart=/bin/b\n[X-Fleet]\nGlobal=true\n",
    "[Service]\nExecStart=/bin/c\n[X-Fleet]\nGlobal=perhaps\n",
];

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn id(n: usize) -> MachineId {
    MachineId::parse(&format!("{n:032x}")).unwrap()
}

fn file(n: usize) -> UnitFile {
    UnitFile::parse(TEXTS[n]).unwrap()
}

fn record(n: usize, desired: DesiredState) -> Vec<u8> {
    let hash = file(n).hash();
    encode(&UnitRecord {
        hash,
        desired,
        run: 0,
    })
}

fn machine(zone: &str) -> MachineRecord {
    MachineRecord {
        id: id(1),
        address: String::new(),
        metadata: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        overrides: BTreeMap::new(),
        capacity: units::Capacity::default(),
        version: String::new(),
        disable_engine: false,
        left: false,
        ttl: 15,
    }
}

fn state(assignment: Revision) -> State {
    let value = format!(r#"{{"assignment":{assignment},"hold":"held"}}"#);
    serde_json::from_str(&value).unwrap()
}

fn assignment() -> Assignment {
    Assignment {
        generation: 1,
        run: 0,
        hash: file(0).hash(),
        desired: DesiredState::Launched,
        phase: Phase::Run,
        on_disconnect: units::OnDisconnect::Keep,
    }
}

/// A map that counts revisions, and the cluster that is folded from its changes.
struct Store {
    keys: Keys,
    map: BTreeMap<String, KeyValue>,
    revision: Revision,
    cluster: Cluster,
}

impl Store {
    fn new() -> Self {
        let keys = Keys::default();
        Self {
            cluster: Cluster::empty(keys.clone()),
            keys,
            map: BTreeMap::new(),
            revision: 1,
        }
    }

    /// Writes all of it at one revision; `None` deletes.
    fn write(&mut self, what: Vec<(String, Option<Vec<u8>>)>) {
        self.revision += 1;
        let mut changes = Vec::new();
        for (key, value) in what {
            let before = self.map.remove(&key);
            match value {
                Some(value) => {
                    let kv = KeyValue {
                        key: key.clone(),
                        value,
                        create_revision: before.map_or(self.revision, |kv| kv.create_revision),
                        mod_revision: self.revision,
                        lease: None,
                    };
                    self.map.insert(key, kv.clone());
                    changes.push(Change::Put(kv));
                }
                None if before.is_some() => changes.push(Change::Delete { key }),
                None => {}
            }
        }
        let revision = self.revision;
        self.cluster.apply(&Batch { revision, changes });
    }

    fn put(&mut self, key: String, value: impl Into<Vec<u8>>) {
        self.write(vec![(key, Some(value.into()))]);
    }

    fn delete(&mut self, key: String) {
        self.write(vec![(key, None)]);
    }

    fn check(&self) {
        let snapshot = Snapshot {
            kvs: self.map.values().cloned().collect(),
            revision: self.revision,
        };
        let read = Cluster::from_snapshot(self.keys.clone(), &snapshot);
        assert_eq!(format!("{read:#?}"), format!("{:#?}", self.cluster));
    }
}

/// A key, and a value that it may have; a content is only ever wrong from the start, for a text that was right once
/// stays known by its hash.
fn write() -> impl Strategy<Value = (String, Option<Vec<u8>>)> {
    let keys = Keys::default();
    let unit = prop::sample::select(vec![name("a.service"), name("b@1.service"), name("c@.service")]);
    let broken = || b"{".to_vec();
    let which = (0..11_usize, unit, 1..3_usize, 0..3_usize, 0..4_usize);
    which.prop_map(move |(kind, unit, n, text, how)| {
        let (m, hash) = (id(n), file(text).hash());
        let (key, value) = match kind {
            0 | 1 => (keys.unit(&unit), record(text, DesiredState::ALL[n])),
            2 | 3 => {
                let key = keys.content(&hash);
                let value = if text == 0 {
                    broken()
                } else {
                    file(text).canonical().into_bytes()
                };
                return (key, (how > 0).then_some(value));
            }
            4 => {
                let reason = String::new();
                (keys.schedule(&unit), encode(&Placement { machine: m, reason }))
            }
            5 => (keys.machine(&m), encode(&machine(["a", "b", "c"][text]))),
            6 => (keys.assign(&m, &unit), encode(&assignment())),
            7 => (keys.seen(&m), b"7".to_vec()),
            8 => {
                let (boot_id, address, leaving) = ("b".to_owned(), String::new(), text == 0);
                (
                    keys.presence(&m),
                    encode(&Presence {
                        boot_id,
                        address,
                        leaving,
                    }),
                )
            }
            9 => (keys.state(&m, &unit), encode(&state(7))),
            _ => {
                let summary = String::new();
                let (counts, machines) = Default::default();
                let verdict = Verdict {
                    generation: 1,
                    revision: 1,
                    passing: false,
                    summary,
                    counts,
                    machines,
                };
                (keys.verdict(&unit), encode(&verdict))
            }
        };
        match how {
            0 => (key, None),
            1 => (key, Some(broken())),
            _ => (key, Some(value)),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cluster_moved_on_by_changes_is_the_cluster_as_read(
        batches in prop::collection::vec(prop::collection::vec(write(), 1..4), 0..60),
    ) {
        let mut store = Store::new();
        for batch in batches {
            // No key twice in a transaction.
            let batch: BTreeMap<String, Option<Vec<u8>>> = batch.into_iter().collect();
            store.write(batch.into_iter().collect());
            store.check();
        }
        let keys: Vec<String> = store.map.keys().cloned().collect();
        store.write(keys.into_iter().map(|key| (key, None)).collect());
        store.check();
        prop_assert!(store.cluster.machines.is_empty() && store.cluster.units.is_empty());
    }
}

#[test]
fn a_unit_and_its_content_may_come_in_any_order() {
    for content_first in [true, false] {
        let mut store = Store::new();
        let unit = (
            store.keys.unit(&name("g.service")),
            Some(record(1, DesiredState::Launched)),
        );
        let content = (
            store.keys.content(&file(1).hash()),
            Some(file(1).canonical().into_bytes()),
        );
        let [first, second] = if content_first {
            [content, unit]
        } else {
            [unit, content]
        };
        store.write(vec![first]);
        store.write(vec![second]);
        let unit = &store.cluster.units[&name("g.service")];
        assert!(unit.requirements.as_ref().unwrap().global);
        assert_eq!(store.cluster.users[&file(1).hash()].len(), 1);
        store.check();
    }
}

#[test]
fn the_users_of_a_content_are_counted_through_every_change() {
    let mut store = Store::new();
    let users = |store: &Store, n: usize| store.cluster.users.get(&file(n).hash()).map_or(0, BTreeSet::len);
    for n in [0, 1] {
        store.put(store.keys.content(&file(n).hash()), file(n).canonical());
    }
    let [a, b] = ["a.service", "b.service"].map(|unit| store.keys.unit(&name(unit)));
    for (key, n, expected) in [(&a, 0, [1, 0]), (&b, 0, [2, 0]), (&b, 0, [2, 0]), (&a, 1, [1, 1])] {
        store.put(key.clone(), record(n, DesiredState::Loaded));
        assert_eq!([users(&store, 0), users(&store, 1)], expected);
        store.check();
    }
    store.put(a.clone(), "{");
    assert_eq!([users(&store, 0), users(&store, 1)], [1, 0]);
    store.delete(a);
    store.delete(b);
    assert_eq!([users(&store, 0), users(&store, 1)], [0, 0]);
    store.check();
}

#[test]
fn what_cannot_be_read_is_told_apart_from_what_is_not_there() {
    let mut store = Store::new();
    let (u, m) = (name("a.service"), id(1));
    let keys = store.keys.clone();
    for key in [
        keys.unit(&u),
        keys.schedule(&u),
        keys.verdict(&u),
        keys.machine(&m),
        keys.assign(&m, &u),
        keys.seen(&m),
        keys.presence(&m),
        keys.state(&m, &u),
    ] {
        store.put(key, [0xff]);
    }
    let cluster = &store.cluster;
    let machine = &cluster.machines[&m];
    assert!(cluster.units[&u].record.is_err() && cluster.units[&u].requirements.is_err());
    assert!(cluster.schedule[&u].value.is_none() && cluster.verdicts[&u].value.is_none());
    assert!(machine.assignments[&u].value.is_none() && machine.assignment(&u).is_none());
    assert!(machine.is_unreadable && machine.unreadable_states.contains(&u));
    assert!(machine.is_present() && !machine.is_taken_in());
    assert!(!machine.answers(&u, Hold::Held) && !machine.answers(&u, Hold::Gone));
    store.check();
}

#[test]
fn a_good_record_after_a_bad_one_and_a_bad_one_after_a_good_one() {
    let mut store = Store::new();
    let m = id(1);
    let (record, presence) = (store.keys.machine(&m), store.keys.state(&m, &name("a.service")));
    for _ in 0..2 {
        store.put(record.clone(), encode(&machine("x")));
        store.put(presence.clone(), encode(&state(3)));
        let known = &store.cluster.machines[&m];
        assert_eq!(known.metadata["zone"], "x");
        assert!(!known.is_unreadable && known.unreadable_states.is_empty());
        store.put(record.clone(), "[]");
        store.put(presence.clone(), "[]");
        let known = &store.cluster.machines[&m];
        assert!(known.is_unreadable && known.metadata.is_empty() && known.states.is_empty());
        store.check();
    }
    store.delete(record);
    store.delete(presence);
    assert!(store.cluster.machines.is_empty());
}

#[test]
fn a_change_of_desired_state_alone_parses_nothing_again() {
    let mut store = Store::new();
    let key = store.keys.unit(&name("g.service"));
    store.put(store.keys.content(&file(1).hash()), file(1).canonical());
    store.put(key.clone(), record(1, DesiredState::Loaded));
    let before = store.cluster.units[&name("g.service")]
        .requirements
        .clone()
        .unwrap();
    store.put(key, record(1, DesiredState::Launched));
    let unit = &store.cluster.units[&name("g.service")];
    assert!(std::sync::Arc::ptr_eq(
        &before,
        unit.requirements.as_ref().unwrap()
    ));
    assert_eq!(unit.generation, store.revision);
}
