//! What is said to the person who waits: one line for each thing done, on stderr.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

/// How long something is waited for without a word.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is told.
#[derive(Clone, Copy)]
pub struct Talk<'a>(pub &'a (dyn Fn(&str) + Sync));

impl std::fmt::Debug for Talk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Talk")
    }
}

/// To stderr.
pub fn aloud(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Talk<'_> {
    /// Something was done, in the past tense, or is so already.
    pub fn say(self, what: impl AsRef<str>) {
        (self.0)(what.as_ref());
    }

    /// Waits for `work`; where that takes long, says once what for.
    pub async fn wait_for<T>(self, what: &str, work: impl Future<Output = T>) -> T {
        let mut work = Box::pin(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(PATIENCE) => self.say(format!("waits for {what}")),
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
