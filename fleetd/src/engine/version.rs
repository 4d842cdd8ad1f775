//! The version of the engine: what keeps an older fleetd from deciding about what a newer one has written.
//!
//! `engine/version` holds the highest version that ever led (fleet-reference §2.2). Whoever takes the leader's key
//! compares it in the same transaction, and raises it if it is lower: so an engine whose version is lower than that of
//! any leader before it never leads, however late its transaction arrives. A leader that is older than a newcomer leads
//! on until its term ends; nothing of the newer kind is written before that.

use crate::registry::keys::Keys;
use crate::registry::{KeyValue, Precondition, Txn};

/// Of this engine. To be raised when it comes to write what an engine before it would misread.
pub const VERSION: u32 = 1;

/// What the registry's version means for an engine of version `ours`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may lead, if this holds when it takes the key; with what it has to write for that.
    Admitted(Txn),
    /// It is too old: the version that has led, in the registry's words.
    Outdated(String),
}

/// Reads the registry's version. One that is no number comes from an engine that is newer still.
pub(super) fn admission(keys: &Keys, known: Option<&KeyValue>, ours: u32) -> Admission {
    let key = keys.engine_version();
    let Some(known) = known else {
        let txn = Txn::new().when(Precondition::Absent(key.clone()));
        return Admission::Admitted(txn.put(key, ours.to_string()));
    };
    let text = String::from_utf8_lossy(&known.value);
    let unchanged = Txn::new().when(Precondition::Unchanged(key.clone(), known.mod_revision));
    match text.trim().parse::<u32>() {
        Ok(led) if led == ours => Admission::Admitted(unchanged),
        Ok(led) if led < ours => Admission::Admitted(unchanged.put(key, ours.to_string())),
        _ => Admission::Outdated(text.chars().take(40).collect()),
    }
}
