//! Who holds what while a plan is being made: the cluster as it will be once the decisions so far are done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use units::{MachineId, OnDisconnect, Requirements, UnitName};

use super::balance::{Balance, ByLoad, Rank};
use super::filter::Stance;
use super::replacing::Replacing;
use super::returned::stray;
use crate::cluster::{Cluster, Machine};

/// The cluster, and the occupancy that the plan works on.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) cluster: &'a Cluster,
    /// What each machine holds or still has to let go of. Absent machines keep theirs: a unit on a machine that is
    /// out of sight may well run there.
    occupants: BTreeMap<&'a MachineId, Occupants>,
    by_load: ByLoad<'a>,
    balance: Balance<'a>,
    pub(crate) replacing: Replacing<'a>,
    /// Units that hold a place and whose conflicts reach beyond their machine.
    wide: BTreeMap<UnitName, BTreeSet<&'a MachineId>>,
    /// Machines that have been told something about a unit, or bring a copy of it.
    places: BTreeMap<&'a UnitName, Vec<(&'a MachineId, &'a Machine)>>,
    /// Machines out of sight that may still be ending units with `OnDisconnect=stop`, and until when.
    ending: BTreeMap<MachineId, Duration>,
}

#[derive(Debug, Default)]
struct Occupants {
    units: BTreeMap<UnitName, Holding>,
    /// Those of `units` with conflicts of their own: only they can object to a newcomer.
    guarded: BTreeSet<UnitName>,
    /// Those of `units` with a `Replaces=`.
    carriers: BTreeSet<UnitName>,
}

impl Stance {
    /// Whether what occupies a machine in this way is in the way.
    fn minds(self, holding: Holding) -> bool {
        self == Self::Coming || holding == Holding::Held
    }
}

/// How a unit occupies a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// It belongs there.
    Held,
    /// It is being let go of, and may still run.
    Leaving,
}

impl<'a> View<'a> {
    pub(crate) fn new(cluster: &'a Cluster, ending: BTreeMap<MachineId, Duration>) -> Self {
        let mut view = Self {
            cluster,
            occupants: BTreeMap::new(),
            by_load: cluster.machines.keys().map(|id| (0, id)).collect(),
            balance: Balance::new(cluster),
            replacing: Replacing::new(cluster),
            wide: BTreeMap::new(),
            places: BTreeMap::new(),
            ending,
        };
        for (id, machine) in &cluster.machines {
            for unit in machine.assignments.keys() {
                view.places.entry(unit).or_default().push((id, machine));
                // Settled units take their places one by one; what has to go is in the way from the start.
                if machine.is_releasing(unit) && !view.is_gone(id, unit) {
                    view.occupy(unit, id, Holding::Leaving);
                }
            }
            for unit in machine
                .states
                .keys()
                .filter(|unit| stray(machine, unit).is_some())
            {
                view.places.entry(unit).or_default().push((id, machine));
            }
        }
        view
    }

    /// Machines that have been told something about `unit`, or bring a copy of it, by id.
    pub(crate) fn places(&self, unit: &UnitName) -> Vec<(&'a MachineId, &'a Machine)> {
        self.places.get(unit).cloned().unwrap_or_default()
    }

    /// Every unit that a machine has been told about or brings.
    pub(crate) fn placed_units(
        &self,
    ) -> impl Iterator<Item = (&'a UnitName, &[(&'a MachineId, &'a Machine)])> {
        self.places
            .iter()
            .map(|(unit, places)| (*unit, places.as_slice()))
    }

    /// Until when a machine out of sight may still run a unit that it was told to end without the cluster.
    pub(crate) fn may_run_until(&self, id: &MachineId, unit: &UnitName) -> Option<Duration> {
        let until = self.ending.get(id)?;
        let assignment = self.cluster.machines.get(id)?.assignments.get(unit)?;
        let told = match &assignment.value {
            Some(assignment) => assignment.on_disconnect,
            None => self.cluster.on_disconnect(unit),
        };
        (told == OnDisconnect::Stop).then_some(*until)
    }

