//! The Debian package on bare machines: installed, upgraded under units that run, removed, purged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use super::Settings;
use super::forming::{WHOLE, fill, processes, wait_units};
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::job::TTL;
use crate::package::Package;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// From bare machines to bare machines, by apt.
pub fn life(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let package = Package::build(None, printer)?;
    let newer = package.newer(printer)?;
    let all: Vec<usize> = (1..=cluster.machines().len()).collect();

    let before = everything(cluster, 1)?;
    for number in &all {
        let took = install(cluster, *number, &package, printer)?;
        report.fact(format!("installation on machine {number}"), span(took));
        let state = cluster
            .machine(*number)?
            .property("fleet.service", "ActiveState")?;
        report.holds(
            "fleet after the installation",
            &state,
            "inactive",
            state == "inactive",
        );
    }

    let invitation = cluster.init(1)?;
    for number in &all[1..] {
        cluster.join(*number, &invitation, &[])?;
    }
    cluster.wait_formed(&all, all.len().min(3), WHOLE)?;
    let units = fill(cluster, 1)?;
    let running = processes(cluster, &all, &units)?;

    for number in &all {
        let old = cluster.main_pid(*number, "fleet.service")?;
        let took = install(cluster, *number, &newer, printer)?;
        report.fact(format!("upgrade of machine {number}"), span(took));
        wait_until("the new fleetd", SOON, || {
            let new = cluster.main_pid(*number, "fleet.service")?;
            seen(new.is_some() && new != old, || {
                format!("process {new:?}, before {old:?}")
            })
        })?;
        let version = version(cluster, *number)?;
        report.holds(
            format!("machine {number} after the upgrade"),
            &version,
            newer.version(),
            version == newer.version(),
        );
        let stale = cluster.run(
            *number,
            &[
                "sh",
                "-c",
                "readlink /proc/$(systemctl show --value -p MainPID fleet.service)/exe",
            ],
        )?;
        ensure!(
            stale.trim() == "/usr/bin/fleetd",
            "fleetd still runs from {stale:?}"
        );
        cluster.wait_formed(&all, all.len().min(3), WHOLE)?;
    }
    // Longer than a presence lives: had one been lost, its units would have moved by now.
    std::thread::sleep(TTL + Duration::from_secs(3));
    let now = processes(cluster, &all, &units)?;
    let touched: Vec<_> = running
        .iter()
        .filter(|(place, pid)| now.get(place) != Some(pid))
        .collect();
    report.none("main processes changed by the upgrades", &touched);

    removal(cluster, &all, &units, &mut report, settings, printer)?;
    let after = everything(cluster, *all.last().context("no machines")?)?;
    let left: Vec<_> = after
        .lines()
        .filter(|line| !before.contains(&format!("{line}\n")))
        .map(str::to_owned)
        .collect();
    report.none("files left behind by the purge", &left);
    Ok(report)
}

/// The last machine goes: its package is removed while units run on it, then purged.
fn removal(
    cluster: &Cluster,
    all: &[usize],
    units: &[String],
    report: &mut Report,
    settings: &Settings,
    printer: &Printer,
) -> Result<()> {
    let (number, left) = all.split_last().context("no machines")?;
    let here = processes(cluster, &[*number], units)?;
    ensure!(!here.is_empty(), "nothing runs on machine {number}");
    let took = apt(cluster, *number, &["remove", "fleet"], printer)?;
    report.fact(
        format!("removal with {} units on the machine", here.len()),
        span(took),
    );
    let removed = Instant::now();
    cluster.wait_formed(left, left.len().min(3), WHOLE)?;
    wait_units(cluster, 1, units, WHOLE)?;
    report.within(
        "removed -> every unit active elsewhere",
        removed.elapsed(),
        // Well before its presence would have run out: it has left, and was not lost.
        Duration::from_secs(10) * settings.patience,
    );
    let behind: Vec<_> = processes(cluster, &[*number], units)?.into_keys().collect();
    report.none("units that still run on the machine", &behind);
    apt(cluster, *number, &["purge", "fleet"], printer)?;
    Ok(())
}

fn install(cluster: &Cluster, number: usize, package: &Package, printer: &Printer) -> Result<Duration> {
    let path = "/root/fleet.deb";
    let target = cluster.machine(number)?.root().join("root/fleet.deb");
    std::fs::copy(package.path(), &target).with_context(|| format!("cannot copy to {}", target.display()))?;
    apt(cluster, number, &["install", path], printer)
}

fn apt(cluster: &Cluster, number: usize, words: &[&str], printer: &Printer) -> Result<Duration> {
    let started = Instant::now();
    let command = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "--quiet",
        "--yes",
    ];
    printer.step(format!("apt-get {} on machine {number}", words.join(" ")), |_| {
        cluster.run(number, &[&command, words].concat())
    })?;
    Ok(started.elapsed())
}

fn version(cluster: &Cluster, number: usize) -> Result<String> {
    cluster.run(
        number,
        &["dpkg-query", "--show", "--showformat=${Version}", "fleet"],
    )
}

/// Every file on the machine with fleet's name, and what fleet has written about itself.
fn everything(cluster: &Cluster, number: usize) -> Result<String> {
    let script = "find / -xdev -path /var/lib/dpkg -prune -o -path /var/log -prune -o -path /root -prune -o \
        -path /var/cache -prune -o -iname '*fleet*' -print | sort";
    cluster.run(number, &["sh", "-c", script])
}
