//! `cargo lab bench`: how long a user waits, against the floor that the machine itself sets, in one run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Options};
use crate::fleet::Fleet;
use crate::job::{self, Rescue, Runtime};
use crate::printer::Printer;

/// Starts that are timed, after one that is not.
const STARTS: usize = 20;

const PLAIN: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// `fleetctl start` of one new unit, against `systemctl start`.
    Start,
    /// From the loss of a machine to its unit's answer from another, without and with etcd's leader on it.
    Rescue,
}

/// Runs the benchmarks asked for, or all.
pub fn run(what: &[What], printer: &Printer) -> Result<()> {
    let wanted = |one| what.is_empty() || what.contains(&one);
    let fleet = Fleet::build(printer)?;
    if wanted(What::Start) {
        start(&fleet, printer)?;
    }
    if wanted(What::Rescue) {
        rescue(&fleet, printer)?;
    }
    Ok(())
}

fn start(fleet: &Fleet, printer: &Printer) -> Result<()> {
    let cluster = Cluster::fresh(Options::default(), Some(fleet), printer)?;
    cluster.wait_for_machines(1, 3)?;
    let by_systemd = printer.step(format!("systemctl start, {STARTS} times, on machine 1"), |_| {
        times(&cluster, "d", |name| {
            cluster.write(1, &format!("/run/systemd/system/{name}"), PLAIN)?;
            Ok(vec!["systemctl".to_owned(), "start".to_owned(), name.to_owned()])
        })
    })?;
    let by_fleet = printer.step(format!("fleetctl start, {STARTS} times, on 3 machines"), |_| {
        times(&cluster, "f", |name| {
            cluster.unit_file(1, name, PLAIN)?;
            Ok(vec![
                "fleetctl".to_owned(),
                "start".to_owned(),
                format!("{}/{name}", crate::fleetctl::UNITS),
            ])
        })
    })?;
    printer.result(&format!(
        "start of one new unit     median    worst   ({STARTS} of each)"
    ));
    printer.result(&format!("  systemctl start      {}", row(&by_systemd)));
    printer.result(&format!(
        "  fleetctl start       {}   allowed: 100 ms median, 250 ms worst",
        row(&by_fleet)
    ));
    Ok(())
}

/// Times the command for each of some units, in the machine itself: entering it from the host is not part of it.
fn times(
    cluster: &Cluster,
    prefix: &str,
    command: impl Fn(&str) -> Result<Vec<String>>,
) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..=STARTS {
        let name = format!("{prefix}{n}.service");
        let words = command(&name)?;
        let script =
            "begin=$(date +%s%N); \"$@\" >/dev/null || exit; end=$(date +%s%N); echo $((end - begin))";
        let mut line = vec!["sh", "-c", script, "sh"];
        line.extend(words.iter().map(String::as_str));
        let nanos: u64 = cluster
            .run(1, &line)?
            .trim()
            .parse()
            .context("no time was printed")?;
        times.push(Duration::from_nanos(nanos));
    }
    times.remove(0);
    times.sort_unstable();
    Ok(times)
}

fn row(sorted: &[Duration]) -> String {
    let millis = |d: Option<&Duration>| d.map_or(0.0, |d| d.as_secs_f64() * 1000.0);
    format!(
        "{:6.1} ms {:6.1} ms",
        millis(sorted.get(sorted.len() / 2)),
        millis(sorted.last())
    )
}

fn rescue(fleet: &Fleet, printer: &Printer) -> Result<()> {
    let mut rescues: Vec<Rescue> = Vec::new();
    for leader_too in [false, true] {
        let options = Options {
            images: true,
            ..Options::default()
        };
        let cluster = Cluster::fresh(options, Some(fleet), printer)?;
        cluster.wait_for_machines(1, 3)?;
        let homes = job::start(&cluster, Runtime::Docker, printer)?;
        // etcd leads where it likes; it is moved to where the case wants it.
        let seat = if leader_too { homes.first } else { homes.second };
        cluster.move_etcd_leader(seat)?;
        rescues.push(job::lose(&cluster, Runtime::Docker, homes, printer)?);
    }
    printer.result("machine killed -> its unit answers from another machine");
    for rescue in &rescues {
        let which = if rescue.held_etcd_leader {
            "held etcd's leader  "
        } else {
            "without etcd's leader"
        };
        let (took, allowed) = (rescue.took.as_secs_f64(), rescue.allowed().as_secs());
        printer.result(&format!("  {which:22} {took:5.1} s   allowed: {allowed} s"));
    }
    ensure!(
        rescues.iter().map(|r| r.held_etcd_leader).eq([false, true]),
        "etcd's leader moved by itself in between: run it again"
    );
    Ok(())
}
