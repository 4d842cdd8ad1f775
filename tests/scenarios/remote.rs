//! fleetctl on one machine, by ssh to others: a real sshd.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::machine::Output;
use lab::wait::{seen, wait_until};

use crate::harness::{Scenario, fresh};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let three = Options {
        machines: 3,
        ..Options::default()
    };
    vec![fresh(
        "remote::fleetctl_reaches_the_api_units_and_journals_by_ssh",
        three,
        by_ssh,
    )]
}

/// The machine people sit at, the one they go through, and the one a unit is on.
const HERE: usize = 1;
const BASTION: usize = 2;
const THERE: usize = 3;

/// A socket that only the bastion has.
const FAR: &str = "unix:///run/far.sock";

/// An sshd on each machine that knows root's key of HERE, and all host keys known there.
fn prepare(cluster: &Cluster) -> Result<()> {
    let keygen = "mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519";
    cluster.run(HERE, &["sh", "-c", keygen])?;
    let key = cluster.run(HERE, &["cat", "/root/.ssh/id_ed25519.pub"])?;
    let mut known_hosts = String::new();
    for number in [BASTION, THERE] {
        cluster.write(number, "/root/.ssh/authorized_keys", &key)?;
        let start = "chmod 700 /root/.ssh && ssh-keygen -q -A && systemctl start ssh.service";
        cluster.run(number, &["sh", "-c", start])?;
        let host_key = cluster.run(number, &["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])?;
        known_hosts.push_str(&format!("{} {host_key}", address(cluster, number)));
    }
    cluster.write(HERE, "/root/.ssh/known_hosts", &known_hosts)?;
    cluster.run(BASTION, &["ln", "-s", "/run/fleet.sock", "/run/far.sock"])?;
    Ok(())
}

fn address(cluster: &Cluster, number: usize) -> String {
    cluster.index().address(number).to_string()
}

fn ended(output: &Output, code: i32) -> Result<()> {
    ensure!(
        output.code == Some(code),
        "{} ended with {:?}, not {code}: {}{}",
        output.command,
        output.code,
        output.stdout,
        output.stderr
    );
    Ok(())
}

fn by_ssh(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(HERE, 3)?;
    prepare(cluster)?;
    let bastion = address(cluster, BASTION);
    let tunnel = ["--tunnel", bastion.as_str(), "--endpoint", FAR];
    let fleet = |arguments: &[&str]| cluster.fleet(HERE, arguments);

    // The API.
    let list = fleet(&[&tunnel[..], &["list-machines", "--no-legend"]].concat())?.ok()?;
    ensure!(list.lines().count() == 3, "listed through the tunnel: {list}");
    let unit = format!(
        "[Service]\nExecStart=/bin/sh -c 'echo said by \\\"far\\\"; exec sleep infinity'\n[X-Fleet]\nMachineID={}\n",
        cluster.machine(THERE)?.id()
    );
    cluster.unit_file(HERE, "far.service", &unit)?;
    let started = fleet(&[&tunnel[..], &["start", "far.service"]].concat())?;
    ended(&started, 0)?;
    ensure!(
        started.stdout.contains("Unit far.service launched on "),
        "{}",
        started.stdout
    );
    ended(&fleet(&["--endpoint", FAR, "list-units"])?, 1).context("the socket is only on the bastion")?;

    // Machines, at once and through the bastion.
    let hop = |arguments: &[&str]| fleet(&[&tunnel[..], arguments].concat());
    ended(&fleet(&["ssh", "--unit", "far.service", "exit 7"])?, 7)?;
    ended(&hop(&["ssh", "far.service", "exit", "8"])?, 8)?;
    let id = cluster.machine(THERE)?.id();
    let there = hop(&["ssh", "--machine", &id[..8], "--", "cat", "/etc/machine-id"])?;
    ensure!(there.stdout.trim() == id, "went to {}, not {id}", there.stdout);
    for output in [
        fleet(&["journal", "far.service"])?,
        hop(&["journal", "--lines=5", "far.service"])?,
    ] {
        ended(&output, 0)?;
        ensure!(output.stdout.contains("said by"), "journal: {}", output.stdout);
    }

    // Nothing of it stays: the master has been told to go.
    wait_until("no ssh on the first machine", Duration::from_secs(10), || {
        let left = cluster.exec(
            HERE,
            &["sh", "-c", "pgrep -a -x ssh; ls /root/.ssh | grep fleetctl"],
        )?;
        seen(left.stdout.is_empty(), || left.stdout.clone())
    })?;

    // A key that is not the host's.
    let wrong = cluster.run(HERE, &["cat", "/root/.ssh/id_ed25519.pub"])?;
    cluster.write(HERE, "/root/wrong", &format!("{bastion} {wrong}"))?;
    let refused = hop(&["--known-hosts-file=/root/wrong", "list-machines"])?;
    ended(&refused, 1)?;
    ensure!(
        refused.stderr.contains("Host key verification failed"),
        "{}",
        refused.stderr
    );
    cluster.write(HERE, "/root/none", "")?;
    ended(&hop(&["--known-hosts-file=/root/none", "list-machines"])?, 1)?;
    ended(
        &hop(&[
            "--known-hosts-file=/root/wrong",
            "--strict-host-key-checking=false",
            "list-machines",
        ])?,
        0,
    )?;
    ended(
        &hop(&[
            "--strict-host-key-checking=false",
            "ssh",
            "far.service",
            "exit",
            "9",
        ])?,
        9,
    )?;
    let stored = cluster.run(HERE, &["cat", "/root/none"])?;
    ensure!(stored.is_empty(), "a host key was stored: {stored}");

    // A key that opens the socket, whatever is asked for, and nothing else.
    let key = cluster.run(HERE, &["cat", "/root/.ssh/id_ed25519.pub"])?;
    let restricted = format!("restrict,command=\"fleetctl fd-forward /run/fleet.sock\" {key}");
    cluster.write(BASTION, "/root/.ssh/authorized_keys", &restricted)?;
    let list = hop(&["list-machines", "--no-legend"])?.ok()?;
    ensure!(list.lines().count() == 3, "listed with a restricted key: {list}");

    // Somebody who may not.
    let denied = hop(&["--ssh-username=nobody", "list-machines"])?;
    ended(&denied, 1)?;
    ensure!(denied.stderr.contains("Permission denied"), "{}", denied.stderr);
    Ok(())
}
