//! What must hold of every cluster, whoever wrote it last. Checked by the tests after every step.

use std::fmt;

use units::{MachineId, Phase, UnitName};

use super::Cluster;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Two units that conflict were both told to run on one machine.
    Conflict(UnitName, UnitName, MachineId),
    /// A unit belongs to a machine that has not been told so.
    Unassigned(UnitName, MachineId),
    /// A unit that is not Global was told to run on machines where it does not belong, beside its own.
    Copies(UnitName, Vec<MachineId>),
    /// A placement, an assignment or a verdict of a unit that does not exist, or that nobody wants.
    Garbage(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(a, b, m) => write!(f, "{a} and {b} conflict and are both on {}", m.short()),
            Self::Unassigned(u, m) => write!(f, "{u} belongs to {}, which was not told", m.short()),
            Self::Copies(u, ms) => {
                let ids: Vec<&str> = ms.iter().map(MachineId::short).collect();
                write!(f, "{u} was told to run on {}", ids.join(" and "))
            }
            Self::Garbage(key) => write!(f, "{key} speaks of nothing"),
        }
    }
}

/// Constraint violations among what machines were told. `retained` copies of units that belong elsewhere are counted
/// by [`Violation::Copies`] and by nothing else: after the cluster has converged there are none.
pub fn check(cluster: &Cluster) -> Vec<Violation> {
    let mut found = Vec::new();
    let requirements = |unit: &UnitName| cluster.units.get(unit).and_then(|u| u.requirements.as_ref().ok());
    for (id, machine) in &cluster.machines {
        let running: Vec<&UnitName> = machine
            .assignments
            .iter()
            .filter(|(_, e)| e.value.as_ref().is_some_and(|a| a.phase == Phase::Run))
            .map(|(unit, _)| unit)
            .collect();
        for a in &running {
            let Some(theirs) = requirements(a) else { continue };
            for b in running.iter().filter(|b| *b != a) {
                if theirs.conflicts.iter().any(|glob| glob.matches(b.as_ref())) {
                    found.push(Violation::Conflict((*a).clone(), (*b).clone(), *id));
                }
            }
        }
    }
    for unit in cluster.schedule.keys() {
        if let Some(home) = cluster.home(unit)
            && !cluster
                .machines
                .get(home)
                .is_some_and(|m| m.assignments.contains_key(unit))
        {
            found.push(Violation::Unassigned(unit.clone(), *home));
        }
        let told = |phase| {
            cluster
                .machines
                .iter()
                .filter(move |(_, m)| m.assignment(unit).is_some_and(|a| a.phase == phase))
        };
        let copies: Vec<MachineId> = told(Phase::Run).map(|(id, _)| *id).collect();
        if copies.len() > 1 {
            found.push(Violation::Copies(unit.clone(), copies));
        }
    }
    let keys = cluster.keys();
    let unknown = |unit: &&UnitName| !cluster.units.contains_key(*unit);
    found.extend(
        cluster
            .schedule
            .keys()
            .filter(unknown)
            .map(|u| Violation::Garbage(keys.schedule(u))),
    );
    found.extend(
        cluster
            .verdicts
            .keys()
            .filter(unknown)
            .map(|u| Violation::Garbage(keys.verdict(u))),
    );
    for (id, machine) in &cluster.machines {
        let gone = machine.assignments.keys().filter(unknown);
        found.extend(gone.map(|u| Violation::Garbage(keys.assign(id, u))));
    }
    found
}
