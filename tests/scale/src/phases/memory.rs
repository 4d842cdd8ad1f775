//! What leading costs in memory: a process that is nothing but an engine, against the same etcd.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use crate::only_leader::Child;
use crate::report::Figure;
use crate::run::Cluster;
use crate::store::Store;
use crate::user;

const PHASE: &str = "memory";

/// Units started while it leads.
const CHANGES: usize = 20;

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let Store::Etcd(etcd) = &cluster.store else {
        cluster
            .progress
            .tell("memory: not measured, the store is in this process");
        return Ok(());
    };
    let child = Child::start(&etcd.url(), &cluster.directory("only-leader"))?;
    // It connects, looks who leads, and waits.
    sleep(Duration::from_secs(1)).await;
    let before = child.usage()?;
    let began = Instant::now();
    for candidate in cluster.candidates.drain(..) {
        candidate.stop().await;
    }
    let patience = cluster.options.patience;
    for _ in 0..CHANGES {
        let unit = cluster.workload.unit(cluster.submitted)?;
        cluster.submitted += 1;
        user::put(&cluster.api, &unit).await?;
        cluster
            .witness
            .until("the only leader to decide", 1, patience, &cluster.progress, |t| {
                usize::from(t.place(&unit.name).is_some())
            })
            .await
            .context("a process that only leads")?;
    }
    let took = began.elapsed();
    cluster.rest().await;
    let after = child.usage()?;
    #[expect(clippy::cast_precision_loss, reason = "memory of this host")]
    let bytes = |bytes: u64| Figure::Bytes(bytes as f64);
    let report = &mut cluster.report;
    report.add(
        PHASE,
        "an engine's process that does not lead",
        bytes(before.resident),
        "",
    );
    report.add(
        PHASE,
        "… that leads, after 20 changes",
        bytes(after.resident),
        "300 MB",
    );
    report.add(PHASE, "… at its most", bytes(after.peak), "300 MB");
    report.add(PHASE, "… its processor time", Figure::Seconds(after.cpu), "");
    report.add(
        PHASE,
        "… it took over and placed 20 units in",
        Figure::Seconds(took.as_secs_f64()),
        "",
    );
    Ok(())
}
