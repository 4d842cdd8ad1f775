//! The vocabulary of fleet: what its daemon, its client and its tests all have to mean the same by.
//!
//! * [`UnitFile`]: the text of a unit, its options, canonical form and [`Hash`](struct@Hash)
//! * [`UnitName`] and [`UnitType`]: names, templates and instances
//! * [`Requirements`]: what the `[X-Fleet]` section asks of a machine; [`validate`] is the check at submit
//! * [`Glob`]: the patterns of `Conflicts=` and `Replaces=`
//! * [`escape`]: paths inside unit names
//! * [`MachineId`], [`Metadata`]: machines as requirements see them
//! * [`DesiredState`]: what a unit's owner wants
//! * [`wire`]: the JSON of the HTTP API
//!
//! ```
//! use units::{UnitFile, UnitName, validate};
//!
//! let name = UnitName::from_argument("examples/web@1")?;
//! let file = UnitFile::parse("[Service]\nExecStart=/bin/true\n[X-Fleet]\nConflicts=%p@*\n")?;
//! let parsed = validate(&name, &file)?;
//! assert!(parsed.requirements.conflicts[0].matches("web@2.service"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! No IO, no clock and no async here; every function depends on its arguments alone. "fleet-reference" in these
//! pages is the description of coreos/fleet 1.0 that this project stays compatible with.

pub mod escape;
pub mod glob;
mod hex;
pub mod machine;
pub mod name;
pub mod records;
pub mod requirements;
pub mod state;
pub mod unit_file;
pub mod wire;

pub use glob::{Glob, GlobError};
pub use machine::{
    MachineId, MachineIdError, Metadata, MetadataError, is_metadata_key, is_metadata_value, parse_metadata,
};
pub use name::{NameError, UnitName, UnitType};
pub use records::{
    Assignment, Capacity, CopyView, Event, Hold, MachineRecord, Phase, Placement, Presence, Refusal, State,
    UnitRecord, UnitView, Verdict,
};
pub use requirements::{
    OnDisconnect, Parsed, RequirementError, Requirements, ValidateError, Warning, validate,
};
pub use state::{DesiredState, DesiredStateError};
pub use unit_file::{Hash, HashError, OptionError, ParseError, Position, UnitFile, UnitOption};
