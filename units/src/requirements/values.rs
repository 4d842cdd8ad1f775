//! The values of `[X-Fleet]` keys: spellings, items, specifiers (fleet-reference §1.5).

use super::{Location, RequirementError, SECTION};
use crate::name::UnitName;
use crate::unit_file::{UnitFile, excerpt};

/// The spellings of a key, in the order in which their values are taken.
pub(super) type Key = &'static [&'static str];

pub(super) const MACHINE_ID: Key = &["MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID"];
pub(super) const MACHINE_METADATA: Key = &["X-ConditionMachineMetadata", "MachineMetadata"];
pub(super) const MACHINE_OF: Key = &["X-ConditionMachineOf", "MachineOf"];
pub(super) const CONFLICTS: Key = &["X-Conflicts", "Conflicts"];
pub(super) const GLOBAL: Key = &["Global"];
pub(super) const REPLACES: Key = &["Replaces"];
pub(super) const FAILURE_DOMAIN: Key = &["FailureDomain"];
pub(super) const SPREAD: Key = &["Spread"];
pub(super) const ON_DISCONNECT: Key = &["OnDisconnect"];

pub(super) const KEYS: &[Key] = &[
    MACHINE_ID,
    MACHINE_METADATA,
    MACHINE_OF,
    CONFLICTS,
    GLOBAL,
    REPLACES,
    FAILURE_DOMAIN,
    SPREAD,
    ON_DISCONNECT,
];

const SPECIFIERS: [&str; 4] = ["%n", "%N", "%p", "%i"];

/// The values of a unit file, with specifiers replaced if there is a name to replace them by.
pub(super) struct Values<'a> {
    pub(super) file: &'a UnitFile,
    pub(super) name: Option<&'a UnitName>,
}

/// The value of one option.
pub(super) struct Value {
    pub(super) location: Location,
    /// The key as spelled.
    pub(super) key: &'static str,
    /// At least one.
    pub(super) items: Vec<String>,
}

impl Values<'_> {
    /// The values of a key, spelling by spelling.
    pub(super) fn of(&self, key: Key) -> Vec<Value> {
        key.iter()
            .copied()
            .flat_map(|spelling| self.of_spelling(spelling))
            .collect()
    }

    fn of_spelling(&self, key: &'static str) -> impl Iterator<Item = Value> {
        let options = self.file.options().iter().enumerate();
        let matching = options.filter(move |(_, option)| option.section == SECTION && option.name == key);
        matching.map(move |(index, option)| {
            let location = Location {
                option: index,
                position: self.file.value_position(index),
            };
            let items = items(&option.value)
                .into_iter()
                .map(|item| self.replace_specifiers(item));
            Value {
                location,
                key,
                items: items.collect(),
            }
        })
    }

    /// Replaces `%n`, `%N`, `%p` and `%i`, in this order and as plain text, as fleet does.
    fn replace_specifiers(&self, item: String) -> String {
        let Some(name) = self.name.filter(|_| item.contains('%')) else {
            return item;
        };
        let replacements = [
            name.as_str(),
            name.stem(),
            name.prefix(),
            name.instance().unwrap_or_default(),
        ];
        let pairs = SPECIFIERS.into_iter().zip(replacements);
        pairs.fold(item, |item, (specifier, replacement)| {
            item.replace(specifier, replacement)
        })
    }

    /// Whether an item cannot be judged, as a specifier in it is still to be replaced.
    pub(super) fn is_open(&self, item: &str) -> bool {
        self.name.is_none() && SPECIFIERS.iter().any(|specifier| item.contains(specifier))
    }
}

impl Value {
    /// The error that `item` is not what was expected.
    pub(super) fn malformed(&self, item: &str, expected: impl Into<String>) -> RequirementError {
        let expected = expected.into();
        RequirementError::Malformed {
            location: self.location,
            key: self.key,
            value: excerpt(item),
            expected,
        }
    }

    /// The words of all items. A line continued by `\` is one line here: no word could hold the break anyway.
    pub(super) fn words(&self) -> Vec<String> {
        let text = self.items.join(" ").replace("\\\n", " ");
        text.split_whitespace().map(str::to_owned).collect()
    }
}

/// The items of a value: one, unless it begins and ends with a quote. Then quotes go, and single blanks outside of
/// them separate.
pub(super) fn items(value: &str) -> Vec<String> {
    if !(value.starts_with('"') && value.ends_with('"')) {
        return vec![value.to_owned()];
    }
    let mut items = Vec::new();
    let mut item = String::new();
    let mut quoted = false;
    for c in value.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    items.push(item);
    items
}
