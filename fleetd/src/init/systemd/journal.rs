//! What PID 1 has forgotten and its journal has not.
//!
//! A oneshot that has ended and that nothing refers to is unloaded: from then on systemd does not know that it ever ran.
//! By `journalctl` rather than a reader of our own: it is asked only after a crash in the middle of a start.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use units::UnitName;

use crate::init::InitError;

const PATIENCE: Duration = Duration::from_secs(10);

/// The fields of systemd.journal-fields(7) with which PID 1 tells of a job.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "UNIT")]
    unit: String,
    /// Microseconds since the epoch.
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
}

/// When a start job was last spoken of for each of `names`, if it was since then and in this boot.
pub(super) async fn started_since(
    names: &[UnitName],
    since_us: u64,
) -> Result<BTreeMap<UnitName, u64>, InitError> {
    let unreadable = |why: String| InitError::Unreachable(format!("the journal cannot be asked: {why}"));
    // What PID 1 has told the journal may not have been written down yet. Failing that, the answer is what there is.
    let _ = said(Command::new("journalctl").arg("--sync")).await;
    let mut command = Command::new("journalctl");
    command
        .args([
            "--boot",
            "--quiet",
            "--no-pager",
            "--output=json",
            "--output-fields=UNIT",
        ])
        .arg(format!(
            "--since=@{}.{:06}",
            since_us / 1_000_000,
            since_us % 1_000_000
        ))
        .args(["_PID=1", "JOB_TYPE=start"])
        .args(names.iter().map(|name| format!("UNIT={name}")));
    said(&mut command)
        .await
        .map(|lines| read(&lines))
        .map_err(unreadable)
}

async fn said(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(|e| format!("journalctl: {e}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(words.lines().next().unwrap_or("journalctl failed").to_owned());
    }
    Ok(output.stdout)
}

fn read(lines: &[u8]) -> BTreeMap<UnitName, u64> {
    let entry = |line: &[u8]| {
        let entry: Entry = serde_json::from_slice(line).ok()?;
        Some((UnitName::parse(&entry.unit).ok()?, entry.at.parse().ok()?))
    };
    // Oldest first: the last one stays.
    lines.split(|b| *b == b'\n').filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_off_the_entries() {
        let lines = br#"{"UNIT":"a.service","__REALTIME_TIMESTAMP":"17","_PID":"1"}
{"UNIT":"a.service","__REALTIME_TIMESTAMP":"19"}
{}
nonsense
{"UNIT":"b.timer","__REALTIME_TIMESTAMP":"18"}
"#;
        let name = |n| UnitName::parse(n).unwrap();
        assert_eq!(
            read(lines),
            [(name("a.service"), 19), (name("b.timer"), 18)].into()
        );
    }
}
