//! A tenth of the machines is lost at once: few enough for the leader not to suspect the network.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use units::{MachineId, UnitName};

use crate::machine::{self, Kind};
use crate::report::Figure;
use crate::run::Cluster;
use crate::witness::{Tally, Whereabouts};

const PHASE: &str = "loss";

pub(super) async fn run(cluster: &mut Cluster) -> Result<()> {
    let count = cluster.options.machines / 10;
    if count == 0 {
        return Ok(());
    }
    let mut lost = cluster.machines.split_off(cluster.machines.len() - count);
    let ids: Vec<MachineId> = lost.iter().map(|m| m.id).collect();
    let gone: BTreeSet<MachineId> = ids.iter().copied().collect();
    let leases = machine::leases(&cluster.registry, &cluster.keys, &ids).await?;
    let units: Vec<UnitName> = {
        let tally = cluster.witness.tally();
        let on_lost =
            |(_, there): &(&UnitName, &Whereabouts)| there.placed.is_some_and(|(on, _)| gone.contains(&on));
        let units = tally.units.iter().filter(on_lost);
        units.map(|(unit, _)| unit.clone()).collect()
    };

    cluster.rest().await;
    let work = cluster.work().await;
    let began = Instant::now();
    lost.iter_mut().for_each(machine::Machine::kill);
    let registry = &cluster.registry;
    try_join_all(leases.iter().map(|lease| registry.revoke(*lease))).await?;
    let revoked = began.elapsed();
    let agents = cluster.options.agents;
    let safe = |tally: &Tally, unit: &UnitName| {
        let there = tally.units.get(unit)?;
        let (_, at) = there.placed.filter(|(on, _)| !gone.contains(on))?;
        match agents {
            Kind::Passive => Some((at, at)),
            Kind::Active => there.home(),
        }
    };
    let (progress, patience) = (&cluster.progress, cluster.options.patience);
    let mut safely = 0;
    cluster
        .witness
        .until("units to be safe", units.len(), patience, progress, |tally| {
            // Each look goes on where the one before has stopped.
            let rest = units.iter().skip(safely);
            safely += rest.take_while(|unit| safe(tally, unit).is_some()).count();
            // All of them at one moment.
            if safely == units.len() {
                safely = units
                    .iter()
                    .take_while(|unit| safe(tally, unit).is_some())
                    .count();
            }
            safely
        })
        .await?;
    let times: Vec<(Instant, Instant)> = {
        let tally = cluster.witness.tally();
        units.iter().filter_map(|unit| safe(&tally, unit)).collect()
    };
    let work = cluster.work().await - work;

    let since = |at: Instant| at.saturating_duration_since(began);
    let placed: Vec<Duration> = times.iter().map(|(placed, _)| since(*placed)).collect();
    let report = &mut cluster.report;
    #[expect(clippy::cast_precision_loss, reason = "machines of one run")]
    report.add(PHASE, "machines lost", Figure::Count(count as f64), "");
    report.add(
        PHASE,
        "their leases revoked",
        Figure::Seconds(revoked.as_secs_f64()),
        "",
    );
    report.add(
        PHASE,
        "their units, each until it is placed elsewhere",
        Figure::spread(placed),
        "",
    );
    if agents == Kind::Active {
        let active = Figure::spread(times.iter().map(|(_, active)| since(*active)));
        report.add(PHASE, "… until it is active there", active, "");
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
