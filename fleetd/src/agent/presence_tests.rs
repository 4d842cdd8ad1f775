use std::sync::Arc;

use units::Capacity;

use super::*;
use crate::guard::clock::Virtual;
use crate::init::scripted::ScriptedInit;
use crate::registry::memory::MemoryRegistry;

#[tokio::test(start_paused = true)]
async fn a_description_does_not_take_back_a_leave_that_was_announced() {
    let run = tempfile::tempdir().unwrap();
    let store = MemoryRegistry::new();
    let id = MachineId::parse(&"1".repeat(32)).unwrap();
    let clock = Arc::new(Virtual::new(1000));
    let mut door = Door {
        registry: Arc::new(store.client("agent")),
        keys: Keys::default(),
        trust: Arc::new(Trust::open(run.path()).unwrap()),
        identity: Identity {
            id,
            boot_id: "boot".to_owned(),
            address: "10.0.0.1".to_owned(),
            metadata: Metadata::new(),
            capacity: Capacity::default(),
            version: String::new(),
            disable_engine: false,
        },
        ttl: Duration::from_secs(15),
        guard: Arc::new(Guard::open(run.path(), clock, ScriptedInit::new(run.path().join("units"))).unwrap()),
    };
    let joined = door.join(BTreeMap::new()).await.unwrap();
    door.announce_leave(&joined).await.unwrap();
    door.identity.address = "10.0.0.2".to_owned();
    door.describe(&joined).await.unwrap();
    let key = Select::Key(door.keys.presence(&id));
    let snapshot = door.registry.read(&[key]).await.unwrap();
    let presence: Presence = serde_json::from_slice(&snapshot.kvs[0].value).unwrap();
    assert_eq!((presence.address.as_str(), presence.leaving), ("10.0.0.2", true));
}
