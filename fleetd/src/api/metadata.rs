//! Metadata that is laid over a machine's configured one (fleet-reference §5.4): in the machine's record, which its
//! agent carries on, so that it outlives restarts. The engine matches units against the outcome.
//!
//! Unlike in fleet all of a request is done or nothing of it, and an override can be dropped again.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use units::wire::v1::MetadataOp;
use units::{MachineId, MachineRecord, is_metadata_key, is_metadata_value};

use super::error::{ApiError, whole};
use super::v1::TRIES;
use super::{Api, with_revision};
use crate::registry::{Commit, MAX_OPS, Precondition, Revision, Select, Txn, encode};

/// Keys and values of the overrides of one machine, in bytes: everybody who looks at machines reads them along.
const LARGEST: usize = 64 << 10;

/// What becomes of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Edit {
    /// It has this value, whatever the machine's configuration says.
    Set(String),
    /// It is not there, whatever the configuration says: fleet's `remove`.
    Hide,
    /// It is as the configuration says.
    Drop,
}

/// Edits by machine, each in the order of the request.
type Edits = BTreeMap<MachineId, Vec<(String, Edit)>>;

/// Every operation is checked before the first is carried out.
fn parse(ops: Vec<MetadataOp>) -> Result<Edits, ApiError> {
    let bad = |message: &str| ApiError::BadRequest(message.to_owned());
    let mut edits = Edits::new();
    for MetadataOp { op, path, value } in ops {
        if !["add", "remove", "replace"].contains(&op.as_str()) {
            return Err(bad("invalid op: expect add, remove, or replace"));
        }
        let path: Vec<&str> = path.split('/').collect();
        let (machine, key) = match path.as_slice() {
            ["", machine, "metadata", key] if !machine.is_empty() && is_metadata_key(key) => (*machine, *key),
            _ => return Err(bad("machine metadata path invalid")),
        };
        // fleet took any text, and no machine ever saw it.
        let machine = MachineId::parse(machine)
            .map_err(|e| ApiError::BadRequest(format!("machine metadata path invalid: {e}")))?;
        let edit = match op.as_str() {
            "remove" => Edit::Hide,
            _ if value.is_empty() => {
                return Err(bad("invalid value: add and replace require a value"));
            }
            _ if !is_metadata_value(&value) => {
                return Err(bad("invalid value: it has control characters"));
            }
            _ => Edit::Set(value),
        };
        edits.entry(machine).or_default().push((key.to_owned(), edit));
    }
    if edits.len() > MAX_OPS {
        let message = format!(
            "one request changes at most {MAX_OPS} machines, got {}",
            edits.len()
        );
        return Err(ApiError::BadRequest(message));
    }
    Ok(edits)
}

/// The record of a machine that has not been seen yet: nothing runs there, and nothing is expected of it.
fn unseen(id: MachineId) -> MachineRecord {
    MachineRecord {
        id,
        address: String::new(),
        metadata: BTreeMap::new(),
        overrides: BTreeMap::new(),
        capacity: units::Capacity::default(),
        version: String::new(),
        disable_engine: false,
        left: true,
        ttl: 0,
    }
}

fn apply(mut record: MachineRecord, edits: &[(String, Edit)]) -> Result<MachineRecord, ApiError> {
    for (key, edit) in edits {
        match edit {
            Edit::Set(value) => record.overrides.insert(key.clone(), value.clone()),
            Edit::Hide => record.overrides.insert(key.clone(), String::new()),
            Edit::Drop => record.overrides.remove(key),
        };
    }
    let size: usize = record.overrides.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > LARGEST {
        let message = format!(
            "machine {} would have {size} bytes of metadata set through the API; at most {LARGEST} are kept",
            record.id
        );
        return Err(ApiError::BadRequest(message));
    }
    Ok(record)
}

