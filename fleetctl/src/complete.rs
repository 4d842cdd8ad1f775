//! What a shell could put in place of the word under the cursor: `fleetctl __complete INDEX WORD…`, for the scripts in
//! `dist/completions/`.
//!
//! clap_complete knows the commands and flags, and finds out which argument the word belongs to; the names of units and
//! machines come from the API. Its own scripts are not used: bash's takes the `@` of an instance for the end of a word.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{self, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use tokio::time::timeout;
use units::UnitType;

use crate::api::Api;
use crate::cli::{self, Settings};
use crate::error::{Error, ExitStatus};
use crate::printer::Printer;

/// The first argument.
pub(crate) const WORD: &str = "__complete";

/// For how long a person who pressed a key is kept waiting for names.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes the candidates, one line each: the word, a tab, what it is. Whatever goes wrong, there are none: a shell
/// would write an error into the line that somebody is typing.
pub(crate) fn run(args: &[OsString]) -> Result<ExitStatus, Error> {
    let Some((index, words)) = args.split_first() else {
        return Ok(ExitStatus::Success);
    };
    let index = index.to_str().and_then(|index| index.parse().ok());
    let candidates = index.map_or_else(Vec::new, |index| candidates(words, index));
    let mut text = String::new();
    for candidate in candidates {
        // A name that is no text cannot be told from its neighbours once it is written.
        let Some(word) = candidate
            .get_value()
            .to_str()
            .filter(|word| !word.contains(['\n', '\t']))
        else {
            continue;
        };
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        text.extend([word, "\t", help.lines().next().unwrap_or_default(), "\n"]);
    }
    Printer::new(false).data(text)?;
    Ok(ExitStatus::Success)
}

fn candidates(words: &[OsString], index: usize) -> Vec<CompletionCandidate> {
    let mut words = words.to_vec();
    words.truncate(index + 1);
    words.resize(index + 1, OsString::new());
    let said: Arc<[OsString]> = words[..index].into();
    let mut command = with_names(cli::command(), &said);
    cli::spell_out(&command, &mut words[..index]);
    let asks_for_flags = words[index].to_str().is_some_and(|word| word.starts_with('-'));
    let mut all = engine::complete(&mut command, words, index, None).unwrap_or_default();
    all.retain(|candidate| asks_for_flags || !candidate.get_value().to_string_lossy().starts_with('-'));
    all
}

/// Adds the names of units and machines where such are asked for.
fn with_names(command: Command, said: &Arc<[OsString]>) -> Command {
    command.mut_subcommands(|command| {
        let takes_files = matches!(command.get_name(), "submit" | "load" | "start");
        command.mut_args(|arg| match Kind::of(&arg) {
            Some(kind) => arg.add(ArgValueCompleter::new(Names {
                kind,
                files: takes_files.then(unit_files),
                said: Arc::clone(said),
            })),
            None => arg,
        })
    })
}

/// Files that are named like units.
fn unit_files() -> PathCompleter {
    PathCompleter::any().filter(|path| {
        let suffix = path.extension().and_then(OsStr::to_str);
        suffix.and_then(UnitType::from_suffix).is_some() && path.is_file()
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Unit,
    Machine,
}

impl Kind {
    fn of(arg: &Arg) -> Option<Self> {
        match arg.get_id().as_str() {
            "unit" | "units" => Some(Self::Unit),
            "machine" | "machines" => Some(Self::Machine),
            _ => None,
        }
    }
}

struct Names {
    kind: Kind,
    files: Option<PathCompleter>,
    /// The words before the one that is completed: among them may be where the API is.
    said: Arc<[OsString]>,
}

impl ValueCompleter for Names {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let known = current
            .to_str()
            .map_or_else(Vec::new, |current| self.known(current));
        let files = self.files.as_ref().map(|files| files.complete(current));
        known.into_iter().chain(files.into_iter().flatten()).collect()
    }
}

impl Names {
    /// What the cluster has, of that beginning.
    fn known(&self, current: &str) -> Vec<CompletionCandidate> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (Ok(runtime), Some(settings)) = (runtime, cli::settings_so_far(&self.said)) else {
            return Vec::new();
        };
        let answer = runtime.block_on(async { timeout(PATIENCE, ask(self.kind, settings)).await });
        let names = answer.unwrap_or_default().into_iter();
        names
            .filter(|(name, _)| name.starts_with(current))
            .map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into())))
            .collect()
    }
}

async fn ask(kind: Kind, settings: Settings) -> Vec<(String, String)> {
    let Settings { endpoint, tls, .. } = settings;
    let api = Api::new(endpoint, tls, PATIENCE, Printer::new(false));
    match kind {
        Kind::Unit => {
            let names = api.unit_names().await.unwrap_or_default();
            names
                .into_iter()
                .map(|name| (name.to_string(), String::new()))
                .collect()
        }
        Kind::Machine => {
            let machines = api.machines().await.unwrap_or_default();
            machines
                .into_iter()
                .map(|machine| (machine.id, machine.primary_ip))
                .collect()
        }
    }
}
