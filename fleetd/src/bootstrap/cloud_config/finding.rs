//! What is wrong with a cloud-config, or worth saying about it.

use std::cell::RefCell;
use std::fmt;

/// One thing about one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The line, counted from 1.
    pub line: usize,
    /// The key as it is written there, with those above it: `coreos.units[0].command`. Empty: the line as such.
    pub key: String,
    /// What is wrong and what to do. One line.
    pub message: String,
    /// The file is refused for it. Otherwise it is a notice.
    pub is_error: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        if !self.is_error {
            f.write_str("notice: ")?;
        }
        // A value may have any character in it, and a finding is one line.
        for character in self.message.chars() {
            match character {
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Findings as they are made.
#[derive(Debug, Default)]
pub(super) struct Findings(RefCell<Vec<Finding>>);

impl Findings {
    pub(super) fn error(&self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        self.add(line, key.into(), message.into(), true);
    }

    pub(super) fn notice(&self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        self.add(line, key.into(), message.into(), false);
    }

    fn add(&self, line: usize, key: String, message: String, is_error: bool) {
        self.0.borrow_mut().push(Finding {
            line,
            key,
            message,
            is_error,
        });
    }

    /// All of them, by line.
    pub(super) fn sorted(self) -> Vec<Finding> {
        let mut all = self.0.into_inner();
        all.sort();
        all.dedup();
        all
    }
}

/// A value for a message: quoted, and not too much of it.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return format!("`{text}`");
    }
    let start: String = text.chars().take(MOST).collect();
    format!("`{start}…`")
}
