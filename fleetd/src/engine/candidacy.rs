//! Whether this machine may lead, which its configuration says and may change, and whether it does.

use tokio::sync::watch;

use crate::registry::Revision;

/// Shared by the engine and whoever has a say in it, or asks. By default it may lead.
#[derive(Debug)]
pub struct Candidacy {
    is_allowed: watch::Sender<bool>,
    term: watch::Sender<Option<Revision>>,
}

impl Default for Candidacy {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Candidacy {
    /// Of a machine that may lead, or may not (`disable_engine`).
    pub fn new(is_allowed: bool) -> Self {
        Self {
            is_allowed: watch::Sender::new(is_allowed),
            term: watch::Sender::new(None),
        }
    }

    /// Lets it lead from now on, or not: then a leader hands over at once.
    pub fn allow(&self, is_allowed: bool) {
        self.is_allowed.send_replace(is_allowed);
    }

    /// Whether it may lead.
    pub fn is_allowed(&self) -> bool {
        *self.is_allowed.borrow()
    }

    /// The fence of its term, while it leads.
    pub fn term(&self) -> Option<Revision> {
        *self.term.borrow()
    }

    /// Resolves once it leads; at once if it does.
    pub async fn elected(&self) {
        let mut told = self.term.subscribe();
        // The sender lives in self: this cannot fail.
        let _ = told.wait_for(Option::is_some).await;
    }

    /// Resolves once it may lead, or once it may not; at once if that is so already.
    pub(super) async fn until(&self, is_allowed: bool) {
        let mut told = self.is_allowed.subscribe();
        // The sender lives in self: this cannot fail.
        let _ = told.wait_for(|now| *now == is_allowed).await;
    }

    pub(super) fn leads(&self, term: Option<Revision>) {
        self.term.send_replace(term);
    }
}
