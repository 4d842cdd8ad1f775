//! What v1 offers, as Google's discovery document: generic clients build themselves from it (fleet-reference §5.2).
//!
//! As in fleet `$ENDPOINT` stands for itself: the client puts in the address that it knows fleetd by.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

const DOCUMENT: &str = include_str!("discovery.json");

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

/// fleet said 400 here and 405 everywhere else.
pub(super) async fn only_get() -> ApiError {
    ApiError::BadRequest("only HTTP GET supported against this resource".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, to_value};
    use units::UnitOption;
    use units::wire::v1;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Entities with no field left empty.
    fn entities() -> Vec<(&'static str, Value)> {
        let text = || "x".to_owned();
        let option = UnitOption::new("Service", "ExecStart", "/bin/true");
        let unit = v1::Unit {
            name: text(),
            options: vec![option.clone()],
            desired_state: text(),
            current_state: text(),
            machine_id: text(),
        };
        let state = v1::UnitState {
            name: text(),
            hash: text(),
            machine_id: text(),
            systemd_load_state: text(),
            systemd_active_state: text(),
            systemd_sub_state: text(),
        };
        let machine = v1::Machine {
            id: text(),
            primary_ip: text(),
            metadata: [(text(), text())].into(),
        };
        let units = v1::UnitPage {
            units: vec![unit.clone()],
            next_page_token: text(),
        };
        let states = v1::UnitStatePage {
            states: vec![state.clone()],
            next_page_token: text(),
        };
        let machines = v1::MachinePage {
            machines: vec![machine.clone()],
            next_page_token: text(),
        };
        vec![
            ("UnitOption", to_value(option).unwrap()),
            ("Unit", to_value(unit).unwrap()),
            ("UnitPage", to_value(units).unwrap()),
            ("UnitState", to_value(state).unwrap()),
            ("UnitStatePage", to_value(states).unwrap()),
            ("Machine", to_value(machine).unwrap()),
            ("MachinePage", to_value(machines).unwrap()),
        ]
    }

    #[test]
    fn the_schemas_are_the_entities() {
        let document = document();
        let schemas = document["schemas"].as_object().unwrap();
        assert_eq!(schemas.len(), entities().len());
        for (name, entity) in entities() {
            let schema = &schemas[name];
            assert_eq!((&schema["id"], &schema["type"]), (&json!(name), &json!("object")));
            let properties = schema["properties"].as_object().unwrap();
            let fields = entity.as_object().unwrap();
            assert!(
                properties.keys().eq(fields.keys()),
                "{name}: {properties:?} {fields:?}"
            );
            for (field, value) in fields {
                let kind = match value {
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    _ => "object",
                };
                assert_eq!(properties[field]["type"], kind, "{name}.{field}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").map(|r| r.as_str().unwrap().to_owned()));
                    fields.values().for_each(|v| references(v, found));
                }
                Value::Array(items) => items.iter().for_each(|v| references(v, found)),
                _ => {}
            }
        }
        let (document, mut found) = (document(), Vec::new());
        references(&document, &mut found);
        assert!(found.len() > 8);
        for name in found {
            assert!(document["schemas"][&name].is_object(), "{name}");
        }
    }
}
