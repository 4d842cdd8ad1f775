//! How help looks: in fleet's layout (fleet-reference §4.1).

use clap::builder::{Resettable, StyledStr};
use clap::{Arg, ArgAction, Command};

use super::words::PASSED_ON;

/// The columns that text is indented by.
const INDENT: &str = "    ";
/// The last column of a description.
const WIDTH: usize = 80;

/// Gives the command and all its commands fleet's layout, and `-h`, `--help`, `--h`.
pub(super) fn layout(command: Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let template = format!(
        "NAME:\n{INDENT}fleetctl - {about}\n\nUSAGE:\n{INDENT}{{usage}}\n\nVERSION:\n{INDENT}{version}\n\n\
         {{all-args}}{{after-help}}\n"
    );
    command
        .help_template(template)
        .subcommand_help_heading("COMMANDS")
        .arg(help("GLOBAL OPTIONS"))
        .mut_subcommands(subcommand)
}

fn subcommand(command: Command) -> Command {
    let command = match PASSED_ON.contains(&command.get_name()) {
        true => command,
        false => command.arg(help("OPTIONS")),
    };
    let name = command.get_name();
    let about = command.get_about().cloned().unwrap_or_default();
    let description = command
        .get_long_about()
        .map_or_else(String::new, |text| format!("DESCRIPTION:\n{}\n", indented(text)));
    let template = format!(
        "NAME:\n{INDENT}fleetctl {name} - {about}\n\nUSAGE:\n{INDENT}{{usage}}\n\n{description}{{all-args}}\n"
    );
    // With a longer text of its own, clap would spread the options over many lines.
    let command = command.long_about(Resettable::Reset).help_template(template);
    command.mut_args(|arg| {
        let heading = if arg.is_positional() {
            "ARGUMENTS"
        } else {
            "OPTIONS"
        };
        match arg.get_help_heading() {
            None => arg.help_heading(heading),
            Some(_) => arg,
        }
    })
}

fn help(heading: &'static str) -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .alias("h")
        .help("Print help")
        .help_heading(heading)
        .action(ArgAction::HelpShort)
}

/// The paragraphs after the first, which the name has already; wrapped.
fn indented(text: &StyledStr) -> String {
    let mut lines = String::new();
    for paragraph in text.to_string().split("\n\n").skip(1) {
        let mut line = INDENT.to_owned();
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.extend([line.trim_end(), "\n"]);
                line = INDENT.to_owned();
            }
            line.extend([word, " "]);
        }
        lines.extend([line.trim_end(), "\n\n"]);
    }
    lines.pop();
    lines
}
