//! Between the store's words and etcd's.

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, ResponseHeader, TxnOp, WatchOptions};

use super::super::{KeyValue, LeaseId, Op, Precondition, Revision, Select, Txn};

/// The lowest key there can be.
pub(super) const FIRST_KEY: &[u8] = b"\0";

pub(super) fn revision(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, ResponseHeader::revision)
}

/// `None` for a key that is not UTF-8: it cannot be one of ours.
pub(super) fn key_value(kv: etcd_client::KeyValue) -> Option<KeyValue> {
    let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
    let lease = (kv.lease() != 0).then_some(LeaseId(kv.lease()));
    let (key, value) = kv.into_key_value();
    Some(KeyValue {
        key: String::from_utf8(key).ok()?,
        value,
        create_revision,
        mod_revision,
        lease,
    })
}

/// The key and the options of a watch.
pub(super) fn watch(what: &Select, from: Revision) -> (&[u8], WatchOptions) {
    let options = WatchOptions::new().with_start_revision(from);
    match what {
        Select::Key(key) => (key.as_bytes(), options),
        Select::Prefix(prefix) => (prefix.as_bytes(), options.with_prefix()),
    }
}

pub(super) fn txn(txn: Txn) -> etcd_client::Txn {
    // Without changes etcd treats it as a read, and as one that need not be up to date unless a read in it says so.
    let ops: Vec<TxnOp> = match txn.ops.is_empty() {
        false => txn.ops.into_iter().map(op).collect(),
        true => {
            let key = txn
                .preconditions
                .first()
                .map_or(FIRST_KEY, |first| first.key().as_bytes());
            vec![TxnOp::get(key, Some(GetOptions::new().with_count_only()))]
        }
    };
    let compares: Vec<Compare> = txn.preconditions.into_iter().map(compare).collect();
    etcd_client::Txn::new().when(compares).and_then(ops)
}

fn compare(precondition: Precondition) -> Compare {
    match precondition {
        Precondition::Unchanged(key, revision) => Compare::mod_revision(key, CompareOp::Equal, revision),
        Precondition::Created(key, revision) => Compare::create_revision(key, CompareOp::Equal, revision),
        Precondition::Absent(key) => Compare::create_revision(key, CompareOp::Equal, 0),
        Precondition::Value(key, value) => Compare::value(key, CompareOp::Equal, value),
    }
}

fn op(op: Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|LeaseId(id)| PutOptions::new().with_lease(id));
            TxnOp::put(key, value, options)
        }
        Op::Delete { key } => TxnOp::delete(key, None),
    }
}
