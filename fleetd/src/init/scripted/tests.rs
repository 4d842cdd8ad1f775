//! What only the twin can be asked: scripts, time and what was done.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use units::UnitName;

use super::*;
use crate::init::JobResult;
use crate::init::contract::{Bench, CASES, Kind};

const RUNS: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

struct Host {
    directory: tempfile::TempDir,
    init: Arc<ScriptedInit>,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let init = ScriptedInit::new(directory.path());
        Self { directory, init }
    }

    async fn link(&self, unit: &str, text: &str) -> UnitName {
        let path = self.directory.path().join(unit);
        std::fs::write(&path, text).expect("a unit file");
        self.init.link(&path).await.expect("linked");
        UnitName::parse(unit).expect("a name")
    }
}

fn seen(events: &mut UnboundedReceiver<Event>) -> Vec<String> {
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(match event {
            Event::Changed(unit, status) => format!("{unit} {}/{}", status.active, status.sub),
            other => format!("{other:?}"),
        });
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_start_and_a_stop_are_seen_step_by_step() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    let mut events = host.init.events().expect("the stream");
    host.init.watch(vec![unit.clone()]);
    assert_eq!(host.init.start(&unit).await.unwrap().await, Ok(JobResult::Done));
    assert_eq!(host.init.stop(&unit).await.unwrap().await, Ok(JobResult::Done));
    let steps = [
        "a.service activating/start",
        "a.service active/running",
        "a.service deactivating/stop-sigterm",
        "a.service inactive/dead",
    ];
    assert_eq!(seen(&mut events), steps);
    assert_eq!(
        host.init.calls(),
        ["link a.service", "start a.service", "stop a.service"]
    );
}

#[tokio::test(start_paused = true)]
async fn jobs_take_the_time_they_are_told_to() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    host.init
        .on_start("a.service", Start::Take(Duration::from_secs(7)));
    host.init.on_stop("a.service", Stop::Hang);
    let before = Instant::now();
    let job = host.init.start(&unit).await.unwrap();
    assert_eq!(host.init.status("a.service").active, "activating");
    assert_eq!(job.await, Ok(JobResult::Done));
    assert_eq!(before.elapsed().as_secs(), 7);

    let mut job = host.init.stop(&unit).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(job.try_recv().is_err());
    host.init.release("a.service");
    assert_eq!(job.await, Ok(JobResult::Done));
    assert_eq!(host.init.status("a.service").active, "inactive");
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_the_place_of_a_start_that_hangs() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    host.init.on_start("a.service", Start::Hang);
    let start = host.init.start(&unit).await.unwrap();
    let again = host.init.start(&unit).await.unwrap();
    let stop = host.init.stop(&unit).await.unwrap();
    assert_eq!(start.await, Ok(JobResult::Canceled));
    assert_eq!(again.await, Ok(JobResult::Canceled));
    assert_eq!(stop.await, Ok(JobResult::Done));
    assert_eq!(host.init.starts("a.service"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flapping_unit_restarts_until_it_is_stopped() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    host.init
        .on_start("a.service", Start::Flap(Duration::from_millis(500)));
    host.init.start(&unit).await.unwrap().await.unwrap();
    let first = host.init.status("a.service");
    tokio::time::sleep(Duration::from_millis(2_250)).await;
    let later = host.init.status("a.service");
    assert_eq!(later.restarts, 4);
    assert!(later.main_pid != first.main_pid && later.invocation != first.invocation);
    assert!(later.since_us > first.since_us);
    host.init.stop(&unit).await.unwrap().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(host.init.starts("a.service"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_reported_and_kept_until_reset() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    host.init.start(&unit).await.unwrap().await.unwrap();
    host.init.crash_unit("a.service");
    let status = host.init.status("a.service");
    assert_eq!(
        (status.active.as_str(), status.result.as_str()),
        ("failed", "signal")
    );
    host.init.reset_failed(&unit).await.unwrap();
    assert_eq!(host.init.status("a.service").invocation, "");
}

#[tokio::test(start_paused = true)]
async fn refused_calls_are_counted_and_change_nothing() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    let no = InitError::Refused {
        name: "x".to_owned(),
        message: "no".to_owned(),
    };
    host.init.refuse(Op::Start, Some("a.service"), no.clone());
    assert_eq!(host.init.start(&unit).await.unwrap_err(), no);
    assert_eq!(
        (host.init.count(Op::Start), host.init.starts("a.service")),
        (1, 0)
    );
    host.init.allow(Op::Start, Some("a.service"));
    assert_eq!(host.init.start(&unit).await.unwrap().await, Ok(JobResult::Done));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_hides_what_happens_until_the_resync() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    let mut events = host.init.events().unwrap();
    host.init.watch(vec![unit.clone()]);
    host.init.on_start("a.service", Start::Hang);
    let job = host.init.start(&unit).await.unwrap();
    host.init.disconnect();
    assert_eq!(job.await, Ok(JobResult::Canceled));
    host.init.release("a.service");
    assert!(matches!(
        host.init.observe(std::slice::from_ref(&unit)).await,
        Err(InitError::Unreachable(_))
    ));
    host.init.reconnect();
    assert_eq!(seen(&mut events), ["a.service activating/start", "Resync"]);
    assert_eq!(host.init.observe(&[unit]).await.unwrap()[0].1.active, "active");
}

#[tokio::test(start_paused = true)]
async fn a_reboot_forgets_everything_and_a_new_daemon_gets_its_own_stream() {
    let host = Host::new();
    let unit = host.link("a.service", RUNS).await;
    let first = host.init.events().unwrap();
    assert!(host.init.events().is_none());
    drop(first);
    let second = host.init.events();
    assert!(second.is_some());
    host.init.start(&unit).await.unwrap().await.unwrap();
    host.init.reboot();
    assert!(host.init.events().is_some());
    assert_eq!(host.init.status("a.service"), Status::default());
    assert_eq!(host.init.linked(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_twin_keeps_the_contract() {
    let directory = tempfile::tempdir().expect("a directory");
    let init = ScriptedInit::new(directory.path());
    init.host_unit("dbus.service", "/usr/lib/systemd/system/dbus.service");
    init.host_unit("sshd.service", "/etc/systemd/system/sshd.service");
    init.host_unit("getty@.service", "/usr/lib/systemd/system/getty@.service");
    init.person_starts("dbus.service");
    let twin = init.clone();
    let mut bench = Bench {
        events: init.events().expect("the stream"),
        init,
        directory: directory.path().to_owned(),
        host: UnitName::parse("dbus.service").expect("a name"),
        alias: UnitName::parse("sshd.service").expect("a name"),
        instance: UnitName::parse("getty@tty9.service").expect("a name"),
        script: Box::new(move |unit, kind| {
            let start = match kind {
                Kind::Runs => Start::Run,
                Kind::Finishes => Start::Finish,
                Kind::Fails => Start::Fail("exit-code".to_owned()),
                Kind::Hangs => Start::Hang,
                Kind::Flaps => Start::Flap(Duration::from_millis(100)),
            };
            twin.on_start(unit.as_str(), start);
        }),
    };
    let mut broken = Vec::new();
    for (name, case) in CASES {
        if let Err(found) = case(&mut bench).await {
            broken.push(format!("{name}: {found}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
