//! `cargo lab prove`: faults on real machines, and whether what runs kept running, in figures.
//!
//! A proof is a function of a cluster and [`Settings`]; it finds a [`Report`]. `cargo lab prove` runs it in full, a
//! scenario runs the same function with [`Settings::short`] and insists that its promises were kept.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::time::Instant;

use crate::cluster::{Base, Cluster, Etcd, Options};
use crate::fleet::Fleet;
use crate::printer::Printer;

pub mod crash;
pub mod cut;
pub mod flap;
pub mod forming;
pub mod herd;
pub mod identity;
pub mod killed;
pub mod leader;
pub mod member;
pub mod moved;
pub mod outage;
pub mod package;
mod readdressed;
pub mod report;
mod show;
pub mod soak;
pub mod usage;
pub mod witness;

pub use report::Report;

/// How long, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Units that nothing should touch.
    pub herd: usize,
    /// How long etcd is away.
    pub outage: Duration,
    /// How long a doubt, or a member that is gone, is looked at.
    pub hold: Duration,
    /// How long a slow stop takes.
    pub slow: Duration,
    /// At which moments of a start fleetd is killed.
    pub moments: Vec<Duration>,
    /// At how many moments a command that makes a cluster is cut off.
    pub cuts: usize,
    /// Units that crash all the time.
    pub flapping: usize,
    /// How long they are looked at.
    pub flaps_for: Duration,
    /// Every kind of a fault, not only the one that says most.
    pub every_kind: bool,
    /// How many times the time that is promised may be taken: more than once only where something else runs beside it.
    pub patience: u32,
}

impl Settings {
    /// As the promises are worded, but for the outage: it takes as long as it is asked to.
    pub fn full(outage: Duration, flapping: usize) -> Self {
        Self {
            herd: 60,
            outage,
            hold: Duration::from_secs(35),
            slow: Duration::from_secs(40),
            moments: [20, 60, 120, 200, 350, 600].map(Duration::from_millis).into(),
            cuts: 20,
            flapping,
            flaps_for: Duration::from_secs(60),
            every_kind: true,
            patience: 1,
        }
    }

    /// For a scenario.
    pub fn short() -> Self {
        Self {
            herd: 12,
            outage: Duration::from_secs(20),
            hold: Duration::from_secs(18),
            slow: Duration::from_secs(5),
            moments: [60, 250].map(Duration::from_millis).into(),
            cuts: 3,
            flapping: 30,
            flaps_for: Duration::from_secs(10),
            every_kind: false,
            patience: 4,
        }
    }
}

/// A promise, and how it is put to the test.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    /// What to call it on the command line.
    pub name: &'static str,
    /// What is done.
    pub about: &'static str,
    /// How many machines.
    machines: usize,
    /// What they come as; fleet sets up those that come bare, with the etcd that its package asks for.
    base: Base,
    /// Whether it is worth repeating with a single member of etcd.
    single: bool,
    run: fn(&Cluster, &Settings, &Printer) -> Result<Report>,
}

/// All of them.
pub const PROOFS: &[Proof] = &[
    Proof {
        name: "etcd-stopped",
        about: "etcd is stopped under units that run, and started again",
        machines: 3,
        base: Base::Lab,
        single: true,
        run: outage::stopped,
    },
    Proof {
        name: "etcd-wiped",
        about: "etcd comes back empty under units that run",
        machines: 3,
        base: Base::Lab,
        single: true,
        run: outage::wiped,
    },
    Proof {
        name: "etcd-restored",
        about: "etcd comes back from a snapshot that is older than what happened since",
        machines: 3,
        base: Base::Lab,
        single: true,
        run: outage::restored,
    },
    Proof {
        name: "leader",
        about: "the leader is restarted, stopped, killed, loses its power: how long nothing is placed",
        machines: 3,
        base: Base::Lab,
        single: false,
        run: leader::lost,
    },
    Proof {
        name: "cut-off",
        about: "a machine is cut off, its fleetd hangs, its fleetd is killed: who runs where, and when",
        machines: 3,
        base: Base::Lab,
        single: false,
        run: cut::one,
    },
    Proof {
        name: "three-of-five",
        about: "three machines of five are cut off for TTL + 5 s",
        machines: 5,
        base: Base::Lab,
        single: false,
        run: cut::three_of_five,
    },
    Proof {
        name: "etcd-member",
        about: "a member of etcd is killed, is frozen, while units are changed on every machine",
        machines: 3,
        base: Base::Lab,
        single: false,
        run: member::lost,
    },
    Proof {
        name: "cloned-id",
        about: "a machine comes up with the id of another one",
        machines: 4,
        base: Base::Lab,
        single: false,
        run: identity::cloned,
    },
    Proof {
        name: "slow-stop",
        about: "a unit that is slow to stop is moved by a change of metadata",
        machines: 3,
        base: Base::Lab,
        single: false,
        run: moved::slow_stop,
    },
    Proof {
        name: "flapping",
        about: "units that crash every 100 ms: what they cost, and whether a start gets through",
        machines: 3,
        base: Base::Lab,
        single: false,
        run: flap::flapping,
    },
    Proof {
        name: "crash-safety",
        about: "fleetd is killed in the middle of its work, restarted under requests, hangs",
        machines: 3,
        base: Base::Lab,
        single: false,
        run: crash::safety,
    },
    Proof {
        name: "forming",
        about: "five bare machines become a cluster, by hand and by CoreOS' file; reboots; two leave and come back",
        machines: 5,
        base: Base::Package,
        single: false,
        run: forming::all,
    },
    Proof {
        name: "forming-killed",
        about: "init, join, bootstrap and leave are killed, their machine loses power: the same command again",
        machines: 3,
        base: Base::Package,
        single: false,
        run: killed::killed,
    },
    Proof {
        name: "package",
        about: "the Debian package is installed, upgraded under units that run, removed, purged",
        machines: 3,
        base: Base::Bare,
        single: false,
        run: package::life,
    },
];

