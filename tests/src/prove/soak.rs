//! `cargo lab soak`: random changes and faults for a while, from one seed; what is lost, and what grows.
//!
//! A user starts, stops, loads and destroys units on whatever machine answers, and remembers what was acknowledged.
//! Faults come one at a time, so that etcd keeps its majority. At the end every unit has to be as its owner was told it
//! would be, and nothing else may be there. Machine 1's fleetd is never ended, only disturbed: it is the one whose
//! memory and files tell whether they grow.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::herd;
use super::report::Report;
use super::usage;
use crate::cluster::{Cluster, Etcd, Options};
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

/// So many names are used again and again.
const NAMES: usize = 60;

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

/// Numbers from a seed: SplitMix64, as a library would be all that is used of it.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the rest is smaller than `end`")]
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Half of it at least.
    fn up_to(&mut self, longest: Duration) -> Duration {
        longest / 2 + longest.mul_f64(self.below(1000) as f64 / 2000.0)
    }
}

/// What befalls a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Restart,
    Crash,
    CrashForGood,
    Freeze,
    Cut,
    PowerCut,
    EtcdCrash,
    EtcdAway,
    EtcdFreeze,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::Restart,
        Self::Crash,
        Self::CrashForGood,
        Self::Freeze,
        Self::Cut,
        Self::PowerCut,
        Self::EtcdCrash,
        Self::EtcdAway,
        Self::EtcdFreeze,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Restart => "fleetd restarted",
            Self::Crash => "fleetd killed",
            Self::CrashForGood => "fleetd away",
            Self::Freeze => "fleetd frozen",
            Self::Cut => "machine cut off",
            Self::PowerCut => "power cut",
            Self::EtcdCrash => "etcd killed",
            Self::EtcdAway => "etcd away",
            Self::EtcdFreeze => "etcd frozen",
        }
    }

    fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::Restart | Self::Crash | Self::EtcdCrash => 4,
            _ => 30,
        })
    }

    fn ends_fleetd(self) -> bool {
        // A watchdog ends one that is frozen.
        matches!(
            self,
            Self::Restart | Self::Crash | Self::CrashForGood | Self::Freeze | Self::PowerCut
        )
    }

    fn victim(self, cluster: &Cluster, dice: &mut Dice) -> usize {
        let first = if self.ends_fleetd() { 2 } else { 1 };
        first + dice.below(cluster.machines().len() + 1 - first)
    }

    fn strike(self, cluster: &Cluster, number: usize) -> Result<()> {
        let machine = cluster.machine(number)?;
        match self {
            Self::Restart => machine.run(&["systemctl", "restart", "fleet.service"]).map(drop),
            Self::Crash => machine.crash("fleet.service"),
            Self::CrashForGood => machine.crash_for_good("fleet.service"),
            Self::Freeze => machine.freeze("fleet.service"),
            Self::Cut => machine.cut(),
            Self::PowerCut => machine.kill(),
            Self::EtcdCrash => machine.crash("etcd.service"),
            Self::EtcdAway => machine.crash_for_good("etcd.service"),
            Self::EtcdFreeze => machine.freeze("etcd.service"),
        }
    }

    fn mend(self, cluster: &Cluster, number: usize) -> Result<()> {
        let machine = cluster.machine(number)?;
        match self {
            Self::Restart | Self::Crash | Self::EtcdCrash => Ok(()),
            Self::CrashForGood => machine.revive("fleet.service"),
            Self::Freeze | Self::Cut | Self::EtcdFreeze => machine.heal(),
            Self::PowerCut => machine.boot().map(drop),
            Self::EtcdAway => machine.revive("etcd.service"),
        }
    }
}

/// What the owner of a unit was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It runs.
    Launched,
    /// It is there, and does not run.
    Stopped,
    /// It is not there.
    Gone,
    /// Nothing: the request was not answered, or refused.
    Nothing,
}

/// A user, and what was acknowledged.
#[derive(Debug, Default)]
struct Owner {
    units: BTreeMap<String, Told>,
    asked: usize,
    acknowledged: usize,
}

impl Owner {
    /// Changes some unit from some machine.
    fn change(&mut self, cluster: &Cluster, dice: &mut Dice, number: usize) -> Result<()> {
        let unit = format!("herd@{}.service", dice.below(NAMES));
        let known = self.units.get(&unit).copied().unwrap_or(Told::Gone);
        let (verb, told) = match (known, dice.below(4)) {
            (Told::Gone, _) | (_, 0) => ("start", Told::Launched),
            (_, 1) => ("destroy", Told::Gone),
            (_, 2) => ("load", Told::Stopped),
            (_, _) => ("stop", Told::Stopped),
        };
        self.ask(cluster, number, verb, &unit, told)
    }

