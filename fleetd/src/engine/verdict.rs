//! Why a unit has no place, machine by machine.

use std::collections::BTreeMap;

use units::{MachineId, Refusal, Verdict};

use super::draft::Draft;
use super::filter::{self, Rejection, Stance};
use super::view::View;
use crate::cluster::Cluster;

/// Machines named in full; the counts cover all of them (design §3).
const MACHINES_NAMED: usize = 20;

/// The verdict on a unit that no machine can hold.
pub(crate) fn of(view: &View<'_>, draft: &Draft<'_>) -> Verdict {
    let Some(asker) = &draft.asker else {
        return unusable(view.cluster, draft, "what it needs is not known");
    };
    let mut rejections: Vec<(&MachineId, Rejection)> = Vec::new();
    for (id, machine) in &view.cluster.machines {
        // A machine that is merely remembered is no candidate; one that is lost is worth a line.
        if !machine.is_present() && !machine.is_lost() {
            continue;
        }
        if let Err(rejection) = filter::check(view, asker, id, Stance::Coming) {
            rejections.push((id, rejection));
        }
    }
    let passing = rejections.iter().any(|(_, rejection)| rejection.is_passing());
    let mut counts = BTreeMap::new();
    for (_, rejection) in &rejections {
        *counts.entry(rejection.kind().to_owned()).or_insert(0) += 1;
    }
    let summary = match rejections.len() {
        0 => "no machine has joined the cluster yet".to_owned(),
        1 => "the only machine cannot hold it".to_owned(),
        n => format!("none of {n} machines can hold it: {}", list(&counts)),
    };
    let refusal = |(id, rejection): (&MachineId, Rejection)| Refusal {
        machine: *id,
        address: view
            .cluster
            .machines
            .get(id)
            .map_or_else(String::new, |m| m.address().to_owned()),
        reason: rejection.to_string(),
    };
    Verdict {
        generation: draft.generation(),
        revision: view.cluster.revision,
        passing,
        summary,
        counts,
        machines: rejections.into_iter().take(MACHINES_NAMED).map(refusal).collect(),
    }
}

/// The verdict on a unit that only has to wait for something under way.
pub(crate) fn passing(cluster: &Cluster, draft: &Draft<'_>, why: &str) -> Verdict {
    Verdict {
        passing: true,
        ..unusable(cluster, draft, why)
    }
}

/// The verdict on a unit whose record or content cannot be read.
pub(crate) fn unusable(cluster: &Cluster, draft: &Draft<'_>, why: &str) -> Verdict {
    Verdict {
        generation: draft.generation(),
        revision: cluster.revision,
        passing: false,
        summary: why.to_owned(),
        counts: BTreeMap::new(),
        machines: Vec::new(),
    }
}

fn list(counts: &BTreeMap<String, usize>) -> String {
    let mut kinds: Vec<(&String, &usize)> = counts.iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let parts: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    parts.join(", ")
}
