//! `cargo lab soak`: random changes and faults for a while, from one seed; what is lost, and what grows.
//!
//! A user starts, stops, loads and destroys units on whatever machine answers, and remembers what was acknowledged.
//! Faults come one at a time, so that etcd keeps its majority. At the end every unit has to be as its owner was told it
//! would be, and nothing else may be there. Machine 1's fleetd is never ended, only disturbed: it is the one whose
//! memory and files tell whether they grow.

mod dice;
mod fault;
mod owner;
mod size;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use self::dice::Dice;
use self::fault::Fault;
use self::owner::Owner;
use self::size::{HEADER, Size};
use super::herd;
use super::report::Report;
use crate::cluster::{Cluster, Etcd, Options};
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

/// Rest between two faults, at least.
const REST: Duration = Duration::from_secs(5);

/// What a soak is made of.
#[derive(Debug, Clone)]
pub struct Soak {
    /// How long.
    pub duration: Duration,
    /// Where the random numbers come from.
    pub seed: u64,
    /// Which etcd.
    pub etcd: Etcd,
}

/// Runs it on a cluster of its own.
pub fn run(soak: &Soak, printer: &Printer) -> Result<Report> {
    let fleet = Fleet::build(printer)?;
    let options = Options {
        etcd: soak.etcd,
        ..Options::default()
    };
    let cluster = Cluster::fresh(options, Some(&fleet), printer)?;
    let found = on(&cluster, soak, printer, |row| printer.result(row));
    if !found.as_ref().is_ok_and(Report::is_kept) {
        super::show::keep_journals(&cluster, "soak", printer);
    }
    found
}

/// Runs it on this cluster, and tells every minute how large everything is.
pub fn on(cluster: &Cluster, soak: &Soak, printer: &Printer, tell: impl Fn(&str)) -> Result<Report> {
    cluster.wait_for_machines(1, cluster.machines().len())?;
    for machine in cluster.machines() {
        cluster.unit_file(machine.number(), "herd@.service", herd::UNIT)?;
    }
    let mut dice = Dice(soak.seed);
    let mut owner = Owner::default();
    let mut fault: Option<(Fault, usize, Instant)> = None;
    let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
    // A cluster that has worked a little: what it holds then is what it needs.
    for _ in 0..20 {
        owner.change(cluster, &mut dice, 1)?;
    }
    let begun = Instant::now();
    let first = Size::look(cluster)?;
    tell(&format!(
        "seed {}\n{HEADER}\n{}",
        soak.seed,
        first.row(Duration::ZERO, &owner, 0)
    ));
    let (mut minute, mut rest) = (Duration::from_secs(60), begun + REST);
    let work = printer.step(format!("soak for {} s", soak.duration.as_secs()), |step| {
        while begun.elapsed() < soak.duration {
            step.busy_with(&format!(
                "{} s, {} changes",
                begun.elapsed().as_secs(),
                owner.asked
            ));
            match fault {
                Some((kind, number, until)) if Instant::now() >= until => {
                    kind.mend(cluster, number)?;
                    rest = Instant::now() + REST + dice.up_to(Duration::from_secs(10));
                    fault = None;
                }
                None if Instant::now() >= rest => {
                    let kind = Fault::ALL[dice.below(Fault::ALL.len())];
                    let number = kind.victim(cluster, &mut dice);
                    kind.strike(cluster, number)?;
                    *faults.entry(kind.words()).or_default() += 1;
                    fault = Some((kind, number, Instant::now() + dice.up_to(kind.longest())));
                }
                _ => {}
            }
            let disturbed = fault.map(|(_, number, _)| number);
            let able = (1..=cluster.machines().len()).filter(|number| Some(*number) != disturbed);
            let able: Vec<usize> = able.collect();
            let number = able[dice.below(able.len())];
            owner.change(cluster, &mut dice, number)?;
            if begun.elapsed() >= minute && fault.is_none() {
                tell(&Size::look(cluster)?.row(begun.elapsed(), &owner, faults.values().sum()));
                minute = begun.elapsed() + Duration::from_secs(60);
            }
            std::thread::sleep(dice.up_to(Duration::from_millis(300)));
        }
        if let Some((kind, number, _)) = fault {
            kind.mend(cluster, number)?;
        }
        Ok(())
    });
    work?;
    let mut report = Report::default();
    printer.step("everything is healed; the cluster comes to rest", |_| {
        cluster.wait_for_machines(1, cluster.machines().len())?;
        owner.settle(cluster)?;
        let wrong = wait_until(
            "every unit to be as it was acknowledged",
            Duration::from_secs(120),
            || {
                let wrong = owner.wrong(cluster)?;
                seen(wrong.is_empty(), || format!("{wrong:?}"))
            },
        );
        let wrong = wrong.map_or_else(|error| vec![format!("{error:#}")], |()| Vec::new());
        report.none("units that are not as acknowledged, or that nobody wants", &wrong);
        Ok(())
    })?;
    let last = Size::look(cluster)?;
    tell(&last.row(begun.elapsed(), &owner, faults.values().sum()));
    let shown: Vec<String> = faults
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    report.fact("faults", shown.join(", "));
    report.fact(
        "changes; acknowledged; refused or unanswered",
        format!(
            "{}; {}; {}",
            owner.asked,
            owner.acknowledged,
            owner.asked - owner.acknowledged
        ),
    );
    grown(&first, &last, &mut report);
    Ok(report)
}

/// The fleetd that lived through it all has not grown, nor has etcd what it holds.
fn grown(first: &Size, last: &Size, report: &mut Report) {
    let of_first = |size: &Size| {
        size.fleetds
            .iter()
            .find(|(number, _)| *number == 1)
            .map(|(_, usage)| *usage)
    };
    if let (Some(was), Some(is)) = (of_first(first), of_first(last)) {
        let mib = |kib: u64| kib as f64 / 1024.0;
        report.holds(
            "fleetd of machine 1, never ended: resident",
            format!("{:.1} MiB, at first {:.1}", mib(is.resident), mib(was.resident)),
            "8 MiB more",
            is.resident <= was.resident + 8 * 1024,
        );
        report.holds(
            "fleetd of machine 1: open files",
            format!("{}, at first {}", is.files, was.files),
            "10 more",
            is.files <= was.files + 10,
        );
    }
    let kib = |bytes: u64| bytes / 1024;
    report.fact(
        "etcd's database: in use, on disk (compacted every 5 minutes, never defragmented)",
        format!(
            "{} KiB, {} KiB; at first {} KiB, {} KiB",
            kib(last.in_use),
            kib(last.disk),
            kib(first.in_use),
            kib(first.disk)
        ),
    );
}
