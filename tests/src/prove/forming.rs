//! From bare machines to a cluster: by hand, by CoreOS' file, and back; and whether it comes back by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use super::Settings;
use super::readdressed::readdressed;
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::forming::{CloudConfig, Invitation};
use crate::machine::Machine;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

/// A cluster that has all it needs is whole within this time.
pub const WHOLE: Duration = Duration::from_secs(60);

const SERVICE: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// Bare machines by hand and back, then the same ones by CoreOS' file.
pub fn all(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    report.include("by hand", by_hand(cluster, settings, printer)?);
    let all: Vec<usize> = numbers(cluster);
    printer.step("hand all machines out anew", |_| cluster.renew(&all))?;
    report.include("by file", by_file(cluster, settings, printer)?);
    Ok(report)
}

/// `init` and four `join`s, the loss of power on each machine, and `leave` of a gateway and of a member of etcd.
pub fn by_hand(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let started = Instant::now();
    let invitation = printer.step("fleetctl init on machine 1", |_| cluster.init(1))?;
    for number in [2, 3] {
        join(cluster, number, &invitation, printer)?;
    }
    let typed = started.elapsed();
    cluster.wait_formed(&[1, 2, 3], 3, WHOLE)?;
    report.within(
        "three booted machines -> the last command returns",
        typed,
        Duration::from_secs(60) * settings.patience,
    );
    for number in [4, 5] {
        let took = join(cluster, number, &invitation, printer)?;
        report.fact(format!("join of machine {number}, a gateway to etcd"), span(took));
    }
    cluster.wait_formed(&[1, 2, 3, 4, 5], 3, WHOLE)?;

    report.include("reboot", reboots(cluster, 3, settings, printer)?);

    let mut left = numbers(cluster);
    for (number, members) in [(5, 3), (2, 2)] {
        left.retain(|other| *other != number);
        report.include(
            &format!("leave of machine {number}"),
            leave(cluster, number, &left, members, printer)?,
        );
    }
    // And in again: nothing of the first time is in the way.
    for (number, machines) in [(2, vec![1, 2, 3, 4]), (5, numbers(cluster))] {
        join(cluster, number, &invitation, printer)?;
        cluster.wait_formed(&machines, 3, WHOLE)?;
    }
    report.holds("joined again after leaving", "2 machines", "2 machines", true);
    // Last: the lab knows machines by the address they began with.
    report.include("another address", readdressed(cluster, 3, &invitation, printer)?);
    Ok(report)
}

/// Three machines with the same cloud-config at the same time, a fourth that joins them later, a fifth with `proxy: on`.
pub fn by_file(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let file = |machines: &[usize], existing, proxy, role| {
        let config = CloudConfig {
            cluster: machines,
            existing,
            proxy,
            role,
        };
        config.text(cluster)
    };
    let founders = [1, 2, 3];
    let text = file(&founders, false, false, "web");
    let started = Instant::now();
    printer.step("fleetd bootstrap on machines 1, 2 and 3, with one file", |_| {
        cluster.bootstrap_all(&founders.map(|number| (number, text.clone())))
    })?;
    let took = started.elapsed();
    cluster.wait_formed(&founders, 3, WHOLE)?;
    report.within(
        "one file on three machines -> the last command returns",
        took,
        Duration::from_secs(60) * settings.patience,
    );

    let processes = |number: usize| -> Result<_> {
        let pid = |unit| cluster.main_pid(number, unit);
        Ok([pid("etcd.service")?, pid("fleet.service")?])
    };
    let before = processes(1)?;
    cluster.bootstrap(1, &text)?;
    let same = processes(1)? == before && before.iter().all(Option::is_some);
    report.holds(
        "the same file once more",
        if same { "nothing restarted" } else { "restarted" },
        "nothing restarted",
        same,
    );

    printer.step("a fourth machine joins, as a member of etcd", |_| {
        cluster.bootstrap(4, &file(&[1, 2, 3, 4], true, false, "db"))?;
        cluster.wait_formed(&[1, 2, 3, 4], 4, WHOLE)
    })?;
    printer.step("a fifth machine joins, with proxy: on", |_| {
        cluster.bootstrap(5, &file(&founders, false, true, "web"))?;
        cluster.wait_formed(&numbers(cluster), 4, WHOLE)
    })?;
    for (unit, role, homes) in [
        ("onweb.service", "web", vec![1, 2, 3, 5]),
        ("ondb.service", "db", vec![4]),
    ] {
        cluster.unit_file(
            5,
            unit,
            &format!("{SERVICE}[X-Fleet]\nMachineMetadata=role={role}\n"),
        )?;
        cluster.fleet_ok(5, &["start", unit])?;
        let home = cluster.home(5, unit)?;
        report.holds(
            format!("a unit for role={role}"),
            format!("machine {home}"),
            &format!("one of {homes:?}"),
            homes.contains(&home),
        );
    }
    if settings.every_kind {
        report.include("reboot", reboots(cluster, 4, settings, printer)?);
    }
    Ok(report)
}

