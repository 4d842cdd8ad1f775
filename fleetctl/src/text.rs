//! How things are written, wherever they are.

use std::fmt::Write as _;

use units::{MachineId, State, UnitName, Verdict};

use crate::api::Addresses;

/// What somebody wrote, in one line.
pub(crate) fn one_line(argument: &str) -> String {
    argument
        .chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_debug().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

/// A machine: the first 8 digits of its id and `...`, or all of it, with its address if it has one.
pub(crate) fn machine(id: &str, address: &str, full: bool) -> String {
    let id = match id.get(..8) {
        Some(short) if !full => format!("{short}..."),
        _ => id.to_owned(),
    };
    match address {
        "" => id,
        _ => format!("{id}/{address}"),
    }
}

/// A machine, shortened, with its address if that is known.
pub(crate) fn known_machine(id: &MachineId, addresses: &Addresses) -> String {
    machine(id.as_str(), addresses.get(id).map_or("", String::as_str), false)
}

/// A hash: its first 7 digits, or all of it.
pub(crate) fn hash(hash: &str, full: bool) -> String {
    match hash.get(..7) {
        Some(short) if !full => short.to_owned(),
        _ => hash.to_owned(),
    }
}

/// What systemd says of a unit, in its own words: `failed (failed), result exit-code`.
pub(crate) fn systemd(state: &State) -> String {
    let mut text = match (state.active.as_str(), state.sub.as_str()) {
        ("", _) => "nothing yet".to_owned(),
        (active, "") => active.to_owned(),
        (active, sub) => format!("{active} ({sub})"),
    };
    if !state.has_succeeded() {
        let _ = write!(text, ", result {}", state.result);
    }
    text
}

/// What is read off systemd's words.
pub(crate) trait Outcome {
    /// `Result` does not speak of a failure.
    fn has_succeeded(&self) -> bool;
}

impl Outcome for State {
    fn has_succeeded(&self) -> bool {
        matches!(self.result.as_str(), "" | "success")
    }
}

/// Why a unit has no place: one line, and one for each machine that was looked at.
pub(crate) fn verdict(unit: &UnitName, verdict: &Verdict) -> String {
    let mut text = format!("Unit {unit} cannot be placed: {}", verdict.summary);
    for refusal in &verdict.machines {
        let machine = machine(refusal.machine.as_str(), &refusal.address, false);
        let _ = write!(text, "\n  {machine}: {}", refusal.reason);
    }
    let all: usize = verdict.counts.values().sum();
    if let more @ 1.. = all.saturating_sub(verdict.machines.len()) {
        let _ = write!(text, "\n  … and {more} more");
    }
    text
}

/// A list as fleet prints it: `[a.service b.service]`.
pub(crate) fn list<'a>(units: impl IntoIterator<Item = &'a UnitName>) -> String {
    let names: Vec<&str> = units.into_iter().map(UnitName::as_str).collect();
    format!("[{}]", names.join(" "))
}

/// A span, in its two largest parts: `3h 20min`.
pub(crate) fn span(seconds: u64) -> String {
    const PARTS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut text: Vec<String> = Vec::new();
    for (length, unit) in PARTS {
        if rest >= length && text.len() < 2 {
            text.push(format!("{}{unit}", rest / length));
            rest %= length;
        } else if !text.is_empty() {
            break;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let table = [
            (0, "0s"),
            (59, "59s"),
            (60, "1min"),
            (61, "1min 1s"),
            (3_600, "1h"),
            (3_661, "1h 1min"),
            (86_400 + 59, "1d"),
            (90_000, "1d 1h"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn machines() {
        let id = "1234abcd00000000000000000000000a";
        let table = [
            (id, "10.0.0.1", false, "1234abcd.../10.0.0.1"),
            (id, "", false, "1234abcd..."),
            (id, "10.0.0.1", true, "1234abcd00000000000000000000000a/10.0.0.1"),
            ("short", "", false, "short"),
        ];
        for (id, address, full, text) in table {
            assert_eq!(machine(id, address, full), text);
        }
    }
}
