//! What the author of a unit file should be told though it is accepted, before any value is looked at.

use std::collections::BTreeSet;

use super::values::KEYS;
use super::{SECTION, Warning, suggest};
use crate::unit_file::{UnitFile, UnitOption};

/// Text that was skipped, keys that mean nothing, and sections that were probably to be ours.
pub(super) fn of_file(file: &UnitFile) -> Vec<Warning> {
    let skipped = file.notes().iter().map(|note| Warning {
        message: note.to_string(),
        hint: None,
        position: Some(note.position),
    });
    let mut warnings: Vec<Warning> = skipped.collect();
    warnings.extend(of_options(file, unknown_key));
    warnings.extend(of_options(file, near_section));
    warnings
}

/// A message and maybe a hint.
type Reason = (String, Option<String>);

/// Each message that some option gives reason for, once.
fn of_options(file: &UnitFile, reason: fn(&UnitOption) -> Option<Reason>) -> Vec<Warning> {
    let mut told = BTreeSet::new();
    let options = file.options().iter().enumerate();
    let reasons = options.filter_map(|(index, option)| Some((index, reason(option)?)));
    let new = reasons.filter(|(_, (message, _))| told.insert(message.clone()));
    new.map(|(index, (message, hint))| Warning {
        message,
        hint,
        position: file.position(index),
    })
    .collect()
}

/// A key that means nothing here, in the words in which fleet's client warns of it.
fn unknown_key(option: &UnitOption) -> Option<Reason> {
    let mut known = KEYS.concat();
    if option.section != SECTION || known.contains(&option.name.as_str()) {
        return None;
    }
    let message = format!("unrecognized requirement in [X-Fleet] section: {:?}", option.name);
    // Nobody means a legacy spelling that does not write one.
    known.retain(|key| !key.starts_with("X-"));
    let near = suggest::nearest(&option.name, &known);
    Some((message, near.map(|key| format!("did you mean {key:?}?"))))
}

/// A section that is nearly ours, such as `[x-fleet]`.
fn near_section(option: &UnitOption) -> Option<Reason> {
    let near = suggest::nearest(&option.section, &[SECTION]).filter(|near| *near != option.section)?;
    let message = format!("section [{}] has no meaning to fleet", option.section);
    Some((message, Some(format!("did you mean [{near}]?"))))
}
