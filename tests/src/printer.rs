//! The one place of the lab that prints.
//!
//! Steps go to stderr, one line each when they end; on a terminal a spinner or a bar shows the way there, in a pipe
//! only the finished lines appear. What a command was asked for (a table, a command's output) goes to stdout.

use std::io::IsTerminal;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();

/// Tells a person what happens. Silent in the scenarios, where only failures have something to say.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    silent: bool,
}

/// A step under way; long ones report how far they are.
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
    what: String,
}

impl Printer {
    /// Tells every step.
    pub fn loud() -> Self {
        Self { silent: false }
    }

    /// Tells nothing; errors still travel as errors.
    pub fn silent() -> Self {
        Self { silent: true }
    }

    /// Does one step of the work and says how it ended and how long it took.
    pub fn step<T>(&self, what: impl Into<String>, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        let what = what.into();
        let started = Instant::now();
        let step = Step::new(self, what);
        let result = work(&step);
        step.bar.finish_and_clear();
        let (colour, mark) = if result.is_ok() {
            (GOOD, '✓')
        } else {
            (BAD, '✗')
        };
        let what = &step.what;
        let took = started.elapsed().as_secs_f64();
        self.note(&format!(
            "{colour}{mark}{colour:#} {what} {FAINT}{took:.1} s{FAINT:#}"
        ));
        result
    }

    /// One line for a person, on stderr.
    pub fn note(&self, line: &str) {
        if !self.silent {
            anstream::eprintln!("{line}");
        }
    }

    /// What a command was asked for, on stdout, whether silent or not.
    pub fn result(&self, line: &str) {
        anstream::println!("{line}");
    }

    /// What went wrong, on stderr, whether silent or not.
    pub fn error(&self, line: &str) {
        anstream::eprintln!("{BAD}lab:{BAD:#} {line}");
    }
}

impl Step {
    fn new(printer: &Printer, what: String) -> Self {
        let bar = ProgressBar::new_spinner();
        if printer.silent || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        } else {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar.set_message(what.clone());
        Self { bar, what }
    }

    /// The step is made of this many parts: show a bar.
    pub fn parts(&self, parts: u64) {
        // The template is ours and fixed; a bar without style is no reason to stop.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {percent:>3}% {elapsed}")
        {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_length(parts);
    }

    /// One more part is done. More parts than announced do not overfill the bar.
    pub fn part(&self) {
        if self
            .bar
            .length()
            .is_none_or(|length| self.bar.position() + 1 < length)
        {
            self.bar.inc(1);
        }
    }

    /// What the step is busy with right now.
    pub fn busy_with(&self, detail: &str) {
        self.bar.set_message(format!("{}: {detail}", self.what));
    }
}
