//! What came out: figures, and what each phase took of the host.

use std::fmt::{self, Write as _};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use crate::store::{Look, Store};
use crate::usage::Usage;

/// One figure.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Figure {
    /// So many.
    Count(f64),
    /// So many in a second.
    Rate(f64),
    /// A time, in seconds.
    Seconds(f64),
    /// A size.
    Bytes(f64),
    /// Many times, in seconds.
    Spread {
        /// How many.
        n: usize,
        /// The shortest.
        min: f64,
        /// The middle one.
        median: f64,
        /// 99 of 100 are no longer.
        p99: f64,
        /// The longest.
        max: f64,
    },
}

/// A line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    phase: &'static str,
    measure: String,
    figure: Figure,
    #[serde(skip_serializing_if = "str::is_empty")]
    allowed: &'static str,
}

/// What one phase took of the host.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    phase: &'static str,
    seconds: f64,
    cpu: f64,
    resident: u64,
    store_cpu: f64,
    store_resident: u64,
    transactions: f64,
    changes: f64,
    ranges: f64,
    renewals: f64,
    events: f64,
    sync: f64,
    keys: f64,
    size: f64,
}

/// All of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    title: String,
    figures: Vec<Row>,
    costs: Vec<Cost>,
}

/// How things stood when a phase began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    at: Instant,
    own: Usage,
    store: Look,
}

impl Mark {
    /// A phase begins.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn now(store: &Store) -> Result<Self> {
        let (own, store) = (Usage::own()?, store.look().await?);
        Ok(Self {
            at: Instant::now(),
            own,
            store,
        })
    }
}

impl Figure {
    /// Of these times; of none at all, nothing but zeros.
    pub(crate) fn spread(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<f64> = times.into_iter().map(|t| t.as_secs_f64()).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        // The smallest of which so many hundredths are no greater.
        let at = |hundredths: usize| {
            let rank = (n * hundredths).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self::Spread {
            n,
            min: at(0),
            median: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count:.0}"),
            Self::Rate(rate) => write!(f, "{rate:.0}/s"),
            Self::Seconds(seconds) => write!(f, "{seconds:.2} s"),
            Self::Bytes(bytes) => write!(f, "{:.1} MB", bytes / 1e6),
            Self::Spread {
                n,
                min,
                median,
                p99,
                max,
            } => {
                let ms = [min, median, p99, max].map(|s| format!("{:.1}", s * 1000.0));
                write!(f, "{} ms ({n})", ms.join(" / "))
            }
        }
    }
}

impl Report {
    /// Of a run that has this name, without a figure yet.
    pub(crate) fn new(title: String) -> Self {
        Self {
            title,
            ..Self::default()
        }
    }

    /// Adds a figure, with what it may be at most (or least) if somebody said so.
    pub(crate) fn add(
        &mut self,
        phase: &'static str,
        measure: impl Into<String>,
        figure: Figure,
        allowed: &'static str,
    ) {
        self.figures.push(Row {
            phase,
            measure: measure.into(),
            figure,
            allowed,
        });
    }

    /// A phase that began at `mark` is over.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn over(&mut self, phase: &'static str, mark: Mark, store: &Store) -> Result<()> {
        let Mark {
            at,
            own,
            store: before,
        } = Mark::now(store).await?;
        let (counts, earlier) = (before.counts, mark.store.counts);
        self.costs.push(Cost {
            phase,
            seconds: (at - mark.at).as_secs_f64(),
            cpu: own.cpu - mark.own.cpu,
            resident: own.resident,
            store_cpu: before.usage.cpu - mark.store.usage.cpu,
            store_resident: before.usage.resident,
            transactions: counts.transactions - earlier.transactions,
            changes: counts.changes - earlier.changes,
            ranges: counts.ranges - earlier.ranges,
            renewals: counts.renewals - earlier.renewals,
            events: counts.events - earlier.events,
            sync: mean(counts.syncing - earlier.syncing, counts.syncs - earlier.syncs),
            keys: counts.keys,
            size: counts.size,
        });
        Ok(())
    }

    /// As two tables in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "{}\n\nTimes of many: min / median / p99 / max (how many).\n\n",
            self.title
        );
        text.push_str("| phase | measure | figure | allowed |\n|---|---|---|---|\n");
        // Writing to a String cannot fail.
        for Row {
            phase,
            measure,
            figure,
            allowed,
        } in &self.figures
        {
            let _ = writeln!(text, "| {phase} | {measure} | {figure} | {allowed} |");
        }
        text.push_str(
            "\n| phase | time | CPU here | memory here | CPU of etcd | memory of etcd | transactions | changes | ranges \
             | renewals | events | mean fsync | keys | database |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let mb = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
        #[expect(clippy::cast_precision_loss, reason = "memory of this host")]
        for c in &self.costs {
            let _ = writeln!(
                text,
                "| {} | {:.1} s | {:.1} s | {} | {:.1} s | {} | {} | {} | {} | {} | {} | {:.2} ms | {} | {} |",
                c.phase,
                c.seconds,
                c.cpu,
                mb(c.resident as f64),
                c.store_cpu,
                mb(c.store_resident as f64),
                c.transactions,
                c.changes,
                c.ranges,
                c.renewals,
                c.events,
                c.sync * 1000.0,
                c.keys,
                mb(c.size),
            );
        }
        text
    }
}

fn mean(sum: f64, count: f64) -> f64 {
    if count > 0.0 { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_right_ones() {
        let figure = Figure::spread((1..=200).rev().map(Duration::from_millis));
        assert_eq!(figure.to_string(), "1.0 / 100.0 / 198.0 / 200.0 ms (200)");
        assert_eq!(
            Figure::spread([Duration::from_secs(2)]).to_string(),
            "2000.0 / 2000.0 / 2000.0 / 2000.0 ms (1)"
        );
        assert_eq!(Figure::spread([]).to_string(), "0.0 / 0.0 / 0.0 / 0.0 ms (0)");
    }
}
