//! What must hold, whatever happens. Each rule is a function of what the [`crate::witness::Witness`] has seen, with its
//! own words for what it found.

pub mod fence;
pub mod lost;
pub mod once;
pub mod placement;
pub mod rest;
pub mod stops;

use std::fmt;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Nothing breaks: no part of fleetd ends by itself.
    NothingBreaks,
    /// No acknowledged unit or change is lost.
    NothingLost,
    /// No decision adds a violation of constraints against what it compared, and those that a user's edit made are gone
    /// after the next pass.
    NoNewViolation,
    /// Nothing is stopped without an authoritative word.
    NoStopUnasked,
    /// A write with an old fence never lands.
    NoOldFence,
    /// No unit is on two machines because of a move.
    OneCopy,
    /// A unit with `OnDisconnect=stop` is never active on two machines.
    AtMostOnce,
    /// A unit is started once for each generation, run and boot.
    StartOnce,
    /// After the last fault the cluster converges and stays quiet.
    Converges,
    /// Nothing is left in the registry of what is no more.
    NoGarbage,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingBreaks => "nothing breaks",
            Self::NothingLost => "nothing acknowledged is lost",
            Self::NoNewViolation => "no decision adds a violation",
            Self::NoStopUnasked => "nothing is stopped without an authoritative word",
            Self::NoOldFence => "no write with an old fence lands",
            Self::OneCopy => "no second copy because of a move",
            Self::AtMostOnce => "never on two machines",
            Self::StartOnce => "started once",
            Self::Converges => "converges and stays quiet",
            Self::NoGarbage => "no garbage",
        })
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// How, in one line.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self {
            rule,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}
