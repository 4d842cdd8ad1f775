//! `OnDisconnect=stop`: never two copies.

use std::time::Duration;

use fleetd::init::scripted::Stop;

use super::world::World;

/// Lets `seconds` pass and watches all the while; the times at which each machine ran the unit, in tenths of a second.
async fn watch_copies(world: &World, unit: &str, seconds: u64) -> Vec<Vec<usize>> {
    let mut seen = Vec::new();
    for _ in 0..seconds * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen.push(world.up_on(unit));
    }
    seen
}

const AT_MOST_ONCE: &str = "[Service]\nExecStart=/bin/db\n[X-Fleet]\nOnDisconnect=stop\n";

#[tokio::test(start_paused = true)]
async fn a_unit_that_must_not_run_twice_ends_on_a_machine_cut_off_before_it_starts_elsewhere() {
    for stop in [Stop::End, Stop::Take(Duration::from_secs(60)), Stop::Hang] {
        let world = World::new(3).await;
        world.launch("db.service", AT_MOST_ONCE).await;
        world.settle().await;
        let [home] = world.up_on("db.service")[..] else {
            panic!("not placed")
        };
        world.machines[home].init.on_stop("db.service", stop);
        world.machines[home].client.cut();
        let seen = watch_copies(&world, "db.service", 40).await;
        assert!(seen.iter().all(|copies| copies.len() <= 1), "{seen:?}");
        let now = world.up_on("db.service");
        assert!(now.len() == 1 && now[0] != home, "{now:?}");
        world.machines[home].client.mend();
        let seen = watch_copies(&world, "db.service", 40).await;
        assert!(seen.iter().all(|copies| *copies == now), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_must_not_run_twice_ends_though_fleetd_is_dead_there() {
    let mut world = World::new(3).await;
    world.launch("db.service", AT_MOST_ONCE).await;
    world.settle().await;
    let home = world.up_on("db.service")[0];
    world.crash(home);
    let seen = watch_copies(&world, "db.service", 40).await;
    assert!(seen.iter().all(|copies| copies.len() <= 1), "{seen:?}");
    let now = world.up_on("db.service");
    assert!(now.len() == 1 && now[0] != home, "{now:?}");
    world.start(home);
    let seen = watch_copies(&world, "db.service", 40).await;
    assert!(seen.iter().all(|copies| *copies == now), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_unit_ended_for_want_of_the_cluster_starts_again_where_it_belongs() {
    let world = World::new(1).await;
    world.launch("db.service", AT_MOST_ONCE).await;
    world
        .launch("web.service", "[Service]\nExecStart=/bin/web\n")
        .await;
    world.settle().await;
    let web = world.pid(0, "web.service");
    world.machines[0].client.cut();
    world.pass(60).await;
    assert!(world.up_on("db.service").is_empty());
    assert_eq!(world.pid(0, "web.service"), web);
    world.machines[0].client.mend();
    world.pass(10).await;
    world.settle().await;
    assert_eq!(world.up_on("db.service"), [0]);
    assert_eq!(world.machines[0].init.starts("db.service"), 2);
    world.destroy("db.service").await;
    world.settle().await;
    assert_eq!(
        world.machines[0].init.status(fleetd::guard::SERVICE).active,
        "inactive"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_fleetd_leaves_a_guarded_unit_alone() {
    let mut world = World::new(2).await;
    world.launch("db.service", AT_MOST_ONCE).await;
    world.settle().await;
    let home = world.up_on("db.service")[0];
    let pid = world.pid(home, "db.service");
    for _ in 0..3 {
        world.restart(home).await;
        world.pass(20).await;
        world.crash(home);
        world.pass(5).await;
        world.start(home);
        world.pass(20).await;
    }
    assert_eq!(world.pid(home, "db.service"), pid);
    assert_eq!(world.up_on("db.service"), [home]);
}
