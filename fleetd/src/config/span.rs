//! Spans of time as Go writes them: `15s`, `1m30s`, `1.5h`, `500ms`.

use std::time::Duration;

/// Units, the longer names first: `ms` is not a number of minutes with an `s` behind.
const UNITS: [(&str, f64); 8] = [
    ("ms", 1e-3),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ns", 1e-9),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];

/// Reads a span; `None` if it is none, negative, or without a unit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (name, factor) = UNITS.iter().find(|(name, _)| rest[end..].starts_with(name))?;
        seconds += number * factor;
        rest = &rest[end + name.len()..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// As [`parse`] reads it.
pub(super) fn show(span: Duration) -> String {
    match span.subsec_nanos() {
        0 => format!("{}s", span.as_secs()),
        _ => format!("{}ns", span.as_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("15s", 15_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("1h2m3s4ms", 3_723_004),
            ("2500µs500us", 3),
            ("3000000ns", 3),
            (".5s", 500),
            ("1.s", 1_000),
            ("0s", 0),
        ] {
            let span = Duration::from_millis(millis);
            assert_eq!(parse(text), Some(span), "{text}");
            assert_eq!(parse(&show(span)), Some(span), "{text}");
        }
        for bad in ["", "15", "s", "-1s", "1x", "1s2", "1..5s", "15 s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
