//! The whole check of a unit at submit.

use super::{Location, Parsed, RequirementError};
use crate::escape;
use crate::name::{UnitName, UnitType};
use crate::unit_file::{UnitFile, excerpt};

/// Why a unit cannot be submitted, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// A type that systemd starts from no file; with the reason.
    #[error("unit type \"{0}\" is not supported ({1}): expected {list}", list = supported())]
    Type(UnitType, &'static str),
    /// A slice whose name is no path through the tree of slices (systemd.slice(5)).
    #[error(
        "{0} is no name of a slice: expected parts joined by a \"-\", each the slice within the one before"
    )]
    SliceName(UnitName),
    /// No options.
    #[error("unit file is empty: expected at least one option")]
    Empty,
    /// A fault in `[X-Fleet]`, or a path that is not the one the unit is named by.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
}

/// Checks all that can be said of a unit from its name and content: that the type is supported, that there is
/// content, that the name is the path where systemd will have it so, and the requirements. To be asked of new units and
/// of new content alike.
pub fn validate(name: &UnitName, file: &UnitFile) -> Result<Parsed, ValidateError> {
    let unit_type = name.unit_type();
    if let Some(why) = unit_type.unsupported() {
        return Err(ValidateError::Type(unit_type, why));
    }
    let is_tree = |stem: &str| stem == "-" || stem.split('-').all(|part| !part.is_empty());
    if unit_type == UnitType::Slice && !is_tree(name.stem()) {
        return Err(ValidateError::SliceName(name.clone()));
    }
    if file.is_empty() {
        return Err(ValidateError::Empty);
    }
    check_path(name, file)?;
    Ok(Parsed::of(name, file)?)
}

/// Mounts, automounts and swaps are named by their path, and systemd loads no other. What it does not take from the
/// text as it stands (specifiers, labels of disks) is left to systemd.
fn check_path(name: &UnitName, file: &UnitFile) -> Result<(), RequirementError> {
    let (section, key) = match name.unit_type() {
        UnitType::Mount => ("Mount", "Where"),
        UnitType::Automount => ("Automount", "Where"),
        UnitType::Swap => ("Swap", "What"),
        _ => return Ok(()),
    };
    let mut options = file.options().iter().enumerate().rev();
    let Some((index, option)) = options.find(|(_, o)| o.section == section && o.name == key) else {
        return Ok(());
    };
    let value = option.value.as_str();
    let named = escape::path(value).filter(|_| !value.contains(['%', '\n']));
    match named {
        Some(stem) if stem != name.stem() => {
            let suffix = name.suffix();
            let wanted = match escape::unescape(name.stem()) {
                Some(path) => format!("expected {path}, for systemd wants the name to say the path"),
                None => "expected another name, for systemd wants it to say the path".to_owned(),
            };
            Err(RequirementError::Malformed {
                location: Location {
                    option: index,
                    position: file.value_position(index),
                },
                key,
                value: excerpt(value),
                expected: format!("{wanted}; the {suffix} of this one is {stem}.{suffix}"),
            })
        }
        _ => Ok(()),
    }
}

/// The types that are, for a message.
fn supported() -> String {
    let types: Vec<&str> = UnitType::ALL
        .into_iter()
        .filter(|unit_type| unit_type.is_supported())
        .map(UnitType::as_str)
        .collect();
    match types.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
