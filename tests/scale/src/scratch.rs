//! A directory for the time of a run.
//!
//! Not the crate `tempfile`: the features it asks of `rustix` would have fleetd, which is linked for minutes, built once
//! more than `cargo build --package fleetd` does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Removed with all that is in it when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one of a name that begins so.
    ///
    /// # Errors
    /// If there is no such `parent`, or nothing can be written there.
    pub(crate) fn new(parent: &Path, prefix: &str) -> Result<Self> {
        let template = parent.join(format!("{prefix}.XXXXXX"));
        let made = nix::unistd::mkdtemp(&template);
        Ok(Self(made.with_context(|| {
            format!("cannot make a directory in {}", parent.display())
        })?))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "could not remove what the run left");
        }
    }
}
