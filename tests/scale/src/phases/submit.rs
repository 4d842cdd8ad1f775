//! All units are wanted at one moment: how many the leader places in a second, and when they all run.
//!
//! They are written while `recovering` stands, during which no engine decides anything; when it goes, the leader has them
//! all before it. So writing them is not measured with placing them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use fleetd::registry::{Commit, MAX_OPS, Txn, encode};
use tokio::time::{Instant, sleep};
use units::{DesiredState, UnitRecord};

use crate::machine::Kind;
use crate::report::Figure;
use crate::run::Cluster;
use crate::witness::Whereabouts;

const PHASE: &str = "submit";

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let all = cluster.options.units;
    let hold = cluster.keys.recovering();
    cluster.registry.commit(Txn::new().put(hold.clone(), "")).await?;
    let began = Instant::now();
    write(cluster).await?;
    let written = began.elapsed();
    cluster.submitted = all;
    cluster.rest().await;

    let missed = cluster.witness.tally().missed;
    let (before, work) = (cluster.scheduled(), cluster.work().await);
    let began = Instant::now();
    cluster.registry.commit(Txn::new().delete(hold)).await?;
    let (first, last) = placed(cluster, before, began).await?;
    let (witness, progress, patience) = (&cluster.witness, &cluster.progress, cluster.options.patience);
    witness
        .until("units to be placed", all, patience, progress, |t| t.placed)
        .await?;
    if cluster.options.agents == Kind::Active {
        witness
            .until("units to be active", all, patience, progress, |t| t.at_home)
            .await?;
    }
    let rest = cluster.rest().await.saturating_duration_since(began);
    let work = cluster.work().await - work;

    let report = &mut cluster.report;
    let mut add = |measure, figure| report.add(PHASE, measure, figure, "");
    add(
        "units written, 128 changes each time, one after the other",
        rate(all, written),
    );
    add(
        "all wanted at once, until the first is placed and committed",
        seconds(first),
    );
    add("… the last", seconds(last));
    add(
        "placed and committed, from the first to the last",
        rate(all, last.saturating_sub(first)),
    );
    report.add(
        PHASE,
        "placed and committed, from the word go",
        rate(all, last),
        ">= 5000/s",
    );
    if cluster.options.agents == Kind::Active {
        active(cluster, began);
        let missed = cluster.witness.tally().missed - missed;
        #[expect(clippy::cast_precision_loss, reason = "machines of one run")]
        let missed = Figure::Count(missed as f64);
        let report = &mut cluster.report;
        report.add(PHASE, "machines that were missed meanwhile", missed, "");
    }
    let report = &mut cluster.report;
    let mut add = |measure, figure| report.add(PHASE, measure, figure, "");
    add("… until the leader has nothing more to do", seconds(rest));
    add("its passes", Figure::Count(work.passes));
    add("time of planning in them", Figure::Seconds(work.planning));
    add("its transactions", Figure::Count(work.commits));
    add("time of waiting for them", Figure::Seconds(work.committing));
    Ok(())
}

fn active(cluster: &mut Cluster, began: Instant) {
    let (active, after): (Vec<_>, Vec<_>) = {
        let tally = cluster.witness.tally();
        let homes = tally.units.values().filter_map(Whereabouts::home);
        homes
            .map(|(placed, active)| (active - began, active.saturating_duration_since(placed)))
            .unzip()
    };
    let end = active.iter().max().copied().unwrap_or_default();
    let report = &mut cluster.report;
    report.add(
        PHASE,
        "… until the last is active, by its machine's word",
        seconds(end),
        "",
    );
    report.add(PHASE, "active, from the word go", rate(active.len(), end), "");
    report.add(PHASE, "from placed to active, each", Figure::spread(after), "");
}

fn seconds(time: Duration) -> Figure {
    Figure::Seconds(time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "units of one run")]
fn rate(count: usize, time: Duration) -> Figure {
    Figure::Rate(count as f64 / time.as_secs_f64().max(1e-9))
}

async fn write(cluster: &Cluster) -> Result<()> {
    let (keys, all) = (&cluster.keys, cluster.options.units);
    let mut contents = BTreeSet::new();
    let mut txn = Txn::new();
    for n in 0..all {
        let unit = cluster.workload.unit(n)?;
        let hash = unit.file.hash();
        if contents.insert(hash) {
            txn = txn.put(keys.content(&hash), unit.file.canonical());
        }
        let record = UnitRecord {
            hash,
            desired: DesiredState::Launched,
            run: 0,
        };
        txn = txn.put(keys.unit(&unit.name), encode(&record));
        if txn.ops.len() + 2 > MAX_OPS || n + 1 == all {
            let committed = cluster.registry.commit(std::mem::take(&mut txn)).await?;
            ensure!(matches!(committed, Commit::Applied(_)), "units were refused");
            cluster.progress.at("units written", n + 1, all);
        }
    }
    Ok(())
}

/// When the leader had been told that the first and that the last placement is written.
async fn placed(cluster: &Cluster, before: u64, began: Instant) -> Result<(Duration, Duration)> {
    let all = cluster.options.units as u64;
    let mut first = None;
    loop {
        let done = cluster.scheduled() - before;
        if done > 0 {
            first.get_or_insert_with(|| began.elapsed());
        }
        if done >= all {
            return Ok((first.unwrap_or_default(), began.elapsed()));
        }
        let patience = cluster.options.patience;
        ensure!(
            began.elapsed() < patience,
            "{done} of {all} units were placed within {} s",
            patience.as_secs()
        );
        cluster
            .progress
            .at("units placed", usize::try_from(done)?, usize::try_from(all)?);
        sleep(Duration::from_millis(1)).await;
    }
}
