//! The main job, with everything that can run a web server.

use anyhow::{Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::job::{self, Runtime};
use lab::printer::Printer;

use crate::harness::{Scenario, fresh};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let images = || Options {
        images: true,
        ..Options::default()
    };
    vec![
        fresh(
            "job::docker_containers_survive_the_loss_of_a_machine",
            images(),
            |cluster| survives(cluster, Runtime::Docker),
        ),
        fresh(
            "job::podman_containers_survive_the_loss_of_a_machine",
            images(),
            |cluster| survives(cluster, Runtime::Podman),
        ),
        fresh(
            "job::plain_processes_survive_the_loss_of_a_machine",
            Options::default(),
            |cluster| survives(cluster, Runtime::Process),
        ),
    ]
}

fn survives(cluster: &Cluster, runtime: Runtime) -> Result<()> {
    let printer = Printer::loud();
    cluster.wait_for_machines(1, 3)?;
    let homes = job::start(cluster, runtime, &printer)?;
    let rescue = job::lose(cluster, runtime, homes, &printer)?;
    let on = cluster.active_on(rescue.home, &runtime.unit(1))?;
    ensure!(on == [rescue.home], "fleet says it is active on {on:?}");
    Ok(())
}
