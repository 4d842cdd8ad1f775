//! What runs keeps running: restarts, crashes, outages and cuts, with the main processes before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::job::TTL;
use lab::wait::{seen, wait_until};
use tokio::time::Instant;

use crate::harness::{Scenario, fresh, shared};

const SOON: Duration = Duration::from_secs(10);

pub(crate) fn scenarios() -> Vec<Scenario> {
    let three = Options::default;
    vec![
        shared(
            "keeps::a_restart_and_a_crash_of_fleetd_touch_no_unit",
            three(),
            restart_and_crash,
        ),
        shared(
            "keeps::a_minute_without_etcd_touches_no_unit",
            three(),
            minute_without_etcd,
        ),
        shared("keeps::stopping_etcd_is_not_leaving", three(), stop_etcd),
        fresh(
            "keeps::stopping_fleet_moves_its_units_one_copy_at_a_time",
            three(),
            leave,
        ),
        fresh(
            "keeps::a_machine_cut_off_and_healed_keeps_what_is_its_own",
            three(),
            cut_and_healed,
        ),
    ]
}

const SERVICE: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// A oneshot that leaves a mark each time it runs.
const ONESHOT: &str = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo ran >> /root/once.log'\n";

/// Six services, a Global one, and a oneshot that has finished.
fn fill(cluster: &Cluster) -> Result<Vec<String>> {
    cluster.wait_for_machines(1, 3)?;
    let mut units: Vec<String> = (1..=6).map(|n| format!("keep{n}.service")).collect();
    for unit in &units {
        cluster.unit_file(1, unit, SERVICE)?;
    }
    cluster.unit_file(
        1,
        "keepall.service",
        &format!("{SERVICE}[X-Fleet]\nGlobal=true\n"),
    )?;
    cluster.unit_file(1, "once.service", ONESHOT)?;
    units.push("keepall.service".to_owned());
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    cluster.fleet_ok(1, &[&["start"], names.as_slice(), &["once.service"]].concat())?;
    cluster.wait_active(1, "keepall.service", &[1, 2, 3], SOON)?;
    units.push("once.service".to_owned());
    let (_, runs) = running(cluster, &units)?;
    ensure!(
        runs > 0,
        "the oneshot left no mark, so a second run would leave none either"
    );
    Ok(units)
}

fn empty(cluster: &Cluster, units: &[String]) -> Result<()> {
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    cluster
        .fleet_ok(1, &[&["destroy"], names.as_slice()].concat())
        .map(drop)
}

/// Main processes by machine and unit, and how often the oneshot ran.
type Running = (BTreeMap<(usize, String), i32>, usize);

fn running(cluster: &Cluster, units: &[String]) -> Result<Running> {
    let mut pids = BTreeMap::new();
    let mut runs = 0;
    for machine in cluster.machines().iter().filter(|m| m.is_running()) {
        let number = machine.number();
        for unit in units {
            if let Some(pid) = cluster.main_pid(number, unit)? {
                pids.insert((number, unit.clone()), pid);
            }
        }
        runs += cluster
            .exec(number, &["cat", "/root/once.log"])?
            .stdout
            .lines()
            .count();
    }
    Ok((pids, runs))
}

fn restart_and_crash(cluster: &Cluster) -> Result<()> {
    let units = fill(cluster)?;
    let before = running(cluster, &units)?;
    ensure!(before.0.len() == 9, "{before:?}");
    for machine in cluster.machines() {
        let number = machine.number();
        machine.run(&["systemctl", "restart", "fleet.service"])?;
        machine.crash("fleet.service")?;
        wait_until("fleetd to be back", SOON, || {
            let active = machine.property("fleet.service", "ActiveState")?;
            seen(active.trim() == "active", || active.clone())
        })?;
        cluster.wait_for_machines(number, 3)?;
    }
    // Longer than a presence lives: had one been lost, its units would have moved by now.
    std::thread::sleep(TTL + Duration::from_secs(3));
    let after = running(cluster, &units)?;
    ensure!(after == before, "before {before:?}, after {after:?}");
    empty(cluster, &units)
}

fn minute_without_etcd(cluster: &Cluster) -> Result<()> {
    let units = fill(cluster)?;
    let before = running(cluster, &units)?;
    for number in cluster.members() {
        cluster.run(number, &["systemctl", "stop", cluster.etcd_unit(number)])?;
    }
    let output = cluster.fleet(1, &["list-units"])?;
    ensure!(
        output.code == Some(1) && output.stderr.contains("etcd"),
        "no word of etcd: {output:?}"
    );
    std::thread::sleep(Duration::from_secs(60));
    let meanwhile = running(cluster, &units)?;
    ensure!(meanwhile == before, "before {before:?}, meanwhile {meanwhile:?}");
    let starting: Vec<_> = cluster
        .members()
        .map(|n| {
            cluster
                .machine(n)?
                .command(&["systemctl", "start", cluster.etcd_unit(n)])?
                .spawn()
                .map_err(Into::into)
        })
        .collect::<Result<_>>()?;
    for mut child in starting {
        ensure!(child.wait()?.success(), "etcd did not start");
    }
    cluster.etcd_leader()?;
    let back = Instant::now();
    cluster.unit_file(1, "after.service", SERVICE)?;
    wait_until(
        "the first start after the outage",
        Duration::from_secs(20),
        || {
            let output = cluster.fleet(1, &["start", "after.service"])?;
            seen(output.success(), || output.stderr.clone())
        },
    )?;
    let accepted = back.elapsed();
    cluster.wait_for_machines(1, 3)?;
    std::thread::sleep(TTL + Duration::from_secs(3));
    let after = running(cluster, &units)?;
    ensure!(after == before, "before {before:?}, after {after:?}");
    ensure!(
        accepted < Duration::from_secs(20),
        "the first start took {accepted:?}"
    );
    empty(cluster, &units)?;
    empty(cluster, &["after.service".to_owned()])
}

