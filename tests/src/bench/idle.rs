//! A cluster at rest: what fleetd takes of its machine, and what it asks of etcd, by etcd's own count.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::figure::{Table, Unit, max};
use super::scrape::Scrape;
use super::usage::of_group;
use super::{PLAIN, Size, many};
use crate::cluster::Cluster;
use crate::fleet::Fleet;
use crate::job;
use crate::printer::Printer;

const MACHINES: usize = 3;

/// What is allowed holds for so many units, all together (design §7).
const HELD: usize = 100;
const CPU_PERCENT: f64 = 0.1;
const RESIDENT_MB: f64 = 20.0;

/// A leader renews its lease three times in so long.
const LEADER_TTL: Duration = Duration::from_secs(5);

/// What came before has to be over.
const SETTLE: Duration = Duration::from_secs(10);

pub(super) fn run(fleet: &Fleet, size: &Size, table: &mut Table, printer: &Printer) -> Result<()> {
    let cluster = many::cluster(fleet, MACHINES, printer)?;
    let file = "rest@.service";
    cluster.unit_file(1, file, PLAIN)?;
    cluster.fleet_ok(1, &["submit", file])?;
    let mut there = 0;
    for &herd in &size.herds {
        let more: Vec<String> = (there + 1..=herd).map(|n| format!("rest@{n}.service")).collect();
        if !more.is_empty() {
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            cluster.fleet_ok(1, &[&["start"], more.as_slice()].concat())?;
        }
        there = herd;
        let what = format!(
            "{herd} units on {MACHINES} machines at rest for {} s",
            size.rest.as_secs()
        );
        let rest = printer.step(&what, |_| {
            std::thread::sleep(SETTLE);
            look(&cluster, size.rest)
        })?;
        rest.note(&format!("{herd} units at rest"), herd <= HELD, table)?;
    }
    Ok(())
}

/// What was taken while nothing changed, by machine where there are several values.
struct Rest {
    /// Percent of one core.
    cpu: Vec<f64>,
    /// Megabytes.
    resident: Vec<f64>,
    /// Megabytes, of which no file is the source.
    anonymous: Vec<f64>,
    /// Requests to etcd that are no renewals of a lease.
    requests: f64,
    revisions: f64,
    renewals: f64,
    renewals_due: f64,
}

impl Rest {
    fn note(&self, what: &str, is_held: bool, table: &mut Table) -> Result<()> {
        let limit = |most| match is_held {
            true => vec![max(most)],
            false => Vec::new(),
        };
        let row = |name| format!("{what}: {name}");
        table.note(
            row("fleetd's processor time, of one core"),
            Unit::Percent,
            &self.cpu,
            &limit(CPU_PERCENT),
        )?;
        table.note(
            row("fleetd resident"),
            Unit::Megabytes,
            &self.resident,
            &limit(RESIDENT_MB),
        )?;
        table.note(
            row("fleetd resident and anonymous"),
            Unit::Megabytes,
            &self.anonymous,
            &[],
        )?;
        table.note(
            row("requests to etcd but renewals"),
            Unit::Count,
            &[self.requests],
            &[max(0.0)],
        )?;
        table.note(
            row("revisions made in etcd"),
            Unit::Count,
            &[self.revisions],
            &[max(0.0)],
        )?;
        table.note(
            row("renewals of leases"),
            Unit::Count,
            &[self.renewals],
            &[max(self.renewals_due)],
        )
    }
}

fn look(cluster: &Cluster, rest: Duration) -> Result<Rest> {
    let numbers = || 1..=cluster.machines().len();
    let cpu = |number| of_group(cluster, number, "system.slice/fleet.service");
    let revision = || anyhow::Ok(cluster.etcd_view(1)?.revision);
    // What asks etcd in here asks before the first and after the last count of requests.
    let revision_before = revision()?;
    let etcd_before = Scrape::of_etcd(cluster)?;
    let cpu_before: Vec<Duration> = numbers().map(cpu).collect::<Result<_>>()?;
    let begun = Instant::now();
    std::thread::sleep(rest);
    let cpu_after: Vec<Duration> = numbers().map(cpu).collect::<Result<_>>()?;
    let took = begun.elapsed().as_secs_f64();
    let etcd = Scrape::of_etcd(cluster)?;
    let revisions = revision()? - revision_before;

    let percent =
        |(after, before): (&Duration, &Duration)| after.saturating_sub(*before).as_secs_f64() / took * 100.0;
    let handled = ["Range", "Txn", "Put", "DeleteRange", "LeaseGrant", "LeaseRevoke"].map(|method| {
        let method = format!("grpc_method=\"{method}\"");
        etcd.since(&etcd_before, "grpc_server_handled_total", &[&method])
    });
    // Streams count what they hear: a watch that is opened, or asked how far it is.
    let heard = |method| etcd.since(&etcd_before, "grpc_server_msg_received_total", &[method]);
    let spans = |ttl: Duration| (3.0 * took / ttl.as_secs_f64()).ceil();
    Ok(Rest {
        cpu: cpu_after.iter().zip(&cpu_before).map(percent).collect(),
        resident: megabytes(cluster, "VmRSS:")?,
        anonymous: megabytes(cluster, "RssAnon:")?,
        requests: handled.iter().sum::<f64>() + heard("grpc_method=\"Watch\""),
        revisions: revisions as f64,
        renewals: heard("grpc_method=\"LeaseKeepAlive\""),
        renewals_due: numbers().count() as f64 * spans(job::TTL) + spans(LEADER_TTL),
    })
}

/// A line of every fleetd's `/proc/PID/status`.
fn megabytes(cluster: &Cluster, field: &str) -> Result<Vec<f64>> {
    let of = |machine: &crate::machine::Machine| {
        let number = machine.number();
        let pid = machine.process("fleetd");
        let pid = pid.with_context(|| format!("no fleetd runs on machine {number}"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("fleetd is gone")?;
        let kib = status.lines().find_map(|line| {
            line.strip_prefix(field)?
                .split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
        });
        let kib = kib.with_context(|| format!("no {field} in fleetd's status"))?;
        Ok(kib * 1024.0 / 1e6)
    };
    cluster.machines().iter().map(of).collect()
}
