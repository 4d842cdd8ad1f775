//! Leases: what lives with one goes with it, together, and not before its time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep, timeout};

use super::{Subject, list};
use crate::registry::{Batch, LeaseId, RegistryError, Txn};

list![
    a_lease_ends_after_its_time_and_takes_its_keys_in_one_batch,
    a_renewed_lease_lives_on,
    a_lease_that_ended_stays_gone,
    asking_for_the_remaining_time_does_not_renew,
    a_granted_time_is_whole_seconds_and_never_shorter,
    a_revoked_lease_takes_its_keys_in_one_batch,
    each_lease_ends_in_a_batch_of_its_own,
    a_key_lives_with_the_lease_it_was_last_put_under,
    a_renewal_tells_the_revision_or_nothing,
];

/// The shortest lease that etcd grants with default settings.
const SHORT: Duration = Duration::from_secs(2);
/// One that no case outlives.
const LONG: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(3);

async fn leased(s: &Subject, names: &[&str], ttl: Duration) -> Result<LeaseId> {
    let lease = s.registry.grant(ttl).await.context("grant")?;
    let put = |txn: Txn, name: &&str| txn.put_leased(s.key(name), "x", lease.id);
    s.apply(names.iter().fold(Txn::new(), put)).await?;
    Ok(lease.id)
}

async fn a_lease_ends_after_its_time_and_takes_its_keys_in_one_batch(s: Subject) -> Result<()> {
    let from = s.put("stays", "x").await? + 1;
    let began = Instant::now();
    let id = leased(&s, &["b", "a", "c"], SHORT).await?;
    let kv = s.get("a").await?;
    ensure!(kv.as_ref().is_some_and(|kv| kv.lease == Some(id)), "{kv:?}");
    let mut watch = s.watch(s.under(""), from).await?;
    ensure!(
        s.heard(&mut watch).await? == ["b", "a", "c"],
        "the puts come first"
    );
    let batch = s.batch(&mut watch).await?;
    let lived = began.elapsed();
    ensure!(lived >= SHORT, "ended after {lived:?}");
    ensure!(lived <= SHORT * 3, "ended only after {lived:?}");
    ensure!(deleted(&s, &batch)? == ["-a", "-b", "-c"], "{batch:?}");
    let left = s.read(&[s.under("")]).await?;
    ensure!(
        s.names(&left) == ["stays"] && left.revision == batch.revision,
        "{left:?}"
    );
    Ok(())
}

/// The deleted keys, sorted: the order within the end of a lease is nobody's promise.
fn deleted(s: &Subject, batch: &Batch) -> Result<Vec<String>> {
    let mut names: Vec<String> = batch
        .changes
        .iter()
        .map(|change| s.short(change))
        .collect::<Result<_>>()?;
    names.sort_unstable();
    Ok(names)
}

async fn a_renewed_lease_lives_on(s: Subject) -> Result<()> {
    let id = leased(&s, &["key"], SHORT).await?;
    for _ in 0..5 {
        sleep(SHORT / 2).await;
        let lease = s.registry.renew(id, DEADLINE).await.context("renew")?;
        ensure!(lease.id == id && lease.ttl == SHORT, "{lease:?}");
    }
    ensure!(
        s.get("key").await?.is_some(),
        "gone although its lease was renewed"
    );
    let renewed = Instant::now();
    while s.get("key").await?.is_some() {
        ensure!(
            renewed.elapsed() < SHORT * 3,
            "still there {:?} after the last renewal",
            renewed.elapsed()
        );
        sleep(SHORT / 20).await;
    }
    Ok(())
}

async fn a_lease_that_ended_stays_gone(s: Subject) -> Result<()> {
    let revoked = leased(&s, &["a"], LONG).await?;
    s.registry.revoke(revoked).await?;
    let ended = leased(&s, &["b"], SHORT).await?;
    let began = Instant::now();
    while s.get("b").await?.is_some() {
        ensure!(began.elapsed() < SHORT * 3, "still there");
        sleep(SHORT / 20).await;
    }
    // Never granted: an id as another program would have it.
    for id in [revoked, ended, LeaseId(0x0123_4567_89ab_cdef)] {
        for _ in 0..2 {
            let renewed = s.registry.renew(id, DEADLINE).await;
            ensure!(
                renewed == Err(RegistryError::LeaseExpired(id)),
                "renewed: {renewed:?}"
            );
            let remaining = s.registry.remaining(id).await;
            ensure!(
                remaining == Err(RegistryError::LeaseExpired(id)),
                "remaining: {remaining:?}"
            );
        }
        s.registry
            .revoke(id)
            .await
            .context("revoking a lease that is gone")?;
    }
    Ok(())
}

