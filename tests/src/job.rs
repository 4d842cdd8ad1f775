//! The main job: two web servers that must not share a machine, the loss of one's machine, and its answer from a third.
//!
//! One story for the demo, the benchmark and the scenarios, with whatever runs the server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::printer::Printer;

/// `agent_ttl`, as fleetd has it when nobody sets it.
pub const TTL: Duration = Duration::from_secs(15);

/// What runs the web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// A Docker container.
    Docker,
    /// A Podman container.
    Podman,
    /// A process of its own.
    Process,
}

impl Runtime {
    /// The example it runs.
    pub fn template(self) -> &'static str {
        match self {
            Self::Docker => "web@.service",
            Self::Podman => "podman-web@.service",
            Self::Process => "process-web@.service",
        }
    }

    /// The unit of this number.
    pub fn unit(self, number: usize) -> String {
        self.template().replace('@', &format!("@{number}"))
    }
}

/// The port that the examples listen on.
pub const PORT: u16 = 8080;

/// Where the two servers run.
#[derive(Debug, Clone, Copy)]
pub struct Homes {
    /// Machine of the first.
    pub first: usize,
    /// Machine of the second.
    pub second: usize,
}

/// What the loss of a machine came to.
#[derive(Debug, Clone, Copy)]
pub struct Rescue {
    /// The lost machine held the leader of etcd.
    pub held_etcd_leader: bool,
    /// From the power cut to the first answer from another machine.
    pub took: Duration,
    /// Where it answers from.
    pub home: usize,
}

impl Rescue {
    /// What design §7 allows.
    pub fn allowed(&self) -> Duration {
        TTL + Duration::from_secs(if self.held_etcd_leader { 5 } else { 2 })
    }
}

/// Starts both servers, and sees them answer, each from its own machine.
pub fn start(cluster: &Cluster, runtime: Runtime, printer: &Printer) -> Result<Homes> {
    printer.step(
        format!("start {} and {}", runtime.unit(1), runtime.unit(2)),
        |_| {
            cluster.example(1, runtime.template())?;
            cluster.fleet_ok(1, &["submit", runtime.template()])?;
            cluster
                .fleet_ok(1, &["start", &runtime.unit(1), &runtime.unit(2)])
                .map(drop)
        },
    )?;
    let [first, second] = [1, 2].map(|n| cluster.home(1, &runtime.unit(n)));
    let homes = Homes {
        first: first?,
        second: second?,
    };
    ensure!(homes.first != homes.second, "both run on machine {}", homes.first);
    for (number, home) in [(1, homes.first), (2, homes.second)] {
        printer.step(
            format!("{} answers from machine {home}", runtime.unit(number)),
            |_| {
                let answer = cluster.wait_http(home, PORT, Duration::from_secs(30))?;
                let name = cluster.machine(home)?.hostname();
                ensure!(answer.trim() == name, "answered {answer:?}, not {name:?}");
                Ok(())
            },
        )?;
    }
    Ok(homes)
}

/// Cuts the power of the first server's machine and waits for its answer from the machine that is left; the second must
/// not notice.
pub fn lose(cluster: &Cluster, runtime: Runtime, homes: Homes, printer: &Printer) -> Result<Rescue> {
    let untouched = runtime.unit(2);
    let before = cluster
        .main_pid(homes.second, &untouched)?
        .context("it has no main process")?;
    let home = (1..=cluster.machines().len())
        .find(|n| ![homes.first, homes.second].contains(n))
        .context("there is no third machine")?;
    let held_etcd_leader = cluster.etcd_leader()? == homes.first;
    let what = if held_etcd_leader {
        "which holds etcd's leader"
    } else {
        "which does not hold etcd's leader"
    };
    let rescue = printer.step(
        format!(
            "cut the power of machine {}, {what}; {} answers from machine {home}",
            homes.first,
            runtime.unit(1)
        ),
        |_| {
            let cut = Instant::now();
            cluster.machine(homes.first)?.kill()?;
            let answer = cluster.wait_http(home, PORT, TTL * 4)?;
            let took = cut.elapsed();
            ensure!(
                answer.trim() == cluster.machine(home)?.hostname(),
                "answered {answer:?}"
            );
            Ok(Rescue {
                held_etcd_leader,
                took,
                home,
            })
        },
    )?;
    printer.note(&format!(
        "  {:.1} s from the cut to the answer; allowed are {} s (agent_ttl {} s + {} s)",
        rescue.took.as_secs_f64(),
        rescue.allowed().as_secs(),
        TTL.as_secs(),
        (rescue.allowed() - TTL).as_secs(),
    ));
    let after = cluster.main_pid(homes.second, &untouched)?;
    ensure!(
        after == Some(before),
        "{untouched} had main process {before}, now {after:?}"
    );
    printer.note(&format!("  {untouched} kept its main process {before}"));
    Ok(rescue)
}
