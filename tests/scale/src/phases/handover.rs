//! The leader is restarted while the cluster is full: how long until the next one has read everything and decides.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::select_all;
use tokio::time::{Instant, timeout};

use crate::candidate::Candidate;
use crate::report::Figure;
use crate::run::Cluster;
use crate::user;

const PHASE: &str = "handover";

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let (mut led, mut decided) = (Vec::new(), Vec::new());
    if cluster.candidates.len() < 2 {
        return Ok(());
    }
    for _ in 0..cluster.options.restarts {
        cluster.rest().await;
        let leader = cluster
            .candidates
            .iter()
            .position(Candidate::leads)
            .context("nobody leads")?;
        let unit = cluster.workload.unit(cluster.submitted)?;
        cluster.submitted += 1;
        let old = cluster.candidates.remove(leader);
        let began = Instant::now();
        old.begin_to_stop();
        led.push(leads(cluster, began).await?);
        // Not before: its thread may have to wait for the store, which by then gives the next leader everything.
        user::put(&cluster.api, &unit).await?;
        let (witness, patience) = (&cluster.witness, cluster.options.patience);
        let placed = |t: &crate::witness::Tally| usize::from(t.place(&unit.name).is_some());
        witness
            .until(
                "the next leader to decide",
                1,
                patience,
                &cluster.progress,
                placed,
            )
            .await?;
        let at = witness.tally().place(&unit.name).map(|(_, at)| at);
        decided.push(
            at.context("its place is gone again")?
                .saturating_duration_since(began),
        );
        old.stop().await;
        // One more on the machine of before.
        let again = cluster.candidate(leader).await?;
        cluster.candidates.insert(leader, again);
    }
    let report = &mut cluster.report;
    report.add(
        PHASE,
        "leader told to stop, until the next one leads",
        Figure::spread(led),
        "100 ms",
    );
    report.add(
        PHASE,
        "… until that one has placed a unit",
        Figure::spread(decided),
        "",
    );
    Ok(())
}

async fn leads(cluster: &Cluster, began: Instant) -> Result<Duration> {
    let elected = cluster.candidates.iter().map(|c| Box::pin(c.elected()));
    let patience = cluster.options.patience;
    timeout(patience, select_all(elected))
        .await
        .with_context(|| format!("nobody leads after {} s", patience.as_secs()))?;
    Ok(began.elapsed())
}
