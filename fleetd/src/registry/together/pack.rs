//! Which transactions are the same in one as one after the other.

use super::super::{MAX_OPS, Op, Precondition, Txn};

/// Keys and values of a transaction made of several, in bytes: far from what etcd takes in one request.
const LARGEST: usize = 256 << 10;

/// How many, from the first on, can be one transaction: together they do what they would do in this order.
pub(super) fn fitting<'t>(txns: impl Iterator<Item = &'t Txn>) -> usize {
    let mut pack = Pack::default();
    txns.take_while(|txn| pack.add(txn)).count()
}

/// The transaction made of those.
pub(super) fn whole(txns: &[Txn]) -> Txn {
    let mut pack = Pack::default();
    for txn in txns {
        pack.add(txn);
    }
    pack.txn
}

#[derive(Default)]
struct Pack {
    txn: Txn,
    bytes: usize,
}

impl Pack {
    /// Adds one; `false`, and nothing is added, if it does not fit.
    fn add(&mut self, txn: &Txn) -> bool {
        let is_written = |key: &str| self.txn.ops.iter().any(|op| op.key() == key);
        // It would have to be compared after what another one writes.
        if txn.preconditions.iter().any(|p| is_written(p.key())) {
            return false;
        }
        // The same content is put with every unit that has it.
        let new_ops: Vec<&Op> = txn.ops.iter().filter(|op| !self.txn.ops.contains(op)).collect();
        if new_ops.iter().any(|op| is_written(op.key())) {
            return false;
        }
        let is_new = |p: &&Precondition| !self.txn.preconditions.contains(p);
        let new_preconditions: Vec<&Precondition> = txn.preconditions.iter().filter(is_new).collect();
        let bytes = self.bytes
            + new_ops.iter().map(|op| size(op)).sum::<usize>()
            + new_preconditions.iter().map(|p| p.key().len()).sum::<usize>();
        if self.txn.preconditions.len() + new_preconditions.len() > MAX_OPS
            || self.txn.ops.len() + new_ops.len() > MAX_OPS
            || bytes > LARGEST
        {
            return false;
        }
        self.bytes = bytes;
        self.txn
            .preconditions
            .extend(new_preconditions.into_iter().cloned());
        self.txn.ops.extend(new_ops.into_iter().cloned());
        true
    }
}

fn size(op: &Op) -> usize {
    let value = match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } => 0,
    };
    op.key().len() + value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(unit: &str, content: &str) -> Txn {
        Txn::new()
            .when(Precondition::Absent(unit.into()))
            .put(format!("content/{content}"), content)
            .put(unit, content)
    }

    fn count(txns: &[Txn]) -> usize {
        fitting(txns.iter())
    }

    #[test]
    fn units_of_one_content_are_one_transaction() {
        let txns: Vec<Txn> = (0..100).map(|n| create(&format!("u{n}"), "same")).collect();
        assert_eq!(count(&txns), 100);
        let whole = whole(&txns);
        assert_eq!((whole.preconditions.len(), whole.ops.len()), (100, 101));
        assert_eq!(count(&[]), 0);
    }

    #[test]
    fn etcds_limits_hold() {
        let txns: Vec<Txn> = (0..100)
            .map(|n| create(&format!("u{n}"), &format!("c{n}")))
            .collect();
        assert_eq!(count(&txns), MAX_OPS / 2);
        let large = "x".repeat(100 << 10);
        let txns: Vec<Txn> = (0..4)
            .map(|n| Txn::new().put(format!("u{n}"), large.as_str()))
            .collect();
        assert_eq!(count(&txns), 2);
    }

    #[test]
    fn what_depends_on_another_waits_for_it() {
        let create = create("u", "c");
        let delete = Txn::new()
            .when(Precondition::Unchanged("u".into(), 7))
            .delete("u");
        for (txns, expected) in [
            ([create.clone(), create.clone()], 1),
            ([create, delete.clone()], 1),
            ([delete.clone(), delete], 1),
            ([Txn::new().put("a", "1"), Txn::new().put("a", "2")], 1),
            ([Txn::new().put("a", "1"), Txn::new().delete("a")], 1),
            ([Txn::new().put("a", "1"), Txn::new().put("a", "1")], 2),
            // Compared before the other writes, as it would be.
            (
                [
                    Txn::new().when(Precondition::Absent("a".into())).put("b", "1"),
                    Txn::new().put("a", "1"),
                ],
                2,
            ),
        ] {
            assert_eq!(count(&txns), expected, "{txns:?}");
        }
    }
}
