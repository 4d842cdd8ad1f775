//! Metadata that is laid over a machine's own: whoever matches on it follows, and nobody loses it.

use std::time::Duration;

use super::world::{World, send};

const HERE: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=zone=a\n";
const EVERYWHERE: &str =
    "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\nMachineMetadata=zone=a\n";

async fn patch(world: &World, ops: &[(&str, usize, &str)]) {
    let ops: Vec<serde_json::Value> = ops
        .iter()
        .map(|(op, machine, value)| {
            let path = format!("/{}/metadata/zone", world.machines[*machine].id);
            serde_json::json!({"op": op, "path": path, "value": value})
        })
        .collect();
    let body = serde_json::Value::from(ops).to_string();
    let (status, answer) = world.ask(0, "PATCH", "/fleet/v1/machines", &body).await;
    assert_eq!((status, answer.as_str()), (204, ""));
    world.settle().await;
}

/// Three machines, `zone=a`, `zone=b` and none; a unit and a global one that want `zone=a`.
async fn world() -> World {
    let mut world = World::empty();
    for metadata in [&["zone=a"][..], &["zone=b"], &[]] {
        world.join(metadata).await;
    }
    world.settle().await;
    world.launch("here.service", HERE).await;
    world.launch("everywhere.service", EVERYWHERE).await;
    world.settle().await;
    runs(&world, &[0], &[0]);
    world
}

fn runs(world: &World, here: &[usize], everywhere: &[usize]) {
    assert_eq!(world.active_on("here.service"), here);
    assert_eq!(world.active_on("everywhere.service"), everywhere);
}

