//! fleetd: `fleetd [--config PATH]` is the daemon, `fleetd COMMAND` something that is done once.
//!
//! Exit codes: 0 stopped as told, 1 could not start or ended by a fault, 2 wrong usage.

use std::process::ExitCode;

use fleetd::arguments::{self, Command};
use fleetd::bootstrap::system::ThisMachine;
use fleetd::bootstrap::talk::{Talk, aloud};
use fleetd::reload::Source;
use fleetd::{bootstrap, daemon, gateway, guard, log};

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match arguments.command {
        Some(Command::Bootstrap(arguments)) => return finished(bootstrap::command::run(arguments)),
        Some(Command::Init(arguments)) => {
            let work = bootstrap::init::init(&arguments, &ThisMachine, Talk(&aloud));
            return finished(said("init", work));
        }
        Some(Command::Join(arguments)) => {
            let work = bootstrap::join::join(&arguments, &ThisMachine, Talk(&aloud));
            return finished(said("join", work));
        }
        Some(Command::Leave(arguments)) => {
            let work = bootstrap::leave::leave(&arguments, &ThisMachine, Talk(&aloud));
            return finished(said("leave", work));
        }
        Some(Command::Guard) => {
            log::begin(0);
            return ended(guard::process::main());
        }
        Some(Command::Gateway { config }) => {
            log::begin(0);
            return ended(gateway::process::main(Some(&config)));
        }
        Some(Command::Version) => return version(),
        None if arguments.version => return version(),
        None => {}
    }
    let mut source = Source::new(arguments.config, daemon::environment());
    match source.read() {
        Ok(config) => {
            let level = log::begin(config.verbosity);
            ended(daemon::run(config, source, level))
        }
        Err(error) => fail(&error.to_string(), 1),
    }
}

fn version() -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "fleetd version {}", env!("CARGO_PKG_VERSION"));
    ExitCode::SUCCESS
}

/// Of a command, which says on its own what it did and what it could not.
fn finished(work: impl Future<Output = u8>) -> ExitCode {
    match runtime() {
        Ok(runtime) => ExitCode::from(runtime.block_on(work)),
        Err(error) => fail(&error.to_string(), 1),
    }
}

/// What `fleetctl VERB` had fleetd do: what came of it goes to stdout, what stood in the way to stderr.
async fn said<E: std::fmt::Display>(verb: &str, work: impl Future<Output = Result<String, E>>) -> u8 {
    use std::io::Write;
    match work.await {
        Ok(text) => {
            let _ = writeln!(std::io::stdout(), "{text}");
            0
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "fleetctl {verb}: {error}");
            1
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// Of the daemons.
fn ended<E: std::fmt::Display>(work: impl Future<Output = Result<(), E>>) -> ExitCode {
    let ended = match runtime() {
        Ok(runtime) => runtime.block_on(work).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// Before and beside the log: what keeps fleetd from running goes to whoever started it.
fn fail(message: &str, code: u8) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "fleetd: {message}");
    ExitCode::from(code)
}
