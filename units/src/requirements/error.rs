//! Why requirements are refused.

use std::fmt;

use crate::unit_file::Position;

/// Which option an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Its index in [`UnitFile::options`](crate::UnitFile::options).
    pub option: usize,
    /// Where its value begins, if the unit file came as text.
    pub position: Option<Position>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "{position}"),
            None => write!(f, "option {}", self.option + 1),
        }
    }
}

/// Why requirements are refused, in one line. The messages about combinations of fleet's keys are fleet's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// A value that means nothing.
    #[error("{location}: {key}={value:?}: {expected}")]
    Malformed {
        /// Where.
        location: Location,
        /// The key, as spelled in the file.
        key: &'static str,
        /// The item of the value that is wrong, or its beginning.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// A unit that is to be on the same machine as one it conflicts with.
    #[error("unresolvable requirements: peer {peer:?} matches {relation} {pattern:?}")]
    Unresolvable {
        /// The unit named by `MachineOf=`.
        peer: String,
        /// `conflict` or `replace`.
        relation: &'static str,
        /// The pattern that matches it.
        pattern: String,
    },
    /// Two keys that contradict each other; `Peers` is what fleet calls `MachineOf=` here.
    #[error("{0} cannot be used with {1}")]
    Incompatible(&'static str, &'static str),
    /// `FailureDomain=` without `Conflicts=`.
    #[error("FailureDomain needs Conflicts: it says how far they reach, and does nothing alone")]
    FailureDomainAlone,
}

impl RequirementError {
    /// Where, if it is about one option.
    pub fn location(&self) -> Option<Location> {
        match self {
            Self::Malformed { location, .. } => Some(*location),
            Self::Unresolvable { .. } | Self::Incompatible(..) | Self::FailureDomainAlone => None,
        }
    }
}
