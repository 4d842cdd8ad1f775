//! What is shipped about the keys says what the table says: `fleet.conf`, its manual page, the documentation.
//!
//! `FLEET_WRITE_SHIPPED=1 cargo test -p fleetd shipped` writes the first two.

use std::fmt::Write as _;
use std::path::Path;

use super::keys::{self, Group, SECTIONS, Takes, WITHOUT_EFFECT};
use super::{Config, file};

/// Names of keys, for a sentence.
fn names(takes: Takes) -> String {
    let names: Vec<&str> = keys::all().filter(|k| k.takes == takes).map(|k| k.name).collect();
    names.join(", ")
}

/// Words on lines of at most 120 columns, each with `before`.
fn wrapped(text: &str, before: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= 120 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{before}{word}")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn conf() -> String {
    let mut text = wrapped(
        "fleetd's configuration, see fleet.conf(5). Each line that begins with #key= shows a key and its default: take \
         the # away to change it. FLEET_<KEY> in the environment of fleet.service wins over this file. A wrong value \
         keeps fleetd from starting and is named with its line.",
        "# ",
    );
    text += "#\n";
    text += &wrapped(
        &format!(
            "`systemctl reload fleet` puts these into force: {}. Everything else needs `systemctl restart fleet`. \
             Neither touches a unit; `systemctl stop fleet` is another thing: the machine leaves the cluster.",
            names(Takes::Reload)
        ),
        "# ",
    );
    for section in SECTIONS {
        let _ = writeln!(
            text,
            "\n# --- {} {}",
            section.title,
            "-".repeat(113 - section.title.len())
        );
        for Group { keys, about } in section.groups {
            text += "\n";
            text += &wrapped(about, "# ");
            for key in *keys {
                let _ = writeln!(text, "#{}={}", key.name, key.default);
            }
        }
    }
    let without: Vec<&str> = WITHOUT_EFFECT.iter().map(|(key, _)| *key).collect();
    text += "\n";
    text += &wrapped(
        &format!(
            "Keys of fleet 1.0 that are accepted with a warning and have no effect: {}.",
            without.join(", ")
        ),
        "# ",
    );
    text
}

/// Text as roff takes it literally (groff_char(7)).
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    text.replace('\'', "\\(aq").replace('`', "\\(ga")
}

fn manual() -> String {
    let mut text = String::from(
        ".\\\" Made from the table of keys in fleetd/src/config/keys.rs: see shipped.rs beside it.\n\
         .TH FLEET.CONF 5 \"\" fleet \"fleet\"\n\
         .SH NAME\n\
         fleet.conf \\- configuration of fleetd\n\
         .SH SYNOPSIS\n\
         .I /etc/fleet/fleet.conf\n\
         .SH DESCRIPTION\n",
    );
    let paragraphs = [
        "Each line is key=value, outside of any section. Keys are in upper or lower case. A value may stand in double or \
         single quotes, which are taken away; nothing inside of them is special. A value without quotes ends at # or ;. A \
         line that ends in \\ goes on with the next one. Lines that begin with # or ; are comments. Of several lines for \
         one key the last one counts. Lists are separated by commas; brackets around them and quotes around each item \
         are taken away.",
        "A variable FLEET_KEY (the key in upper case) in the environment of fleetd wins over the file, even if it is \
         empty; the file wins over the default. Another file is named by fleetd --config PATH; without that option the \
         file need not exist.",
        "A value that is not allowed, and a line that is none of the above, keep fleetd from starting: the message names \
         the line, the key and what is allowed. A key that is not known is a warning in the journal.",
        "systemctl reload fleet (SIGHUP) reads the file again, and says in the journal of each changed key whether it \
         took effect or needs systemctl restart fleet. If anything is wrong with the file nothing is changed. Variables \
         are those that fleetd was started with. No unit is touched by a reload or a \
         restart, unless the new metadata rule it out on this machine.",
    ];
    text += &paragraphs.map(|p| format!("{}\n", roff(p))).join(".PP\n");
    text += ".SH OPTIONS\n";
    for section in SECTIONS {
        let _ = writeln!(text, ".SS {}", roff(section.title));
        for Group { keys, about } in section.groups {
            for (nr, key) in keys.iter().enumerate() {
                let tag = if nr == 0 { ".TP" } else { ".TQ" };
                let _ = writeln!(text, "{tag}\n.B {}=", roff(key.name));
            }
            let takes = match keys[0].takes {
                Takes::Reload => "A reload puts it into force.",
                Takes::Restart => "Needs a restart.",
            };
            let _ = writeln!(text, "{}\n{takes}", roff(about));
            match keys {
                [key] if !key.default.is_empty() => {
                    let _ = writeln!(text, "Default: {}.", roff(key.default));
                }
                _ => {}
            }
        }
    }
    text += ".SS Keys of fleet 1.0 without effect\nThey are accepted with a warning.\n";
    for (key, why) in WITHOUT_EFFECT {
        let _ = writeln!(text, ".TP\n.B {}=\n{}.", roff(key), roff(why));
    }
    text += ".SH SEE ALSO\n.BR fleetd (8),\n.BR fleetctl (1),\n.BR systemctl (1)\n";
    text
}

