//! What `[X-Fleet]` asks of the machines (fleet-reference §1.5), and the checks a unit passes at submit.
//!
//! Beside fleet's keys there are ours:
//!
//! * `FailureDomain=key [key…]` makes `Conflicts=` hold over all machines that share the value of that metadata key;
//!   several keys each on their own. It needs `Conflicts=`, for it does nothing alone, and goes with neither
//!   `Global=` (a unit on every machine keeps clear of no domain) nor `MachineID=`.
//! * `Spread=key [key…]` balances the instances of a template over the values of the keys, the first key first, and
//!   gives way rather than leave a unit unplaced. Machines without a key share a value of their own. Goes with neither
//!   `Global=` nor `MachineID=`.
//! * `OnDisconnect=keep|stop`: what a machine does with the unit once the cluster may run it elsewhere. `keep`, the
//!   default, is what fleet does.

mod combine;
mod error;
mod read;
pub mod suggest;
mod validate;
mod values;
mod warn;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::glob::Glob;
use crate::name::UnitName;
use crate::unit_file::{Position, UnitFile, UnitOption};

pub use error::{Location, RequirementError};
pub use validate::{ValidateError, validate};

/// The section that holds requirements; the name is case-sensitive.
pub const SECTION: &str = "X-Fleet";

/// The requirements of one unit, with specifiers replaced for its name.
///
/// A template has no name to replace them by and never runs: its requirements are as written, without those that only
/// an instance could be held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// `MachineID=`: the machine's full id or its first 8 digits; see
    /// [`MachineId::matches_requirement`](crate::MachineId::matches_requirement).
    pub machine_id: Option<String>,
    /// `MachineMetadata=`: the machine has each of these keys, with one of the key's values.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// `MachineOf=`: all these units are placed on the machine.
    pub machine_of: BTreeSet<String>,
    /// `Conflicts=`: no other unit whose name one of these matches is on the machine, nor one that says so of this.
    pub conflicts: Vec<Glob>,
    /// `Global=`: on every machine that fits.
    pub global: bool,
    /// `FailureDomain=`: metadata keys, each of which widens `conflicts` to all machines with the same value of it.
    pub failure_domain: Vec<String>,
    /// `Replaces=`: units that lose their place to this one on whichever machine it comes to.
    pub replaces: Vec<Glob>,
    /// `Spread=`: metadata keys over whose values the instances of the template are balanced, the first key first.
    pub spread: Vec<String>,
    /// `OnDisconnect=`: whether it may run on where the cluster cannot see it.
    pub on_disconnect: OnDisconnect,
}

/// What becomes of a unit on a machine that the cluster has lost sight of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// It runs on; after the machine's return there may for a while be two copies.
    #[default]
    Keep,
    /// The machine stops it before the cluster starts it elsewhere: it is never on two machines.
    Stop,
}

impl OnDisconnect {
    /// As where nothing is said.
    pub fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// Requirements, and what their author should be told though they are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The requirements.
    pub requirements: Requirements,
    /// In the order of the checks; none stands in the way of the unit.
    pub warnings: Vec<Warning>,
}

/// Something accepted that may not be what its author meant; displays as its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// One line; for an unknown key it is fleetctl's own, which scripts look for.
    pub message: String,
    /// What the author may have meant: `did you mean "MachineOf"?`
    pub hint: Option<String>,
    /// Where, if the unit file came as text.
    pub position: Option<Position>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Parsed {
    /// Reads the requirements of the unit of that name, and looks for what its author should be told.
    ///
    /// # Errors
    /// As [`Requirements::parse`].
    pub fn of(name: &UnitName, file: &UnitFile) -> Result<Self, RequirementError> {
        let mut parsed = Self::without_neighbours(name, file)?;
        parsed.warnings.splice(..0, warn::of_file(file));
        Ok(parsed)
    }

    /// With warnings about the requirements alone, not about what stands beside them.
    fn without_neighbours(name: &UnitName, file: &UnitFile) -> Result<Self, RequirementError> {
        let has_specifier = |option: &UnitOption| option.section == SECTION && option.value.contains('%');
        if name.is_template() || file.options().iter().any(has_specifier) {
            let as_written = read::read(file, None)?;
            combine::check(&as_written.requirements)?;
            if name.is_template() {
                return Ok(as_written);
            }
        }
        let replaced = read::read(file, Some(name))?;
        combine::check(&replaced.requirements)?;
        Ok(replaced)
    }
}

impl Requirements {
    /// Reads the requirements of the unit of that name. For those who only want to go by them: looking for what its
    /// author should be told takes several times as long.
    ///
    /// # Errors
    /// The first value that is malformed, or combination of keys that contradicts itself. Combinations are checked as
    /// written, which is what fleet did, and with specifiers replaced.
    pub fn parse(name: &UnitName, file: &UnitFile) -> Result<Self, RequirementError> {
        Ok(Parsed::without_neighbours(name, file)?.requirements)
    }
}

#[cfg(test)]
mod tests;
