//! fleetd itself: killed in the middle of its work, restarted under requests, hanging.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::time::Instant;

use super::Settings;
use super::herd::{self, Herd};
use super::report::Report;
use crate::cluster::Cluster;
use crate::printer::Printer;
use crate::wait::{Seen, seen, wait_until};

/// Leaves a mark each time it runs.
const ONCE: &str = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %n >> /root/once'\n";

/// All that fleetd promises of itself.
pub fn safety(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    cluster.wait_for_machines(1, cluster.machines().len())?;
    for (round, moment) in settings.moments.iter().enumerate() {
        let found = in_the_middle(cluster, round, *moment, printer)?;
        report.include(&format!("killed {} ms into a start", moment.as_millis()), found);
    }
    api_stays_open(cluster, &mut report, printer)?;
    watchdog(cluster, &mut report, printer)?;
    Ok(report)
}

/// Starts forty services and ten oneshots, and kills two of the three fleetds on the way.
fn in_the_middle(cluster: &Cluster, round: usize, moment: Duration, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let count = cluster.machines().len();
    let asker = round % count + 1;
    cluster.wait_for_machines(asker, count)?;
    cluster.unit_file(asker, "herd@.service", herd::UNIT)?;
    cluster.unit_file(asker, "once@.service", ONCE)?;
    let services: Vec<String> = (1..=40).map(|n| format!("herd@{round}-{n}.service")).collect();
    let oneshots: Vec<String> = (1..=10).map(|n| format!("once@{round}-{n}.service")).collect();
    let words: Vec<&str> = std::iter::once("start")
        .chain(services.iter().chain(&oneshots).map(String::as_str))
        .collect();
    let ended = printer.step(
        format!(
            "fleetds killed {} ms into a start of 50 units, all but machine {asker}'s",
            moment.as_millis()
        ),
        |_| {
            std::thread::scope(|scope| {
                let starting = scope.spawn(|| cluster.fleet(asker, &words));
                std::thread::sleep(moment);
                let killed = cluster
                    .machines()
                    .iter()
                    .filter(|machine| machine.number() != asker)
                    .try_for_each(|machine| machine.crash("fleet.service"));
                let ended = starting.join().map_err(|_| anyhow!("the starter panicked"))??;
                killed.map(|()| ended)
            })
        },
    )?;
    report.holds(
        "fleetctl start of all",
        match ended.success() {
            true => "exit 0".to_owned(),
            false => format!("exit {:?} {}", ended.code, ended.stderr.trim()),
        },
        "exit 0",
        ended.success(),
    );
    let wrong = wait_until("each service on one machine", Duration::from_secs(30), || {
        let wrong = misplaced(cluster, &services)?;
        seen(wrong.is_empty(), || format!("{wrong:?}"))
    });
    let wrong = wrong.map_or_else(|error| vec![format!("{error:#}")], |()| Vec::new());
    report.none("services that do not run exactly once", &wrong);
    let marks = marks(cluster)?;
    let odd: Vec<(&String, usize)> = oneshots
        .iter()
        .map(|unit| (unit, marks.get(unit).copied().unwrap_or_default()))
        .filter(|(_, runs)| *runs != 1)
        .collect();
    report.none("oneshots that did not run exactly once", &odd);
    let destroyed = [&["destroy"], &words[1..]].concat();
    cluster.fleet_ok(asker, &destroyed)?;
    let left = wait_until("nothing to be left", Duration::from_secs(30), || {
        let left = files(cluster)?;
        seen(left.is_empty(), || format!("{left:?}"))
    });
    let left = left.map_or_else(|error| vec![format!("{error:#}")], |()| Vec::new());
    report.none("files left after destroy, half-written ones included", &left);
    Ok(report)
}

fn misplaced(cluster: &Cluster, services: &[String]) -> Result<Vec<(String, usize)>> {
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for (_, unit) in herd::census(cluster)?.into_keys() {
        *copies.entry(unit).or_default() += 1;
    }
    let of = |unit: &String| (unit.clone(), copies.get(unit).copied().unwrap_or_default());
    Ok(services
        .iter()
        .map(of)
        .filter(|(_, copies)| *copies != 1)
        .collect())
}

