//! Watches: every change once, in order, by revision, or an error.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::timeout;

use super::{Subject, list};
use crate::registry::{Batch, Change, RegistryError, Select, Txn};

list![
    a_watch_replays_from_a_past_revision,
    a_watch_from_zero_hears_what_is_new,
    a_watch_from_a_revision_to_come_is_silent_until_then,
    a_watch_hears_only_what_it_asked_for,
    a_change_carries_what_a_read_would_say,
    the_changes_of_one_revision_come_in_one_batch,
    a_big_revision_comes_in_one_batch,
    a_long_history_is_replayed_whole,
    a_slow_listener_misses_nothing,
    two_watches_do_not_mind_each_other,
    a_watch_into_compacted_history_says_so,
    a_watch_from_the_compacted_revision_says_so,
    an_open_watch_does_not_mind_a_compaction,
];

async fn a_watch_replays_from_a_past_revision(s: Subject) -> Result<()> {
    let first = s.put("a", "1").await?;
    s.put("b", "1").await?;
    s.delete("a").await?;
    s.delete("missing").await?;
    s.put("a", "2").await?;
    let mut watch = s.watch(s.under(""), first + 1).await?;
    for (wanted, revision) in [("b", first + 1), ("-a", first + 2), ("a", first + 3)] {
        let batch = s.batch(&mut watch).await?;
        ensure!(
            batch.revision == revision && batch.changes.len() == 1,
            "{batch:?}, not {wanted} at {revision}"
        );
        ensure!(s.short(&batch.changes[0])? == wanted, "{batch:?}, not {wanted}");
    }
    s.put("c", "1").await?;
    ensure!(s.heard(&mut watch).await? == ["c"], "then what is new");
    Ok(())
}

async fn a_watch_from_zero_hears_what_is_new(s: Subject) -> Result<()> {
    s.put("old", "x").await?;
    let mut watch = s.watch(s.under(""), 0).await?;
    s.put("new", "x").await?;
    ensure!(s.heard(&mut watch).await? == ["new"]);
    Ok(())
}

async fn a_watch_from_a_revision_to_come_is_silent_until_then(s: Subject) -> Result<()> {
    let now = s.put("old", "x").await?;
    let mut watch = s.watch(s.under(""), now + 3).await?;
    s.put("one", "x").await?;
    s.put("two", "x").await?;
    let early = timeout(Duration::from_millis(500), watch.next()).await;
    ensure!(early.is_err(), "{early:?}");
    s.put("three", "x").await?;
    ensure!(s.heard(&mut watch).await? == ["three"]);
    Ok(())
}

async fn a_watch_hears_only_what_it_asked_for(s: Subject) -> Result<()> {
    let from = s.put("start", "x").await? + 1;
    let mut key = s.watch(s.one("k"), from).await?;
    let mut prefix = s.watch(s.under("k/"), from).await?;
    let mut all = s.watch(Select::Prefix(String::new()), from).await?;
    for name in ["j", "k", "k0", "k/", "k/1", "l"] {
        s.put(name, "x").await?;
    }
    s.apply(
        Txn::new()
            .put(s.key("k"), "x")
            .put(s.key("k/2"), "x")
            .put(s.key("z"), "x"),
    )
    .await?;
    ensure!(s.heard(&mut key).await? == ["k"]);
    ensure!(s.heard(&mut key).await? == ["k"], "its part of the transaction");
    for name in ["k/", "k/1", "k/2"] {
        ensure!(s.heard(&mut prefix).await? == [name]);
    }
    for name in ["j", "k", "k0", "k/", "k/1", "l"] {
        ensure!(s.heard(&mut all).await? == [name]);
    }
    ensure!(s.heard(&mut all).await? == ["k", "k/2", "z"]);
    Ok(())
}

async fn a_change_carries_what_a_read_would_say(s: Subject) -> Result<()> {
    let lease = s.registry.grant(Duration::from_secs(60)).await?;
    let created = s.put("key", "old").await?;
    let mut watch = s.watch(s.under(""), created + 1).await?;
    s.apply(Txn::new().put_leased(s.key("key"), "new", lease.id))
        .await?;
    let read = s.get("key").await?;
    let batch = s.batch(&mut watch).await?;
    let said = match batch.changes.as_slice() {
        [Change::Put(kv)] => Some(kv.clone()),
        _ => None,
    };
    ensure!(said == read && read.is_some(), "{batch:?}, a read says {read:?}");
    s.registry.revoke(lease.id).await?;
    Ok(())
}

async fn the_changes_of_one_revision_come_in_one_batch(s: Subject) -> Result<()> {
    let from = s.put("w/old", "x").await? + 1;
    let mut live = s.watch(s.under("w/"), from).await?;
    let names: Vec<String> = (0..60).map(|i| format!("w/{:02}", (i * 7) % 60)).collect();
    let txn = names.iter().fold(Txn::new(), |txn, name| {
        txn.put(s.key(name), "x")
            .put(s.key(&format!("elsewhere/{name}")), "x")
    });
    let revision = s
        .apply(txn.delete(s.key("w/old")).delete(s.key("w/missing")))
        .await?;
    let mut wanted = names;
    wanted.push("-w/old".to_owned());
    let mut replayed = s.watch(s.under("w/"), from).await?;
    for watch in [&mut live, &mut replayed] {
        let batch = s.batch(watch).await?;
        ensure!(
            batch.revision == revision,
            "{} instead of {revision}",
            batch.revision
        );
        let heard = batch
            .changes
            .iter()
            .map(|change| s.short(change))
            .collect::<Result<Vec<_>>>()?;
        ensure!(heard == wanted, "in the order of the transaction: {heard:?}");
    }
    Ok(())
}

