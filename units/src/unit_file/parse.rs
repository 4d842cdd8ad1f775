//! The reader of unit file text.
//!
//! The rules are those of fleet-reference §1.1, which differ from systemd's own in places. Where fleet's reader would
//! have taken a text that it could not write back, or would have taken a broken line for something else, this one
//! refuses it: a unit must not change its meaning on the way to the machine.

use std::iter::Enumerate;
use std::str::Split;

use super::{Place, Position, UnitOption, excerpt};

/// A place where text is no unit file syntax.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a line, by what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Fault {
    #[error("expected \"]\" to end the section name, found the end of the line")]
    SectionNotClosed,
    #[error("expected a section name, found \"]\"")]
    SectionWithoutName,
    #[error("expected the end of the line after [{section}], found {found:?}")]
    AfterSection { section: String, found: String },
    #[error("expected \"=\" after the option name {name:?}, found {found}")]
    NoEquals { name: String, found: &'static str },
    #[error("expected an option name, found \"=\"")]
    NoName,
    #[error(
        "expected the end of the line after \"\\\", found blanks or a carriage return: the line would not be continued"
    )]
    AfterBackslash,
    #[error("expected text, found a NUL character")]
    Nul,
}

/// Text that was skipped, as fleet skips it, though its author may have meant it to count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {message}")]
pub struct Note {
    /// Where it begins.
    pub position: Position,
    /// What was skipped and why.
    pub message: &'static str,
}

/// What a text holds, in the order of the text.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) options: Vec<(UnitOption, Place)>,
    pub(super) notes: Vec<Note>,
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Parsed, ParseError> {
    refuse_nul(text)?;
    let mut reader = Reader {
        lines: text.split('\n').enumerate(),
        parsed: Parsed::default(),
    };
    let mut section: Option<&str> = None;
    while let Some(line) = reader.next_line() {
        let rest = match section {
            Some(_) => line.text.trim_start(),
            None => reader.skip_preamble(line),
        };
        match (rest.chars().next(), section) {
            (Some('['), _) => section = Some(line.section(rest)?),
            (Some('#' | ';'), _) => reader.skip_comment(line),
            (Some(_), Some(section)) => reader.option(section, line, rest)?,
            _ => {}
        }
    }
    Ok(reader.parsed)
}

/// systemd ends a line at a NUL, so what follows one would mean something else there than here.
fn refuse_nul(text: &str) -> Result<(), ParseError> {
    for (index, text) in text.split('\n').enumerate() {
        if let Some((_, rest)) = text.split_once('\0') {
            let line = Line {
                number: index + 1,
                text,
            };
            return Err(line.fault(&text[text.len() - rest.len() - 1..], Fault::Nul));
        }
    }
    Ok(())
}

/// One physical line, without its line feed.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// Where `rest` begins, a suffix of the line.
    fn position(self, rest: &str) -> Position {
        let before = &self.text[..self.text.len() - rest.len()];
        Position {
            line: self.number,
            column: before.chars().count() + 1,
        }
    }

    fn fault(self, rest: &str, fault: Fault) -> ParseError {
        let Position { line, column } = self.position(rest);
        ParseError { line, column, fault }
    }

    /// The name in a section header; `rest` is the line from its `[`.
    fn section(self, rest: &'a str) -> Result<&'a str, ParseError> {
        let Some((name, after)) = rest[1..].split_once(']') else {
            return Err(self.fault("", Fault::SectionNotClosed));
        };
        if name.is_empty() {
            return Err(self.fault(&rest[1..], Fault::SectionWithoutName));
        }
        match after.trim() {
            "" => Ok(name),
            found => {
                let fault = Fault::AfterSection {
                    section: excerpt(name),
                    found: excerpt(found),
                };
                Err(self.fault(after.trim_start(), fault))
            }
        }
    }
}

struct Reader<'a> {
    lines: Enumerate<Split<'a, char>>,
    parsed: Parsed,
}

