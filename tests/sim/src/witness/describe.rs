//! A change of the registry in words.

use fleetd::registry::keys::Key;
use fleetd::registry::{Change, Revision};

use super::Seen;

impl Seen {
    pub(super) fn describe(&mut self, writer: &str, revision: Revision, change: &Change) {
        let key = change
            .key()
            .strip_prefix(self.keys.root())
            .unwrap_or_else(|| change.key())
            .to_owned();
        let speaks_of_uuids = matches!(
            self.keys.parse(change.key()),
            Some(Key::Cluster | Key::Recovered(_) | Key::Doubted(_))
        );
        let is_content = key.starts_with("content/");
        let value = match change {
            Change::Delete { .. } => None,
            Change::Put(kv) if is_content => Some(format!("{:?}", String::from_utf8_lossy(&kv.value))),
            Change::Put(kv) => Some(String::from_utf8_lossy(&kv.value).into_owned()),
        };
        let mask = |seen: &mut Self, text: String| match speaks_of_uuids {
            true => seen.masked(&text),
            false => text,
        };
        let key = mask(self, key);
        match value.map(|value| mask(self, value)) {
            None => self.note(writer, format_args!("{revision}: - {key}")),
            Some(value) => {
                self.log.mix(value.as_bytes());
                let short: String = value.chars().take(300).collect();
                self.note(writer, format_args!("{revision}: + {key} = {short}"));
            }
        }
    }

    /// The text with each uuid replaced by its number.
    fn masked(&mut self, text: &str) -> String {
        let is_uuid = |word: &str| word.len() == 36 && word.bytes().filter(|b| *b == b'-').count() == 4;
        let mut masked = text.to_owned();
        let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        for word in words.filter(|word| is_uuid(word)) {
            let known = self.uuids.iter().position(|u| u == word);
            let n = known.unwrap_or_else(|| {
                self.uuids.push(word.to_owned());
                self.uuids.len() - 1
            });
            masked = masked.replace(word, &format!("uuid-{n}"));
        }
        masked
    }
}