fn numbers(cluster: &Cluster) -> Vec<usize> {
    cluster.machines().iter().map(Machine::number).collect()
}

fn join(cluster: &Cluster, number: usize, invitation: &Invitation, printer: &Printer) -> Result<Duration> {
    let started = Instant::now();
    printer.step(format!("fleetctl join on machine {number}"), |_| {
        cluster.join(number, invitation, &[])
    })?;
    Ok(started.elapsed())
}

/// Shuts every machine down and boots it, then cuts its power and boots it, then all of them at once: each time the
/// cluster is whole again without a word, and every unit active.
pub fn reboots(cluster: &Cluster, members: usize, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let all = numbers(cluster);
    let units = fill(cluster, 1)?;
    let allowed = WHOLE * settings.patience;
    for number in &all {
        for how in ["shut down", "power cut"] {
            let machine = cluster.machine(*number)?;
            let took = printer.step(format!("machine {number}: {how}, then booted"), |_| {
                match how {
                    "shut down" => machine.poweroff()?,
                    _ => machine.kill()?,
                }
                let started = Instant::now();
                machine.power_on()?.wait_shell()?;
                cluster.wait_formed(&all, members, allowed)?;
                wait_units(cluster, *number, &units, allowed)?;
                Ok(started.elapsed())
            })?;
            report.within(
                format!("machine {number}, {how}: power on -> whole"),
                took,
                allowed,
            );
        }
    }
    let took = printer.step("every machine: power cut, then booted", |_| {
        cluster.blackout()?;
        let started = Instant::now();
        cluster.boot_all()?;
        cluster.wait_formed(&all, members, allowed)?;
        wait_units(cluster, 1, &units, allowed)?;
        Ok(started.elapsed())
    })?;
    report.within("all at once, power cut: power on -> whole", took, allowed);
    destroy(cluster, 1, &units)?;
    Ok(report)
}

/// Six units for any machine and one for every machine.
pub(super) fn fill(cluster: &Cluster, number: usize) -> Result<Vec<String>> {
    let mut units: Vec<String> = (1..=6).map(|n| format!("keep@{n}.service")).collect();
    cluster.unit_file(number, "keep@.service", SERVICE)?;
    cluster.unit_file(number, EVERYWHERE, &format!("{SERVICE}[X-Fleet]\nGlobal=true\n"))?;
    units.push(EVERYWHERE.to_owned());
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    cluster.fleet_ok(number, &[&["start"], names.as_slice()].concat())?;
    wait_units(cluster, number, &units, WHOLE)?;
    Ok(units)
}

const EVERYWHERE: &str = "everywhere.service";

pub(super) fn destroy(cluster: &Cluster, number: usize, units: &[String]) -> Result<()> {
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    let words = [&["destroy"], names.as_slice()].concat();
    cluster.fleet_ok(number, &words).map(drop)
}