    fn ask(&mut self, cluster: &Cluster, number: usize, verb: &str, unit: &str, told: Told) -> Result<()> {
        let words: &[&str] = match verb {
            "destroy" => &["destroy", unit],
            _ => &[verb, "--no-block", unit],
        };
        let output = cluster.fleet(number, words)?;
        self.asked += 1;
        self.acknowledged += usize::from(output.success());
        let told = if output.success() { told } else { Told::Nothing };
        self.units.insert(unit.to_owned(), told);
        Ok(())
    }

    /// Asks again where there was no answer: what came of the first request is nobody's promise.
    fn settle(&mut self, cluster: &Cluster) -> Result<()> {
        let open = self.units.iter().filter(|(_, told)| **told == Told::Nothing);
        let open: Vec<String> = open.map(|(unit, _)| unit.clone()).collect();
        for unit in &open {
            cluster.fleet_ok(1, &["start", "--no-block", unit])?;
            self.units.insert(unit.clone(), Told::Launched);
        }
        Ok(())
    }

    /// Units of which the machines show something else than what was acknowledged.
    fn wrong(&self, cluster: &Cluster) -> Result<Vec<String>> {
        let census = herd::census(cluster)?;
        let files = cluster.fleet_ok(1, &["list-unit-files", "--no-legend", "--full", "--fields=unit"])?;
        let there: Vec<&str> = files
            .lines()
            .map(str::trim)
            .filter(|name| name.contains("@") && !name.contains("@."))
            .collect();
        let mut wrong = Vec::new();
        for (unit, told) in &self.units {
            let on: Vec<usize> = census
                .keys()
                .filter(|(_, name)| name == unit)
                .map(|(number, _)| *number)
                .collect();
            let is_there = there.contains(&unit.as_str());
            let right = match told {
                Told::Launched => is_there && on.len() == 1,
                Told::Stopped => is_there && on.is_empty(),
                Told::Gone | Told::Nothing => !is_there && on.is_empty(),
            };
            if !right {
                wrong.push(format!(
                    "{unit}: told {told:?}, in the list {is_there}, runs on {on:?}"
                ));
            }
        }
        let strange = there.iter().filter(|name| !self.units.contains_key(**name));
        wrong.extend(strange.map(|name| format!("{name} was never asked for")));
        Ok(wrong)
    }
}

const HEADER: &str =
    "    TIME  CHANGES  FAULTS  UNITS  FLEETD RESIDENT MiB     OPEN FILES    ETCD IN USE   ON DISK KiB";

/// How large everything is.
struct Size {
    fleetds: Vec<(usize, usage::Usage)>,
    in_use: u64,
    disk: u64,
}

impl Size {
    fn look(cluster: &Cluster) -> Result<Self> {
        let view = cluster.etcd_view(*cluster.members().start())?;
        let fleetds = usage::of_fleetds(cluster);
        ensure!(!fleetds.is_empty(), "no fleetd runs");
        Ok(Self {
            fleetds,
            in_use: view.in_use,
            disk: view.size,
        })
    }

    fn row(&self, at: Duration, owner: &Owner, faults: usize) -> String {
        let resident: Vec<String> = self
            .fleetds
            .iter()
            .map(|(_, usage)| format!("{:6.1}", usage.resident as f64 / 1024.0))
            .collect();
        let files: Vec<String> = self
            .fleetds
            .iter()
            .map(|(_, usage)| format!("{:3}", usage.files))
            .collect();
        let launched = owner
            .units
            .values()
            .filter(|told| **told == Told::Launched)
            .count();
        format!(
            "{:6} s {:8} {faults:7} {launched:6}  {:22}  {:12} {:12} {:12}",
            at.as_secs(),
            owner.asked,
            resident.join(" "),
            files.join(" "),
            self.in_use / 1024,
            self.disk / 1024
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_throws_the_same_dice() {
        let throw = |seed| {
            let mut dice = Dice(seed);
            (0..8).map(|_| dice.below(100)).collect::<Vec<_>>()
        };
        assert_eq!(throw(1), throw(1));
        assert_ne!(throw(1), throw(2));
        let mut dice = Dice(7);
        let span = dice.up_to(Duration::from_secs(10));
        assert!((Duration::from_secs(5)..=Duration::from_secs(10)).contains(&span));
    }
}
