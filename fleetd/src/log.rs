//! The log: to stderr, for the journal or a terminal.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as shown, reload};

/// A filter of one's own, in `tracing_subscriber`'s form; then the configuration's `verbosity` says nothing.
const FILTER: &str = "FLEETD_LOG";

/// How much is logged; may be changed while fleetd runs.
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Level")
    }
}

/// Begins to log, once in a process. The journal has its own clock; colours are for terminals.
pub fn begin(verbosity: u32) -> Level {
    let (filter, level) = reload::Layer::new(filter(verbosity));
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = shown::layer().with_writer(std::io::stderr).with_ansi(colours);
    let lines = if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.without_time().with_target(false).boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Level(level)
}

fn filter(verbosity: u32) -> EnvFilter {
    let level = if verbosity > 0 {
        "fleetd=debug"
    } else {
        "fleetd=info"
    };
    EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(level))
}

impl Level {
    /// Of a log that nobody writes.
    #[cfg(test)]
    pub(crate) fn unheard() -> Self {
        Self(reload::Layer::new(filter(0)).1)
    }

    /// Logs as much as `verbosity` says from now on.
    pub fn set(&self, verbosity: u32) {
        if let Err(error) = self.0.reload(filter(verbosity)) {
            tracing::error!(%error, "could not change how much is logged");
        }
    }
}
