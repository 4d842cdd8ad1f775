//! Commits: whole or not at all, under preconditions compared inside the store.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Subject, list, refused};
use crate::registry::{Commit, LeaseId, MAX_OPS, Precondition, RegistryError, Txn};

list![
    each_precondition_holds_when_it_should_and_only_then,
    a_precondition_on_revision_zero_is_refused,
    a_refused_transaction_changes_nothing,
    an_applied_transaction_changes_everything_at_one_revision,
    a_put_keeps_the_create_revision_and_a_new_life_renews_it,
    deleting_what_is_not_there_changes_nothing,
    a_transaction_without_changes_still_compares,
    of_many_commits_on_one_precondition_one_wins,
    a_leader_that_lost_its_key_can_commit_nothing,
    as_many_changes_as_allowed_are_applied_and_one_more_refused,
    a_key_changed_twice_is_refused,
    a_value_may_be_big_but_not_too_big,
    a_put_under_a_lease_that_is_gone_fails_unless_refused_anyway,
];

async fn each_precondition_holds_when_it_should_and_only_then(s: Subject) -> Result<()> {
    let created = s.put("there", "old").await?;
    let changed = s.put("there", "value").await?;
    let (there, missing) = (s.key("there"), s.key("missing"));
    let table = [
        (Precondition::Unchanged(there.clone(), changed), true),
        (Precondition::Unchanged(there.clone(), created), false),
        (Precondition::Unchanged(there.clone(), changed + 1), false),
        (Precondition::Unchanged(missing.clone(), changed), false),
        (Precondition::Created(there.clone(), created), true),
        (Precondition::Created(there.clone(), changed), false),
        (Precondition::Created(missing.clone(), created), false),
        (Precondition::Absent(missing.clone()), true),
        (Precondition::Absent(there.clone()), false),
        (Precondition::Value(there.clone(), b"value".to_vec()), true),
        (Precondition::Value(there.clone(), b"old".to_vec()), false),
        (Precondition::Value(there.clone(), b"valu".to_vec()), false),
        (Precondition::Value(there.clone(), Vec::new()), false),
        (Precondition::Value(missing.clone(), Vec::new()), false),
    ];
    for (precondition, holds) in table {
        let before = s.read(&[]).await?.revision;
        let txn = Txn::new().when(precondition.clone()).put(s.key("witness"), "x");
        let wanted = match holds {
            true => Commit::Applied(before + 1),
            false => Commit::Refused(before),
        };
        let commit = s.registry.commit(txn).await?;
        ensure!(commit == wanted, "{precondition:?}: {commit:?}, not {wanted:?}");
    }
    s.apply(Txn::new().put(s.key("empty"), Vec::new())).await?;
    let empty = Precondition::Value(s.key("empty"), Vec::new());
    s.apply(Txn::new().when(empty).delete(s.key("empty"))).await?;
    Ok(())
}

async fn a_precondition_on_revision_zero_is_refused(s: Subject) -> Result<()> {
    let key = s.key("missing");
    for precondition in [
        Precondition::Unchanged(key.clone(), 0),
        Precondition::Created(key.clone(), 0),
    ] {
        refused(
            &s.registry
                .commit(Txn::new().when(precondition).put(key.clone(), "x"))
                .await,
        )?;
    }
    Ok(())
}

async fn a_refused_transaction_changes_nothing(s: Subject) -> Result<()> {
    let revision = s.put("there", "x").await?;
    let holds = Precondition::Unchanged(s.key("there"), revision);
    let fails = Precondition::Absent(s.key("there"));
    let txn = Txn::new().when(holds).when(fails);
    let txn = txn
        .put(s.key("new"), "x")
        .delete(s.key("there"))
        .put(s.key("newer"), "x");
    let commit = s.registry.commit(txn).await?;
    ensure!(commit == Commit::Refused(revision), "{commit:?} at {revision}");
    let after = s.read(&[s.under("")]).await?;
    ensure!(
        s.names(&after) == ["there"] && after.revision == revision,
        "{after:?}"
    );
    Ok(())
}

