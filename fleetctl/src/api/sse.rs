//! The text/event-stream format, as far as `GET /fleet/v2/events` uses it.

use std::collections::VecDeque;

/// One message of the stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Its `id:`; empty if it has none.
    pub(super) id: String,
    /// Its `event:`; empty if it has none.
    pub(super) event: String,
    /// Its `data:` lines.
    pub(super) data: String,
}

impl Message {
    fn len(&self) -> usize {
        self.id.len() + self.event.len() + self.data.len()
    }
}

/// A message is a unit's state or verdict, some kilobytes of JSON. What is longer than this is no fleetd's.
const LONGEST: usize = 16 << 20;

/// The other side says more in one message than fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Takes bytes as they come and gives whole messages. Comments only show that the other side is alive.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The part of the last line that has arrived.
    line: Vec<u8>,
    message: Message,
    whole: VecDeque<Message>,
}

impl Parser {
    /// # Errors
    /// A message grows beyond all bounds; nothing more can be made of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    self.line.extend_from_slice(end);
                    let line = std::mem::take(&mut self.line);
                    self.take_line(&String::from_utf8_lossy(&line));
                }
                None => self.line.extend_from_slice(part),
            }
            if self.line.len() + self.message.len() > LONGEST {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    /// The next whole message, in order.
    pub(super) fn next(&mut self) -> Option<Message> {
        self.whole.pop_front()
    }

    fn take_line(&mut self, line: &str) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if !message.data.is_empty() {
                self.whole.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = value.to_owned(),
            "event" => self.message.event = value.to_owned(),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": ping\n\nid: 7\nevent: unit\ndata: {\"a\":\ndata: 1}\n\nevent: nothing\n\ndata:x\r\nid:8\r\n\r\nretry: 3\ndata: cut";

    #[test]
    fn messages_come_whole_however_the_bytes_are_cut() {
        let expected = [
            Message {
                id: "7".to_owned(),
                event: "unit".to_owned(),
                data: "{\"a\":\n1}".to_owned(),
            },
            Message {
                id: "8".to_owned(),
                event: String::new(),
                data: "x".to_owned(),
            },
        ];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            for chunk in STREAM.as_bytes().chunks(size) {
                parser.feed(chunk).unwrap();
            }
            let whole: Vec<Message> = std::iter::from_fn(|| parser.next()).collect();
            assert_eq!(whole, expected, "in pieces of {size}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_however_they_are_cut(
            bytes in prop_oneof![
                vec(any::<u8>(), 0..200),
                vec(prop::sample::select(b"id:event data\r\n\n\n:x\xff\xc3\xa9".to_vec()), 0..200),
            ],
            size in 1_usize..40,
        ) {
            let mut whole = Parser::default();
            prop_assert_eq!(whole.feed(&bytes), Ok(()));
            let mut cut = Parser::default();
            for chunk in bytes.chunks(size) {
                prop_assert_eq!(cut.feed(chunk), Ok(()));
            }
            let all = |mut parser: Parser| std::iter::from_fn(move || parser.next()).collect::<Vec<_>>();
            prop_assert_eq!(all(whole), all(cut));
        }
    }

    #[test]
    fn a_message_without_an_end_is_not_kept_for_ever() {
        for piece in [
            "data: x".repeat(100),
            "data: xxxxxxxx\n".repeat(100),
            "id: x".repeat(100),
        ] {
            let mut parser = Parser::default();
            let fed = (0..).find(|_| parser.feed(piece.as_bytes()).is_err()).unwrap();
            assert!(fed * piece.len() <= 2 * LONGEST, "{fed} times");
        }
    }
}
