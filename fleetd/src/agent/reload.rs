//! One `daemon-reload` for everybody who needs one at the time.
//!
//! A reload costs PID 1 90 to 350 ms and grows with the units it holds (design §5), so those who ask within a short
//! while share one; who asks while one runs gets the next, for PID 1 may have read his file already.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::init::{InitError, SharedInit};

/// How long the first who asks waits for others: short beside the reload itself.
const DEBOUNCE: Duration = Duration::from_millis(20);

type Waiter = oneshot::Sender<Result<(), InitError>>;

/// Asks for reloads.
#[derive(Debug, Clone)]
pub(crate) struct Reloader {
    waiters: mpsc::UnboundedSender<Waiter>,
}

impl Reloader {
    /// The asking half, and the half that serves for as long as anybody can ask.
    pub(crate) fn new(init: SharedInit) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (waiters, asked) = mpsc::unbounded_channel();
        (Self { waiters }, serve(init, asked))
    }

    /// Returns once a reload that began after this call is done.
    pub(crate) async fn reload(&self) -> Result<(), InitError> {
        let (waiter, done) = oneshot::channel();
        let gone = || InitError::Unreachable("fleetd is stopping".to_owned());
        self.waiters.send(waiter).map_err(|_| gone())?;
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn serve(init: SharedInit, mut asked: mpsc::UnboundedReceiver<Waiter>) {
    while let Some(first) = asked.recv().await {
        sleep(DEBOUNCE).await;
        let mut waiters = vec![first];
        while let Ok(waiter) = asked.try_recv() {
            waiters.push(waiter);
        }
        let result = init.reload().await;
        tracing::info!(asked = waiters.len(), ok = result.is_ok(), "reloaded systemd");
        for waiter in waiters {
            let _ = waiter.send(result.clone());
        }
    }
}
