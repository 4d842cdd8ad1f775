//! The leader lost, in every way: how long nothing is placed.
//!
//! New units are asked for all the time (only to be loaded, so that no process is started), and a watch in etcd writes
//! down when each gets its place. The longest time without a placement around the fault is the figure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

use super::Settings;
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::printer::Printer;
use crate::watch::Watch;

/// Placements are looked at for so long before the fault: what is usual.
const BEFORE: Duration = Duration::from_secs(2);

const LOADED: [[&str; 3]; 1] = [["Service", "ExecStart", "/bin/true"]];

/// What befalls the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By `systemctl restart fleet`.
    Restarted,
    /// By `systemctl stop fleet`.
    Stopped,
    /// Its process is killed and stays away.
    Killed,
    /// Its machine loses its power, and does not hold etcd's leader.
    PowerCut,
    /// Its machine loses its power, and holds etcd's leader.
    PowerCutWithEtcd,
}

impl End {
    const ALL: [Self; 5] = [
        Self::Restarted,
        Self::Stopped,
        Self::Killed,
        Self::PowerCut,
        Self::PowerCutWithEtcd,
    ];

    /// As it is told.
    pub fn words(self) -> &'static str {
        match self {
            Self::Restarted => "systemctl restart fleet",
            Self::Stopped => "systemctl stop fleet",
            Self::Killed => "fleetd killed, and not started again",
            Self::PowerCut => "its machine's power cut",
            Self::PowerCutWithEtcd => "its machine's power cut, with etcd's leader on it",
        }
    }

    fn is_graceful(self) -> bool {
        matches!(self, Self::Restarted | Self::Stopped)
    }

    /// What design §7 allows.
    pub fn allowed(self) -> Duration {
        match self {
            Self::Restarted | Self::Stopped => Duration::from_millis(100),
            Self::Killed | Self::PowerCut => Duration::from_secs(6),
            Self::PowerCutWithEtcd => Duration::from_secs(9),
        }
    }

    /// How often a new unit is asked for: often enough to see the gap, seldom enough not to make it.
    fn interval(self) -> Duration {
        Duration::from_millis(if self.is_graceful() { 15 } else { 100 })
    }
}

/// Loses one leader after the other.
pub fn lost(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let ends = match settings.every_kind {
        true => End::ALL.as_slice(),
        false => &[End::Restarted, End::Killed],
    };
    for (run, end) in ends.iter().enumerate() {
        let gap = lose(cluster, run, *end, printer)?;
        report.within(
            format!("longest time without a placement: {}", end.words()),
            gap.around,
            end.allowed() * settings.patience,
        );
        report.fact(
            "  before the fault; units asked for; placed",
            format!("{}; {}; {}", span(gap.before), gap.asked, gap.placed),
        );
    }
    Ok(report)
}

/// Loses the leader once, as the run of this number, and has it back in the end.
///
/// # Errors
/// If the cluster is not whole, or nothing was placed before the fault.
pub fn lose(cluster: &Cluster, run: usize, end: End, printer: &Printer) -> Result<Gap> {
    let count = cluster.machines().len();
    cluster.wait_for_machines(1, count)?;
    let leader = cluster.wait_leader(1)?;
    let asker = (1..=count)
        .find(|number| *number != leader)
        .context("one machine only")?;
    let seat = if end == End::PowerCutWithEtcd {
        leader
    } else {
        asker
    };
    cluster.move_etcd_leader(seat)?;
    printer.step(format!("the leader, machine {leader}: {}", end.words()), |_| {
        let gap = gap(cluster, asker, run, end, || strike(cluster, leader, end))?;
        mend(cluster, leader, end)?;
        Ok(gap)
    })
}

fn strike(cluster: &Cluster, leader: usize, end: End) -> Result<()> {
    let machine = cluster.machine(leader)?;
    match end {
        End::Restarted => machine.run(&["systemctl", "restart", "fleet.service"]).map(drop),
        End::Stopped => machine.run(&["systemctl", "stop", "fleet.service"]).map(drop),
        End::Killed => machine.crash_for_good("fleet.service"),
        End::PowerCut | End::PowerCutWithEtcd => machine.kill(),
    }
}

fn mend(cluster: &Cluster, leader: usize, end: End) -> Result<()> {
    let machine = cluster.machine(leader)?;
    match end {
        End::Restarted => Ok(()),
        End::Stopped => machine.run(&["systemctl", "start", "fleet.service"]).map(drop),
        End::Killed => machine.revive("fleet.service"),
        End::PowerCut | End::PowerCutWithEtcd => machine.boot().map(drop),
    }
}

/// What the loss of a leader came to.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// The longest time without a placement while all was well.
    pub before: Duration,
    /// The longest time without a placement around the fault.
    pub around: Duration,
    asked: usize,
    placed: usize,
}

/// Asks for units on one machine all the time, strikes, and looks for the longest time without a placement.
fn gap(
    cluster: &Cluster,
    asker: usize,
    run: usize,
    end: End,
    strike: impl FnOnce() -> Result<()>,
) -> Result<Gap> {
    let placements = Watch::begin(cluster, asker, "/_coreos.com/fleet/schedule/")?;
    let done = AtomicBool::new(false);
    let unit = |number: usize| format!("gap{run}-{number}.service");
    let (begun, struck, ended, asked) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                // One that is refused while etcd elects is asked for again under another name.
                let _ = cluster.api_put(asker, &unit(asked), "loaded", &LOADED);
                asked += 1;
                std::thread::sleep(end.interval());
            }
            asked
        });
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        std::thread::sleep(BEFORE);
        let struck = Instant::now();
        let result = strike();
        let enough = if end.is_graceful() {
            Duration::from_secs(2)
        } else {
            end.allowed() + Duration::from_secs(3)
        };
        std::thread::sleep(enough.saturating_sub(struck.elapsed()));
        let ended = Instant::now();
        done.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| anyhow::anyhow!("the asker panicked"))?;
        result.map(|()| (begun, struck, ended, asked))
    })?;
    let placed = placements.end(cluster)?;
    let times: Vec<Instant> = placed.iter().map(|put| put.seen).collect();
    ensure!(
        times.first().is_some_and(|first| *first < struck),
        "nothing was placed before the fault"
    );
    for number in 0..asked {
        let path = format!("/fleet/v1/units/{}", unit(number));
        let (status, answer) = cluster.api(asker, "DELETE", &path, "")?;
        if ![204, 404].contains(&status) {
            bail!("{path} is not destroyed: {status} {answer}");
        }
    }
    Ok(Gap {
        before: longest(&times, begun, struck),
        // From the last placement before the fault: the old leader may have made some after it.
        around: longest(&times, struck - Duration::from_millis(200), ended),
        asked,
        placed: times.len(),
    })
}

/// The longest time in a span in which nothing happened.
fn longest(times: &[Instant], from: Instant, to: Instant) -> Duration {
    let inside = times.iter().filter(|time| (from..to).contains(*time));
    let mut last = from;
    let mut longest = Duration::ZERO;
    for time in inside.chain(std::iter::once(&to)) {
        longest = longest.max(*time - last);
        last = *time;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_lasts_to_the_end_counts() {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let times = [at(10), at(20), at(500)];
        assert_eq!(longest(&times, at(0), at(600)), Duration::from_millis(480));
        assert_eq!(longest(&times, at(0), at(2000)), Duration::from_millis(1500));
        assert_eq!(longest(&[], at(0), at(70)), Duration::from_millis(70));
    }
}
