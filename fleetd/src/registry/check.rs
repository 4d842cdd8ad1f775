//! What every store refuses before it does anything, so that all of them refuse the same.
//!
//! etcd itself lets two deletes of one key pass and takes an empty key in a watch for the first key there is; leaving
//! that to each store would make the twin and etcd differ.

use std::collections::HashSet;

use super::{MAX_OPS, Op, Precondition, RegistryError, Select, Txn};

/// What etcd takes in one request by default (`--max-request-bytes`), in bytes.
pub(super) const MAX_REQUEST_BYTES: usize = 1_572_864;

/// Refuses a transaction that is too long, changes a key twice, or names an empty key.
pub(super) fn txn(txn: &Txn) -> Result<(), RegistryError> {
    for (count, what) in [
        (txn.preconditions.len(), "preconditions"),
        (txn.ops.len(), "changes"),
    ] {
        if count > MAX_OPS {
            return Err(RegistryError::Refused(format!(
                "{count} {what} in one transaction, {MAX_OPS} are allowed"
            )));
        }
    }
    let keys = txn.preconditions.iter().map(Precondition::key);
    if keys.chain(txn.ops.iter().map(Op::key)).any(str::is_empty) {
        return Err(empty_key());
    }
    // For etcd a key that is not there was last changed at revision 0.
    for precondition in &txn.preconditions {
        if let Precondition::Unchanged(key, ..=0) | Precondition::Created(key, ..=0) = precondition {
            return Err(RegistryError::Refused(format!(
                "there is no revision 0 to find {key} at"
            )));
        }
    }
    let mut changed = HashSet::with_capacity(txn.ops.len());
    match txn.ops.iter().find(|op| !changed.insert(op.key())) {
        Some(op) => Err(RegistryError::Refused(format!(
            "the key {} is changed twice in one transaction",
            op.key()
        ))),
        None => Ok(()),
    }
}

/// Refuses the selection of an empty key; an empty prefix is every key.
pub(super) fn select<'a>(what: impl IntoIterator<Item = &'a Select>) -> Result<(), RegistryError> {
    match what
        .into_iter()
        .any(|s| matches!(s, Select::Key(key) if key.is_empty()))
    {
        true => Err(empty_key()),
        false => Ok(()),
    }
}

fn empty_key() -> RegistryError {
    RegistryError::Refused("the key is empty".to_owned())
}