/// Reads the machines, edits their records, and writes those that changed in one transaction. `must_hold` sees the
/// records as they were found. Answers with the revision that holds the outcome.
async fn edit(
    api: &Api,
    edits: &Edits,
    must_hold: impl Fn(&BTreeMap<MachineId, MachineRecord>) -> Result<(), ApiError>,
) -> Result<Revision, ApiError> {
    api.believe()?;
    let what: Vec<Select> = edits.keys().map(|id| Select::Key(api.keys.machine(id))).collect();
    if what.is_empty() {
        return Ok(api
            .registry
            .read(&[Select::Key(api.keys.cluster())])
            .await?
            .revision);
    }
    for _ in 0..TRIES {
        let found = api.registry.read(&what).await?;
        let mut txn = Txn::new();
        let mut known = BTreeMap::new();
        for id in edits.keys() {
            if let Some(kv) = found.get(&api.keys.machine(id)) {
                let record: MachineRecord = serde_json::from_slice(&kv.value).map_err(|_| {
                    ApiError::Conflict(format!(
                        "what is stored of machine {id} cannot be read; its fleetd writes it anew when it is restarted"
                    ))
                })?;
                known.insert(*id, record);
            }
        }
        must_hold(&known)?;
        for (id, edits) in edits {
            let key = api.keys.machine(id);
            let before = known.remove(id).unwrap_or_else(|| unseen(*id));
            let after = apply(before.clone(), edits)?;
            if after == before {
                continue;
            }
            txn = txn.when(match found.get(&key) {
                Some(kv) => Precondition::Unchanged(key.clone(), kv.mod_revision),
                None => Precondition::Absent(key.clone()),
            });
            txn = match after == unseen(*id) {
                true => txn.delete(key),
                false => txn.put(key, encode(&after)),
            };
        }
        if txn.ops.is_empty() {
            return Ok(found.revision);
        }
        if let Commit::Applied(revision) = api.registry.commit(txn).await? {
            for (machine, edits) in edits {
                let keys: Vec<&str> = edits.iter().map(|(key, _)| key.as_str()).collect();
                tracing::info!(%machine, revision, keys = keys.join(","), "changed metadata as asked");
            }
            return Ok(revision);
        }
    }
    Err(ApiError::Conflict(
        "the machine is being changed by others all the time; try again".to_owned(),
    ))
}

/// `PATCH /machines`. As in fleet the Content-Type is not looked at.
pub(super) async fn patch(
    State(api): State<Api>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let ops: Vec<MetadataOp> = serde_json::from_slice(&whole(body)?)
        .map_err(|e| ApiError::BadRequest(format!("unable to decode body: {e}")))?;
    let revision = edit(&api, &parse(ops)?, |_| Ok(())).await?;
    Ok(with_revision(revision, StatusCode::NO_CONTENT))
}

/// What is laid over the configuration of a machine.
pub(super) async fn overrides(
    State(api): State<Api>,
    Path(machine): Path<String>,
) -> Result<Response, ApiError> {
    let id = known(&machine)?;
    let key = api.keys.machine(&id);
    let found = api.registry.read(&[Select::Key(key.clone())]).await?;
    let kv = found
        .get(&key)
        .ok_or(ApiError::NotFound("machine does not exist"))?;
    let record: MachineRecord = serde_json::from_slice(&kv.value)
        .map_err(|e| ApiError::Conflict(format!("what is stored of machine {id} cannot be read: {e}")))?;
    let body = serde_json::json!({
        "configured": record.metadata, "overrides": record.overrides, "effective": record.effective_metadata(),
    });
    Ok(with_revision(found.revision, Json(body)))
}

