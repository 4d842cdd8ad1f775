//! Bare machines become a cluster: fleet's own commands, cut off in the middle if need be, and what came of them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::http;
use crate::wait::{Seen, wait_until};

mod cloud_config;

pub use cloud_config::CloudConfig;

/// Where etcd answers on every machine of a cluster: today's port, and the one that CoreOS had.
pub const ETCD_PORTS: [u16; 2] = [2379, 4001];

/// What `fleetctl init` says to type on the other machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    words: Vec<String>,
}

impl Invitation {
    /// Reads it off what `fleetctl init` printed.
    pub fn read(stdout: &str) -> Result<Self> {
        let line = stdout
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with("fleetctl join "));
        let line = line.with_context(|| format!("`fleetctl init` says nothing to type: {stdout:?}"))?;
        Ok(Self {
            words: line.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// The command, with more arguments.
    pub fn command(&self, more: &[&str]) -> Vec<String> {
        let more = more.iter().map(|word| (*word).to_owned());
        self.words.iter().cloned().chain(more).collect()
    }
}

/// What befalls a command in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// SIGKILL, to it and to all that it has started itself.
    Kill,
    /// Its machine loses power, and gets it again.
    Power,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kill => "killed",
            Self::Power => "power cut",
        })
    }
}

/// A member of etcd, as any of them lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// etcd's own name for it, in decimal.
    #[serde(rename = "ID")]
    pub id: String,
    /// Empty until it has come up for the first time.
    #[serde(default)]
    pub name: String,
    /// How the others reach it.
    #[serde(default, rename = "peerURLs")]
    pub peers: Vec<String>,
    /// It has no vote yet.
    #[serde(default, rename = "isLearner")]
    pub learner: bool,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

impl Cluster {
    /// `fleetctl init` on a machine.
    pub fn init(&self, number: usize) -> Result<Invitation> {
        Invitation::read(&self.run(number, &["fleetctl", "init"])?)
    }

    /// `fleetctl join …` on a machine, as `fleetctl init` said it, with more arguments.
    pub fn join(&self, number: usize, invitation: &Invitation, more: &[&str]) -> Result<()> {
        self.type_in(number, &invitation.command(more)).map(drop)
    }

    /// `fleetctl leave` on a machine.
    pub fn leave(&self, number: usize) -> Result<()> {
        self.run(number, &["fleetctl", "leave"]).map(drop)
    }

    /// Hands a machine a cloud-config; the command that applies it.
    pub fn hand_out(&self, number: usize, cloud_config: &str) -> Result<Vec<String>> {
        let path = "/root/cloud-config.yaml";
        self.write(number, path, cloud_config)?;
        Ok(["fleetd", "bootstrap", path].map(str::to_owned).into())
    }

    /// `fleetd bootstrap` on a machine with this cloud-config.
    pub fn bootstrap(&self, number: usize, cloud_config: &str) -> Result<()> {
        let words = self.hand_out(number, cloud_config)?;
        self.type_in(number, &words).map(drop)
    }

    /// The same on several machines at once, each with its own; founders of etcd wait for each other.
    pub fn bootstrap_all(&self, cloud_configs: &[(usize, String)]) -> Result<()> {
        std::thread::scope(|scope| {
            let running: Vec<_> = cloud_configs
                .iter()
                .map(|(number, text)| scope.spawn(|| self.bootstrap(*number, text)))
                .collect();
            running
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
        })
    }

