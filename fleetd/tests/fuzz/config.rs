//! Any text of a `fleet.conf`, any `FLEET_*` variables, any command line of fleetd: a clear error, or what it says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use fleetd::arguments;
use fleetd::config::{Config, ConfigError, Effect, Value, Values, file, keys};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn key() -> impl Strategy<Value = String> {
    let known: Vec<&str> = keys::all()
        .map(|key| key.name)
        .chain(keys::WITHOUT_EFFECT.map(|(key, _)| key))
        .collect();
    prop_oneof![
        8 => prop::sample::select(known.clone()).prop_map(str::to_owned),
        1 => prop::sample::select(known).prop_map(str::to_uppercase),
        1 => "[a-z_=\\[ #]{0,8}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    let apt = [
        "",
        "0",
        "1",
        "100",
        "65535",
        "65536",
        "-1",
        "1e3",
        "true",
        "F",
        "yes",
        "15s",
        "1m30s",
        "2s",
        "1h",
        "1h1ns",
        "2.5s",
        "3000000001ns",
        "9999999999999999999999h",
        "1.1.1s",
        "15 s",
        "∞s",
        "http://a:1",
        "http://a:1,https://b:2",
        "[\"http://a:1\", 'http://b']",
        "[http://[::1]:1]",
        "http://[::1]",
        "\"http://a \"",
        "a:1",
        "10.0.0.1",
        "fd00::1",
        "10.0.0.256",
        "zone=a",
        "zone=a,disk=ssd",
        "a=b=c",
        "a=",
        "=a",
        "b=1,[a=2",
        "[a=b]",
        "/",
        "//",
        "/_coreos.com/fleet/",
        "/run/fleet/units",
        "units",
        "a b",
        "\"",
        "'",
        "\\",
        "ä#;\"'",
        "\u{feff}",
        "\u{2028}a=b",
    ];
    prop_oneof![
        4 => prop::sample::select(apt.to_vec()).prop_map(str::to_owned),
        1 => "[-a-z0-9=,:/.\\[\\]\"' \\\\#;äµ\t]{0,16}",
    ]
}

fn line() -> impl Strategy<Value = String> {
    let form = prop::sample::select(
        [
            "K=V",
            "K = V",
            "  K=V  ",
            "K=\"V\"",
            "K='V'",
            "K=V # said",
            "K='V' ; said",
            "K=V\\\nV",
            "#K=V",
            "K",
            "K=\"V",
            "[K]",
            "K=V\r",
            "\\",
            "",
        ]
        .to_vec(),
    );
    prop_oneof![
        12 => (form, key(), value()).prop_map(|(form, key, value)| form.replace('K', &key).replace('V', &value)),
        1 => "\\PC{0,24}",
    ]
}

/// One line that says where, what, and what instead.
fn check_error(error: &ConfigError, places: &[&str]) {
    let text = error.to_string();
    assert!(!text.contains('\n') || text.contains("is not allowed"), "{text}");
    assert!(places.iter().any(|place| text.starts_with(place)), "{text}");
    assert!(
        text.contains("expected ") || matches!(error, ConfigError::Syntax { .. }),
        "{text}"
    );
}

/// What was accepted is the same again when it is read from how it is shown: as variables, and as lines of a file.
fn check_shown(config: &Config) {
    let settings = config.settings();
    let bare = |c: &Config| Config {
        warnings: Vec::new(),
        ..c.clone()
    };
    let value = |(key, text): (&&str, &String)| {
        let (text, origin) = (text.clone(), String::new());
        ((*key).to_owned(), Value { text, origin })
    };
    let values: Values = settings.iter().map(value).collect();
    assert_eq!(Config::from_values(values), Ok(bare(config)));
    assert_eq!(config.changes(config), []);
    // A reload from any other one takes over what it can; the rest is still to do.
    let other = Config::default();
    let (now, later): (Vec<_>, Vec<_>) = other
        .changes(config)
        .into_iter()
        .partition(|change| change.effect == Effect::Now);
    assert_eq!(other.with(&now, config).changes(config), later);
    let mut text = String::new();
    for (key, value) in &settings {
        let quote = ['"', '\''].into_iter().find(|quote| !value.contains(*quote));
        let Some(quote) = quote.filter(|_| !value.contains(['\n', '\r'])) else {
            return;
        };
        text += &format!("{key}={quote}{value}{quote}\n");
    }
    let again = file::parse(&text, "f").and_then(Config::from_values);
    assert_eq!(again, Ok(bare(config)), "{text}");
}

