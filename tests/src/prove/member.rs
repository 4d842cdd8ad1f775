//! One of three members of etcd away, while units are changed on every machine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::Instant;

use super::Settings;
use super::herd::{self, Herd};
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::job::TTL;
use crate::printer::Printer;

/// A user asks once more after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// Loses a member on another machine and on the leader's own, by death and by silence.
pub fn lost(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let count = cluster.machines().len();
    cluster.wait_for_machines(1, count)?;
    let herd = Herd::start(cluster, settings.herd.min(20))?;
    for number in 1..=count {
        cluster.unit_file(number, &format!("load{number}@.service"), herd::UNIT)?;
    }
    let cases: &[(bool, bool)] = match settings.every_kind {
        true => &[(false, true), (true, true), (false, false), (true, false)],
        false => &[(true, true)],
    };
    for &(with_leader, frozen) in cases {
        // One that has moved to another member stays there; afterwards each speaks to its own machine's again.
        for number in 1..=count {
            cluster.run(number, &["systemctl", "restart", "fleet.service"])?;
        }
        cluster.wait_for_machines(1, count)?;
        let leader = cluster.wait_leader(1)?;
        let victim = if with_leader { leader } else { leader % count + 1 };
        let words = format!(
            "etcd {} on {}",
            if frozen { "frozen" } else { "killed" },
            if with_leader {
                "the leader's machine"
            } else {
                "another machine"
            }
        );
        let machine = cluster.machine(victim)?;
        let hold = settings.hold.min(TTL + Duration::from_secs(5));
        let load = printer.step(format!("{words} (machine {victim}), under load"), |_| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let users: Vec<_> = (1..=count)
                    .map(|number| {
                        scope.spawn({
                            let done = &done;
                            move || change(cluster, number, done)
                        })
                    })
                    .collect();
                std::thread::sleep(Duration::from_secs(2));
                let strike = match frozen {
                    true => machine.freeze("etcd.service"),
                    false => machine.crash_for_good("etcd.service"),
                };
                std::thread::sleep(hold);
                let mend = match frozen {
                    true => machine.heal(),
                    false => machine.revive("etcd.service"),
                };
                std::thread::sleep(Duration::from_secs(3));
                done.store(true, Ordering::Relaxed);
                let mut all = Load::default();
                for user in users {
                    all.add(user.join().map_err(|_| anyhow!("a user panicked"))??);
                }
                strike.and(mend).map(|()| all)
            })
        })?;
        let mut found = Report::default();
        found.none("requests refused twice, a second apart", &load.failed);
        found.fact(
            "requests; refused at first; slowest",
            format!("{}; {}; {}", load.requests, load.again.len(), span(load.slowest)),
        );
        if let Some(first) = load.again.first() {
            found.fact("the first that was refused", first.clone());
        }
        report.include(&words, found);
    }
    cluster.wait_for_machines(1, count)?;
    std::thread::sleep(TTL);
    herd.untouched(cluster, &mut report)?;
    Ok(report)
}

/// What users did.
#[derive(Debug, Default)]
struct Load {
    requests: usize,
    again: Vec<String>,
    failed: Vec<String>,
    slowest: Duration,
}

impl Load {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.again.extend(other.again);
        self.failed.extend(other.failed);
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Starts, stops and destroys one unit after the other, as a user of this machine does.
fn change(cluster: &Cluster, number: usize, done: &AtomicBool) -> Result<Load> {
    let mut load = Load::default();
    let mut turn = 0;
    while !done.load(Ordering::Relaxed) {
        turn += 1;
        let unit = format!("load{number}@{turn}.service");
        for verb in ["start", "stop", "destroy"] {
            let begun = Instant::now();
            let first = cluster.fleet(number, &[verb, &unit])?;
            load.requests += 1;
            load.slowest = load.slowest.max(begun.elapsed());
            if first.success() {
                continue;
            }
            let told = |stderr: &str| format!("fleetctl {verb} on machine {number}: {}", stderr.trim());
            load.again.push(told(&first.stderr));
            std::thread::sleep(AGAIN);
            let second = cluster.fleet(number, &[verb, &unit])?;
            if !second.success() {
                load.failed.push(told(&second.stderr));
            }
        }
    }
    Ok(load)
}
