//! Which engine may lead after which.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::bed::id;
use crate::engine::election::{Leadership, campaign_as};
use crate::engine::version::{Admission, admission};
use crate::registry::keys::Keys;
use crate::registry::memory::{MemoryClient, MemoryRegistry};
use crate::registry::{Change, KeyValue, Precondition, Registry, Select, SharedRegistry, Txn};

fn shared(client: &MemoryClient) -> SharedRegistry {
    Arc::new(client.clone())
}

/// Leads as an engine of that version, if it comes to lead within a minute.
async fn lead(store: &MemoryRegistry, machine: usize, version: u32) -> Option<Leadership> {
    let registry = shared(&store.client(&format!("m{machine}")));
    let (keys, machine) = (Keys::default(), id(machine));
    let campaign = campaign_as(version, &registry, &keys, &machine);
    timeout(Duration::from_secs(60), campaign).await.ok()
}

fn stored(store: &MemoryRegistry) -> Option<String> {
    let key = Keys::default().engine_version();
    let kv = store.dump().into_iter().find(|kv| kv.key == key)?;
    Some(String::from_utf8(kv.value).unwrap())
}

#[test]
fn what_a_stored_version_means() {
    let keys = Keys::default();
    let key = keys.engine_version();
    let kv = |value: &str| KeyValue {
        key: key.clone(),
        value: value.into(),
        create_revision: 3,
        mod_revision: 7,
        lease: None,
    };
    let unchanged = Txn::new().when(Precondition::Unchanged(key.clone(), 7));
    let first = Txn::new()
        .when(Precondition::Absent(key.clone()))
        .put(key.clone(), "2");
    assert_eq!(admission(&keys, None, 2), Admission::Admitted(first));
    for (value, expected) in [
        ("2", Admission::Admitted(unchanged.clone())),
        ("2\n", Admission::Admitted(unchanged.clone())),
        ("1", Admission::Admitted(unchanged.clone().put(key.clone(), "2"))),
        ("0", Admission::Admitted(unchanged.put(key.clone(), "2"))),
        ("3", Admission::Outdated("3".to_owned())),
        ("10", Admission::Outdated("10".to_owned())),
        ("{\"engine\":2}", Admission::Outdated("{\"engine\":2}".to_owned())),
        ("", Admission::Outdated(String::new())),
        ("-1", Admission::Outdated("-1".to_owned())),
    ] {
        assert_eq!(admission(&keys, Some(&kv(value)), 2), expected, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_engine_never_leads_after_a_newer_one() {
    let store = MemoryRegistry::new();
    let first = lead(&store, 1, 1).await.unwrap();
    assert_eq!(stored(&store).as_deref(), Some("1"));
    first.resign().await;
    let newer = lead(&store, 2, 2).await.unwrap();
    assert_eq!(stored(&store).as_deref(), Some("2"), "raised with the key itself");
    newer.resign().await;
    assert!(lead(&store, 1, 1).await.is_none());
    assert!(lead(&store, 3, 2).await.is_some());
    assert_eq!(stored(&store).as_deref(), Some("2"), "never lowered");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_old_asks_nothing_until_the_version_changes() {
    let store = MemoryRegistry::new();
    let key = Keys::default().engine_version();
    let person = store.client("person");
    person.commit(Txn::new().put(key.clone(), "2")).await.unwrap();
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { lead(&store, 1, 1).await })
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = store.counters();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let since = store.counters() - before;
    assert_eq!((since.reads, since.commits), (0, 0), "{since:?}");
    // A person who goes back on purpose takes the key away.
    person.commit(Txn::new().delete(key)).await.unwrap();
    assert!(waiting.await.unwrap().is_some());
    assert_eq!(stored(&store).as_deref(), Some("1"));
}

/// The older one has read that it may lead; then the newer one leads and is gone again before its transaction arrives.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_comes_late_does_not_make_an_older_engine_the_leader() {
    let store = MemoryRegistry::new();
    lead(&store, 1, 1).await.unwrap().resign().await;
    let (keys, late) = (Keys::default(), store.client("late"));
    let read = late.read(&[Select::Key(keys.engine_version())]).await.unwrap();
    let Admission::Admitted(txn) = admission(&keys, read.get(&keys.engine_version()), 1) else {
        panic!("it may lead at first");
    };
    lead(&store, 2, 2).await.unwrap().resign().await;
    let txn = txn
        .when(Precondition::Absent(keys.leader()))
        .put(keys.leader(), id(1).as_str());
    let outcome = late.commit(txn).await.unwrap();
    assert!(
        matches!(outcome, crate::registry::Commit::Refused(_)),
        "{outcome:?}"
    );
}

/// A leader of an older version is not driven out: the newer one waits for the end of its term.
#[tokio::test(start_paused = true)]
async fn a_newer_engine_waits_for_the_term_of_an_older_one() {
    let store = MemoryRegistry::new();
    let older = lead(&store, 1, 1).await.unwrap();
    let mut watch = store
        .client("look")
        .watch(Select::Key(Keys::default().leader()), store.revision() + 1)
        .await
        .unwrap();
    assert!(lead(&store, 2, 2).await.is_none());
    older.resign().await;
    let gone = watch.next().await.unwrap();
    assert!(gone.changes.iter().any(|c| matches!(c, Change::Delete { .. })));
    assert!(lead(&store, 2, 2).await.is_some());
}
