//! What fleet took and clap does not: the words of a command line, brought into clap's order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command};

/// The commands of fleet 1.0. A prefix that meant one of them means it still, whatever commands there are besides.
const OF_FLEET: [&str; 18] = [
    "cat",
    "destroy",
    "fd-forward",
    "help",
    "journal",
    "list-machines",
    "list-unit-files",
    "list-units",
    "load",
    "restart",
    "ssh",
    "start",
    "status",
    "stop",
    "submit",
    "unload",
    "verify",
    "version",
];

/// Commands whose words are for another program, and are left as they are.
pub(super) const PASSED_ON: [&str; 3] = ["init", "join", "leave"];

/// Commands of ours that change a whole machine or cluster: half a word, typed by mistake, must not do that.
const ONLY_IN_FULL: [&str; 4] = ["init", "join", "leave", "recover"];

/// Whether a flag takes the word after it for its value.
type Flags = BTreeMap<String, bool>;

/// Brings a command line into clap's order: the command's name in full, its flags after it, booleans without a value.
pub(super) fn arrange(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let (before, name, mut after) = split(command, args);
    let Some(name) = name else {
        return plain_booleans(command, before);
    };
    let name = in_full(command, name);
    let (global, all) = (flags(command), all_flags(command));
    let (mut line, mut own) = (Vec::new(), Vec::new());
    let mut words = before.into_iter();
    line.extend(words.next());
    while let Some(word) = words.next() {
        let flag = flag(&word).unwrap_or_default();
        let known = all.get(&flag);
        let takes_next = known == Some(&true) && !is_joined(&word);
        let to = match known.is_some() && !global.contains_key(&flag) {
            true => &mut own,
            false => &mut line,
        };
        to.push(word);
        if takes_next {
            to.extend(words.next());
        }
    }
    let is_passed_on = name.to_str().is_some_and(|name| PASSED_ON.contains(&name));
    let is_help = name == "help";
    line.push(name);
    if is_passed_on {
        line.extend(own);
        line.extend(after);
        return line;
    }
    // From the target on the words are for the machine.
    let theirs = match line.last().is_some_and(|name| name == "ssh") {
        true => {
            let mut theirs = after.split_off(first_word(&all, &after).unwrap_or_else(|end| end));
            let names_machine =
                |word: &OsString| matches!(flag(word).as_deref(), Some("--machine" | "--unit"));
            let is_named = own.iter().chain(&after).any(names_machine);
            // There is no target then, and the command's own flags would be taken for ours.
            if is_named && theirs.first().is_some_and(|word| word != "--") {
                theirs.insert(0, "--".into());
            }
            theirs
        }
        false => Vec::new(),
    };
    let mut after = after.into_iter();
    if is_help {
        line.extend(after.next().map(|name| in_full(command, name)));
    }
    line.extend(own);
    line.extend(after);
    let mut line = plain_booleans(command, line);
    line.extend(theirs);
    line
}

/// The program and what stands before the command, the command, and what follows it.
fn split(command: &Command, mut args: Vec<OsString>) -> (Vec<OsString>, Option<OsString>, Vec<OsString>) {
    match place(command, &args) {
        Some(index) => {
            let mut after = args.split_off(index);
            let name = after.remove(0);
            (args, Some(name), after)
        }
        None => (args, None, Vec::new()),
    }
}

/// Where the command stands.
fn place(command: &Command, args: &[OsString]) -> Option<usize> {
    let words = args.get(1..).unwrap_or_default();
    first_word(&all_flags(command), words).ok().map(|index| index + 1)
}

/// Where the first word stands that is neither a flag nor the value of one, or, if there is none, where the flags end.
fn first_word(flags: &Flags, words: &[OsString]) -> Result<usize, usize> {
    let mut index = 0;
    loop {
        let Some(word) = words.get(index) else {
            return Err(words.len());
        };
        index += match flag(word) {
            None => return Ok(index),
            Some(flag) if flag == "--" => return Err(index),
            Some(flag) if flags.get(&flag) == Some(&true) && !is_joined(word) => 2,
            Some(_) => 1,
        };
    }
}