/// What to run, and on what.
#[derive(Debug)]
pub struct Request {
    /// Names of proofs; all if there is none.
    pub names: Vec<String>,
    /// Versions of etcd.
    pub etcds: Vec<Etcd>,
    /// Sizes of etcd's cluster.
    pub members: Vec<usize>,
    /// How long, and how many.
    pub settings: Settings,
    /// Whether the results are for a program.
    pub json: bool,
}

/// What came of one proof on one kind of etcd.
#[derive(Debug, Serialize)]
pub struct Outcome {
    name: &'static str,
    about: &'static str,
    etcd: String,
    members: usize,
    seconds: f64,
    kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    lines: Vec<report::Line>,
}

/// Runs what is asked for; whether every promise was kept.
pub fn run(request: &Request, printer: &Printer) -> Result<bool> {
    let known = |name: &String| PROOFS.iter().any(|proof| proof.name == name);
    let unknown: Vec<&String> = request.names.iter().filter(|name| !known(name)).collect();
    ensure!(
        unknown.is_empty(),
        "there is no proof {unknown:?}: `cargo lab prove --list` shows them"
    );
    let asked_for =
        |proof: &&Proof| request.names.is_empty() || request.names.iter().any(|name| name == proof.name);
    let mut fleet = Fleet::build(printer)?;
    if PROOFS
        .iter()
        .filter(asked_for)
        .any(|proof| proof.base != Base::Lab)
    {
        fleet = fleet.packaged(printer)?;
    }
    let mut outcomes = Vec::new();
    for proof in PROOFS.iter().filter(asked_for) {
        let etcds: &[Etcd] = match proof.base {
            Base::Lab => &request.etcds,
            Base::Bare | Base::Package => &[Etcd::Image],
        };
        for &etcd in etcds {
            for &members in request
                .members
                .iter()
                .filter(|members| **members == 3 || proof.single)
            {
                printer.note(&format!("\n{}: {}", proof.name, proof.about));
                let outcome = proof.perform(etcd, members, &request.settings, &fleet, printer);
                if !request.json {
                    printer.result(&show::outcome(&outcome));
                }
                outcomes.push(outcome);
            }
        }
    }
    if request.json {
        printer.result(&serde_json::to_string_pretty(&outcomes)?);
    } else {
        printer.result(&show::table(&outcomes));
    }
    Ok(outcomes.iter().all(|outcome| outcome.kept))
}

/// The names, for `--list`.
pub fn list() -> String {
    let line = |proof: &Proof| format!("{:14} {}", proof.name, proof.about);
    PROOFS.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All lines of a report.
pub fn lines(report: &Report) -> String {
    show::lines(&report.lines)
}

impl Proof {
    fn perform(
        &self,
        etcd: Etcd,
        members: usize,
        settings: &Settings,
        fleet: &Fleet,
        printer: &Printer,
    ) -> Outcome {
        let options = Options {
            machines: self.machines,
            zones: ["a", "b", "a"].map(str::to_owned).into(),
            etcd,
            members,
            base: self.base,
            ..Options::default()
        };
        let started = Instant::now();
        let result = Cluster::fresh(options, Some(fleet), printer).and_then(|cluster| {
            let found = (self.run)(&cluster, settings, printer);
            if !found.as_ref().is_ok_and(Report::is_kept) {
                show::keep_journals(&cluster, self.name, printer);
            }
            found
        });
        let (report, error) = match result {
            Ok(report) => (report, None),
            Err(error) => (Report::default(), Some(format!("{error:#}"))),
        };
        Outcome {
            name: self.name,
            about: self.about,
            etcd: etcd.to_string(),
            members,
            seconds: started.elapsed().as_secs_f64(),
            kept: error.is_none() && report.is_kept(),
            error,
            lines: report.lines,
        }
    }
}