impl<'a> Reader<'a> {
    fn next_line(&mut self) -> Option<Line<'a>> {
        self.lines.next().map(|(index, text)| Line {
            number: index + 1,
            text,
        })
    }

    fn note(&mut self, position: Position, message: &'static str) {
        // One of a kind is enough to send somebody to look, and a broken file has thousands.
        if self.parsed.notes.iter().all(|note| note.message != message) {
            self.parsed.notes.push(Note { position, message });
        }
    }

    /// The line from the first `[`, `#` or `;` on: all else before the first section is skipped.
    fn skip_preamble(&mut self, line: Line<'a>) -> &'a str {
        let start = line.text.find(['[', '#', ';']).unwrap_or(line.text.len());
        let stray = line.text[..start].trim_start_matches('\u{feff}').trim();
        if !stray.is_empty() {
            let from = line.position(line.text.trim_start_matches('\u{feff}').trim_start());
            self.note(from, "this stands before the first section and is ignored");
        }
        &line.text[start..]
    }

    /// Skips the lines a comment takes with it by ending in `\`.
    fn skip_comment(&mut self, mut line: Line<'a>) {
        // One blank after the backslash does not stop it: fleet's reader takes it off before it looks.
        while line.text.strip_suffix(' ').unwrap_or(line.text).ends_with('\\') {
            let Some(next) = self.next_line() else { return };
            let rest = next.text.trim();
            if looks_meant(rest) {
                self.note(
                    next.position(next.text.trim_start()),
                    "this is ignored: the comment before it ends in \"\\\" and goes on here",
                );
            }
            line = next;
        }
    }

    /// Reads an option, which may go on over lines; `rest` is the line from the option's name.
    fn option(&mut self, section: &str, line: Line<'a>, rest: &'a str) -> Result<(), ParseError> {
        let (name, after) = self.option_name(line, rest)?;
        let place = Place {
            name: line.position(rest),
            value: line.position(after.trim_start()),
        };
        let value = self.option_value(line, after)?;
        self.parsed
            .options
            .push((UnitOption::new(section, name, value), place));
        Ok(())
    }

    fn option_name(&mut self, line: Line<'a>, rest: &'a str) -> Result<(&'a str, &'a str), ParseError> {
        let (text, after) = rest.split_once('=').unwrap_or((rest, ""));
        let name = text.trim_end();
        let found = match name.find('\r') {
            Some(end) => Some((&rest[end..], "a carriage return")),
            None if text.len() < rest.len() => None,
            None if self.lines.clone().next().is_none() => Some((&rest[name.len()..], "the end of the file")),
            None => Some((&rest[name.len()..], "the end of the line")),
        };
        match found {
            Some((at, found)) => {
                let name = name.split('\r').next().map(excerpt).unwrap_or_default();
                Err(line.fault(at, Fault::NoEquals { name, found }))
            }
            None if name.is_empty() => Err(line.fault(rest, Fault::NoName)),
            None => Ok((name, after)),
        }
    }

    /// Reads a value; `part` is the first line of it, from the `=` on.
    fn option_value(&mut self, mut line: Line<'a>, mut part: &'a str) -> Result<String, ParseError> {
        let mut value = String::new();
        while !part.trim().is_empty() {
            value.push_str(part);
            if !part.ends_with('\\') {
                let text = part.trim_end();
                if text.ends_with('\\') {
                    // Trimmed and written back, it would be continued.
                    return Err(line.fault(&part[text.len()..], Fault::AfterBackslash));
                }
                break;
            }
            value.push('\n');
            let Some(next) = self.next_line() else { break };
            (line, part) = (next, next.text);
        }
        // Continued by an empty line or the end of the text: the line feed stays, as without it the value would take
        // in whatever is written after it.
        let continued = value.ends_with('\n');
        let mut value = value.trim().to_owned();
        if continued {
            value.push('\n');
        }
        Ok(value)
    }
}

/// Whether a line of a comment looks like a section or an option rather than like prose or the rest of a command.
fn looks_meant(line: &str) -> bool {
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    line.starts_with('[')
        || line.split_once('=').is_some_and(|(name, _)| {
            name.starts_with(|c: char| c.is_ascii_uppercase()) && is_key(name.trim_end())
        })
}