proptest! {
    #[test]
    fn any_file_is_a_configuration_or_a_clear_error(lines in vec(line(), 0..8)) {
        let text = lines.join("\n");
        match file::parse(&text, "fleet.conf").and_then(Config::from_values) {
            Ok(config) => check_shown(&config),
            Err(error) => check_error(&error, &["fleet.conf line "]),
        }
    }

    #[test]
    fn a_file_that_is_right_but_for_one_line_is_refused_for_that_line(before in 0..4_usize, line in line()) {
        let text = "token_limit=7\n".repeat(before) + &line;
        let parsed = file::parse(&text, "fleet.conf").and_then(Config::from_values);
        if let Err(error) = parsed {
            check_error(&error, &["fleet.conf line "]);
            let place = error.to_string();
            let number: usize = place["fleet.conf line ".len()..].split(':').next().unwrap().parse().unwrap();
            prop_assert!(number > before, "{place} of {text:?}");
        }
    }

    #[test]
    fn any_variables_are_a_configuration_or_a_clear_error(
        text in btree_map(key(), value(), 0..4),
        bytes in btree_map(key(), vec(any::<u8>(), 0..6), 0..2),
    ) {
        let name = |key: String| format!("FLEET_{}", key.to_uppercase());
        let text = text.into_iter().map(|(key, value)| (name(key), OsString::from(value)));
        let bytes = bytes.into_iter().map(|(key, value)| (name(key), OsString::from_vec(value)));
        let environment: BTreeMap<String, OsString> = text.chain(bytes).collect();
        // No file: what /etc/fleet of this machine says is nobody's business here.
        match Config::load("/dev/null".as_ref(), true, &environment) {
            Ok(config) => check_shown(&config),
            Err(error) => check_error(&error, &["FLEET_"]),
        }
    }

    #[test]
    fn any_command_line_is_understood_or_refused(
        words in vec(
            prop_oneof![
                4 => prop::sample::select(
                    [
                        "-config", "--config", "-config=", "-config=/x", "--config=/x", "--config=", "-version", "--version",
                        "version", "--version=1", "-v", "-h", "--help", "-help", "help", "--", "-", "", "/x", "bootstrap",
                        "init", "join", "leave", "guard", "gateway", "--dry-run",
                    ]
                    .to_vec(),
                )
                .prop_map(|word| word.as_bytes().to_vec()),
                1 => vec(any::<u8>(), 0..6),
            ],
            0..4,
        ),
    ) {
        let line: Vec<OsString> = [b"fleetd".to_vec()].into_iter().chain(words).map(OsString::from_vec).collect();
        match arguments::parse(line.clone()) {
            // To be the daemon takes nothing, or --config and a file.
            Ok(arguments) if arguments.command.is_none() && !arguments.version => {
                let says_nothing = line.iter().skip(1).all(|word| word == "--");
                prop_assert!(arguments.config.is_some() || says_nothing, "{:?}", line);
            }
            Ok(_) => {}
            Err(error) => {
                prop_assert!(matches!(error.exit_code(), 0 | 2));
                // With 2 it goes to stderr, and says what is wrong or how it is meant.
                prop_assert_eq!(error.use_stderr(), error.exit_code() == 2);
                let text = error.to_string();
                prop_assert!(error.exit_code() == 0 || text.contains("error: ") || text.contains("Usage: "), "{}", text);
            }
        }
    }
}
