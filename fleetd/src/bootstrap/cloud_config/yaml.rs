//! YAML as a tree that knows its lines and keeps every value as the text that it was written as.
//!
//! `proxy: on` is the text "on" here, `permissions: 0644` is "0644": what a value is meant to be is for its key to say.
//! Anchors and tags are refused, and so is what they could be abused for.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScanError, Span, StrInput};

use super::finding::Findings;

/// How deep lists and maps may lie in each other. A cloud-config needs six.
const DEEPEST: usize = 16;

/// How many items a list or map may have: what is done with them is not made for more.
const MOST: usize = 4096;

/// A value and the line where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// `key:` without a value, or `~`.
    Nothing,
    /// A text, without its quotes.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// `key: value`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Kind {
    /// For messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads the one document in `text`, nothing if there is none. `None` if it is no YAML, which is a finding then.
pub(super) fn read(text: &str, findings: &Findings) -> Option<Node> {
    let mut tree = Tree {
        parser: Parser::new_from_str(text),
        lines: text.lines().count().max(1),
    };
    match tree.document() {
        Ok(node) => Some(node.unwrap_or(Node {
            line: 1,
            kind: Kind::Nothing,
        })),
        Err(fault) => {
            let line = text.lines().nth(fault.line.saturating_sub(1)).unwrap_or_default();
            let blanks = line.len() - line.trim_start().len();
            let message = if line[..blanks].contains('\t') {
                "tabs cannot indent YAML: use blanks".to_owned()
            } else {
                fault.message
            };
            findings.error(fault.line, "", message);
            None
        }
    }
}

struct Fault {
    line: usize,
    message: String,
}

struct Tree<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines: usize,
}

impl<'a> Tree<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.line(&span))),
            Some(Err(error)) => Err(self.fault(&error)),
            None => Ok((Event::StreamEnd, self.lines)),
        }
    }

    fn line(&self, span: &Span) -> usize {
        span.start.line().clamp(1, self.lines)
    }

    fn fault(&self, error: &ScanError) -> Fault {
        Fault {
            line: error.marker().line().clamp(1, self.lines),
            message: format!("not YAML: {}", error.info()),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Fault> {
        let mut root = None;
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    let message = "a second document begins here: only one is read".to_owned();
                    return Err(Fault { line, message });
                }
                Event::DocumentStart(_) => {
                    let (event, line) = self.next()?;
                    root = Some(self.node(event, line, 0)?);
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Fault> {
        let fault = |message: &str| {
            let message = message.to_owned();
            Err(Fault { line, message })
        };
        if depth > DEEPEST {
            return fault("lists and maps lie too deep in each other here");
        }
        let (anchor, tag) = match &event {
            Event::Alias(_) => (1, None),
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.as_ref()),
            _ => (0, None),
        };
        if anchor != 0 {
            return fault("anchors and aliases (&, *) are not taken: write the value out");
        }
        if tag.is_some() {
            return fault("tags (!) are not taken: write the value without one");
        }
        let kind = match event {
            Event::Scalar(text, style, _, _) => {
                let is_plain = style == saphyr_parser::ScalarStyle::Plain;
                if is_plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Nothing
                } else {
                    Kind::Text(Cow::into_owned(text))
                }
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return fault("expected a value"),
        };
        Ok(Node { line, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(items)),
                (_, line) if items.len() >= MOST => return too_many(line),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Kind::Map(entries));
            }
            if entries.len() >= MOST {
                return too_many(line);
            }
            let key = match self.node(event, line, depth + 1)?.kind {
                Kind::Text(key) => key,
                other => {
                    let message = format!("expected a text as key, found {}", other.name());
                    return Err(Fault { line, message });
                }
            };
            let (event, value_line) = self.next()?;
            let value = self.node(event, value_line, depth + 1)?;
            entries.push(Entry { line, key, value });
        }
    }
}

fn too_many<T>(line: usize) -> Result<T, Fault> {
    let message = format!("the list or map that this line is in has more than {MOST} items");
    Err(Fault { line, message })
}
