//! Whole clusters in one process and in virtual time, with faults, from one seed each.
//!
//! The production code runs: agents and engine candidates with their loops, and the API's router for what users ask.
//! Only the two edges are twins, the registry in memory and the scripted systemd (`fleetd::registry::memory`,
//! `fleetd::init::scripted`), which are held to what etcd and systemd really do by the contract suites.
//!
//! One number decides everything: how many machines there are and what they are like, what users ask for, which faults
//! happen and when ([`script`]). The same seed makes the same history, event by event; [`Report::hash`] says so.
//!
//! # What is watched
//! The [`witness`] sees every revision of the registry as it is made and every start and stop that systemd is asked for,
//! and applies the [`rules`] at once. When the script is over everything is healed, and the cluster has to come to rest
//! and to stay there.
//!
//! # How to use it
//! ```text
//! cargo sim                          2,000 seeds of 3 to 7 machines
//! cargo sim --seed 17 -v             one seed, with its whole history
//! cargo sim --seeds 0..100000        any number
//! cargo sim --machines 1000..1000 --seeds 0..5
//! cargo sim --bug no-fence           looks for the first seed that finds a planted bug
//! ```
//!
//! # When a seed fails
//! Its history ends with the line `VIOLATION`, which names the rule. A rule is only ever made weaker with a comment that
//! says why the product is right.
//!
//! # Determinism
//! Nothing here may ask for randomness or the real time. In the product: `tokio::select!` is `biased` wherever a cluster
//! depends on it, no tokio `watch` channel has more than one receiver (both ask dice that cannot be seeded), and no
//! `HashMap` is iterated. The one random value, the cluster's uuid, is never ordered by and masked in the history.

pub mod bug;
pub mod dice;
pub mod host;
pub mod log;
pub mod many;
pub mod rules;
pub mod script;
pub mod seam;
mod user;
pub mod witness;
pub mod work;
mod world;

use std::io;
use std::path::Path;
use std::time::Duration;

pub use bug::Bug;
pub use rules::{Rule, Violation};
pub use script::Scale;
use world::World;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How large.
    pub scale: Scale,
    /// What is wrong with every fleetd.
    pub bug: Option<Bug>,
    /// Whether somebody wants to read the history.
    pub keep: bool,
}

/// How a seed came out.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// The rule that was broken first, and when.
    pub violation: Option<(Duration, Violation)>,
    /// Of the history.
    pub hash: u64,
    /// How long that is.
    pub events: u64,
    /// The virtual time that passed.
    pub lasted: Duration,
    /// The history, if it was kept.
    pub lines: Vec<String>,
}

/// Runs one seed.
///
/// # Errors
/// If the machines' directories cannot be had.
pub fn run(seed: u64, options: &Options) -> io::Result<Report> {
    let directory = directory()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        let began = tokio::time::Instant::now();
        let script = script::write(seed, &options.scale);
        let witness = witness::Witness::new(script.members.len(), options.keep);
        let mut world = World::new(&script, directory.path(), options.bug, &witness);
        world.play(script).await?;
        let (hash, events, lines) = witness.finish();
        Ok(Report {
            seed,
            violation: witness.violation(),
            hash,
            events,
            lasted: began.elapsed(),
            lines,
        })
    })
}

/// Where the machines' `/run` lies: in memory if possible, as on a machine.
fn directory() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("fleet-sim-");
        builder
    };
    match memory.is_dir() {
        true => builder().tempdir_in(memory).or_else(|_| builder().tempdir()),
        false => builder().tempdir(),
    }
}
