//! Any bytes in the registry, as if somebody else had written them: folding and planning take them as they are, and
//! the leader removes nothing that is not its own.

use std::time::Duration;

use fleetd::cluster::Cluster;
use fleetd::engine::{Memory, Policy, plan};
use fleetd::registry::keys::{Key, Keys};
use fleetd::registry::memory::MemoryRegistry;
use fleetd::registry::{Batch, Change, Commit, KeyValue, Op, Registry, Select, Txn};
use proptest::collection::vec;
use proptest::prelude::*;
use units::{MachineId, UnitFile, UnitName};

const MACHINES: [&str; 2] = [
    "11111111111111111111111111111111",
    "22222222222222222222222222222222",
];
const UNITS: [&str; 4] = ["a.service", "b@.service", "b@1.service", "g.service"];

fn content() -> Vec<UnitFile> {
    [
        "",
        "[X-Fleet]\nGlobal=true\n",
        "[X-Fleet]\nConflicts=*\n",
        "[X-Fleet]\nMachineMetadata=a=b\n",
    ]
    .iter()
    .map(|more| UnitFile::parse(&format!("[Service]\nExecStart=/bin/true\n{more}")).unwrap())
    .collect()
}

pub(crate) fn key() -> impl Strategy<Value = String> {
    let keys = Keys::default();
    let mut known = vec![
        keys.cluster(),
        keys.leader(),
        keys.recovering(),
        keys.recovered("x"),
    ];
    for unit in UNITS.map(|u| UnitName::parse(u).unwrap()) {
        known.extend([keys.unit(&unit), keys.schedule(&unit), keys.verdict(&unit)]);
        for machine in MACHINES.map(|m| MachineId::parse(m).unwrap()) {
            known.extend([keys.assign(&machine, &unit), keys.state(&machine, &unit)]);
        }
    }
    for machine in MACHINES.map(|m| MachineId::parse(m).unwrap()) {
        known.extend([
            keys.machine(&machine),
            keys.presence(&machine),
            keys.seen(&machine),
        ]);
    }
    known.extend(content().iter().map(|file| keys.content(&file.hash())));
    let root = keys.root().to_owned();
    prop_oneof![
        8 => prop::sample::select(known),
        1 => "[a-z/.@0-9]{0,24}".prop_map(move |rest| format!("{root}{rest}")),
    ]
}

/// Records as they may be, with numbers and words that need not make sense.
pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(vec![
        "0",
        "1",
        "7",
        "18446744073709551615",
        "9223372036854775807",
        "-1",
        "1.5",
        "\"x\"",
        "null",
    ]);
    let hash = prop::sample::select(content().iter().map(|f| f.hash().to_string()).collect::<Vec<_>>());
    let machine = prop::sample::select(MACHINES.to_vec());
    let desired = prop::sample::select(vec!["inactive", "loaded", "launched"]);
    let phase = prop::sample::select(vec!["run", "release"]);
    let hold = prop::sample::select(vec!["held", "gone", "refused"]);
    let record = (number.clone(), number, hash, machine, desired, phase, hold).prop_map(
        |(a, b, hash, machine, desired, phase, hold)| {
            // One text that every kind of record finds its fields in.
            format!(
                r#"{{"hash":"{hash}","desired":"{desired}","run":{a},"generation":{b},"phase":"{phase}","machine":"{machine}",
                "reason":"r","id":"{machine}","address":"10.0.0.1","metadata":{{"a":"b"}},"overrides":{{}},
                "capacity":{{"cpus":2,"memory":1}},"version":"1","left":false,"bootId":"b","leaving":false,
                "assignment":{b},"hold":"{hold}","started":true,"load":"loaded","active":"active","sub":"running",
                "result":"success","restarts":{a},"since":{a},"revision":{b},"passing":false,"summary":"s","counts":{{}},"machines":[]}}"#
            )
            .into_bytes()
        },
    );
    prop_oneof![
        6 => record.clone(),
        2 => (record, any::<prop::sample::Index>(), vec(any::<u8>(), 0..4)).prop_map(|(mut text, at, bytes)| {
            let at = at.index(text.len());
            let end = (at + 3).min(text.len());
            text.splice(at..end, bytes);
            text
        }),
        2 => prop::sample::select(content()).prop_map(|f| f.canonical().into_bytes()),
        1 => prop::sample::select(vec!["0", "1", "2", "3", "99"]).prop_map(|n| n.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..40),
    ]
}

