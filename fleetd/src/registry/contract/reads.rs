//! Reads: linearizable, at one revision, sorted.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Subject, list, refused};
use crate::registry::{Select, Txn};

list![
    a_read_sees_what_was_acknowledged_before,
    several_selections_are_read_at_one_revision,
    a_snapshot_is_sorted_and_repeats_nothing,
    a_read_of_nothing_tells_the_revision,
    a_prefix_ends_where_its_keys_end,
    any_text_can_be_a_key,
    more_selections_than_a_transaction_takes_are_read_at_one_revision,
    a_large_range_is_read_whole_at_one_revision,
    an_empty_key_is_refused,
];

async fn a_read_sees_what_was_acknowledged_before(s: Subject) -> Result<()> {
    for i in 0..20 {
        let revision = s.put("key", &i.to_string()).await?;
        let snapshot = s.read(&[s.one("key")]).await?;
        ensure!(
            snapshot.revision == revision,
            "read at {}, written at {revision}",
            snapshot.revision
        );
        let kv = snapshot.get(&s.key("key"));
        ensure!(
            kv.is_some_and(|kv| kv.value == i.to_string().as_bytes()),
            "{kv:?} after {i}"
        );
    }
    Ok(())
}

async fn several_selections_are_read_at_one_revision(s: Subject) -> Result<()> {
    let writer = tokio::spawn({
        let s = s.clone();
        async move {
            for i in 0..200 {
                let value = i.to_string();
                let txn = Txn::new()
                    .put(s.key("a/1"), value.clone())
                    .put(s.key("b"), value.clone());
                s.apply(txn.put(s.key("c/2"), value)).await?;
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        }
    });
    while !writer.is_finished() {
        let snapshot = s.read(&[s.under("a/"), s.one("b"), s.under("c/")]).await?;
        let first = snapshot.kvs.first();
        let same = snapshot
            .kvs
            .iter()
            .all(|kv| Some(&kv.value) == first.map(|kv| &kv.value));
        ensure!(same && matches!(snapshot.kvs.len(), 0 | 3), "torn: {snapshot:?}");
        tokio::task::yield_now().await;
    }
    writer.await?
}

async fn a_snapshot_is_sorted_and_repeats_nothing(s: Subject) -> Result<()> {
    for name in ["b/2", "a", "b/10", "c", "b/1"] {
        s.put(name, name).await?;
    }
    let what = [
        s.one("c"),
        s.under("b/"),
        s.one("b/10"),
        s.under(""),
        s.one("missing"),
    ];
    let snapshot = s.read(&what).await?;
    let names = s.names(&snapshot);
    ensure!(names == ["a", "b/1", "b/10", "b/2", "c"], "{names:?}");
    let found = snapshot.get(&s.key("b/10"));
    ensure!(found.is_some_and(|kv| kv.value == b"b/10"), "{found:?}");
    ensure!(snapshot.get(&s.key("b/3")).is_none());
    Ok(())
}

async fn a_read_of_nothing_tells_the_revision(s: Subject) -> Result<()> {
    let revision = s.put("key", "x").await?;
    let snapshot = s.read(&[]).await?;
    ensure!(
        snapshot.kvs.is_empty() && snapshot.revision == revision,
        "{snapshot:?} at {revision}"
    );
    Ok(())
}

async fn a_prefix_ends_where_its_keys_end(s: Subject) -> Result<()> {
    // The last ones are where the end of a range is not just the last byte plus one: the highest byte of UTF-8, and
    // characters that end in the highest byte a character can end in.
    let names = [
        "o",
        "p",
        "p/",
        "p/q",
        "p0",
        "pÿ",
        "p\u{10ffff}",
        "p\u{10ffff}z",
        "pſ",
        "pſz",
        "pƀ",
        "q",
    ];
    for name in names {
        s.put(name, "x").await?;
    }
    for prefix in [
        "p",
        "p/",
        "pÿ",
        "p\u{10ffff}",
        "pſ",
        "p\u{10ffff}z",
        "",
        "nothing",
    ] {
        let mut wanted: Vec<&str> = names
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect();
        wanted.sort_unstable();
        let found = s.names(&s.read(&[s.under(prefix)]).await?);
        ensure!(found == wanted, "under {prefix:?}: {found:?}, not {wanted:?}");
    }
    let all = s.read(&[Select::Prefix(String::new())]).await?;
    let ours = all.kvs.iter().filter(|kv| kv.key.starts_with(&s.key(""))).count();
    ensure!(
        ours == names.len(),
        "the empty prefix is every key, {ours} of {} are there",
        names.len()
    );
    Ok(())
}

async fn any_text_can_be_a_key(s: Subject) -> Result<()> {
    let long = "l".repeat(2000);
    let names = [
        " ",
        "a b",
        "a\nb",
        "a\0b",
        "\0",
        "%2f",
        "../..",
        "\"'\\",
        "user@1.service",
        "ключ",
        "鍵",
        "🚀",
        &long,
    ];
    for name in names {
        let revision = s.put(name, name).await?;
        let snapshot = s.read(&[s.one(name)]).await?;
        let kv = snapshot.get(&s.key(name));
        ensure!(
            kv.is_some_and(|kv| kv.value == name.as_bytes() && kv.mod_revision == revision),
            "{name:?}: {snapshot:?}"
        );
    }
    let found = s.read(&[s.under("")]).await?.kvs.len();
    ensure!(found == names.len(), "{found} of {}", names.len());
    let value: Vec<u8> = (0..=255).collect();
    s.apply(Txn::new().put(s.key("bytes"), value.clone())).await?;
    ensure!(
        s.get("bytes").await?.is_some_and(|kv| kv.value == value),
        "a value is any bytes"
    );
    Ok(())
}

async fn more_selections_than_a_transaction_takes_are_read_at_one_revision(s: Subject) -> Result<()> {
    for hundred in 0..3 {
        let names = (0..100).map(|i| s.key(&format!("{}", hundred * 100 + i)));
        s.apply(names.fold(Txn::new(), |txn, key| txn.put(key, "x")))
            .await?;
    }
    let what: Vec<Select> = (0..300).map(|i| s.one(&i.to_string())).collect();
    let snapshot = s.read(&what).await?;
    ensure!(snapshot.kvs.len() == 300, "{} of 300", snapshot.kvs.len());
    ensure!(snapshot.kvs.is_sorted_by(|a, b| a.key < b.key), "not sorted");
    Ok(())
}

async fn a_large_range_is_read_whole_at_one_revision(s: Subject) -> Result<()> {
    // More than fits into one answer of etcd as it is asked here: 20,000 keys.
    let all = |round: i32, i: i32| {
        let keys = (0..128).map(|j| s.key(&format!("large/{i:03}/{j:03}")));
        keys.fold(Txn::new(), |txn, key| txn.put(key, round.to_string()))
    };
    for i in 0..160 {
        s.apply(all(0, i)).await?;
    }
    let writer = tokio::spawn({
        let txns: Vec<Txn> = (0..160).map(|i| all(1, i)).collect();
        let s = s.clone();
        async move {
            for txn in txns {
                s.apply(txn).await?;
            }
            anyhow::Ok(())
        }
    });
    loop {
        let done = writer.is_finished();
        let snapshot = s.read(&[s.under("large/"), s.one("other")]).await?;
        ensure!(snapshot.kvs.len() == 160 * 128, "{} keys", snapshot.kvs.len());
        ensure!(snapshot.kvs.is_sorted_by(|a, b| a.key < b.key), "not sorted");
        let newest = snapshot
            .kvs
            .iter()
            .map(|kv| kv.mod_revision)
            .max()
            .unwrap_or_default();
        ensure!(
            newest == snapshot.revision,
            "changed at {newest}, read at {}",
            snapshot.revision
        );
        if done {
            return writer.await?;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn an_empty_key_is_refused(s: Subject) -> Result<()> {
    refused(&s.registry.read(&[Select::Key(String::new())]).await)?;
    refused(&s.registry.watch(Select::Key(String::new()), 1).await)?;
    refused(&s.registry.commit(Txn::new().put("", "x")).await)?;
    refused(&s.registry.commit(Txn::new().delete("")).await)
}
