//! Machines that are lost, many at once too, and come back; and what in etcd cannot be read.

use std::time::Duration;

use fleetd::init::scripted::Start;

use super::world::{TTL, World, name};
use super::{PLAIN, check};

#[tokio::test(start_paused = true)]
async fn a_unit_whose_successor_does_not_come_up_moves_back_to_where_it_still_runs() {
    let world = World::new(3).await;
    world.launch("x.service", PLAIN).await;
    world.settle().await;
    let home = world.active_on("x.service")[0];
    let pid = world.pid(home, "x.service");
    for (n, host) in world.machines.iter().enumerate() {
        if n != home {
            host.init.on_start("x.service", Start::Hang);
        }
    }
    world.machines[home].client.cut();
    world.pass(TTL.as_secs() * 2).await;
    let moved = world.cluster().await.home(&name("x.service")).copied();
    assert_ne!(moved, Some(world.machines[home].id));
    world.machines[home].client.mend();
    world.pass(TTL.as_secs()).await;
    world.settle().await;
    assert_eq!(world.up_on("x.service"), [home]);
    assert_eq!(world.pid(home, "x.service"), pid);
    check(&world).await;
}

/// docs/failure.md, nr 8.
#[tokio::test(start_paused = true)]
async fn an_old_copy_whose_successor_never_comes_up_ends_after_five_minutes() {
    let world = World::new(2).await;
    world.launch("x.service", PLAIN).await;
    world.settle().await;
    let home = world.active_on("x.service")[0];
    world.machines[1 - home].init.on_start("x.service", Start::Hang);
    world.machines[home].client.cut();
    world.pass(1).await;
    // What runs there is not what is wanted any more, so it is no place to move back to.
    world
        .launch("x.service", "[Service]\nExecStart=/bin/newer\n")
        .await;
    world.pass(TTL.as_secs() * 2).await;
    world.machines[home].client.mend();
    world.pass(285).await;
    assert_eq!(world.active_on("x.service"), [home]);
    world.pass(30).await;
    assert_eq!(world.active_on("x.service"), [0_usize; 0]);
    assert_eq!(world.up_on("x.service"), [1 - home], "on its way up still");
    check(&world).await;
}

/// docs/failure.md, nr 16.
#[tokio::test(start_paused = true)]
async fn after_a_mass_loss_nothing_moves_for_a_ttl_and_then_ten_units_a_second() {
    const UNITS: usize = 60;
    let mut world = World::new(5).await;
    for n in 0..UNITS {
        world.launch(&format!("u{n}.service"), PLAIN).await;
    }
    world.settle().await;
    world.kill(3);
    world.kill(4);
    let up = |world: &World| {
        (0..UNITS)
            .filter(|n| !world.up_on(&format!("u{n}.service")).is_empty())
            .count()
    };
    let left = up(&world);
    let lost = UNITS - left;
    assert!(lost >= 20, "{lost}");
    // The leases end within one TTL; none is moved within another.
    world.pass(TTL.as_secs() + TTL.as_secs() / 3 * 2).await;
    assert_eq!(up(&world), left);
    let mut each_second = Vec::new();
    while up(&world) < UNITS {
        let before = up(&world);
        world.pass(1).await;
        each_second.push(up(&world) - before);
        assert!(each_second.len() < 30, "{each_second:?}");
    }
    assert!(each_second.iter().all(|moved| *moved <= 11), "{each_second:?}");
    let busy = each_second.iter().filter(|moved| **moved > 0).count();
    assert!((lost / 11..=lost / 9 + 2).contains(&busy), "{each_second:?}");
    check(&world).await;
}

/// docs/failure.md, nr 18.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_in_etcd_is_left_alone() {
    let world = World::new(2).await;
    for unit in [
        "record.service",
        "content.service",
        "order.service",
        "other.service",
    ] {
        world
            .launch(unit, &format!("[Service]\nExecStart=/bin/{unit}\n"))
            .await;
    }
    world.settle().await;
    let running = |world: &World| -> Vec<(usize, u32)> {
        let units = ["record.service", "content.service", "order.service"];
        let place = |unit: &&str| {
            let home = world.active_on(unit)[0];
            (home, world.pid(home, unit))
        };
        units.iter().map(place).collect()
    };
    let before = running(&world);
    let cluster = world.cluster().await;
    let record = cluster.units[&name("content.service")].record.clone().unwrap();
    let home = *cluster.home(&name("order.service")).unwrap();
    world
        .say(world.keys.unit(&name("record.service")), "{nonsense")
        .await;
    world.say(world.keys.content(&record.hash), [0xff, 0xfe]).await;
    world
        .say(world.keys.assign(&home, &name("order.service")), "?")
        .await;
    world.say(format!("{}what/is/this", world.keys.root()), "x").await;
    world.pass(TTL.as_secs() * 3).await;
    assert_eq!(running(&world), before);
    // And everything else goes on.
    world.destroy("other.service").await;
    world.launch("late.service", PLAIN).await;
    world.settle().await;
    assert_eq!(world.active_on("other.service"), [0_usize; 0]);
    assert_eq!(world.active_on("late.service").len(), 1);
    world.destroy("record.service").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        world.active_on("record.service"),
        [0_usize; 0],
        "it can be destroyed"
    );
}
