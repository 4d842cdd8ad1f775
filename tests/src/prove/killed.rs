//! The commands that make a cluster, killed in the middle or with their machine, and run again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use super::Settings;
use super::forming::WHOLE;
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::forming::{CloudConfig, Cut};
use crate::printer::Printer;

/// What is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Init,
    Member,
    Gateway,
    Bootstrap,
    Leave,
}

impl Command {
    const ALL: [Self; 5] = [
        Self::Init,
        Self::Member,
        Self::Gateway,
        Self::Bootstrap,
        Self::Leave,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Member => "join of etcd's second member",
            Self::Gateway => "join of a gateway",
            Self::Bootstrap => "bootstrap of one of three",
            Self::Leave => "leave of etcd's second member",
        }
    }

    /// The machines that take part; the last one is the one it happens to.
    fn machines(self) -> &'static [usize] {
        match self {
            Self::Init => &[1],
            Self::Member | Self::Gateway | Self::Leave => &[1, 2],
            Self::Bootstrap => &[1, 2, 3],
        }
    }

    /// Members of etcd in the end.
    fn members(self) -> usize {
        match self {
            Self::Init | Self::Gateway | Self::Leave => 1,
            Self::Member => 2,
            Self::Bootstrap => 3,
        }
    }
}

/// Cuts each command off at moments spread over the time that it takes, by SIGKILL and by a power cut, each time on
/// bare machines; the same command once more has to end in a good cluster.
pub fn killed(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    for command in Command::ALL {
        let name = command.name();
        let whole = printer.step(format!("{name}, in peace"), |_| {
            attempt(cluster, command, None).map(|(first, _)| first)
        })?;
        report.fact(format!("{name}, in peace"), span(whole));
        for cut in [Cut::Kill, Cut::Power] {
            let mut bad = Vec::new();
            let mut slowest = Duration::ZERO;
            printer.step(format!("{name}, {cut} at {} moments", settings.cuts), |step| {
                step.parts(settings.cuts as u64);
                for moment in moments(whole, settings.cuts) {
                    match attempt(cluster, command, Some((cut, moment))) {
                        Ok((_, again)) => slowest = slowest.max(again),
                        Err(error) => bad.push(format!("at {}: {error:#}", span(moment))),
                    }
                    step.part();
                }
                Ok(())
            })?;
            report.none(
                format!("{name}, {cut} at {} moments: not good in the end", settings.cuts),
                &bad,
            );
            report.fact(format!("{name}, {cut}: the slowest second run"), span(slowest));
        }
    }
    Ok(report)
}

/// Moments in the middle of equal parts of a time.
fn moments(whole: Duration, count: usize) -> impl Iterator<Item = Duration> {
    (0..count).map(move |n| whole.mul_f64((n as f64 + 0.5) / count as f64))
}

/// Runs a command on bare machines, cut off if so told and then once more, until there is a good cluster. How long the
/// first and the last run took.
fn attempt(
    cluster: &Cluster,
    command: Command,
    cut: Option<(Cut, Duration)>,
) -> Result<(Duration, Duration)> {
    let machines = command.machines();
    let victim = *machines.last().context("no machines")?;
    cluster.renew(machines)?;
    let words = match command {
        Command::Init => ["fleetctl", "init"].map(str::to_owned).into(),
        Command::Member => cluster.init(1)?.command(&[]),
        Command::Gateway => cluster.init(1)?.command(&["--gateway"]),
        Command::Leave => {
            cluster.join(2, &cluster.init(1)?, &[])?;
            ["fleetctl", "leave"].map(str::to_owned).into()
        }
        Command::Bootstrap => {
            let config = CloudConfig {
                cluster: machines,
                existing: false,
                proxy: false,
                role: "web",
            };
            let text = config.text(cluster);
            let mut words = Vec::new();
            for number in machines {
                words = cluster.hand_out(*number, &text)?;
            }
            words
        }
    };
    let run = || -> Result<Duration> {
        let started = Instant::now();
        cluster.type_in(victim, &words)?;
        Ok(started.elapsed())
    };
    let cut_and_run = || -> Result<(Duration, Duration)> {
        let started = Instant::now();
        match cut {
            None => run().map(|took| (took, took)),
            Some((cut, at)) => {
                cluster.cut_off(victim, &words, cut, at)?;
                let first = started.elapsed();
                run().map(|took| (first, took))
            }
        }
    };
    // Founders wait for each other.
    let others = match command {
        Command::Bootstrap => &machines[..machines.len() - 1],
        _ => &[],
    };
    let took = std::thread::scope(|scope| {
        let others: Vec<_> = others
            .iter()
            .map(|number| scope.spawn(|| cluster.type_in(*number, &words)))
            .collect();
        let took = cut_and_run();
        for other in others {
            other.join().ok().context("a thread panicked")??;
        }
        took
    })?;
    let staying = match command {
        Command::Leave => {
            gone(cluster, victim)?;
            &machines[..1]
        }
        _ => machines,
    };
    cluster.wait_formed(staying, command.members(), WHOLE)?;
    Ok(took)
}

/// Nothing on a machine that has left speaks of the cluster any more.
fn gone(cluster: &Cluster, number: usize) -> Result<()> {
    // What is not there makes find fail, and is as it should be.
    let look = "find /etc/fleet /etc/systemd/system/etcd.service.d /var/lib/etcd/fleet 2>/dev/null || true";
    let left = cluster.run(number, &["sh", "-c", look])?;
    ensure!(left.contains("/etc/fleet/fleet.conf"), "nothing was seen: {left}");
    let left: Vec<&str> = left
        .lines()
        .filter(|path| !["/etc/fleet", "/etc/fleet/fleet.conf"].contains(path))
        .collect();
    ensure!(left.is_empty(), "left behind: {}", left.join(" "));
    for unit in ["etcd.service", "fleet.service", "fleet.socket"] {
        let active = cluster.machine(number)?.property(unit, "ActiveState")?;
        ensure!(active.trim() != "active", "{unit} is active");
    }
    Ok(())
}
