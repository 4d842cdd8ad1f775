//! Where a change has to be looked at again.

use std::collections::BTreeSet;

use units::{Hash, MachineId, UnitName};

/// What changes of the registry have touched; many are added up in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Units of which a record, a place, a verdict, an order or a state has changed, or what their content asks for.
    pub units: BTreeSet<UnitName>,
    /// Machines of which the record or the presence has changed, or which are new or forgotten.
    pub machines: BTreeSet<MachineId>,
    /// Machines whose presence was taken in: that concerns what is there and nothing else.
    pub seen: BTreeSet<MachineId>,
    /// Contents that were put, have gone, or have gained or lost a unit.
    pub contents: BTreeSet<Hash>,
    /// It concerns everything: a recovery has begun or is over.
    pub all: bool,
}

impl Touched {
    /// Adds what another change has touched.
    pub fn add(&mut self, other: Self) {
        self.units.extend(other.units);
        self.machines.extend(other.machines);
        self.seen.extend(other.seen);
        self.contents.extend(other.contents);
        self.all |= other.all;
    }
}
