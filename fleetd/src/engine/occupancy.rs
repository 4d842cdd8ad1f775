//! Who holds what: the one thing that every decision about one unit looks up and that every decision changes.
//!
//! Kept from one plan to the next and changed with each decision, so that a plan costs what has changed and not what
//! there is.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use units::{MachineId, Metadata, Requirements, UnitName};

use super::balance::Balance;
use super::groups::Groups;
use super::loads::Loads;

/// How a unit occupies a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// It belongs there.
    Held,
    /// It is being let go of, and may still run.
    Leaving,
}

/// What each machine holds or still has to let go of. Absent machines keep theirs: a unit on a machine that is out of
/// sight may well run there.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    machines: BTreeMap<MachineId, BTreeMap<UnitName, Holding>>,
    tenants: BTreeMap<UnitName, Tenant>,
    pub(crate) loads: Loads,
    pub(crate) balance: Balance,
    pub(crate) groups: Groups,
}

/// A unit as it was counted.
#[derive(Debug, Default)]
struct Tenant {
    requirements: Option<Arc<Requirements>>,
    machines: Vec<MachineId>,
}

impl Occupancy {
    /// A machine that was not there, or is not the same any more: it holds nothing until units are counted again. With the
    /// metadata that it had it stays where it was among the others: to rank it anew costs more than all its units.
    pub(crate) fn renew_machine(&mut self, id: MachineId, metadata: Option<&Metadata>) {
        for unit in self.on(&id).map(|(unit, _)| unit.clone()).collect::<Vec<_>>() {
            self.vacate(&unit, &id);
        }
        if metadata.is_some() && self.loads.metadata(&id) == metadata {
            return;
        }
        self.machines.remove(&id);
        self.balance.forget(&id, &self.loads);
        self.loads.remove(&id);
        if let Some(metadata) = metadata {
            self.machines.insert(id, BTreeMap::new());
            self.loads.add(id, metadata);
            self.balance.add(id, metadata);
        }
    }

    /// From now on machines can be found by what a unit with these requirements asks for.
    pub(crate) fn learn(&mut self, unit: &UnitName, requirements: &Requirements) {
        let Self {
            machines,
            tenants,
            loads,
            balance,
            groups,
        } = self;
        let from = |name: &str| {
            let from: (Bound<&str>, _) = (Bound::Included(name), Bound::Unbounded);
            let tenants = tenants.range::<str, _>(from);
            tenants.map(|(unit, tenant)| (unit, tenant.machines.as_slice()))
        };
        let held = |unit: &UnitName, id: &MachineId| {
            let units = machines.get(id);
            units.and_then(|units| units.get(unit)) == Some(&Holding::Held)
        };
        loads.learn(requirements);
        groups.learn(&requirements.conflicts, from);
        balance.learn(unit, requirements, loads, from, held);
    }

    /// The unit holds nothing, and asks for this from now on; it was learnt.
    pub(crate) fn renew_unit(&mut self, unit: &UnitName, requirements: Option<&Arc<Requirements>>) {
        for id in self.machines_of(unit.as_str()).to_vec() {
            self.vacate(unit, &id);
        }
        match requirements.cloned() {
            Some(requirements) => {
                self.tenants.entry(unit.clone()).or_default().requirements = Some(requirements);
            }
            None => drop(self.tenants.remove(unit)),
        }
    }

    /// What the unit asked for when it was counted last.
    pub(crate) fn known(&self, unit: &UnitName) -> Option<&Arc<Requirements>> {
        self.tenants.get(unit)?.requirements.as_ref()
    }

    /// Machines that the unit of that name occupies, in no order.
    pub(crate) fn machines_of(&self, unit: &str) -> &[MachineId] {
        self.tenants
            .get(unit)
            .map_or(&[], |tenant| tenant.machines.as_slice())
    }

    /// Units that occupy the machine, by name.
    pub(crate) fn on(&self, id: &MachineId) -> impl Iterator<Item = (&UnitName, Holding)> {
        let units = self.machines.get(id).into_iter().flatten();
        units.map(|(unit, holding)| (unit, *holding))
    }

    /// How the unit occupies the machine, if it does.
    pub(crate) fn holding(&self, unit: &str, id: &MachineId) -> Option<Holding> {
        self.machines.get(id)?.get(unit).copied()
    }

    /// The unit occupies a machine of the cluster, in this way.
    pub(crate) fn occupy(&mut self, unit: &UnitName, id: &MachineId, holding: Holding) {
        let Some(units) = self.machines.get_mut(id) else {
            return;
        };
        let before = units.insert(unit.clone(), holding);
        let load = units.len();
        if (before == Some(Holding::Held)) != (holding == Holding::Held) {
            self.balance
                .count(unit, self.loads.metadata(id), holding == Holding::Held);
        }
        if before.is_some() {
            return;
        }
        self.balance.reload(id, &self.loads, load);
        self.loads.set(id, load);
        let tenant = self.tenants.entry(unit.clone()).or_default();
        tenant.machines.push(*id);
        self.groups.enter(unit, tenant.requirements.as_deref(), *id);
    }

    /// The unit does not occupy the machine any more.
    pub(crate) fn vacate(&mut self, unit: &UnitName, id: &MachineId) {
        let Some(units) = self.machines.get_mut(id) else {
            return;
        };
        let Some(before) = units.remove(unit) else { return };
        let load = units.len();
        if before == Holding::Held {
            self.balance.count(unit, self.loads.metadata(id), false);
        }
        self.balance.reload(id, &self.loads, load);
        self.loads.set(id, load);
        let Some(tenant) = self.tenants.get_mut(unit) else {
            return;
        };
        self.groups.leave(unit, tenant.requirements.as_deref(), *id);
        tenant.machines.retain(|there| there != id);
        if tenant.machines.is_empty() && tenant.requirements.is_none() {
            self.tenants.remove(unit);
        }
    }
}
