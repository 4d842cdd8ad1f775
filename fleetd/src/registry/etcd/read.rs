//! Reading ranges of keys, however large and however many, at one revision.
//!
//! etcd takes 128 ranges in one request, and a whole cluster is more than fits into one answer; so what is left after
//! the first request is read as of the revision of its answer.

use std::collections::BTreeMap;

use etcd_client::{Error, GetOptions, GetResponse, KvClient, Txn, TxnOp, TxnOpResponse};

use super::super::{KeyValue, MAX_OPS, Revision, Select, Snapshot};
use super::wire;

/// Keys of one range in one answer. etcd walks over the rest of the range for every answer, to count it, so few pages
/// are better than many; values would have to be 3 KiB on average for a page to be more than is taken.
const PAGE: i64 = 20_000;

/// What is still to be read, and what has been.
#[derive(Debug)]
pub(super) struct Reading {
    left: Vec<Range>,
    found: BTreeMap<String, KeyValue>,
    revision: Option<Revision>,
}

/// One key, if there is no end, or all keys from `start` to before `end`.
#[derive(Debug, Clone)]
struct Range {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Reading {
    pub(super) fn new(what: &[Select]) -> Self {
        let ranges = what.iter().map(|select| match select {
            Select::Key(key) => Range {
                start: key.as_bytes().to_vec(),
                end: None,
            },
            Select::Prefix(prefix) => Range::under(prefix.as_bytes()),
        });
        Self {
            left: ranges.collect(),
            found: BTreeMap::new(),
            revision: None,
        }
    }

    /// The answer, once there is nothing left to ask for.
    pub(super) fn finished(&mut self) -> Option<Snapshot> {
        let revision = self.revision.filter(|_| self.left.is_empty())?;
        let kvs = std::mem::take(&mut self.found).into_values().collect();
        Some(Snapshot { kvs, revision })
    }

    /// The next request: its ranges, at which revision. May be sent more than once.
    pub(super) fn request(&self) -> Request {
        Request {
            ranges: self.left.iter().take(MAX_OPS).cloned().collect(),
            at: self.revision,
        }
    }

    /// Takes the answer to the last request.
    pub(super) fn take(&mut self, (revision, pages): Answer) {
        self.revision.get_or_insert(revision);
        let asked: Vec<Range> = self.left.drain(..self.left.len().min(MAX_OPS)).collect();
        for (range, mut page) in asked.into_iter().zip(pages) {
            let more = page.more();
            let kvs = page.take_kvs();
            if let Some(last) = kvs.last().filter(|_| more) {
                let start = [last.key(), b"\0"].concat();
                self.left.push(Range {
                    start,
                    end: range.end,
                });
            }
            let kvs = kvs.into_iter().filter_map(wire::key_value);
            self.found.extend(kvs.map(|kv| (kv.key.clone(), kv)));
        }
    }
}

/// The revision of an answer and a page for each range.
pub(super) type Answer = (Revision, Vec<GetResponse>);

/// One request to etcd.
#[derive(Debug, Clone)]
pub(super) struct Request {
    ranges: Vec<Range>,
    at: Option<Revision>,
}

impl Request {
    pub(super) async fn send(self, mut kv: KvClient) -> Result<Answer, Error> {
        let page = |range: Range| match range.end {
            Some(end) => (
                range.start,
                self.at(GetOptions::new().with_range(end).with_limit(PAGE)),
            ),
            None => (range.start, self.at(GetOptions::new())),
        };
        let mut ranges = self.ranges.clone();
        if ranges.len() > 1 {
            let gets = ranges.into_iter().map(page);
            let gets: Vec<TxnOp> = gets
                .map(|(start, options)| TxnOp::get(start, Some(options)))
                .collect();
            let answer = kv.txn(Txn::new().and_then(gets)).await?;
            let pages = answer
                .op_responses()
                .into_iter()
                .filter_map(|response| match response {
                    TxnOpResponse::Get(get) => Some(get),
                    _ => None,
                });
            return Ok((wire::revision(answer.header()), pages.collect()));
        }
        // Not as a transaction of one: its answer would have to be copied. Nor, when only the revision is wanted, as
        // one of none: etcd answers that from whatever the member has, without asking the others.
        let (start, options) = match ranges.pop() {
            Some(range) => page(range),
            None => (wire::FIRST_KEY.to_vec(), GetOptions::new().with_count_only()),
        };
        let answer = kv.get(start, Some(options)).await?;
        Ok((wire::revision(answer.header()), vec![answer]))
    }

    fn at(&self, options: GetOptions) -> GetOptions {
        match self.at {
            Some(revision) => options.with_revision(revision),
            None => options,
        }
    }
}

impl Range {
    /// All keys that begin with `prefix`: up to the first text that is higher and does not.
    fn under(prefix: &[u8]) -> Self {
        let bounded = prefix.iter().rposition(|byte| *byte < u8::MAX);
        let end = match bounded {
            Some(last) => [&prefix[..last], &[prefix[last] + 1]].concat(),
            // etcd's "to the very last".
            None => wire::FIRST_KEY.to_vec(),
        };
        let start = if prefix.is_empty() {
            wire::FIRST_KEY
        } else {
            prefix
        };
        Self {
            start: start.to_vec(),
            end: Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_text_without_it() {
        let end = |prefix: &[u8]| Range::under(prefix).end;
        assert_eq!(end(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(end(b"\xff"), Some(b"\0".to_vec()));
        assert_eq!(
            (Range::under(b"").start, end(b"")),
            (b"\0".to_vec(), Some(b"\0".to_vec()))
        );
    }
}
