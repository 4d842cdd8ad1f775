//! Many seeds, on every core.

use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Options, Report, run};

/// Runs `seeds` on `jobs` threads and hands each report to `each`, as they come. `each` says whether to go on.
///
/// # Errors
/// The first seed that could not be run at all.
pub fn run_all(
    seeds: Range<u64>,
    jobs: usize,
    options: &Options,
    each: impl FnMut(Report) -> bool + Send,
) -> io::Result<()> {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let each = Mutex::new(each);
    let work = || -> io::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let report = run(seed, options)?;
            let mut each = each.lock().unwrap_or_else(PoisonError::into_inner);
            if !each(report) {
                is_over.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let ends = threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ends.collect()
    })
}

/// As many threads as there are cores.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
