//! A configuration that changes while fleetd runs (fleet-reference §3.6, SIGHUP and SIGUSR1).

use std::time::Duration;

use units::DesiredState;

use super::{PLAIN, check};
use crate::world::{TTL, World, name};

const IN_A: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=zone=a\n";
const IN_A_EVERYWHERE: &str =
    "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\nMachineMetadata=zone=a\n";

/// Create revision of the machine's presence.
async fn presence(world: &World, machine: usize) -> i64 {
    let key = world.keys.presence(&world.machines[machine].id);
    world
        .snapshot()
        .await
        .get(&key)
        .map_or(0, |kv| kv.create_revision)
}

#[tokio::test(start_paused = true)]
async fn other_metadata_move_what_no_longer_fits_and_nothing_else() {
    let mut world = World::empty();
    for _ in 0..2 {
        world.join(&["zone=a"]).await;
    }
    world.settle().await;
    for unit in ["a1.service", "a2.service"] {
        world.launch(unit, IN_A).await;
    }
    world.launch("global.service", IN_A_EVERYWHERE).await;
    for unit in ["p1.service", "p2.service"] {
        world.launch(unit, PLAIN).await;
    }
    world.settle().await;
    let home = world.active_on("a1.service")[0];
    let other = 1 - home;
    let plain = ["p1.service", "p2.service"].map(|u| (u, world.active_on(u)[0]));
    let mut kept: Vec<(&str, usize)> = plain.to_vec();
    kept.extend([("global.service", other)]);
    kept.extend(
        ["a2.service"]
            .map(|u| (u, world.active_on(u)[0]))
            .into_iter()
            .filter(|(_, n)| *n == other),
    );
    let before: Vec<u32> = kept.iter().map(|(unit, n)| world.pid(*n, unit)).collect();
    let incarnation = presence(&world, home).await;
    assert_ne!(incarnation, 0);

    world.reload(home, &["zone=b"]).await;
    world.settle().await;
    for unit in ["a1.service", "a2.service", "global.service"] {
        assert_eq!(world.active_on(unit), [other], "{unit}");
    }
    let after: Vec<u32> = kept.iter().map(|(unit, n)| world.pid(*n, unit)).collect();
    assert_eq!(after, before, "{kept:?}");
    assert_eq!(presence(&world, home).await, incarnation, "it has not been away");
    check(&world).await;

    // The same again says nothing new, and what it says outlives a restart.
    let revision = world.store.revision();
    world.reload(home, &["zone=b"]).await;
    world.settle().await;
    assert_eq!(world.store.revision(), revision);
    world.restart(home).await;
    world.settle().await;
    assert_eq!(world.active_on("global.service"), [other]);
    world.reload(home, &["zone=a"]).await;
    world.settle().await;
    assert_eq!(world.active_on("global.service"), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_while_etcd_is_away_is_said_when_it_is_back() {
    let mut world = World::new(2).await;
    world.launch("a.service", PLAIN).await;
    world.settle().await;
    let home = world.active_on("a.service")[0];
    let pid = world.pid(home, "a.service");
    // Short enough for the presence to hold, and long enough for it to be lost.
    for (away, zone) in [(TTL / 3, "zone=x"), (2 * TTL, "zone=y")] {
        world.machines.iter().for_each(|m| m.client.cut());
        world.reload(home, &[zone]).await;
        tokio::time::sleep(away).await;
        world.machines.iter().for_each(|m| m.client.mend());
        tokio::time::sleep(TTL).await;
        world.settle().await;
        let cluster = world.cluster().await;
        let machine = &cluster.machines[&world.machines[home].id];
        let record = &machine.record.as_ref().unwrap().value;
        assert_eq!(format!("zone={}", record.metadata["zone"]), zone);
    }
    assert_eq!(world.pid(home, "a.service"), pid);
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_may_lead_no_more_hands_over_at_once_and_may_again() {
    let world = World::new(3).await;
    world.launch("a.service", PLAIN).await;
    world.settle().await;
    let leader = || (0..3).find(|n| world.candidacy(*n).term().is_some());
    let home = world.active_on("a.service")[0];
    let pid = world.pid(home, "a.service");
    let first = leader().unwrap();
    world.candidacy(first).allow(false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = leader().unwrap();
    assert_ne!(second, first);
    for n in 0..3 {
        world.candidacy(n).allow(false);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(leader(), None);
    world.launch("b.service", PLAIN).await;
    world.settle().await;
    assert_eq!(world.active_on("b.service"), [0_usize; 0], "nobody decides");
    world.candidacy(first).allow(true);
    world.settle().await;
    assert_eq!(leader(), Some(first));
    assert_eq!(world.active_on("b.service").len(), 1);
    assert_eq!(world.pid(home, "a.service"), pid);
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_machine_holds_can_be_seen_with_etcd_away_too() {
    let world = World::new(1).await;
    world.launch("a.service", PLAIN).await;
    world.put("b.service", PLAIN, DesiredState::Loaded).await;
    world.settle().await;
    let said = world.dump(0).await;
    let wanted = [
        ("a.service", DesiredState::Launched),
        ("b.service", DesiredState::Loaded),
    ];
    assert_eq!(
        said.targets,
        wanted.map(|(unit, state)| (name(unit), state)).into()
    );
    assert_eq!(said.published[&name("a.service")].active, "active");
    assert_eq!(said.unpublished.len(), 0);
    assert_eq!(said.subscribed, ["a.service", "b.service"].map(name).into());
    assert!(said.presence.is_some() && said.revision.is_some() && said.at_work.is_empty());

    world.machines[0].client.cut();
    tokio::time::sleep(2 * TTL).await;
    world.machines[0].init.crash_unit("a.service");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cut_off = world.dump(0).await;
    assert_eq!((cut_off.presence, cut_off.revision), (said.presence, None));
    assert_eq!(cut_off.targets, said.targets);
    assert_eq!(
        cut_off.unpublished.keys().collect::<Vec<_>>(),
        [&name("a.service")]
    );
}
