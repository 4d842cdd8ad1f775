//! Pages of v1: a token of four bytes, and all pages of one listing from one revision.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::ApiError;
use crate::registry::Snapshot;

/// How long the rest of a listing can be asked for as it was when its first page was.
const KEPT: Duration = Duration::from_secs(60);

/// Which page to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) limit: u16,
    /// From 1.
    pub(crate) number: u16,
}

impl Page {
    /// The page that a token asks for; the first one without a token (fleet-reference §5.5).
    ///
    /// # Errors
    /// A token that is no such thing, or that was made for another page size.
    pub(crate) fn parse(tokens: &[String], limit: u16) -> Result<Self, ApiError> {
        let token = match tokens {
            [] => return Ok(Self { limit, number: 1 }),
            [one] => one,
            _ => return Err(ApiError::BadRequest("too many values for page token".to_owned())),
        };
        let bad = || {
            ApiError::BadRequest(format!(
                "invalid page token \"{token}\": expected one that fleetd gave"
            ))
        };
        let bytes = decode(token).ok_or_else(bad)?;
        let page = Self {
            limit: u16::from_le_bytes([bytes[0], bytes[1]]),
            number: u16::from_le_bytes([bytes[2], bytes[3]]),
        };
        if page.limit != limit {
            return Err(ApiError::BadRequest(format!("token limit must be {limit}")));
        }
        if page.number == 0 {
            return Err(ApiError::BadRequest(
                "token page must be greater than zero".to_owned(),
            ));
        }
        Ok(page)
    }

    /// The entries of this page, and the token of the next one: empty after the last. As in fleet a total that is an
    /// exact multiple of the limit is followed by an empty page.
    pub(crate) fn cut<T>(self, all: Vec<T>) -> (Vec<T>, String) {
        let limit = usize::from(self.limit.max(1));
        let entries: Vec<T> = all
            .into_iter()
            .skip(limit * (usize::from(self.number) - 1))
            .take(limit)
            .collect();
        let next = match self.number.checked_add(1) {
            Some(number) if entries.len() == limit => encode(Self { number, ..self }),
            _ => String::new(),
        };
        (entries, next)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// URL-safe base64 with padding, of exactly four bytes: not worth a dependency.
fn encode(page: Page) -> String {
    let [a, b] = page.limit.to_le_bytes();
    let [c, d] = page.number.to_le_bytes();
    let bits = u64::from(u32::from_be_bytes([a, b, c, d])) << 4;
    let sextet = |i: u32| char::from(ALPHABET[((bits >> (30 - 6 * i)) & 63) as usize]);
    let mut token: String = (0..6).map(sextet).collect();
    token.push_str("==");
    token
}

fn decode(token: &str) -> Option<[u8; 4]> {
    let digits = token.strip_suffix("==").filter(|d| d.len() == 6)?;
    let mut bits: u64 = 0;
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|c| *c == digit)?;
        bits = (bits << 6) | u64::try_from(value).ok()?;
    }
    // The last digit carries four bits that no byte needs.
    (bits & 15 == 0)
        .then(|| u32::try_from(bits >> 4).map(u32::to_be_bytes).ok())
        .flatten()
}

/// Listings whose further pages may be asked for.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    kept: Mutex<BTreeMap<String, (Instant, Snapshot)>>,
}

impl Pages {
    /// Keeps what the first page of `listing` was made from.
    pub(crate) fn keep(&self, listing: &str, snapshot: &Snapshot) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since, _)| since.elapsed() < KEPT);
        kept.insert(listing.to_owned(), (Instant::now(), snapshot.clone()));
    }

    /// What the first page of `listing` was made from, if that was not long ago.
    pub(crate) fn kept(&self, listing: &str) -> Option<Snapshot> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(listing)
            .filter(|(since, _)| since.elapsed() < KEPT)
            .map(|(_, snapshot)| snapshot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_fleets_byte_for_byte() {
        assert_eq!(
            encode(Page {
                limit: 100,
                number: 11852
            }),
            "ZABMLg=="
        );
        for (limit, number) in [(100, 2), (1, 1), (65535, 65535), (256, 77)] {
            let page = Page { limit, number };
            assert_eq!(Page::parse(&[encode(page)], limit).unwrap(), page);
        }
    }

    #[test]
    fn a_bad_token_is_refused_with_fleets_words() {
        let message = |tokens: &[&str]| {
            let tokens: Vec<String> = tokens.iter().map(|t| (*t).to_owned()).collect();
            match Page::parse(&tokens, 100) {
                Err(ApiError::BadRequest(message)) => message,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(message(&["a", "b"]), "too many values for page token");
        assert_eq!(
            message(&[&encode(Page { limit: 50, number: 1 })]),
            "token limit must be 100"
        );
        assert_eq!(
            message(&[&encode(Page {
                limit: 100,
                number: 0
            })]),
            "token page must be greater than zero"
        );
        for bad in ["", "==", "ZABMLg", "ZABML!==", "ZABMLh==", "ZABMLgAA"] {
            assert!(message(&[bad]).starts_with("invalid page token"), "{bad}");
        }
    }

    #[test]
    fn every_entry_is_on_one_page() {
        for total in 0..25_u16 {
            let (mut page, mut seen) = (Page { limit: 5, number: 1 }, Vec::new());
            loop {
                let (entries, next) = page.cut((0..total).collect());
                seen.extend(entries);
                if next.is_empty() {
                    break;
                }
                page = Page::parse(&[next], 5).unwrap();
            }
            assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }
    }
}