async fn an_applied_transaction_changes_everything_at_one_revision(s: Subject) -> Result<()> {
    let before = s.put("old", "x").await?;
    let txn = Txn::new()
        .put(s.key("b"), "x")
        .delete(s.key("old"))
        .put(s.key("a"), "x");
    let revision = s.apply(txn).await?;
    ensure!(revision == before + 1, "{revision} after {before}");
    let after = s.read(&[s.under("")]).await?;
    ensure!(s.names(&after) == ["a", "b"], "{after:?}");
    ensure!(
        after
            .kvs
            .iter()
            .all(|kv| kv.mod_revision == revision && kv.create_revision == revision),
        "{after:?}"
    );
    Ok(())
}

async fn a_put_keeps_the_create_revision_and_a_new_life_renews_it(s: Subject) -> Result<()> {
    let created = s.put("key", "same").await?;
    let changed = s.put("key", "same").await?;
    ensure!(changed == created + 1, "a put of the same value is a change");
    let kv = s.get("key").await?;
    let revisions = kv.map(|kv| (kv.create_revision, kv.mod_revision));
    ensure!(
        revisions == Some((created, changed)),
        "{revisions:?}, created {created}, changed {changed}"
    );
    s.delete("key").await?;
    ensure!(s.get("key").await?.is_none(), "still there");
    let again = s.put("key", "same").await?;
    let revisions = s
        .get("key")
        .await?
        .map(|kv| (kv.create_revision, kv.mod_revision));
    ensure!(
        revisions == Some((again, again)),
        "{revisions:?}, created again at {again}"
    );
    Ok(())
}

async fn deleting_what_is_not_there_changes_nothing(s: Subject) -> Result<()> {
    let before = s.put("key", "x").await?;
    let revision = s.delete("missing").await?;
    ensure!(revision == before, "revision {revision} after {before}");
    Ok(())
}

async fn a_transaction_without_changes_still_compares(s: Subject) -> Result<()> {
    let revision = s.put("key", "x").await?;
    let holds = Txn::new().when(Precondition::Unchanged(s.key("key"), revision));
    let commit = s.registry.commit(holds).await?;
    ensure!(commit == Commit::Applied(revision), "{commit:?}");
    let fails = Txn::new().when(Precondition::Absent(s.key("key")));
    let commit = s.registry.commit(fails).await?;
    ensure!(commit == Commit::Refused(revision), "{commit:?}");
    let commit = s.registry.commit(Txn::new()).await?;
    ensure!(commit == Commit::Applied(revision), "{commit:?}");
    Ok(())
}

async fn of_many_commits_on_one_precondition_one_wins(s: Subject) -> Result<()> {
    for round in 0..5 {
        let key = s.key(&format!("prize/{round}"));
        let racers = (0..16).map(|racer| {
            let (registry, key) = (s.registry.clone(), key.clone());
            tokio::spawn(async move {
                let txn = Txn::new().when(Precondition::Absent(key.clone()));
                (racer, registry.commit(txn.put(key, racer.to_string())).await)
            })
        });
        let mut winners = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            let (racer, commit) = racer.await?;
            if let Commit::Applied(_) = commit? {
                winners.push(racer.to_string().into_bytes());
            }
        }
        let value = s.get(&format!("prize/{round}")).await?.map(|kv| kv.value);
        ensure!(
            winners.len() == 1 && value.as_ref() == winners.first(),
            "{winners:?} won, {value:?} is there"
        );
    }
    Ok(())
}

async fn a_leader_that_lost_its_key_can_commit_nothing(s: Subject) -> Result<()> {
    let leader = s.key("leader");
    let take = |lease: LeaseId| {
        let free = Precondition::Absent(leader.clone());
        Txn::new().when(free).put_leased(leader.clone(), "me", lease)
    };
    let lease = s.registry.grant(Duration::from_secs(60)).await?;
    let term = s.apply(take(lease.id)).await?;
    let work = || {
        Txn::new()
            .when(Precondition::Created(leader.clone(), term))
            .put(s.key("work"), "x")
    };
    s.apply(work()).await?;
    s.registry.revoke(lease.id).await?;
    let commit = s.registry.commit(work()).await?;
    ensure!(
        matches!(commit, Commit::Refused(_)),
        "without the key: {commit:?}"
    );

    let successor = s.registry.grant(Duration::from_secs(60)).await?;
    let next_term = s.apply(take(successor.id)).await?;
    ensure!(next_term > term, "term {next_term} after {term}");
    let commit = s.registry.commit(work()).await?;
    ensure!(
        matches!(commit, Commit::Refused(_)),
        "in another's term: {commit:?}"
    );
    s.registry.revoke(successor.id).await?;
    Ok(())
}

