//! What a process says of itself in Prometheus' text: etcd, fleetd.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::http;

/// Counters of one or several processes at one time, each a series' name with its labels, and its value.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrape(Vec<(String, f64)>);

impl Scrape {
    /// What the members of etcd say, all together.
    pub(super) fn of_etcd(cluster: &Cluster) -> Result<Self> {
        let texts = cluster.members().map(|number| {
            let address = SocketAddr::new(cluster.machine(number)?.address().into(), 2379);
            http::get(address, "/metrics", Duration::from_secs(5))
        });
        Self::of(texts)
    }

    /// What the fleetds say, all together.
    pub(super) fn of_fleetds(cluster: &Cluster) -> Result<Self> {
        let texts = cluster.machines().iter().map(|machine| {
            let (status, text) = cluster.api(machine.number(), "GET", "/metrics", "")?;
            ensure!(
                status == 200,
                "machine {} answers {status} to /metrics",
                machine.number()
            );
            Ok(text)
        });
        Self::of(texts)
    }

    fn of(texts: impl Iterator<Item = Result<String>>) -> Result<Self> {
        let mut all = Self::default();
        for text in texts {
            all.0.extend(parse(&text?));
        }
        Ok(all)
    }

    /// The sum of a family's series that have all these labels (`name="value"`).
    pub(super) fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let is_of = |series: &str| {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            name == family && labels.iter().all(|label| rest.contains(label))
        };
        let values = self.0.iter().filter(|(series, _)| is_of(series));
        values.map(|(_, value)| value).sum()
    }

    /// How much such a sum has grown since an earlier scrape.
    pub(super) fn since(&self, before: &Self, family: &str, labels: &[&str]) -> f64 {
        self.sum(family, labels) - before.sum(family, labels)
    }
}

fn parse(text: &str) -> Vec<(String, f64)> {
    let line = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_several_processes_are_added_up() {
        let one = "# TYPE calls counter\ncalls{method=\"Range\",code=\"OK\"} 2\ncalls{method=\"Txn\",code=\"OK\"} 1e3\nup 1\n";
        let two = "calls{method=\"Range\",code=\"OK\"} 5\ncalls_total{method=\"Range\"} 100\n";
        let of = |texts: &[&str]| Scrape::of(texts.iter().map(|text| Ok((*text).to_owned()))).unwrap();
        let (before, after) = (of(&[one]), of(&[one, two]));
        assert_eq!(after.sum("calls", &["method=\"Range\""]), 7.0);
        assert_eq!(after.sum("calls", &[]), 1007.0);
        assert_eq!(after.since(&before, "calls", &["code=\"OK\""]), 5.0);
        assert_eq!(after.sum("nothing", &[]), 0.0);
    }
}
