//! What a user's change comes to: pure, from the request and what the registry holds of the unit.

use units::wire::v1;
use units::{DesiredState, UnitFile, UnitName, UnitRecord, validate};

use super::error::ApiError;
use crate::registry::keys::Keys;
use crate::registry::{Precondition, Revision, Txn, encode};

/// What is to be done about a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new unit, or new content for one: answered with 201.
    Create(Box<(UnitRecord, UnitFile)>),
    /// Another desired state: answered with 204.
    Update(UnitRecord),
    /// It is so already: 204.
    Nothing,
}

/// The unit as the registry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// `None` if the record cannot be read: it can be replaced or destroyed all the same.
    pub(crate) record: Option<UnitRecord>,
    pub(crate) revision: Revision,
}

/// The checks of fleet-reference §5.3 from the third on, in that order, with the quirks 2, 4 and 22 fixed: whatever is
/// stored is valid, whichever way it came. A body without a name means the one of the URL, as fleet's own examples do.
///
/// # Errors
/// What the user did wrong.
pub(crate) fn decide(
    name: &str,
    body: v1::Unit,
    known: Option<&Known>,
) -> Result<(UnitName, Change), ApiError> {
    if !body.name.is_empty() && body.name != name {
        let message = format!(
            "name in URL \"{name}\" differs from unit name in request body \"{}\"",
            body.name
        );
        return Err(ApiError::BadRequest(message));
    }
    let unit = UnitName::parse(name).map_err(|e| ApiError::BadRequest(e.to_string()))?;
    let has_options = !body.options.is_empty();
    if known.is_none() && !has_options {
        return Err(ApiError::Conflict(
            "unit does not exist and options field empty".to_owned(),
        ));
    }
    let file = UnitFile::from_options(body.options).map_err(|e| ApiError::BadRequest(e.to_string()))?;
    let record = known.and_then(|k| k.record.as_ref());
    let is_new = has_options && record.is_none_or(|r| r.hash != file.hash());
    if is_new {
        validate(&unit, &file).map_err(|e| ApiError::BadRequest(e.to_string()))?;
    }
    let desired = match body.desired_state.as_str() {
        "" if is_new => DesiredState::Inactive,
        "" => {
            let message = "must provide DesiredState to update existing unit";
            return Err(ApiError::Conflict(message.to_owned()));
        }
        text => text
            .parse::<DesiredState>()
            .map_err(|e| ApiError::BadRequest(e.to_string()))?,
    };
    refuse_template(&unit, desired)?;
    if is_new {
        let run = record.map_or(0, |r| r.run);
        let record = UnitRecord {
            hash: file.hash(),
            desired,
            run,
        };
        return Ok((unit, Change::Create(Box::new((record, file)))));
    }
    let change = match record {
        None => {
            let message =
                format!("what is stored of {unit} cannot be read; destroy it, or submit it with its content");
            return Err(ApiError::Conflict(message));
        }
        Some(record) if record.desired == desired => Change::Nothing,
        Some(record) => Change::Update(UnitRecord {
            desired,
            ..record.clone()
        }),
    };
    Ok((unit, change))
}

/// Another run of a unit: launched, whatever it was.
///
/// # Errors
/// For a template.
pub(crate) fn run_again(unit: &UnitName, record: &UnitRecord) -> Result<UnitRecord, ApiError> {
    refuse_template(unit, DesiredState::Launched)?;
    Ok(UnitRecord {
        desired: DesiredState::Launched,
        // What somebody else wrote may stand at the end; another number is all that is needed.
        run: record.run.wrapping_add(1),
        ..record.clone()
    })
}

fn refuse_template(unit: &UnitName, desired: DesiredState) -> Result<(), ApiError> {
    if unit.is_template() && desired != DesiredState::Inactive {
        return Err(ApiError::BadRequest(format!(
            "cannot activate template \"{unit}\""
        )));
    }
    Ok(())
}

