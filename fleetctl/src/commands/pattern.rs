//! Units named by patterns, for the commands that only look: those that change something take names alone, so that a
//! `*` which the shell left as it was cannot mean the whole cluster.

use std::collections::BTreeSet;

use units::UnitName;
use units::glob::Glob;

use super::Context;
use crate::error::{Error, ExitStatus};
use crate::text;

/// Which units are meant; all of them, if nothing is said.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Pattern>);

#[derive(Debug)]
enum Pattern {
    Name(UnitName),
    Glob(Glob),
}

impl Patterns {
    /// Reads arguments: one with `*`, `?` or `[` is a pattern for whole names, any other means a unit as everywhere.
    ///
    /// # Errors
    /// One is neither.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, Error> {
        arguments
            .iter()
            .map(|argument| Pattern::parse(argument))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(name))
    }
}

impl Pattern {
    fn parse(argument: &str) -> Result<Self, Error> {
        let wrong =
            |error: &dyn std::fmt::Display| Error::Usage(format!("{}: {error}", text::one_line(argument)));
        match argument.contains(['*', '?', '[']) {
            true => Glob::parse(argument)
                .map(Self::Glob)
                .map_err(|error| wrong(&error)),
            false => UnitName::from_argument(argument)
                .map(Self::Name)
                .map_err(|error| wrong(&error)),
        }
    }

    /// `.service` may be left out of patterns, too.
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(unit) => unit.as_str() == name,
            Self::Glob(glob) => {
                glob.matches(name)
                    || name
                        .strip_suffix(".service")
                        .is_some_and(|stem| glob.matches(stem))
            }
        }
    }
}

/// The units that arguments mean, each once, in their order and then by name; and what it means that some mean none,
/// which has been said then.
pub(super) async fn units(
    context: &Context,
    arguments: &[String],
) -> Result<(Vec<UnitName>, ExitStatus), Error> {
    let patterns = Patterns::parse(arguments)?.0;
    let known = match patterns.iter().any(|pattern| matches!(pattern, Pattern::Glob(_))) {
        true => context.api.unit_names().await?,
        false => Vec::new(),
    };
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    let mut status = ExitStatus::Success;
    for pattern in &patterns {
        let matching: Vec<&UnitName> = match pattern {
            Pattern::Name(unit) => vec![unit],
            Pattern::Glob(_) => known
                .iter()
                .filter(|name| pattern.matches(name.as_str()))
                .collect(),
        };
        if let (Pattern::Glob(glob), []) = (pattern, matching.as_slice()) {
            context.printer.say(format_args!("No unit matches {glob}."));
            status = ExitStatus::Failure;
        }
        all.extend(matching.into_iter().filter(|name| seen.insert(*name)).cloned());
    }
    Ok((all, status))
}