/// The configured value, or its absence, holds again. fleet had no way to say that.
pub(super) async fn drop_override(
    State(api): State<Api>,
    Path((machine, key)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let id = known(&machine)?;
    let is_there = |records: &BTreeMap<MachineId, MachineRecord>| {
        let record = records
            .get(&id)
            .ok_or(ApiError::NotFound("machine does not exist"))?;
        match record.overrides.contains_key(&key) {
            true => Ok(()),
            false => Err(ApiError::NotFound("metadata key is not overridden")),
        }
    };
    let edits = Edits::from([(id, vec![(key.clone(), Edit::Drop)])]);
    let revision = edit(&api, &edits, is_there).await?;
    Ok(with_revision(revision, StatusCode::NO_CONTENT))
}

/// A machine id that cannot be one belongs to no machine.
fn known(machine: &str) -> Result<MachineId, ApiError> {
    MachineId::parse(machine).map_err(|_| ApiError::NotFound("machine does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn op(op: &str, path: &str, value: &str) -> MetadataOp {
        MetadataOp {
            op: op.to_owned(),
            path: path.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn fleets_words_for_what_is_wrong() {
        let path = format!("/{ID}/metadata/zone");
        let op_wrong = "invalid op: expect add, remove, or replace";
        let path_wrong = "machine metadata path invalid";
        let value_wrong = "invalid value: add and replace require a value";
        for (wrong, expected) in [
            (op("move", &path, "x"), op_wrong),
            (op("", &path, "x"), op_wrong),
            (op("Add", &path, "x"), op_wrong),
            (op("move", "", ""), op_wrong),
            (op("add", "", "x"), path_wrong),
            (op("add", "//metadata/zone", "x"), path_wrong),
            (op("add", &path[1..], "x"), path_wrong),
            (op("add", &format!("/{ID}/metadata/"), "x"), path_wrong),
            (op("add", &format!("/{ID}/metadata/a b"), "x"), path_wrong),
            (op("add", &format!("/{ID}/metadata/a/b"), "x"), path_wrong),
            (op("add", &format!("/{ID}/metadata/a\n"), "x"), path_wrong),
            (op("remove", &format!("/{ID}/zone"), ""), path_wrong),
            (op("add", &path, ""), value_wrong),
            (op("replace", &path, ""), value_wrong),
        ] {
            // One wrong operation among good ones is enough.
            let ops = vec![op("add", &path, "x"), wrong.clone()];
            let message = ApiError::BadRequest(expected.to_owned());
            assert_eq!(parse(ops), Err(message), "{wrong:?}");
        }
        let short = parse(vec![op("add", "/01234567/metadata/zone", "x")]);
        assert!(
            matches!(&short, Err(ApiError::BadRequest(m)) if m.starts_with("machine metadata path invalid: ")),
            "{short:?}"
        );
    }

    /// They went to every terminal that `list-machines` was called on.
    #[test]
    fn line_feeds_and_escape_sequences_in_a_value_are_refused() {
        for value in ["a\nb", "a\tb", "\u{1b}[31mred", "a\0", "\u{9b}31m", "\u{7f}"] {
            for kind in ["add", "replace"] {
                let message = "invalid value: it has control characters".to_owned();
                let ops = vec![op(kind, &format!("/{ID}/metadata/zone"), value)];
                assert_eq!(parse(ops), Err(ApiError::BadRequest(message)), "{value:?}");
            }
        }
        assert!(parse(vec![op("add", &format!("/{ID}/metadata/zone"), "Zürich 1")]).is_ok());
    }

    #[test]
    fn later_operations_win_and_remove_hides() {
        let path = |key: &str| format!("/{ID}/metadata/{key}");
        let ops = vec![
            op("add", &path("a"), "1"),
            op("replace", &path("a"), "2"),
            op("remove", &path("b"), ""),
            op("add", &path("A.b_C-9"), "3"),
            op("remove", &path("c"), "ignored"),
        ];
        let id = MachineId::parse(ID).unwrap();
        let mut record = unseen(id);
        record.metadata = [("b", "x"), ("d", "y")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let record = apply(record, &parse(ops).unwrap()[&id]).unwrap();
        let effective: Vec<_> = record.effective_metadata().into_iter().collect();
        let expected = [("A.b_C-9", "3"), ("a", "2"), ("d", "y")];
        assert_eq!(effective, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let edits: Vec<_> = record.overrides.keys().map(|k| (k.clone(), Edit::Drop)).collect();
        let dropped = apply(record, &edits).unwrap();
        assert_eq!(dropped.effective_metadata(), dropped.metadata);
    }

    #[test]
    fn what_one_machine_keeps_is_bounded() {
        let id = MachineId::parse(ID).unwrap();
        let set = |size: usize| apply(unseen(id), &[("k".to_owned(), Edit::Set("x".repeat(size)))]);
        assert!(set(LARGEST - 1).is_ok());
        assert!(matches!(set(LARGEST), Err(ApiError::BadRequest(_))));
        let many = (0..=MAX_OPS).map(|n| op("add", &format!("/{n:032x}/metadata/k"), "v"));
        assert!(matches!(parse(many.collect()), Err(ApiError::BadRequest(_))));
    }
}
