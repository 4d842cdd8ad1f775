//! `cargo lab bench`: how long a user waits and what fleet takes, against the floor that the machine itself sets in the
//! same run, and against what is allowed.
//!
//! A benchmark is a function of a built fleet and a [`Size`]; it notes [`figure::Row`]s. Each brings up clusters of its
//! own. What is compared is done in turn (A B A B), so that a host that grows slower does so for both.

use std::time::Duration;

use anyhow::Result;

use self::figure::Table;
use crate::fleet::Fleet;
use crate::printer::Printer;

mod breakdown;
mod figure;
mod idle;
mod leader;
mod many;
mod rescue;
mod scrape;
mod start;
mod stopwatch;
mod usage;

/// A unit that costs next to nothing to start.
const PLAIN: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// `fleetctl start` of one new unit, against `systemctl start`.
    Start,
    /// `fleetctl start` of many instances on 1, 3 and 5 machines, against `systemctl start` of the same on the same.
    Many,
    /// From the loss of a machine to its unit's answer from another, without and with etcd's leader on it.
    Rescue,
    /// From the loss of the leader to the next placement.
    Leader,
    /// What fleetd takes, and asks of etcd, while nothing changes.
    Idle,
    /// Where the time of a start goes.
    Breakdown,
}

/// How often, how many and how long.
#[derive(Debug, Clone)]
pub struct Size {
    /// Starts of one unit, of each kind.
    starts: usize,
    /// Repetitions of `many`.
    rounds: usize,
    /// How many units are many.
    many: Vec<usize>,
    /// On how many machines they are started.
    machines: Vec<usize>,
    /// Losses of a machine, of each kind.
    rescues: usize,
    /// Losses of the leader, of each kind.
    leaders: usize,
    /// How many units are at rest.
    herds: Vec<usize>,
    /// How long they are looked at.
    rest: Duration,
    /// Starts that are looked into.
    traces: usize,
}

impl Size {
    /// For figures to rely on: about 40 minutes.
    pub fn full() -> Self {
        Self {
            starts: 100,
            rounds: 5,
            many: vec![100, 300],
            machines: vec![1, 3, 5],
            rescues: 3,
            leaders: 5,
            herds: vec![0, 100, 300],
            rest: Duration::from_secs(60),
            traces: 50,
        }
    }

    /// To see whether it works.
    pub fn quick() -> Self {
        Self {
            starts: 10,
            rounds: 1,
            many: vec![30],
            machines: vec![1, 3],
            rescues: 1,
            leaders: 1,
            herds: vec![0, 30],
            rest: Duration::from_secs(15),
            traces: 5,
        }
    }
}

/// Runs the benchmarks asked for, or all; whether every figure is within what is allowed.
///
/// # Errors
/// If fleet cannot be built. A benchmark that fails counts as a figure missed, and the others go on.
pub fn run(what: &[What], size: &Size, json: bool, printer: &Printer) -> Result<bool> {
    type Benchmark = fn(&Fleet, &Size, &mut Table, &Printer) -> Result<()>;
    let all: [(What, Benchmark); 6] = [
        (What::Start, start::run),
        (What::Many, many::run),
        (What::Rescue, rescue::run),
        (What::Leader, leader::run),
        (What::Idle, idle::run),
        (What::Breakdown, breakdown::run),
    ];
    let fleet = Fleet::build(printer)?;
    let mut table = Table::new(*printer);
    let mut has_failed = false;
    for (one, benchmark) in all {
        if !what.is_empty() && !what.contains(&one) {
            continue;
        }
        if let Err(error) = benchmark(&fleet, size, &mut table, printer) {
            printer.error(&format!("{one:?}: {error:#}"));
            has_failed = true;
        }
    }
    printer.result(&if json { table.json()? } else { table.markdown() });
    Ok(table.is_kept() && !has_failed)
}
