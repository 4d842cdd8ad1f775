//! `cargo sim`: runs seeds, and tells which of them break a rule.

use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use sim::{Bug, Options, Report, Scale, many};
use tokio::time::Instant;

/// Runs whole clusters in virtual time, with faults, each from one seed.
#[derive(Debug, Parser)]
#[command(name = "cargo sim", bin_name = "cargo sim")]
struct Arguments {
    /// This seed alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// These seeds, the last not included.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..2000")]
    seeds: Range<u64>,
    /// Machines in a cluster, at least and at most.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "3..7")]
    machines: Range<u64>,
    /// Plants a bug, and ends with the first seed that finds it.
    #[arg(long)]
    bug: Option<Bug>,
    /// Seeds that run at the same time.
    #[arg(long, default_value_t = many::cores())]
    jobs: usize,
    /// Prints the whole history of each seed.
    #[arg(short, long)]
    verbose: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (low, high) = text.split_once("..").ok_or("expected A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
    Ok(number(low)?..number(high)?)
}

fn main() -> ExitCode {
    match work(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every seed kept every rule.
fn work(arguments: &Arguments) -> anyhow::Result<bool> {
    let seeds = arguments
        .seed
        .map_or_else(|| arguments.seeds.clone(), |seed| seed..seed + 1);
    let [low, high] = [arguments.machines.start, arguments.machines.end].map(usize::try_from);
    let options = Options {
        scale: Scale {
            machines: low?..=high?,
        },
        bug: arguments.bug,
        keep: arguments.verbose,
    };
    let bar = ProgressBar::new(seeds.end - seeds.start);
    bar.set_style(ProgressStyle::with_template(
        "{pos}/{len} seeds, {per_sec}, {eta} to go, {msg}",
    )?);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let (began, mut failed, mut ran, mut events) = (Instant::now(), Vec::new(), 0_u64, 0_u64);
    let mut out = io::stdout();
    many::run_all(seeds, arguments.jobs, &options, |report| {
        ran += 1;
        events += report.events;
        bar.inc(1);
        for line in &report.lines {
            let _ = writeln!(out, "{line}");
        }
        if report.violation.is_some() {
            bar.suspend(|| tell(&mut out, &report, arguments));
            failed.push(report.seed);
            bar.set_message(format!("{} failed", failed.len()));
        }
        arguments.bug.is_none() || failed.is_empty()
    })?;
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        out,
        "{ran} seeds, {events} events, {seconds:.1} s: {} broke a rule",
        failed.len()
    )?;
    Ok(failed.is_empty())
}

fn tell(out: &mut impl Write, report: &Report, arguments: &Arguments) {
    let Some((at, violation)) = &report.violation else {
        return;
    };
    let seed = report.seed;
    let Range { start, end } = arguments.machines;
    let bug = arguments.bug.map_or_else(String::new, |bug| {
        use clap::ValueEnum;
        let name = bug
            .to_possible_value()
            .map_or_else(String::new, |v| v.get_name().to_owned());
        format!(" --bug {name}")
    });
    let _ = writeln!(
        out,
        "seed {seed}: after {:.3} s: {violation}\n    cargo sim --seed {seed} --machines {start}..{end}{bug} -v",
        at.as_secs_f64(),
    );
}
