//! How a machine leaves, and when it does not: shutdown, signals, D-Bus away.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::wait::{seen, wait_until};

use crate::harness::{Scenario, fresh};

const SOON: Duration = Duration::from_secs(20);
const SERVICE: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let one = || Options {
        machines: 1,
        ..Options::default()
    };
    vec![
        fresh(
            "leaving::a_shutdown_of_the_host_is_a_leave",
            Options::default(),
            shutdown,
        ),
        fresh(
            "leaving::without_d_bus_or_a_stop_job_every_unit_is_kept",
            one(),
            kept,
        ),
        fresh("leaving::a_second_signal_gives_it_up", one(), given_up),
    ]
}

fn says(cluster: &Cluster, number: usize, words: &str) -> Result<()> {
    wait_until(&format!("fleetd to say {words:?}"), SOON, || {
        let journal = cluster.machine(number)?.journal(&["fleet.service"], 400)?;
        seen(journal.contains(words), || "it has not".to_owned())
    })
}

fn is(cluster: &Cluster, number: usize, unit: &str, state: &str) -> Result<()> {
    wait_until(&format!("{unit} to be {state}"), SOON, || {
        let active = cluster.machine(number)?.property(unit, "ActiveState")?;
        seen(active.trim() == state, || active.clone())
    })
}

fn shutdown(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    cluster.unit_file(1, "keep@.service", SERVICE)?;
    cluster.fleet_ok(1, &["start", "keep@1", "keep@2", "keep@3"])?;
    let home = cluster.home(1, "keep@3.service")?;
    let asker = if home == 1 { 2 } else { 1 };
    cluster.machine(home)?.poweroff()?;
    wait_until("the unit to be active elsewhere", SOON, || {
        let on = cluster.active_on(asker, "keep@3.service")?;
        seen(on.len() == 1 && on != [home], || format!("{on:?}"))
    })?;
    // A lease that ran out would have had the same effect a little later.
    let id = cluster.machine(home)?.id();
    let key = format!("/_coreos.com/fleet/machines/{id}");
    let record = cluster.run(asker, &["etcdctl", "get", "--print-value-only", &key])?;
    ensure!(
        record.contains("\"left\":true"),
        "it was lost, and did not leave: {record}"
    );
    Ok(())
}

fn kept(cluster: &Cluster) -> Result<()> {
    let systemctl = |words: &[&str]| cluster.run(1, &[&["systemctl"], words].concat());
    cluster.wait_for_machines(1, 1)?;
    cluster.unit_file(1, "keep.service", SERVICE)?;
    cluster.fleet_ok(1, &["start", "keep.service"])?;
    let before = cluster.main_pid(1, "keep.service")?;
    ensure!(before.is_some(), "it does not run");

    // A bare signal: systemd has no job for it, and starts fleetd again.
    systemctl(&["kill", "--kill-whom=main", "--signal=TERM", "fleet.service"])?;
    says(
        cluster,
        1,
        "stops without leaving the cluster; every unit is kept",
    )?;
    cluster.wait_for_machines(1, 1)?;
    ensure!(
        cluster.main_pid(1, "keep.service")? == before,
        "touched by a signal"
    );

    // D-Bus goes and comes back under a running fleetd.
    systemctl(&["restart", "dbus.service"])?;
    says(cluster, 1, "connection to systemd is back")?;
    cluster.unit_file(1, "after.service", SERVICE)?;
    cluster.fleet_ok(1, &["start", "after.service"])?;
    ensure!(
        cluster.main_pid(1, "keep.service")? == before,
        "touched by a restart of D-Bus"
    );

    // And is away when fleetd is told to stop: nobody can say why.
    systemctl(&["stop", "dbus.socket", "dbus.service"])?;
    systemctl(&["stop", "fleet.service"])?;
    says(cluster, 1, "every unit is kept")?;
    ensure!(
        cluster.main_pid(1, "keep.service")? == before,
        "touched by a stop without D-Bus"
    );
    systemctl(&["start", "dbus.socket", "dbus.service"])?;
    systemctl(&["start", "fleet.service"])?;
    cluster.wait_for_machines(1, 1)?;
    ensure!(
        cluster.main_pid(1, "keep.service")? == before,
        "touched by the start after it"
    );
    Ok(())
}

fn given_up(cluster: &Cluster) -> Result<()> {
    let systemctl = |words: &[&str]| cluster.run(1, &[&["systemctl"], words].concat());
    cluster.wait_for_machines(1, 1)?;
    // Slow from its first moment on: a trap of its own could come after the signal.
    let slow = "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 300\nTimeoutStopSec=600\n";
    cluster.unit_file(1, "slow.service", slow)?;
    cluster.fleet_ok(1, &["start", "slow.service"])?;
    systemctl(&["stop", "--no-block", "fleet.service"])?;
    says(
        cluster,
        1,
        "leaving the cluster: stopping the units of this machine",
    )?;
    is(cluster, 1, "slow.service", "deactivating")?;
    systemctl(&["kill", "--kill-whom=main", "--signal=TERM", "fleet.service"])?;
    says(cluster, 1, "gave up leaving the cluster")?;
    is(cluster, 1, "fleet.service", "inactive")
}
