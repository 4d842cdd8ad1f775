//! A fleetd whose configuration changes while it runs, and one that is looked into.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::wait::{Seen, seen, wait_until};

use crate::harness::{Scenario, fresh};

const SOON: Duration = Duration::from_secs(15);
const CONF: &str = "/etc/fleet/fleet.conf";

const ANYWHERE: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const EVERYWHERE: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n";
const IN_A: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=zone=a\n";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let zones = || Options {
        zones: vec!["a".into(), "b".into()],
        ..Options::default()
    };
    vec![
        fresh(
            "reload::another_configuration_moves_what_no_longer_fits_and_touches_nothing_else",
            zones(),
            another_configuration,
        ),
        fresh(
            "reload::a_leader_that_may_lead_no_more_hands_over",
            zones(),
            disabled,
        ),
        fresh(
            "reload::what_fleetd_holds_is_shown_with_etcd_away_too",
            zones(),
            dump,
        ),
    ]
}

/// `systemctl reload`, and what fleetd says of it: `until` is the last it has to say.
fn reload(cluster: &Cluster, number: usize, until: &str) -> Result<String> {
    let machine = cluster.machine(number)?;
    let times = |journal: &str| journal.lines().filter(|line| line.contains(until)).count();
    let before = times(&machine.journal(&["fleet.service"], 1000)?);
    machine.run(&["systemctl", "reload", "fleet.service"])?;
    wait_until(&format!("fleetd to say {until:?}"), SOON, || {
        let journal = machine.journal(&["fleet.service"], 1000)?;
        if times(&journal) > before {
            return Ok(Seen::Yes(journal));
        }
        Ok(Seen::NotYet(
            journal.lines().last().unwrap_or_default().to_owned(),
        ))
    })
}

/// Main processes of fleetd, and of each copy but those of `moved`.
fn processes(cluster: &Cluster, moved: &str) -> Result<Vec<(String, usize, Option<i32>)>> {
    let mut found = Vec::new();
    for number in 1..=3 {
        let fleetd = "fleet.service".to_owned();
        found.push((fleetd, number, cluster.main_pid(number, "fleet.service")?));
    }
    for (unit, rows) in cluster.units(1)?.into_iter().filter(|(unit, _)| unit != moved) {
        for row in rows {
            found.push((unit.clone(), row.machine, cluster.main_pid(row.machine, &unit)?));
        }
    }
    ensure!(
        found.iter().all(|(_, _, pid)| pid.is_some()),
        "not all run: {found:?}"
    );
    Ok(found)
}

