//! What to say of command lines that make no sense.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{Error, ExitStatus};
use crate::printer::Printer;

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
            Some(ContextValue::Strings(names)) => similar.extend(names.iter().rev().map(String::as_str)),
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
    let mut first = text.lines().next().unwrap_or_default().to_owned();
    let possible = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("[possible values"));
    first.extend(possible.into_iter().flat_map(|values| [" ", values]));
    let mut tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    // That a wrong flag could be a file's name is no help.
    match tips.find(|tip| !tip.starts_with("to pass ")) {
        Some(tip) => format!("{first}; {tip}; see `fleetctl help`"),
        None => format!("{first}; see `fleetctl help`"),
    }
}
