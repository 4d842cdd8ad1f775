//! From options to requirements.

use std::collections::{BTreeMap, BTreeSet};

use super::{Location, OnDisconnect, Parsed, RequirementError, Requirements, SECTION, Warning, suggest};
use crate::glob::Glob;
use crate::machine::MachineId;
use crate::name::UnitName;
use crate::unit_file::{UnitFile, excerpt};

/// The spellings of each key, in the order in which their values are taken.
const MACHINE_ID: &[&str] = &["MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID"];
const MACHINE_METADATA: &[&str] = &["X-ConditionMachineMetadata", "MachineMetadata"];
const MACHINE_OF: &[&str] = &["X-ConditionMachineOf", "MachineOf"];
const CONFLICTS: &[&str] = &["X-Conflicts", "Conflicts"];
const GLOBAL: &[&str] = &["Global"];
const REPLACES: &[&str] = &["Replaces"];
const FAILURE_DOMAIN: &[&str] = &["FailureDomain"];
const SPREAD: &[&str] = &["Spread"];
const ON_DISCONNECT: &[&str] = &["OnDisconnect"];

const KEYS: &[&[&str]] = &[
    MACHINE_ID,
    MACHINE_METADATA,
    MACHINE_OF,
    CONFLICTS,
    GLOBAL,
    REPLACES,
    FAILURE_DOMAIN,
    SPREAD,
    ON_DISCONNECT,
];

/// Reads all requirements, with specifiers replaced for `name` if there is one.
pub(super) fn read(file: &UnitFile, name: Option<&UnitName>) -> Result<Parsed, RequirementError> {
    let mut reader = Reader {
        file,
        name,
        warnings: Vec::new(),
    };
    reader.warn_of_skipped_text();
    reader.warn_of_unknown();
    let requirements = Requirements {
        machine_id: reader.machine_id()?,
        metadata: reader.metadata()?,
        machine_of: reader.machine_of()?,
        conflicts: reader.conflicts()?,
        global: reader.global(),
        failure_domain: reader.metadata_keys(FAILURE_DOMAIN)?,
        replaces: reader.replaces()?,
        spread: reader.metadata_keys(SPREAD)?,
        on_disconnect: reader.on_disconnect()?,
    };
    Ok(Parsed {
        requirements,
        warnings: reader.warnings,
    })
}

/// Refuses what is understood but not done yet.
pub(super) fn refuse_unsupported(
    file: &UnitFile,
    requirements: &Requirements,
) -> Result<(), RequirementError> {
    let used = [
        (!requirements.replaces.is_empty(), REPLACES, "Replaces="),
        (!requirements.spread.is_empty(), SPREAD, "Spread="),
        (
            requirements.on_disconnect == OnDisconnect::Stop,
            ON_DISCONNECT,
            "OnDisconnect=stop",
        ),
    ];
    let reader = Reader {
        file,
        name: None,
        warnings: Vec::new(),
    };
    for (_, key, assignment) in used.into_iter().filter(|(used, ..)| *used) {
        if let Some(Value { location, .. }) = reader.values(key).pop() {
            return Err(RequirementError::Unsupported { location, assignment });
        }
    }
    Ok(())
}

struct Reader<'a> {
    file: &'a UnitFile,
    name: Option<&'a UnitName>,
    warnings: Vec<Warning>,
}

/// The value of one option.
struct Value {
    location: Location,
    key: &'static str,
    /// Its items, at least one.
    items: Vec<String>,
}

impl Value {
    fn malformed(&self, item: &str, expected: impl Into<String>) -> RequirementError {
        RequirementError::Malformed {
            location: self.location,
            key: self.key,
            value: excerpt(item),
            expected: expected.into(),
        }
    }

