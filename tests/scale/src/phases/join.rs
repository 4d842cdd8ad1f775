//! All machines come at once.

use anyhow::Result;
use tokio::time::Instant;

use crate::report::Figure;
use crate::run::Cluster;

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let machines = cluster.options.machines;
    let began = Instant::now();
    for n in 0..machines {
        let registry = cluster.pool[n % cluster.pool.len()].clone();
        let machine = cluster.site.boot(n, registry).await?;
        cluster.machines.push(machine);
    }
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
