//! What of a plan is written side by side, what waits, and what the next plan waits for (docs/architecture.md, "Decided on
//! what was read").

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetd::registry::keys::Key;
use fleetd::registry::{Change, KeyValue};
use tokio::time::Instant;
use units::UnitFile;

use super::world::World;
use super::{PLAIN, check};

/// Fourteen transactions: the last two are under way when there is room for two more.
const UNITS: usize = 600;
/// So long is every answer on its way back: what is written sooner after another transaction did not wait for it.
const BACK: Duration = Duration::from_millis(200);

/// One transaction of the leader.
#[derive(Debug, Clone, Copy)]
struct Written {
    at: Instant,
    places_units: bool,
    takes_in: bool,
    removes_content: bool,
}

/// From now on, what leaders write of their plans.
fn listen(world: &World) -> Arc<Mutex<Vec<Written>>> {
    let log: Arc<Mutex<Vec<Written>>> = Arc::default();
    let (heard, keys) = (log.clone(), world.keys.clone());
    world.store.observe(move |revision| {
        let mut written = Written {
            at: Instant::now(),
            places_units: false,
            takes_in: false,
            removes_content: false,
        };
        for change in &revision.batch.changes {
            let (Change::Put(KeyValue { key, .. }) | Change::Delete { key }) = change;
            match keys.parse(key) {
                Some(Key::Assign(..)) => written.places_units = true,
                Some(Key::Seen(_)) => written.takes_in = true,
                Some(Key::Content(_)) => written.removes_content = true,
                _ => {}
            }
        }
        if written.places_units || written.takes_in || written.removes_content {
            heard.lock().unwrap_or_else(|p| p.into_inner()).push(written);
        }
    });
    log
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_taken_in_and_a_content_removed_after_all_that_a_plan_decides_of_units() {
    let mut world = World::empty();
    for n in 0..UNITS {
        world.launch(&format!("u{n}.service"), PLAIN).await;
    }
    let unused = UnitFile::parse("[Service]\nExecStart=/bin/unused\n").unwrap();
    world
        .say(world.keys.content(&unused.hash()), unused.canonical())
        .await;

    let log = listen(&world);
    let only = world.join(&[]).await;
    world.machines[only].client.delay(Duration::ZERO, BACK);
    world.pass(60).await;
    world.settle().await;
    check(&world).await;

    let log = log.lock().unwrap().clone();
    for what in [
        log.iter().map(|w| w.places_units).collect::<Vec<_>>(),
        log.iter().map(|w| w.takes_in).collect(),
        log.iter().map(|w| w.removes_content).collect(),
    ] {
        assert!(what.contains(&true), "{log:?}");
    }
    let mut side_by_side = 0;
    for pair in log.windows(2) {
        let has_waited = pair[1].at.duration_since(pair[0].at) >= BACK;
        let must_wait = pair[1].takes_in || pair[1].removes_content;
        assert!(has_waited || !must_wait, "{log:?}");
        side_by_side += usize::from(!has_waited);
    }
    assert!(side_by_side >= 3, "{log:?}");
}

/// Regression: after half a second without its own last write it planned all the same, and so decided again about every
/// unit of which it had not yet seen the decision, over and over, while its picture was on its way.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_picture_falls_behind_decides_nothing_twice() {
    let mut world = World::empty();
    for n in 0..UNITS {
        world.launch(&format!("u{n}.service"), PLAIN).await;
    }
    let only = world.join(&[]).await;
    // Each pause is longer than half a second, and all of them are longer than a leader is patient.
    world.machines[only].client.lag(Duration::from_secs(1));
    world.pass(60).await;
    world.settle().await;
    check(&world).await;
    assert_eq!(world.active_on("u0.service"), [only]);

    let engine = world.machines[only].counted();
    assert_eq!(engine.scheduled.get(), UNITS as u64);
    assert_eq!(engine.schedule_failed.get(), 0);
}
