use super::*;
use crate::unit_file::UnitOption;

mod refusals;

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

/// Parses the lines of an `[X-Fleet]` section.
fn parse(unit: &str, lines: &str) -> Result<Parsed, RequirementError> {
    Parsed::of(
        &name(unit),
        &UnitFile::parse(&format!("[X-Fleet]\n{lines}")).unwrap(),
    )
}

fn requirements(unit: &str, lines: &str) -> Requirements {
    parse(unit, lines)
        .unwrap_or_else(|error| panic!("{lines}: {error}"))
        .requirements
}

fn warnings(lines: &str) -> Vec<Warning> {
    parse("web@1.service", lines).unwrap().warnings
}

fn messages(lines: &str) -> Vec<String> {
    warnings(lines).iter().map(Warning::to_string).collect()
}

fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

const ID: &str = "0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210";

#[test]
fn nothing_is_asked_for_unless_written() {
    assert_eq!(
        Parsed::of(&name("a.service"), &UnitFile::default()).unwrap(),
        Parsed::default()
    );
    let file =
        UnitFile::parse("[Unit]\nConflicts=a.service\n[x-fleet]\nGlobal=true\n[X-Fleet]\nglobal=true\n")
            .unwrap();
    assert_eq!(
        Parsed::of(&name("a.service"), &file).unwrap().requirements,
        Requirements::default(),
        "sections and keys are case-sensitive"
    );
}

#[test]
fn machine_id() {
    for (lines, expected) in [
        (format!("MachineID={ID}"), ID),
        ("MachineID=01234567".to_owned(), "01234567"),
        (format!("MachineID={ID}\nMachineID={OTHER_ID}"), ID),
        (format!("MachineID=\"{ID}\" \"{OTHER_ID}\""), ID),
        (format!("X-ConditionMachineID={ID}"), ID),
        (format!("X-ConditionMachineBootID={ID}"), ID),
        // The newest spelling wins, wherever it stands.
        (format!("X-ConditionMachineID={OTHER_ID}\nMachineID={ID}"), ID),
        (
            format!("X-ConditionMachineBootID={OTHER_ID}\nX-ConditionMachineID={ID}"),
            ID,
        ),
    ] {
        assert_eq!(
            requirements("a.service", &lines).machine_id.as_deref(),
            Some(expected),
            "{lines}"
        );
    }
    assert_eq!(
        requirements("a@01234567.service", "MachineID=%i")
            .machine_id
            .as_deref(),
        Some("01234567")
    );
    assert_eq!(
        messages(&format!("X-ConditionMachineID={OTHER_ID}\nMachineID={ID}")),
        [format!(
            "X-ConditionMachineID={OTHER_ID:?} is ignored: MachineID={ID:?} counts"
        )]
    );
    assert!(messages(&format!("MachineID={ID}\nMachineID={ID}")).is_empty());
}

#[test]
fn machine_metadata() {
    for (lines, expected) in [
        ("MachineMetadata=a=b", vec!["a=b"]),
        ("X-ConditionMachineMetadata=a=b", vec!["a=b"]),
        (
            "MachineMetadata=a=b\nMachineMetadata=a=c\nMachineMetadata=d=e",
            vec!["a=b|c", "d=e"],
        ),
        ("MachineMetadata=\"a=b\" \"a=c\" \"d=e\"", vec!["a=b|c", "d=e"]),
        ("MachineMetadata=\"a=b\"  \"d=e\"", vec!["a=b", "d=e"]),
        ("MachineMetadata=\"a=b c\"", vec!["a=b c"]),
        ("MachineMetadata=a=b c", vec!["a=b c"]),
        (
            "MachineMetadata=a=b\nX-ConditionMachineMetadata=a=c",
            vec!["a=b|c"],
        ),
        (
            "MachineMetadata=unit=%p\nMachineMetadata=shard=%i",
            vec!["shard=1", "unit=web"],
        ),
    ] {
        let metadata = requirements("web@1.service", lines).metadata;
        let found: Vec<String> = metadata
            .iter()
            .map(|(key, values)| format!("{key}={}", texts(values).join("|")))
            .collect();
        assert_eq!(found, expected, "{lines}");
    }
}

#[test]
fn machine_of() {
    for (lines, expected) in [
        ("MachineOf=a.service", vec!["a.service"]),
        (
            "X-ConditionMachineOf=a.service\nMachineOf=b.service",
            vec!["a.service", "b.service"],
        ),
        (
            "MachineOf=\"b.service\" \"a.service\"",
            vec!["a.service", "b.service"],
        ),
        ("MachineOf=db@%i.service", vec!["db@1.service"]),
        ("MachineOf=db@%i%%.service", vec![]),
    ] {
        match parse("web@1.service", lines) {
            Ok(parsed) => assert_eq!(texts(parsed.requirements.machine_of), expected, "{lines}"),
            Err(error) => assert!(expected.is_empty(), "{lines}: {error}"),
        }
    }
}