    /// Whether the machine has nothing of a unit it was told to release: it said so, it refused it from the start, or it
    /// shows no sign of life (a copy that comes back with it is found again when the machine is taken in).
    pub(crate) fn is_gone(&self, id: &MachineId, unit: &UnitName) -> bool {
        use units::Hold::{Gone, Refused};
        let Some(machine) = self.cluster.machines.get(id) else {
            return true;
        };
        match machine.is_present() {
            true => machine.answers(unit, Gone) || machine.answers(unit, Refused),
            false => self.may_run_until(id, unit).is_none(),
        }
    }

    /// What the unit asks of machines, if that is known.
    pub(crate) fn requirements(&self, unit: &UnitName) -> Option<&'a Arc<Requirements>> {
        self.cluster.units.get(unit)?.requirements.as_ref().ok()
    }

    pub(crate) fn occupy(&mut self, unit: &UnitName, machine: &MachineId, holding: Holding) {
        let Some((id, _)) = self.cluster.machines.get_key_value(machine) else {
            return;
        };
        let requirements = self.requirements(unit);
        let occupants = self.occupants.entry(id).or_default();
        let before = occupants.units.len();
        let was_held = occupants.units.insert(unit.clone(), holding) == Some(Holding::Held);
        let is_held = holding == Holding::Held;
        if self.replacing.is_carrier(unit) {
            occupants.carriers.insert(unit.clone());
        }
        if let Some(requirements) = requirements
            && !requirements.conflicts.is_empty()
        {
            occupants.guarded.insert(unit.clone());
            if !requirements.failure_domain.is_empty() {
                self.wide.entry(unit.clone()).or_default().insert(id);
            }
        }
        let after = occupants.units.len();
        if was_held != is_held {
            self.balance.count(unit, machine, is_held);
        }
        self.reload(id, before, after);
    }

    pub(crate) fn vacate(&mut self, unit: &UnitName, machine: &MachineId) {
        let Some((id, _)) = self.cluster.machines.get_key_value(machine) else {
            return;
        };
        let occupants = self.occupants.entry(id).or_default();
        let before = occupants.units.len();
        let was_held = occupants.units.remove(unit) == Some(Holding::Held);
        occupants.guarded.remove(unit);
        occupants.carriers.remove(unit);
        let after = occupants.units.len();
        if was_held {
            self.balance.count(unit, machine, false);
        }
        self.reload(id, before, after);
        if let Some(machines) = self.wide.get_mut(unit) {
            machines.remove(id);
            if machines.is_empty() {
                self.wide.remove(unit);
            }
        }
    }

    fn reload(&mut self, id: &'a MachineId, before: usize, after: usize) {
        if before != after {
            self.by_load.remove(&(before, id));
            self.by_load.insert((after, id));
            self.balance.reload(id, before, after);
        }
    }

    /// Machines, least loaded first, ties by id.
    pub(crate) fn by_load(&self) -> impl Iterator<Item = (usize, &'a MachineId)> {
        self.by_load.iter().copied()
    }

    /// The machines for a unit that asks to be spread, best first; each rank least loaded first, ties by id.
    pub(crate) fn by_balance(&self, unit: &UnitName) -> Option<Vec<Rank<'_, 'a>>> {
        self.balance.ranks(unit, self.requirements(unit)?)
    }

    /// Units with a `Replaces=` that `machine` holds, by name.
    pub(crate) fn carriers_on(&self, machine: &MachineId) -> impl Iterator<Item = &UnitName> {
        let occupants = self.occupants.get(machine).into_iter();
        occupants.flat_map(|o| {
            let is_held = |unit: &&UnitName| o.units.get(*unit) == Some(&Holding::Held);
            o.carriers.iter().filter(is_held)
        })
    }

    /// The first unit that `machine` holds and that drives `unit` out.
    pub(crate) fn replaced_on(&self, unit: &UnitName, machine: &MachineId) -> Option<&UnitName> {
        self.carriers_on(machine)
            .find(|carrier| self.replacing.drives_out(carrier, unit))
    }

    /// Units that `machine` holds, by name.
    pub(crate) fn held_on(&self, machine: &MachineId) -> impl Iterator<Item = &UnitName> {
        let units = self.occupants.get(machine).into_iter().flat_map(|o| &o.units);
        units.filter_map(|(unit, holding)| (*holding == Holding::Held).then_some(unit))
    }

    /// Whether `machine` holds `unit` for good (not merely until it is released).
    pub(crate) fn holds(&self, machine: &MachineId, unit: &str) -> bool {
        self.occupants.get(machine).and_then(|o| o.units.get(unit)) == Some(&Holding::Held)
    }

    /// The first unit on `machine` that cannot be there together with `unit`, by either one's word.
    pub(crate) fn conflict_on(
        &self,
        unit: &UnitName,
        requirements: &Requirements,
        machine: &MachineId,
        stance: Stance,
    ) -> Option<(&UnitName, Holding)> {
        let occupants = self.occupants.get(machine)?;
        let by_us = |other: &UnitName| requirements.conflicts.iter().any(|g| g.matches(other.as_ref()));
        let by_them = |other: &UnitName| {
            self.requirements(other)
                .is_some_and(|r| r.conflicts.iter().any(|g| g.matches(unit.as_ref())))
        };
        let ours = if requirements.conflicts.is_empty() {
            None
        } else {
            occupants
                .units
                .iter()
                .find(|(other, holding)| *other != unit && stance.minds(**holding) && by_us(other))
        };
        ours.map(|(other, holding)| (other, *holding)).or_else(|| {
            let mut theirs = occupants
                .guarded
                .iter()
                .filter_map(|other| Some((other, *occupants.units.get(other)?)));
            theirs.find(|(other, holding)| *other != unit && stance.minds(*holding) && by_them(other))
        })
    }

    /// The first unit elsewhere in a failure domain that `machine` shares, which by the word of the one that declares
    /// the domain cannot be there together with `unit`: the other unit, how it is there, its machine, and the
    /// metadata key.
    pub(crate) fn conflict_in_domain(
        &self,
        unit: &UnitName,
        requirements: &'a Requirements,
        machine: &MachineId,
        stance: Stance,
    ) -> Option<(&UnitName, Holding, &'a MachineId, &'a str)> {
        let here = &self.cluster.machines.get(machine)?.metadata;
        let shares =
            |there: &Machine, key: &str| here.get(key).is_some() && here.get(key) == there.metadata.get(key);
        if !requirements.failure_domain.is_empty() {
            for (&id, occupants) in self.occupants.iter().filter(|(id, _)| **id != machine) {
                let Some(there) = self.cluster.machines.get(id) else {
                    continue;
                };
                let Some(key) = requirements.failure_domain.iter().find(|k| shares(there, k)) else {
                    continue;
                };
                let hit = |(other, holding): &(&UnitName, &Holding)| {
                    *other != unit
                        && stance.minds(**holding)
                        && requirements
                            .conflicts
                            .iter()
                            .any(|g| g.matches((*other).as_ref()))
                };
                if let Some((other, holding)) = occupants.units.iter().find(hit) {
                    return Some((other, *holding, id, key));
                }
            }
        }
        for (other, machines) in self.wide.iter().filter(|(other, _)| *other != unit) {
            let Some(theirs) = self.requirements(other) else {
                continue;
            };
            if !theirs.conflicts.iter().any(|g| g.matches(unit.as_ref())) {
                continue;
            }
            for &id in machines.iter().filter(|id| **id != machine) {
                let Some(there) = self.cluster.machines.get(id) else {
                    continue;
                };
                let Some(holding) = self.occupants.get(id).and_then(|o| o.units.get(other)) else {
                    continue;
                };
                if let Some(key) = theirs.failure_domain.iter().find(|k| shares(there, k))
                    && stance.minds(*holding)
                {
                    return Some((other, *holding, id, key));
                }
            }
        }
        None
    }
}
