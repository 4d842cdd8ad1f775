//! Runs the scenarios: gives each its cluster, and a failing one the journals of its machines.

use std::any::Any;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use lab::cluster::{self, Base, Cluster, Options};
use lab::fleet::Fleet;
use lab::network::Index;
use lab::printer::Printer;
use lab::{clean, host, image};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// With this alone on its command line the program takes away what an interrupted run of it left.
const TIDY: &str = "--tidy-after-interrupt";

/// Lines of each journal that a failing scenario shows.
const JOURNAL: usize = 40;

/// A scenario: what it needs, and what it does there.
#[derive(Clone)]
pub(crate) struct Scenario {
    name: &'static str,
    needs: Options,
    shares: bool,
    run: fn(&Cluster) -> Result<()>,
}

/// A scenario that leaves the cluster as it found it, so that the next one can have it.
pub(crate) fn shared(name: &'static str, needs: Options, run: fn(&Cluster) -> Result<()>) -> Scenario {
    Scenario {
        name,
        needs,
        shares: true,
        run,
    }
}

/// A scenario that wants a cluster of its own, and leaves it in whatever state.
pub(crate) fn fresh(name: &'static str, needs: Options, run: fn(&Cluster) -> Result<()>) -> Scenario {
    Scenario {
        name,
        needs,
        shares: false,
        run,
    }
}

/// What outlives a scenario.
#[derive(Default)]
struct Stage {
    fleet: Option<Fleet>,
    /// A cluster that the last scenario left whole.
    cluster: Option<Cluster>,
    /// Every index that was used.
    used: Vec<Index>,
}

/// Runs what the command line asks for.
pub(crate) fn run(scenarios: Vec<Scenario>) -> ExitCode {
    let printer = Printer::loud();
    if std::env::args().nth(1).is_some_and(|argument| argument == TIDY) {
        return exit_code(clean::stale(&printer), &printer);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let stage = Arc::new(Mutex::new(Stage::default()));
    let why_not = host::why_not();
    if let (Some(reason), false) = (&why_not, arguments.list) {
        printer.error(&format!("ALL SCENARIOS ARE SKIPPED: {reason}"));
    } else if !arguments.list {
        tidy_when_interrupted();
        let asked_for = scenarios
            .iter()
            .filter(|scenario| is_asked_for(scenario.name, &arguments));
        if let Err(error) = prepare(asked_for, &stage, &printer) {
            return exit_code(Err(error), &printer);
        }
    }
    let trial = |scenario: Scenario| {
        let (stage, why_not) = (Arc::clone(&stage), why_not.clone());
        Trial::ignorable_test(scenario.name, move || match why_not {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => perform(
                &scenario,
                &mut stage.lock().unwrap_or_else(PoisonError::into_inner),
            ),
        })
    };
    let conclusion = libtest_mimic::run(&arguments, scenarios.into_iter().map(trial).collect());
    match leave_nothing(&mut stage.lock().unwrap_or_else(PoisonError::into_inner)) {
        Ok(()) => conclusion.exit_code(),
        left => exit_code(left, &printer),
    }
}

fn exit_code(result: Result<()>, printer: &Printer) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// As the runner itself decides it.
fn is_asked_for(name: &str, arguments: &Arguments) -> bool {
    let matches = |pattern: &String| {
        if arguments.exact {
            name == pattern
        } else {
            name.contains(pattern.as_str())
        }
    };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

/// What takes long and is done once.
fn prepare<'a>(
    scenarios: impl Iterator<Item = &'a Scenario>,
    stage: &Mutex<Stage>,
    printer: &Printer,
) -> Result<()> {
    host::prepare(printer)?;
    let scenarios: Vec<&Scenario> = scenarios.collect();
    let of_the_lab = |scenario: &&Scenario| scenario.needs.base == Base::Lab;
    if scenarios.iter().any(of_the_lab) {
        image::ensure(printer)?;
    }
    if !scenarios.iter().any(|scenario| scenario.needs.fleet) {
        return Ok(());
    }
    let mut fleet = Fleet::quick(printer)?;
    if !scenarios.iter().all(of_the_lab) {
        fleet = fleet.packaged(printer)?;
        image::plain::installed(fleet.package()?, printer)?;
    }
    stage.lock().unwrap_or_else(PoisonError::into_inner).fleet = Some(fleet);
    Ok(())
}

fn perform(scenario: &Scenario, stage: &mut Stage) -> Result<Completion, Failed> {
    let cluster = stage
        .cluster_for(scenario)
        .map_err(|error| Failed::from(format!("no cluster: {error:#}")))?;
    // A panic must not take the cluster along before its journals were read.
    let outcome = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&cluster)))
        .unwrap_or_else(|panic| Err(told(&*panic)));
    match outcome {
        Ok(()) => {
            if scenario.shares && cluster.is_whole() {
                stage.cluster = Some(cluster);
            }
            Ok(Completion::Completed)
        }
        Err(error) => Err(Failed::from(format!("{error:#}\n{}", journals(&cluster)))),
    }
}

impl Stage {
    fn cluster_for(&mut self, scenario: &Scenario) -> Result<Cluster> {
        match self.cluster.take() {
            Some(cluster) if scenario.shares && *cluster.options() == scenario.needs => return Ok(cluster),
            // One cluster at a time: the host is small.
            Some(cluster) => cluster.down()?,
            None => {}
        }
        let fleet = self.fleet.as_ref().filter(|_| scenario.needs.fleet);
        let cluster = Cluster::fresh(scenario.needs.clone(), fleet, &Printer::silent())?;
        self.used.push(cluster.index());
        Ok(cluster)
    }
}

fn told(panic: &(dyn Any + Send)) -> anyhow::Error {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("panicked: {}", text.unwrap_or("without a word"))
}

fn journals(cluster: &Cluster) -> String {
    let mut text = String::new();
    for machine in cluster.machines() {
        let state = if machine.is_running() { "running" } else { "off" };
        let journal = machine
            .journal(&[], JOURNAL)
            .unwrap_or_else(|error| format!("no journal: {error:#}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "--- machine {} ({state}), its journal's end\n{}",
            machine.number(),
            journal.trim_end()
        );
    }
    text
}

/// Takes the last cluster down and makes sure that the host is as it was.
fn leave_nothing(stage: &mut Stage) -> Result<()> {
    if let Some(cluster) = stage.cluster.take() {
        cluster.down()?;
    }
    stage.used.sort_unstable();
    stage.used.dedup();
    for index in &stage.used {
        // Ours are down and their locks free; who holds one now is another run, and what is there is its own.
        let Some(_lock) = cluster::lock(*index)? else {
            continue;
        };
        let traces = clean::traces(*index)?;
        if !traces.is_empty() {
            return Err(anyhow!(
                "the scenarios left something behind: {}",
                traces.join("; ")
            ));
        }
    }
    Ok(())
}

/// On ^C the program becomes one that only tidies: by that the locks on its clusters are free, whatever it was at.
fn tidy_when_interrupted() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok()
            && let Ok(program) = std::env::current_exe()
        {
            // Returns only if it fails, and then `cargo lab clean` is what remains.
            let error = Command::new(program).arg(TIDY).exec();
            Printer::loud().error(&format!("cannot tidy, `cargo lab clean` does: {error}"));
        }
    });
}