#[test]
fn conflicts() {
    for (lines, expected) in [
        ("Conflicts=a*", vec!["a*"]),
        ("Conflicts=a* \t b?", vec!["a*", "b?"]),
        ("Conflicts=\"a* c*\"  \"b?\"", vec!["a*", "c*", "b?"]),
        ("Conflicts=b\nX-Conflicts=a", vec!["a", "b"]),
        ("Conflicts=a \\\n  b\nConflicts=c", vec!["a", "b", "c"]),
        (
            "Conflicts=%p@*.service %n %N",
            vec!["web@*.service", "web@1.service", "web@1"],
        ),
    ] {
        assert_eq!(
            texts(requirements("web@1.service", lines).conflicts),
            expected,
            "{lines}"
        );
    }
    assert_eq!(requirements("a.service", "Conflicts=").conflicts, []);
    assert_eq!(messages("Conflicts="), ["Conflicts= is empty and has no effect"]);
}

#[test]
fn global() {
    for yes in ["true", "TRUE", "yes", "1", "on", "t", "T", "\"true\""] {
        assert!(
            requirements("a.service", &format!("Global={yes}")).global,
            "{yes}"
        );
        assert!(messages(&format!("Global={yes}")).is_empty());
    }
    for no in ["false", "No", "0", "off", "F"] {
        assert!(!requirements("a.service", &format!("Global={no}")).global, "{no}");
        assert!(messages(&format!("Global={no}")).is_empty());
    }
    for word in ["y", "enabled", "tru", "2", "", "true ; really"] {
        assert!(
            !requirements("a.service", &format!("Global={word}")).global,
            "{word}"
        );
        assert_eq!(
            messages(&format!("Global={word}")),
            [format!(
                "Global={word:?} means false: expected true, yes, 1, on or t"
            )]
        );
    }
    assert!(
        requirements("a.service", "Global=no\nGlobal=yes").global,
        "the last value wins"
    );
    assert!(!requirements("a.service", "Global=yes\nGlobal=no").global);
    assert!(
        !requirements("a.service", "X-Global=yes").global,
        "Global has no legacy spelling"
    );
}

#[test]
fn failure_domain() {
    let domains =
        |lines: &str| requirements("web@1.service", &format!("Conflicts=web@*\n{lines}")).failure_domain;
    assert_eq!(domains("FailureDomain=zone"), ["zone"]);
    assert_eq!(
        domains("FailureDomain=zone  rack\nFailureDomain=region\nFailureDomain=zone"),
        ["zone", "rack", "region"]
    );
    assert_eq!(domains("FailureDomain=a.b_C-1"), ["a.b_C-1"]);
    assert_eq!(domains("FailureDomain=%p"), ["web"]);
    assert_eq!(domains(""), [""; 0]);
}

/// fleet-reference §1.5: not split at blanks; several by quotes or repetition.
#[test]
fn replaces() {
    for (lines, expected) in [
        ("Replaces=web@*", &["web@*"][..]),
        ("Replaces=a?\nReplaces=[bc].service", &["a?", "[bc].service"]),
        ("Replaces=\"a\" \"b\"", &["a", "b"]),
        ("Replaces=%p-old@%i.service", &["web-old@1.service"]),
        ("X-Replaces=a", &[]),
    ] {
        let replaces = requirements("web@1.service", lines).replaces;
        assert_eq!(texts(replaces), expected, "{lines}");
    }
}

#[test]
fn spread() {
    for unit in ["web@1.service", "web@.service", "web.service"] {
        let spread = requirements(unit, "Spread=zone  region\nSpread=rack zone").spread;
        assert_eq!(spread, ["zone", "region", "rack"], "{unit}");
    }
    let warned = |unit| parse(unit, "Spread=zone").unwrap().warnings;
    assert_eq!(warned("web@1.service"), []);
    assert_eq!(warned("web@.service"), []);
    assert_eq!(
        texts(warned("web.service")),
        ["Spread= has no effect: web.service is no instance of a template"]
    );
}

#[test]
fn on_disconnect() {
    for lines in ["", "OnDisconnect=keep", "OnDisconnect=stop\nOnDisconnect=keep"] {
        assert_eq!(requirements("a.service", lines).on_disconnect, OnDisconnect::Keep);
    }
    for lines in ["OnDisconnect=stop", "OnDisconnect=keep\nOnDisconnect= stop"] {
        assert_eq!(requirements("a.service", lines).on_disconnect, OnDisconnect::Stop);
    }
}