async fn as_many_changes_as_allowed_are_applied_and_one_more_refused(s: Subject) -> Result<()> {
    let puts = |n: usize| (0..n).fold(Txn::new(), |txn, i| txn.put(s.key(&format!("put/{i:03}")), "x"));
    let wants = |n: usize| {
        let absent = |i| Precondition::Absent(s.key(&format!("absent/{i}")));
        (0..n)
            .fold(Txn::new(), |txn, i| txn.when(absent(i)))
            .put(s.key("wanted"), "x")
    };
    let revision = s.apply(puts(MAX_OPS)).await?;
    let all = s.read(&[s.under("put/")]).await?;
    ensure!(
        all.kvs.len() == MAX_OPS && all.kvs.iter().all(|kv| kv.mod_revision == revision),
        "{all:?}"
    );
    s.apply(wants(MAX_OPS)).await?;
    refused(&s.registry.commit(puts(MAX_OPS + 1)).await)?;
    refused(&s.registry.commit(wants(MAX_OPS + 1)).await)
}

async fn a_key_changed_twice_is_refused(s: Subject) -> Result<()> {
    let key = s.key("key");
    let before = s.put("key", "x").await?;
    for txn in [
        Txn::new().put(key.clone(), "1").put(key.clone(), "2"),
        Txn::new().put(key.clone(), "1").delete(key.clone()),
        Txn::new().delete(key.clone()).put(key.clone(), "1"),
        Txn::new().delete(key.clone()).delete(key.clone()),
    ] {
        refused(&s.registry.commit(txn).await)?;
    }
    let revision = s.get("key").await?.map(|kv| kv.mod_revision);
    ensure!(revision == Some(before), "changed at {revision:?}");
    Ok(())
}

async fn a_value_may_be_big_but_not_too_big(s: Subject) -> Result<()> {
    let big = vec![b'x'; 1 << 20];
    s.apply(Txn::new().put(s.key("big"), big.clone())).await?;
    ensure!(
        s.get("big").await?.is_some_and(|kv| kv.value == big),
        "not what was put"
    );
    for size in [1_600_000, 2 << 20, 8 << 20] {
        refused(
            &s.registry
                .commit(Txn::new().put(s.key("bigger"), vec![b'x'; size]))
                .await,
        )?;
    }
    // Several big values in one answer: more than a gRPC client takes without being told.
    for i in 0..8 {
        s.apply(Txn::new().put(s.key(&format!("many/{i}")), big.clone()))
            .await?;
    }
    ensure!(
        s.read(&[s.under("many/")]).await?.kvs.len() == 8,
        "some are missing"
    );
    Ok(())
}

async fn a_put_under_a_lease_that_is_gone_fails_unless_refused_anyway(s: Subject) -> Result<()> {
    let lease = s.registry.grant(Duration::from_secs(60)).await?;
    s.registry.revoke(lease.id).await?;
    let put = || {
        Txn::new()
            .put(s.key("other"), "x")
            .put_leased(s.key("key"), "x", lease.id)
    };
    let commit = s.registry.commit(put()).await;
    ensure!(commit == Err(RegistryError::LeaseExpired(lease.id)), "{commit:?}");
    ensure!(s.read(&[s.under("")]).await?.kvs.is_empty(), "something was put");
    s.put("there", "x").await?;
    let commit = s
        .registry
        .commit(put().when(Precondition::Absent(s.key("there"))))
        .await?;
    ensure!(matches!(commit, Commit::Refused(_)), "{commit:?}");
    Ok(())
}
