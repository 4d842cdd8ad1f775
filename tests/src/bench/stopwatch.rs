//! Timing of commands inside the machines: entering a machine from the host is not part of it.
//!
//! All machines share the host's clocks, so moments on different machines compare.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::cluster::Cluster;

/// From when to when a command ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) begun: SystemTime,
    pub(super) ended: SystemTime,
}

impl Run {
    /// How long it took.
    pub(super) fn took(self) -> Duration {
        after(self.begun, self.ended)
    }
}

/// How long after one moment another came; nothing if it came before.
pub(super) fn after(begin: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(begin).unwrap_or_default()
}

/// Runs a command on a machine, which must succeed.
pub(super) fn time(cluster: &Cluster, machine: usize, words: &[&str]) -> Result<Run> {
    let script = "begin=$(date +%s%N); \"$@\" >/dev/null || exit; end=$(date +%s%N); echo $begin $end";
    let told = cluster.run(machine, &[&["sh", "-c", script, "sh"], words].concat())?;
    let moment = |word: &str| {
        let nanos = word.parse().ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
    };
    let mut moments = told.split_whitespace().map(moment);
    match (moments.next().flatten(), moments.next().flatten()) {
        (Some(begun), Some(ended)) => Ok(Run { begun, ended }),
        _ => None.with_context(|| format!("no times in {told:?}")),
    }
}

/// Runs commands on several machines, all at once: from the first's begin to the last's end.
pub(super) fn time_together(cluster: &Cluster, commands: &[(usize, Vec<&str>)]) -> Result<Run> {
    let runs = std::thread::scope(|scope| {
        let running: Vec<_> = commands
            .iter()
            .map(|(machine, words)| scope.spawn(|| time(cluster, *machine, words)))
            .collect();
        let joined = running.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a stopwatch panicked")))
        });
        joined.collect::<Result<Vec<Run>>>()
    })?;
    let (begun, ended) = (
        runs.iter().map(|run| run.begun).min(),
        runs.iter().map(|run| run.ended).max(),
    );
    match (begun, ended) {
        (Some(begun), Some(ended)) => Ok(Run { begun, ended }),
        _ => None.context("nothing was to be run"),
    }
}
