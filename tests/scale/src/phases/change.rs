//! One new unit at a time while the cluster is full: how long a user waits.

use anyhow::Result;
use tokio::time::Instant;

use crate::machine::Kind;
use crate::report::Figure;
use crate::run::Cluster;
use crate::user;

const PHASE: &str = "change";

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let (mut starts, mut written, all) = (Vec::new(), Vec::new(), cluster.options.changes);
    cluster.rest().await;
    let work = cluster.work().await;
    for done in 0..all {
        cluster.progress.at("units started one by one", done, all);
        let unit = cluster.workload.unit(cluster.submitted)?;
        cluster.submitted += 1;
        let start = user::start(&cluster.api, &unit, cluster.options.agents).await?;
        // Seen by a watch that no API stands before: what lies between is the event stream's.
        let asked = Instant::now() - start.active;
        let placed = cluster.witness.tally().place(&unit.name).map(|(_, at)| at);
        written.extend(placed.map(|at| at.saturating_duration_since(asked)));
        starts.push(start);
    }
    let work = cluster.work().await - work;
    let of = |pick: fn(&user::Start) -> std::time::Duration| Figure::spread(starts.iter().map(pick));
    let report = &mut cluster.report;
    report.add(PHASE, "event stream of one unit opened", of(|s| s.opened), "");
    report.add(PHASE, "PUT answered", of(|s| s.answered), "");
    report.add(
        PHASE,
        "PUT, until its placement is written",
        Figure::spread(written),
        "",
    );
    report.add(
        PHASE,
        "PUT, until the event of its placement",
        of(|s| s.placed),
        "",
    );
    if cluster.options.agents == Kind::Active {
        let active = of(|s| s.active);
        report.add(
            PHASE,
            "PUT, until the event that it is active",
            active,
            "p99 <= 250 ms",
        );
    }
    report.add(PHASE, "passes of the leader", Figure::Count(work.passes), "");
    report.add(
        PHASE,
        "time of planning in them",
        Figure::Seconds(work.planning),
        "",
    );
    Ok(())
}
