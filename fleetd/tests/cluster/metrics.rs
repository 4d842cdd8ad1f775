//! What the engines count, as `/metrics` of each machine tells it.

use std::time::Duration;

use units::DesiredState;

use super::world::{World, send};
use super::{ALONE, PLAIN};

/// A sample of machine `n`; `None` where that does not tell it.
async fn sample(world: &World, n: usize, name: &str) -> Option<f64> {
    let (_, text) = world.ask(n, "GET", "/metrics", "").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
    line.and_then(|value| value.parse().ok())
}

async fn leaders(world: &World) -> Vec<usize> {
    let mut leaders = Vec::new();
    for n in 0..world.machines.len() {
        if sample(world, n, "fleet_engine_leader").await == Some(1.0) {
            leaders.push(n);
        }
    }
    leaders
}

#[tokio::test(start_paused = true)]
async fn the_leader_alone_knows_the_cluster_and_counts_what_it_did() {
    let mut world = World::new(2).await;
    let [leader] = leaders(&world).await[..] else {
        panic!("one leads")
    };
    for unit in ["web@1.service", "web@2.service", "web@3.service"] {
        world.launch(unit, ALONE).await;
    }
    world.put("off.service", PLAIN, DesiredState::Inactive).await;
    world.settle().await;
    let tasks = |kind| format!("fleet_engine_task_count_total{{type=\"{kind}\"}}");
    for (name, expected) in [
        ("fleet_units{desired=\"launched\"}", 3.0),
        ("fleet_units{desired=\"loaded\"}", 0.0),
        ("fleet_units{desired=\"inactive\"}", 1.0),
        ("fleet_units_unplaced", 1.0),
        ("fleet_unit_copies{active=\"active\"}", 2.0),
        ("fleet_machines{state=\"present\"}", 2.0),
        ("fleet_machines{state=\"lost\"}", 0.0),
        (&tasks("attemptscheduleunit"), 2.0),
        (&tasks("unscheduleunit"), 0.0),
        ("fleet_engine_placement_latency_seconds_count", 2.0),
    ] {
        assert_eq!(sample(&world, leader, name).await, Some(expected), "{name}");
    }
    let unplaceable = "fleet_engine_reconcile_failure_count_total{type=\"schedule\"}";
    assert!(sample(&world, leader, unplaceable).await >= Some(1.0));
    // Each pass is counted once, with its duration.
    let passes = sample(&world, leader, "fleet_engine_reconcile_count_total").await;
    assert!(passes > Some(1.0));
    for name in ["reconcile_duration_second", "plan_duration_seconds"] {
        assert_eq!(
            sample(&world, leader, &format!("fleet_engine_{name}_count")).await,
            passes
        );
    }
    let other = 1 - leader;
    assert_eq!(sample(&world, other, "fleet_units_unplaced").await, None);
    assert_eq!(
        sample(&world, other, "fleet_engine_leader_start_time").await,
        Some(0.0)
    );
    assert!(sample(&world, leader, "fleet_engine_leader_start_time").await > Some(1.5e9));

    // At rest nothing is counted, however often it is asked for.
    let revision = world.store.revision();
    world.pass(300).await;
    assert_eq!(
        sample(&world, leader, "fleet_engine_reconcile_count_total").await,
        passes
    );
    assert_eq!(world.store.revision(), revision);

    world.destroy("web@1.service").await;
    world.settle().await;
    assert_eq!(sample(&world, leader, &tasks("unscheduleunit")).await, Some(1.0));
    assert_eq!(
        sample(&world, leader, &tasks("attemptscheduleunit")).await,
        Some(3.0),
        "web@3 fits now"
    );

    // Leadership goes over, and with it the knowledge.
    world.crash(leader);
    world.pass(20).await;
    assert_eq!(sample(&world, other, "fleet_engine_leader").await, Some(1.0));
    assert_eq!(
        sample(&world, other, "fleet_machines{state=\"present\"}").await,
        Some(1.0)
    );
    assert_eq!(
        sample(&world, other, "fleet_machines{state=\"lost\"}").await,
        Some(1.0)
    );
}

/// What was written at the second try counted from that try on.
#[tokio::test(start_paused = true)]
async fn a_placement_that_had_to_be_written_twice_took_from_the_first_change_on() {
    let world = World::new(2).await;
    let [leader] = leaders(&world).await[..] else {
        panic!("one leads")
    };
    // The answer is that nobody knows; the write itself comes when nobody wants it any more.
    world.machines[leader]
        .client
        .late_commit(Duration::from_secs(3600));
    world.launch("a.service", PLAIN).await;
    world.settle().await;
    let latency = "fleet_engine_placement_latency_seconds";
    assert_eq!(
        sample(&world, leader, &format!("{latency}_count")).await,
        Some(1.0)
    );
    // Between the two tries the engine pauses for 25 to 50 ms.
    let took = sample(&world, leader, &format!("{latency}_sum")).await;
    assert!(took >= Some(0.025), "{took:?}");
}

/// Questions came before what the mirror had, so that whoever scraped without pause kept the leader from it.
#[tokio::test(start_paused = true)]
async fn a_scrape_is_answered_after_what_the_leader_has_heard_is_taken_in() {
    let world = World::new(2).await;
    let [leader] = leaders(&world).await[..] else {
        panic!("one leads")
    };
    let client = &world.machines[leader].client;
    client.delay(Duration::from_secs(1), Duration::ZERO);
    world.launch("a.service", PLAIN).await;
    // It writes its decision; meanwhile there is both a question and a change.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let api = world.api(leader);
    let asked = tokio::spawn(async move { send(api, "GET", "/metrics", "").await.1 });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.put("off.service", PLAIN, DesiredState::Inactive).await;
    let text = asked.await.unwrap();
    let told = text
        .lines()
        .find(|line| line.starts_with("fleet_units{desired=\"inactive\"}"));
    assert_eq!(told, Some("fleet_units{desired=\"inactive\"} 1"));
}