/// fleet-reference §1.5, multivalue.
#[test]
fn quoted_values_are_split() {
    for (value, items) in [
        ("a", vec!["a"]),
        ("a b", vec!["a b"]),
        ("", vec![""]),
        ("\"", vec![""]),
        ("\"\"", vec![""]),
        ("\"a b\"", vec!["a b"]),
        ("\"a=b\" \"c=d\"", vec!["a=b", "c=d"]),
        ("\"a\"\t\"b\"", vec!["a\tb"]),
        ("\"a\"  \"b\"", vec!["a", "", "b"]),
        ("\"a\" b \"c\"", vec!["a", "b", "c"]),
        ("\"a\\\" b\"", vec!["a\\", "b"]),
        ("\"a\" b", vec!["\"a\" b"]),
        ("a \"b\"", vec!["a \"b\""]),
    ] {
        assert_eq!(values::items(value), items, "{value}");
    }
}

#[test]
fn specifiers_are_plain_text() {
    let replaced = |unit, item| texts(requirements(unit, &format!("Conflicts={item}")).conflicts);
    for (unit, item, expected) in [
        ("foo@bar.service", "%n", "foo@bar.service"),
        ("foo@bar.service", "%N", "foo@bar"),
        ("foo@bar.service", "%p", "foo"),
        ("foo@bar.service", "%i", "bar"),
        ("foo@bar@baz.service", "%p-%i", "foo-bar@baz"),
        ("foo.service", "%N-%p-%i-", "foo-foo--"),
        ("foo.service", "%%-%H-%m-%", "%%-%H-%m-%"),
        ("foo.service", "%%p", "%foo"),
        // Replaced one after the other, so that a replacement may make up another specifier.
        ("iron.service", "%%N", "ron"),
    ] {
        assert_eq!(replaced(unit, item), [expected], "{unit} {item}");
    }
}

#[test]
fn a_template_keeps_its_specifiers() {
    let lines = "MachineOf=db@%i.service\nConflicts=%p@* [%i\nMachineMetadata=shard=%i";
    let found = requirements("web@.service", lines);
    assert_eq!(texts(found.machine_of), ["db@%i.service"]);
    assert_eq!(texts(found.conflicts), ["%p@*"], "[%i is no pattern yet");
    assert!(parse("web@1.service", lines).is_err());
    assert_eq!(
        requirements("web@.service", "MachineID=%i").machine_id.as_deref(),
        Some("%i")
    );
    // What does not hang on the instance is checked.
    assert!(parse("web@.service", "MachineOf=db").is_err());
    assert!(parse("web@.service", "MachineMetadata=db").is_err());
}

#[test]
fn unknown_keys_and_sections_are_warned_of() {
    let file =
        "[X-Fleet]\nMachineof=a\nWeight=3\nMachineof=b\nX-Global=true\n[x-fleet]\nGlobal=1\n[Service]\nA=b\n";
    let parsed = Parsed::of(&name("a.service"), &UnitFile::parse(file).unwrap()).unwrap();
    let told = |warning: &Warning| {
        (
            warning.to_string(),
            warning.hint.clone(),
            warning.position.unwrap().line,
        )
    };
    let hint = |word: &str| Some(format!("did you mean {word}?"));
    let unrecognized = |key: &str| format!("unrecognized requirement in [X-Fleet] section: {key:?}");
    assert_eq!(
        parsed.warnings.iter().map(told).collect::<Vec<_>>(),
        [
            (unrecognized("Machineof"), hint("\"MachineOf\""), 2),
            (unrecognized("Weight"), None, 3),
            (unrecognized("X-Global"), hint("\"Global\""), 5),
            (
                "section [x-fleet] has no meaning to fleet".to_owned(),
                hint("[X-Fleet]"),
                7
            ),
        ]
    );
}

#[test]
fn skipped_text_is_warned_of() {
    let file = UnitFile::parse("Global=true\n[X-Fleet]\nGlobal=no\n").unwrap();
    let parsed = Parsed::of(&name("a.service"), &file).unwrap();
    assert_eq!(
        texts(parsed.warnings),
        ["line 1, column 1: this stands before the first section and is ignored"]
    );
}

#[test]
fn every_spelling_of_every_key_is_known() {
    for key in values::KEYS.concat() {
        let file = UnitFile::from_options(vec![UnitOption::new(SECTION, key, "x")]).unwrap();
        if let Ok(parsed) = Parsed::of(&name("a.service"), &file) {
            assert!(
                texts(parsed.warnings)
                    .iter()
                    .all(|warning| !warning.contains("unrecognized"))
            );
        }
    }
}
