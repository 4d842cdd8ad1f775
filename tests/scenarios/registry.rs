//! The store on real etcd, held to the suite that its in-memory twin passes: etcd 3.5 with one and three endpoints on
//! the lab's machines, and the etcd of the host (3.4 on Debian 12).

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use fleetd::registry::contract::{self, Compact, Subject};
use fleetd::registry::etcd::{EtcdConfig, EtcdRegistry};
use lab::cluster::Options;
use lab::wait::{Seen, wait_until};

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
                let status = Command::new("etcdctl")
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

/// An etcd of one member on the host, on loopback, for as long as this lives.
struct Alone {
    address: String,
    etcd: Child,
    data: PathBuf,
}

impl Alone {
    fn start() -> Result<Self> {
        let [client, peer] = [free_port()?, free_port()?].map(|port| format!("http://127.0.0.1:{port}"));
        let data = std::env::temp_dir().join(format!("fleetlab-etcd-{}", std::process::id()));
        let etcd = Command::new("etcd")
            .args(["--name", "alone", "--data-dir"])
            .arg(&data)
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("alone={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run etcd: apt-get install etcd-server")?;
        let alone = Self {
            address: client,
            etcd,
            data,
        };
        wait_until("etcd to answer", Duration::from_secs(20), || {
            let health = Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", &alone.address, "endpoint", "health"])
                .output()?;
            Ok(if health.status.success() {
                Seen::Yes(())
            } else {
                Seen::NotYet(String::from_utf8_lossy(&health.stderr).into_owned())
            })
        })?;
        Ok(alone)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
