//! The cluster as it will be once the decisions so far are done: what a plan looks at and works on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use units::{MachineId, Metadata, OnDisconnect, Requirements, UnitName};

use super::draft::Draft;
use super::filter::Stance;
use super::groups::Group;
use super::occupancy::{Holding, Occupancy};
use super::replacing::Replacing;
use super::returned::stray;
use crate::cluster::{Cluster, Machine};

/// The cluster, and the occupancy that the plan works on.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) occupancy: Occupancy,
    pub(crate) replacing: Replacing<'a>,
    /// Machines out of sight that may still be ending units with `OnDisconnect=stop`, and until when.
    pub(crate) ending: BTreeMap<MachineId, Duration>,
}

/// A unit that machines are asked about: what is the same for all of them is looked up once.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) unit: &'a UnitName,
    pub(crate) requirements: &'a Arc<Requirements>,
    /// The patterns of its own `Conflicts=`.
    names: Vec<usize>,
    /// The patterns of anybody's `Conflicts=` that name it.
    named_by: Vec<usize>,
}

impl Stance {
    /// Whether what occupies a machine in this way is in the way.
    fn minds(self, holding: Holding) -> bool {
        self == Self::Coming || holding == Holding::Held
    }
}

impl<'a> View<'a> {
    /// Begins anew with a unit: it asks for what it asks for now, and holds nothing but what it still has to let go of.
    pub(crate) fn renew(&mut self, draft: &Draft<'a>) {
        let unit = draft.unit;
        self.occupancy.renew_unit(unit, draft.requirements());
        for (id, machine) in &draft.places {
            // Settled units take their places one by one; what has to go is in the way from the start.
            if machine.is_releasing(unit) && !self.is_gone(id, unit) {
                self.occupancy.occupy(unit, id, Holding::Leaving);
            }
        }
    }

    /// Machines that have been told something about `unit`, or bring a copy of it, by id.
    pub(crate) fn places(&self, unit: &UnitName) -> Vec<(&'a MachineId, &'a Machine)> {
        let machines = self.cluster.places(unit).iter();
        let there = |id| self.cluster.machines.get_key_value(id);
        machines
            .filter_map(there)
            .filter(|(_, m)| m.assignments.contains_key(unit) || stray(m, unit).is_some())
            .collect()
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

    /// The unit as one that machines can be asked about.
    pub(crate) fn asker<'u>(&self, unit: &'u UnitName, requirements: &'u Arc<Requirements>) -> Asker<'u> {
        Asker {
            unit,
            requirements,
            names: self.occupancy.groups.numbers(&requirements.conflicts),
            named_by: self.occupancy.groups.naming(unit.as_str()),
        }
    }

    /// Units with a `Replaces=` that `machine` holds, by name.
    pub(crate) fn carriers_on(&self, machine: &MachineId) -> impl Iterator<Item = &UnitName> {
        // By the shorter of two lists: in most clusters there is no carrier at all.
        let carriers = &self.replacing.carriers;
        let few = carriers.len() <= self.occupancy.loads.load(machine);
        let of_all = few.then(|| carriers.keys().filter(|unit| self.holds(machine, unit.as_ref())));
        let here = |unit: &&UnitName| carriers.contains_key(*unit);
        let of_machine = (!few).then(|| self.held_on(machine).filter(here));
        of_all
            .into_iter()
            .flatten()
            .chain(of_machine.into_iter().flatten())
    }

    /// The first unit that `machine` holds and that drives `unit` out.
    pub(crate) fn replaced_on(&self, unit: &UnitName, machine: &MachineId) -> Option<&UnitName> {
        self.carriers_on(machine)
            .find(|carrier| self.replacing.drives_out(carrier, unit))
    }

    /// Units that `machine` holds, by name.
    pub(crate) fn held_on(&self, machine: &MachineId) -> impl Iterator<Item = &UnitName> {
        let is_held = |(unit, holding)| (holding == Holding::Held).then_some(unit);
        self.occupancy.on(machine).filter_map(is_held)
    }

    /// Whether `machine` holds `unit` for good (not merely until it is released).
    pub(crate) fn holds(&self, machine: &MachineId, unit: &str) -> bool {
        self.occupancy.holding(unit, machine) == Some(Holding::Held)
    }

    /// Units on `machine` that cannot be there together with the asker, by either one's word.
    pub(crate) fn conflicts_on<'v>(
        &'v self,
        asker: &'v Asker<'v>,
        machine: &'v MachineId,
        stance: Stance,
    ) -> impl Iterator<Item = (&'v UnitName, Holding)> {
        self.in_the_way(asker, machine)
            .filter_map(|other| Some((other, self.occupancy.holding(other.as_ref(), machine)?)))
            .filter(move |(_, holding)| stance.minds(*holding))
    }

