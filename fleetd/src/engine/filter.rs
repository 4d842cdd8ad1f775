//! The filters a machine must pass to hold a unit, in the order they are tried, each with its reason.
//!
//! The first that fails is the reason given for that machine. To add a filter: a variant of [`Rejection`], its two
//! texts, and a line in [`check`].

use std::fmt;

use units::{Hold, MachineId, Requirements, UnitName};

use super::occupancy::Holding;
use super::view::{Asker, View};
use crate::cluster::Machine;

/// Why a machine cannot hold a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// It shows no sign of life.
    Absent,
    /// It is leaving the cluster.
    Leaving,
    /// Its record cannot be read: nobody knows what it offers.
    Unreadable,
    /// `MachineID=` names another machine.
    MachineId(String),
    /// `MachineMetadata=` does not match: the key, what is wanted, what the machine has.
    Metadata {
        /// The metadata key.
        key: String,
        /// The accepted values.
        wanted: Vec<String>,
        /// The machine's value.
        has: Option<String>,
    },
    /// `FailureDomain=` needs a metadata key that the machine does not have.
    NoDomain(String),
    /// The machine will not take the name: its own words.
    NameClash(String),
    /// `MachineOf=` names a unit that does not belong there.
    MachineOf(String),
    /// A unit there conflicts.
    Conflict {
        /// The unit in the way.
        unit: UnitName,
        /// It is on its way out.
        leaving: bool,
    },
    /// A unit on another machine of the same failure domain conflicts.
    DomainConflict {
        /// The unit in the way.
        unit: UnitName,
        /// Where it is.
        machine: MachineId,
        /// The metadata key that both machines share the value of.
        key: String,
        /// It is on its way out.
        leaving: bool,
    },
    /// A unit there has a `Replaces=` that matches.
    Replaced(UnitName),
    /// It would drive out a unit that `MachineOf=` wants there.
    ReplacesPeer(UnitName),
}

/// What the unit is to the machine it is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stance {
    /// It is to come there: what is on its way out is still in the way.
    Coming,
    /// It belongs there: what is on its way out makes room for it, and so is no reason to go.
    Staying,
}

impl Rejection {
    /// The kind, for counting machines that were turned down alike.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "not present",
            Self::Leaving => "leaving the cluster",
            Self::Unreadable => "record cannot be read",
            Self::MachineId(_) => "not the machine named by MachineID",
            Self::Metadata { .. } => "metadata does not match",
            Self::NoDomain(_) => "lacks the FailureDomain metadata",
            Self::NameClash(_) => "name belongs to the host",
            Self::MachineOf(_) => "MachineOf unit is not there",
            Self::Conflict { .. } => "conflicting unit there",
            Self::DomainConflict { .. } => "conflicting unit in the same failure domain",
            Self::Replaced(_) => "replaced by a unit there",
            Self::ReplacesPeer(_) => "Replaces and MachineOf contradict",
        }
    }

    /// Whether it ends by itself within moments, without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Conflict { leaving: true, .. } | Self::DomainConflict { leaving: true, .. }
        )
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(f, "shows no sign of life"),
            Self::Leaving => write!(f, "is leaving the cluster"),
            Self::Unreadable => write!(f, "has a record that cannot be read"),
            Self::MachineId(wanted) => write!(f, "is not {wanted}, which MachineID= asks for"),
            Self::Metadata {
                key,
                wanted,
                has: Some(has),
            } => {
                write!(
                    f,
                    "has {key}={has}, MachineMetadata= asks for {}",
                    pairs(key, wanted)
                )
            }
            Self::Metadata {
                key,
                wanted,
                has: None,
            } => {
                write!(
                    f,
                    "has no metadata {key}, MachineMetadata= asks for {}",
                    pairs(key, wanted)
                )
            }
            Self::NoDomain(key) => write!(f, "has no metadata {key}, which FailureDomain= needs"),
            Self::NameClash(words) => f.write_str(words),
            Self::MachineOf(peer) => write!(f, "does not hold {peer}, which MachineOf= asks for"),
            Self::Conflict { unit, leaving: false } => write!(f, "holds {unit}, which conflicts"),
            Self::Conflict { unit, leaving: true } => {
                write!(f, "still has to let go of {unit}, which conflicts")
            }
            Self::DomainConflict {
                unit,
                machine,
                key,
                leaving,
            } => {
                let holds = if *leaving {
                    "still has to let go of"
                } else {
                    "holds"
                };
                write!(
                    f,
                    "shares its {key} with {}, which {holds} {unit}, which conflicts",
                    machine.short()
                )
            }
            Self::Replaced(unit) => write!(f, "holds {unit}, which replaces it"),
            Self::ReplacesPeer(peer) => write!(
                f,
                "would have to hold {peer} for MachineOf=, which its Replaces= drives out"
            ),
        }
    }
}

