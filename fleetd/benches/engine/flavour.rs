//! Which clusters are measured: machines that differ in zone, disk and host, and units that ask for one thing at a time.

use std::fmt;

use units::{MachineId, Metadata, UnitName, parse_metadata};

/// Units for each machine; of Global ones, copies on each.
pub(crate) const UNITS_PER_MACHINE: usize = 50;

/// Few enough for the loss of one to be no mass loss, which would be braked.
const ZONES: usize = 5;

/// Instances of a template where nothing else decides.
const APP: usize = 50;

/// Instances of a small group that must not meet; fewer than zones, so that the loss of one leaves a place.
const SMALL_GROUP: usize = 4;

/// Units that follow one another.
const CHAIN: usize = 5;

/// What the units ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Nothing.
    Plain,
    /// `MachineMetadata=`, which half of the machines have.
    Metadata,
    /// `Conflicts=` all against all in one group for three machines of four; the rest asks for nothing.
    OneGroup,
    /// `Conflicts=` in many groups, each for three machines of four.
    WideGroups,
    /// `Conflicts=` in many groups of four.
    SmallGroups,
    /// `MachineOf=` in chains of five.
    MachineOf,
    /// `FailureDomain=zone` in groups of four, over five zones.
    FailureDomain,
    /// `Spread=zone`, over five zones.
    SpreadZone,
    /// `Spread=host`, of which each machine has another.
    SpreadHost,
    /// `Global=true`.
    Global,
}

/// A unit file and how many units are made from it.
#[derive(Debug)]
pub(crate) struct Template {
    prefix: String,
    /// Its text.
    pub(crate) text: String,
    instances: usize,
}

impl Template {
    fn new(prefix: String, instances: usize, lines: &str) -> Self {
        let text = format!(
            "[Unit]\nDescription=Instance %i of {prefix}\n\n[Service]\nExecStart=/usr/bin/{prefix} %i\n\n[X-Fleet]\n{lines}\n"
        );
        Self {
            prefix,
            text,
            instances,
        }
    }

    fn instance(&self, n: usize) -> UnitName {
        UnitName::parse(&format!("{}@{n}.service", self.prefix)).unwrap()
    }

    /// Its units.
    pub(crate) fn units(&self) -> impl Iterator<Item = UnitName> {
        (0..self.instances).map(|n| self.instance(n))
    }
}

impl Flavour {
    /// All that are measured.
    pub(crate) const ALL: [Self; 10] = [
        Self::Plain,
        Self::Metadata,
        Self::OneGroup,
        Self::WideGroups,
        Self::SmallGroups,
        Self::MachineOf,
        Self::FailureDomain,
        Self::SpreadZone,
        Self::SpreadHost,
        Self::Global,
    ];

    /// What is placed at first on so many machines.
    pub(crate) fn templates(self, machines: usize) -> Vec<Template> {
        let units = machines * UNITS_PER_MACHINE;
        let group = machines * 3 / 4;
        match self {
            Self::Plain => split("app", units, APP, ""),
            Self::Metadata => split("app", units, APP, "MachineMetadata=disk=ssd"),
            Self::OneGroup => {
                let mut templates = split("group", group, group, "Conflicts=%p@*");
                templates.extend(split("app", units - group, APP, ""));
                templates
            }
            Self::WideGroups => split("group", units, group, "Conflicts=%p@*"),
            Self::SmallGroups => split("group", units, SMALL_GROUP, "Conflicts=%p@*"),
            Self::MachineOf => (0..CHAIN).map(|n| link(n, units / CHAIN)).collect(),
            Self::FailureDomain => split("group", units, SMALL_GROUP, "Conflicts=%p@*\nFailureDomain=zone"),
            Self::SpreadZone => split("app", units, APP, "Spread=zone"),
            Self::SpreadHost => split("app", units, APP, "Spread=host"),
            Self::Global => split("global", UNITS_PER_MACHINE, 1, "Global=true"),
        }
    }

    /// One unit more, of the same kind.
    pub(crate) fn newcomer(self, templates: &[Template]) -> (UnitName, String) {
        let template = match self {
            Self::MachineOf => &link(CHAIN, 0),
            Self::Global => &Template::new("newcomer".to_owned(), 0, "Global=true"),
            _ => &templates[0],
        };
        (template.instance(template.instances), template.text.clone())
    }

    /// How many places a first placement finds.
    pub(crate) fn places(self, machines: usize) -> u64 {
        (machines * UNITS_PER_MACHINE) as u64
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Metadata => "metadata",
            Self::OneGroup => "conflicts-one-group",
            Self::WideGroups => "conflicts-wide-groups",
            Self::SmallGroups => "conflicts-small-groups",
            Self::MachineOf => "machine-of",
            Self::FailureDomain => "failure-domain",
            Self::SpreadZone => "spread-zone",
            Self::SpreadHost => "spread-host",
            Self::Global => "global",
        })
    }
}

/// So many units, from templates of so many instances each; the last may have fewer.
fn split(prefix: &str, units: usize, instances: usize, lines: &str) -> Vec<Template> {
    let begins = (0..units).step_by(instances);
    begins
        .enumerate()
        .map(|(n, begin)| Template::new(format!("{prefix}{n}"), instances.min(units - begin), lines))
        .collect()
}

/// The `n`th link of each chain: all but the first follow the one before.
fn link(n: usize, chains: usize) -> Template {
    let lines = match n.checked_sub(1) {
        Some(before) => format!("MachineOf=link{before}@%i.service"),
        None => String::new(),
    };
    Template::new(format!("link{n}"), chains, &lines)
}

/// The id of the `n`th machine; its short form is `n` in eight digits.
pub(crate) fn machine(n: usize) -> MachineId {
    MachineId::parse(&format!("{n:08x}{n:024x}")).unwrap()
}

/// What the `n`th machine offers.
pub(crate) fn metadata(n: usize) -> Metadata {
    let disk = if n.is_multiple_of(2) { "ssd" } else { "hdd" };
    parse_metadata(&format!("zone={},disk={disk},host={n}", n % ZONES)).unwrap()
}

/// A machine that holds units of every flavour.
pub(crate) fn one_machine(machines: usize) -> Vec<usize> {
    vec![machines / 4 * 2]
}

/// The machines of one zone.
pub(crate) fn one_zone(machines: usize) -> Vec<usize> {
    (0..machines).step_by(ZONES).collect()
}
