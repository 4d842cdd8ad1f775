//! Machines by how much they hold: the order in which places are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use units::{MachineId, Metadata, Requirements};

/// Machines by load, then id.
pub(crate) type ByLoad = BTreeSet<(usize, MachineId)>;

/// Every machine's load, and the machines in order of it: all of them, and those with each value of the metadata keys
/// that units ask for. So a unit for one machine in a thousand does not look at the thousand.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    machines: BTreeMap<MachineId, Carried>,
    all: ByLoad,
    by_value: BTreeMap<String, BTreeMap<String, ByLoad>>,
}

/// A machine as it was counted.
#[derive(Debug)]
struct Carried {
    load: usize,
    metadata: Metadata,
}

impl Loads {
    /// A machine that carries nothing yet.
    pub(crate) fn add(&mut self, id: MachineId, metadata: &Metadata) {
        let metadata = metadata.clone();
        self.machines.insert(id, Carried { load: 0, metadata });
        self.enter(id, 0);
    }

    /// The machine is forgotten, with what it carries.
    pub(crate) fn remove(&mut self, id: &MachineId) {
        if let Some(carried) = self.machines.get(id) {
            self.leave(*id, carried.load);
            self.machines.remove(id);
        }
    }

    /// The machine carries so much now.
    pub(crate) fn set(&mut self, id: &MachineId, load: usize) {
        let Some(carried) = self.machines.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut carried.load, load);
        if before != load {
            self.leave(*id, before);
            self.enter(*id, load);
        }
    }

    /// From now on machines can be found by what a unit with these requirements asks for.
    pub(crate) fn learn(&mut self, requirements: &Requirements) {
        for key in requirements.metadata.keys() {
            if self.by_value.contains_key(key) {
                continue;
            }
            let mut values: BTreeMap<String, ByLoad> = BTreeMap::new();
            for (id, carried) in &self.machines {
                if let Some(value) = carried.metadata.get(key) {
                    values
                        .entry(value.clone())
                        .or_default()
                        .insert((carried.load, *id));
                }
            }
            self.by_value.insert(key.clone(), values);
        }
    }

    /// What the machine's metadata was when it was counted.
    pub(crate) fn metadata(&self, id: &MachineId) -> Option<&Metadata> {
        self.machines.get(id).map(|carried| &carried.metadata)
    }

    /// How much the machine carries; 0 if it is not known.
    pub(crate) fn load(&self, id: &MachineId) -> usize {
        self.machines.get(id).map_or(0, |carried| carried.load)
    }

    /// Every machine, with its load.
    pub(crate) fn machines(&self) -> impl Iterator<Item = (&MachineId, usize)> {
        self.machines.iter().map(|(id, carried)| (id, carried.load))
    }

    /// Machines that may suit these requirements, least loaded first, ties by id: by the one key that leaves the fewest. Learnt
    /// before.
    pub(crate) fn candidates(&self, requirements: &Requirements) -> Merged<'_> {
        let of_key = |(key, wanted): (&String, &BTreeSet<String>)| {
            let values = self.by_value.get(key)?;
            let sets: Vec<&ByLoad> = wanted.iter().filter_map(|value| values.get(value)).collect();
            Some(sets)
        };
        let size = |sets: &Vec<&ByLoad>| sets.iter().map(|set| set.len()).sum::<usize>();
        let fewest = requirements.metadata.iter().filter_map(of_key).min_by_key(size);
        Merged::of(fewest.unwrap_or_else(|| vec![&self.all]))
    }

    fn enter(&mut self, id: MachineId, load: usize) {
        self.all.insert((load, id));
        self.of_values(&id, |machines| {
            machines.insert((load, id));
        });
    }

    fn leave(&mut self, id: MachineId, load: usize) {
        self.all.remove(&(load, id));
        self.of_values(&id, |machines| {
            machines.remove(&(load, id));
        });
    }

    fn of_values(&mut self, id: &MachineId, mut change: impl FnMut(&mut ByLoad)) {
        let Some(carried) = self.machines.get(id) else {
            return;
        };
        for (key, values) in &mut self.by_value {
            if let Some(value) = carried.metadata.get(key) {
                match values.get_mut(value) {
                    Some(machines) => change(machines),
                    None => change(values.entry(value.clone()).or_default()),
                }
            }
        }
    }
}

/// Several lists of machines as one, least loaded first, ties by id.
#[derive(Debug)]
pub(crate) struct Merged<'a> {
    lists: Vec<Peekable<std::collections::btree_set::Iter<'a, (usize, MachineId)>>>,
}

impl<'a> Merged<'a> {
    /// Of lists that have no machine in common.
    pub(crate) fn of(lists: Vec<&'a ByLoad>) -> Self {
        let lists = lists.into_iter().map(|list| list.iter().peekable()).collect();
        Self { lists }
    }
}

impl Iterator for Merged<'_> {
    type Item = (usize, MachineId);

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.lists.iter_mut().enumerate();
        let (_, at) = heads.filter_map(|(at, list)| Some((**list.peek()?, at))).min()?;
        self.lists.get_mut(at)?.next().copied()
    }
}
