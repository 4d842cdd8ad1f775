//! When what was written to the cluster's store, as a watch on one machine sees it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::wait::{seen, wait_until};

/// A key that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// When the host saw it: about a millisecond after it was committed.
    pub seen: Instant,
    /// The same by the clock of the machines.
    pub at: SystemTime,
    /// The whole key.
    pub key: String,
    /// The first line of the value.
    pub value: String,
}

/// A key below the prefix that is written until the watch shows it: etcdctl does not say when it has begun. For fleet it
/// is no name of anything.
const PROBE: &str = "lab-watch";

/// How long that may take.
const BEGINS: Duration = Duration::from_secs(10);

/// A watch of a prefix.
#[derive(Debug)]
pub struct Watch {
    machine: usize,
    reader: JoinHandle<Vec<Put>>,
    child: Child,
}

impl Watch {
    /// Watches a prefix, which ends with a slash, on a machine from now on; at most for five minutes.
    ///
    /// # Errors
    /// If etcdctl cannot be run there, or shows nothing.
    pub fn begin(cluster: &Cluster, machine: usize, prefix: &str) -> Result<Self> {
        let mut child = cluster
            .machine(machine)?
            .command(&["timeout", "300", "etcdctl", "watch", "--prefix", prefix])?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run etcdctl")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let has_begun = Arc::new(AtomicBool::new(false));
        let (probe, begun) = (format!("{prefix}{PROBE}"), has_begun.clone());
        let watch = {
            let (prefix, probe) = (prefix.to_owned(), probe.clone());
            Self {
                machine,
                reader: std::thread::spawn(move || read(BufReader::new(stdout), &prefix, &probe, &begun)),
                child,
            }
        };
        wait_until("the watch to begin", BEGINS, || {
            cluster.etcdctl(machine, &["put", &probe, ""])?.ok()?;
            seen(has_begun.load(Ordering::Acquire), || "nothing".to_owned())
        })?;
        cluster.etcdctl(machine, &["del", &probe])?.ok()?;
        Ok(watch)
    }

    /// Ends it; all that was put since it began, in order.
    ///
    /// # Errors
    /// If etcdctl does not end.
    pub fn end(mut self, cluster: &Cluster) -> Result<Vec<Put>> {
        cluster.run(self.machine, &["pkill", "--exact", "etcdctl"])?;
        wait_until("the watch to end", Duration::from_secs(10), || {
            let ended = self.child.try_wait().context("etcdctl is not ours")?;
            seen(ended.is_some(), || "it runs".to_owned())
        })?;
        self.reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader of a watch panicked"))
    }
}

/// Reads lines: the kind of change, the key, the value; a value may have several.
fn read(lines: impl BufRead, prefix: &str, probe: &str, has_begun: &AtomicBool) -> Vec<Put> {
    let mut puts: Vec<Put> = Vec::new();
    let mut before = [const { String::new() }; 2];
    for line in lines.lines().map_while(Result::ok) {
        let [kind, key] = &before;
        if kind == "PUT" && key == probe {
            has_begun.store(true, Ordering::Release);
        } else if kind == "PUT" && key.starts_with(prefix) {
            puts.push(Put {
                seen: Instant::now(),
                at: SystemTime::now(),
                key: key.clone(),
                value: line.clone(),
            });
        }
        before.rotate_left(1);
        before[1] = line;
    }
    puts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_is_one_put() {
        let told = "PUT\n/f/lab\n\nPUT\n/f/content/1\n[Service]\nExecStart=/bin/true\n\nDELETE\n/f/schedule/a\n\nPUT\n/f/schedule/b\n{}\n";
        let has_begun = AtomicBool::new(false);
        let puts = read(told.as_bytes(), "/f/", "/f/lab", &has_begun);
        assert!(has_begun.into_inner());
        let puts: Vec<_> = puts.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
        assert_eq!(puts, [("/f/content/1", "[Service]"), ("/f/schedule/b", "{}")]);
    }
}
