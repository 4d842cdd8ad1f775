//! What a unit's owner wants of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The desired state of a unit, in ascending order of commitment (fleet-reference §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// Known to the cluster, on no machine.
    #[default]
    Inactive,
    /// On a machine, its file in systemd, not started.
    Loaded,
    /// On a machine, and started there once.
    Launched,
}

impl DesiredState {
    /// Every state, in order.
    pub const ALL: [Self; 3] = [Self::Inactive, Self::Loaded, Self::Launched];

    /// The word used in the API, in the registry and by fleetctl.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Loaded => "loaded",
            Self::Launched => "launched",
        }
    }
}

impl fmt::Display for DesiredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no desired state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid desired state {0:?}: expected inactive, loaded or launched")]
pub struct DesiredStateError(pub String);

impl FromStr for DesiredState {
    type Err = DesiredStateError;

    fn from_str(word: &str) -> Result<Self, DesiredStateError> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == word);
        known.ok_or_else(|| DesiredStateError(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_order() {
        for state in DesiredState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert!(
            DesiredState::Inactive < DesiredState::Loaded && DesiredState::Loaded < DesiredState::Launched
        );
    }

    #[test]
    fn other_words_are_refused_by_listing_the_right_ones() {
        for word in ["", "bogus", "Launched", " loaded"] {
            let error = word.parse::<DesiredState>().unwrap_err().to_string();
            assert!(
                error.ends_with("expected inactive, loaded or launched"),
                "{error}"
            );
            assert!(serde_json::from_str::<DesiredState>(&format!("\"{word}\"")).is_err());
        }
    }
}
