//! Options that come as such, in API requests, rather than as text.

use super::{UnitOption, excerpt};

/// An option that a unit file cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option {index} (section {section:?}, name {name:?}): {fault}", index = index + 1)]
pub struct OptionError {
    /// Which option, counted from 0 in the list as it came; the message counts from 1.
    pub index: usize,
    /// The beginning of its section.
    pub section: String,
    /// The beginning of its name.
    pub name: String,
    /// What is wrong with it.
    pub fault: OptionFault,
}

/// What is wrong with an option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum OptionFault {
    #[error("expected a section name, found none")]
    NoSection,
    #[error("expected a section name without \"]\", line feed or NUL, found {0:?}")]
    SectionCharacter(char),
    #[error("expected an option name, found none")]
    NoName,
    #[error("expected an option name without \"=\", line end or NUL, found {0:?}")]
    NameCharacter(char),
    #[error("expected an option name, found {0:?} at its start, which begins a section or a comment")]
    NameStart(char),
    #[error("expected \"\\\" before each line feed of the value, found none")]
    LineFeed,
    #[error("expected a line feed after the \"\\\" at the end of the value: it continues the line")]
    Backslash,
    #[error("expected a value without NUL characters")]
    Nul,
}

/// Checks that each option, written to a unit file, is read back as it is here; trims blanks.
pub(super) fn check(options: Vec<UnitOption>) -> Result<Vec<UnitOption>, OptionError> {
    let checked = options.into_iter().enumerate().map(|(index, option)| {
        check_one(&option).map_err(|fault| OptionError {
            index,
            section: excerpt(&option.section),
            name: excerpt(&option.name),
            fault,
        })
    });
    checked.collect()
}

fn check_one(option: &UnitOption) -> Result<UnitOption, OptionFault> {
    let section = section(&option.section)?;
    Ok(UnitOption::new(
        section,
        name(option.name.trim())?,
        value(&option.value)?,
    ))
}

fn section(section: &str) -> Result<&str, OptionFault> {
    if section.is_empty() {
        return Err(OptionFault::NoSection);
    }
    match section.chars().find(|c| matches!(c, ']' | '\n' | '\0')) {
        Some(c) => Err(OptionFault::SectionCharacter(c)),
        None => Ok(section),
    }
}

fn name(name: &str) -> Result<&str, OptionFault> {
    let Some(first) = name.chars().next() else {
        return Err(OptionFault::NoName);
    };
    if matches!(first, '[' | '#' | ';') {
        return Err(OptionFault::NameStart(first));
    }
    match name.chars().find(|c| matches!(c, '=' | '\n' | '\r' | '\0')) {
        Some(c) => Err(OptionFault::NameCharacter(c)),
        None => Ok(name),
    }
}

fn value(value: &str) -> Result<String, OptionFault> {
    if value.contains('\0') {
        return Err(OptionFault::Nul);
    }
    let text = value.trim();
    let mut lines = text.split('\n').rev();
    let last = lines.next().unwrap_or_default();
    if !lines.all(|line| line.ends_with('\\')) {
        return Err(OptionFault::LineFeed);
    }
    if !last.ends_with('\\') {
        return Ok(text.to_owned());
    }
    // A value may end in a continued line that an empty one follows; the line feed tells.
    match value.trim_start()[text.len()..].starts_with('\n') {
        true => Ok(format!("{text}\n")),
        false => Err(OptionFault::Backslash),
    }
}