fn pairs(key: &str, values: &[String]) -> String {
    let pairs: Vec<String> = values.iter().map(|v| format!("{key}={v}")).collect();
    pairs.join(" or ")
}

/// Whether the machine can hold the unit that asks, given what the machines hold in `view`; the unit itself is never in
/// its own way.
///
/// # Errors
/// The first filter that does not pass.
pub(crate) fn check(
    view: &View<'_>,
    asker: &Asker<'_>,
    id: &MachineId,
    stance: Stance,
) -> Result<(), Rejection> {
    let Some(machine) = view.cluster.machines.get(id).filter(|m| m.is_present()) else {
        return Err(Rejection::Absent);
    };
    if !machine.is_open() {
        return Err(Rejection::Leaving);
    }
    suits(machine, id, asker.requirements)?;
    if machine.is_unreadable && stance == Stance::Coming {
        return Err(Rejection::Unreadable);
    }
    if let Some(words) = refusal(view, asker.unit, machine) {
        return Err(Rejection::NameClash(words));
    }
    if let Some((other, holding)) = view.conflicts_on(asker, id, stance).next() {
        return Err(Rejection::Conflict {
            unit: other.clone(),
            leaving: holding == Holding::Leaving,
        });
    }
    if let Some((other, holding, machine, key)) = view.conflicts_in_domain(asker, id, stance).next() {
        return Err(Rejection::DomainConflict {
            unit: other.clone(),
            machine,
            key: key.to_owned(),
            leaving: holding == Holding::Leaving,
        });
    }
    if let Some(peer) = view.replacing.own_peer(asker.unit) {
        return Err(Rejection::ReplacesPeer(peer.clone()));
    }
    // Who makes room for whom on one machine the plan settles by itself: it depends on who stays.
    if stance == Stance::Coming
        && let Some(carrier) = view.replaced_on(asker.unit, id)
    {
        return Err(Rejection::Replaced(carrier.clone()));
    }
    // Last, for the plan looks at peers only when everything else about a unit is settled.
    has_peers(view, asker.requirements, id)
}

/// Whether the machine can take the unit that asks, if nobody wants to know why not: what turns most machines down where
/// many are, a conflict, is looked at first.
pub(crate) fn takes(view: &View<'_>, asker: &Asker<'_>, id: &MachineId) -> bool {
    view.in_the_way(asker, id).next().is_none() && check(view, asker, id, Stance::Coming).is_ok()
}

/// Whether all units that `MachineOf=` names belong to that machine.
///
/// # Errors
/// The first that does not.
pub(crate) fn has_peers(
    view: &View<'_>,
    requirements: &Requirements,
    id: &MachineId,
) -> Result<(), Rejection> {
    match requirements.machine_of.iter().find(|peer| !view.holds(id, peer)) {
        Some(peer) => Err(Rejection::MachineOf(peer.clone())),
        None => Ok(()),
    }
}

/// Whether the machine itself, whatever it holds and whether it is in sight, is what the unit asks for.
///
/// # Errors
/// The first filter that does not pass.
pub(crate) fn suits(machine: &Machine, id: &MachineId, requirements: &Requirements) -> Result<(), Rejection> {
    if let Some(wanted) = &requirements.machine_id
        && !id.matches_requirement(wanted)
    {
        return Err(Rejection::MachineId(wanted.clone()));
    }
    // What its metadata is nobody knows: that is no reason to go.
    let is_known = !machine.is_unreadable;
    for (key, wanted) in requirements.metadata.iter().filter(|_| is_known) {
        let has = machine.metadata.get(key);
        if !has.is_some_and(|value| wanted.contains(value)) {
            let wanted = wanted.iter().cloned().collect();
            return Err(Rejection::Metadata {
                key: key.clone(),
                wanted,
                has: has.cloned(),
            });
        }
    }
    if let Some(key) = requirements
        .failure_domain
        .iter()
        .find(|k| is_known && !machine.metadata.contains_key(*k))
    {
        return Err(Rejection::NoDomain(key.clone()));
    }
    Ok(())
}

/// The machine's own word against this unit, as long as the unit is the one it spoke of: an answer to an earlier order
/// says nothing about the present one.
fn refusal(view: &View<'_>, unit: &UnitName, machine: &Machine) -> Option<String> {
    let state = &machine.states.get(unit)?.value;
    let assigned = machine.assignment(unit)?.generation;
    let current = view.cluster.units.get(unit)?.generation;
    (machine.answers(unit, Hold::Refused) && assigned == current).then(|| {
        state
            .problem
            .clone()
            .unwrap_or_else(|| "refuses the unit".to_owned())
    })
}
