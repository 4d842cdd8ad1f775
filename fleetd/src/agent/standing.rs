//! Why this machine takes no part in the cluster at present, if so: told with every answer of its API.

use std::sync::{Mutex, PoisonError};

/// Shared by the agent, which knows, and the API, which tells.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Option<String>>);

impl Standing {
    /// In words for people; `None` while all is well.
    pub fn objection(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, objection: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = objection;
    }
}
