//! What proofs found, for people.

use std::fs;
use std::path::PathBuf;

use super::Outcome;
use super::report::Line;
use crate::cluster::Cluster;
use crate::printer::Printer;

/// All lines of one proof.
pub(super) fn outcome(outcome: &Outcome) -> String {
    let mut text = format!(
        "{}: {} (etcd {}, {}; {:.0} s)",
        outcome.name,
        outcome.about,
        outcome.etcd,
        match outcome.members {
            1 => "1 member".to_owned(),
            many => format!("{many} members"),
        },
        outcome.seconds
    );
    if let Some(error) = &outcome.error {
        text += &format!("\n  ✗ it did not come to an end: {error}");
    }
    text + "\n" + &lines(&outcome.lines)
}

/// A row for each line.
pub(super) fn lines(lines: &[Line]) -> String {
    let rows = lines.iter().map(|line| format!("  {}", row(line)));
    rows.collect::<Vec<_>>().join("\n")
}

fn row(line: &Line) -> String {
    let mark = match (&line.allowed, line.kept) {
        (None, _) => ' ',
        (_, true) => '✓',
        (_, false) => '✗',
    };
    let allowed = line
        .allowed
        .as_ref()
        .map(|allowed| format!("   allowed: {allowed}"))
        .unwrap_or_default();
    format!("{mark} {:58} {}{allowed}", line.what, line.measured)
}

/// A row for each proof.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\nPROOF           ETCD   MEMBERS  SECONDS  PROMISES  RESULT");
    for outcome in outcomes {
        let promises = outcome.lines.iter().filter(|line| line.allowed.is_some());
        let (kept, all) = promises.fold((0, 0), |(kept, all), line| {
            (kept + usize::from(line.kept), all + 1)
        });
        text += &format!(
            "\n{:15} {:6} {:7} {:8.0}  {:8}  {}",
            outcome.name,
            outcome.etcd,
            outcome.members,
            outcome.seconds,
            format!("{kept}/{all}"),
            if outcome.kept { "kept" } else { "BROKEN" }
        );
    }
    text
}

/// Writes the journals of a cluster that is about to go where they can be read.
pub(super) fn keep_journals(cluster: &Cluster, name: &str, printer: &Printer) {
    for machine in cluster.machines() {
        let path: PathBuf = std::env::temp_dir().join(format!("fleetlab-{name}-m{}.log", machine.number()));
        let journal = machine.journal(&["fleet.service", "etcd.service", "init.scope"], 20_000);
        match journal.map(|journal| fs::write(&path, journal)) {
            Ok(Ok(())) => printer.note(&format!("  journal kept: {}", path.display())),
            _ => printer.note(&format!("  no journal of machine {}", machine.number())),
        }
    }
}
