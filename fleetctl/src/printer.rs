//! The only place that writes: data to stdout, talk to stderr.
//!
//! Both go through anstream, which drops colours unless the stream is a terminal that wants them (`NO_COLOR`,
//! `TERM=dumb`). Everything must read well without them.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default();
const HINT: Style = AnsiColor::Cyan.on_default();

/// Writes for the commands.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    debug: bool,
}

impl Printer {
    /// A printer that shows what `--debug` asks for, or does not.
    pub fn new(debug: bool) -> Self {
        Self { debug }
    }

    /// Writes data as it is.
    ///
    /// # Errors
    /// stdout is closed or full. A closed pipe means that nobody reads on, which is no fault: see
    /// [`Error::Output`](crate::Error::Output).
    pub fn data(self, text: impl Display) -> io::Result<()> {
        let mut stdout = anstream::stdout().lock();
        write!(stdout, "{text}")?;
        stdout.flush()
    }

    /// Writes one line of data.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    pub fn line(self, line: impl Display) -> io::Result<()> {
        self.data(format_args!("{line}\n"))
    }

    /// Says something to the person at the terminal. That nobody may be listening is no reason to stop.
    pub fn say(self, line: impl Display) {
        let _ = writeln!(anstream::stderr(), "{line}");
    }

    /// Says what went wrong; `what` is fleet's own prefix, such as `Error creating units`.
    pub fn error(self, what: &str, message: impl Display) {
        self.say(format_args!("{ERROR}{what}:{ERROR:#} {message}"));
    }

    /// Says what may not be what was meant.
    pub fn warning(self, message: impl Display) {
        self.say(format_args!("{WARNING}WARNING:{WARNING:#} {message}"));
    }

    /// Says what to do next.
    pub fn hint(self, message: impl Display) {
        self.say(format_args!("{HINT}hint:{HINT:#} {message}"));
    }

    /// Says what `--debug` shows.
    pub fn debug(self, line: impl Display) {
        if self.debug {
            self.say(format_args!("DEBUG {line}"));
        }
    }

    /// A line that says what is being waited for.
    pub fn progress(self) -> Progress {
        Progress {
            terminal: io::stderr().is_terminal(),
            shown: false,
        }
    }
}

/// What is being waited for: on a terminal one line that is written over and taken back, elsewhere said once.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    shown: bool,
}

impl Progress {
    /// Whether [`show`](Self::show) would show anything.
    pub fn has_more_to_say(&self) -> bool {
        self.terminal || !self.shown
    }

    /// Shows what is being waited for.
    pub fn show(&mut self, what: impl Display) {
        let mut stderr = anstream::stderr();
        let _ = match (self.terminal, self.shown) {
            (true, _) => write!(stderr, "\r\x1b[K{what}").and_then(|()| stderr.flush()),
            (false, false) => writeln!(stderr, "{what}"),
            (false, true) => Ok(()),
        };
        self.shown = true;
    }

    /// Takes the line back, before something else is written.
    pub fn clear(&mut self) {
        if self.terminal && self.shown {
            let mut stderr = anstream::stderr();
            let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
            self.shown = false;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
