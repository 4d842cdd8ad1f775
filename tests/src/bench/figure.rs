//! Figures: how measured values are spread, what is allowed, and one table of all.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::printer::Printer;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    Seconds,
    /// To the floor of the same run.
    Times,
    /// Of one core.
    Percent,
    /// 10^6 bytes.
    Megabytes,
    Count,
}

/// A value of a unit, as people read it.
struct Shown(Unit, f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.1;
        match self.0 {
            Unit::Seconds if value < 1.0 => write!(f, "{:.1} ms", value * 1e3),
            Unit::Seconds => write!(f, "{value:.2} s"),
            Unit::Times => write!(f, "{value:.2} x"),
            Unit::Percent => write!(f, "{value:.3} %"),
            Unit::Megabytes => write!(f, "{value:.1} MB"),
            Unit::Count => write!(f, "{}", (value * 10.0).round() / 10.0),
        }
    }
}

/// Which of many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Of {
    Median,
    Max,
}

/// The most that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Limit {
    of: Of,
    most: f64,
}

/// A limit of the median.
pub(super) fn median(most: f64) -> Limit {
    Limit { of: Of::Median, most }
}

/// A limit of the greatest.
pub(super) fn max(most: f64) -> Limit {
    Limit { of: Of::Max, most }
}

/// How values are spread. With fewer than 100 of them the greatest is the 99th percentile, too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    n: usize,
    min: f64,
    median: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len();
        // The nearest rank.
        let rank = |percent: usize| sorted.get((n * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self {
            n,
            min: rank(0)?,
            median: rank(50)?,
            p99: rank(99)?,
            max: rank(100)?,
        })
    }
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    what: String,
    unit: Unit,
    #[serde(flatten)]
    spread: Spread,
    /// Nothing where it is a floor, or mere knowledge.
    allowed: Vec<Limit>,
    kept: bool,
}

impl Row {
    fn exceeds(&self, limit: &Limit) -> bool {
        let value = match limit.of {
            Of::Median => self.spread.median,
            Of::Max => self.spread.max,
        };
        value > limit.most
    }

    fn allowed(&self) -> String {
        let limit = |limit: &Limit| {
            let most = Shown(self.unit, limit.most);
            match limit.of {
                Of::Median => format!("median {most}"),
                Of::Max => format!("max {most}"),
            }
        };
        let limits: Vec<String> = self.allowed.iter().map(limit).collect();
        match (limits.is_empty(), self.kept) {
            (true, _) => "-".to_owned(),
            (_, true) => limits.join(", "),
            (_, false) => format!("**missed**: {}", limits.join(", ")),
        }
    }

    fn cells(&self) -> [String; 7] {
        let Spread {
            n,
            min,
            median,
            p99,
            max,
        } = self.spread;
        let shown = |value| Shown(self.unit, value).to_string();
        let [min, median, p99, max] = match n {
            // One value is no spread.
            1 => [String::new(), shown(median), String::new(), String::new()],
            _ => [min, median, p99, max].map(shown),
        };
        [
            self.what.clone(),
            n.to_string(),
            min,
            median,
            p99,
            max,
            self.allowed(),
        ]
    }
}

/// All figures of a run, each told when it is there.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    printer: Printer,
}

impl Table {
    pub(super) fn new(printer: Printer) -> Self {
        Self {
            rows: Vec::new(),
            printer,
        }
    }

    /// Notes a figure with what is allowed.
    ///
    /// # Errors
    /// If nothing was measured.
    pub(super) fn note(
        &mut self,
        what: impl Into<String>,
        unit: Unit,
        values: &[f64],
        allowed: &[Limit],
    ) -> Result<()> {
        let what = what.into();
        let spread = Spread::of(values).with_context(|| format!("nothing was measured: {what}"))?;
        let mut row = Row {
            what,
            unit,
            spread,
            allowed: allowed.to_vec(),
            kept: true,
        };
        row.kept = !allowed.iter().any(|limit| row.exceeds(limit));
        self.printer.note(&format!("  {}", line(&row.cells())));
        self.rows.push(row);
        Ok(())
    }

    /// Notes times with what is allowed of them, in seconds.
    ///
    /// # Errors
    /// If nothing was measured.
    pub(super) fn times(
        &mut self,
        what: impl Into<String>,
        times: &[Duration],
        allowed: &[Limit],
    ) -> Result<()> {
        let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        self.note(what, Unit::Seconds, &seconds, allowed)
    }

    /// Whether every figure is within what is allowed.
    pub(super) fn is_kept(&self) -> bool {
        self.rows.iter().all(|row| row.kept)
    }

    /// For a page.
    pub(super) fn markdown(&self) -> String {
        let header = ["measure", "n", "min", "median", "p99", "max", "allowed"].map(str::to_owned);
        let rule = ["---", "--:", "--:", "--:", "--:", "--:", "---"].map(str::to_owned);
        let rows = self.rows.iter().map(Row::cells);
        let lines = [header, rule].into_iter().chain(rows);
        lines.map(|cells| line(&cells)).collect::<Vec<_>>().join("\n")
    }

    /// For a program: values in seconds, times, percent, megabytes.
    ///
    /// # Errors
    /// If a value is no number that JSON knows.
    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.rows)?)
    }
}

fn line(cells: &[String; 7]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(n: u32) -> Spread {
        let values: Vec<f64> = (1..=n).rev().map(f64::from).collect();
        Spread::of(&values).unwrap()
    }

    #[test]
    fn values_are_spread_by_the_nearest_rank() {
        let of = |n| {
            let s = spread(n);
            [s.min, s.median, s.p99, s.max]
        };
        assert_eq!(of(200), [1.0, 100.0, 198.0, 200.0]);
        assert_eq!(of(100), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(of(5), [1.0, 3.0, 5.0, 5.0]);
        assert_eq!(of(1), [1.0; 4]);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_figure_that_is_missed_says_so() {
        let mut table = Table::new(Printer::silent());
        let of =
            |millis: &[u64]| -> Vec<Duration> { millis.iter().map(|&m| Duration::from_millis(m)).collect() };
        table.times("floor", &of(&[20, 30]), &[]).unwrap();
        table
            .times("start", &of(&[90, 100, 250]), &[median(0.1), max(0.25)])
            .unwrap();
        assert!(table.is_kept());
        table
            .times("start", &of(&[90, 100, 251]), &[median(0.1), max(0.25)])
            .unwrap();
        assert!(!table.is_kept());
        table
            .note("ratio", Unit::Times, &[1.2, 1.51], &[median(1.5)])
            .unwrap();
        assert!(table.times("nothing", &[], &[]).is_err());
        assert_eq!(
            table.markdown(),
            "| measure | n | min | median | p99 | max | allowed |\n\
             | --- | --: | --: | --: | --: | --: | --- |\n\
             | floor | 2 | 20.0 ms | 20.0 ms | 30.0 ms | 30.0 ms | - |\n\
             | start | 3 | 90.0 ms | 100.0 ms | 250.0 ms | 250.0 ms | median 100.0 ms, max 250.0 ms |\n\
             | start | 3 | 90.0 ms | 100.0 ms | 251.0 ms | 251.0 ms | **missed**: median 100.0 ms, max 250.0 ms |\n\
             | ratio | 2 | 1.20 x | 1.20 x | 1.51 x | 1.51 x | median 1.50 x |"
        );
    }
}
