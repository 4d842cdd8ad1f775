//! How far the run is, for a person at a terminal; silent in a pipe.

use std::io::{IsTerminal, Write, stderr};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// The progress of the run, on stderr.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// Begins.
    ///
    /// # Errors
    /// Never: the style is a valid one.
    pub(crate) fn begin() -> Result<Self> {
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template(
            "{msg} {pos}/{len} {bar:30} {elapsed}",
        )?);
        if !stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Ok(Self {
            bar,
            began: Instant::now(),
        })
    }

    /// So many of so many.
    pub(crate) fn at(&self, what: &str, done: usize, all: usize) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_message(what.to_owned());
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
    }

    /// A line that stays.
    pub(crate) fn tell(&self, line: &str) {
        if self.bar.is_hidden() {
            return;
        }
        let at = self.began.elapsed().as_secs_f64();
        self.bar.suspend(|| {
            let _ = writeln!(stderr(), "{at:7.1} s  {line}");
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