async fn a_big_revision_comes_in_one_batch(s: Subject) -> Result<()> {
    let value = vec![b'x'; 11_000];
    let from = s.put("start", "x").await? + 1;
    let mut live = s.watch(s.under("big/"), from).await?;
    for _ in 0..5 {
        let big = (0..128).fold(Txn::new(), |txn, i| {
            txn.put(s.key(&format!("big/{i}")), value.clone())
        });
        s.apply(big).await?;
    }
    let mut replayed = s.watch(s.under("big/"), from).await?;
    for watch in [&mut live, &mut replayed] {
        for i in 0..5 {
            let batch = s.batch(watch).await?;
            let (revision, changes) = (batch.revision, batch.changes.len());
            ensure!(
                revision == from + i && changes == 128,
                "{changes} changes at {revision}"
            );
        }
    }
    Ok(())
}

/// Two changes at each of `count` revisions.
async fn write(s: &Subject, count: i64) -> Result<i64> {
    let mut first = None;
    for i in 0..count {
        let txn = Txn::new()
            .put(s.key("h/a"), i.to_string())
            .put(s.key("h/b"), i.to_string());
        let revision = s.apply(txn).await?;
        first.get_or_insert(revision);
    }
    Ok(first.unwrap_or_default())
}

fn check(batch: &Batch, first: i64, i: i64) -> Result<()> {
    let value = i.to_string();
    let whole = batch.changes.len() == 2
        && batch
            .changes
            .iter()
            .all(|change| matches!(change, Change::Put(kv) if kv.value == value.as_bytes()));
    ensure!(
        batch.revision == first + i && whole,
        "{batch:?}, not {i} at {}",
        first + i
    );
    Ok(())
}

async fn a_long_history_is_replayed_whole(s: Subject) -> Result<()> {
    // More revisions than etcd puts into one message.
    let first = write(&s, 1500).await?;
    let mut watch = s.watch(s.under("h/"), first).await?;
    for i in 0..1500 {
        check(&s.batch(&mut watch).await?, first, i)?;
    }
    Ok(())
}

async fn a_slow_listener_misses_nothing(s: Subject) -> Result<()> {
    let from = s.put("start", "x").await? + 1;
    let mut watch = s.watch(s.under("h/"), from).await?;
    write(&s, 1500).await?;
    for i in 0..1500 {
        check(&s.batch(&mut watch).await?, from, i)?;
    }
    Ok(())
}

async fn two_watches_do_not_mind_each_other(s: Subject) -> Result<()> {
    let from = s.put("start", "x").await? + 1;
    let mut one = s.watch(s.under("h/"), from).await?;
    let other = s.watch(s.under("h/"), from).await?;
    let first = write(&s, 10).await?;
    drop(other);
    let second = write(&s, 10).await?;
    for first in [first, second] {
        for i in 0..10 {
            check(&s.batch(&mut one).await?, first, i)?;
        }
    }
    Ok(())
}

async fn a_watch_into_compacted_history_says_so(s: Subject) -> Result<()> {
    let first = s.put("a", "1").await?;
    s.put("a", "2").await?;
    let last = s.put("a", "3").await?;
    s.compact(last).await?;
    let mut watch = s.watch(s.under(""), first).await?;
    let said = s.said(&mut watch).await?;
    ensure!(
        said == Err(RegistryError::Compacted(last)),
        "{said:?}, compacted to {last}"
    );
    ensure!(s.said(&mut watch).await?.is_err(), "it is over after that");
    let mut watch = s.watch(s.under(""), last + 1).await?;
    s.put("b", "1").await?;
    ensure!(s.heard(&mut watch).await? == ["b"], "from after it all is well");
    Ok(())
}

async fn a_watch_from_the_compacted_revision_says_so(s: Subject) -> Result<()> {
    // The store may have forgotten that a key was deleted at the revision it compacted to; silence would be a lie.
    s.put("a", "1").await?;
    let deleted = s.delete("a").await?;
    s.compact(deleted).await?;
    let mut watch = s.watch(s.under(""), deleted).await?;
    let said = s.said(&mut watch).await?;
    ensure!(
        said == Err(RegistryError::Compacted(deleted)),
        "{said:?}, compacted to {deleted}"
    );
    Ok(())
}

async fn an_open_watch_does_not_mind_a_compaction(s: Subject) -> Result<()> {
    let from = s.put("a", "1").await? + 1;
    let mut watch = s.watch(s.under(""), from).await?;
    s.put("a", "2").await?;
    ensure!(s.heard(&mut watch).await? == ["a"]);
    let last = s.put("other", "x").await?;
    s.compact(last).await?;
    s.delete("a").await?;
    ensure!(s.heard(&mut watch).await? == ["other"]);
    ensure!(s.heard(&mut watch).await? == ["-a"]);
    Ok(())
}
