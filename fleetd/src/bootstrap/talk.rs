//! What is said to the person who waits: one line for each thing done, on stderr.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::{Instant, interval};

/// How long something is waited for without a word.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether anything is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// One line for each thing done.
    Aloud,
    /// Nothing: tests.
    Mute,
}

impl Talk {
    /// Something was done, in the past tense, or is so already.
    pub fn say(self, what: impl AsRef<str>) {
        if self == Self::Aloud {
            let _ = writeln!(std::io::stderr(), "{}", what.as_ref());
        }
    }

    /// Waits for `work`; where that takes long, says once what for.
    pub async fn wait_for<T>(self, what: &str, work: impl Future<Output = T>) -> T {
        let mut patience = interval(PATIENCE);
        patience.tick().await;
        let mut work = Box::pin(work);
        tokio::select! {
            done = &mut work => return done,
            _ = patience.tick() => self.say(format!("waits for {what}")),
        }
        work.await
    }
}

/// Asks again and again, with pauses, until there is an answer; after `limit` the last reason there was none.
pub(super) async fn until<T, E>(
    limit: Duration,
    pause: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let end = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() + pause >= end => return Err(error),
            Err(_) => tokio::time::sleep(pause).await,
        }
    }
}
