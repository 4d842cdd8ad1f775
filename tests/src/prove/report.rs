//! What a proof found: a line for each promise, with what was measured and what was allowed.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

/// One promise, or a figure that goes with it.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub measured: String,
    /// What the promise allows; a mere figure has none.
    pub allowed: Option<String>,
    /// Whether the promise was kept.
    pub kept: bool,
}

/// All that one proof found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// In the order they were found.
    pub lines: Vec<Line>,
}

impl Report {
    fn line(&mut self, what: impl Into<String>, measured: String, allowed: Option<String>, kept: bool) {
        self.lines.push(Line {
            what: what.into(),
            measured,
            allowed,
            kept,
        });
    }

    /// A figure without a promise.
    pub fn fact(&mut self, what: impl Into<String>, measured: impl Into<String>) {
        self.line(what, measured.into(), None, true);
    }

    /// A promise in words.
    pub fn holds(&mut self, what: impl Into<String>, measured: impl Into<String>, allowed: &str, kept: bool) {
        self.line(what, measured.into(), Some(allowed.to_owned()), kept);
    }

    /// Nothing of this kind may have happened; what did is shown.
    pub fn none<T: Debug>(&mut self, what: impl Into<String>, found: &[T]) {
        let shown = match found {
            [] => "0".to_owned(),
            few if few.len() <= 3 => format!("{}: {few:?}", few.len()),
            many => format!("{}, the first: {:?}", many.len(), &many[..3]),
        };
        self.line(what, shown, Some("0".to_owned()), found.is_empty());
    }

    /// It may take so long.
    pub fn within(&mut self, what: impl Into<String>, took: Duration, allowed: Duration) {
        self.line(what, span(took), Some(span(allowed)), took <= allowed);
    }

    /// Everything of another report, each line with these words before it.
    pub fn include(&mut self, prefix: &str, other: Self) {
        self.lines.extend(other.lines.into_iter().map(|line| Line {
            what: format!("{prefix}: {}", line.what),
            ..line
        }));
    }

    /// Whether every promise was kept.
    pub fn is_kept(&self) -> bool {
        self.lines.iter().all(|line| line.kept)
    }

    /// An error that names each broken promise.
    pub fn kept(&self) -> Result<()> {
        let broken: Vec<String> = self
            .lines
            .iter()
            .filter(|line| !line.kept)
            .map(|line| {
                format!(
                    "{}: {}, allowed {}",
                    line.what,
                    line.measured,
                    line.allowed.as_deref().unwrap_or("-")
                )
            })
            .collect();
        ensure!(broken.is_empty(), "broken: {}", broken.join("; "));
        Ok(())
    }
}

/// A span as people read it: milliseconds below a second.
pub fn span(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{} ms", span.as_millis())
    } else {
        format!("{:.2} s", span.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_named_with_its_figures() {
        let mut report = Report::default();
        report.none::<()>("units stopped", &[]);
        report.fact("changes", "12");
        report.kept().unwrap();
        report.within("gap", Duration::from_millis(2500), Duration::from_secs(2));
        assert!(!report.is_kept());
        let error = report.kept().unwrap_err().to_string();
        assert_eq!(error, "broken: gap: 2.50 s, allowed 2.00 s");
    }
}
