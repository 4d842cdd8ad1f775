//! etcd, as fleetd finds it: on 127.0.0.1:2379 of every machine.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::wait::{seen, wait_until};

use crate::harness::{Scenario, fresh, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let four = || Options {
        machines: 4,
        fleet: false,
        ..Options::default()
    };
    vec![
        shared(
            "store::etcd_answers_on_every_machine",
            four(),
            answers_on_every_machine,
        ),
        shared(
            "store::a_gateway_carries_leases_watches_and_transactions",
            four(),
            gateway_carries_all,
        ),
        fresh(
            "store::etcd_elects_anew_when_its_leader_loses_power",
            four(),
            elects_anew,
        ),
    ]
}

fn answers_on_every_machine(cluster: &Cluster) -> Result<()> {
    for number in 1..=cluster.machines().len() {
        let value = format!("written on {number}");
        cluster
            .etcdctl(number, &["put", "/scenario/answers", &value])?
            .ok()?;
        for reader in 1..=cluster.machines().len() {
            let read = cluster
                .etcdctl(reader, &["get", "--print-value-only", "/scenario/answers"])?
                .ok()?;
            ensure!(
                read.trim() == value,
                "machine {reader} reads {read:?} after {value:?}"
            );
        }
    }
    Ok(())
}

fn gateway_carries_all(cluster: &Cluster) -> Result<()> {
    ensure!(!cluster.members().contains(&4), "machine 4 is to have a gateway");
    // A transaction that puts a key under a lease, seen by a watch and gone when the lease is revoked.
    let script = r#"
        export ETCDCTL_COMMAND_TIMEOUT=5s
        etcdctl watch /scenario/gateway > /tmp/events & watch=$!
        lease=$(etcdctl lease grant 60 | cut -d' ' -f2)
        etcdctl lease keep-alive --once $lease
        until grep -q PUT /tmp/events; do
            printf 'create("/scenario/gateway") = "0"\n\nput /scenario/gateway mine --lease=%s\n\n\n' $lease | etcdctl txn
            sleep 0.1
        done
        etcdctl lease revoke $lease
        until grep -q DELETE /tmp/events; do sleep 0.05; done
        kill $watch
        cat /tmp/events
    "#;
    let events = cluster.run(4, &["timeout", "20", "sh", "-c", script])?;
    ensure!(
        events.contains("revoked") && events.contains("DELETE"),
        "the gateway's events: {events}"
    );
    Ok(())
}

fn elects_anew(cluster: &Cluster) -> Result<()> {
    let old = cluster.etcd_leader()?;
    cluster.machine(old)?.kill()?;
    let new = cluster.etcd_leader()?;
    ensure!(new != old, "machine {old} is off and leads");
    // The gateway finds a member that answers.
    wait_until("etcd through the gateway", Duration::from_secs(10), || {
        let put = cluster.etcdctl(4, &["put", "/scenario/anew", "yes"])?;
        seen(put.success(), || put.stderr.clone())
    })?;
    cluster.machine(old)?.boot()?;
    let read = cluster
        .etcdctl(old, &["get", "--print-value-only", "/scenario/anew"])?
        .ok()?;
    ensure!(read.trim() == "yes", "machine {old} is back and reads {read:?}");
    Ok(())
}
