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

/// Takes bytes as they come and gives whole messages. Comments only show that the other side is alive.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The part of the last line that has arrived.
    line: Vec<u8>,
    message: Message,
    whole: VecDeque<Message>,
}

impl Parser {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    self.line.extend_from_slice(end);
                    let line = std::mem::take(&mut self.line);
                    self.take_line(&String::from_utf8_lossy(&line));
                }
                None => self.line.extend_from_slice(part),
            }
        }
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
                parser.feed(chunk);
            }
            let whole: Vec<Message> = std::iter::from_fn(|| parser.next()).collect();
            assert_eq!(whole, expected, "in pieces of {size}");
        }
    }
}
