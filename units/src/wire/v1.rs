//! The entities of `/fleet/v1` (fleet-reference §5.1): camel case, empty fields left out, unknown fields accepted.
//!
//! Fields are plain text, not the checked types of this crate: a page must decode whatever the other side says, and
//! the API answers a bad request in its own words.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::machine::Metadata;
use crate::unit_file::UnitOption;

/// A unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Unit {
    /// The unit's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub name: String,
    /// The content, in canonical order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub options: Vec<UnitOption>,
    /// A [`DesiredState`](crate::DesiredState); empty in a request that does not say.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub desired_state: String,
    /// How far the cluster got, in the words of the desired state; answers only.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub current_state: String,
    /// The machine the unit is placed on; answers only.
    #[serde(
        rename = "machineID",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub machine_id: String,
}

/// A page of units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnitPage {
    /// The units, by name.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub units: Vec<Unit>,
    /// What to ask the next page with; empty on the last one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub next_page_token: String,
}

/// What systemd says of a unit on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnitState {
    /// The unit's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub name: String,
    /// The [`Hash`](crate::Hash) of the content this is said of.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub hash: String,
    /// The machine.
    #[serde(
        rename = "machineID",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub machine_id: String,
    /// systemd's LoadState, unmodified.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub systemd_load_state: String,
    /// systemd's ActiveState, unmodified.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub systemd_active_state: String,
    /// systemd's SubState, unmodified.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub systemd_sub_state: String,
}

/// A page of unit states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnitStatePage {
    /// The states, by unit, then by machine.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub states: Vec<UnitState>,
    /// What to ask the next page with; empty on the last one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub next_page_token: String,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Machine {
    /// The [`MachineId`](crate::MachineId).
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub id: String,
    /// The address others reach it at.
    #[serde(
        rename = "primaryIP",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub primary_ip: String,
    /// What `MachineMetadata=` matches on.
    #[serde(
        skip_serializing_if = "Metadata::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub metadata: Metadata,
}

/// A page of machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachinePage {
    /// The machines, by id.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub machines: Vec<Machine>,
    /// What to ask the next page with; empty on the last one.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub next_page_token: String,
}

/// One change of a machine's metadata, an item of the body of `PATCH /machines` (fleet-reference §5.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetadataOp {
    /// `add`, `replace` (which mean the same) or `remove`.
    #[serde(deserialize_with = "null_is_empty")]
    pub op: String,
    /// `/<machine id>/metadata/<key>`
    #[serde(deserialize_with = "null_is_empty")]
    pub path: String,
    /// For `add` and `replace`. Read both as fleet took it, `{"value":"x"}`, and as its documentation had it, `"x"`;
    /// written the way that fleet understands too.
    #[serde(
        skip_serializing_if = "String::is_empty",
        serialize_with = "nested",
        deserialize_with = "nested_or_plain"
    )]
    pub value: String,
}

fn nested<S: Serializer>(value: &str, json: S) -> Result<S::Ok, S::Error> {
    json.collect_map([("value", value)])
}

fn nested_or_plain<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a value is \"x\" or {\"value\":\"x\"}")]
    enum Value {
        Plain(String),
        Nested {
            #[serde(default, deserialize_with = "null_is_empty")]
            value: String,
        },
    }
    Ok(match Option::deserialize(json)? {
        Some(Value::Plain(value) | Value::Nested { value }) => value,
        None => String::new(),
    })
}

/// The body of an answer that is an error: `{"error":{"code":404,"message":"…"}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorEntity,
}

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorEntity {
    /// The HTTP status, once more.
    pub code: u16,
    /// One line; may be empty.
    pub message: String,
}

impl ErrorBody {
    /// An error of that HTTP status and message.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self {
            error: ErrorEntity {
                code,
                message: message.into(),
            },
        }
    }
}

