//! Whole-cluster behaviour, in virtual time: what a user would see of agents and engine together.

mod guarded;
mod lost;
mod metadata;
mod metrics;
mod order;
mod recovery;
mod reload;

#[expect(
    clippy::unwrap_used,
    reason = "the stage of a test: what is not as expected ends it"
)]
mod costs;
#[expect(
    clippy::unwrap_used,
    reason = "the stage of a test: what is not as expected ends it"
)]
mod world;

use std::time::Duration;

use fleetd::cluster::{Cluster, invariants};
use fleetd::registry::encode;
use units::DesiredState;
use world::{TTL, World, name};

const PLAIN: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const ONESHOT: &str = "[Service]\nType=oneshot\nExecStart=/bin/once\n";
const ALONE: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nConflicts=web@*\n";

async fn check(world: &World) {
    let violations = invariants::check(&world.cluster().await);
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test(start_paused = true)]
async fn units_that_conflict_run_on_different_machines() {
    let world = World::new(3).await;
    for unit in ["web@1.service", "web@2.service", "web@3.service", "web@4.service"] {
        world.launch(unit, ALONE).await;
    }
    world.settle().await;
    let mut homes: Vec<usize> = (1..=3)
        .flat_map(|i| world.active_on(&format!("web@{i}.service")))
        .collect();
    homes.sort_unstable();
    assert_eq!(homes, [0, 1, 2]);
    assert_eq!(world.active_on("web@4.service"), [0_usize; 0]);
    let cluster = world.cluster().await;
    let verdict = cluster.verdicts[&name("web@4.service")].value.clone().unwrap();
    assert_eq!(verdict.machines.len(), 3);
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_machines_units_run_elsewhere_and_the_others_are_untouched() {
    let mut world = World::new(3).await;
    world.launch("web@1.service", ALONE).await;
    world.launch("web@2.service", ALONE).await;
    world.settle().await;
    let [one, two] = ["web@1.service", "web@2.service"].map(|u| world.active_on(u)[0]);
    let pid = world.pid(two, "web@2.service");
    world.kill(one);
    tokio::time::sleep(TTL + Duration::from_secs(2)).await;
    let third = 3 - one - two;
    assert_eq!(world.active_on("web@1.service"), [third]);
    assert_eq!(world.pid(two, "web@2.service"), pid);
    world.settle().await;
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_fleetd_touches_nothing_and_writes_nothing() {
    let mut world = World::new(3).await;
    world.launch("a.service", PLAIN).await;
    world
        .launch("b.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
        .await;
    world.settle().await;
    let home = world.active_on("a.service")[0];
    let pid = world.pid(home, "a.service");
    let starts: usize = world.machines.iter().map(|m| m.init.starts("b.service")).sum();
    assert_eq!(starts, 1);
    for n in 0..3 {
        let leads = world
            .snapshot()
            .await
            .get(&world.keys.leader())
            .unwrap()
            .value
            .clone();
        let before = world.store.revision();
        world.restart(n).await;
        world.settle().await;
        if leads != world.machines[n].id.as_str().as_bytes() {
            assert_eq!(world.store.revision(), before, "restart of {n}");
        }
        world.crash(n);
        world.pass(3).await;
        world.start(n);
        world.settle().await;
    }
    assert_eq!(world.pid(home, "a.service"), pid);
    assert_eq!(
        world
            .machines
            .iter()
            .map(|m| m.init.starts("b.service"))
            .sum::<usize>(),
        1
    );
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_an_engine_says_so_and_the_version_of_the_others_is_kept() {
    let mut world = World::new(2).await;
    world.machines[0].disable_engine = true;
    world.restart(0).await;
    world.machines[1].disable_engine = true;
    world.reload(1, &[]).await;
    world.settle().await;
    let say_so = |cluster: &Cluster| -> Vec<bool> {
        let records = cluster.machines.values().filter_map(|m| m.record.as_ref());
        records.map(|record| record.value.disable_engine).collect()
    };
    assert_eq!(say_so(&world.cluster().await), [true, true]);
    world.machines[0].disable_engine = false;
    world.reload(0, &[]).await;
    world.settle().await;
    assert_eq!(say_so(&world.cluster().await), [false, true]);
    let kv = world.snapshot().await.get(&world.keys.engine_version()).cloned();
    assert_eq!(
        kv.unwrap().value,
        fleetd::engine::VERSION.to_string().into_bytes()
    );
}

#[tokio::test(start_paused = true)]
async fn destroyed_units_leave_nothing_behind() {
    let world = World::new(2).await;
    let empty = world.snapshot().await.kvs.len();
    for i in 0..20 {
        world.launch(&format!("u{i}.service"), PLAIN).await;
    }
    world.settle().await;
    for i in 0..20 {
        assert_eq!(world.active_on(&format!("u{i}.service")).len(), 1);
        world.destroy(&format!("u{i}.service")).await;
    }
    world.settle().await;
    let keys: Vec<String> = world.snapshot().await.kvs.into_iter().map(|kv| kv.key).collect();
    assert_eq!(keys.len(), empty, "{keys:#?}");
    for machine in &world.machines {
        assert_eq!(machine.init.linked(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_leaves_hands_its_units_over_one_copy_at_a_time() {
    let mut world = World::new(2).await;
    for i in 0..6 {
        world.launch(&format!("u{i}.service"), PLAIN).await;
    }
    world.settle().await;
    assert!(world.leave(0).await);
    world.settle().await;
    for i in 0..6 {
        assert_eq!(world.active_on(&format!("u{i}.service")), [1]);
    }
    check(&world).await;
    world.start(0);
    world.settle().await;
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_cut_off_and_healed_keeps_its_global_and_pinned_units_running() {
    let mut world = World::empty();
    for _ in 0..3 {
        world.join(&[]).await;
    }
    world.settle().await;
    world
        .launch(
            "g.service",
            "[Service]\nExecStart=/bin/g\n[X-Fleet]\nGlobal=true\n",
        )
        .await;
    let pinned = format!(
        "[Service]\nExecStart=/bin/p\n[X-Fleet]\nMachineID={}\n",
        world.machines[0].id
    );
    world.launch("p.service", &pinned).await;
    world.launch("m.service", PLAIN).await;
    world.settle().await;
    // m is the third on machine 0 at most; have it there.
    let home = world.active_on("m.service")[0];
    let pids = ["g.service", "m.service"].map(|u| world.pid(home, u));
    world.machines[home].client.cut();
    world.pass(2 * TTL.as_secs()).await;
    let both = world.active_on("m.service");
    assert_eq!(
        both.len(),
        2,
        "moved, and the old copy runs on while its machine is cut off"
    );
    world.machines[home].client.mend();
    world.settle().await;
    assert_eq!(world.pid(home, "g.service"), pids[0]);
    let now = world.active_on("m.service");
    assert_eq!(now.len(), 1);
    assert_ne!(now[0], home, "its successor had come up");
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_named_like_one_of_the_hosts_is_refused_everywhere_and_retried_when_the_name_is_free() {
    let world = World::new(3).await;
    for machine in &world.machines {
        machine
            .init
            .host_unit("ssh.service", "/usr/lib/systemd/system/ssh.service");
    }
    world.launch("ssh.service", PLAIN).await;
    world.settle().await;
    let cluster = world.cluster().await;
    let verdict = cluster.verdicts[&name("ssh.service")].value.clone().unwrap();
    assert_eq!(verdict.counts.values().sum::<usize>(), 3, "{verdict:?}");
    assert!(
        verdict
            .machines
            .iter()
            .all(|m| m.reason.contains("/usr/lib/systemd/system/ssh.service")),
        "{verdict:?}"
    );
    for machine in &world.machines {
        assert_eq!(machine.init.starts("ssh.service"), 0);
    }
    world.machines[1].init.remove_host_unit("ssh.service");
    world.settle().await;
    assert_eq!(world.active_on("ssh.service"), [1]);
    world.destroy("ssh.service").await;
    world.settle().await;
    assert!(
        world
            .cluster()
            .await
            .machines
            .values()
            .all(|m| m.assignments.is_empty() && m.states.is_empty())
    );
}

#[tokio::test(start_paused = true)]
async fn stop_start_restart_and_new_content_do_what_they_say() {
    let world = World::new(1).await;
    let pid = || world.pid(0, "a.service");
    world.launch("a.service", PLAIN).await;
    world.settle().await;
    let first = pid();
    assert_ne!(first, 0);
    world.put("a.service", PLAIN, DesiredState::Loaded).await;
    world.settle().await;
    assert_eq!(world.active_on("a.service"), [0_usize; 0]);
    assert_eq!(world.machines[0].init.linked(), ["a.service"]);
    world.launch("a.service", PLAIN).await;
    world.settle().await;
    let second = pid();
    assert!(second != first && second != 0);
    world.put_run("a.service", PLAIN, DesiredState::Launched, 1).await;
    world.settle().await;
    let third = pid();
    assert!(third != second && third != 0);
    world
        .launch("a.service", "[Service]\nExecStart=/bin/other\n")
        .await;
    world.settle().await;
    assert!(pid() != third && pid() != 0);
    assert!(
        world.machines[0]
            .init
            .ran("a.service")
            .unwrap()
            .contains("/bin/other")
    );
    world.put("a.service", PLAIN, DesiredState::Inactive).await;
    world.settle().await;
    assert_eq!(world.machines[0].init.linked(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_at_rest_reads_and_writes_nothing() {
    let world = World::new(3).await;
    for i in 0..10 {
        world.launch(&format!("u{i}.service"), PLAIN).await;
    }
    world.settle().await;
    let (before, revision) = (world.store.counters(), world.store.revision());
    world.pass(300).await;
    let after = world.store.counters();
    assert_eq!(world.store.revision(), revision);
    assert_eq!(
        (after.reads, after.commits, after.watches),
        (before.reads, before.commits, before.watches)
    );
    let renewals = after.renewals - before.renewals;
    // Three machines and the leader, each three times a TTL.
    let expected = 3 * 3 * 300 / 15 + 3 * 300 / 5;
    assert!((expected - 5..=expected + 5).contains(&renewals), "{renewals}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_reboots_runs_its_units_again_and_is_taken_in_as_a_new_one() {
    let mut world = World::new(3).await;
    world.launch("web@1.service", ALONE).await;
    let pinned = format!(
        "[Service]\nExecStart=/bin/p\n[X-Fleet]\nMachineID={}\n",
        world.machines[1].id
    );
    world.launch("p.service", &pinned).await;
    world.settle().await;
    let presence = world.cluster().await.machines[&world.machines[1].id]
        .presence
        .clone()
        .unwrap()
        .created;
    world.kill(1);
    world.pass(1).await;
    world.boot(1);
    // Half of the TTL has to pass before another boot may take the presence over.
    world.pass(TTL.as_secs()).await;
    assert_eq!(world.active_on("p.service"), [1]);
    assert_eq!(world.active_on("web@1.service").len(), 1);
    let machine = world.cluster().await.machines[&world.machines[1].id].clone();
    assert!(machine.is_taken_in() && machine.presence.unwrap().created > presence);
    check(&world).await;
}

/// A clone used to write its own address and metadata into the record of the machine whose id it has, before it found
/// that the id was in use: the first machine's units moved away.
#[tokio::test(start_paused = true)]
async fn a_clone_is_refused_and_says_nothing_in_the_name_of_the_first() {
    let mut world = World::empty();
    world.join(&["disk=ssd"]).await;
    world.join(&[]).await;
    world.settle().await;
    let text = "[Service]\nExecStart=/bin/x\n[X-Fleet]\nMachineMetadata=disk=ssd\n";
    world.launch("x.service", text).await;
    world.settle().await;
    assert_eq!(world.active_on("x.service"), [0]);
    let id = world.machines[0].id;
    let pid = world.pid(0, "x.service");
    let before = world.cluster().await.machines[&id].clone();
    world.join_as_clone(0, &["disk=hdd"]);
    world.pass(TTL.as_secs() * 4).await;
    let after = world.cluster().await.machines[&id].clone();
    assert_eq!(after.record.unwrap().value, before.record.unwrap().value);
    assert_eq!(after.presence.unwrap().created, before.presence.unwrap().created);
    assert_eq!(world.active_on("x.service"), [0]);
    assert_eq!(world.pid(0, "x.service"), pid);
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn another_run_asked_for_while_a_machine_is_joining_is_not_forgotten() {
    let mut world = World::new(2).await;
    let pinned = format!(
        "[Service]\nExecStart=/bin/p\n[X-Fleet]\nMachineID={}\n",
        world.machines[1].id
    );
    world.launch("p.service", &pinned).await;
    world.settle().await;
    // Nobody leads when it is back, so it is not taken in: it starts what it is told to, and stops nothing.
    world.kill(1);
    world.kill(0);
    world.pass(TTL.as_secs() + 5).await;
    world.say(world.keys.leader(), "nobody").await;
    world.boot(1);
    world.settle().await;
    let id = world.machines[1].id;
    let assigned = world.keys.assign(&id, &name("p.service"));
    let registry = world.snapshot().await;
    let presence = registry.get(&world.keys.presence(&id)).unwrap().create_revision;
    let told = registry.get(&assigned).unwrap().value.clone();
    let first = world.pid(1, "p.service");
    assert_ne!(first, 0);
    let told: units::Assignment = serde_json::from_slice(&told).unwrap();
    world
        .say(assigned, encode(&units::Assignment { run: 7, ..told }))
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.pid(1, "p.service"), first);
    world.say(world.keys.seen(&id), presence.to_string()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_ne!(world.pid(1, "p.service"), first);
}

/// fleetd was killed after systemd had accepted the start and before it could note that; the oneshot ended and systemd
/// forgot it.
#[tokio::test(start_paused = true)]
async fn a_oneshot_that_ended_while_fleetd_was_dead_does_not_run_twice() {
    let mut world = World::new(1).await;
    world.launch("once.service", ONESHOT).await;
    world.settle().await;
    assert_eq!(world.machines[0].init.starts("once.service"), 1);
    assert_eq!(world.machines[0].init.status("once.service").invocation, "");
    world.crash(0);
    world.rewrite_record(0, "once.service", |record| record["started"] = "asked".into());
    world.start(0);
    world.settle().await;
    assert_eq!(world.machines[0].init.starts("once.service"), 1);
    world
        .put_run("once.service", ONESHOT, DesiredState::Launched, 1)
        .await;
    // The leader before was killed too, and its lease has to end.
    world.pass(10).await;
    world.settle().await;
    assert_eq!(world.machines[0].init.starts("once.service"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_registry_stops_nothing_and_changes_go_through_right_after() {
    let world = World::new(3).await;
    for i in 0..6 {
        world.launch(&format!("u{i}.service"), PLAIN).await;
    }
    world.settle().await;
    let pids = || -> Vec<(usize, u32)> {
        let home = |i| world.active_on(&format!("u{i}.service"))[0];
        (0..6)
            .map(|i| (home(i), world.pid(home(i), &format!("u{i}.service"))))
            .collect()
    };
    let before = pids();
    world.machines.iter().for_each(|m| m.client.cut());
    world.pass(600).await;
    assert_eq!(pids(), before);
    world.machines.iter().for_each(|m| m.client.mend());
    world.launch("new.service", PLAIN).await;
    world.pass(8).await;
    assert_eq!(world.active_on("new.service").len(), 1);
    world.settle().await;
    assert_eq!(pids(), before);
    check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_the_registry_does_not_accept_stops_nothing() {
    let mut world = World::new(2).await;
    world.launch("x.service", PLAIN).await;
    world.settle().await;
    let home = world.active_on("x.service")[0];
    let pid = world.pid(home, "x.service");
    world.machines[home].client.cut();
    assert!(!world.leave(home).await);
    assert_eq!(world.pid(home, "x.service"), pid);
}
