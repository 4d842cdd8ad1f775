//! A machine that comes up with the id of another one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Settings;
use super::herd::Herd;
use super::report::Report;
use crate::cluster::Cluster;
use crate::job::TTL;
use crate::printer::Printer;
use crate::wait::{Seen, wait_until};

/// The last machine of the cluster is booted as a clone of machine 2.
pub fn cloned(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let last = cluster.machines().last().context("no machine")?;
    let original = cluster.machine(2)?;
    ensure!(
        last.number() > 3,
        "the clone has to be a machine without an etcd of its own"
    );
    cluster.wait_for_machines(1, cluster.machines().len())?;
    last.poweroff()?;
    cluster.wait_for_machines(1, cluster.machines().len() - 1)?;
    let herd = Herd::start(cluster, settings.herd.min(20))?;
    ensure!(!herd.on(2).is_empty(), "no unit on the machine that is cloned");
    let refusal = printer.step(
        format!("machine {} boots with the id of machine 2", last.number()),
        |_| {
            std::fs::write(last.root().join("etc/machine-id"), format!("{}\n", original.id()))?;
            last.boot()?;
            let words = [
                "journalctl",
                "--unit=fleet.service",
                "--output=cat",
                "--quiet",
                "--grep=is in use",
            ];
            wait_until("the refusal", TTL * 4, || {
                let lines = last.exec(&words)?.stdout;
                Ok(match lines.lines().next() {
                    Some(line) => Seen::Yes(line.to_owned()),
                    None => Seen::NotYet("nothing in the journal".into()),
                })
            })
        },
    )?;
    let addresses = [original.address().to_string(), last.address().to_string()];
    let names =
        |text: &str| text.contains(&original.id()) && addresses.iter().all(|address| text.contains(address));
    report.holds(
        "the clone's log names the id and both addresses",
        refusal.clone(),
        "all three",
        names(&refusal),
    );
    let asked = cluster.fleet(last.number(), &["list-machines", "--no-legend", "--full"])?;
    let said = asked.stderr.trim().to_owned();
    report.holds(
        "fleetctl list-machines on the clone says so, too",
        said.replace('\n', " | "),
        "the same",
        names(&said),
    );
    printer.step("three TTLs go by", |_| {
        std::thread::sleep(TTL * 3);
        herd.untouched(cluster, &mut report)
    })?;
    let listed = cluster.fleet_ok(
        1,
        &["list-machines", "--no-legend", "--full", "--fields=machine,ip"],
    )?;
    let of_original: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with(&original.id()))
        .collect();
    report.holds(
        "the id belongs to the first machine",
        of_original.join(" | "),
        "its address",
        of_original.len() == 1 && of_original[0].contains(&addresses[0]),
    );
    // Enough for the first machine to get one: its orders are what the clone could take for its own.
    let names = ["1", "2", "3", "4"].map(|n| format!("herd@after-{n}.service"));
    let words: Vec<&str> = std::iter::once("start")
        .chain(names.iter().map(String::as_str))
        .collect();
    let start = cluster.fleet(1, &words)?;
    report.holds(
        "the cluster takes changes meanwhile",
        match start.success() {
            true => "exit 0".to_owned(),
            false => format!("exit {:?} {}", start.code, start.stderr.trim()),
        },
        "exit 0",
        start.success(),
    );
    ensure!(
        cluster
            .units(1)?
            .iter()
            .any(|(unit, rows)| unit.contains("after") && rows.iter().any(|row| row.machine == 2)),
        "no new unit on the machine that is cloned"
    );
    std::thread::sleep(Duration::from_secs(3));
    let listing = "ls /run/fleet/units 2>/dev/null || true";
    let units = cluster.run(last.number(), &["sh", "-c", listing])?;
    report.none("units on the clone", &units.lines().collect::<Vec<_>>());
    Ok(report)
}