/// Machines 1 and 3 are in zone a, machine 2 in zone b.
fn another_configuration(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    for (name, text) in [
        ("in-a.service", IN_A),
        ("everywhere.service", EVERYWHERE),
        ("any1.service", ANYWHERE),
        ("any2.service", ANYWHERE),
        ("any3.service", ANYWHERE),
    ] {
        cluster.unit_file(1, name, text)?;
        cluster.fleet_ok(1, &["start", name])?;
    }
    cluster.wait_active(1, "everywhere.service", &[1, 2, 3], SOON)?;
    let home = cluster.home(1, "in-a.service")?;
    let machine = cluster.machine(home)?;
    let before = processes(cluster, "in-a.service")?;
    ensure!(before.len() == 9, "{before:?}");
    let conf = machine.run(&["cat", CONF])?;

    // One wrong line: nothing of it counts, not even what is right.
    let moved = conf.replace("zone=a", "zone=c");
    ensure!(moved != conf, "no zone in {conf}");
    cluster.write(home, CONF, &format!("{moved}agent_ttl=soon\n"))?;
    let said = reload(cluster, home, "could not reload the configuration")?;
    let line = moved.lines().count() + 1;
    let expected =
        format!("{CONF} line {line}: agent_ttl=soon is not allowed: expected a span from 2s to 1h");
    ensure!(said.contains(&expected), "{expected}\nis not in\n{said}");
    wait_until("systemd to hear that the reload is over", SOON, || {
        let [status, state] = ["StatusText", "ActiveState"].map(|p| machine.property("fleet.service", p));
        let (status, state) = (status?, state?);
        let is_over = state == "active" && status.contains("configuration not reloaded");
        seen(is_over, || format!("{state}: {status}"))
    })?;

    cluster.write(home, CONF, &format!("{moved}agent_ttl=20s\n"))?;
    let said = reload(cluster, home, "told the cluster what this machine says of itself")?;
    for expected in [
        "Reloading configuration",
        "a changed key took effect key=\"metadata\" value=\"zone=c\"",
        "a changed key needs `systemctl restart fleet`, which touches no unit key=\"agent_ttl\" value=\"20s\"",
    ] {
        ensure!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
    ensure!(
        said.matches("joined the cluster").count() == 1,
        "was away:\n{said}"
    );
    cluster.wait_active(1, "in-a.service", &[4 - home], SOON)?;
    let after = processes(cluster, "in-a.service")?;
    ensure!(after == before, "before {before:?}, after {after:?}");
    ensure!(machine.main_pid("in-a.service")?.is_none(), "two copies run");
    let list = cluster.fleet_ok(1, &["list-machines", "--no-legend", "--fields=metadata"])?;
    ensure!(list.lines().nth(home - 1) == Some("zone=c"), "{list}");
    Ok(())
}

fn disabled(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    cluster.unit_file(1, "everywhere.service", EVERYWHERE)?;
    cluster.fleet_ok(1, &["start", "everywhere.service"])?;
    cluster.wait_active(1, "everywhere.service", &[1, 2, 3], SOON)?;
    let before = processes(cluster, "")?;
    let leader = cluster.wait_leader(1)?;
    let conf = cluster.run(leader, &["cat", CONF])?;
    cluster.write(leader, CONF, &format!("{conf}disable_engine=true\n"))?;
    reload(cluster, leader, "resigned as leader")?;
    wait_until("another leader", Duration::from_secs(3), || {
        let next = cluster.fleet_leader(1)?;
        seen(next.is_some_and(|next| next != leader), || format!("{next:?}"))
    })?;
    let after = processes(cluster, "")?;
    ensure!(after == before, "before {before:?}, after {after:?}");
    Ok(())
}

fn dump(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    cluster.unit_file(1, "everywhere.service", EVERYWHERE)?;
    cluster.fleet_ok(1, &["start", "everywhere.service"])?;
    cluster.wait_active(1, "everywhere.service", &[1, 2, 3], SOON)?;
    let before = processes(cluster, "")?;
    let machine = cluster.machine(1)?;
    for is_etcd_away in [false, true] {
        if is_etcd_away {
            cluster
                .machines()
                .iter()
                .try_for_each(|m| m.freeze("etcd.service"))?;
        }
        machine.run(&["systemctl", "kill", "--signal=USR1", "fleet.service"])?;
        let wanted = usize::from(is_etcd_away) + 1;
        let line = wait_until("a line of JSON", SOON, || {
            let journal =
                machine.run(&["journalctl", "--unit=fleet.service", "--output=cat", "--no-pager"])?;
            let line = journal
                .lines()
                .filter(|line| line.starts_with("{\"Agent\""))
                .nth(wanted - 1);
            Ok(line.map_or_else(|| Seen::NotYet("none".into()), |line| Seen::Yes(line.to_owned())))
        });
        // Before anything else can go wrong with it.
        cluster.machines().iter().try_for_each(|m| m.heal())?;
        let held: serde_json::Value = serde_json::from_str(&line?).context("no JSON")?;
        let id = machine.id();
        for (pointer, expected) in [
            ("/Agent/Cache/TargetStates/everywhere.service", "launched"),
            (
                "/UnitStatePublisher/Cache/everywhere.service/ActiveState",
                "active",
            ),
            (
                "/UnitStatePublisher/Cache/everywhere.service/MachineID",
                id.as_str(),
            ),
            ("/UnitStateGenerator/Subscribed/0", "everywhere.service"),
            ("/Machine/Metadata/zone", "a"),
            ("/Configuration/metadata", "zone=a"),
        ] {
            let found = held.pointer(pointer).and_then(|v| v.as_str());
            ensure!(found == Some(expected), "{pointer}: {found:?} in {held}");
        }
        ensure!(
            held.pointer("/Machine/Presence").is_some_and(|p| p.is_i64()),
            "{held}"
        );
    }
    let after = processes(cluster, "")?;
    ensure!(after == before, "before {before:?}, after {after:?}");
    Ok(())
}