    /// The words of all items. A line continued by `\` is one line here: no word could hold the break anyway.
    fn words(&self) -> Vec<String> {
        let lines = self.items.iter().map(|item| item.replace("\\\n", " "));
        lines
            .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}

impl Reader<'_> {
    /// The values of a key, spelling by spelling.
    fn values(&self, spellings: &[&'static str]) -> Vec<Value> {
        let of_spelling = |key: &'static str| {
            let options = self.file.options().iter().enumerate();
            let matching = options.filter(move |(_, option)| option.section == SECTION && option.name == key);
            matching.map(move |(index, option)| Value {
                location: Location {
                    option: index,
                    position: self.file.value_position(index),
                },
                key,
                items: items(&option.value)
                    .into_iter()
                    .map(|item| self.replace_specifiers(item))
                    .collect(),
            })
        };
        spellings.iter().copied().flat_map(of_spelling).collect()
    }

    /// Replaces `%n`, `%N`, `%p` and `%i`, in this order and as plain text, as fleet does.
    fn replace_specifiers(&self, item: String) -> String {
        let Some(name) = self.name.filter(|_| item.contains('%')) else {
            return item;
        };
        let replaced = item.replace("%n", name.as_str()).replace("%N", name.stem());
        replaced
            .replace("%p", name.prefix())
            .replace("%i", name.instance().unwrap_or_default())
    }

    /// Whether an item cannot be judged, as a specifier in it is still to be replaced.
    fn is_open(&self, item: &str) -> bool {
        self.name.is_none()
            && ["%n", "%N", "%p", "%i"]
                .iter()
                .any(|specifier| item.contains(specifier))
    }

    fn warn(&mut self, location: Location, message: String) {
        self.warnings.push(Warning {
            message,
            hint: None,
            position: location.position,
        });
    }

    fn warn_of_skipped_text(&mut self) {
        let notes = self.file.notes().iter();
        self.warnings.extend(notes.map(|note| Warning {
            message: note.to_string(),
            hint: None,
            position: Some(note.position),
        }));
    }

    /// Keys that mean nothing here; fleet's client warns of them in these words. And sections that nearly do.
    fn warn_of_unknown(&mut self) {
        let known: Vec<&str> = KEYS.concat();
        let mut seen = BTreeSet::new();
        for (index, option) in self.file.options().iter().enumerate() {
            let (message, near) = if option.section == SECTION {
                if known.contains(&option.name.as_str()) || !seen.insert(&option.name) {
                    continue;
                }
                let message = format!("unrecognized requirement in [X-Fleet] section: {:?}", option.name);
                (
                    message,
                    suggest::nearest(&option.name, &known).map(|key| format!("did you mean {key:?}?")),
                )
            } else {
                let near = suggest::nearest(&option.section, &[SECTION]);
                if near.is_none() || !seen.insert(&option.section) {
                    continue;
                }
                let message = format!("section [{}] has no meaning to fleet", option.section);
                (message, near.map(|section| format!("did you mean [{section}]?")))
            };
            let position = self.file.position(index);
            self.warnings.push(Warning {
                message,
                hint: near,
                position,
            });
        }
    }

    /// The first value of the newest spelling present wins.
    fn machine_id(&mut self) -> Result<Option<String>, RequirementError> {
        let values = self.values(MACHINE_ID);
        let Some(first) = values.first() else {
            return Ok(None);
        };
        let id = &first.items[0];
        if !self.is_open(id) && !MachineId::is_requirement(id) {
            return Err(first.malformed(
                id,
                "expected a machine id, 32 lower-case hexadecimal digits, or its first 8",
            ));
        }
        for other in &values {
            if let Some(item) = other.items.iter().find(|item| *item != id) {
                let message = format!("{}={item:?} is ignored: {}={id:?} counts", other.key, first.key);
                self.warn(other.location, message);
            }
        }
        Ok(Some(id.clone()))
    }

