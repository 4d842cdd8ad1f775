//! Where the time of a start goes: each commit as a watch of etcd sees it, systemd's own timestamps, processor time by
//! who took it, calls by fleetd's own count. What is logged is not changed for it, so nothing is slower than usual.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_gettime};

use super::figure::{Table, Unit};
use super::many::{self, by_fleet, by_systemd, on, remove_from_fleet, remove_from_systemd};
use super::scrape::Scrape;
use super::stopwatch::{after, time};
use super::usage::Taken;
use super::{PLAIN, Size};
use crate::cluster::Cluster;
use crate::fleet::Fleet;
use crate::fleetctl::UNITS;
use crate::printer::Printer;
use crate::watch::{Put, Watch};

const MACHINES: usize = 3;
const ROOT: &str = "/_coreos.com/fleet/";

pub(super) fn run(fleet: &Fleet, size: &Size, table: &mut Table, printer: &Printer) -> Result<()> {
    let cluster = many::cluster(fleet, MACHINES, printer)?;
    one(&cluster, size.traces, table, printer)?;
    for &count in &size.many {
        all(&cluster, count, table, printer)?;
    }
    Ok(())
}

/// Starts that many units, one after the other, and looks into each.
fn one(cluster: &Cluster, count: usize, table: &mut Table, printer: &Printer) -> Result<()> {
    let mut traces = Vec::new();
    let watch = Watch::begin(cluster, 1, ROOT)?;
    let (mut before, mut runs) = (Scrape::default(), BTreeMap::new());
    printer.step(format!("look into {count} starts of one unit"), |step| {
        step.parts(count as u64);
        for n in 0..=count {
            if n == 1 {
                before = Scrape::of_fleetds(cluster)?;
            }
            let unit = format!("t{n}.service");
            cluster.unit_file(1, &unit, PLAIN)?;
            let run = time(cluster, 1, &["fleetctl", "start", &format!("{UNITS}/{unit}")])?;
            runs.insert(unit, run);
            step.part();
        }
        Ok(())
    })?;
    let costs = Costs::between(&before, &Scrape::of_fleetds(cluster)?);
    let puts = watch.end(cluster)?;
    runs.remove("t0.service");
    for (unit, run) in &runs {
        let [asked, placed, published] =
            commits(&puts, unit).with_context(|| format!("no trace of {unit}"))?;
        let home = cluster.home(1, unit)?;
        let [begun, active] = by_its_systemd(cluster, home, unit)?;
        traces.push([run.begun, asked, placed, begun, active, published, run.ended]);
    }
    for (place, what) in [
        "fleetctl runs -> asked for in etcd",
        "-> placed by the leader",
        "-> begun by systemd",
        "-> active",
        "-> published in etcd",
        "-> fleetctl has ended",
    ]
    .into_iter()
    .enumerate()
    {
        let spans: Vec<Duration> = traces
            .iter()
            .filter_map(|trace| Some(after(*trace.get(place)?, *trace.get(place + 1)?)))
            .collect();
        table.times(format!("one start: {what}"), &spans, &[])?;
    }
    costs.note("one start", count, table)
}

