//! The hash that tells units apart.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::hex::{Hex, hex_text};

/// The SHA-1 of a unit's canonical form: 40 lower-case hexadecimal digits (fleet-reference §1.2).
///
/// It names content; it protects nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(Hex<40>);

/// Text that is no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid unit hash {0:?}: expected 40 lower-case hexadecimal digits")]
pub struct HashError(pub String);

hex_text!(Hash, HashError);

impl Hash {
    /// The hash of a text.
    pub(super) fn of(text: &[u8]) -> Self {
        Self(Hex::encode(&Sha1::digest(text)))
    }

    /// Reads exactly 40 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        Hex::parse(text)
            .map(Self)
            .ok_or_else(|| HashError(text.to_owned()))
    }

    /// All 40 digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first 7 digits, as fleetctl's tables show them.
    pub fn short(&self) -> &str {
        &self.as_str()[..7]
    }
}
