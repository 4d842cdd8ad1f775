//! What happens to a cluster that is measured.

use std::fmt;

/// From what to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Nothing has a place, everything gets one.
    First,
    /// Into a full cluster comes one unit more.
    Submit,
    /// A unit of a full cluster says something new that changes nothing.
    State,
    /// A machine of a full cluster is lost.
    Machine,
    /// A fifth of the machines of a full cluster are lost together.
    Zone,
}

impl Case {
    /// Those that happen to a full cluster.
    pub(crate) const CHANGES: [Self; 4] = [Self::Submit, Self::State, Self::Machine, Self::Zone];

    /// In words, for a heading.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::First => "first placement of everything",
            Self::Submit => "one unit submitted",
            Self::State => "one state published",
            Self::Machine => "one machine lost",
            Self::Zone => "one zone of five lost",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::First => "first",
            Self::Submit => "submit",
            Self::State => "state",
            Self::Machine => "machine",
            Self::Zone => "zone",
        })
    }
}
