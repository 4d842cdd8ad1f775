//! A registry that was lost, and `fleetctl recover`.

use std::time::Duration;

use super::world::{World, name};
use super::{ALONE, ONESHOT, PLAIN, check};

/// What a user sees of a cluster: units, and which process of each runs where.
async fn everything(world: &World, units: &[&str]) -> Vec<(String, Vec<(usize, u32)>)> {
    let of = |unit: &&str| {
        let copies = world.active_on(unit);
        let pids = copies.into_iter().map(|n| (n, world.pid(n, unit))).collect();
        ((*unit).to_owned(), pids)
    };
    units.iter().map(of).collect()
}

const GLOBAL: &str = "[Service]\nExecStart=/bin/g\n[X-Fleet]\nGlobal=true\n";

/// Doubt, recovery by one machine's word, and everything as it was.
async fn lose_and_recover(world: &World, lose: impl FnOnce()) {
    let units = [
        "web@1.service",
        "web@2.service",
        "db.service",
        "new.service",
        "everywhere.service",
        "once.service",
    ];
    let before = everything(world, &units).await;
    let runs_somewhere = |(unit, copies): &(String, Vec<_>)| unit == "once.service" || !copies.is_empty();
    assert!(before.iter().all(runs_somewhere), "{before:?}");
    lose();
    world.pass(60).await;
    assert_eq!(
        everything(world, &units).await,
        before,
        "nothing is stopped for want of a word"
    );
    assert!(world.machines.iter().all(|h| h.doubt().is_some()));
    world.recover(1).await;
    world.pass(40).await;
    world.settle().await;
    assert_eq!(
        everything(world, &units).await,
        before,
        "nothing is stopped by the recovery"
    );
    assert!(world.machines.iter().all(|h| h.doubt().is_none()));
    let cluster = world.cluster().await;
    for unit in units {
        assert!(cluster.units.contains_key(&name(unit)), "{unit}");
    }
    let runs: usize = world.machines.iter().map(|h| h.init.starts("once.service")).sum();
    assert_eq!(runs, 1, "a oneshot that had run does not run again");
    check(world).await;
    world.launch("late.service", PLAIN).await;
    world.settle().await;
    assert_eq!(world.active_on("late.service").len(), 1);
}

async fn full_world() -> World {
    let world = World::new(3).await;
    for unit in ["web@1.service", "web@2.service"] {
        world.launch(unit, ALONE).await;
    }
    world.launch("db.service", PLAIN).await;
    world.launch("everywhere.service", GLOBAL).await;
    world.settle().await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_wiped_registry_is_filled_again_by_the_machines_once_a_person_says_so() {
    let world = full_world().await;
    world.launch("new.service", PLAIN).await;
    world.launch("once.service", ONESHOT).await;
    world.settle().await;
    lose_and_recover(&world, || world.store.wipe()).await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_restored_from_before_gets_back_what_was_done_since() {
    let world = full_world().await;
    let snapshot = world.store.backup();
    // Since the snapshot: a new unit, a new content, a move, a unit that ran once.
    world.launch("new.service", PLAIN).await;
    world.launch("once.service", ONESHOT).await;
    world
        .launch("db.service", "[Service]\nExecStart=/bin/newer\n")
        .await;
    world.settle().await;
    lose_and_recover(&world, || world.store.restore(&snapshot)).await;
    let cluster = world.cluster().await;
    let db = cluster.units[&name("db.service")].record.clone().unwrap();
    assert_eq!(
        db.hash,
        units::UnitFile::parse("[Service]\nExecStart=/bin/newer\n")
            .unwrap()
            .hash()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cluster_recovers_beside_a_machine_that_has_founded_another_meanwhile() {
    let mut world = full_world().await;
    world.launch("new.service", PLAIN).await;
    world.launch("once.service", ONESHOT).await;
    world.settle().await;
    world.store.wipe();
    let fresh = world.join(&[]).await;
    world.pass(60).await;
    assert!(world.machines[fresh].doubt().is_none());
    lose_and_recover_but(&world, fresh).await;
}

async fn lose_and_recover_but(world: &World, fresh: usize) {
    let single = ["web@1.service", "web@2.service", "db.service", "new.service"];
    let before = everything(world, &single).await;
    world.recover(0).await;
    world.pass(40).await;
    world.settle().await;
    assert_eq!(everything(world, &single).await, before);
    assert_eq!(
        world.active_on("everywhere.service").len(),
        4,
        "global units are on the new machine too"
    );
    assert!(world.machines[fresh].doubt().is_none());
    check(world).await;
}

/// Two of four machines had not heard of anything that the restored registry lacks: they found nothing amiss, and one
/// of them led on and took the third, which had lost faith, for lost.
#[tokio::test(start_paused = true)]
async fn a_machine_that_saw_nothing_of_what_a_restore_took_back_does_not_lead_on() {
    let mut world = full_world().await;
    world.join(&[]).await;
    world.settle().await;
    world.pass(6).await;
    let snapshot = world.store.backup();
    // One that does not lead reboots, between two renewals of the others, which hear nothing of it.
    let leader = world
        .snapshot()
        .await
        .get(&world.keys.leader())
        .unwrap()
        .value
        .clone();
    let leader = String::from_utf8(leader).unwrap();
    let other = world
        .machines
        .iter()
        .position(|h| h.id.as_str() != leader)
        .unwrap();
    let presence = world.keys.presence(&world.machines[other].id);
    let of_before = world.snapshot().await.get(&presence).unwrap().create_revision;
    world.kill(other);
    world.boot(other);
    while world
        .snapshot()
        .await
        .get(&presence)
        .is_none_or(|kv| kv.create_revision == of_before)
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let units = [
        "web@1.service",
        "web@2.service",
        "db.service",
        "everywhere.service",
    ];
    let before = everything(&world, &units).await;
    world.store.restore(&snapshot);
    world.pass(180).await;
    assert_eq!(everything(&world, &units).await, before);
    let in_doubt = world.machines.iter().position(|h| h.doubt().is_some()).unwrap();
    world.recover(in_doubt).await;
    world.pass(40).await;
    world.settle().await;
    assert_eq!(everything(&world, &units).await, before);
    assert!(world.machines.iter().all(|h| h.doubt().is_none()));
    check(&world).await;
}