/// Starts that many units together and looks how far they are when, and who takes how much processor time.
fn all(cluster: &Cluster, count: usize, table: &mut Table, printer: &Printer) -> Result<()> {
    let what = format!("{count} units on {}", on(MACHINES));
    printer.note(&what);
    let before = Taken::look(cluster)?;
    by_systemd(cluster, &format!("td{count}"), count)?;
    let for_systemd = Taken::look(cluster)?.since(before);
    remove_from_systemd(cluster, &format!("td{count}"))?;

    let (before, scrape) = (Taken::look(cluster)?, Scrape::of_fleetds(cluster)?);
    by_fleet(cluster, &format!("tf{count}"), count)?;
    let for_fleet = Taken::look(cluster)?.since(before);
    let costs = Costs::between(&scrape, &Scrape::of_fleetds(cluster)?);
    remove_from_fleet(cluster, &format!("tf{count}"), count)?;

    // Once more, for the watch takes processor time, too.
    let template = format!("tt{count}");
    let watch = Watch::begin(cluster, 1, ROOT)?;
    let run = by_fleet(cluster, &template, count)?;
    let puts = watch.end(cluster)?;
    remove_from_fleet(cluster, &template, count)?;
    let mut commit = [Vec::new(), Vec::new(), Vec::new()];
    for n in 1..=count {
        let found = commits(&puts, &format!("{template}@{n}.service"));
        let found = found.with_context(|| format!("no trace of {template}@{n}"))?;
        commit
            .iter_mut()
            .zip(found)
            .for_each(|(all, one)| all.push(after(run.begun, one)));
    }
    for (all, word) in commit.iter().zip(["asked for", "placed", "published as active"]) {
        table.times(format!("{what}, each after so long: {word}"), all, &[])?;
    }
    table.times(format!("{what}: fleetctl has ended after"), &[run.took()], &[])?;
    for (name, parts) in [("systemctl", for_systemd), ("fleetctl", for_fleet)] {
        for (part, took) in parts {
            let what = format!("{what} by {name}: processor time of {part}");
            table.times(what, &[took], &[])?;
        }
    }
    costs.note(&what, count, table)
}

/// When a unit was asked for, placed and published as active.
fn commits(puts: &[Put], unit: &str) -> Option<[SystemTime; 3]> {
    let first = |is_it: &dyn Fn(&Put) -> bool| puts.iter().find(|put| is_it(put)).map(|put| put.at);
    let (asked, placed) = (format!("{ROOT}units/{unit}"), format!("{ROOT}schedule/{unit}"));
    let state = format!("/state/{unit}");
    Some([
        first(&|put| put.key == asked)?,
        first(&|put| put.key == placed)?,
        first(&|put| put.key.ends_with(&state) && put.value.contains(r#""active":"active""#))?,
    ])
}

/// When systemd looked at a unit's conditions, the first thing of a start, and when it was active.
fn by_its_systemd(cluster: &Cluster, machine: usize, unit: &str) -> Result<[SystemTime; 2]> {
    let moment = |property| {
        let micros: u64 = cluster.machine(machine)?.property(unit, property)?.parse()?;
        ensure!(micros > 0, "{unit} has no {property}");
        let ago = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?)
            .saturating_sub(Duration::from_micros(micros));
        anyhow::Ok(SystemTime::now() - ago)
    };
    Ok([
        moment("ConditionTimestampMonotonic")?,
        moment("ActiveEnterTimestampMonotonic")?,
    ])
}

/// What the fleetds asked of others.
struct Costs {
    systemd: f64,
    etcd: Vec<(&'static str, f64)>,
    plans: Option<f64>,
    passes: Option<f64>,
}

impl Costs {
    fn between(before: &Scrape, after: &Scrape) -> Self {
        let since = |family: &str, labels: &[&str]| after.since(before, family, labels);
        let operation = |kind: &'static str| {
            let label = format!("type=\"{kind}\"");
            (kind, since("fleet_registry_operation_count_total", &[&label]))
        };
        let mean = |family: &str| {
            let count = since(&format!("{family}_count"), &[]);
            (count > 0.0).then(|| since(&format!("{family}_sum"), &[]) / count)
        };
        Self {
            systemd: since("fleet_systemd_calls_total", &[]),
            etcd: ["get", "get_all", "set", "watch"].map(operation).into(),
            plans: mean("fleet_engine_plan_duration_seconds"),
            passes: mean("fleet_engine_reconcile_duration_second"),
        }
    }

    /// By unit, where they are counts.
    fn note(&self, what: &str, units: usize, table: &mut Table) -> Result<()> {
        let units = units as f64;
        table.note(
            format!("{what}: calls over D-Bus, each unit"),
            Unit::Count,
            &[self.systemd / units],
            &[],
        )?;
        for (kind, count) in &self.etcd {
            let each = format!("{what}: requests to etcd, `{kind}`, each unit");
            table.note(each, Unit::Count, &[count / units], &[])?;
        }
        for (mean, name) in [(self.plans, "a plan"), (self.passes, "a pass of the engine")] {
            if let Some(mean) = mean {
                table.note(format!("{what}: {name}, on average"), Unit::Seconds, &[mean], &[])?;
            }
        }
        Ok(())
    }
}
