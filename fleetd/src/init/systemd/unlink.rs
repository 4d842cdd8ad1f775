//! Links taken back, many in one call.
//!
//! For that PID 1 reads all directories of unit files: 7 ms of its time, whether for one name or for a hundred. So
//! names that come while a call is on its way go together in the next.

use std::sync::Mutex;

use tokio::sync::oneshot;

use super::{Shared, lock};
use crate::init::InitError;

type Waiting = (String, oneshot::Sender<Result<(), InitError>>);

/// The names that wait for the next call.
#[derive(Debug, Default)]
pub(super) struct Unlinks {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(super) async fn unlink(&self, name: &str) -> Result<(), InitError> {
        loop {
            let (sender, mut answer) = oneshot::channel();
            lock(&self.unlinks.waiting).push((name.to_owned(), sender));
            let _turn = self.unlinks.turn.lock().await;
            let waiting = std::mem::take(&mut *lock(&self.unlinks.waiting));
            self.unlink_together(waiting).await;
            // There is none if whoever was to make the call for us was dropped in the middle of it.
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
        }
    }

    async fn unlink_together(&self, waiting: Vec<Waiting>) {
        if waiting.is_empty() {
            return;
        }
        let names: Vec<&str> = waiting.iter().map(|(name, _)| name.as_str()).collect();
        let together = self.disable(&names).await;
        // One name that systemd does not take spoils the call; the others are none the worse for a second one.
        let again = waiting.len() > 1 && matches!(together, Err(InitError::Refused { .. }));
        for (name, sender) in waiting {
            let answer = if again {
                self.disable(&[&name]).await
            } else {
                together.clone()
            };
            // Whoever asked may have gone.
            let _ = sender.send(answer);
        }
    }

    async fn disable(&self, names: &[&str]) -> Result<(), InitError> {
        let session = self.session()?;
        let about = names.first().copied().unwrap_or_default();
        let disabled = session.manager.disable_unit_files(names, true);
        match self
            .change_files(about, disabled, |changes| !changes.is_empty())
            .await
        {
            Ok(_) => Ok(()),
            // There is no file of that name anywhere, so there are no links to take back.
            Err(InitError::NoSuchUnit(_)) if names.len() == 1 => Ok(()),
            Err(InitError::NoSuchUnit(unit)) => Err(InitError::Refused {
                name: "org.freedesktop.systemd1.NoSuchUnit".to_owned(),
                message: format!("{unit} or another of its batch is not known"),
            }),
            Err(error) => Err(error),
        }
    }
}
