//! Many instances of a template: `fleetctl start`, returns when all are active, against `systemctl start` of as many on
//! the same machines, each its share, all at once.
//!
//! The template lies ready for both: submitted there, in systemd's directory here. No name was known before, so neither
//! needs a `daemon-reload`.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::figure::{Table, Unit, median};
use super::stopwatch::{Run, time, time_together};
use super::{PLAIN, Size};
use crate::cluster::{Cluster, Options};
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

/// To systemd's own time for the same (design §7).
const ALLOWED: f64 = 1.5;

/// Instances that nobody counts, before those that are: one for each machine at least.
const WARM_UP: usize = 5;

pub(super) fn run(fleet: &Fleet, size: &Size, table: &mut Table, printer: &Printer) -> Result<()> {
    for &machines in &size.machines {
        let cluster = cluster(fleet, machines, printer)?;
        systemd_alone(&cluster, "warm-d", WARM_UP)?;
        fleet_alone(&cluster, "warm-f", WARM_UP)?;
        for &count in &size.many {
            let what = format!(
                "start {count} units on {machines} machines, {} times each",
                size.rounds
            );
            let (mut systemd, mut fleet) = (Vec::new(), Vec::new());
            printer.step(what, |step| {
                step.parts(size.rounds as u64);
                for round in 1..=size.rounds {
                    systemd.push(systemd_alone(&cluster, &format!("d{count}-{round}"), count)?);
                    fleet.push(fleet_alone(&cluster, &format!("f{count}-{round}"), count)?);
                    step.part();
                }
                Ok(())
            })?;
            let what = format!("{count} units on {}", on(machines));
            table.times(format!("{what}: `systemctl start`, the floor"), &systemd, &[])?;
            table.times(format!("{what}: `fleetctl start`"), &fleet, &[])?;
            let pairs = fleet.iter().zip(&systemd);
            let ratios: Vec<f64> = pairs.map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
            table.note(
                format!("{what}: to the floor"),
                Unit::Times,
                &ratios,
                &[median(ALLOWED)],
            )?;
        }
    }
    Ok(())
}

fn systemd_alone(cluster: &Cluster, template: &str, count: usize) -> Result<Duration> {
    let run = by_systemd(cluster, template, count)?;
    remove_from_systemd(cluster, template)?;
    Ok(run.took())
}

fn fleet_alone(cluster: &Cluster, template: &str, count: usize) -> Result<Duration> {
    let run = by_fleet(cluster, template, count)?;
    remove_from_fleet(cluster, template, count)?;
    Ok(run.took())
}

/// A cluster of so many machines, all of them there.
pub(super) fn cluster(fleet: &Fleet, machines: usize, printer: &Printer) -> Result<Cluster> {
    let options = Options {
        machines,
        ..Options::default()
    };
    let cluster = Cluster::fresh(options, Some(fleet), printer)?;
    cluster.wait_for_machines(1, machines)?;
    Ok(cluster)
}

pub(super) fn on(machines: usize) -> String {
    match machines {
        1 => "1 machine".to_owned(),
        many => format!("{many} machines"),
    }
}

/// Has systemd start instances of a new template, each machine its share.
pub(super) fn by_systemd(cluster: &Cluster, template: &str, count: usize) -> Result<Run> {
    let machines = cluster.machines().len();
    let names = names(template, count);
    let mut commands = Vec::new();
    for number in 1..=machines {
        cluster.write(number, &in_systemd(template), PLAIN)?;
        let share = names
            .iter()
            .skip(number - 1)
            .step_by(machines)
            .map(String::as_str);
        commands.push((number, ["systemctl", "start"].into_iter().chain(share).collect()));
    }
    let run = time_together(cluster, &commands)?;
    ensure_active(cluster, template, count)?;
    Ok(run)
}

/// Takes them away again.
pub(super) fn remove_from_systemd(cluster: &Cluster, template: &str) -> Result<()> {
    for machine in cluster.machines() {
        machine.run(&["systemctl", "stop", &format!("{template}@*")])?;
        machine.run(&["rm", &in_systemd(template)])?;
    }
    wait_gone(cluster, template)
}

fn in_systemd(template: &str) -> String {
    format!("/run/systemd/system/{template}@.service")
}

/// Has fleet start instances of a new template.
pub(super) fn by_fleet(cluster: &Cluster, template: &str, count: usize) -> Result<Run> {
    let file = format!("{template}@.service");
    cluster.unit_file(1, &file, PLAIN)?;
    cluster.fleet_ok(1, &["submit", &file])?;
    let names = names(template, count);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = time(cluster, 1, &[&["fleetctl", "start"], all.as_slice()].concat())?;
    ensure_active(cluster, template, count)?;
    Ok(run)
}

/// Takes them away again.
pub(super) fn remove_from_fleet(cluster: &Cluster, template: &str, count: usize) -> Result<()> {
    let mut names = names(template, count);
    names.push(format!("{template}@.service"));
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.fleet_ok(1, &[&["destroy"], all.as_slice()].concat())?;
    wait_gone(cluster, template)
}

fn names(template: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{template}@{n}.service")).collect()
}

/// Whoever started them, systemd has the last word.
fn ensure_active(cluster: &Cluster, template: &str, count: usize) -> Result<()> {
    let active = listed(cluster, template, &["--state=active"])?;
    ensure!(
        active == count,
        "{active} of {count} units of {template}@ are active"
    );
    Ok(())
}

fn wait_gone(cluster: &Cluster, template: &str) -> Result<()> {
    wait_until(
        &format!("{template}@ to be gone"),
        Duration::from_secs(60),
        || {
            let left = listed(cluster, template, &["--all"])?;
            seen(left == 0, || format!("{left} units"))
        },
    )
}

/// How many instances systemd lists, on all machines together.
fn listed(cluster: &Cluster, template: &str, options: &[&str]) -> Result<usize> {
    let pattern = format!("{template}@*");
    let mut count = 0;
    for machine in cluster.machines() {
        let words = ["systemctl", "list-units", "--no-legend", "--plain"];
        let list = machine.run(&[&words, options, &[&pattern]].concat())?;
        count += list.lines().count();
    }
    Ok(count)
}
