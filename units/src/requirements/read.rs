//! From values to requirements.

use std::collections::{BTreeMap, BTreeSet};

use super::values::{
    CONFLICTS, FAILURE_DOMAIN, GLOBAL, Key, MACHINE_ID, MACHINE_METADATA, MACHINE_OF, ON_DISCONNECT,
    REPLACES, SPREAD, Value, Values,
};
use super::{OnDisconnect, Parsed, RequirementError, Requirements, Warning};
use crate::glob::Glob;
use crate::machine::{MachineId, is_metadata_key};
use crate::name::UnitName;
use crate::unit_file::{UnitFile, excerpt};

/// How to write more than one item.
const SEVERAL: &str = "for several, quote each or repeat the key";

/// Reads all requirements, with specifiers replaced for `name` if there is one.
pub(super) fn read(file: &UnitFile, name: Option<&UnitName>) -> Result<Parsed, RequirementError> {
    let mut reader = Reader {
        values: Values { file, name },
        warnings: Vec::new(),
    };
    let requirements = Requirements {
        machine_id: reader.machine_id()?,
        metadata: reader.metadata()?,
        machine_of: reader.machine_of()?,
        conflicts: reader.conflicts()?,
        global: reader.global(),
        failure_domain: reader.metadata_keys(FAILURE_DOMAIN)?,
        replaces: reader.replaces()?,
        spread: reader.spread()?,
        on_disconnect: reader.on_disconnect()?,
    };
    Ok(Parsed {
        requirements,
        warnings: reader.warnings,
    })
}

