//! The way out of a doubt: a person says that the registry as it is now is the one to follow (`fleetctl recover`).
//!
//! A registry that was wiped or restored has forgotten units that run. So recovering is more than believing again:
//!
//! 1. [`declare`], on the machine where the person says it: the cluster gets a new uuid (unless somebody has founded
//!    one meanwhile), and `recovered/<old uuid>` names it. That key is the word to every other machine in doubt.
//! 2. [`follow`], on every machine in doubt: waits for that word.
//! 3. [`put_back`]: the machine puts back the units it holds that the registry has lost, or has only in an older
//!    version, and the metadata that the API had set on it; takes back its own old presence and orders, which are those of a time gone by; and only then believes.
//! 4. Meanwhile no engine decides anything: `recovering`, under a lease of [`HOLD`], gives every machine time to come
//!    in with what it holds. Else a unit would be placed anew that runs on a machine which is a second slower.
//!
//! Before all that, a machine that has seen a later revision than the registry has now says so in the registry
//! ([`tell`]): one that was idle may not have, would lead on, and take the machines that have lost faith for lost.
//!
//! Nothing is stopped on the way. Afterwards the machines are like machines that return, each with all it has.

mod declare;
mod follow;
mod overrides;
mod put_back;
mod tell;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use declare::{DeclareError, declare};
pub(crate) use follow::follow;
pub(crate) use overrides::put_back_overrides;
pub(crate) use put_back::{Adopted, Copy, put_back};
pub(crate) use tell::tell;

/// How long engines wait for machines to come in after a recovery was declared.
pub const HOLD: Duration = Duration::from_secs(15);

/// `recovered/<uuid>`: the cluster of that uuid goes on as this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Word {
    /// The uuid it goes on under.
    pub cluster: String,
    /// The registry holds an earlier state of the very cluster, so its revisions can be compared with those that
    /// machines remember.
    pub restored: bool,
}

/// A word that holds, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The uuid that was joined.
    pub(crate) had: String,
    pub(crate) word: Word,
    /// Revision of the word.
    pub(crate) declared: i64,
}
