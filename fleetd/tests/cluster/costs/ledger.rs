//! What was asked of etcd and systemd, by whom; and what docs/costs.md says that it may be.

use std::collections::BTreeMap;

use fleetd::init::scripted::Op;

use crate::world::Host;

const STATED: &str = include_str!("../../../../docs/costs.md");

/// The columns of the table, after the change and who it costs.
const COLUMNS: [&str; 10] = [
    "reads",
    "keys read",
    "transactions",
    "keys written",
    "bytes written",
    "watches",
    "leases",
    "told",
    "systemd",
    "reloads",
];
const KEYS_READ: usize = 1;

/// Calls of [`fleetd::init::Init`] that go to systemd.
const CALLS: [Op; 11] = [
    Op::Link,
    Op::Enable,
    Op::Unlink,
    Op::Reload,
    Op::Start,
    Op::Stop,
    Op::Kill,
    Op::ResetFailed,
    Op::Observe,
    Op::Owner,
    Op::OwnJob,
];

/// What one machine has asked for so far, or within a span; by column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost([u64; COLUMNS.len()]);

impl Cost {
    /// Renewals of leases are no part of it: they go by the clock.
    pub(super) fn of(host: &Host) -> Self {
        let asked = host.client.counters();
        let calls = CALLS.iter().map(|op| host.init.count(*op) as u64).sum();
        Self([
            asked.reads,
            asked.keys,
            asked.commits,
            asked.changes,
            asked.bytes,
            asked.watches,
            asked.grants + asked.others,
            asked.told,
            calls,
            host.init.count(Op::Reload) as u64,
        ])
    }

    pub(super) fn since(self, before: Self) -> Self {
        let mut since = self;
        for (now, before) in since.0.iter_mut().zip(before.0) {
            *now -= before;
        }
        since
    }

    /// Of two machines, what either cost at most.
    pub(super) fn at_most(self, other: Self) -> Self {
        let mut most = self;
        for (most, other) in most.0.iter_mut().zip(other.0) {
            *most = (*most).max(other);
        }
        most
    }
}

/// A table of costs: by change, then by who.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<(String, String), Vec<String>>);

impl Ledger {
    /// Enters what `change` cost `who`; `all` is how many keys there were to read. Who costs nothing is not named.
    pub(super) fn enter(&mut self, change: &str, who: &str, cost: Cost, all: u64) {
        if cost != Cost::default() {
            let mut cells: Vec<String> = cost.0.iter().map(cell).collect();
            if cost.0[KEYS_READ] >= all {
                cells[KEYS_READ] = format!("all + {}", cost.0[KEYS_READ] - all);
            }
            self.0.insert((change.to_owned(), who.to_owned()), cells);
        }
    }

    /// The first table of docs/costs.md, without its head.
    fn stated() -> Self {
        let lines = STATED.lines().skip_while(|line| !line.starts_with('|'));
        let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
        let rows = rows.filter_map(|line| {
            let mut cells = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned());
            Some(((cells.next()?, cells.next()?), cells.collect()))
        });
        Self(rows.collect())
    }

    /// Compares with what is stated, to the last key and byte.
    pub(super) fn check(&self, size: &str) {
        let stated = Self::stated();
        let nothing = vec![cell(&0); COLUMNS.len()];
        let mut differences = Vec::new();
        let rows: std::collections::BTreeSet<_> = self.0.keys().chain(stated.0.keys()).collect();
        for row @ (change, who) in rows {
            let [measured, stated] = [self, &stated].map(|l| l.0.get(row).unwrap_or(&nothing));
            assert_eq!(stated.len(), COLUMNS.len(), "docs/costs.md: {change}, {who}");
            for (column, (measured, stated)) in COLUMNS.iter().zip(measured.iter().zip(stated)) {
                if measured != stated {
                    let number = |cell: &str| match cell {
                        "" => 0,
                        cell => cell.parse().unwrap_or(u64::MAX),
                    };
                    let verdict = match number(measured) > number(stated) {
                        true => "more than",
                        false => "no longer the",
                    };
                    differences.push(format!(
                        "{change}, {who}: {column}: `{measured}`, {verdict} `{stated}` that docs/costs.md states"
                    ));
                }
            }
        }
        assert!(
            differences.is_empty(),
            "{size}:\n{}\nmeasured:\n{self}",
            differences.join("\n")
        );
    }
}

/// A table of zeros would hide what is none.
fn cell(count: &u64) -> String {
    match count {
        0 => String::new(),
        count => count.to_string(),
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ((change, who), cells) in &self.0 {
            writeln!(f, "| {change} | {who} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}