async fn asking_for_the_remaining_time_does_not_renew(s: Subject) -> Result<()> {
    let id = s.registry.grant(LONG).await?.id;
    let at_first = s.registry.remaining(id).await?;
    ensure!(at_first.granted == LONG, "{at_first:?} of {LONG:?}");
    let at_first = at_first.left;
    ensure!(
        at_first <= LONG && at_first >= LONG - Duration::from_secs(2),
        "{at_first:?} of {LONG:?}"
    );
    for _ in 0..4 {
        sleep(Duration::from_millis(600)).await;
        s.registry.remaining(id).await?;
    }
    let later = s.registry.remaining(id).await?.left;
    ensure!(later < at_first, "{later:?} after {at_first:?}");
    s.registry.renew(id, DEADLINE).await?;
    let renewed = s.registry.remaining(id).await?.left;
    ensure!(renewed > later, "{renewed:?} after {later:?}");
    s.registry.revoke(id).await?;
    Ok(())
}

async fn a_granted_time_is_whole_seconds_and_never_shorter(s: Subject) -> Result<()> {
    for millis in [0, 1, 500, 1000, 4999, 5000, 5001, 60_000] {
        let asked = Duration::from_millis(millis);
        let lease = s.registry.grant(asked).await?;
        ensure!(
            lease.ttl >= asked && lease.ttl.subsec_nanos() == 0,
            "{lease:?} for {asked:?}"
        );
        ensure!(
            lease.ttl < asked + Duration::from_secs(3),
            "{lease:?} for {asked:?}"
        );
        ensure!(lease.id.0 != 0, "{lease:?}");
        s.registry.revoke(lease.id).await?;
    }
    Ok(())
}

async fn a_revoked_lease_takes_its_keys_in_one_batch(s: Subject) -> Result<()> {
    let id = leased(&s, &["a", "b"], LONG).await?;
    let from = s.put("stays", "x").await? + 1;
    let mut watch = s.watch(s.under(""), from).await?;
    s.registry.revoke(id).await?;
    let left = s.read(&[s.under("")]).await?;
    ensure!(s.names(&left) == ["stays"], "{left:?}");
    let batch = s.batch(&mut watch).await?;
    ensure!(
        deleted(&s, &batch)? == ["-a", "-b"] && batch.revision == from,
        "{batch:?} from {from}"
    );
    let without_keys = s.registry.grant(LONG).await?.id;
    s.registry.revoke(without_keys).await?;
    ensure!(
        s.read(&[]).await?.revision == from,
        "a lease without keys leaves no trace"
    );
    Ok(())
}

async fn each_lease_ends_in_a_batch_of_its_own(s: Subject) -> Result<()> {
    let from = s.put("stays", "x").await? + 1;
    let mut watch = s.watch(s.under(""), from).await?;
    for names in [["1/a", "1/b"], ["2/a", "2/b"], ["3/a", "3/b"]] {
        leased(&s, &names, SHORT).await?;
        ensure!(s.heard(&mut watch).await? == names);
    }
    let mut ended = Vec::new();
    for _ in 0..3 {
        ended.push(deleted(&s, &s.batch(&mut watch).await?)?);
    }
    ended.sort_unstable();
    ensure!(
        ended == [["-1/a", "-1/b"], ["-2/a", "-2/b"], ["-3/a", "-3/b"]],
        "{ended:?}"
    );
    Ok(())
}

async fn a_key_lives_with_the_lease_it_was_last_put_under(s: Subject) -> Result<()> {
    let first = leased(&s, &["moved", "freed", "kept"], LONG).await?;
    let second = leased(&s, &["moved"], LONG).await?;
    s.put("freed", "x").await?;
    s.registry.revoke(first).await?;
    let left = s.read(&[s.under("")]).await?;
    ensure!(s.names(&left) == ["freed", "moved"], "{left:?}");
    let leases: Vec<_> = left.kvs.iter().map(|kv| kv.lease).collect();
    ensure!(leases == [None, Some(second)], "{leases:?}");
    s.registry.revoke(second).await?;
    ensure!(s.names(&s.read(&[s.under("")]).await?) == ["freed"]);
    Ok(())
}

async fn a_renewal_tells_the_revision_or_nothing(s: Subject) -> Result<()> {
    let lease = s.registry.grant(LONG).await?;
    let revision = s.put("key", "x").await?;
    let renewed = timeout(DEADLINE, s.registry.renew(lease.id, DEADLINE))
        .await
        .context("late")??;
    ensure!(
        matches!(renewed.revision, 0) || renewed.revision == revision,
        "{renewed:?} at {revision}"
    );
    s.registry.revoke(lease.id).await?;
    Ok(())
}
