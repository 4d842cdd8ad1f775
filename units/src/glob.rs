//! The patterns of `Conflicts=` and `Replaces=`, with the meaning of Go's `path.Match` (fleet-reference §1.5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pattern for whole unit names.
///
/// `*` stands for any run of characters and `?` for one character, neither for `/`; `[a-z]` and `[^a-z]` stand for
/// one character in or not in the ranges; `\` takes the meaning from the character after it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern {pattern:?}: at character {offset}: {expected}", offset = offset + 1)]
pub struct GlobError {
    /// The whole pattern.
    pub pattern: String,
    /// The character at which it goes wrong, counted from 0; the length if it ends too early.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl Glob {
    /// Checks a pattern.
    ///
    /// # Errors
    /// A pattern Go would call malformed, even where Go would not look because the name differs earlier on. fleet
    /// took those for patterns that match nothing.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        let mut tokens = Tokens(pattern);
        loop {
            match tokens.next() {
                Some(Ok(_)) => {}
                None => return Ok(Self(pattern.to_owned())),
                Some(Err(Malformed { rest, expected })) => {
                    let offset = pattern[..pattern.len() - rest.len()].chars().count();
                    return Err(GlobError {
                        pattern: pattern.to_owned(),
                        offset,
                        expected,
                    });
                }
            }
        }
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every matching name begins with: the text before the first special character.
    pub fn literal_prefix(&self) -> &str {
        self.0.split(['*', '?', '[', '\\']).next().unwrap_or_default()
    }

    /// Whether the pattern matches the whole of `name`; takes at most `pattern × name` steps.
    pub fn matches(&self, name: &str) -> bool {
        let mut pattern = Tokens(&self.0);
        let mut name = name;
        // Where to go on if the last `*` has to take one character more. Going back to the last one is enough: an
        // earlier `*` could only take what this one can take too.
        let mut retry: Option<(Tokens<'_>, &str)> = None;
        loop {
            let mut ahead = name.chars();
            let fits = match pattern.next() {
                Some(Ok(Token::Star)) => {
                    retry = Some((pattern, name));
                    continue;
                }
                Some(Ok(token)) => ahead.next().is_some_and(|c| token.fits(c)),
                Some(Err(_)) => false,
                None if name.is_empty() => return true,
                None => false,
            };
            if fits {
                name = ahead.as_str();
                continue;
            }
            let Some((after_star, taken_up_to)) = retry else {
                return false;
            };
            let mut taken = taken_up_to.chars();
            if taken.next().is_none_or(|c| c == '/') {
                return false;
            }
            (pattern, name) = (after_star, taken.as_str());
            retry = Some((pattern, name));
        }
    }
}

/// One step of a pattern.
#[derive(Clone, Copy)]
enum Token<'a> {
    Star,
    AnyOne,
    Char(char),
    /// The ranges of a class, checked, without brackets and `^`.
    Class {
        negated: bool,
        ranges: &'a str,
    },
}

impl Token<'_> {
    fn fits(self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::AnyOne => c != '/',
            Self::Char(expected) => c == expected,
            Self::Class { negated, ranges } => {
                let mut rest = ranges;
                let mut found = false;
                while !rest.is_empty() {
                    let Ok((low, high)) = range(&mut rest) else {
                        return false;
                    };
                    found |= low <= c && c <= high;
                }
                found != negated
            }
        }
    }
}

/// The part of the pattern at which it stops being one.
struct Malformed<'a> {
    rest: &'a str,
    expected: &'static str,
}

/// Reads a pattern token by token.
#[derive(Clone, Copy)]
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, Malformed<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chars = self.0.chars();
        let token = match chars.next()? {
            '*' => Token::Star,
            '?' => Token::AnyOne,
            '[' => return Some(self.class(chars.as_str())),
            '\\' => match chars.next() {
                Some(c) => Token::Char(c),
                None => {
                    return Some(Err(Malformed {
                        rest: "",
                        expected: "expected a character after \"\\\"",
                    }));
                }
            },
            c => Token::Char(c),
        };
        self.0 = chars.as_str();
        Some(Ok(token))
    }
}

impl<'a> Tokens<'a> {
    fn class(&mut self, body: &'a str) -> Result<Token<'a>, Malformed<'a>> {
        let (negated, ranges) = match body.strip_prefix('^') {
            Some(ranges) => (true, ranges),
            None => (false, body),
        };
        let mut rest = ranges;
        // The first range is asked for unseen: a class has at least one.
        range(&mut rest)?;
        loop {
            if let Some(after) = rest.strip_prefix(']') {
                self.0 = after;
                return Ok(Token::Class {
                    negated,
                    ranges: &ranges[..ranges.len() - rest.len()],
                });
            }
            range(&mut rest)?;
        }
    }
}

/// Takes `a` or `a-z` off the front of a class.
fn range<'a>(rest: &mut &'a str) -> Result<(char, char), Malformed<'a>> {
    let low = class_char(rest)?;
    match rest.strip_prefix('-') {
        Some(after) => {
            *rest = after;
            Ok((low, class_char(rest)?))
        }
        None => Ok((low, low)),
    }
}

/// Takes one character, maybe escaped, off the front of a class; a class never ends without `]`.
fn class_char<'a>(rest: &mut &'a str) -> Result<char, Malformed<'a>> {
    let malformed = |rest, expected| Err(Malformed { rest, expected });
    let mut chars = rest.chars();
    let c = match chars.next() {
        None => return malformed("", "expected \"]\" to end the class"),
        Some('-' | ']') => {
            return malformed(
                rest,
                "expected a character of the class; \"-\" and \"]\" need \"\\\" before them",
            );
        }
        Some('\\') => match chars.next() {
            None => return malformed("", "expected a character after \"\\\""),
            Some(c) => c,
        },
        Some(c) => c,
    };
    *rest = chars.as_str();
    Ok(c)
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(pattern: &str) -> Result<Self, GlobError> {
        Self::parse(pattern)
    }
}

impl TryFrom<String> for Glob {
    type Error = GlobError;

    fn try_from(pattern: String) -> Result<Self, GlobError> {
        Self::parse(&pattern)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

#[cfg(test)]
mod tests;
