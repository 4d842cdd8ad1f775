//! What happened, in order: hashed always, kept as text if somebody wants to read it.

use std::fmt;
use std::time::Duration;

/// The history of one run.
#[derive(Debug)]
pub struct Log {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Log {
    /// An empty history; its text is kept only for a reader.
    pub fn new(keep: bool) -> Self {
        Self {
            // FNV-1a, 64 bits.
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            lines: keep.then(Vec::new),
        }
    }

    /// One more event.
    pub fn note(&mut self, at: Duration, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {who:<10} {what}", at.as_secs_f64());
        self.mix(line.as_bytes());
        self.events += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// Something that belongs to the history and is too long to be read.
    pub fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A number that two histories share only if they are the same.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The text, if it was kept.
    pub fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
