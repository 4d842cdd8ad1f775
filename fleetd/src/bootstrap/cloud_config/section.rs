//! Reading a map by the keys that it may have, and values by what they are to be.

use std::ops::RangeInclusive;

use units::requirements::suggest;

use super::finding::{Findings, quoted};
use super::yaml::{Entry, Kind, Node};

/// Hyphens and underscores are the same in keys.
pub(super) fn normal(key: &str) -> String {
    key.replace('-', "_")
}

/// A map of which the keys are known.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// Keys above, as written: `coreos.fleet`; empty at the top.
    pub(super) path: String,
    /// Where it begins.
    pub(super) line: usize,
    entries: Vec<(String, &'a Entry)>,
    findings: &'a Findings,
}

/// A key of a section, with its value.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    /// Of the key, or of an item of a list.
    pub(super) line: usize,
    pub(super) node: &'a Node,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    /// Takes a map and checks its keys, which `known` has in their normal form. `None` for what is no map.
    pub(super) fn open(field: &Field<'a>, known: &[&str]) -> Option<Self> {
        let Kind::Map(entries) = &field.node.kind else {
            if !matches!(field.node.kind, Kind::Nothing) {
                field.error(format!("expected a map of keys, found {}", field.found()));
            }
            return None;
        };
        let mut section = Self {
            path: field.path.clone(),
            line: field.line,
            entries: Vec::new(),
            findings: field.findings,
        };
        for entry in entries {
            let key = normal(&entry.key);
            let path = section.below(&entry.key);
            if let Some((_, first)) = section.entries.iter().find(|(k, _)| *k == key) {
                let message = if first.key == entry.key {
                    format!("given twice, first in line {}", first.line)
                } else {
                    format!(
                        "the same key as {} in line {}: give one of them",
                        first.key, first.line
                    )
                };
                field.findings.error(entry.line, path, message);
            } else {
                if !known.contains(&key.as_str()) {
                    let near = suggest::nearest(&key, known);
                    let hint = near.map(|near| {
                        let near = if entry.key.contains('-') {
                            near.replace('_', "-")
                        } else {
                            near.to_owned()
                        };
                        format!(": did you mean {near}?")
                    });
                    let message = format!("no such key{}", hint.unwrap_or_default());
                    field.findings.error(entry.line, path, message);
                }
                section.entries.push((key, entry));
            }
        }
        Some(section)
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() {
            return key.to_owned();
        }
        format!("{}.{key}", self.path)
    }

    /// The value of a key, unless it is not there or nothing.
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        let (_, entry) = self.entries.iter().find(|(k, _)| k == key)?;
        let is_nothing = matches!(entry.value.kind, Kind::Nothing);
        (!is_nothing).then(|| self.field(entry))
    }

    /// Every key that is there, in the file's order, with its normal form.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, Field<'a>)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), self.field(entry)))
    }

    fn field(&self, entry: &'a Entry) -> Field<'a> {
        Field {
            path: self.below(&entry.key),
            line: entry.line,
            node: &entry.value,
            findings: self.findings,
        }
    }

    /// As [`Self::get`], for a key that has to be there.
    pub(super) fn need(&self, key: &str) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            self.findings
                .error(self.line, &self.path, format!("{key} is missing"));
        }
        field
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.text()
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(|f| f.boolean()).unwrap_or(false)
    }
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(super) fn root(node: &'a Node, findings: &'a Findings) -> Self {
        Self {
            path: String::new(),
            line: node.line,
            node,
            findings,
        }
    }

    pub(super) fn error(&self, message: impl Into<String>) {
        self.findings.error(self.line, &self.path, message);
    }

    pub(super) fn notice(&self, message: impl Into<String>) {
        self.findings.notice(self.line, &self.path, message);
    }

    /// An error on another line of the value.
    pub(super) fn error_at(&self, line: usize, message: impl Into<String>) {
        self.findings.error(line, &self.path, message);
    }

    fn found(&self) -> String {
        match &self.node.kind {
            // Messages end in logs.
            Kind::Text(_) if self.path.ends_with("passwd") || self.path.ends_with("password") => {
                "something else".to_owned()
            }
            Kind::Text(text) => quoted(text.trim_end()),
            other => other.name().to_owned(),
        }
    }

    /// Any value that is no list and no map.
    pub(super) fn text(&self) -> Option<String> {
        match &self.node.kind {
            Kind::Text(text) => Some(text.clone()),
            _ => self.wrong("a text"),
        }
    }

    /// As [`Self::text`], on one line.
    pub(super) fn line_of_text(&self) -> Option<String> {
        let text = self.text()?;
        let text = text.trim();
        if text.contains(char::is_control) {
            return self.wrong("a text on one line");
        }
        Some(text.to_owned())
    }

    /// What YAML 1.1 takes for a truth value.
    pub(super) fn boolean(&self) -> Option<bool> {
        let lower = match &self.node.kind {
            Kind::Text(text) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match lower.as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => self.wrong("true or false"),
        }
    }

    pub(super) fn number(&self, allowed: RangeInclusive<u64>) -> Option<u64> {
        let number = match &self.node.kind {
            Kind::Text(text) => text.parse().ok(),
            _ => None,
        };
        number.filter(|n| allowed.contains(n)).or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            if *most == u64::MAX {
                self.wrong(&format!("a number from {least}"))
            } else {
                self.wrong(&format!("a number from {least} to {most}"))
            }
        })
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Self> {
        let Kind::List(nodes) = &self.node.kind else {
            if !matches!(self.node.kind, Kind::Nothing) {
                self.wrong::<()>("a list");
            }
            return Vec::new();
        };
        let items = nodes.iter().enumerate().map(|(index, node)| Self {
            path: format!("{}[{index}]", self.path),
            line: node.line,
            node,
            findings: self.findings,
        });
        items.collect()
    }

    /// Says that something else was expected.
    pub(super) fn wrong<T>(&self, wanted: &str) -> Option<T> {
        self.error(format!("expected {wanted}, found {}", self.found()));
        None
    }
}
