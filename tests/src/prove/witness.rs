//! A unit that writes down, every 50 ms, that it runs: seen from outside, and on one clock for all machines.
//!
//! Machines are containers of one host and have its clock since boot. A copy runs from its first line to its last, so
//! it is taken for shorter than it was by at most one interval at each end.

use std::fs;

use anyhow::{Context, Result};

use crate::cluster::Cluster;

/// `$1` its name, `$2` how many seconds it takes to end.
const SCRIPT: &str = r#"#!/bin/sh
mkdir -p /root/witness
end=0
trap 'end=$(( ${now%.*} + $2 ))' TERM
while read now rest < /proc/uptime; do
    [ $end -eq 0 ] || [ ${now%.*} -lt $end ] || exit 0
    echo "$$ $now" >> "/root/witness/$1"
    sleep 0.05
done
"#;

/// One copy: a process on a machine, from its first sign to its last, in seconds of the host's clock since boot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Copy {
    /// Where.
    pub machine: usize,
    /// The process, as its machine numbers it.
    pub pid: i32,
    /// First sign.
    pub from: f64,
    /// Last sign.
    pub to: f64,
}

/// Puts the witness on every machine.
pub fn install(cluster: &Cluster) -> Result<()> {
    for machine in cluster.machines() {
        cluster.write(machine.number(), "/root/witness.sh", SCRIPT)?;
    }
    Ok(())
}

/// A unit file of a witness that takes so long to end.
pub fn unit(slow: u64, fleet: &str) -> String {
    format!(
        "[Service]\nTimeoutStopSec=60\nExecStart=/bin/sh /root/witness.sh %n {slow}\n[X-Fleet]\n{fleet}\n"
    )
}

/// Every copy of a unit that there ever was, by machine and then by time.
pub fn copies(cluster: &Cluster, unit: &str) -> Result<Vec<Copy>> {
    let mut copies: Vec<Copy> = Vec::new();
    for machine in cluster.machines() {
        let path = machine.root().join("root/witness").join(unit);
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let read = |field: Option<&str>| field.map(str::to_owned);
            let mut fields = line.split(' ');
            let (pid, time) = (read(fields.next()), read(fields.next()));
            let pid = pid.and_then(|pid| pid.parse().ok());
            let time = time.and_then(|time| time.parse().ok());
            let (pid, time): (i32, f64) = pid
                .zip(time)
                .with_context(|| format!("the witness wrote {line:?}"))?;
            match copies.last_mut() {
                Some(last) if last.machine == machine.number() && last.pid == pid => last.to = time,
                _ => copies.push(Copy {
                    machine: machine.number(),
                    pid,
                    from: time,
                    to: time,
                }),
            }
        }
    }
    Ok(copies)
}

/// When two of them ran at once, on whatever machines.
pub fn overlaps(copies: &[Copy]) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    for (at, one) in copies.iter().enumerate() {
        for other in &copies[at + 1..] {
            let (from, to) = (one.from.max(other.from), one.to.min(other.to));
            if from < to {
                found.push((from, to));
            }
        }
    }
    found
}

/// The clock that the witnesses write down.
pub fn now() -> Result<f64> {
    let text = fs::read_to_string("/proc/uptime").context("cannot read /proc/uptime")?;
    let first = text.split(' ').next().unwrap_or_default();
    first
        .parse()
        .with_context(|| format!("/proc/uptime says {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_once_are_found_and_two_in_turn_are_not() {
        let copy = |machine, from, to| Copy {
            machine,
            pid: 1,
            from,
            to,
        };
        assert_eq!(overlaps(&[copy(1, 0.0, 5.0), copy(2, 5.0, 9.0)]), []);
        assert_eq!(
            overlaps(&[copy(1, 0.0, 5.0), copy(2, 4.0, 9.0), copy(3, 10.0, 11.0)]),
            [(4.0, 5.0)]
        );
    }
}
