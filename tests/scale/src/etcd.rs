//! An etcd of one member on this host, set up as fleet sets its own up, and what it counts.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use fleetd::registry::etcd::{EtcdConfig, EtcdRegistry};
use lab::wait::{Seen, wait_until};
use lab::{host_etcd, http};

use crate::scratch::Scratch;
use crate::usage::Usage;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The etcd, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Etcd {
    process: Child,
    address: SocketAddr,
    _data: Scratch,
}

/// What etcd says it has done and holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Changes of a key: puts and deletes, those in transactions too.
    pub changes: f64,
    /// Ranges read, those in transactions too.
    pub ranges: f64,
    /// Transactions.
    pub transactions: f64,
    /// Leases renewed.
    pub renewals: f64,
    /// Writes of its log that it waited for.
    pub syncs: f64,
    /// Seconds that it waited for them.
    pub syncing: f64,
    /// Events sent to watchers.
    pub events: f64,
    /// Keys, or as many as have a version that is not compacted.
    pub keys: f64,
    /// Bytes of its database.
    pub size: f64,
}

impl Etcd {
    /// Starts the host's own or another one, with data below `directory`: where they lie decides how long each write
    /// takes.
    ///
    /// # Errors
    /// If there is none to be had, or it does not answer.
    pub(crate) fn start(program: Option<&Path>, directory: &Path) -> Result<Self> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => host_etcd::directory()?.join("etcd"),
        };
        let data = Scratch::new(directory, "fleet-scale-etcd")?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let (client, peer) = (
            format!("http://{address}"),
            format!("http://127.0.0.1:{}", free_port()?),
        );
        // The last three as `fleetctl init` writes them.
        let flags = [
            ("--name", "scale"),
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("scale={peer}")),
            ("--auto-compaction-mode", "periodic"),
            ("--auto-compaction-retention", "1h"),
            ("--quota-backend-bytes", "8589934592"),
        ];
        let process = Command::new(&program)
            .args(flags.iter().flat_map(|(flag, value)| [*flag, *value]))
            .arg("--data-dir")
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run etcd")?;
        let etcd = Self {
            process,
            address,
            _data: data,
        };
        wait_until("etcd to answer", PATIENCE, || {
            let health = http::get(address, "/health", Duration::from_secs(1))?;
            Ok(match health.contains("true") {
                true => Seen::Yes(()),
                false => Seen::NotYet(health),
            })
        })?;
        Ok(etcd)
    }

    /// A connection of its own, as each fleetd has one.
    ///
    /// # Errors
    /// Never, with an address like ours.
    pub(crate) fn connect(&self) -> Result<EtcdRegistry> {
        connect(&self.url())
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its version, such as `3.5.16`.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn version(&self) -> Result<String> {
        let told = http::get(self.address, "/version", Duration::from_secs(1))?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        let version = told["etcdserver"].as_str().context("etcd has no version")?;
        Ok(version.to_owned())
    }

    /// What its process takes.
    ///
    /// # Errors
    /// If it is gone.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.id()).context("etcd has ended")
    }

    /// What it has counted. Waits for the answer: not for a task.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn counts(address: SocketAddr) -> Result<Counts> {
        let text = http::get(address, "/metrics", PATIENCE)?;
        // 3.4 calls some of them debugging ones, 3.5 does not.
        let sum = |name: &str| {
            sample(&text, &format!("etcd_mvcc_{name}"))
                .or_else(|| sample(&text, &format!("etcd_debugging_mvcc_{name}")))
                .unwrap_or(0.0)
        };
        let other = |name: &str| sample(&text, name).unwrap_or(0.0);
        Ok(Counts {
            changes: sum("put_total") + sum("delete_total"),
            ranges: sum("range_total"),
            transactions: other(
                r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#,
            ),
            renewals: other("etcd_debugging_lease_renewed_total"),
            syncs: other("etcd_disk_wal_fsync_duration_seconds_count"),
            syncing: other("etcd_disk_wal_fsync_duration_seconds_sum"),
            events: sum("events_total"),
            keys: sum("keys_total"),
            size: sum("db_total_size_in_bytes"),
        })
    }

    /// Where it is asked for its counts.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client of the etcd at `url`.
///
/// # Errors
/// If that is no address.
pub(crate) fn connect(url: &str) -> Result<EtcdRegistry> {
    let config = EtcdConfig {
        servers: vec![url.to_owned()],
        ..EtcdConfig::default()
    };
    Ok(EtcdRegistry::connect(config)?)
}

/// The value of a sample in Prometheus' text, by its name with its labels.
pub(crate) fn sample(text: &str, name: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_its_whole_name() {
        let text = "# HELP a_total x\na_total_more 7\na_total 3\nb{x=\"1\"} 2.5e+06\n";
        assert_eq!(sample(text, "a_total"), Some(3.0));
        assert_eq!(sample(text, "b{x=\"1\"}"), Some(2_500_000.0));
        assert_eq!(sample(text, "a"), None);
    }
}
