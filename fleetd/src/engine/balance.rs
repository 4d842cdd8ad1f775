//! `Spread=`: the instances of a template, balanced over the values of metadata keys.
//!
//! Soft: it ranks the machines that pass the filters and turns none down, and nothing that has a place is moved for
//! it. Machines without a key share a value of their own. All instances count, whether they ask to be spread or not.

use std::collections::BTreeMap;

use units::{MachineId, Metadata, Requirements, UnitName};

use super::loads::{ByLoad, Loads};

/// One value for each key of a `Spread=`; `None` where the machine has no such key.
type Values = Vec<Option<String>>;

/// How many instances are in which values of a key.
type Counts = BTreeMap<Option<String>, usize>;

/// How many instances of which template are where. Kept along with every change, so that finding a place looks at
/// each combination of values once and not at each machine.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// By template, then by key and value. Only of templates, and by keys, that some instance has named in `Spread=`.
    instances: BTreeMap<UnitName, BTreeMap<String, Counts>>,
    /// For each list of keys in use, the machines that have the same values.
    domains: BTreeMap<Vec<String>, BTreeMap<Values, ByLoad>>,
}

/// Machines that a unit likes alike, but for their load.
#[derive(Debug)]
pub(crate) struct Rank<'b> {
    keys: &'b [String],
    values: &'b Values,
    /// Instances in each of the values, in the order of the keys: the fewer the better.
    pub(crate) counts: Vec<usize>,
    pub(crate) machines: &'b ByLoad,
}

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
        if requirements.spread.is_empty() {
            return;
        }
        let Some(template) = unit.template() else { return };
        if !self.domains.contains_key(&requirements.spread) {
            let mut domains: BTreeMap<Values, ByLoad> = BTreeMap::new();
            for (id, load) in loads.machines() {
                let values = values(loads.metadata(id), &requirements.spread);
                domains.entry(values).or_default().insert((load, *id));
            }
            self.domains.insert(requirements.spread.clone(), domains);
        }
        let prefix = format!("{}@", unit.prefix());
        let counts = self.instances.entry(template.clone()).or_default();
        for key in &requirements.spread {
            if counts.contains_key(key) {
                continue;
            }
            let mut of_key = Counts::new();
            let alike = units(&prefix).take_while(|(other, _)| other.as_str().starts_with(&prefix));
            for (other, machines) in alike.filter(|(other, _)| other.template().as_ref() == Some(&template)) {
                for id in machines.iter().filter(|id| held(other, id)) {
                    *of_key.entry(value(loads.metadata(id), key)).or_default() += 1;
                }
            }
            counts.insert(key.clone(), of_key);
        }
    }

    /// A machine that carries nothing yet.
    pub(crate) fn add(&mut self, id: MachineId, metadata: &Metadata) {
        for (keys, domains) in &mut self.domains {
            domains
                .entry(values(Some(metadata), keys))
                .or_default()
                .insert((0, id));
        }
    }

    /// A machine goes, that carries nothing any more.
    pub(crate) fn forget(&mut self, id: &MachineId, loads: &Loads) {
        let Some(metadata) = loads.metadata(id) else {
            return;
        };
        for (keys, domains) in &mut self.domains {
            let values = values(Some(metadata), keys);
            if let Some(machines) = domains.get_mut(&values) {
                machines.remove(&(0, *id));
                if machines.is_empty() {
                    domains.remove(&values);
                }
            }
        }
    }

    /// An instance has got a place, or lost it, on a machine with this metadata.
    pub(crate) fn count(&mut self, unit: &UnitName, metadata: Option<&Metadata>, is_there: bool) {
        if self.instances.is_empty() {
            return;
        }
        let counts = unit
            .template()
            .and_then(|template| self.instances.get_mut(&template));
        for (key, values) in counts.into_iter().flatten() {
            let count = values.entry(value(metadata, key)).or_default();
            *count = match is_there {
                true => *count + 1,
                false => count.saturating_sub(1),
            };
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
    pub(crate) fn ranks(&self, unit: &UnitName, requirements: &Requirements) -> Option<Vec<Rank<'_>>> {
        let (keys, domains) = self.domains.get_key_value(&requirements.spread)?;
        let instances = self.instances.get(&unit.template()?)?;
        let rank = |(values, machines)| Rank {
            keys,
            values,
            counts: std::iter::zip(keys, values)
                .map(|(key, value)| {
                    let of_key = instances.get(key.as_str());
                    of_key.and_then(|n| n.get(value)).copied().unwrap_or(0)
                })
                .collect(),
            machines,
        };
        let mut ranks: Vec<Rank<'_>> = domains.iter().map(rank).collect();
        ranks.sort_by(|a, b| a.counts.cmp(&b.counts));
        Some(ranks)
    }
}

impl Rank<'_> {
    /// `zone=b (1) and region=eu (2)`: the values, and how many instances are there.
    pub(crate) fn words(&self) -> String {
        let domains = self.keys.iter().zip(self.values).zip(&self.counts);
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
