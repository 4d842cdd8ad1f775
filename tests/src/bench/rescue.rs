//! A machine loses its power: how long until its unit answers from another one.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Size;
use super::figure::{Table, max};
use crate::cluster::{Cluster, Options};
use crate::fleet::Fleet;
use crate::job::{self, Rescue, Runtime};
use crate::printer::Printer;

pub(super) fn run(fleet: &Fleet, size: &Size, table: &mut Table, printer: &Printer) -> Result<()> {
    for (with_etcd, which) in [(false, "etcd's leader elsewhere"), (true, "etcd's leader on it")] {
        let rescues = (0..size.rescues).map(|_| rescue(fleet, with_etcd, printer));
        let rescues: Vec<Rescue> = rescues.collect::<Result<_>>()?;
        let took: Vec<_> = rescues.iter().map(|rescue| rescue.took).collect();
        let allowed: Vec<_> = rescues
            .iter()
            .take(1)
            .map(|rescue| max(rescue.allowed().as_secs_f64()))
            .collect();
        table.times(
            format!("machine killed, its Docker unit answers elsewhere; {which}"),
            &took,
            &allowed,
        )?;
    }
    Ok(())
}

fn rescue(fleet: &Fleet, with_etcd: bool, printer: &Printer) -> Result<Rescue> {
    let options = Options {
        images: true,
        ..Options::default()
    };
    let cluster = Cluster::fresh(options, Some(fleet), printer)?;
    cluster.wait_for_machines(1, 3)?;
    let homes = job::start(&cluster, Runtime::Docker, printer)?;
    // etcd leads where it likes; it is moved to where the case wants it.
    let seat = if with_etcd { homes.first } else { homes.second };
    cluster.move_etcd_leader(seat)?;
    // With that each lease got its whole TTL and one of etcd's election timeouts on top. In the case without an election
    // that would count as ours: until every machine has renewed, which it does three times per TTL.
    std::thread::sleep(job::TTL / 3 + Duration::from_secs(1));
    let rescue = job::lose(&cluster, Runtime::Docker, homes, printer)?;
    ensure!(
        rescue.held_etcd_leader == with_etcd,
        "etcd's leader moved by itself in between: run it again"
    );
    Ok(rescue)
}
