use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::clock::Virtual;
use super::*;
use crate::init::Init;
use crate::init::scripted::{ScriptedInit, Stop};

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

const TTL: Duration = Duration::from_secs(15);

#[test]
fn it_stops_at_the_deadline_and_kills_before_the_grace_is_over() {
    let db = name("db.service");
    let watch = Watch {
        deadline: Some(Duration::from_secs(100)),
        units: [db.clone()].into(),
    };
    let at = |millis| plan(Some(&watch), Duration::from_millis(millis));
    assert_eq!(at(99_999), Act::Wait(Duration::from_secs(100)));
    assert_eq!(at(100_000), Act::Stop(vec![db.clone()]));
    assert_eq!(at(107_999), Act::Stop(vec![db.clone()]));
    assert_eq!(at(108_000), Act::Kill(vec![db.clone()]));
    let unknown = Watch {
        deadline: None,
        ..watch
    };
    assert_eq!(plan(Some(&unknown), Duration::ZERO), Act::Kill(vec![db]));
    assert_eq!(plan(Some(&Watch::default()), Duration::ZERO), Act::Rest);
    assert_eq!(plan(None, Duration::ZERO), Act::Rest);
}

/// The machine is done a second before the engine's earliest start, whichever clock is the fast one.
#[test]
fn the_two_bounds_do_not_meet_within_one_percent_of_drift() {
    for ttl in [5, 15, 60, 600].map(Duration::from_secs) {
        // The lease cannot end before the renewal's TTL has passed in true time; the machine's clock may be slow.
        let killed = (ttl + GRACE - KILL_AHEAD) * 1010 / 1000;
        let started = ttl + bound(ttl) * 990 / 1000;
        assert!(
            killed + Duration::from_secs(1) < started,
            "{ttl:?}: {killed:?} {started:?}"
        );
    }
}

struct Bed {
    init: Arc<ScriptedInit>,
    guard: Guard,
    clock: Arc<Virtual>,
    _run: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

/// A machine on which `db.service` runs and is guarded.
async fn bed() -> Bed {
    let run_dir = tempfile::tempdir().unwrap();
    let units = run_dir.path().join("units");
    std::fs::create_dir_all(&units).unwrap();
    let init = ScriptedInit::new(&units);
    for unit in ["db.service", SERVICE] {
        std::fs::write(units.join(unit), "[Service]\nExecStart=/bin/db\n").unwrap();
        init.link(&units.join(unit)).await.unwrap();
    }
    let clock = Arc::new(Virtual::new(1000));
    let root = run_dir.path().join("guard");
    let guard = Guard::open(&root, clock.clone(), init.clone()).unwrap();
    guard.renewed(guard.now(), TTL);
    guard.cover(&name("db.service")).await.unwrap();
    init.start(&name("db.service")).await.unwrap();
    let stop = CancellationToken::new();
    let directory = Directory::open(&root).unwrap();
    tokio::spawn(run(directory, clock.clone(), init.clone(), stop.clone()));
    Bed {
        init,
        guard,
        clock,
        _run: run_dir,
        _stop: stop.drop_guard(),
    }
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_runs_on_as_long_as_renewals_are_answered_and_ends_when_they_stop() {
    let bed = bed().await;
    for _ in 0..10 {
        seconds(5).await;
        bed.guard.renewed(bed.clock.now(), TTL);
    }
    assert_eq!(bed.init.status("db.service").active, "active");
    assert!(!bed.guard.has_ended(&name("db.service")));
    seconds(14).await;
    assert_eq!(bed.init.status("db.service").active, "active");
    seconds(2).await;
    assert_eq!(bed.init.status("db.service").active, "inactive");
    assert!(bed.guard.has_ended(&name("db.service")));
    assert!(!bed.guard.is_current());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_stop_is_killed_before_the_grace_is_over() {
    let bed = bed().await;
    bed.init.on_stop("db.service", Stop::Hang);
    seconds(22).await;
    assert_eq!(bed.init.status("db.service").active, "deactivating");
    seconds(2).await;
    assert_eq!(bed.init.status("db.service").active, "failed");
}

#[tokio::test(start_paused = true)]
async fn a_presence_that_is_back_in_time_spares_what_is_still_stopping_the_kill() {
    let bed = bed().await;
    bed.init
        .on_stop("db.service", Stop::Take(Duration::from_secs(40)));
    seconds(20).await;
    assert_eq!(bed.init.status("db.service").active, "deactivating");
    bed.guard.renewed(bed.clock.now(), TTL);
    seconds(10).await;
    assert_eq!(bed.init.status("db.service").active, "deactivating");
}

/// fleetd hung between its look at the lease and the start, or systemd took its time with it.
#[tokio::test(start_paused = true)]
async fn a_start_that_comes_after_the_deadline_is_ended_too() {
    let bed = bed().await;
    seconds(60).await;
    bed.init.start(&name("db.service")).await.unwrap();
    seconds(2).await;
    assert_ne!(bed.init.status("db.service").active, "active");
}

#[tokio::test(start_paused = true)]
async fn the_service_is_there_only_while_something_is_guarded() {
    let bed = bed().await;
    assert_eq!(bed.init.status(SERVICE).active, "active");
    assert!(bed.guard.uncover(&name("db.service")));
    bed.guard.relax().await;
    assert_eq!(bed.init.status(SERVICE).active, "inactive");
    seconds(60).await;
    assert_eq!(bed.init.status("db.service").active, "active");
}

/// The kernel ends processes without systemd's help. Found by the simulator.
#[tokio::test(start_paused = true)]
async fn without_d_bus_a_unit_is_killed_all_the_same() {
    let bed = bed().await;
    bed.init.disconnect();
    seconds(22).await;
    assert_eq!(bed.init.status("db.service").active, "active");
    seconds(2).await;
    assert_eq!(bed.init.status("db.service").active, "failed");
}
