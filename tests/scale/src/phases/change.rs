//! One new unit at a time while the cluster is full: how long a user waits.

use anyhow::Result;

use crate::machine::Kind;
use crate::report::Figure;
use crate::run::Cluster;
use crate::user;

const PHASE: &str = "change";

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let (mut starts, all) = (Vec::new(), cluster.options.changes);
    for done in 0..all {
        cluster.progress.at("units started one by one", done, all);
        let unit = cluster.workload.unit(cluster.submitted)?;
        cluster.submitted += 1;
        starts.push(user::start(&cluster.api, &unit, cluster.options.agents).await?);
    }
    let report = &mut cluster.report;
    report.add(
        PHASE,
        "event stream of one unit opened",
        Figure::spread(starts.iter().map(|s| s.opened)),
        "",
    );
    report.add(
        PHASE,
        "PUT answered",
        Figure::spread(starts.iter().map(|s| s.answered)),
        "",
    );
    report.add(
        PHASE,
        "PUT, until the event of its placement",
        Figure::spread(starts.iter().map(|s| s.placed)),
        "",
    );
    if cluster.options.agents == Kind::Active {
        let active = Figure::spread(starts.iter().map(|s| s.active));
        report.add(
            PHASE,
            "PUT, until the event that it is active",
            active,
            "p99 <= 250 ms",
        );
    }
    Ok(())
}