/// `null` means the same as leaving the field out: what Go clients write for an empty list, and Go servers accept.
pub(crate) fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    json: D,
) -> Result<T, D::Error> {
    Option::deserialize(json).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn empty_fields_are_left_out() {
        for page in [
            to_value(UnitPage::default()),
            to_value(UnitStatePage::default()),
            to_value(MachinePage::default()),
            to_value(Unit::default()),
        ] {
            assert_eq!(page.unwrap(), json!({}));
        }
        assert_eq!(
            to_value(ErrorBody::default()).unwrap(),
            json!({"error": {"code": 0, "message": ""}})
        );
    }

    #[test]
    fn fields_have_the_names_of_fleet() {
        let unit = Unit {
            name: "a.service".into(),
            options: vec![UnitOption::new("Service", "ExecStart", "/bin/true")],
            desired_state: "launched".into(),
            current_state: "loaded".into(),
            machine_id: "m".into(),
        };
        let unit_json = json!({
            "name": "a.service", "options": [{"section": "Service", "name": "ExecStart", "value": "/bin/true"}],
            "desiredState": "launched", "currentState": "loaded", "machineID": "m",
        });
        assert_eq!(to_value(&unit).unwrap(), unit_json);
        assert_eq!(from_value::<Unit>(unit_json).unwrap(), unit);

        let state = UnitState {
            name: "a.service".into(),
            hash: "h".into(),
            machine_id: "m".into(),
            systemd_load_state: "loaded".into(),
            systemd_active_state: "active".into(),
            systemd_sub_state: "running".into(),
        };
        let state_json = json!({
            "name": "a.service", "hash": "h", "machineID": "m",
            "systemdLoadState": "loaded", "systemdActiveState": "active", "systemdSubState": "running",
        });
        assert_eq!(to_value(&state).unwrap(), state_json);

        let machine = Machine {
            id: "m".into(),
            primary_ip: "10.0.0.1".into(),
            metadata: [("zone".to_owned(), "a".to_owned())].into(),
        };
        let machine_json = json!({"id": "m", "primaryIP": "10.0.0.1", "metadata": {"zone": "a"}});
        assert_eq!(to_value(&machine).unwrap(), machine_json);

        for (page, expected) in [
            (
                to_value(UnitPage {
                    units: vec![unit],
                    next_page_token: "t".into(),
                }),
                "units",
            ),
            (
                to_value(UnitStatePage {
                    states: vec![state],
                    next_page_token: "t".into(),
                }),
                "states",
            ),
            (
                to_value(MachinePage {
                    machines: vec![machine],
                    next_page_token: "t".into(),
                }),
                "machines",
            ),
        ] {
            let page = page.unwrap();
            assert_eq!(page["nextPageToken"], "t");
            assert_eq!(page[expected].as_array().unwrap().len(), 1);
        }
        let error = ErrorBody::new(404, "unit does not exist");
        assert_eq!(
            to_value(error).unwrap(),
            json!({"error": {"code": 404, "message": "unit does not exist"}})
        );
    }

    #[test]
    fn unknown_missing_and_null_fields_are_accepted() {
        let unit = Unit {
            name: "a.service".into(),
            ..Unit::default()
        };
        for json in [
            json!({"name": "a.service"}),
            json!({"name": "a.service", "options": null, "desiredState": null, "machineID": null}),
            json!({"name": "a.service", "generation": 7, "more": {"x": []}}),
        ] {
            assert_eq!(from_value::<Unit>(json).unwrap(), unit);
        }
        assert!(from_value::<Unit>(json!({"name": 1})).is_err());
    }

    #[test]
    fn a_metadata_value_is_read_in_both_forms() {
        let value = |json| from_value::<MetadataOp>(json).map(|op| op.value);
        for (json, expected) in [
            (
                json!({"op": "add", "path": "/m/metadata/k", "value": {"value": "x"}}),
                "x",
            ),
            (json!({"op": "add", "path": "/m/metadata/k", "value": "x"}), "x"),
            (json!({"op": "remove", "path": "/m/metadata/k"}), ""),
            (
                json!({"op": "remove", "path": "/m/metadata/k", "value": null}),
                "",
            ),
            (json!({"op": "remove", "value": {}}), ""),
        ] {
            assert_eq!(value(json.clone()).unwrap(), expected, "{json}");
        }
        for json in [
            json!({"value": 1}),
            json!({"value": ["x"]}),
            json!({"value": {"value": 1}}),
        ] {
            assert!(value(json.clone()).is_err(), "{json}");
        }
        let op = from_value::<MetadataOp>(json!({"op": "add", "path": "p", "value": "x"})).unwrap();
        let written = json!({"op": "add", "path": "p", "value": {"value": "x"}});
        assert_eq!(to_value(op).unwrap(), written);
    }
}
