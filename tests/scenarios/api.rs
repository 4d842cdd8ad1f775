//! The API over a real etcd and a real systemd: what fleet's own clients and an operator's tools ask of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::wait::{seen, wait_until};

use crate::harness::{Scenario, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![shared(
        "api::metadata_moves_units_and_metrics_tell",
        Options::default(),
        whole,
    )]
}

/// A sample of a machine's `/metrics`.
fn sample(cluster: &Cluster, number: usize, name: &str) -> Result<Option<f64>> {
    let (status, text) = cluster.api(number, "GET", "/metrics", "")?;
    ensure!(status == 200, "/metrics of machine {number} says {status}");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map(|value| value.parse().with_context(|| format!("{name} {value}")))
        .transpose()
}

fn patch(cluster: &Cluster, ops: &[(&str, usize, &str)]) -> Result<()> {
    let mut body = Vec::new();
    for (op, number, value) in ops {
        let path = format!("/{}/metadata/api-scenario", cluster.machine(*number)?.id());
        body.push(serde_json::json!({"op": op, "path": path, "value": {"value": value}}));
    }
    let body = serde_json::Value::from(body).to_string();
    let (status, answer) = cluster.api(1, "PATCH", "/fleet/v1/machines", &body)?;
    ensure!(status == 204, "PATCH of {body} says {status} {answer}");
    Ok(())
}

fn runs_on(cluster: &Cluster, unit: &str, numbers: &[usize]) -> Result<()> {
    wait_until(
        &format!("{unit} runs on {numbers:?}"),
        Duration::from_secs(30),
        || {
            let rows = cluster.units(1)?.remove(unit).unwrap_or_default();
            let mut active: Vec<usize> = rows
                .iter()
                .filter(|r| r.active == "active")
                .map(|r| r.machine)
                .collect();
            active.sort_unstable();
            seen(active == numbers && rows.len() == numbers.len(), || {
                format!("{rows:?}")
            })
        },
    )
}

fn whole(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    for number in [1, 2, 3] {
        let (status, text) = cluster.api(number, "GET", "/readyz?verbose", "")?;
        ensure!(status == 200, "machine {number} is not ready: {status} {text}");
    }
    let options = |more: [&'static str; 2]| {
        let service = ["Service", "ExecStart", "/usr/bin/sleep infinity"];
        [
            service,
            ["X-Fleet", "MachineMetadata", "api-scenario=yes"],
            ["X-Fleet", more[0], more[1]],
            // What is enabled needs a daemon-reload; a new unit alone would not.
            ["Install", "WantedBy", "multi-user.target"],
        ]
    };
    patch(cluster, &[("add", 2, "yes")])?;
    for (unit, more) in [
        ("meta-one.service", ["Global", "false"]),
        ("meta-all.service", ["Global", "true"]),
    ] {
        let (status, answer) = cluster.api_put(1, unit, "launched", &options(more))?;
        ensure!(status == 201, "{unit}: {status} {answer}");
    }
    runs_on(cluster, "meta-one.service", &[2])?;
    runs_on(cluster, "meta-all.service", &[2])?;
    patch(cluster, &[("remove", 2, ""), ("replace", 3, "yes")])?;
    runs_on(cluster, "meta-one.service", &[3])?;
    runs_on(cluster, "meta-all.service", &[3])?;

    // A restart of fleetd writes the machine's record anew where it differs, and loses nothing of it.
    cluster.exec(3, &["systemctl", "restart", "fleet"])?.ok()?;
    wait_until("machine 3 is ready again", Duration::from_secs(30), || {
        let ready = cluster.api(3, "GET", "/readyz", "")?;
        seen(ready.0 == 200, || format!("{ready:?}"))
    })?;
    let list = cluster.fleet_ok(
        1,
        &[
            "list-machines",
            "--no-legend",
            "--full",
            "--fields=machine,metadata",
        ],
    )?;
    let id = cluster.machine(3)?.id();
    ensure!(
        list.lines()
            .any(|line| line.starts_with(&id) && line.contains("api-scenario=yes")),
        "{list}"
    );
    runs_on(cluster, "meta-one.service", &[3])?;

    let leader = cluster.wait_leader(1)?;
    for (number, name) in [
        (leader, "fleet_engine_leader"),
        (leader, "fleet_engine_leader_start_time"),
        (leader, "fleet_engine_reconcile_count_total"),
        (leader, "fleet_units{desired=\"launched\"}"),
        (3, "fleet_systemd_calls_total"),
        (3, "fleet_registry_operation_count_total{type=\"lease\"}"),
        (2, "fleet_systemd_reloads_total"),
        (1, "process_resident_memory_bytes"),
        (1, "process_open_fds"),
    ] {
        let value = sample(cluster, number, name)?;
        ensure!(value > Some(0.0), "{name} of machine {number} is {value:?}");
    }
    let present = sample(cluster, leader, "fleet_machines{state=\"present\"}")?;
    ensure!(present == Some(3.0), "the leader counts {present:?} machines");
    for unit in ["meta-one.service", "meta-all.service"] {
        let (status, answer) = cluster.api(1, "DELETE", &format!("/fleet/v1/units/{unit}"), "")?;
        ensure!(status == 204, "{unit}: {status} {answer}");
    }
    for number in [2, 3] {
        let path = format!(
            "/fleet/v2/machines/{}/metadata/api-scenario",
            cluster.machine(number)?.id()
        );
        let (status, answer) = cluster.api(1, "DELETE", &path, "")?;
        ensure!(status == 204, "{path}: {status} {answer}");
    }
    Ok(())
}
