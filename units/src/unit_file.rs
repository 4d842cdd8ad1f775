//! Unit files: options in order, their canonical form and its hash (fleet-reference §1.1, §1.2).

mod hash;
mod options;
mod parse;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use hash::{Hash, HashError};
pub use options::{OptionError, OptionFault};
pub use parse::{Fault, Note, ParseError};

/// One assignment of a unit file, in the JSON form of the HTTP API; empty fields are left out there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitOption {
    /// The section, without brackets: `Service`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub section: String,
    /// The key: `ExecStart`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The value; continued lines are kept as written, each `\` and line feed included.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl UnitOption {
    /// `[section]`, `name=value`.
    pub fn new(section: impl Into<String>, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            section: section.into(),
            name: name.into(),
            value: value.into(),
        }
    }
}

/// A place in a text, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A unit file: options in canonical order, which is the order of the text with sections brought together.
///
/// Its canonical form reads back as an equal unit file. Two files are equal if their options are, wherever in a text
/// those stood.
#[derive(Clone, Debug, Default)]
pub struct UnitFile {
    options: Vec<UnitOption>,
    /// Where each option's name and value begin; empty if the options came as such.
    places: Vec<Place>,
    notes: Vec<Note>,
}

/// Where an option begins and where its value does.
#[derive(Clone, Copy, Debug)]
struct Place {
    name: Position,
    value: Position,
}

impl UnitFile {
    /// Reads the text of a unit file, of any length and with lines of any length.
    ///
    /// # Errors
    /// The first place that is no unit file syntax, with what was expected there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let parsed = parse::parse(text)?;
        let (options, places) = canonical_order(parsed.options, |(option, _)| &option.section)
            .into_iter()
            .unzip();
        Ok(Self {
            options,
            places,
            notes: parsed.notes,
        })
    }

    /// Takes options as they come in API requests. Blanks around names and values are trimmed, as reading them back
    /// would.
    ///
    /// # Errors
    /// The first option that could not be written to a unit file and read back as the same option.
    pub fn from_options(options: Vec<UnitOption>) -> Result<Self, OptionError> {
        let options = options::check(options)?;
        let options = canonical_order(options, |option| &option.section);
        Ok(Self {
            options,
            places: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// The options, in canonical order.
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// The options, given away.
    pub fn into_options(self) -> Vec<UnitOption> {
        self.options
    }

    /// The options of one section alone, each still where it was in the text.
    #[must_use]
    pub fn only(&self, section: &str) -> Self {
        let of_section = |(index, _): &(usize, &UnitOption)| self.options[*index].section == section;
        let (options, places) = self
            .options
            .iter()
            .enumerate()
            .filter(of_section)
            .map(|(index, option)| (option.clone(), self.places.get(index).copied()))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        Self {
            options,
            places: places.into_iter().flatten().collect(),
            notes: Vec::new(),
        }
    }

    /// Where option number `index` of [`options`](Self::options) begins in the text; `None` if there was no text.
    pub fn position(&self, index: usize) -> Option<Position> {
        self.places.get(index).map(|place| place.name)
    }

    /// Where the value of option number `index` begins in the text; `None` if there was no text.
    pub fn value_position(&self, index: usize) -> Option<Position> {
        self.places.get(index).map(|place| place.value)
    }

    /// Text that was skipped, though its author may have meant it to count.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Every value given to `name` in `[section]`, in order.
    pub fn get_all<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
        let matching = self
            .options
            .iter()
            .filter(move |option| option.section == section && option.name == name);
        matching.map(|option| option.value.as_str())
    }

    /// Whether there is no option at all.
    pub fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// Whether `[section]` has an option.
    pub fn has_section(&self, section: &str) -> bool {
        self.options.iter().any(|option| option.section == section)
    }

    /// The first `Description=` of `[Unit]`.
    pub fn description(&self) -> Option<&str> {
        self.get_all("Unit", "Description").next()
    }

    /// The one text that stands for all spellings of this unit file: it is stored, hashed and given to systemd.
    ///
    /// Sections in the order they were first seen, `Key=Value` lines, one empty line between sections.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for section in self.options.chunk_by(|a, b| a.section == b.section) {
            if !text.is_empty() {
                text.push('\n');
            }
            for (index, option) in section.iter().enumerate() {
                if index == 0 {
                    text.extend(["[", &option.section, "]\n"]);
                }
                text.extend([&option.name, "=", &option.value, "\n"]);
            }
        }
        text
    }

    /// The SHA-1 of the canonical form; equal hashes are what makes two units the same (fleet-reference §1.2).
    pub fn hash(&self) -> Hash {
        Hash::of(self.canonical().as_bytes())
    }
}

impl PartialEq for UnitFile {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

impl Eq for UnitFile {}

/// Brings sections together, in the order they were first seen, and keeps the order within each.
fn canonical_order<T>(mut options: Vec<T>, section: impl Fn(&T) -> &String) -> Vec<T> {
    let mut first_seen: HashMap<String, usize> = HashMap::new();
    for (index, option) in options.iter().enumerate() {
        if !first_seen.contains_key(section(option)) {
            first_seen.insert(section(option).clone(), index);
        }
    }
    options.sort_by_key(|option| first_seen.get(section(option)).copied());
    options
}

/// The beginning of a text, short enough for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 60;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