fn stop_etcd(cluster: &Cluster) -> Result<()> {
    let units = fill(cluster)?;
    let before = running(cluster, &units)?;
    cluster.run(2, &["systemctl", "stop", "etcd.service"])?;
    std::thread::sleep(TTL + Duration::from_secs(5));
    let machines = cluster.fleet_ok(1, &["list-machines", "--no-legend"])?;
    ensure!(machines.lines().count() == 3, "a machine is missing: {machines}");
    let active = cluster.machine(2)?.property("fleet.service", "ActiveState")?;
    ensure!(active.trim() == "active", "fleet.service is {active}");
    ensure!(running(cluster, &units)? == before, "a unit was touched");
    cluster.run(2, &["systemctl", "start", "etcd.service"])?;
    empty(cluster, &units)
}

/// A service that holds a lock in etcd while it runs would be the real thing; a file that each copy writes its machine
/// and its times into, read from outside, shows the same.
fn leave(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    // systemd writes the times around it: a trap of its own could come after the signal.
    let witness = "[Service]\n\
        ExecStartPre=/bin/sh -c 'date +%%s.%%N >> /root/begin'\n\
        ExecStart=/bin/sleep infinity\n\
        ExecStop=/bin/sleep 1\n\
        ExecStopPost=/bin/sh -c 'date +%%s.%%N >> /root/end'\n";
    cluster.unit_file(1, "witness.service", witness)?;
    cluster.fleet_ok(1, &["start", "witness.service"])?;
    let home = cluster.home(1, "witness.service")?;
    let asker = if home == 1 { 2 } else { 1 };
    cluster.run(home, &["systemctl", "stop", "fleet.service"])?;
    cluster.wait_for_machines(asker, 2)?;
    wait_until("the unit to be active elsewhere", Duration::from_secs(30), || {
        let on = cluster.active_on(asker, "witness.service")?;
        seen(on.len() == 1 && on != [home], || format!("{on:?}"))
    })?;
    let next = cluster.home(asker, "witness.service")?;
    let time = |number: usize, file: &str| -> Result<f64> {
        let text = cluster.run(number, &["cat", file])?;
        let last = text.lines().last().context("no time was written")?;
        last.parse().with_context(|| format!("{last:?} is no time"))
    };
    // Machines share the host's clock.
    let (end, begin) = (time(home, "/root/end")?, time(next, "/root/begin")?);
    ensure!(
        begin > end,
        "the new copy began {:.3} s before the old one had ended",
        end - begin
    );
    let left = cluster.exec(home, &["ls", "/run/fleet/units"])?;
    ensure!(left.stdout.trim().is_empty(), "left behind: {}", left.stdout);
    cluster.run(home, &["systemctl", "start", "fleet.service"])?;
    cluster.wait_for_machines(asker, 3)
}

fn cut_and_healed(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    cluster.unit_file(
        1,
        "everywhere.service",
        &format!("{SERVICE}[X-Fleet]\nGlobal=true\n"),
    )?;
    let third = cluster.machine(3)?.id();
    cluster.unit_file(
        1,
        "pinned.service",
        &format!("{SERVICE}[X-Fleet]\nMachineID={third}\n"),
    )?;
    cluster.fleet_ok(1, &["start", "everywhere.service", "pinned.service"])?;
    // As many as it takes for one to be on the third machine, which holds the pinned unit already.
    let movers: Vec<String> = (1..=6).map(|n| format!("mover@{n}.service")).collect();
    cluster.unit_file(1, "mover@.service", SERVICE)?;
    let names: Vec<&str> = movers.iter().map(String::as_str).collect();
    cluster.fleet_ok(1, &[&["start"], names.as_slice()].concat())?;
    let mut on_third = movers
        .iter()
        .filter(|unit| cluster.home(1, unit).is_ok_and(|home| home == 3));
    let mover = on_third.next().context("no unit on machine 3")?.clone();
    cluster.wait_active(1, "everywhere.service", &[1, 2, 3], SOON)?;
    let pid = |unit: &str| cluster.main_pid(3, unit);
    let before = [pid("everywhere.service")?, pid("pinned.service")?, pid(&mover)?];
    ensure!(before.iter().all(Option::is_some), "{before:?}");

    cluster.machine(3)?.cut()?;
    let cut = Instant::now();
    wait_until("the unit to be active elsewhere", TTL * 2, || {
        let on = cluster.active_on(1, &mover)?;
        seen(on.len() == 1 && on != [3], || format!("{on:?}"))
    })?;
    std::thread::sleep((TTL * 2).saturating_sub(cut.elapsed()));
    ensure!(
        [pid("everywhere.service")?, pid("pinned.service")?, pid(&mover)?] == before,
        "touched while cut off"
    );
    cluster.machine(3)?.heal()?;
    wait_until("the old copy to end", Duration::from_secs(60), || {
        let old = pid(&mover)?;
        let new = cluster.active_on(1, &mover)?;
        ensure!(new.iter().any(|n| *n != 3), "no other copy is active: {new:?}");
        seen(old.is_none(), || format!("pid {old:?}"))
    })?;
    cluster.wait_for_machines(1, 3)?;
    ensure!(
        [pid("everywhere.service")?, pid("pinned.service")?] == before[..2],
        "restarted after the cut"
    );
    cluster.wait_active(1, "everywhere.service", &[1, 2, 3], SOON)
}
