//! The store on real etcd, held to the suite that its in-memory twin passes: etcd 3.5 with one and three endpoints on
//! the lab's machines, and the etcd of the host (3.4 on Debian 12).

use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use fleetd::registry::contract::{self, Compact, Subject};
use fleetd::registry::etcd::{EtcdConfig, EtcdRegistry};
use lab::cluster::Options;
use lab::host_etcd;

use crate::alone::Alone;
use crate::harness::{Scenario, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let three = || Options {
        fleet: false,
        ..Options::default()
    };
    vec![
        shared(
            "registry::etcd_3_5_with_three_members_keeps_the_contract",
            three(),
            |cluster| {
                let members: Vec<String> = cluster
                    .machines()
                    .iter()
                    .map(|machine| format!("http://{}:2379", machine.address()))
                    .collect();
                hold(&members)
            },
        ),
        shared(
            "registry::the_hosts_etcd_alone_keeps_the_contract",
            three(),
            |_| {
                let alone = Alone::start()?;
                hold(std::slice::from_ref(&alone.address))
            },
        ),
    ]
}

/// Every case, each on a connection and a prefix of its own.
fn hold(servers: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let first = servers.first().context("no server")?.clone();
    let mut broken = Vec::new();
    for (index, (name, case)) in contract::cases().into_iter().enumerate() {
        let config = EtcdConfig {
            servers: servers.to_vec(),
            ..EtcdConfig::default()
        };
        let endpoint = first.clone();
        let compact: Compact = Arc::new(move |revision| {
            let endpoint = endpoint.clone();
            Box::pin(async move {
                let status = Command::new(host_etcd::directory()?.join("etcdctl"))
                    .env("ETCDCTL_API", "3")
                    .args(["--endpoints", &endpoint, "compact", &revision.to_string()])
                    .stdout(Stdio::null())
                    .status()?;
                ensure!(status.success(), "etcdctl compact ended with {status}");
                Ok(())
            })
        });
        let outcome = runtime.block_on(async {
            let registry = EtcdRegistry::connect(config).map_err(|e| anyhow!("{e}"))?;
            case(Subject::new(
                Arc::new(registry),
                compact,
                format!("/contract/{index}/"),
            ))
            .await
        });
        if let Err(error) = outcome {
            broken.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(
        broken.is_empty(),
        "{} promises are broken:\n  {}",
        broken.len(),
        broken.join("\n  ")
    );
    Ok(())
}