/// Writes the command's name in full into a line that is not finished, the program's name first.
pub(crate) fn spell_out(command: &Command, words: &mut [OsString]) {
    if let Some(word) = place(command, words).and_then(|index| words.get_mut(index)) {
        *word = in_full(command, std::mem::take(word));
    }
}

/// The name that a word stands for, if that is one: of what it could mean, fleet's goes first.
fn in_full(command: &Command, word: OsString) -> OsString {
    let Some(given) = word.to_str().filter(|given| !given.is_empty()) else {
        return word;
    };
    if command.get_subcommands().any(|known| known.get_name() == given) {
        return word;
    }
    let known = command.get_subcommands().map(Command::get_name);
    let of_fleet = only(OF_FLEET.into_iter(), given);
    of_fleet
        .or_else(|| only(known, given).filter(|name| !ONLY_IN_FULL.contains(name)))
        .map_or_else(|| word.clone(), OsString::from)
}

/// The one name that begins so.
fn only<'n>(names: impl Iterator<Item = &'n str>, beginning: &str) -> Option<&'n str> {
    let mut meant = names.filter(|name| name.starts_with(beginning));
    meant.next().filter(|_| meant.next().is_none())
}

/// `--fields` of `--fields=unit`, `-o` of `-ojson`.
fn flag(word: &OsStr) -> Option<String> {
    let word = word.to_str()?;
    if word.starts_with("--") {
        return Some(word.split('=').next().unwrap_or(word).to_owned());
    }
    let letter = word.strip_prefix('-')?.chars().next()?;
    Some(format!("-{letter}"))
}

/// Whether a flag has its value in the same word.
fn is_joined(word: &OsStr) -> bool {
    match word.to_str() {
        Some(word) if word.starts_with("--") => word.contains('='),
        Some(word) => word.chars().count() > 2,
        None => false,
    }
}

fn flags(command: &Command) -> Flags {
    let names = |arg: &Arg| {
        let long = arg.get_long().into_iter();
        let longs = long
            .chain(arg.get_all_aliases().unwrap_or_default())
            .map(|long| format!("--{long}"));
        let short = arg.get_short().into_iter();
        let shorts = short
            .chain(arg.get_all_short_aliases().unwrap_or_default())
            .map(|short| format!("-{short}"));
        longs.chain(shorts).collect::<Vec<_>>()
    };
    let takes_next = |arg: &Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    let arguments = command.get_arguments().filter(|arg| !arg.is_positional());
    arguments
        .flat_map(|arg| names(arg).into_iter().map(move |name| (name, takes_next(arg))))
        .collect()
}

/// Those of every command.
fn all_flags(command: &Command) -> Flags {
    let everywhere = command.get_subcommands().chain(std::iter::once(command));
    everywhere.flat_map(flags).collect()
}

/// Turns `--no-legend=true` into `--no-legend`, and leaves `--no-legend=false` out: what fleet's flags accepted.
fn plain_booleans(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let booleans = command.get_subcommands().chain(std::iter::once(command));
    let booleans: Vec<&str> = booleans
        .flat_map(Command::get_arguments)
        .filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue))
        .flat_map(|arg| {
            arg.get_long()
                .into_iter()
                .chain(arg.get_all_aliases().unwrap_or_default())
        })
        .collect();
    // `None`: as it is; `Some(None)`: left out.
    let plain = |arg: &OsString| {
        let (flag, value) = arg.to_str()?.strip_prefix("--")?.split_once('=')?;
        match (booleans.contains(&flag), value) {
            (true, "true" | "TRUE" | "True" | "t" | "T" | "1") => {
                Some(Some(OsString::from(format!("--{flag}"))))
            }
            (true, "false" | "FALSE" | "False" | "f" | "F" | "0") => Some(None),
            _ => None,
        }
    };
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let in_order = args.into_iter().enumerate();
    in_order
        .filter_map(|(index, arg)| match plain(&arg) {
            Some(replacement) if index < end => replacement,
            _ => Some(arg),
        })
        .collect()
}