    fn metadata(&self) -> Result<BTreeMap<String, BTreeSet<String>>, RequirementError> {
        let mut metadata: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for value in self.values(MACHINE_METADATA) {
            // Two blanks between quoted items make an empty one, in which nobody asks for anything.
            let is_padding =
                |item: &String| item.is_empty() && value.items.iter().any(|other| !other.is_empty());
            for item in value.items.iter().filter(|item| !is_padding(item)) {
                let pair = item.split_once('=').filter(|(key, wanted)| {
                    let in_order = !key.is_empty() && key.trim() == *key && !wanted.is_empty();
                    in_order && !wanted.contains(['=', '\n'])
                });
                let Some((key, wanted)) = pair else {
                    let expected = "expected key=value with one \"=\", several of them each in quotes or lines of their own";
                    return Err(value.malformed(item, expected));
                };
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
        for value in self.values(MACHINE_OF) {
            for item in &value.items {
                if !self.is_open(item) {
                    let peer = UnitName::parse(item).map_err(|error| {
                        let expected = "several of them each in quotes or lines of their own";
                        value.malformed(item, format!("expected a unit name, {expected}: {error}"))
                    })?;
                    if peer.is_template() || Some(&peer) == self.name {
                        let expected =
                            "expected another unit, one that can run: this requirement is never met";
                        return Err(value.malformed(item, expected));
                    }
                }
                peers.insert(item.clone());
            }
        }
        Ok(peers)
    }

    fn glob(&self, value: &Value, pattern: &str) -> Result<Option<Glob>, RequirementError> {
        match Glob::parse(pattern) {
            Ok(glob) => Ok(Some(glob)),
            Err(_) if self.is_open(pattern) => Ok(None),
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

    fn conflicts(&mut self) -> Result<Vec<Glob>, RequirementError> {
        let mut globs = Vec::new();
        for value in self.values(CONFLICTS) {
            let words = value.words();
            if words.is_empty() {
                self.warn(
                    value.location,
                    format!("{}= is empty and has no effect", value.key),
                );
            }
            for word in words {
                globs.extend(self.glob(&value, &word)?);
            }
        }
        Ok(globs)
    }

    fn replaces(&self) -> Result<Vec<Glob>, RequirementError> {
        let mut globs = Vec::new();
        for value in self.values(REPLACES) {
            for item in &value.items {
                if item.is_empty() || item.contains(char::is_whitespace) {
                    let expected =
                        "expected one pattern, several of them each in quotes or lines of their own";
                    return Err(value.malformed(item, expected));
                }
                globs.extend(self.glob(&value, item)?);
            }
        }
        Ok(globs)
    }

    /// The last value wins, and all but a few words mean no.
    fn global(&mut self) -> bool {
        let mut values = self.values(GLOBAL);
        let Some((value, word)) = values
            .pop()
            .and_then(|mut value| value.items.pop().map(|word| (value, word)))
        else {
            return false;
        };
        let is_one_of = |words: &[&str]| words.contains(&word.to_lowercase().as_str());
        let yes = is_one_of(&["true", "yes", "1", "on", "t"]);
        if !yes && !is_one_of(&["false", "no", "0", "off", "f"]) {
            self.warn(
                value.location,
                format!("Global={word:?} means false: expected true, yes, 1, on or t"),
            );
        }
        yes
    }

    fn metadata_keys(&self, spellings: &[&'static str]) -> Result<Vec<String>, RequirementError> {
        let is_key_char = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let mut keys = Vec::new();
        for value in self.values(spellings) {
            let expected =
                "expected metadata keys of letters, digits, \"_\", \".\" and \"-\", separated by blanks";
            let words = value.words();
            if words.is_empty() {
                return Err(value.malformed("", expected));
            }
            for word in words {
                if !self.is_open(&word) && !word.chars().all(is_key_char) {
                    return Err(value.malformed(&word, expected));
                }
                if !keys.contains(&word) {
                    keys.push(word);
                }
            }
        }
        Ok(keys)
    }

    /// The last value wins; each is checked.
    fn on_disconnect(&self) -> Result<OnDisconnect, RequirementError> {
        let mut on_disconnect = OnDisconnect::default();
        for value in self.values(ON_DISCONNECT) {
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

/// The items of a value: one, unless it begins and ends with a quote. Then quotes go, and single blanks outside of
/// them separate (fleet-reference §1.5).
fn items(value: &str) -> Vec<String> {
    if !(value.starts_with('"') && value.ends_with('"')) {
        return vec![value.to_owned()];
    }
    let mut items = vec![String::new()];
    let mut quoted = false;
    for c in value.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => items.push(String::new()),
            c => {
                if let Some(item) = items.last_mut() {
                    item.push(c);
                }
            }
        }
    }
    items
}
