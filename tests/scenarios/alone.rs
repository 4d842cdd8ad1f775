//! An etcd of one member on the host.

use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::host_etcd;
use lab::wait::{Seen, seen, wait_until};

/// Tells several of one process apart.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// An etcd of one member on the host, on loopback, for as long as this lives.
pub(crate) struct Alone {
    pub(crate) address: String,
    arguments: Vec<OsString>,
    /// For etcdctl: whom to trust and who we are.
    client: Vec<OsString>,
    etcd: Child,
    data: PathBuf,
}

impl Alone {
    /// A plain one.
    pub(crate) fn start() -> Result<Self> {
        Self::with("http", &[], &[])
    }

    /// One with more arguments, for it and for the etcdctl that speaks to it.
    pub(crate) fn with(scheme: &str, server: &[(&str, &Path)], client: &[(&str, &Path)]) -> Result<Self> {
        let flags = |flags: &[(&str, &Path)]| -> Vec<OsString> {
            let joined = flags.iter().map(|(flag, value)| {
                let mut joined = OsString::from(format!("{flag}="));
                joined.push(value);
                joined
            });
            joined.collect()
        };
        let address = format!("{scheme}://127.0.0.1:{}", free_port()?);
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("fleetlab-etcd-{}-{number}", std::process::id()));
        let mut arguments: Vec<OsString> = [
            ("--name", "alone"),
            ("--listen-client-urls", address.as_str()),
            ("--advertise-client-urls", &address),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("alone={peer}")),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.into(), value.into()])
        .collect();
        arguments.extend(["--data-dir".into(), data.clone().into()]);
        arguments.extend(flags(server));
        let mut alone = Self {
            etcd: run(&arguments)?,
            arguments,
            client: flags(client),
            address,
            data,
        };
        alone.wait()?;
        Ok(alone)
    }

    /// Ends it without a warning and starts it again on the same data.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop();
        self.etcd = run(&self.arguments)?;
        self.wait()
    }

    /// From now on etcdctl is this user, `name:password`.
    pub(crate) fn speak_as(&mut self, user: &str) {
        self.client.push(format!("--user={user}").into());
    }

    /// etcdctl.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<()> {
        let output = self.etcdctl(arguments)?;
        ensure!(
            output.status.success(),
            "etcdctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn etcdctl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(host_etcd::directory()?.join("etcdctl"));
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.address])
            .args(&self.client)
            .args(arguments);
        Ok(command.output()?)
    }

    fn wait(&mut self) -> Result<()> {
        wait_until("etcd to answer", Duration::from_secs(20), || {
            // There is a TLS that etcdctl cannot be made to accept: then it is enough that somebody listens.
            if self.address.starts_with("https") && self.client.is_empty() {
                let listening = TcpStream::connect(self.address.trim_start_matches("https://"));
                return seen(listening.is_ok(), || "nobody listens".to_owned());
            }
            let health = self.etcdctl(&["endpoint", "health"])?;
            Ok(if health.status.success() {
                Seen::Yes(())
            } else {
                Seen::NotYet(String::from_utf8_lossy(&health.stderr).into_owned())
            })
        })
    }

    fn stop(&mut self) {
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn run(arguments: &[OsString]) -> Result<Child> {
    let mut command = Command::new(host_etcd::directory()?.join("etcd"));
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().context("cannot run etcd")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
