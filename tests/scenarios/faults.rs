//! The lab's own faults: that they do what their names say, and that healing heals.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::wait::{Seen, seen, wait_until};

use crate::harness::{Scenario, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let three = || Options {
        fleet: false,
        ..Options::default()
    };
    vec![
        shared(
            "faults::a_power_cut_forgets_run_and_keeps_the_disk",
            three(),
            power_cut,
        ),
        shared(
            "faults::a_machine_that_powers_off_ends_in_order",
            three(),
            power_off,
        ),
        shared(
            "faults::a_machine_that_is_cut_off_is_alone_until_healed",
            three(),
            cut_off,
        ),
        shared("faults::a_frozen_etcd_is_silent_until_healed", three(), frozen),
        shared("faults::a_crashed_etcd_is_started_again", three(), crashed),
        shared("faults::a_paused_machine_goes_on_where_it_stood", three(), paused),
        shared(
            "faults::a_power_cut_of_all_keeps_what_etcd_acknowledged",
            three(),
            power_cut_of_all,
        ),
    ]
}

fn put(cluster: &Cluster, number: usize) -> Result<bool> {
    Ok(cluster
        .etcdctl(number, &["put", "/scenario/faults", "x"])?
        .success())
}

fn power_cut(cluster: &Cluster) -> Result<()> {
    let machine = cluster.machine(1)?;
    machine.run(&["touch", "/run/forgotten", "/root/kept"])?;
    let before = machine.boot_id()?;
    machine.kill()?;
    ensure!(!machine.is_running(), "it runs without power");
    machine.boot()?;
    ensure!(machine.boot_id()? != before, "the boot id is the old one");
    ensure!(
        machine.run(&["cat", "/etc/machine-id"])?.trim() == machine.id(),
        "the machine id is another"
    );
    machine.run(&["test", "-e", "/root/kept", "-a", "!", "-e", "/run/forgotten"])?;
    ensure!(put(cluster, 1)?, "etcd does not answer after the boot");
    Ok(())
}

fn power_off(cluster: &Cluster) -> Result<()> {
    let machine = cluster.machine(2)?;
    machine.run(&[
        "systemd-run",
        "--unit=last-will",
        "--property=ExecStop=touch /root/will",
        "sleep",
        "infinity",
    ])?;
    machine.poweroff()?;
    let journal = machine.journal(&[], 200)?;
    ensure!(
        journal.contains("Reached target poweroff.target"),
        "no orderly end in: {journal}"
    );
    machine.boot()?;
    machine.run(&["test", "-e", "/root/will"])?;
    Ok(())
}

fn cut_off(cluster: &Cluster) -> Result<()> {
    let leader = cluster.etcd_leader()?;
    let machine = cluster.machine(leader)?;
    machine.cut()?;
    ensure!(
        !put(cluster, leader)?,
        "the machine that was cut off still writes"
    );
    let next = cluster.etcd_leader()?;
    ensure!(next != leader, "the machine that was cut off still leads");
    ensure!(put(cluster, next)?, "the others cannot write");
    machine.heal()?;
    wait_until("etcd on the healed machine", Duration::from_secs(10), || {
        seen(put(cluster, leader)?, || "it does not write".into())
    })
}

fn frozen(cluster: &Cluster) -> Result<()> {
    let machine = cluster.machine(3)?;
    let before = cluster.main_pid(3, "etcd.service")?;
    machine.freeze("etcd.service")?;
    ensure!(!put(cluster, 3)?, "a frozen etcd answers");
    ensure!(!machine.frozen().is_empty(), "nothing is frozen");
    machine.heal()?;
    wait_until("the healed etcd", Duration::from_secs(10), || {
        seen(put(cluster, 3)?, || "it is silent".into())
    })?;
    ensure!(
        cluster.main_pid(3, "etcd.service")? == before,
        "it is another process"
    );
    Ok(())
}

fn crashed(cluster: &Cluster) -> Result<()> {
    let machine = cluster.machine(3)?;
    let before = cluster
        .main_pid(3, "etcd.service")?
        .context("etcd does not run")?;
    machine.crash("etcd.service")?;
    wait_until("etcd after its crash", Duration::from_secs(10), || {
        let now = cluster.main_pid(3, "etcd.service")?;
        let back = now.is_some_and(|pid| pid != before) && put(cluster, 3)?;
        seen(back, || format!("main process {now:?}, before {before}"))
    })
}

fn paused(cluster: &Cluster) -> Result<()> {
    let machine = cluster.machine(3)?;
    let before = machine.boot_id()?;
    machine.pause()?;
    let others = cluster.members().filter(|number| *number != 3);
    for number in others {
        wait_until("etcd without the paused machine", Duration::from_secs(10), || {
            seen(put(cluster, number)?, || format!("machine {number} cannot write"))
        })?;
    }
    machine.heal()?;
    ensure!(machine.boot_id()? == before, "it was booted anew");
    wait_until("the machine that goes on", Duration::from_secs(10), || {
        seen(put(cluster, 3)?, || "its etcd does not answer".into())
    })
}

fn power_cut_of_all(cluster: &Cluster) -> Result<()> {
    cluster
        .etcdctl(1, &["put", "/scenario/acknowledged", "yes"])?
        .ok()?;
    for machine in cluster.machines() {
        machine.kill()?;
    }
    cluster.boot_all()?;
    wait_until("what was acknowledged", Duration::from_secs(10), || {
        let read = cluster
            .etcdctl(2, &["get", "--print-value-only", "/scenario/acknowledged"])?
            .ok()?;
        Ok(if read.trim() == "yes" {
            Seen::Yes(())
        } else {
            Seen::NotYet(read)
        })
    })
}
