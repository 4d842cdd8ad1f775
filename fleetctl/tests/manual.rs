//! The manual: a page for each command of fleetctl and of fleetd, made from what is said of them to clap.
//!
//! The pages are in the repository, so that whoever packs fleet needs nothing to make them. Made anew by
//!
//!     FLEET_UPDATE_MANUAL=1 cargo test -p fleetctl --test manual

#![allow(clippy::unwrap_used)] // clippy takes only functions marked as tests for such

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// What of fleetctl fleetd does: described where it is.
const BY_FLEETD: [&str; 3] = ["init", "join", "leave"];

const FLEETCTL: &str = "\
fleetctl tells a cluster which systemd units to run, and shows what became of them. It speaks to the API of a fleetd, \
any of the cluster: by default to that of this machine, over its socket.

A command may be shortened as long as it stays unique: list-m for list-machines. Flags may stand anywhere, as --flag \
value or --flag=value. fleetctl help COMMAND, or --help with it, describes a command in short. What is asked for goes to stdout, everything else to stderr.

A UNIT is the name of a unit, or the path of its file, whose last part is the name. .service is added unless the name \
ends in .service, .socket, .timer, .path, .device, .mount or .automount. Where commands only look (list-units, \
list-unit-files, status), it may be a pattern: * stands for any characters, ? for one, [a-z] for one of these.";

const ENVIRONMENT: &str = "\
Every global option but --version can be given as a variable as well: FLEETCTL_ENDPOINT for --endpoint, \
FLEETCTL_REQUEST_TIMEOUT for --request-timeout, and so on. The command line goes first; what is empty says nothing.

NO_COLOR, if set, keeps colours out of what goes to a terminal.";

/// What follows the sections that clap_mangen makes.
struct More {
    sections: Vec<(&'static str, String)>,
    see_also: Vec<String>,
}

/// Every page, by its path from the top of the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    let mut add = |dir: &str, section: &str, name: &str, command: Command, more: More| {
        let path = Path::new(dir).join(format!("dist/man/{name}.{section}"));
        pages.insert(path, page(name, section, command, more));
    };
    let fleetctl = fleetctl::cli::bare().disable_help_subcommand(true);
    let is_shown = |command: &&Command| !command.is_hide_set();
    for command in fleetctl.get_subcommands().filter(is_shown) {
        let name = command.get_name();
        if BY_FLEETD.contains(&name) {
            continue;
        }
        let more = More {
            sections: vec![(
                "EXIT STATUS",
                "See fleetctl(1), which has the global options and variables, too.".to_owned(),
            )],
            see_also: vec!["fleetctl(1)".to_owned()],
        };
        let command = command.clone().bin_name(format!("fleetctl {name}"));
        add("fleetctl", "1", &format!("fleetctl-{name}"), command, more);
    }
    let exit_codes = fleetctl.get_after_help().unwrap().to_string();
    let exit_codes = exit_codes.split("\n\n").next().unwrap();
    let exit_codes = exit_codes
        .lines()
        .skip(1)
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("\n\n");
    let names = fleetctl
        .get_subcommands()
        .filter(is_shown)
        .map(|command| format!("fleetctl-{}(1)", command.get_name()));
    let more = More {
        see_also: names
            .chain(["fleetd(8)".to_owned(), "systemd.unit(5)".to_owned()])
            .collect(),
        sections: vec![
            ("EXIT STATUS", exit_codes),
            ("ENVIRONMENT", ENVIRONMENT.to_owned()),
        ],
    };
    let fleetctl = fleetctl.long_about(FLEETCTL).after_help("");
    add("fleetctl", "1", "fleetctl", fleetctl, more);

    let fleetd = fleetd::arguments::Arguments::command();
    for command in fleetd.get_subcommands().filter(is_shown) {
        let name = command.get_name();
        let (section, program) = match BY_FLEETD.contains(&name) {
            true => ("1", "fleetctl"),
            false => ("8", "fleetd"),
        };
        let more = More {
            sections: Vec::new(),
            see_also: vec!["fleetctl(1)".to_owned(), "fleetd(8)".to_owned()],
        };
        let command = command.clone().bin_name(format!("{program} {name}"));
        add("fleetd", section, &format!("{program}-{name}"), command, more);
    }
    let fleetd = BY_FLEETD.into_iter().fold(fleetd, |all, name| {
        all.mut_subcommand(name, |command| command.hide(true))
    });
    let more = More {
        sections: Vec::new(),
        see_also: [
            "fleetd-bootstrap(8)",
            "fleetd-gateway(8)",
            "fleet.conf(5)",
            "fleetctl(1)",
            "systemd(1)",
        ]
        .map(str::to_owned)
        .into(),
    };
    add("fleetd", "8", "fleetd", fleetd, more);
    pages
}

