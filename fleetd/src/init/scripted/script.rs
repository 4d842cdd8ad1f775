//! What the twin can be told to do.

use std::fmt;
use std::time::Duration;

/// What a unit does when it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Runs at once.
    Run,
    /// Is `activating` for this long, then runs.
    Take(Duration),
    /// Stays `activating` until [`release`](super::ScriptedInit::release).
    Hang,
    /// Fails at once with this `Result` (`exit-code`, `timeout`, …); the job fails too.
    Fail(String),
    /// Finishes at once and well, as a oneshot does.
    Finish,
    /// Runs, and is restarted by systemd each time this long has passed.
    Flap(Duration),
}

/// What a unit does when it is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Ends at once.
    End,
    /// Is `deactivating` for this long, then ends.
    Take(Duration),
    /// Stays `deactivating` until [`release`](super::ScriptedInit::release).
    Hang,
    /// Ends `failed` with this `Result` (`timeout`, `exit-code`); the stop job is done all the same, as in systemd.
    Fail(String),
}

/// The calls of [`Init`](crate::init::Init), for [`count`](super::ScriptedInit::count) and [`refuse`](super::ScriptedInit::refuse).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // each is a method of the trait
pub enum Op {
    Link,
    Enable,
    Unlink,
    Reload,
    Start,
    Stop,
    Kill,
    ResetFailed,
    Observe,
    Owner,
    OwnJob,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "link",
            Self::Enable => "enable",
            Self::Unlink => "unlink",
            Self::Reload => "reload",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::ResetFailed => "reset-failed",
            Self::Observe => "observe",
            Self::Owner => "owner",
            Self::OwnJob => "own-job",
        })
    }
}
