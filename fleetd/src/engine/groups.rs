//! Which machines hold units that a `Conflicts=` names, and units that have one: what is asked of every machine that a
//! unit could go to has to cost the same however many units are there.

use std::collections::{BTreeMap, BTreeSet};

use units::{Glob, MachineId, Requirements, UnitName};

/// Units by machine.
type There = BTreeMap<MachineId, BTreeSet<UnitName>>;

/// Every pattern of a `Conflicts=` that was learnt, and who is where because of it. A pattern that nobody has any more
/// stays until the next full read: to count its users would cost more than it.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    numbers: BTreeMap<Glob, usize>,
    groups: Vec<Group>,
    /// Patterns by what every name they match begins with.
    by_prefix: BTreeMap<String, BTreeMap<Glob, usize>>,
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Units that the pattern matches, where they are.
    pub(crate) named: There,
    /// Units that declare the pattern, where they are.
    pub(crate) declared: There,
    /// Those of `declared` with a `FailureDomain=`.
    pub(crate) wide: There,
}

impl Groups {
    /// Takes in patterns that were not known; `units` are all that are anywhere, from the given name on.
    pub(crate) fn learn<'u, I>(&mut self, globs: &[Glob], units: impl Fn(&str) -> I)
    where
        I: Iterator<Item = (&'u UnitName, &'u [MachineId])>,
    {
        for glob in globs {
            if self.numbers.contains_key(glob) {
                continue;
            }
            let prefix = glob.literal_prefix();
            let mut named = There::new();
            let from_here = units(prefix).take_while(|(unit, _)| unit.as_str().starts_with(prefix));
            for (unit, machines) in from_here.filter(|(unit, _)| glob.matches(unit.as_str())) {
                for id in machines {
                    named.entry(*id).or_default().insert(unit.clone());
                }
            }
            let number = self.groups.len();
            self.numbers.insert(glob.clone(), number);
            let alike = self.by_prefix.entry(prefix.to_owned()).or_default();
            alike.insert(glob.clone(), number);
            self.groups.push(Group {
                named,
                ..Group::default()
            });
        }
    }

    /// The patterns that match `name`, in an order that does not depend on when they were learnt: the first conflict is
    /// the one that is told.
    pub(crate) fn naming(&self, name: &str) -> Vec<usize> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        // Names are ASCII.
        let prefixes = (0..=name.len()).filter_map(|end| self.by_prefix.get(name.get(..end)?));
        let matching = prefixes.flatten().filter(|(glob, _)| glob.matches(name));
        matching.map(|(_, number)| *number).collect()
    }

    /// The numbers of these patterns.
    pub(crate) fn numbers(&self, globs: &[Glob]) -> Vec<usize> {
        let number = |glob| self.numbers.get(glob).copied();
        globs.iter().filter_map(number).collect()
    }

    /// The groups of those numbers.
    pub(crate) fn numbered<'g>(&'g self, numbers: &'g [usize]) -> impl Iterator<Item = &'g Group> {
        numbers.iter().filter_map(|number| self.groups.get(*number))
    }

    /// A unit has come to a machine where it was not before.
    pub(crate) fn enter(&mut self, unit: &UnitName, requirements: Option<&Requirements>, id: MachineId) {
        self.change(unit, requirements, |there| {
            there.entry(id).or_default().insert(unit.clone());
        });
    }

    /// A unit has gone from a machine, with the requirements that it came with.
    pub(crate) fn leave(&mut self, unit: &UnitName, requirements: Option<&Requirements>, id: MachineId) {
        self.change(unit, requirements, |there| {
            if let Some(units) = there.get_mut(&id) {
                units.remove(unit);
                if units.is_empty() {
                    there.remove(&id);
                }
            }
        });
    }

    fn change(
        &mut self,
        unit: &UnitName,
        requirements: Option<&Requirements>,
        mut change: impl FnMut(&mut There),
    ) {
        for number in self.naming(unit.as_str()) {
            if let Some(group) = self.groups.get_mut(number) {
                change(&mut group.named);
            }
        }
        let Some(requirements) = requirements else { return };
        for glob in &requirements.conflicts {
            let number = self.numbers.get(glob).copied();
            if let Some(group) = number.and_then(|n| self.groups.get_mut(n)) {
                change(&mut group.declared);
                if !requirements.failure_domain.is_empty() {
                    change(&mut group.wide);
                }
            }
        }
    }
}
