//! The leader lost, in every way: how long nobody places anything.
//!
//! New units are asked for all the time (only to be loaded, so that no process is started), and a watch in etcd writes
//! down when each gets its place and who leads. The figure is the time from the fault to the first placement by the
//! next leader, or from what the old one placed after it: one that leaves with its machine leads until its units are gone.
//! Not the longest time without a placement: that has in it the start of the old leader's fleetd a moment later, which
//! takes the host's processors from everybody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use fleetd::registry::keys::Keys;

use super::Settings;
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::printer::Printer;
use crate::watch::{Put, Watch};

/// Placements are looked at for so long before the fault: what is usual.
const BEFORE: Duration = Duration::from_secs(2);

/// How often a new unit is asked for: seldom enough not to take the time from those who elect and place.
const SELDOM: Duration = Duration::from_millis(100);

/// And while a leader that hands over is waited for, so that the next one finds one that waits.
const OFTEN: Duration = Duration::from_millis(15);

/// When systemd began to stop the service, in microseconds of the clock that all machines of the host share.
const STOPPED_AT: [&str; 6] = [
    "busctl",
    "get-property",
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1/unit/fleet_2eservice",
    "org.freedesktop.systemd1.Unit",
    "ActiveExitTimestamp",
];

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
            format!("until the next one has placed a unit: {}", end.words()),
            gap.vacant,
            end.allowed() * settings.patience,
        );
        report.fact(
            "  a unit asked for, until its place, before it; asked for; placed",
            format!("{}; {}; {}", span(gap.usual), gap.asked, gap.placed),
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
        let machine = cluster.machine(leader)?;
        let gap = gap(cluster, asker, run, end, machine)?;
        mend(machine, end)?;
        Ok(gap)
    })
}

/// Does it to the leader; when it happened.
fn strike(machine: &Machine, end: End) -> Result<SystemTime> {
    let now = SystemTime::now();
    match end {
        End::Restarted => machine
            .run(&["systemctl", "restart", "fleet.service"])
            .map(drop)?,
        End::Stopped => machine.run(&["systemctl", "stop", "fleet.service"]).map(drop)?,
        End::Killed => machine.crash_for_good("fleet.service")?,
        End::PowerCut | End::PowerCutWithEtcd => machine.kill()?,
    }
    if !end.is_graceful() {
        return Ok(now);
    }
    let told = machine.run(&STOPPED_AT)?;
    let micros = told.trim().trim_start_matches("t ").parse();
    let micros = micros.with_context(|| format!("busctl says `{told}`"))?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
}

fn mend(machine: &Machine, end: End) -> Result<()> {
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
    /// From asking for a unit to its place while all was well: the median.
    pub usual: Duration,
    /// From the fault, or the last placement by the old leader after it, to the first one by the next leader.
    pub vacant: Duration,
    asked: usize,
    placed: usize,
}

/// Asks for units on one machine all the time, strikes, and looks for the first placement by the next leader.
fn gap(cluster: &Cluster, asker: usize, run: usize, end: End, leader: &Machine) -> Result<Gap> {
    let keys = Keys::default();
    let watch = Watch::begin(cluster, asker, keys.root())?;
    let (done, hurry) = (AtomicBool::new(false), AtomicBool::new(false));
    let unit = |number: usize| format!("gap{run}-{number}.service");
    let (asked, struck) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = Vec::new();
            while !done.load(Ordering::Relaxed) {
                asked.push(SystemTime::now());
                // One that is refused while etcd elects is asked for again under another name.
                let _ = cluster.api_put(asker, &unit(asked.len() - 1), "loaded", &LOADED);
                std::thread::sleep(if hurry.load(Ordering::Relaxed) {
                    OFTEN
                } else {
                    SELDOM
                });
            }
            asked
        });
        std::thread::sleep(BEFORE);
        if end.is_graceful() {
            hurry.store(true, Ordering::Relaxed);
            // Whoever asks may have just gone to sleep for long.
            std::thread::sleep(SELDOM * 2);
        }
        let struck = strike(leader, end);
        // As long as is allowed and a little more: what takes longer has no placement, which is an error.
        std::thread::sleep(end.allowed() + Duration::from_secs(3));
        done.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| anyhow::anyhow!("the asker panicked"))?;
        struck.map(|struck| (asked, struck))
    })?;
    let puts = watch.end(cluster)?;
    for number in 0..asked.len() {
        let path = format!("/fleet/v1/units/{}", unit(number));
        let (status, answer) = cluster.api(asker, "DELETE", &path, "")?;
        if ![204, 404].contains(&status) {
            bail!("{path} is not destroyed: {status} {answer}");
        }
    }
    let vacant = vacancy(&keys, &puts, struck).context("nobody led and placed anything after the fault")?;
    let places: BTreeMap<&str, SystemTime> = puts
        .iter()
        .filter_map(|put| Some((put.key.strip_prefix(&keys.schedules())?, put.at)))
        .collect();
    let before = asked.iter().enumerate().filter(|(_, at)| **at + SELDOM < struck);
    let mut waits: Vec<Duration> = before
        .filter_map(|(number, at)| places.get(unit(number).as_str())?.duration_since(*at).ok())
        .collect();
    waits.sort_unstable();
    ensure!(!waits.is_empty(), "nothing was placed before the fault");
    Ok(Gap {
        usual: waits[waits.len() / 2],
        vacant,
        asked: asked.len(),
        placed: places.len(),
    })
}

/// How long nobody placed anything between whoever led at that moment and whoever came next.
fn vacancy(keys: &Keys, puts: &[Put], struck: SystemTime) -> Option<Duration> {
    let is_place = |put: &&Put| put.key.starts_with(&keys.schedules());
    let next = puts
        .iter()
        .position(|put| put.key == keys.leader() && put.at >= struck)?;
    let (before, after) = puts.split_at(next);
    let since = before
        .iter()
        .rfind(is_place)
        .map_or(struck, |last| last.at.max(struck));
    after.iter().find(is_place)?.at.duration_since(since).ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn nobody_places_from_the_fault_or_the_old_leaders_last_word_to_the_next_ones_first() {
        let keys = Keys::default();
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let put = |key: String, millis| Put {
            seen: Instant::now(),
            at: at(millis),
            key,
            value: String::new(),
        };
        let placed = |millis| put(format!("{}a.service", keys.schedules()), millis);
        let puts = [
            put(keys.leader(), 10),
            placed(20),
            placed(110),
            put(keys.leader(), 150),
            put(keys.engine_version(), 160),
            placed(170),
            placed(180),
        ];
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(vacancy(&keys, &puts, at(100)), millis(60), "it placed one more");
        assert_eq!(vacancy(&keys, &puts, at(120)), millis(50));
        assert_eq!(
            vacancy(&keys, &puts, at(5)),
            millis(15),
            "nobody had placed anything"
        );
        assert_eq!(vacancy(&keys, &puts[..4], at(100)), None);
    }
}
