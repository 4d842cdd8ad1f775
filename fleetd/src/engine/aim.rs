//! What the engine wants with a unit, by what its owner wants.

use units::{DesiredState, UnitName, UnitRecord};

use crate::cluster::Unit;

/// What a unit is to the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim<'a> {
    /// Nobody wants it anywhere: destroyed, inactive, or a template.
    Nowhere,
    /// On one machine.
    Somewhere(&'a UnitRecord),
    /// On every machine that fits.
    Everywhere,
    /// Its record or content cannot be read: what it has is left alone, nothing new is done.
    Unknown(&'a str),
}

impl<'a> Aim<'a> {
    /// `known` is what is known of the unit, if there is one.
    pub(crate) fn of(name: &UnitName, known: Option<&'a Unit>) -> Self {
        let Some(unit) = known else {
            return Aim::Nowhere;
        };
        let record = match &unit.record {
            Ok(record) => record,
            Err(why) => return Aim::Unknown(why),
        };
        if record.desired == DesiredState::Inactive || name.is_template() {
            return Aim::Nowhere;
        }
        match &unit.requirements {
            Ok(requirements) if requirements.global => Aim::Everywhere,
            Ok(_) => Aim::Somewhere(record),
            Err(why) => Aim::Unknown(why),
        }
    }
}
