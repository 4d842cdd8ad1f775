//! Machines cut off, and machines whose fleetd says nothing: which copies run, and when.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use super::Settings;
use super::herd::Herd;
use super::report::{Report, span};
use super::witness::{self, Copy};
use crate::cluster::Cluster;
use crate::job::TTL;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

/// How long a returned machine may take to end an old copy whose successor is active: its connection to etcd, its
/// presence, the leader's word.
const END_OF_OLD: Duration = Duration::from_secs(10);

/// A `stop` unit is dead so long after the last answered renewal: TTL + grace - 1 s (design §6).
const DEAD: Duration = Duration::from_secs(TTL.as_secs() + 9);

/// What befalls a machine.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Frozen,
    Killed,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Self::Cut => "cut off",
            Self::Frozen => "fleetd frozen",
            Self::Killed => "fleetd killed for good",
        }
    }

    fn strike(self, cluster: &Cluster, number: usize) -> Result<()> {
        let machine = cluster.machine(number)?;
        match self {
            Self::Cut => machine.cut(),
            Self::Frozen => machine.freeze("fleet.service"),
            Self::Killed => machine.crash_for_good("fleet.service"),
        }
    }

    fn mend(self, cluster: &Cluster, number: usize) -> Result<()> {
        let machine = cluster.machine(number)?;
        match self {
            Self::Cut | Self::Frozen => machine.heal(),
            Self::Killed => machine.revive("fleet.service"),
        }
    }
}

/// One machine of three: its units' copies by the witness, for units that keep running and for those that stop.
pub fn one(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    cluster.wait_for_machines(1, cluster.machines().len())?;
    witness::install(cluster)?;
    cluster.unit_file(1, "keep@.service", &witness::unit(0, "OnDisconnect=keep"))?;
    cluster.unit_file(1, "stop@.service", &witness::unit(0, "OnDisconnect=stop"))?;
    let kinds = match cluster.fleet(1, &["submit", "stop@.service"])? {
        submitted if submitted.success() => ["keep", "stop"].as_slice(),
        refused => {
            report.none(
                "units with OnDisconnect=stop that are not taken",
                &[refused.stderr],
            );
            &["keep"]
        }
    };
    let names: Vec<String> = kinds
        .iter()
        .flat_map(|kind| (1..=3).map(move |n| format!("{kind}@{n}.service")))
        .collect();
    let words: Vec<&str> = std::iter::once("start")
        .chain(names.iter().map(String::as_str))
        .collect();
    cluster.fleet_ok(1, &words)?;
    let faults = match settings.every_kind {
        true => [Fault::Cut, Fault::Frozen, Fault::Killed].as_slice(),
        false => &[Fault::Cut],
    };
    for fault in faults {
        strike_one(cluster, *fault, kinds, &names, &mut report, printer)?;
    }
    Ok(report)
}

