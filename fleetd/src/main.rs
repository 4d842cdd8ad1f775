//! fleetd: `fleetd [--config PATH] [--version]`, its guard: `fleetd guard`, and etcd's gateway: `fleetd gateway`.
//!
//! Exit codes: 0 stopped as told, 1 could not start or ended by a fault, 2 wrong usage.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fleetd::config::Config;
use fleetd::{daemon, gateway, guard};
use tracing_subscriber::EnvFilter;

/// The cluster init daemon: registers this machine, has systemd run what is placed on it, and takes part in placing.
///
/// Exit codes: 0 stopped as told, 1 could not start or ended by a fault, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "fleetd", version, disable_version_flag = true)]
struct Arguments {
    /// The configuration file [default: /etc/fleet/fleet.conf, if there is one]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Print the version
    #[arg(long)]
    version: bool,
    /// `version` does the same as --version; `guard` and `gateway` are what fleet-guard.service and
    /// fleet-gateway.service run
    #[arg(hide = true)]
    word: Option<String>,
}

fn main() -> ExitCode {
    // Unit files written for fleet 1.0 say `-config`.
    let arguments = std::env::args().map(|a| match a.as_str() {
        "-config" | "-version" => format!("-{a}"),
        _ => a.replacen("-config=", "--config=", usize::from(a.starts_with("-config="))),
    });
    let arguments = Arguments::parse_from(arguments);
    match (&arguments.word, arguments.version) {
        (Some(word), false) if word == "guard" => {
            log(0);
            return ended(guard::process::main());
        }
        (Some(word), false) if word == "gateway" => {
            log(0);
            return ended(gateway::process::main(arguments.config.as_deref()));
        }
        (Some(word), _) if word != "version" => {
            return fail(&format!("unexpected argument `{word}`: see fleetd --help"), 2);
        }
        (None, false) => {}
        _ => {
            use std::io::Write;
            let _ = writeln!(std::io::stdout(), "fleetd version {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
    }
    let config = match Config::load(arguments.config.as_deref(), &daemon::environment()) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string(), 1),
    };
    log(config.verbosity);
    ended(daemon::run(config))
}

fn ended<E: std::fmt::Display>(work: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
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

/// To stderr. The journal has its own clock; colours are for terminals.
fn log(verbosity: u32) {
    use std::io::IsTerminal;
    let level = if verbosity > 0 {
        "fleetd=debug"
    } else {
        "fleetd=info"
    };
    let filter = EnvFilter::try_from_env("FLEETD_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().with_target(false).init();
    } else {
        builder.init();
    }
}
