//! The floor: as many placements as the leader wrote, as bare fenced transactions, with nobody thinking about them.

use std::time::Duration;

use anyhow::{Result, ensure};
use fleetd::registry::{Commit, MAX_OPS, Precondition, SharedRegistry, Txn, encode};
use futures_util::stream::{self, TryStreamExt};
use tokio::time::Instant;
use units::{Assignment, DesiredState, OnDisconnect, Phase, Placement};

use crate::machine::id_of;
use crate::report::Figure;
use crate::run::Cluster;

const PHASE: &str = "floor";

/// Beside fleet's own keys: nobody watches them.
const PREFIX: &str = "/floor/";

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let fence = format!("{PREFIX}leader");
    let Commit::Applied(created) = cluster
        .registry
        .commit(Txn::new().put(fence.clone(), "x"))
        .await?
    else {
        return Ok(());
    };
    let fence = Precondition::Created(fence, created);
    let cases = [
        ("a", "with three conditions each, as the leader writes them", 3, 1),
        ("b", "128 changes behind the fence alone", 0, 1),
        ("c", "128 changes behind the fence alone, 4 at a time", 0, 4),
    ];
    for (name, what, conditions, at_a_time) in cases {
        let (transactions, took) = write(cluster, &fence, name, conditions, at_a_time).await?;
        #[expect(clippy::cast_precision_loss, reason = "units of one run")]
        let (units, transactions) = (cluster.options.units as f64, transactions as f64);
        let report = &mut cluster.report;
        report.add(
            PHASE,
            format!("placements {what}"),
            Figure::Rate(units / took.as_secs_f64()),
            "",
        );
        report.add(PHASE, "… transactions", Figure::Count(transactions), "");
    }
    Ok(())
}

async fn write(
    cluster: &Cluster,
    fence: &Precondition,
    name: &str,
    conditions: usize,
    at_a_time: usize,
) -> Result<(usize, Duration)> {
    let each = conditions.max(2);
    let numbers: Vec<usize> = (0..cluster.options.units).collect();
    let txns: Result<Vec<Txn>> = numbers
        .chunks((MAX_OPS - 1) / each)
        .map(|part| {
            part.iter().try_fold(Txn::new().when(fence.clone()), |txn, n| {
                placement(cluster, txn, name, *n, conditions)
            })
        })
        .collect();
    let txns = txns?;
    let (count, began) = (txns.len(), Instant::now());
    stream::iter(txns.into_iter().map(Ok))
        .try_for_each_concurrent(at_a_time, |txn| apply(&cluster.registry, txn))
        .await?;
    Ok((count, began.elapsed()))
}

async fn apply(registry: &SharedRegistry, txn: Txn) -> Result<()> {
    let committed = registry.commit(txn).await?;
    ensure!(
        matches!(committed, Commit::Applied(_)),
        "a transaction of the floor was refused"
    );
    Ok(())
}

/// The records of one placement, as large as the leader's.
fn placement(cluster: &Cluster, txn: Txn, name: &str, n: usize, conditions: usize) -> Result<Txn> {
    let (unit, machine) = (
        cluster.workload.unit(n)?,
        id_of(n % cluster.options.machines.max(1))?,
    );
    let reason = "least loaded of the machines that fit (50 units there before it)".to_owned();
    let assignment = Assignment {
        generation: created_like(n),
        run: 0,
        hash: unit.file.hash(),
        desired: DesiredState::Launched,
        phase: Phase::Run,
        on_disconnect: OnDisconnect::Keep,
    };
    let schedule = format!("{PREFIX}{name}/schedule/{}", unit.name);
    let assign = format!("{PREFIX}{name}/assign/{machine}/unit/{}", unit.name);
    let absent = [
        schedule.clone(),
        assign.clone(),
        format!("{PREFIX}{name}/units/{}", unit.name),
    ];
    let txn = absent
        .into_iter()
        .take(conditions)
        .fold(txn, |txn, key| txn.when(Precondition::Absent(key)));
    Ok(txn
        .put(schedule, encode(&Placement { machine, reason }))
        .put(assign, encode(&assignment)))
}

/// A revision with about as many digits as there are in a full cluster.
fn created_like(n: usize) -> i64 {
    100_000 + i64::try_from(n).unwrap_or_default()
}
