//! `Spread=`: the instances of a template, balanced over the values of metadata keys.
//!
//! Soft: it ranks the machines that pass the filters and turns none down, and nothing that has a place is moved for
//! it. Machines without a key share a value of their own. All instances count, whether they ask to be spread or not.

use std::collections::{BTreeMap, BTreeSet};

use units::{MachineId, Metadata, Requirements, UnitName};

use super::loads::{ByLoad, Loads, Merged};

/// One value for each key of a `Spread=`; `None` where the machine has no such key.
type Values = Vec<Option<String>>;

/// How many instances are in which values of a key.
type Counts = BTreeMap<Option<String>, usize>;

/// How many instances of which template are where. Kept along with every change, so that finding a place looks neither
/// at each machine nor at each value.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// For each list of keys in use, the machines that have the same values.
    domains: BTreeMap<Vec<String>, BTreeMap<Values, ByLoad>>,
    /// Only of templates of which some instance has had a `Spread=`.
    templates: BTreeMap<UnitName, Instances>,
}

/// Where the instances of one template are.
#[derive(Debug, Default)]
struct Instances {
    /// By key and value; only of keys that some instance has named.
    counts: BTreeMap<String, Counts>,
    /// For each list of keys, all values that machines have, by how many instances are there: the fewer the better.
    ranks: BTreeMap<Vec<String>, BTreeMap<Vec<usize>, BTreeSet<Values>>>,
}

/// Machines that a unit likes alike, but for their load.
#[derive(Debug)]
pub(crate) struct Rank<'b> {
    keys: &'b [String],
    /// Instances in each of the values, in the order of the keys.
    counts: &'b [usize],
    alike: &'b BTreeSet<Values>,
    domains: &'b BTreeMap<Values, ByLoad>,
}

/// Up to so many values are gone through each by itself. Of more, the next machine by load has one of them nearly always.
const FEW: usize = 8;

impl Balance {
    /// Takes in what the unit asks for; `units` are all that are anywhere, from the given name on, and `held` says
    /// whether one of them belongs there.
    pub(crate) fn learn<'u, I>(
        &mut self,
        unit: &UnitName,
        requirements: &Requirements,
        loads: &Loads,
        units: impl Fn(&str) -> I,
        held: impl Fn(&UnitName, &MachineId) -> bool,
    ) where
        I: Iterator<Item = (&'u UnitName, &'u [MachineId])>,
    {
        let keys = &requirements.spread;
        let Some(template) = unit.template().filter(|_| !keys.is_empty()) else {
            return;
        };
        let domains = self.domains.entry(keys.clone()).or_insert_with(|| {
            let mut domains: BTreeMap<Values, ByLoad> = BTreeMap::new();
            for (id, load) in loads.machines() {
                let values = values(loads.metadata(id), keys);
                domains.entry(values).or_default().insert((load, *id));
            }
            domains
        });
        let instances = self.templates.entry(template.clone()).or_default();
        if instances.ranks.contains_key(keys) {
            return;
        }
        let prefix = format!("{}@", unit.prefix());
        for key in keys
            .iter()
            .filter(|key| !instances.counts.contains_key(*key))
            .collect::<Vec<_>>()
        {
            let mut of_key = Counts::new();
            let alike = units(&prefix).take_while(|(other, _)| other.as_str().starts_with(&prefix));
            for (other, machines) in alike.filter(|(other, _)| other.template().as_ref() == Some(&template)) {
                for id in machines.iter().filter(|id| held(other, id)) {
                    *of_key.entry(value(loads.metadata(id), key)).or_default() += 1;
                }
            }
            instances.counts.insert(key.clone(), of_key);
        }
        instances.ranks.insert(keys.clone(), BTreeMap::new());
        for values in domains.keys() {
            instances.rank(keys, values);
        }
    }

    /// A machine that carries nothing yet.
    pub(crate) fn add(&mut self, id: MachineId, metadata: &Metadata) {
        for (keys, domains) in &mut self.domains {
            let values = values(Some(metadata), keys);
            if !domains.contains_key(&values) {
                self.templates
                    .values_mut()
                    .for_each(|instances| instances.rank(keys, &values));
            }
            domains.entry(values).or_default().insert((0, id));
        }
    }

    /// A machine goes, that carries nothing any more.
    pub(crate) fn forget(&mut self, id: &MachineId, loads: &Loads) {
        let Some(metadata) = loads.metadata(id) else {
            return;
        };
        for (keys, domains) in &mut self.domains {
            let values = values(Some(metadata), keys);
            let Some(machines) = domains.get_mut(&values) else {
                continue;
            };
            machines.remove(&(0, *id));
            if machines.is_empty() {
                domains.remove(&values);
                self.templates
                    .values_mut()
                    .for_each(|instances| instances.unrank(keys, &values));
            }
        }
    }

    /// An instance has got a place, or lost it, on a machine with this metadata.
    pub(crate) fn count(&mut self, unit: &UnitName, metadata: Option<&Metadata>, is_there: bool) {
        if self.templates.is_empty() {
            return;
        }
        let Some(instances) = unit.template().and_then(|t| self.templates.get_mut(&t)) else {
            return;
        };
        let lists: Vec<Vec<String>> = instances.ranks.keys().cloned().collect();
        let mut moved: Vec<(&Vec<String>, Values)> = Vec::new();
        for keys in &lists {
            let here = values(metadata, keys);
            let shares = |there: &&Values| std::iter::zip(*there, &here).any(|(a, b)| a == b);
            match keys.len() {
                1 => moved.push((keys, here)),
                _ => {
                    let domains = self.domains.get(keys).into_iter().flat_map(BTreeMap::keys);
                    moved.extend(domains.filter(shares).map(|values| (keys, values.clone())));
                }
            }
        }
        for (keys, values) in &moved {
            instances.unrank(keys, values);
        }
        for (key, values) in &mut instances.counts {
            let count = values.entry(value(metadata, key)).or_default();
            *count = match is_there {
                true => *count + 1,
                false => count.saturating_sub(1),
            };
        }
        for (keys, values) in moved {
            if self
                .domains
                .get(keys)
                .is_some_and(|domains| domains.contains_key(&values))
            {
                instances.rank(keys, &values);
            }
        }
    }

    /// A machine's load is this now; `loads` still says what it was.
    pub(crate) fn reload(&mut self, id: &MachineId, loads: &Loads, load: usize) {
        if self.domains.is_empty() {
            return;
        }
        let (metadata, before) = (loads.metadata(id), loads.load(id));
        for (keys, domains) in &mut self.domains {
            if let Some(machines) = domains.get_mut(&values(metadata, keys)) {
                machines.remove(&(before, *id));
                machines.insert((load, *id));
            }
        }
    }

    /// The machines for an instance, best first; `None` if it does not ask to be spread.
    pub(crate) fn ranks(
        &self,
        unit: &UnitName,
        requirements: &Requirements,
    ) -> Option<impl Iterator<Item = Rank<'_>>> {
        if requirements.spread.is_empty() {
            return None;
        }
        let (keys, domains) = self.domains.get_key_value(&requirements.spread)?;
        let ranks = self.templates.get(&unit.template()?)?.ranks.get(keys)?;
        Some(ranks.iter().map(move |(counts, alike)| Rank {
            keys,
            counts,
            alike,
            domains,
        }))
    }
}