fn strike_one(
    cluster: &Cluster,
    fault: Fault,
    kinds: &[&str],
    names: &[String],
    report: &mut Report,
    printer: &Printer,
) -> Result<()> {
    cluster.wait_for_machines(1, cluster.machines().len())?;
    let homes: Vec<(usize, &String)> = names
        .iter()
        .map(|name| Ok((cluster.home(1, name)?, name)))
        .collect::<Result<_>>()?;
    let of = |number: usize, kind: &str| -> Vec<&String> {
        let here = homes
            .iter()
            .filter(|(home, name)| *home == number && name.starts_with(kind));
        here.map(|(_, name)| *name).collect()
    };
    // Machine 1 is the one that is asked.
    let victim = (2..=cluster.machines().len())
        .find(|number| kinds.iter().all(|kind| !of(*number, kind).is_empty()))
        .with_context(|| format!("no machine has a unit of each kind: {homes:?}"))?;
    let moved = [of(victim, "keep"), of(victim, "stop")].concat();
    let struck = witness::now()?;
    printer.step(
        format!(
            "machine {victim}: {}; {} units start elsewhere",
            fault.words(),
            moved.len()
        ),
        |_| {
            fault.strike(cluster, victim)?;
            for unit in &moved {
                wait_until(&format!("{unit} to be active elsewhere"), TTL * 5, || {
                    let on = cluster.active_on(1, unit)?;
                    seen(on.iter().any(|number| *number != victim), || format!("{on:?}"))
                })?;
            }
            // Long enough for two copies to show, if there are two.
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        },
    )?;
    let healed = witness::now()?;
    printer.step(format!("machine {victim} is healed; the old copies end"), |_| {
        fault.mend(cluster, victim)?;
        cluster.wait_for_machines(1, cluster.machines().len())?;
        for unit in &moved {
            wait_until(&format!("one copy of {unit}"), TTL * 4, || {
                let pid = cluster.main_pid(victim, unit)?;
                seen(pid.is_none(), || format!("pid {pid:?} on machine {victim}"))
            })?;
        }
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    let mut found = Report::default();
    for unit in &moved {
        let (old, new) = two(cluster, unit, victim, struck)?;
        let overlap = witness::overlaps(&[old, new]);
        let kind = unit.as_str();
        if kind.starts_with("keep") {
            let first = overlap.first().copied();
            found.holds(
                format!("{kind}: two copies"),
                first.map_or_else(
                    || "never".to_owned(),
                    |(from, to)| {
                        format!(
                            "from {:.1} s to {:.1} s after the fault",
                            from - struck,
                            to - struck
                        )
                    },
                ),
                &format!(
                    "from the fault to healing ({:.1} s) + {}",
                    healed - struck,
                    span(END_OF_OLD)
                ),
                first.is_none_or(|(from, to)| from > struck && to < healed + END_OF_OLD.as_secs_f64()),
            );
            found.fact(
                format!("{kind}: the successor's first sign after the fault"),
                format!("{:.1} s", new.from - struck),
            );
        } else {
            found.none(format!("{kind}: times with two copies"), &overlap);
            found.holds(
                format!("{kind}: the old copy's last sign after the fault"),
                format!("{:.1} s", old.to - struck),
                &format!("{} (TTL + 9 s)", span(DEAD)),
                old.to - struck <= DEAD.as_secs_f64(),
            );
            found.fact(
                format!("{kind}: no copy for"),
                format!("{:.1} s", new.from - old.to),
            );
        }
    }
    report.include(fault.words(), found);
    Ok(())
}

/// The copy that ran when the fault struck, and its successor.
fn two(cluster: &Cluster, unit: &str, victim: usize, struck: f64) -> Result<(Copy, Copy)> {
    let copies = witness::copies(cluster, unit)?;
    let old = copies
        .iter()
        .find(|copy| copy.machine == victim && copy.from < struck && copy.to >= struck - 1.0)
        .with_context(|| format!("{unit}: no copy at the fault among {copies:?}"))?;
    let later: Vec<&Copy> = copies.iter().filter(|copy| copy.from > struck).collect();
    ensure!(
        later.len() == 1,
        "{unit} was started {} times after the fault: {copies:?}",
        later.len()
    );
    Ok((*old, *later[0]))
}

/// Three of five machines cut off together for a little longer than a TTL: nothing may move.
pub fn three_of_five(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let count = cluster.machines().len();
    cluster.wait_for_machines(1, count)?;
    let herd = Herd::start(cluster, settings.herd.min(30))?;
    // Two members of etcd stay together, so that there is a leader that could move something.
    let victims = 3..=count;
    let away = TTL + Duration::from_secs(5);
    printer.step(
        format!("machines {victims:?} are cut off for {} s", away.as_secs()),
        |_| {
            let cut = Instant::now();
            for number in victims.clone() {
                cluster.machine(number)?.cut()?;
            }
            std::thread::sleep(away.saturating_sub(cut.elapsed()));
            let listed = cluster
                .fleet_ok(1, &["list-machines", "--no-legend"])?
                .lines()
                .count();
            report.fact("machines that fleet lists by then", listed.to_string());
            let words = "journalctl --unit=fleet.service --output=cat --quiet --grep='held back' || true";
            let brake = [1, 2].map(|number| cluster.run(number, &["sh", "-c", words]));
            let brake: String = brake.into_iter().collect::<Result<String>>()?;
            report.fact(
                "the leader's log",
                brake.lines().next().unwrap_or("nothing of a brake").to_owned(),
            );
            herd.untouched(cluster, &mut report)?;
            for number in victims.clone() {
                cluster.machine(number)?.heal()?;
            }
            Ok(())
        },
    )?;
    printer.step("they are back, and two TTLs go by", |_| {
        cluster.wait_for_machines(1, count)?;
        std::thread::sleep(TTL * 2);
        let mut after = Report::default();
        herd.untouched(cluster, &mut after)?;
        report.include("after their return", after);
        Ok(())
    })?;
    Ok(report)
}