#[tokio::test(start_paused = true)]
async fn units_follow_the_metadata_they_asked_for() {
    let world = world().await;
    patch(&world, &[("add", 1, "a")]).await;
    runs(&world, &[0], &[0, 1]);
    let pid = world.pid(1, "everywhere.service");
    // The tombstone hides what is configured, and the one unit moves while the other only goes.
    patch(&world, &[("remove", 0, "")]).await;
    runs(&world, &[1], &[1]);
    patch(&world, &[("replace", 1, "b"), ("add", 2, "a")]).await;
    runs(&world, &[2], &[2]);
    // What is dropped lets the configuration show again.
    let path = format!("/fleet/v2/machines/{}/metadata/zone", world.machines[0].id);
    assert_eq!(world.ask(0, "DELETE", &path, "").await.0, 204);
    world.settle().await;
    runs(&world, &[2], &[0, 2]);
    patch(&world, &[("add", 1, "a")]).await;
    assert_ne!(
        world.pid(1, "everywhere.service"),
        pid,
        "it was stopped in between"
    );
    super::check(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_override_outlives_restarts_reboots_and_a_leave() {
    let mut world = world().await;
    patch(&world, &[("add", 2, "a"), ("remove", 0, "")]).await;
    runs(&world, &[2], &[2]);
    let shown = async |world: &World| {
        let (_, body) = world.ask(0, "GET", "/fleet/v1/machines", "").await;
        let page: serde_json::Value = serde_json::from_str(&body).unwrap();
        let zone = |m: &serde_json::Value| m["metadata"]["zone"].as_str().unwrap_or("-").to_owned();
        let zones: Vec<String> = page["machines"].as_array().unwrap().iter().map(zone).collect();
        zones.join(" ")
    };
    assert_eq!(shown(&world).await, "- b a");
    let pid = world.pid(2, "here.service");
    for machine in [0, 1, 2] {
        world.restart(machine).await;
        world.settle().await;
    }
    assert_eq!(shown(&world).await, "- b a");
    assert_eq!(world.pid(2, "here.service"), pid);
    world.kill(2);
    world.pass(60).await;
    world.boot(2);
    world.settle().await;
    assert_eq!(shown(&world).await, "- b a");
    assert!(world.leave(2).await);
    world.settle().await;
    runs(&world, &[], &[]);
    world.start(2);
    world.settle().await;
    assert_eq!(shown(&world).await, "- b a");
    runs(&world, &[2], &[2]);
}

/// They lie in the registry alone: after `fleetctl recover` the machine came in without them, and what ran by them was
/// stopped.
#[tokio::test(start_paused = true)]
async fn what_runs_by_an_override_is_not_stopped_when_a_lost_registry_is_recovered() {
    for restored in [false, true] {
        let mut world = world().await;
        let backup = world.store.backup();
        // Kept by the override alone from here on, without any new order.
        patch(&world, &[("add", 0, "a")]).await;
        world.reload(0, &["zone=z"]).await;
        world.settle().await;
        // Ordered by it.
        patch(&world, &[("add", 2, "a")]).await;
        runs(&world, &[0], &[0, 2]);
        let pids = |world: &World| {
            let copies = [
                (0, "here.service"),
                (0, "everywhere.service"),
                (2, "everywhere.service"),
            ];
            copies.map(|(n, unit)| world.pid(n, unit))
        };
        let before = pids(&world);
        match restored {
            true => world.store.restore(&backup),
            false => world.store.wipe(),
        }
        world.pass(60).await;
        assert!(world.machines.iter().all(|h| h.doubt().is_some()));
        world.restart(2).await;
        world.pass(10).await;
        world.recover(1).await;
        world.pass(40).await;
        world.settle().await;
        assert_eq!(pids(&world), before, "restored: {restored}");
        runs(&world, &[0], &[0, 2]);
        let cluster = world.cluster().await;
        for (machine, zone) in [(0, "a"), (2, "a")] {
            let record = &cluster.machines[&world.machines[machine].id].record;
            assert_eq!(record.as_ref().unwrap().value.overrides["zone"], zone);
        }
        super::check(&world).await;
    }
}

/// Leaving reads the machine's record and writes it: what the API acknowledged in between is there afterwards.
#[tokio::test(start_paused = true)]
async fn no_override_is_lost_to_a_machine_that_leaves_at_that_moment() {
    let mut world = world().await;
    // Between its reading and its writing lie 200 ms.
    world.machines[1]
        .client
        .delay(Duration::from_millis(200), Duration::ZERO);
    let (api, id) = (world.api(0), world.machines[1].id);
    let others = tokio::spawn(async move {
        for n in 0..8 {
            let body = format!(r#"[{{"op":"add","path":"/{id}/metadata/k{n}","value":"x"}}]"#);
            assert_eq!(
                send(api.clone(), "PATCH", "/fleet/v1/machines", &body).await.0,
                204
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(world.leave(1).await);
    others.await.unwrap();
    let cluster = world.cluster().await;
    assert!(cluster.machines[&id].has_left());
    let record = &cluster.machines[&id].record.as_ref().unwrap().value;
    assert_eq!(record.overrides.len(), 8, "{:?}", record.overrides);
}

/// fleet allows it, and it is the way to have a machine come in with the right metadata.
#[tokio::test(start_paused = true)]
async fn a_machine_that_is_not_there_yet_may_be_given_metadata_and_is_not_missed() {
    let mut world = World::new(2).await;
    let coming = units::MachineId::parse(&format!("{:032x}", 3)).unwrap();
    let body = format!(r#"[{{"op":"add","path":"/{coming}/metadata/zone","value":{{"value":"a"}}}}]"#);
    assert_eq!(world.ask(0, "PATCH", "/fleet/v1/machines", &body).await.0, 204);
    world.launch("here.service", HERE).await;
    world.settle().await;
    assert_eq!(world.active_on("here.service"), [0_usize; 0]);
    let cluster = world.cluster().await;
    assert!(!cluster.machines[&coming].is_lost());
    let verdict = cluster.verdicts[&super::name("here.service")]
        .value
        .clone()
        .unwrap();
    assert!(
        verdict.machines.iter().all(|m| m.machine != coming),
        "{verdict:?}"
    );
    world.join(&["zone=b"]).await;
    world.settle().await;
    assert_eq!(world.machines[2].id, coming);
    assert_eq!(world.active_on("here.service"), [2]);
    super::check(&world).await;
}