/// Who else than the engine owns a key: nobody's are everybody's.
fn is_the_engines(keys: &Keys, key: &str) -> bool {
    matches!(
        keys.parse(key),
        Some(Key::Schedule(_) | Key::Assign(..) | Key::Verdict(_) | Key::Seen(_) | Key::Content(_))
    )
}

async fn settle(writes: Vec<(String, Vec<u8>)>) {
    let keys = Keys::default();
    let store = MemoryRegistry::new();
    let client = store.client("engine");
    for (key, value) in writes {
        client.commit(Txn::new().put(key, value)).await.unwrap();
    }
    let (mut memory, policy) = (Memory::default(), Policy::default());
    let everything = [Select::Prefix(keys.root().to_owned())];
    for pass in 0..12_u32 {
        let before = client.read(&everything).await.unwrap();
        let cluster = Cluster::from_snapshot(keys.clone(), &before);
        let now = Duration::from_secs(20) * pass;
        memory.observe(&cluster, now, &policy);
        let decided = plan(&cluster, &memory, now, &policy);
        memory.retain(&decided.retained, now);
        for step in decided.steps {
            let txn = step.transaction(&cluster);
            for op in &txn.ops {
                assert!(is_the_engines(&keys, op.key()), "{op:?} of {step:?}");
                if let (Op::Delete { key }, Some(Key::Content(_))) = (op, keys.parse(op.key())) {
                    assert!(before.get(key).is_some(), "{key} is not there");
                }
            }
            // One that was overtaken by another of this pass is refused, and that is all.
            let _: Commit = client.commit(txn).await.unwrap();
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_in_the_registry_are_planned_around(writes in vec((key(), value()), 0..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(settle(writes));
    }

    #[test]
    fn any_changes_are_folded_as_they_are_read(writes in vec((key(), prop::option::of(value())), 0..24)) {
        let mut folded = Cluster::empty(Keys::default());
        for (revision, (key, value)) in (1_i64..).zip(writes) {
            let change = match value {
                Some(value) => Change::Put(KeyValue {
                    key,
                    value,
                    create_revision: revision,
                    mod_revision: revision,
                    lease: None,
                }),
                None => Change::Delete { key },
            };
            folded.apply(&Batch { revision, changes: vec![change] });
        }
    }

    #[test]
    fn a_key_that_is_read_is_the_one_that_is_built(rest in prop_oneof![key(), "(?s).{0,60}", "/_coreos.com/fleet/[a-z]{1,9}/.{0,40}"]) {
        let keys = Keys::default();
        let built = match keys.parse(&rest) {
            None => return Ok(()),
            Some(Key::Cluster) => keys.cluster(),
            Some(Key::Leader) => keys.leader(),
            Some(Key::EngineVersion) => keys.engine_version(),
            Some(Key::Recovered(uuid)) => keys.recovered(&uuid),
            Some(Key::Doubted(uuid)) => keys.doubted(&uuid),
            Some(Key::Recovering) => keys.recovering(),
            Some(Key::Unit(unit)) => keys.unit(&unit),
            Some(Key::Content(hash)) => keys.content(&hash),
            Some(Key::Schedule(unit)) => keys.schedule(&unit),
            Some(Key::Verdict(unit)) => keys.verdict(&unit),
            Some(Key::Machine(machine)) => keys.machine(&machine),
            Some(Key::Assign(machine, unit)) => keys.assign(&machine, &unit),
            Some(Key::Seen(machine)) => keys.seen(&machine),
            Some(Key::Presence(machine)) => keys.presence(&machine),
            Some(Key::State(machine, unit)) => keys.state(&machine, &unit),
        };
        prop_assert_eq!(built, rest);
    }
}
