//! The faults, which only the twin has; what it shares with etcd is tested by `contract`.

use std::time::Duration;

use super::*;
use crate::registry::{Batch, Change, Precondition};

const SECOND: Duration = Duration::from_secs(1);

async fn put(registry: &impl Registry, key: &str) -> Result<Commit, RegistryError> {
    registry.commit(Txn::new().put(key, "x")).await
}

fn all() -> Select {
    Select::Prefix(String::new())
}

fn keys(batch: &Batch) -> Vec<&str> {
    batch.changes.iter().map(Change::key).collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_fails_at_once_and_alone() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    let mut watch = client.watch(all(), 1).await.unwrap();
    client.cut();
    assert!(matches!(
        client.read(&[all()]).await,
        Err(RegistryError::Unavailable(_))
    ));
    assert!(matches!(
        put(&client, "a").await,
        Err(RegistryError::Unavailable(_))
    ));
    assert!(matches!(watch.next().await, Err(RegistryError::Unavailable(_))));
    assert_eq!(put(&registry, "b").await, Ok(Commit::Applied(2)));
    client.mend();
    assert_eq!(put(&client, "c").await, Ok(Commit::Applied(3)));
    assert_eq!(registry.open_watches(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_times_out_without_a_word() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    let lease = client.grant(60 * SECOND).await.unwrap();
    let mut watch = client.watch(all(), 1).await.unwrap();
    client.hang();
    let began = Instant::now();
    assert!(matches!(
        client.renew(lease.id, SECOND).await,
        Err(RegistryError::Unavailable(_))
    ));
    assert_eq!(began.elapsed(), SECOND);
    assert!(matches!(put(&client, "a").await, Err(RegistryError::Unknown(_))));
    assert_eq!(began.elapsed(), 4 * SECOND);
    assert!(matches!(watch.next().await, Err(RegistryError::Unavailable(_))));
    assert_eq!(began.elapsed(), 9 * SECOND);
    assert_eq!(registry.dump(), []);
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_a_hang_ends_goes_through() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    let mut watch = client.watch(all(), 1).await.unwrap();
    client.hang();
    put(&registry, "before").await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { put(&client, "waiting").await }
    });
    tokio::time::sleep(2 * SECOND).await;
    client.mend();
    assert_eq!(waiting.await.unwrap(), Ok(Commit::Applied(3)));
    assert_eq!(keys(&watch.next().await.unwrap()), ["before"]);
    assert_eq!(keys(&watch.next().await.unwrap()), ["waiting"]);
}

#[tokio::test(start_paused = true)]
async fn delays_hold_up_requests_answers_and_changes_without_adding_up() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    client.delay(SECOND, SECOND / 2);
    let began = Instant::now();
    let mut watch = client.watch(all(), 1).await.unwrap();
    assert_eq!(began.elapsed(), SECOND * 3 / 2);
    for key in ["a", "b", "c"] {
        put(&registry, key).await.unwrap();
    }
    let began = Instant::now();
    for _ in 0..3 {
        watch.next().await.unwrap();
    }
    assert_eq!(began.elapsed(), SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_the_change_made() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    client.lose_next_answer();
    assert!(matches!(put(&client, "a").await, Err(RegistryError::Unknown(_))));
    assert_eq!(registry.dump().len(), 1);
    assert_eq!(put(&client, "b").await, Ok(Commit::Applied(3)));
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_meets_its_preconditions_late() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    for (key, taken) in [("free", false), ("taken", true)] {
        client.late_commit(5 * SECOND);
        let txn = Txn::new()
            .when(Precondition::Absent(key.to_owned()))
            .put(key, "late");
        assert!(matches!(client.commit(txn).await, Err(RegistryError::Unknown(_))));
        assert_eq!(
            registry.read(&[Select::Key(key.to_owned())]).await.unwrap().kvs,
            []
        );
        if taken {
            registry.commit(Txn::new().put(key, "early")).await.unwrap();
        }
        tokio::time::sleep(6 * SECOND).await;
        let value = if taken { "early" } else { "late" };
        assert_eq!(registry.dump().last().unwrap().value, value.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_watches_can_be_opened_again() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    let mut watch = client.watch(all(), 1).await.unwrap();
    client.drop_watches();
    assert!(matches!(watch.next().await, Err(RegistryError::Unavailable(_))));
    put(&registry, "a").await.unwrap();
    let mut watch = client.watch(all(), 1).await.unwrap();
    assert_eq!(keys(&watch.next().await.unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_goes_back_and_keeps_a_watch_from_the_future_silent() {
    let registry = MemoryRegistry::new();
    put(&registry, "a").await.unwrap();
    let lease = registry.grant(10 * SECOND).await.unwrap();
    registry
        .commit(Txn::new().put_leased("leased", "x", lease.id))
        .await
        .unwrap();
    let backup = registry.backup();
    put(&registry, "b").await.unwrap();
    let mut open = registry.watch(all(), 5).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    registry.restore(&backup);
    assert_eq!(registry.revision(), 3);
    assert!(matches!(open.next().await, Err(RegistryError::Unavailable(_))));

    let mut future = registry.watch(all(), 5).await.unwrap();
    put(&registry, "c").await.unwrap();
    let silent = tokio::time::timeout(SECOND, future.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    put(&registry, "d").await.unwrap();
    assert_eq!(keys(&future.next().await.unwrap()), ["d"]);
    let began = Instant::now();
    assert_eq!(keys(&future.next().await.unwrap()), ["leased"]);
    assert_eq!(
        began.elapsed(),
        9 * SECOND,
        "a lease comes back with its whole term"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wiped_store_starts_again_and_knows_no_lease() {
    let registry = MemoryRegistry::new();
    let lease = registry.grant(10 * SECOND).await.unwrap();
    put(&registry, "a").await.unwrap();
    registry.wipe();
    assert_eq!((registry.revision(), registry.dump().len()), (1, 0));
    assert_eq!(
        registry.renew(lease.id, SECOND).await,
        Err(RegistryError::LeaseExpired(lease.id))
    );
    assert_ne!(registry.grant(10 * SECOND).await.unwrap().id, lease.id);
}

#[tokio::test(start_paused = true)]
async fn an_election_gives_every_lease_its_term_again() {
    let registry = MemoryRegistry::new();
    let lease = registry.grant(10 * SECOND).await.unwrap();
    tokio::time::sleep(9 * SECOND).await;
    registry.elect();
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(registry.remaining(lease.id).await.unwrap().left, SECOND);
    registry.expire(lease.id);
    assert_eq!(
        registry.remaining(lease.id).await,
        Err(RegistryError::LeaseExpired(lease.id))
    );
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted_for_its_client() {
    let registry = MemoryRegistry::new();
    let client = registry.client("one");
    put(&client, "a").await.unwrap();
    let before = registry.counters();
    client.read(&[all(), all()]).await.unwrap();
    client.commit(Txn::new().put("b", "x").delete("c")).await.unwrap();
    registry.read(&[all()]).await.unwrap();
    let asked = registry.counters() - before;
    assert_eq!((asked.reads, asked.commits, asked.changes), (2, 1, 2));
    assert_eq!(registry.client("one").counters().reads, 1);
}