fn page(name: &str, section: &str, command: Command, more: More) -> String {
    // No version and no date: a page changes when what it says changes.
    let mut command = command
        .display_name(name.to_owned())
        .disable_version_flag(true)
        .disable_help_flag(true)
        .subcommand_value_name("COMMAND");
    let usage = command.render_usage().to_string();
    let command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    let has_commands = command.get_subcommands().any(|command| !command.is_hide_set());
    let man = Man::new(command.subcommand_help_heading("COMMANDS"))
        .title(name.to_uppercase())
        .section(section)
        .source("fleet")
        .manual("fleet");
    let mut text = Vec::new();
    man.render_title(&mut text).unwrap();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    man.render_options_section(&mut text).unwrap();
    if has_commands {
        man.render_subcommands_section(&mut text).unwrap();
    }
    for (heading, paragraphs) in more.sections {
        let mut roff = Roff::default();
        roff.control("SH", [heading]);
        for paragraph in paragraphs.split("\n\n") {
            // `  0  done` is a term and what it means.
            let term = paragraph
                .strip_prefix("  ")
                .and_then(|rest| rest.split_once("  "));
            match term {
                Some((term, meaning)) => {
                    roff.control("TP", []);
                    roff.text([bold(term)]);
                    roff.text([roman(meaning)]);
                }
                None => {
                    roff.control("PP", []);
                    roff.text([roman(paragraph)]);
                }
            }
        }
        roff.to_writer(&mut text).unwrap();
    }
    let mut roff = Roff::default();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([Inline::Roman(more.see_also.join(", "))]);
    roff.to_writer(&mut text).unwrap();
    // An empty date has to be one, or what follows moves up.
    let text = String::from_utf8(text).unwrap();
    let text = text.replace(
        &format!(" {section}  fleet fleet"),
        &format!(" {section} \"\" fleet fleet"),
    );
    text.lines().map(|line| quotes(line) + "\n").collect()
}

/// What stands between backticks in the text of a line, set in bold.
fn quotes(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    if line.starts_with('.') || parts.len().is_multiple_of(2) {
        return line.to_owned();
    }
    let font = |index| {
        if index % 2 == 1 {
            ("\\fB", "\\fR")
        } else {
            ("", "")
        }
    };
    let set = parts
        .iter()
        .enumerate()
        .flat_map(|(index, part)| [font(index).0, part, font(index).1]);
    set.collect()
}

/// What is in the repository of the sections that are made here.
fn committed(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    for dir in ["fleetctl/dist/man", "fleetd/dist/man"] {
        for file in fs::read_dir(top.join(dir)).into_iter().flatten() {
            let file = Path::new(dir).join(file.unwrap().file_name());
            let section = file.extension().unwrap();
            if section == "1" || section == "8" {
                pages.insert(file.clone(), fs::read_to_string(top.join(file)).unwrap());
            }
        }
    }
    pages
}

#[test]
fn the_manual_says_what_the_programs_do() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pages = pages();
    if std::env::var_os("FLEET_UPDATE_MANUAL").is_some() {
        for old in committed(top).into_keys() {
            fs::remove_file(top.join(old)).unwrap();
        }
        for (path, text) in &pages {
            fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            fs::write(top.join(path), text).unwrap();
        }
    }
    let committed = committed(top);
    let stale: Vec<&PathBuf> = pages
        .keys()
        .chain(committed.keys())
        .filter(|path| pages.get(*path) != committed.get(*path))
        .collect();
    assert!(
        stale.is_empty(),
        "make them anew with FLEET_UPDATE_MANUAL=1 cargo test -p fleetctl --test manual: {stale:?}"
    );
}

/// Every page that another one names is there, but for those of systemd and fleet.conf.
#[test]
fn pages_that_are_named_are_there() {
    let pages = pages();
    let there: Vec<String> = pages
        .keys()
        .map(|path| {
            let file = path.file_name().unwrap().to_str().unwrap();
            let (name, section) = file.rsplit_once('.').unwrap();
            format!("{name}({section})")
        })
        .collect();
    for (path, text) in &pages {
        let text = text.replace("\\-", "-");
        let words = text.split(|c: char| c.is_whitespace() || c == ',');
        let is_page =
            |word: &&str| word.starts_with("fleet") && (word.contains("(1)") || word.contains("(8)"));
        for word in words.filter(is_page) {
            let named = word.trim_end_matches([',', '.']);
            assert!(
                there.iter().any(|page| page == named),
                "{}: {named}",
                path.display()
            );
        }
    }
}
