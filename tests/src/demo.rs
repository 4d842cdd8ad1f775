//! `cargo lab demo`: the main job, step by step, on a cluster that is left up to play with.

use anyhow::Result;

use crate::cluster::{Cluster, Options};
use crate::printer::Printer;
use crate::{cli, show};

/// Brings the cluster up and tells the story on it.
pub fn run(options: Options, printer: &Printer) -> Result<()> {
    let cluster = cli::start(options, printer)?;
    story(&cluster, printer)?;
    printer.note("");
    printer.result(&show::machines(&cluster));
    show::how_to_play(&cluster, printer);
    Ok(())
}

fn story(cluster: &Cluster, printer: &Printer) -> Result<()> {
    printer.step("etcd answers on 127.0.0.1 of every machine", |_| {
        cluster.machines().iter().try_for_each(|machine| {
            cluster
                .etcdctl(machine.number(), &["endpoint", "health"])?
                .ok()
                .map(drop)
        })
    })
}