/// The shipped file below `fleetd/dist` is what the table makes.
fn check(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(file);
    if std::env::var_os("FLEET_WRITE_SHIPPED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shipped == made,
        "dist/{file} is not what the table of keys makes: FLEET_WRITE_SHIPPED=1 cargo test -p fleetd shipped"
    );
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    let made = conf();
    check("fleet.conf", &made);
    let load = |text: &str| Config::from_values(file::parse(text, "fleet.conf")?);
    assert_eq!(load(&made), Ok(Config::default()), "as it is shipped");
    let uncommented = |line: &str| {
        Some(line.strip_prefix('#')?.to_owned()).filter(|l| l.contains('=') && !l.starts_with(' '))
    };
    let set: Vec<String> = made.lines().filter_map(uncommented).collect();
    assert_eq!(set.len(), keys::all().count());
    assert_eq!(
        load(&set.join("\n")),
        Ok(Config::default()),
        "with every # taken away"
    );
}

#[test]
fn the_manual_page_has_every_key() {
    let made = manual();
    check("man/fleet.conf.5", &made);
    for name in keys::all()
        .map(|k| k.name)
        .chain(WITHOUT_EFFECT.map(|(name, _)| name))
    {
        assert!(made.contains(&format!("\n.B {name}=\n")), "{name}");
    }
    // A line that begins with a dot or a quote would be an order to roff.
    let requests = [".\\\"", ".TH", ".SH", ".SS", ".TP", ".TQ", ".B", ".PP", ".I "];
    for line in made.lines().filter(|line| line.starts_with(['.', '\''])) {
        assert!(requests.iter().any(|request| line.starts_with(request)), "{line}");
    }
}

#[test]
fn the_documentation_has_every_key_with_its_default() {
    let page = include_str!("../../../docs/migrating-from-fleet.md");
    let section = page
        .split("\n## ")
        .find(|s| s.starts_with("`fleet.conf`"))
        .unwrap();
    for key in keys::all() {
        let mut rows = section.lines().filter(|line| line.starts_with('|'));
        let row = rows.find(|line| {
            line.split('|')
                .nth(1)
                .is_some_and(|c| c.contains(&format!("`{}`", key.name)))
        });
        let cells: Vec<&str> = row
            .unwrap_or_else(|| panic!("{} is missing", key.name))
            .split('|')
            .collect();
        let default = cells[2];
        let shown = match key.default {
            "" => default.contains("empty") || default.contains("found"),
            text => default.contains(text),
        };
        assert!(shown, "{}: default {default}", key.name);
        let reload = cells[3].trim();
        assert_eq!(
            reload,
            if key.takes == Takes::Reload {
                "reload"
            } else {
                "restart"
            },
            "{}",
            key.name
        );
    }
    for (key, _) in WITHOUT_EFFECT {
        assert!(section.contains(&format!("`{key}`")), "{key}");
    }
}