fn marks(cluster: &Cluster) -> Result<BTreeMap<String, usize>> {
    let mut marks = BTreeMap::new();
    for machine in cluster.machines() {
        for unit in machine.exec(&["cat", "/root/once"])?.stdout.lines() {
            *marks.entry(unit.to_owned()).or_default() += 1;
        }
    }
    Ok(marks)
}

fn files(cluster: &Cluster) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for machine in cluster.machines() {
        let listed = machine.run(&["find", "/run/fleet/units", "/run/fleet/records", "-type", "f"])?;
        files.extend(
            listed
                .lines()
                .map(|file| format!("machine {}: {file}", machine.number())),
        );
    }
    Ok(files)
}

/// Requests come one after the other while fleetd is restarted and crashed: the socket is systemd's and stays open.
fn api_stays_open(cluster: &Cluster, report: &mut Report, printer: &Printer) -> Result<()> {
    const SCRIPT: &str = r#"
        rm -f /tmp/enough /tmp/errors; asked=0; failed=0
        until [ -e /tmp/enough ]; do
            fleetctl list-machines >/dev/null 2>>/tmp/errors || failed=$((failed + 1))
            asked=$((asked + 1))
        done
        echo $asked $failed; cat /tmp/errors
    "#;
    let machine = cluster.machine(2)?;
    let said = printer.step("fleetctl in a loop while fleetd is restarted three times", |_| {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| machine.run(&["sh", "-c", SCRIPT]));
            std::thread::sleep(Duration::from_millis(500));
            let result = (0..3).try_for_each(|_| {
                machine.run(&["systemctl", "restart", "fleet.service"])?;
                std::thread::sleep(Duration::from_millis(500));
                Ok(())
            });
            machine.run(&["touch", "/tmp/enough"])?;
            let said = asking.join().map_err(|_| anyhow!("the asker panicked"))??;
            result.map(|()| said)
        })
    })?;
    let mut lines = said.lines();
    let counts = lines.next().context("the loop said nothing")?;
    let (asked, failed) = counts
        .split_once(' ')
        .with_context(|| format!("the loop said {counts:?}"))?;
    let errors: Vec<&str> = lines.collect();
    report.holds(
        format!("requests that failed over three restarts, of {asked}"),
        format!("{failed} {}", errors.first().copied().unwrap_or_default()),
        "0",
        failed == "0",
    );
    Ok(())
}

/// A fleetd that hangs is killed and started again by systemd.
fn watchdog(cluster: &Cluster, report: &mut Report, printer: &Printer) -> Result<()> {
    let machine = cluster.machine(3)?;
    // Shorter than what is shipped, and together than a TTL: what the bite does is to be seen, not the loss of a machine.
    let script = "d=/run/systemd/system/fleet.service.d; mkdir -p $d; \
                  printf '[Service]\\nWatchdogSec=6\\nTimeoutAbortSec=1\\n' > $d/lab-watchdog.conf; \
                  systemctl daemon-reload; systemctl restart fleet.service";
    machine.run(&["sh", "-ec", script])?;
    cluster.wait_for_machines(1, cluster.machines().len())?;
    let limit = machine.property("fleet.service", "WatchdogUSec")?;
    let herd = Herd::start(cluster, 12)?;
    let before = machine.main_pid("fleet.service")?;
    ensure!(before.is_some(), "fleetd does not run");
    let took = printer.step(format!("fleetd hangs; its watchdog bites after {limit}"), |_| {
        machine.freeze("fleet.service")?;
        let hung = Instant::now();
        wait_until("another fleetd", Duration::from_secs(180), || {
            let now = machine.main_pid("fleet.service")?;
            let active = machine.property("fleet.service", "ActiveState")?;
            Ok(if now.is_some() && now != before && active == "active" {
                Seen::Yes(hung.elapsed())
            } else {
                Seen::NotYet(format!("pid {now:?}, {active}"))
            })
        })
    })?;
    report.fact(
        format!("a fleetd that hangs is replaced (WatchdogSec {limit})"),
        super::report::span(took),
    );
    cluster.wait_for_machines(1, cluster.machines().len())?;
    let mut found = Report::default();
    herd.untouched(cluster, &mut found)?;
    report.include("after the watchdog", found);
    Ok(())
}
