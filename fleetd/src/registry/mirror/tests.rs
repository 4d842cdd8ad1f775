use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::registry::memory::{MemoryClient, MemoryRegistry};
use crate::registry::{Commit, Registry, Txn};

const SECOND: Duration = Duration::from_secs(1);

/// A store, a client of it, and a mirror of `a/` through that client that has listed already.
async fn mirrored() -> (MemoryRegistry, MemoryClient, Mirror) {
    let store = MemoryRegistry::new();
    put(&store, "a/1").await;
    let client = store.client("mirror");
    let mut mirror = Mirror::new(
        Arc::new(client.clone()),
        Select::Prefix("a/".to_owned()),
        Backoff::default(),
    );
    assert_eq!(keys(&mirror.next().await), ["a/1"]);
    (store, client, mirror)
}

async fn put(store: &MemoryRegistry, key: &str) {
    let commit = store.commit(Txn::new().put(key, "x")).await;
    assert!(matches!(commit, Ok(Commit::Applied(_))), "{commit:?}");
}

#[track_caller]
fn keys(update: &Update) -> Vec<&str> {
    match update {
        Update::Reset(snapshot) => snapshot.kvs.iter().map(|kv| kv.key.as_str()).collect(),
        Update::Changed(batch) => batch.changes.iter().map(|change| change.key()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Lets the mirror get as far as it can without anything happening.
async fn settle(mirror: &mut Mirror) {
    let update = timeout(10 * SECOND, mirror.next()).await;
    assert!(update.is_err(), "{update:?}");
}

#[tokio::test(start_paused = true)]
async fn it_lists_once_and_then_follows() {
    let (store, _, mut mirror) = mirrored().await;
    put(&store, "b/other").await;
    put(&store, "a/2").await;
    assert_eq!(keys(&mirror.next().await), ["a/2"]);
    settle(&mut mirror).await;
    let before = store.counters();
    for _ in 0..100 {
        put(&store, "a/3").await;
        assert_eq!(keys(&mirror.next().await), ["a/3"]);
    }
    assert_eq!(store.counters().reads, before.reads);
    assert_eq!(mirror.seen(), store.revision());
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_is_opened_again_where_it_broke() {
    let (store, client, mut mirror) = mirrored().await;
    settle(&mut mirror).await;
    client.cut();
    assert!(matches!(mirror.next().await, Update::Disconnected(_)));
    assert!(!mirror.is_connected());
    put(&store, "a/2").await;
    settle(&mut mirror).await;
    put(&store, "a/3").await;
    client.mend();
    assert_eq!(mirror.next().await, Update::Reconnected);
    assert!(mirror.is_connected());
    assert_eq!(keys(&mirror.next().await), ["a/2"]);
    assert_eq!(keys(&mirror.next().await), ["a/3"]);
    client.cut();
    assert!(
        matches!(mirror.next().await, Update::Disconnected(_)),
        "a second outage is told too"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_at_the_back_offs_pace() {
    let (_store, client, mut mirror) = mirrored().await;
    settle(&mut mirror).await;
    client.cut();
    assert!(matches!(mirror.next().await, Update::Disconnected(_)));
    let before = client.counters();
    let silent = timeout(60 * SECOND, mirror.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    let attempts = (client.counters() - before).watches;
    assert!(
        (60..=130).contains(&attempts),
        "{attempts} attempts in a minute at a cap of 1 s"
    );
}

#[tokio::test(start_paused = true)]
async fn it_reads_everything_again_when_history_is_gone() {
    let (store, client, mut mirror) = mirrored().await;
    settle(&mut mirror).await;
    client.cut();
    assert!(matches!(mirror.next().await, Update::Disconnected(_)));
    put(&store, "a/2").await;
    store.commit(Txn::new().delete("a/1")).await.unwrap();
    store.compact(store.revision()).unwrap();
    client.mend();
    assert_eq!(mirror.next().await, Update::Reconnected);
    assert_eq!(
        keys(&mirror.next().await),
        ["a/2"],
        "a Reset, without the deleted key"
    );
    put(&store, "a/3").await;
    assert_eq!(keys(&mirror.next().await), ["a/3"]);
}

#[tokio::test(start_paused = true)]
async fn a_nudge_reads_everything_again_and_misses_nothing() {
    let (store, _, mut mirror) = mirrored().await;
    settle(&mut mirror).await;
    put(&store, "a/2").await;
    mirror.nudge_relist();
    let update = mirror.next().await;
    assert!(matches!(update, Update::Reset(_)));
    assert_eq!(keys(&update), ["a/1", "a/2"]);
    put(&store, "a/3").await;
    assert_eq!(keys(&mirror.next().await), ["a/3"]);
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_stops_it_until_accepted() {
    let (store, _, mut mirror) = mirrored().await;
    let backup = store.backup();
    put(&store, "a/2").await;
    assert_eq!(keys(&mirror.next().await), ["a/2"]);
    store.restore(&backup);
    assert!(matches!(mirror.next().await, Update::Disconnected(_)));
    assert_eq!(mirror.next().await, Update::WentBack { had: 3, found: 2 });
    mirror.nudge_relist();
    settle(&mut mirror).await;
    mirror.accept();
    let update = mirror.next().await;
    assert!(matches!(update, Update::Reset(_)));
    assert_eq!(keys(&update), ["a/1"]);
    put(&store, "a/3").await;
    assert_eq!(keys(&mirror.next().await), ["a/3"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_behind_what_was_seen_before_a_restart_is_noticed_by_the_first_read() {
    let store = MemoryRegistry::new();
    let what = Select::Prefix(String::new());
    let mut mirror = Mirror::new(Arc::new(store), what, Backoff::default()).with_seen(9);
    assert_eq!(mirror.next().await, Update::WentBack { had: 9, found: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_gets_done_though_every_call_is_cancelled() {
    let store = MemoryRegistry::new();
    put(&store, "a/1").await;
    let client = store.client("slow");
    client.delay(SECOND, SECOND);
    let mut mirror = Mirror::new(
        Arc::new(client),
        Select::Prefix("a/".to_owned()),
        Backoff::default(),
    );
    let mut cancelled = 0;
    let update = loop {
        match timeout(SECOND / 10, mirror.next()).await {
            Ok(update) => break update,
            Err(_) => cancelled += 1,
        }
    };
    assert_eq!(keys(&update), ["a/1"]);
    assert!(cancelled > 10);
}