    /// The same, but for how they are there: of all that turns machines down the cheapest to see.
    pub(crate) fn in_the_way<'v>(
        &'v self,
        asker: &'v Asker<'v>,
        machine: &'v MachineId,
    ) -> impl Iterator<Item = &'v UnitName> {
        let groups = &self.occupancy.groups;
        let by_us = groups.numbered(&asker.names).map(|g| &g.named);
        let by_them = groups.numbered(&asker.named_by).map(|g| &g.declared);
        by_us
            .chain(by_them)
            .filter_map(|there| there.get(machine))
            .flatten()
            .filter(|other| *other != asker.unit)
    }

    /// Units elsewhere in a failure domain that `machine` shares, which by the word of the one that declares the domain
    /// cannot be there together with the asker: the other unit, how it is there, its machine, and the metadata key.
    pub(crate) fn conflicts_in_domain<'v>(
        &'v self,
        asker: &'v Asker<'v>,
        machine: &'v MachineId,
        stance: Stance,
    ) -> impl Iterator<Item = (&'v UnitName, Holding, MachineId, &'v str)> {
        let groups = &self.occupancy.groups;
        let here = self.cluster.machines.get(machine).map(|m| &m.metadata);
        let ours = &asker.requirements.failure_domain;
        let by_us = (!ours.is_empty()).then(|| groups.numbered(&asker.names));
        let by_us = by_us.into_iter().flatten().map(|g: &Group| &g.named);
        let by_them = groups.numbered(&asker.named_by);
        let named = by_us.flatten().filter(move |(id, _)| *id != machine);
        let named = named.filter_map(move |(id, units)| {
            let key = self.shared(here?, id, ours)?;
            Some((id, units, key))
        });
        let named = named.flat_map(|(id, units, key)| units.iter().map(move |unit| (unit, id, key)));
        let wide = by_them
            .flat_map(|g| &g.wide)
            .filter(move |(id, _)| *id != machine);
        let wide = wide.flat_map(|(id, units)| units.iter().map(move |unit| (unit, id)));
        let naming = wide.filter_map(move |(unit, id)| {
            let theirs = self.occupancy.known(unit)?;
            Some((unit, id, self.shared(here?, id, &theirs.failure_domain)?))
        });
        named
            .chain(naming)
            .filter(|(other, _, _)| *other != asker.unit)
            .filter_map(|(other, id, key)| {
                let holding = self.occupancy.holding(other.as_ref(), id)?;
                Some((other, holding, *id, key))
            })
            .filter(move |(_, holding, _, _)| stance.minds(*holding))
    }

    /// The first of the keys of which that machine has the same value.
    fn shared<'k>(&self, here: &Metadata, there: &MachineId, keys: &'k [String]) -> Option<&'k str> {
        let there = &self.cluster.machines.get(there)?.metadata;
        let shares = |key: &&String| here.get(*key).is_some_and(|value| there.get(*key) == Some(value));
        keys.iter().find(shares).map(String::as_str)
    }
}
