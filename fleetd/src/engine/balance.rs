//! `Spread=`: the instances of a template, balanced over the values of metadata keys.
//!
//! Soft: it ranks the machines that pass the filters and turns none down, and nothing that has a place is moved for
//! it. Machines without a key share a value of their own. All instances count, whether they ask to be spread or not.

use std::collections::{BTreeMap, BTreeSet};

use units::{MachineId, Requirements, UnitName};

use crate::cluster::Cluster;

/// One value for each key of a `Spread=`; `None` where the machine has no such key.
type Values<'a> = Vec<Option<&'a str>>;

/// Machines by load, then id: the order in which places are tried.
pub(crate) type ByLoad<'a> = BTreeSet<(usize, &'a MachineId)>;

/// How many instances of which template are where. Kept along with every change, so that finding a place looks at
/// each combination of values once and not at each machine.
#[derive(Debug)]
pub(crate) struct Balance<'a> {
    cluster: &'a Cluster,
    /// By template, then by key and value. Only of templates, and by keys, that some instance names in `Spread=`.
    instances: BTreeMap<UnitName, BTreeMap<&'a str, BTreeMap<Option<&'a str>, usize>>>,
    /// For each list of keys in use, the machines that have the same values.
    domains: BTreeMap<&'a [String], BTreeMap<Values<'a>, ByLoad<'a>>>,
}

/// Machines that a unit likes alike, but for their load.
#[derive(Debug)]
pub(crate) struct Rank<'b, 'a> {
    keys: &'a [String],
    values: &'b Values<'a>,
    /// Instances in each of the values, in the order of the keys: the fewer the better.
    pub(crate) counts: Vec<usize>,
    pub(crate) machines: &'b ByLoad<'a>,
}

impl<'a> Balance<'a> {
    /// Nothing is anywhere yet.
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        let mut balance = Self {
            cluster,
            instances: BTreeMap::new(),
            domains: BTreeMap::new(),
        };
        for (name, unit) in &cluster.units {
            let Ok(requirements) = &unit.requirements else {
                continue;
            };
            if requirements.spread.is_empty() {
                continue;
            }
            let Some(template) = name.template() else { continue };
            let counts = balance.instances.entry(template).or_default();
            for key in &requirements.spread {
                counts.entry(key).or_default();
            }
            balance.domains.entry(&requirements.spread).or_default();
        }
        for (&keys, domains) in &mut balance.domains {
            for id in cluster.machines.keys() {
                domains
                    .entry(values(cluster, id, keys))
                    .or_default()
                    .insert((0, id));
            }
        }
        balance
    }

    /// An instance has got a place, or lost it.
    pub(crate) fn count(&mut self, unit: &UnitName, machine: &MachineId, is_there: bool) {
        if self.instances.is_empty() {
            return;
        }
        let counts = unit
            .template()
            .and_then(|template| self.instances.get_mut(&template));
        for (key, values) in counts.into_iter().flatten() {
            let count = values.entry(value(self.cluster, machine, key)).or_default();
            *count = match is_there {
                true => *count + 1,
                false => count.saturating_sub(1),
            };
        }
    }

    /// A machine's load has changed.
    pub(crate) fn reload(&mut self, id: &'a MachineId, before: usize, after: usize) {
        for (&keys, domains) in &mut self.domains {
            if let Some(machines) = domains.get_mut(&values(self.cluster, id, keys)) {
                machines.remove(&(before, id));
                machines.insert((after, id));
            }
        }
    }

    /// The machines for an instance, best first; `None` if it does not ask to be spread.
    pub(crate) fn ranks(&self, unit: &UnitName, requirements: &'a Requirements) -> Option<Vec<Rank<'_, 'a>>> {
        let keys = requirements.spread.as_slice();
        let domains = self.domains.get(keys)?;
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
        let mut ranks: Vec<Rank<'_, 'a>> = domains.iter().map(rank).collect();
        ranks.sort_by(|a, b| a.counts.cmp(&b.counts));
        Some(ranks)
    }
}

impl Rank<'_, '_> {
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

fn value<'a>(cluster: &'a Cluster, machine: &MachineId, key: &str) -> Option<&'a str> {
    cluster
        .machines
        .get(machine)?
        .metadata
        .get(key)
        .map(String::as_str)
}

fn values<'a>(cluster: &'a Cluster, machine: &MachineId, keys: &[String]) -> Values<'a> {
    keys.iter().map(|key| value(cluster, machine, key)).collect()
}
