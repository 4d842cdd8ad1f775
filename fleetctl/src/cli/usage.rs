//! Command lines that clap does not take as they are, and what to say of those that make no sense.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::error::{Error, ExitStatus};
use crate::printer::Printer;

/// Turns `--no-legend=true` into `--no-legend`, and leaves `--no-legend=false` out: what fleet's flags accepted.
pub(super) fn plain_booleans(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let flags: BTreeSet<&str> = std::iter::once(command)
        .chain(command.get_subcommands())
        .flat_map(Command::get_arguments)
        .filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue))
        .filter_map(Arg::get_long)
        .collect();
    // `None`: as it is; `Some(None)`: left out.
    let plain = |arg: &OsString| {
        let (flag, value) = arg.to_str()?.strip_prefix("--")?.split_once('=')?;
        match (flags.contains(flag), value) {
            (true, "true" | "TRUE" | "True" | "t" | "T" | "1") => {
                Some(Some(OsString::from(format!("--{flag}"))))
            }
            (true, "false" | "FALSE" | "False" | "f" | "F" | "0") => Some(None),
            _ => None,
        }
    };
    let end = remote_command(command, &args).unwrap_or(args.len());
    let in_order = args.into_iter().enumerate();
    in_order
        .filter_map(|(index, arg)| match plain(&arg) {
            Some(replacement) if index < end => replacement,
            _ => Some(arg),
        })
        .collect()
}

/// Where the words are not for fleetctl: after `--`, and from the target of `ssh` on.
fn remote_command(command: &Command, args: &[OsString]) -> Option<usize> {
    let mut verb: Option<&Command> = None;
    let mut words = args.iter().enumerate().skip(1);
    while let Some((index, arg)) = words.next() {
        let Some(arg) = arg.to_str() else { continue };
        match (arg.strip_prefix("--"), verb) {
            (Some(""), _) => return Some(index),
            (Some(flag), _) => {
                let mut known = command
                    .get_arguments()
                    .chain(verb.into_iter().flat_map(Command::get_arguments));
                let takes_next = |arg: &Arg| {
                    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
                        && !arg.is_require_equals_set()
                };
                if known.any(|arg| arg.get_long() == Some(flag) && takes_next(arg)) {
                    words.next();
                }
            }
            (None, _) if arg.starts_with('-') => {}
            (None, Some(verb)) if verb.get_name() == "ssh" => return Some(index),
            (None, Some(_)) => {}
            (None, None) => {
                let mut meant = command
                    .get_subcommands()
                    .filter(|verb| verb.get_name().starts_with(arg));
                verb = command.find_subcommand(arg).or_else(|| meant.next());
            }
        }
    }
    None
}

/// Prints what was asked for, or says what is wrong in as few lines as fleet did.
pub(super) fn explain(command: &Command, error: &clap::Error) -> Result<ExitStatus, Error> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        Printer::new(false).data(error.render().ansi())?;
        return Ok(ExitStatus::Success);
    }
    Err(Error::Usage(match error.kind() {
        ErrorKind::InvalidSubcommand => unknown_command(command, error),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "no command was given; see `fleetctl help`".to_owned()
        }
        _ => first_line(error),
    }))
}

fn unknown_command(command: &Command, error: &clap::Error) -> String {
    let given = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) => name.as_str(),
        _ => "",
    };
    let names = command.get_subcommands().map(Command::get_name);
    let mut similar: Vec<&str> = names
        .filter(|name| !given.is_empty() && name.starts_with(given))
        .collect();
    if similar.is_empty() {
        match error.get(ContextKind::SuggestedSubcommand) {
            Some(ContextValue::Strings(names)) => similar.extend(names.iter().map(String::as_str)),
            Some(ContextValue::String(name)) => similar.push(name),
            _ => {}
        }
    }
    let mut text = format!("unknown command {given:?} for \"fleetctl\"");
    if !similar.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        similar.iter().for_each(|name| text.extend(["\t", name, "\n"]));
    }
    text.push_str("\nRun 'fleetctl help' for usage.");
    text
}

/// clap's own words, without the paragraphs around them.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let first = text.lines().next().unwrap_or_default();
    let mut tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    // That a wrong flag could be a file's name is no help.
    match tips.find(|tip| !tip.starts_with("to pass ")) {
        Some(tip) => format!("{first}; {tip}; see `fleetctl help`"),
        None => format!("{first}; see `fleetctl help`"),
    }
}
