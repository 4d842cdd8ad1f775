//! fleet.service itself: how little it may do, and what becomes of a fleetd that hangs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::wait::{seen, wait_until};

use crate::harness::{Scenario, fresh, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let one = || Options {
        machines: 1,
        ..Options::default()
    };
    vec![
        shared("unit::fleet_service_may_do_little", one(), exposure),
        fresh(
            "unit::a_fleetd_that_hangs_is_started_again_and_its_units_run_on",
            one(),
            hang,
        ),
    ]
}

/// What docs/security.md says, in tenths.
const EXPOSURE: &str = "16";

fn exposure(cluster: &Cluster) -> Result<()> {
    cluster
        .run(
            1,
            &[
                "systemd-analyze",
                "security",
                "--threshold",
                EXPOSURE,
                "fleet.service",
            ],
        )
        .map(drop)
        .context("fleet.service is more exposed than documented")
}

fn hang(cluster: &Cluster) -> Result<()> {
    let systemctl = |words: &[&str]| cluster.run(1, &[&["systemctl"], words].concat());
    let shipped = cluster.machine(1)?.property("fleet.service", "WatchdogUSec")?;
    ensure!(shipped == "1min", "fleet.service has a watchdog of {shipped}");
    // The same, sooner.
    cluster.write(
        1,
        "/run/systemd/system/fleet.service.d/sooner.conf",
        "[Service]\nWatchdogSec=3\n",
    )?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["restart", "fleet.service"])?;
    cluster.wait_for_machines(1, 1)?;
    cluster.unit_file(1, "keep.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
    cluster.fleet_ok(1, &["start", "keep.service"])?;

    let machine = cluster.machine(1)?;
    let (fleetd, kept) = (
        machine.main_pid("fleet.service")?,
        machine.main_pid("keep.service")?,
    );
    ensure!(kept.is_some(), "keep.service has no main process");
    // Through several spans of the watchdog it is fed, though nothing happens; with etcd away too.
    machine.freeze("etcd.service")?;
    let fed = || machine.property("fleet.service", "WatchdogTimestampMonotonic");
    for _ in 0..4 {
        let before = fed()?;
        wait_until("fleetd to feed the watchdog", Duration::from_secs(3), || {
            seen(fed()? != before, || before.clone())
        })?;
    }
    machine.heal()?;
    ensure!(
        machine.main_pid("fleet.service")? == fleetd,
        "fleetd was not left alone"
    );

    machine.freeze("fleet.service")?;
    wait_until("systemd to start fleetd again", Duration::from_secs(30), || {
        let now = machine.main_pid("fleet.service")?;
        seen(now.is_some() && now != fleetd, || format!("main process {now:?}"))
    })?;
    let journal = machine.journal(&["fleet.service"], 200)?;
    ensure!(
        journal.contains("Watchdog timeout"),
        "not the watchdog's doing:\n{journal}"
    );
    cluster.wait_for_machines(1, 1)?;
    ensure!(
        machine.main_pid("keep.service")? == kept,
        "keep.service did not run on"
    );
    let active = cluster.fleet_ok(1, &["list-units", "--no-legend"])?;
    ensure!(active.contains("running"), "{active}");
    Ok(())
}