    /// Runs a command on a machine that must succeed; its stdout.
    pub fn type_in(&self, number: usize, words: &[String]) -> Result<String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.run(number, &words)
    }

    /// Runs a command on a machine and cuts it off at that moment, if it still runs by then.
    pub fn cut_off(&self, number: usize, words: &[String], cut: Cut, at: Duration) -> Result<()> {
        let machine = self.machine(number)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match cut {
            Cut::Kill => {
                let after = format!("{:.3}", at.as_secs_f64());
                let killer = ["timeout", "--signal=KILL", &after];
                let output = machine.exec(&[&killer, words.as_slice()].concat())?;
                // What was quicker than the killer must have succeeded.
                if output.code.is_some_and(|code| code != 137) {
                    output.ok()?;
                }
                Ok(())
            }
            Cut::Power => std::thread::scope(|scope| {
                let started = Instant::now();
                let running = scope.spawn(|| machine.exec(&words));
                std::thread::sleep(at.saturating_sub(started.elapsed()));
                machine.kill()?;
                // However it ended: it ended with its machine.
                drop(running.join());
                machine.power_on()?.wait_shell().map(drop)
            }),
        }
    }

    /// What etcd answers on 127.0.0.1 of a machine; the body, if all is well.
    pub fn etcd_asked(&self, number: usize, port: u16, method: &str, path: &str) -> Result<String> {
        let body = if method == "POST" { "{}" } else { "" };
        self.etcd_told(number, port, method, path, body)
    }

    fn etcd_told(&self, number: usize, port: u16, method: &str, path: &str, body: &str) -> Result<String> {
        let script = r#"exec 3<>"/dev/tcp/127.0.0.1/$0" && cat >&3 && exec timeout 5 cat <&3"#;
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let machine = self.machine(number)?;
        let answer = machine
            .feed(&["bash", "-c", script, &port.to_string()], &request)?
            .ok()?;
        let asking = || format!("machine {number}: {method} {path} at 127.0.0.1:{port}");
        let (status, body) = http::read(&answer).with_context(asking)?;
        ensure!(status == 200, "{} answered {status}: {}", asking(), body.trim());
        Ok(body)
    }

    /// The members of etcd, as a machine sees them through its 127.0.0.1.
    pub fn etcd_members(&self, number: usize, port: u16) -> Result<Vec<Member>> {
        let answer = self.etcd_asked(number, port, "POST", "/v3/cluster/member/list")?;
        let members: Members =
            serde_json::from_str(&answer).with_context(|| format!("cannot understand etcd: {answer:?}"))?;
        Ok(members.members)
    }

    /// The machines that are members of etcd, as a machine sees them; all of them with a vote.
    pub fn etcd_machines(&self, number: usize, port: u16) -> Result<BTreeSet<usize>> {
        let members = self.etcd_members(number, port)?;
        let mut machines = BTreeSet::new();
        for member in &members {
            let found = self.machines().iter().find(|machine| {
                let address = format!("//{}:", machine.address());
                member.peers.iter().any(|url| url.contains(&address))
            });
            let machine = found.with_context(|| format!("etcd has a member of no machine: {member:?}"))?;
            ensure!(
                !member.learner && !member.name.is_empty(),
                "machine {} is on its way into etcd: {member:?}",
                machine.number()
            );
            machines.insert(machine.number());
        }
        ensure!(
            machines.len() == members.len(),
            "a machine is in etcd twice: {members:?}"
        );
        Ok(machines)
    }

    /// Has a machine lead etcd.
    pub fn lead_etcd(&self, number: usize) -> Result<()> {
        #[derive(Deserialize)]
        struct Status {
            leader: String,
        }
        let port = ETCD_PORTS[0];
        let members = self.etcd_members(number, port)?;
        let id_of = |number: usize| -> Result<&str> {
            let address = format!("//{}:", self.machine(number)?.address());
            let mut members = members.iter();
            let found = members.find(|m| m.peers.iter().any(|url| url.contains(&address)));
            Ok(&found
                .with_context(|| format!("machine {number} is no member of etcd"))?
                .id)
        };
        let status = self.etcd_asked(number, port, "POST", "/v3/maintenance/status")?;
        let Status { leader } = serde_json::from_str(&status)?;
        let wanted = id_of(number)?;
        let mut numbers = self.machines().iter().map(crate::machine::Machine::number);
        let leads = numbers.find(|n| id_of(*n).is_ok_and(|id| id == leader));
        match leads.context("a machine that is not there leads etcd")? {
            leads if leads == number => Ok(()),
            leads => {
                let body = format!("{{\"targetID\":\"{wanted}\"}}");
                let path = "/v3/maintenance/transfer-leadership";
                self.etcd_told(leads, port, "POST", path, &body).map(drop)
            }
        }
    }

    /// Why these machines are not one cluster with so many members of etcd; nothing if they are.
    fn doubt(&self, machines: &[usize], members: usize) -> Result<Option<String>> {
        let expected: BTreeSet<usize> = machines.iter().copied().collect();
        for &number in machines {
            for port in ETCD_PORTS {
                let in_etcd = self.etcd_machines(number, port)?;
                if in_etcd.len() != members || !in_etcd.is_subset(&expected) {
                    return Ok(Some(format!(
                        "machine {number} sees etcd on machines {in_etcd:?}"
                    )));
                }
                // Answered only by a member that has a quorum.
                let health = self.etcd_asked(number, port, "GET", "/health")?;
                if !health.contains("true") {
                    return Ok(Some(format!("machine {number}, port {port}: etcd says {health}")));
                }
            }
            let list = self.fleet_ok(
                number,
                &["list-machines", "--full", "--no-legend", "--fields=machine"],
            )?;
            let listed: BTreeSet<usize> = list.lines().filter_map(|id| self.number_of(id.trim())).collect();
            if listed != expected || list.lines().count() != expected.len() {
                return Ok(Some(format!("machine {number} lists {:?}", list.trim())));
            }
        }
        Ok(None)
    }

    /// Waits until these machines, and no others, are a cluster with so many members of etcd: every one of them lists
    /// all, etcd answers on both ports of each, and a unit starts. How long that took.
    pub fn wait_formed(&self, machines: &[usize], members: usize, deadline: Duration) -> Result<Duration> {
        let started = Instant::now();
        let what = format!("machines {machines:?} to be a cluster, etcd on {members}");
        wait_until(&what, deadline, || {
            Ok(match self.doubt(machines, members)? {
                None => Seen::Yes(()),
                Some(doubt) => Seen::NotYet(doubt),
            })
        })?;
        let took = started.elapsed();
        let first = *machines.first().context("no machines")?;
        self.unit_file(first, PROBE, "[Service]\nExecStart=/bin/sleep infinity\n")?;
        self.fleet_ok(first, &["start", PROBE])?;
        let on = self.active_on(first, PROBE)?;
        ensure!(on.len() == 1, "{PROBE} is active on {on:?}");
        self.fleet_ok(first, &["destroy", PROBE])?;
        Ok(took)
    }
}

const PROBE: &str = "probe.service";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_type_is_found_among_others() {
        let told = "This machine is a cluster of one.\nOn each of the others type:\n\n    fleetctl join 10.0.0.1 --token abc\n";
        let invitation = Invitation::read(told).unwrap();
        assert_eq!(
            invitation.command(&["--gateway"]),
            ["fleetctl", "join", "10.0.0.1", "--token", "abc", "--gateway"]
        );
        assert!(Invitation::read("done\n").is_err());
    }
}
