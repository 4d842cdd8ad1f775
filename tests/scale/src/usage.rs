//! What a process takes of its host, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux, whatever its own clock does (`USER_HZ`).
const TICKS: f64 = 100.0;

/// One look at a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time spent so far, user and system, in seconds.
    pub cpu: f64,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most there ever was of it, in bytes.
    pub peak: u64,
}

impl Usage {
    /// Of the process with this id.
    ///
    /// # Errors
    /// If it is gone.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is gone"))?;
        // The name of the program, in parentheses, may hold blanks.
        let (_, after) = stat.rsplit_once(')').context("no stat of a process")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_end_matches("kB").trim().parse::<u64>().ok()
        };
        Ok(Self {
            cpu: (ticks(11) + ticks(12)) / TICKS,
            resident: kilobytes("VmRSS:").unwrap_or(0) * 1024,
            peak: kilobytes("VmHWM:").unwrap_or(0) * 1024,
        })
    }

    /// Of this process.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub(crate) fn own() -> Result<Self> {
        Self::of(std::process::id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let before = Usage::own().unwrap();
        let mut kept: Vec<u64> = Vec::new();
        while Usage::own().unwrap().cpu < before.cpu + 0.02 {
            kept.extend(0..100_000);
        }
        let after = Usage::own().unwrap();
        assert!(after.resident > before.resident, "{} numbers", kept.len());
        assert!(after.peak >= after.resident);
    }
}