/// The transaction of a change; it fails if the unit is not as it was `known` any more.
pub(crate) fn transaction(
    keys: &Keys,
    unit: &UnitName,
    known: Option<&Known>,
    change: &Change,
) -> Option<Txn> {
    let key = keys.unit(unit);
    let txn = Txn::new().when(match known {
        Some(known) => Precondition::Unchanged(key.clone(), known.revision),
        None => Precondition::Absent(key.clone()),
    });
    match change {
        Change::Nothing => None,
        Change::Update(record) => Some(txn.put(key, encode(record))),
        // The content is put even if it is there: that is what saves it from a leader about to remove it as unused.
        Change::Create(new) => {
            let (record, file) = new.as_ref();
            Some(
                txn.put(keys.content(&record.hash), file.canonical())
                    .put(key, encode(record)),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use units::UnitOption;

    use super::*;

    fn body(name: &str, exec: &[&str], desired: &str) -> v1::Unit {
        let options = exec
            .iter()
            .map(|e| UnitOption::new("Service", "ExecStart", *e))
            .collect();
        v1::Unit {
            name: name.into(),
            options,
            desired_state: desired.into(),
            ..v1::Unit::default()
        }
    }

    fn known(exec: &str, desired: DesiredState) -> Known {
        let options = vec![UnitOption::new("Service", "ExecStart", exec)];
        let hash = UnitFile::from_options(options).unwrap().hash();
        Known {
            record: Some(UnitRecord {
                hash,
                desired,
                run: 3,
            }),
            revision: 7,
        }
    }

    /// What a request comes to, in short words.
    fn outcome(name: &str, body: v1::Unit, known: Option<&Known>) -> String {
        match decide(name, body, known) {
            Ok((_, Change::Nothing)) => "204".to_owned(),
            Ok((_, Change::Update(record))) => format!("204 {} run {}", record.desired, record.run),
            Ok((_, Change::Create(new))) => format!("201 {} run {}", new.0.desired, new.0.run),
            Err(ApiError::BadRequest(message)) => format!("400 {message}"),
            Err(ApiError::Conflict(message)) => format!("409 {message}"),
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn the_checks_come_in_fleets_order() {
        let a = "a.service";
        let loaded = known("/bin/a", DesiredState::Loaded);
        let garbled = Known {
            record: None,
            revision: 7,
        };
        for (name, body, known, expected) in [
            (
                a,
                body("b.service", &["/bin/a"], ""),
                None,
                "400 name in URL \"a.service\" differs from unit name in request body \"b.service\"",
            ),
            (
                "a",
                body("a", &["/bin/a"], ""),
                None,
                "400 unit name must contain \".\"",
            ),
            (
                a,
                body(a, &[], ""),
                None,
                "409 unit does not exist and options field empty",
            ),
            (
                a,
                body(a, &[], "bogus"),
                None,
                "409 unit does not exist and options field empty",
            ),
            (a, body(a, &["/bin/a"], ""), None, "201 inactive run 0"),
            // fleet's own documentation sends no name.
            (a, body("", &["/bin/a"], ""), None, "201 inactive run 0"),
            (a, body(a, &["/bin/a"], "launched"), None, "201 launched run 0"),
            (a, body(a, &["/bin/a"], "loaded"), Some(&loaded), "204"),
            (
                a,
                body(a, &["/bin/a"], "launched"),
                Some(&loaded),
                "204 launched run 3",
            ),
            (a, body(a, &["/bin/b"], ""), Some(&loaded), "201 inactive run 3"),
            (
                a,
                body(a, &["/bin/a"], ""),
                Some(&loaded),
                "409 must provide DesiredState to update existing unit",
            ),
            (a, body(a, &[], "inactive"), Some(&loaded), "204 inactive run 3"),
            (
                "a@.service",
                body("a@.service", &["/bin/a"], "launched"),
                None,
                "400 cannot activate template \"a@.service\"",
            ),
            (
                a,
                body(a, &[], "launched"),
                Some(&garbled),
                "409 what is stored of a.service cannot be read; destroy it, or submit it with its content",
            ),
            (
                a,
                body(a, &["/bin/a"], "launched"),
                Some(&garbled),
                "201 launched run 0",
            ),
        ] {
            assert_eq!(outcome(name, body, known), expected);
        }
    }

    #[test]
    fn no_invalid_state_or_content_gets_in_by_any_way() {
        let loaded = known("/bin/a", DesiredState::Loaded);
        for known in [None, Some(&loaded)] {
            let bogus = outcome("a.service", body("a.service", &["/bin/a"], "bogus"), known);
            assert!(bogus.starts_with("400 "), "{bogus}");
            let mut bad = body("a.service", &["/bin/b"], "");
            bad.options.push(UnitOption::new("X-Fleet", "Global", "true"));
            bad.options.push(UnitOption::new(
                "X-Fleet",
                "MachineID",
                "0123456789abcdef0123456789abcdef",
            ));
            let bad = outcome("a.service", bad, known);
            assert!(bad.starts_with("400 MachineID cannot be used with"), "{bad}");
        }
    }
}
