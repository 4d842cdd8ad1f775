//! Units that crash all the time: what they cost, and whether a start gets through.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use super::Settings;
use super::report::{Report, span};
use super::usage::{self, Usage};
use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

/// What etcd may have to write for each unit that flaps, at the utmost: one state a second.
const WRITES: f64 = 1.0;

/// Ordinary units that are started meanwhile, each by systemd and by fleet.
const STARTS: usize = 3;

/// They crash while there is this file.
const FLAG: &str = "/run/flap";

const FLAPS: [[&str; 3]; 4] = [
    ["Unit", "StartLimitIntervalSec", "0"],
    [
        "Service",
        "ExecStart",
        "/bin/sh -c '[ -e /run/flap ] || exec sleep infinity; exit 1'",
    ],
    ["Service", "Restart", "always"],
    ["Service", "RestartSec", "100ms"],
];

/// Lets them flap and looks at everybody meanwhile.
pub fn flapping(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let units = settings.flapping;
    cluster.wait_for_machines(1, cluster.machines().len())?;
    printer.step(format!("start {units} units"), |step| {
        step.parts(units as u64);
        for number in 1..=units {
            let unit = format!("flap-{number}.service");
            let (status, answer) = cluster.api_put(1, &unit, "launched", &FLAPS)?;
            ensure!(status == 201, "{unit}: {status} {answer}");
            step.part();
        }
        let quiet = settings.flaps_for + Duration::from_secs(120);
        wait_until("all of them to be active", quiet, || {
            let listed = cluster.fleet_ok(1, &["list-units", "--no-legend", "--fields=unit,active"])?;
            let is_active = |line: &&str| line.split_whitespace().nth(1) == Some("active");
            let active = listed.lines().filter(is_active).count();
            seen(active == units, || format!("{active} of {units} are"))
        })
    })?;
    printer.step("they begin to crash every 100 ms", |_| {
        for machine in cluster.machines() {
            cluster.write(machine.number(), FLAG, "")?;
        }
        // Not by systemd: it has its hands full from the first machine on.
        for machine in cluster.machines() {
            machine.run(&["pkill", "-x", "sleep"])?;
        }
        // Those that flap are heard less and less often: what counts is how it is then.
        std::thread::sleep(settings.flaps_for / 2);
        Ok(())
    })?;
    let leader = cluster.wait_leader(1)?;
    let member = *cluster.members().start();
    let look = || -> Result<Look> {
        Ok(Look {
            at: Instant::now(),
            revision: cluster.etcd_view(member)?.revision,
            fleetds: usage::of_fleetds(cluster),
            inits: cluster.machines().iter().map(init).collect::<Result<_>>()?,
        })
    };
    let (before, after) = printer.step(
        format!("they flap for {} s", settings.flaps_for.as_secs()),
        |_| {
            let before = look()?;
            std::thread::sleep(settings.flaps_for);
            Ok((before, look()?))
        },
    )?;
    let while_ = after.at - before.at;
    let writes = (after.revision - before.revision) as f64 / while_.as_secs_f64();
    report.holds(
        format!("etcd writes a second, {units} units that flap"),
        format!("{writes:.1}"),
        &format!("{:.0}, one a second for each", WRITES * units as f64),
        writes <= WRITES * units as f64,
    );
    for ((number, was), (_, is)) in before.fleetds.iter().zip(&after.fleetds) {
        let role = if *number == leader {
            "leader and agent"
        } else {
            "agent"
        };
        report.fact(
            format!("fleetd of machine {number}, {role}: of one core; resident"),
            format!(
                "{:.1} %; {:.1} MiB",
                usage::percent(*was, *is, while_),
                is.resident as f64 / 1024.0
            ),
        );
    }
    for ((machine, was), is) in cluster.machines().iter().zip(&before.inits).zip(&after.inits) {
        report.fact(
            format!("systemd of machine {}: of one core", machine.number()),
            format!("{:.1} %", usage::percent(*was, *is, while_)),
        );
    }
    starts(cluster, &mut report, printer)?;
    let rates = printer.step("how often they crash", |_| restarts(cluster))?;
    ensure!(rates.iter().all(|rate| *rate > 0.0), "none crashed: {rates:?}");
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    report.fact(
        "crashes a second that this host manages (asked for: 10 for each unit)",
        format!("{mean:.2} for each, {:.0} in all", mean * units as f64),
    );
    Ok(report)
}

/// Starts of ordinary units meanwhile, by systemd alone and by fleet: systemd itself is what is busy.
fn starts(cluster: &Cluster, report: &mut Report, printer: &Printer) -> Result<()> {
    let timed = |words: &[&str]| -> Result<(Duration, bool)> {
        let begun = Instant::now();
        let output = cluster.exec(1, words)?;
        Ok((begun.elapsed(), output.success()))
    };
    let (mut by_systemd, mut by_fleet, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    printer.step(
        "starts of ordinary units meanwhile, by systemd and by fleet",
        |_| {
            for number in 1..=STARTS {
                let plain = format!("plain-{number}.service");
                cluster.write(1, &format!("/run/systemd/system/{plain}"), super::herd::UNIT)?;
                by_systemd.push(timed(&["systemctl", "start", &plain])?.0);
                let ordinary = format!("ordinary-{number}.service");
                cluster.unit_file(1, &ordinary, super::herd::UNIT)?;
                let file = format!("{}/{ordinary}", crate::fleetctl::UNITS);
                let (took, started) = timed(&["fleetctl", "start", &file])?;
                by_fleet.push(took);
                if !started {
                    failed.push(ordinary);
                }
            }
            Ok(())
        },
    )?;
    report.none(
        format!("fleetctl start of ordinary units that failed, of {STARTS}"),
        &failed,
    );
    for (who, mut times) in [("fleetctl start", by_fleet), ("systemctl start", by_systemd)] {
        times.sort_unstable();
        let worst = times.last().context("no start")?;
        report.fact(
            format!("{who}, median and worst of {STARTS}"),
            format!("{}, {}", span(times[times.len() / 2]), span(*worst)),
        );
    }
    Ok(())
}

struct Look {
    at: Instant,
    revision: u64,
    fleetds: Vec<(usize, Usage)>,
    inits: Vec<Usage>,
}

fn init(machine: &Machine) -> Result<Usage> {
    usage::of(machine.leader().context("a machine is off")?)
}

/// Crashes a second of one unit of each machine: to look at all would be work that counts.
fn restarts(cluster: &Cluster) -> Result<Vec<f64>> {
    let one = |machine: &Machine| -> Result<f64> {
        let files = machine.run(&["ls", "/run/fleet/units"])?;
        let unit = files.lines().find(|name| name.starts_with("flap-"));
        let unit = unit.with_context(|| format!("no unit flaps on machine {}", machine.number()))?;
        let count = || -> Result<(u64, Instant)> {
            let count = machine.property(unit, "NRestarts")?;
            Ok((count.parse().context("an odd NRestarts")?, Instant::now()))
        };
        let (first, begun) = count()?;
        std::thread::sleep(Duration::from_secs(10));
        let (second, ended) = count()?;
        Ok(second.saturating_sub(first) as f64 / (ended - begun).as_secs_f64())
    };
    cluster.machines().iter().map(one).collect()
}
