//! `cargo lab demo`: the main job, step by step, on a cluster that is left up to play with.

use anyhow::Result;

use crate::cluster::{Cluster, Options};
use crate::job::{self, Runtime};
use crate::printer::Printer;
use crate::{cli, show};

/// Brings the cluster up and tells the story on it.
pub fn run(options: Options, printer: &Printer) -> Result<()> {
    let with_fleet = options.fleet;
    let cluster = cli::start(options, printer)?;
    printer.step("etcd answers on 127.0.0.1 of every machine", |_| {
        cluster.machines().iter().try_for_each(|machine| {
            cluster
                .etcdctl(machine.number(), &["endpoint", "health"])?
                .ok()
                .map(drop)
        })
    })?;
    if with_fleet {
        story(&cluster, printer)?;
    }
    printer.note("");
    printer.result(&show::machines(&cluster));
    show::how_to_play(&cluster, printer);
    Ok(())
}

fn story(cluster: &Cluster, printer: &Printer) -> Result<()> {
    let count = cluster.machines().len();
    printer.step(format!("fleetctl list-machines shows {count}"), |_| {
        cluster.wait_for_machines(1, count)
    })?;
    printer.note(cluster.fleet_ok(1, &["list-machines"])?.trim_end());
    let homes = job::start(cluster, Runtime::Docker, printer)?;
    printer.note(cluster.fleet_ok(1, &["list-units"])?.trim_end());
    let rescue = job::lose(cluster, Runtime::Docker, homes, printer)?;
    printer.note(cluster.fleet_ok(rescue.home, &["list-units"])?.trim_end());
    Ok(())
}
