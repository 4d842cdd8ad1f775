//! The names, types and labels that dashboards and alerts are written for: docs/metrics.md has every one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cluster::Cluster;
use crate::registry::keys::Keys;

fn everything(metrics: &Metrics) -> String {
    let census = Census::of(&Cluster::empty(Keys::default()));
    metrics.render(Some(&census), Some(&Process::default()))
}

/// `name type {labels}` of every family.
fn families(text: &str) -> Vec<String> {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family);
        } else if let Some((name, rest)) = line.split_once('{') {
            let name = name
                .trim_end_matches("_bucket")
                .trim_end_matches("_sum")
                .trim_end_matches("_count");
            let pairs = rest.split_once('}').unwrap().0.split(',');
            let keys = pairs
                .map(|pair| pair.split_once('=').unwrap().0)
                .filter(|k| *k != "le");
            labels.entry(name).or_default().extend(keys);
        }
    }
    let of = |family: &str| {
        let name = family.split(' ').next().unwrap();
        let labels: Vec<&str> = labels.get(name).into_iter().flatten().copied().collect();
        match labels.is_empty() {
            true => family.to_owned(),
            false => format!("{family} {}", labels.join(",")),
        }
    };
    families.into_iter().map(of).collect()
}

#[test]
fn the_names_the_types_and_the_labels() {
    let expected = [
        "fleet_engine_leader gauge",
        "fleet_engine_leader_start_time gauge",
        "fleet_engine_task_count_total counter type",
        "fleet_engine_task_failure_count_total counter type",
        "fleet_engine_reconcile_count_total counter",
        "fleet_engine_considered_units_total counter",
        "fleet_engine_reconcile_failure_count_total counter type",
        "fleet_engine_reconcile_duration_second histogram",
        "fleet_engine_plan_duration_seconds histogram",
        "fleet_engine_placement_latency_seconds histogram",
        "fleet_registry_operation_count_total counter type",
        "fleet_registry_operation_failed_count_total counter type",
        "fleet_registry_operation_duration_second histogram ops",
        "fleet_systemd_calls_total counter",
        "fleet_systemd_call_errors_total counter",
        "fleet_systemd_reloads_total counter",
        "fleet_systemd_reload_duration_seconds histogram",
        "fleet_build_info gauge version",
        "fleet_units gauge desired",
        "fleet_units_unplaced gauge",
        "fleet_unit_copies gauge active",
        "fleet_machines gauge state",
        "process_cpu_seconds_total counter",
        "process_open_fds gauge",
        "process_max_fds gauge",
        "process_resident_memory_bytes gauge",
        "process_virtual_memory_bytes gauge",
        "process_start_time_seconds gauge",
    ];
    assert_eq!(families(&everything(&Metrics::default())), expected);
}

#[test]
fn every_name_is_documented() {
    let documented = include_str!("../../../docs/metrics.md");
    for family in families(&everything(&Metrics::default())) {
        let name = family.split(' ').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "{name}");
    }
}

/// fleet added the time of each election to that of the one before.
#[test]
fn the_start_of_a_term_is_that_of_the_latest_alone() {
    let metrics = Metrics::default();
    let line = |wanted: &str| everything(&metrics).lines().any(|line| line == wanted);
    assert!(line("fleet_engine_leader 0") && line("fleet_engine_leader_start_time 0"));
    metrics.engine.leads();
    let first = metrics.engine.leader_since.get();
    metrics.engine.follows();
    assert!(line("fleet_engine_leader 0") && line("fleet_engine_leader_start_time 0"));
    metrics.engine.leads();
    let second = metrics.engine.leader_since.get();
    assert!(first > 1_500_000_000 && second < first + 3600, "{first} {second}");
    assert!(line("fleet_engine_leader 1") && line(&format!("fleet_engine_leader_start_time {second}")));
}

/// Each scrape went through all units and copies.
#[test]
fn a_client_that_scrapes_without_pause_has_each_revision_counted_once() {
    let mut last = LastCensus::default();
    let mut counted = Vec::new();
    for revision in [7, 7, 7, 9, 9, 12] {
        let census = last.at(revision, || {
            counted.push(revision);
            Census {
                unplaced: revision.unsigned_abs(),
                ..Census::default()
            }
        });
        assert_eq!(census.unplaced, revision.unsigned_abs());
    }
    assert_eq!(counted, [7, 9, 12]);
}
