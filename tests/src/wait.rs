//! Waiting for what cannot announce itself.
//!
//! Polling has its place only where no event is to be had. A wait that fails tells what was awaited and what was
//! seen last, so that the failure can be understood without running it again.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(20);

/// What one look found.
#[derive(Debug)]
pub enum Seen<T> {
    /// It is there.
    Yes(T),
    /// Not yet; this is how it looks.
    NotYet(String),
}

/// Looks until it is there, up to a deadline. An error of the look itself counts as "not yet".
pub fn wait_until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Seen<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let last = match look() {
            Ok(Seen::Yes(found)) => return Ok(found),
            Ok(Seen::NotYet(how)) => how,
            Err(error) => format!("{error:#}"),
        };
        if started.elapsed() >= deadline {
            bail!(
                "waited {:.1} s for {what}; last seen: {last}",
                started.elapsed().as_secs_f64()
            );
        }
        std::thread::sleep(PAUSE);
    }
}

/// `Yes` if the condition holds, else `NotYet` with this description.
pub fn seen(holds: bool, how: impl FnOnce() -> String) -> Result<Seen<()>> {
    Ok(if holds { Seen::Yes(()) } else { Seen::NotYet(how()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_in_vain_tells_what_was_seen_last() {
        let error = wait_until("rain", Duration::ZERO, || seen(false, || "blue sky".into())).unwrap_err();
        assert!(
            error.to_string().ends_with("for rain; last seen: blue sky"),
            "{error}"
        );
    }
}