struct Reader<'a> {
    values: Values<'a>,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn warn(&mut self, value: &Value, message: String) {
        self.warnings.push(Warning {
            message,
            hint: None,
            position: value.location.position,
        });
    }

    /// The first value of the newest spelling present wins.
    fn machine_id(&mut self) -> Result<Option<String>, RequirementError> {
        let values = self.values.of(MACHINE_ID);
        let Some((first, id)) = values
            .first()
            .and_then(|value| Some((value, value.items.first()?)))
        else {
            return Ok(None);
        };
        if !self.values.is_open(id) && !MachineId::is_requirement(id) {
            let expected = "expected a machine id, 32 lower-case hexadecimal digits, or its first 8";
            return Err(first.malformed(id, expected));
        }
        for value in &values {
            if let Some(other) = value.items.iter().find(|item| *item != id) {
                let (key, other) = (value.key, excerpt(other));
                self.warn(
                    value,
                    format!("{key}={other:?} is ignored: {}={id:?} counts", first.key),
                );
            }
        }
        Ok(Some(id.clone()))
    }

    /// fleet dropped malformed items, and with them the constraint; here they are errors.
    fn metadata(&self) -> Result<BTreeMap<String, BTreeSet<String>>, RequirementError> {
        let mut metadata: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for value in self.values.of(MACHINE_METADATA) {
            // Two blanks between quoted items make an empty one, in which nobody asks for anything.
            let is_padded = value.items.iter().any(|item| !item.is_empty());
            for item in value.items.iter().filter(|item| !(is_padded && item.is_empty())) {
                let (key, wanted) = metadata_pair(item).ok_or_else(|| {
                    value.malformed(item, format!("expected key=value with one \"=\"; {SEVERAL}"))
                })?;
                metadata
                    .entry(key.to_owned())
                    .or_default()
                    .insert(wanted.to_owned());
            }
        }
        Ok(metadata)
    }

    fn machine_of(&self) -> Result<BTreeSet<String>, RequirementError> {
        let mut peers = BTreeSet::new();
        for value in self.values.of(MACHINE_OF) {
            for item in &value.items {
                if !self.values.is_open(item) {
                    self.check_peer(&value, item)?;
                }
                peers.insert(item.clone());
            }
        }
        Ok(peers)
    }

    fn check_peer(&self, value: &Value, item: &str) -> Result<(), RequirementError> {
        let peer = UnitName::parse(item)
            .map_err(|error| value.malformed(item, format!("expected a unit name ({error}); {SEVERAL}")))?;
        match peer.is_template() || self.values.name == Some(&peer) {
            true => Err(value.malformed(item, "expected another unit, and one that can run")),
            false => Ok(()),
        }
    }

    fn conflicts(&mut self) -> Result<Vec<Glob>, RequirementError> {
        let mut globs = Vec::new();
        for value in self.values.of(CONFLICTS) {
            let words = value.words();
            if words.is_empty() {
                self.warn(&value, format!("{}= is empty and has no effect", value.key));
            }
            for word in words {
                globs.extend(self.glob(&value, &word)?);
            }
        }
        Ok(globs)
    }

    fn replaces(&self) -> Result<Vec<Glob>, RequirementError> {
        let mut globs = Vec::new();
        for value in self.values.of(REPLACES) {
            for item in &value.items {
                if item.is_empty() || item.contains(char::is_whitespace) {
                    return Err(
                        value.malformed(item, format!("expected a pattern without blanks; {SEVERAL}"))
                    );
                }
                globs.extend(self.glob(&value, item)?);
            }
        }
        Ok(globs)
    }

    /// The pattern; `None` if it may yet become one.
    fn glob(&self, value: &Value, pattern: &str) -> Result<Option<Glob>, RequirementError> {
        match Glob::parse(pattern) {
            Ok(glob) => Ok(Some(glob)),
            Err(_) if self.values.is_open(pattern) => Ok(None),
            Err(error) => {
                let expected = format!(
                    "at character {} of the pattern, {}",
                    error.offset + 1,
                    error.expected
                );
                Err(value.malformed(pattern, expected))
            }
        }
    }

    /// The last item wins, and all but a few words mean no.
    fn global(&mut self) -> bool {
        let values = self.values.of(GLOBAL);
        let Some((value, item)) = values.last().and_then(|value| Some((value, value.items.last()?))) else {
            return false;
        };
        let word = item.to_lowercase();
        let yes = ["true", "yes", "1", "on", "t"].contains(&&*word);
        if !yes && !["false", "no", "0", "off", "f"].contains(&&*word) {
            let word = excerpt(item);
            self.warn(
                value,
                format!("Global={word:?} means false: expected true, yes, 1, on or t"),
            );
        }
        yes
    }

    fn metadata_keys(&self, key: Key) -> Result<Vec<String>, RequirementError> {
        let expected =
            "expected metadata keys of letters, digits, \"_\", \".\" and \"-\", separated by blanks";
        let mut keys = Vec::new();
        let mut seen = BTreeSet::new();
        for value in self.values.of(key) {
            let words = value.words();
            if words.is_empty() {
                return Err(value.malformed("", expected));
            }
            for word in words {
                if !self.values.is_open(&word) && !is_metadata_key(&word) {
                    return Err(value.malformed(&word, expected));
                }
                if seen.insert(word.clone()) {
                    keys.push(word);
                }
            }
        }
        Ok(keys)
    }

    fn spread(&mut self) -> Result<Vec<String>, RequirementError> {
        let keys = self.metadata_keys(SPREAD)?;
        if let Some(name) = self.values.name.filter(|name| name.instance().is_none())
            && let Some(value) = self.values.of(SPREAD).first()
        {
            let message = format!("Spread= has no effect: {name} is no instance of a template");
            self.warn(value, message);
        }
        Ok(keys)
    }

    /// The last item wins; each is checked.
    fn on_disconnect(&self) -> Result<OnDisconnect, RequirementError> {
        let mut on_disconnect = OnDisconnect::default();
        for value in self.values.of(ON_DISCONNECT) {
            for item in &value.items {
                on_disconnect = match item.as_str() {
                    "keep" => OnDisconnect::Keep,
                    "stop" => OnDisconnect::Stop,
                    other => return Err(value.malformed(other, "expected keep or stop")),
                };
            }
        }
        Ok(on_disconnect)
    }
}

/// `key=value` with one `=` and nothing empty. A machine's keys have no blanks around them, and no line breaks.
fn metadata_pair(item: &str) -> Option<(&str, &str)> {
    let (key, wanted) = item.split_once('=')?;
    let is_pair = !key.is_empty() && key == key.trim() && !wanted.is_empty() && !wanted.contains(['=', '\n']);
    is_pair.then_some((key, wanted))
}