/// Waits until each unit is active on one machine, and the Global one on every machine that is listed.
pub(super) fn wait_units(
    cluster: &Cluster,
    number: usize,
    units: &[String],
    deadline: Duration,
) -> Result<()> {
    wait_until("every unit to be active", deadline, || {
        let list = cluster.fleet_ok(number, &["list-machines", "--no-legend", "--fields=machine"])?;
        let rows = cluster.units(number)?;
        let missing: Vec<&String> = units
            .iter()
            .filter(|unit| {
                let rows = rows.get(*unit).map_or(&[][..], Vec::as_slice);
                let wanted = if *unit == EVERYWHERE {
                    list.lines().count()
                } else {
                    1
                };
                rows.len() != wanted || rows.iter().any(|row| row.active != "active")
            })
            .collect();
        seen(missing.is_empty(), || format!("not active: {missing:?}"))
    })
}

/// Where each unit runs and as which process, by systemd on the machines themselves.
pub(super) fn processes(
    cluster: &Cluster,
    numbers: &[usize],
    units: &[String],
) -> Result<BTreeMap<(String, usize), i32>> {
    let mut found = BTreeMap::new();
    for number in numbers {
        for unit in units {
            if let Some(pid) = cluster.main_pid(*number, unit)? {
                found.insert((unit.clone(), *number), pid);
            }
        }
    }
    Ok(found)
}

/// A machine leaves while units run on it and while the others are asked for changes all the time.
fn leave(
    cluster: &Cluster,
    number: usize,
    left: &[usize],
    members: usize,
    printer: &Printer,
) -> Result<Report> {
    let mut report = Report::default();
    let asker = *left.first().context("nobody is left")?;
    let mut units = fill(cluster, asker)?;
    // At least one that runs there and may run elsewhere.
    let address = cluster.machine(number)?.id();
    let on_it = processes(cluster, &[number], &units)?;
    ensure!(!on_it.is_empty(), "nothing runs on machine {number} ({address})");
    let before = processes(cluster, left, &units)?;
    let ended = AtomicBool::new(false);
    let (took, refused) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| changes(cluster, asker, &ended));
        let started = Instant::now();
        let done = printer.step(
            format!(
                "fleetctl leave on machine {number}, on which {} units run",
                on_it.len()
            ),
            |_| cluster.leave(number),
        );
        let took = started.elapsed();
        ended.store(true, Ordering::Relaxed);
        let refused = asking.join().unwrap_or_default();
        done.map(|()| (took, refused))
    })?;
    cluster.wait_formed(left, members, WHOLE)?;
    wait_units(cluster, asker, &units, WHOLE)?;
    report.fact("the command took", span(took));
    report.none(
        "changes refused meanwhile, asked for on another machine",
        &refused,
    );
    let after = processes(cluster, left, &units)?;
    let touched: Vec<_> = before
        .iter()
        .filter(|(place, pid)| after.get(place) != Some(pid))
        .map(|((unit, number), _)| format!("{unit} on {number}"))
        .collect();
    report.none("units touched on the other machines", &touched);
    let behind: Vec<_> = processes(cluster, &[number], &units)?.into_keys().collect();
    report.none("units that still run on the machine that left", &behind);
    for other in left {
        let unit = format!("after{other}.service");
        cluster.unit_file(*other, &unit, SERVICE)?;
        cluster.fleet_ok(*other, &["start", &unit])?;
        units.push(unit);
    }
    destroy(cluster, asker, &units)?;
    Ok(report)
}

/// Starts and destroys units until told to stop; what was refused.
fn changes(cluster: &Cluster, number: usize, ended: &AtomicBool) -> Vec<String> {
    let mut refused = Vec::new();
    for round in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let unit = format!("change{round}.service");
        let done = cluster.unit_file(number, &unit, SERVICE).and_then(|()| {
            cluster.fleet_ok(number, &["start", "--no-block", &unit])?;
            cluster.fleet_ok(number, &["destroy", &unit])
        });
        if let Err(error) = done {
            refused.push(format!("{error:#}"));
        }
    }
    refused
}