impl Instances {
    fn counts(&self, keys: &[String], values: &Values) -> Vec<usize> {
        let count = |(key, value): (&String, &Option<String>)| {
            let of_key = self.counts.get(key.as_str());
            of_key.and_then(|n| n.get(value)).copied().unwrap_or(0)
        };
        std::iter::zip(keys, values).map(count).collect()
    }

    fn rank(&mut self, keys: &[String], values: &Values) {
        let counts = self.counts(keys, values);
        if let Some(ranks) = self.ranks.get_mut(keys) {
            ranks.entry(counts).or_default().insert(values.clone());
        }
    }

    fn unrank(&mut self, keys: &[String], values: &Values) {
        let counts = self.counts(keys, values);
        let Some(ranks) = self.ranks.get_mut(keys) else {
            return;
        };
        if let Some(alike) = ranks.get_mut(&counts) {
            alike.remove(values);
            if alike.is_empty() {
                ranks.remove(&counts);
            }
        }
    }
}

impl<'b> Rank<'b> {
    /// Its machines that may suit these requirements, least loaded first, ties by id.
    pub(crate) fn machines(
        &self,
        loads: &'b Loads,
        requirements: &Requirements,
    ) -> Box<dyn Iterator<Item = (usize, MachineId)> + 'b> {
        let (keys, alike) = (self.keys, self.alike);
        if alike.len() <= FEW {
            let lists = alike.iter().filter_map(|values| self.domains.get(values));
            return Box::new(Merged::of(lists.collect()));
        }
        let is_alike = move |(_, id): &(usize, MachineId)| alike.contains(&values(loads.metadata(id), keys));
        Box::new(loads.candidates(requirements).filter(is_alike))
    }

    /// `zone=b (1) and region=eu (2)`: the values of one of its machines, and how many instances are there.
    pub(crate) fn words(&self, id: &MachineId, loads: &Loads) -> String {
        let values = values(loads.metadata(id), self.keys);
        let domains = self.keys.iter().zip(values).zip(self.counts);
        let words = domains.map(|((key, value), count)| match value {
            Some(value) => format!("{key}={value} ({count})"),
            None => format!("no {key} ({count})"),
        });
        words.collect::<Vec<_>>().join(" and ")
    }
}

fn value(metadata: Option<&Metadata>, key: &str) -> Option<String> {
    metadata?.get(key).cloned()
}

fn values(metadata: Option<&Metadata>, keys: &[String]) -> Values {
    keys.iter().map(|key| value(metadata, key)).collect()
}
