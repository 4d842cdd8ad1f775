//! Docker and Podman on the machines, with an image that needs no network.

use std::time::Duration;

use anyhow::Result;
use lab::cluster::{Cluster, Options};
use lab::wait::{seen, wait_until};

use crate::harness::{Scenario, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let three = || Options {
        fleet: false,
        images: true,
        ..Options::default()
    };
    vec![
        shared("containers::a_docker_container_serves_http", three(), |cluster| {
            serves(cluster, "docker")
        }),
        shared("containers::a_podman_container_serves_http", three(), |cluster| {
            serves(cluster, "podman")
        }),
        shared(
            "containers::images_are_back_after_a_power_cut",
            three(),
            images_are_back,
        ),
    ]
}

fn serves(cluster: &Cluster, engine: &str) -> Result<()> {
    for machine in cluster.machines() {
        let volume = "/etc/hostname:/www/index.html:ro";
        machine.run(&[
            engine,
            "run",
            "--detach",
            "--name=web",
            "-p",
            "8080:80",
            "-v",
            volume,
            "busybox:local",
        ])?;
    }
    for machine in cluster.machines() {
        let (number, hostname) = (machine.number(), machine.hostname());
        wait_until(
            &format!("{engine}'s container on machine {number}"),
            Duration::from_secs(5),
            || {
                let body = cluster.http_get(number, 8080, "/")?;
                seen(body.trim() == hostname, || body.clone())
            },
        )?;
        machine.run(&[engine, "rm", "--force", "web"])?;
    }
    Ok(())
}

fn images_are_back(cluster: &Cluster) -> Result<()> {
    let machine = cluster.machine(2)?;
    machine.kill()?;
    machine.boot()?;
    machine.run(&["docker", "image", "inspect", "busybox:local"])?;
    machine.run(&["podman", "image", "inspect", "busybox:local"])?;
    Ok(())
}
