//! Machines as unit files see them: ids and metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hex::{Hex, hex_text, is_digit};

/// A machine's id, from `/etc/machine-id`: 32 lower-case hexadecimal digits (machine-id(5)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(Hex<32>);

/// Text that is no machine id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid machine id {0:?}: expected 32 lower-case hexadecimal digits")]
pub struct MachineIdError(pub String);

hex_text!(MachineId, MachineIdError);

impl MachineId {
    /// How many digits make the short form, which `MachineID=` accepts too.
    const SHORT: usize = 8;

    /// Reads exactly 32 lower-case hexadecimal digits; the caller trims the line feed of `/etc/machine-id`.
    pub fn parse(text: &str) -> Result<Self, MachineIdError> {
        Hex::parse(text)
            .map(Self)
            .ok_or_else(|| MachineIdError(text.to_owned()))
    }

    /// All 32 digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first 8 digits, as fleetctl's tables show them.
    pub fn short(&self) -> &str {
        &self.as_str()[..Self::SHORT]
    }

    /// Whether `MachineID=required` means this machine: its full id or the first 8 digits (fleet-reference §1.5).
    pub fn matches_requirement(&self, required: &str) -> bool {
        required == self.as_str() || required == self.short()
    }

    /// Whether some machine could match `MachineID=required`.
    pub(crate) fn is_requirement(required: &str) -> bool {
        [Self::SHORT, 32].contains(&required.len()) && required.bytes().all(|byte| is_digit(&byte))
    }
}

impl AsRef<str> for MachineId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// What is said of a machine for `MachineMetadata=` to match on.
pub type Metadata = BTreeMap<String, String>;

/// Whether the API and `FailureDomain=` take this as a metadata key: one or more of `A-Za-z0-9_.-` (fleet-reference
/// §5.4). The `metadata` setting of a machine may use others too.
pub fn is_metadata_key(key: &str) -> bool {
    !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Whether a value of metadata may be this: it is shown in tables and on terminals, so it has no control characters.
pub fn is_metadata_value(value: &str) -> bool {
    !value.contains(char::is_control)
}

/// An item of a metadata list that is not `key=value`, or has control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid metadata item {0:?}: expected key=value without control characters")]
pub struct MetadataError(pub String);

/// Reads the `metadata` setting, `key=value,key=value` (fleet-reference §6).
///
/// Blanks around keys, values and items are trimmed, a later item of the same key wins, a value may contain `=`,
/// and empty items (a trailing comma) are skipped.
///
/// # Errors
/// An item without `=`, without a key, or with control characters. fleet ignored those, and the constraint someone meant with them.
pub fn parse_metadata(list: &str) -> Result<Metadata, MetadataError> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let (key, value) = item
                .split_once('=')
                .ok_or_else(|| MetadataError(item.to_owned()))?;
            match (key.trim(), value.trim()) {
                ("", _) => Err(MetadataError(item.to_owned())),
                (key, value) if !is_metadata_value(key) || !is_metadata_value(value) => {
                    Err(MetadataError(item.to_owned()))
                }
                (key, value) => Ok((key.to_owned(), value.to_owned())),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn machine_ids() {
        let id = MachineId::parse(ID).unwrap();
        assert_eq!(
            (id.as_str(), id.short(), id.to_string().as_str()),
            (ID, "01234567", ID)
        );
        assert_eq!(
            serde_json::from_str::<MachineId>(&serde_json::to_string(&id).unwrap()).unwrap(),
            id
        );
        for wrong in [
            "",
            "01234567",
            &ID[1..],
            &ID.to_uppercase(),
            &format!("{ID}\n"),
            &ID.replace('0', "g"),
        ] {
            assert_eq!(MachineId::parse(wrong), Err(MachineIdError(wrong.to_owned())));
            assert!(serde_json::from_value::<MachineId>(wrong.into()).is_err());
        }
    }

    #[test]
    fn a_requirement_matches_the_whole_id_or_its_first_eight_digits() {
        let id = MachineId::parse(ID).unwrap();
        for (required, matches) in [
            (ID, true),
            ("01234567", true),
            ("0123456", false),
            ("012345678", false),
            ("", false),
            ("89abcdef", false),
        ] {
            assert_eq!(id.matches_requirement(required), matches, "{required}");
        }
    }

    #[test]
    fn metadata_keys() {
        for (key, expected) in [
            ("zone", true),
            ("A.b_C-9", true),
            ("", false),
            ("a b", false),
            ("a=b", false),
            ("é", false),
        ] {
            assert_eq!(is_metadata_key(key), expected, "{key}");
        }
    }

    #[test]
    fn metadata_lists() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            (" , ,", &[]),
            ("a=b", &[("a", "b")]),
            (" a = b , c=d,", &[("a", "b"), ("c", "d")]),
            ("a=b,a=c", &[("a", "c")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a=", &[("a", "")]),
            ("a=b,\n\tc =\td\n", &[("a", "b"), ("c", "d")]),
        ];
        for (list, expected) in table {
            let expected = expected
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect();
            assert_eq!(parse_metadata(list), Ok(expected), "{list:?}");
        }
        for (list, item) in [
            ("foo", "foo"),
            ("a=b, foo ,c=d", "foo"),
            ("=b", "=b"),
            (" =b", "=b"),
            ("a=b\nc", "a=b\nc"),
            ("a\tb=c", "a\tb=c"),
            ("c=d,a=\u{1b}[31mred", "a=\u{1b}[31mred"),
        ] {
            assert_eq!(
                parse_metadata(list),
                Err(MetadataError(item.to_owned())),
                "{list:?}"
            );
        }
    }
}
