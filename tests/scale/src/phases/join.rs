//! All machines come at once.

use anyhow::Result;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::report::Figure;
use crate::run::Cluster;

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let machines = cluster.options.machines;
    let began = Instant::now();
    let (site, pool) = (&cluster.site, &cluster.pool);
    let boots = stream::iter(0..machines).map(|n| site.boot(n, pool[n % pool.len()].clone()));
    cluster.machines = boots.buffered(pool.len()).try_collect().await?;
    let (witness, patience) = (&cluster.witness, cluster.options.patience);
    witness
        .until(
            "machines to be present",
            machines,
            patience,
            &cluster.progress,
            |t| t.present.len(),
        )
        .await?;
    witness
        .until(
            "machines to be taken in",
            machines,
            patience,
            &cluster.progress,
            |t| t.seen.len(),
        )
        .await?;
    let (present, seen): (Vec<_>, Vec<_>) = {
        let tally = witness.tally();
        let since = |at: &Instant| *at - began;
        (
            tally.present.values().map(since).collect(),
            tally.seen.values().map(since).collect(),
        )
    };
    let report = &mut cluster.report;
    report.add(
        "join",
        "all started at once, until each is present",
        Figure::spread(present),
        "",
    );
    report.add("join", "… and taken in by the leader", Figure::spread(seen), "");
    Ok(())
}
