//! This process as the kernel sees it (proc(5)), under the names that Prometheus' own clients use.

use std::fs;

/// What is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Process {
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
    /// Bytes.
    pub(crate) resident: u64,
    /// Bytes.
    pub(crate) virtual_memory: u64,
    /// Seconds since the epoch.
    pub(crate) started: f64,
    pub(crate) open_fds: u64,
    pub(crate) max_fds: u64,
}

/// What times in `/proc` are counted in, per second: `USER_HZ` is this on every architecture that fleet is built for.
const TICKS: f64 = 100.0;

/// Reads `/proc/self`; `None` if there is none.
pub(crate) fn look() -> Option<Process> {
    let read = |file| fs::read_to_string(file).ok();
    let [stat, status, limits] = ["stat", "status", "limits"].map(|f| read(format!("/proc/self/{f}")));
    let process = parse(&stat?, &status?, &limits?, &read("/proc/stat".to_owned())?)?;
    // The one that this very look has open is not counted.
    let fds = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Process {
        open_fds: u64::try_from(fds).ok()?.saturating_sub(1),
        ..process
    })
}

fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Option<Process> {
    // The name of the program is in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Counted from the third of proc(5).
    let seconds = |n: usize| Some(fields.get(n - 3)?.parse::<f64>().ok()? / TICKS);
    let word = |text: &str, name: &str| -> Option<String> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_ascii_whitespace().next().map(str::to_owned)
    };
    let bytes = |name| Some(word(status, name)?.parse::<u64>().ok()? * 1024);
    Some(Process {
        cpu: seconds(14)? + seconds(15)?,
        started: word(system, "btime ")?.parse::<f64>().ok()? + seconds(22)?,
        virtual_memory: bytes("VmSize:")?,
        resident: bytes("VmRSS:")?,
        open_fds: 0,
        // `unlimited` is no number.
        max_fds: word(limits, "Max open files")?.parse().unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 1 0 250 50 0 0 20 0 5 0 1234 1000000 300 18446744073709551615 1";
        let status = "Name:\ta\nVmSize:\t    2000 kB\nVmRSS:\t     300 kB\n";
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024    524288    files\n";
        let expected = Process {
            cpu: 3.0,
            resident: 300 << 10,
            virtual_memory: 2000 << 10,
            started: 1012.34,
            open_fds: 0,
            max_fds: 1024,
        };
        assert_eq!(parse(stat, status, limits, "cpu 1\nbtime 1000\n"), Some(expected));
        for bad in ["", "7 (x", "7 (x) S 1"] {
            assert_eq!(parse(bad, status, limits, "btime 1000"), None);
        }
    }

    #[test]
    fn this_very_process() {
        let process = look().unwrap();
        assert!(process.resident > 1 << 20 && process.open_fds >= 3 && process.max_fds > process.open_fds);
        assert!(process.started > 1_500_000_000.0, "{process:?}");
    }
}
