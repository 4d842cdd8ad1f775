//! The tables of fleet-reference §1.3, §1.4 and §4, one test each: what is said, and what comes of it. Where a row differs
//! from fleet 1.0 on purpose, `docs/migrating-from-fleet.md` has the difference.

mod changes;
mod flags;
mod invocation;
mod lists;
mod sources;
mod waiting;

use super::fake::{Fleetd, Said};

/// One row: a command line, its exit code, stdout and stderr.
type Row = (&'static str, i32, &'static str, &'static str);

/// Each row against a fake of its own.
fn check(fleet: impl Fn() -> Fleetd, rows: &[Row]) {
    for (line, exit, stdout, stderr) in rows {
        is(&fleet().said(line, &[]), line, *exit, stdout, stderr);
    }
}

fn is(said: &Said, line: &str, exit: i32, stdout: &str, stderr: &str) {
    let expected = (exit, stdout, stderr);
    assert_eq!(
        (said.exit, &*said.stdout, &*said.stderr),
        expected,
        "fleetctl {line}"
    );
}
