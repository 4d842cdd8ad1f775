//! The whole check of a unit at submit.

use super::{Parsed, RequirementError, Requirements};
use crate::name::{UnitName, UnitType};
use crate::unit_file::UnitFile;

/// Why a unit cannot be submitted, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// A type that the cluster does not run yet.
    #[error("unit type \"{0}\" is not supported yet: expected service, socket, timer, path or mount")]
    Type(UnitType),
    /// No options.
    #[error("unit file is empty: expected at least one option")]
    Empty,
    /// A fault in `[X-Fleet]`.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
}

/// Checks all that can be said of a unit from its name and content: that the type is supported, that there is
/// content, and the requirements. To be asked of new units and of new content alike.
pub fn validate(name: &UnitName, file: &UnitFile) -> Result<Parsed, ValidateError> {
    let unit_type = name.unit_type();
    if !unit_type.is_supported() {
        return Err(ValidateError::Type(unit_type));
    }
    if file.is_empty() {
        return Err(ValidateError::Empty);
    }
    Ok(Requirements::parse(name, file)?)
}
