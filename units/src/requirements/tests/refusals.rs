//! What is refused, and in which words.

use super::*;
use proptest::prelude::*;

fn refusal(unit: &str, lines: &str) -> String {
    match parse(unit, lines) {
        Ok(parsed) => panic!("{lines:?} was accepted: {parsed:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn malformed_values() {
    let refusals = [
        "MachineID=",
        "MachineID=abc",
        "MachineID=0123456789ABCDEF0123456789ABCDEF",
        "X-ConditionMachineBootID=7c4b1f0e-4a3c-4a39-9d7a-3b7f0a2b1c9d",
        "\nMachineMetadata=foo",
        "MachineMetadata=a=b=c",
        "MachineMetadata=a=",
        "MachineMetadata=",
        "MachineMetadata=\"a=b\" \"=d\"",
        "MachineMetadata=a=b \\\nc",
        "MachineMetadata=\" a=b\"",
        "MachineOf=",
        "MachineOf=\"a.service\"  \"b.service\"",
        "MachineOf=a.service b.service",
        "MachineOf=a",
        "MachineOf=db@.service",
        "X-ConditionMachineOf=%n",
        "Conflicts=a* b[",
        "X-Conflicts=é[-a]",
        "Replaces=",
        "Replaces=a* b*",
        "Replaces=[]",
        "Conflicts=a\nFailureDomain=",
        "Conflicts=a\nFailureDomain=zone=a",
        "Spread=zone,region",
        "OnDisconnect=Stop",
        "OnDisconnect=",
    ];
    insta::assert_snapshot!(refusals.map(|lines| refusal("web@1.service", lines)).join("\n"), @r#"
    line 2, column 11: MachineID="": expected a machine id, 32 lower-case hexadecimal digits, or its first 8
    line 2, column 11: MachineID="abc": expected a machine id, 32 lower-case hexadecimal digits, or its first 8
    line 2, column 11: MachineID="0123456789ABCDEF0123456789ABCDEF": expected a machine id, 32 lower-case hexadecimal digits, or its first 8
    line 2, column 26: X-ConditionMachineBootID="7c4b1f0e-4a3c-4a39-9d7a-3b7f0a2b1c9d": expected a machine id, 32 lower-case hexadecimal digits, or its first 8
    line 3, column 17: MachineMetadata="foo": expected key=value with one "="; for several, quote each or repeat the key
    line 2, column 17: MachineMetadata="a=b=c": expected key=value with one "="; for several, quote each or repeat the key
    line 2, column 17: MachineMetadata="a=": expected key=value with one "="; for several, quote each or repeat the key
    line 2, column 17: MachineMetadata="": expected key=value with one "="; for several, quote each or repeat the key
    line 2, column 17: MachineMetadata="=d": expected key=value with one "="; for several, quote each or repeat the key
    line 2, column 17: MachineMetadata="a=b \\\nc": expected key=value with one "="; for several, quote each or repeat the key
    line 2, column 17: MachineMetadata=" a=b": expected key=value with one "="; for several, quote each or repeat the key
    line 2, column 11: MachineOf="": expected a unit name (unit name cannot be empty); for several, quote each or repeat the key
    line 2, column 11: MachineOf="": expected a unit name (unit name cannot be empty); for several, quote each or repeat the key
    line 2, column 11: MachineOf="a.service b.service": expected a unit name (invalid character ' ' in unit name); for several, quote each or repeat the key
    line 2, column 11: MachineOf="a": expected a unit name (unit name must contain "."); for several, quote each or repeat the key
    line 2, column 11: MachineOf="db@.service": expected another unit, and one that can run
    line 2, column 22: X-ConditionMachineOf="web@1.service": expected another unit, and one that can run
    line 2, column 11: Conflicts="b[": at character 3 of the pattern, expected "]" to end the class
    line 2, column 13: X-Conflicts="é[-a]": at character 3 of the pattern, expected a character of the class; "-" and "]" need "\" before them
    line 2, column 10: Replaces="": expected a pattern without blanks; for several, quote each or repeat the key
    line 2, column 10: Replaces="a* b*": expected a pattern without blanks; for several, quote each or repeat the key
    line 2, column 10: Replaces="[]": at character 2 of the pattern, expected a character of the class; "-" and "]" need "\" before them
    line 3, column 15: FailureDomain="": expected metadata keys of letters, digits, "_", "." and "-", separated by blanks
    line 3, column 15: FailureDomain="zone=a": expected metadata keys of letters, digits, "_", "." and "-", separated by blanks
    line 2, column 8: Spread="zone,region": expected metadata keys of letters, digits, "_", "." and "-", separated by blanks
    line 2, column 14: OnDisconnect="Stop": expected keep or stop
    line 2, column 14: OnDisconnect="": expected keep or stop
    "#);
}

#[test]
fn contradictions_in_fleets_words() {
    let id = format!("MachineID={ID}");
    for (lines, message) in [
        (
            "MachineOf=a.service\nConflicts=b a*",
            "unresolvable requirements: peer \"a.service\" matches conflict \"a*\"",
        ),
        (
            "MachineOf=a.service\nReplaces=a*",
            "unresolvable requirements: peer \"a.service\" matches replace \"a*\"",
        ),
        (
            "MachineOf=b@%i.service\nConflicts=b@1.*",
            "unresolvable requirements: peer \"b@1.service\" matches conflict \"b@1.*\"",
        ),
        (
            &*format!("{id}\nMachineOf=a.service"),
            "MachineID cannot be used with Peers",
        ),
        (
            &*format!("{id}\nConflicts=a"),
            "MachineID cannot be used with Conflicts",
        ),
        (
            &*format!("{id}\nGlobal=true"),
            "MachineID cannot be used with Global",
        ),
        (
            &*format!("{id}\nReplaces=a"),
            "MachineID cannot be used with Replaces",
        ),
        (
            "Global=true\nMachineOf=a.service",
            "Global cannot be used with Peers",
        ),
        ("Global=true\nReplaces=a", "Global cannot be used with Replaces"),
        (
            "Conflicts=a\nReplaces=b",
            "Conflicts cannot be used with Replaces",
        ),
        // The first that applies.
        (
            &*format!("Replaces=c\nGlobal=true\nConflicts=b\n{id}"),
            "MachineID cannot be used with Conflicts",
        ),
        // Ours.
        (
            "FailureDomain=zone",
            "FailureDomain needs Conflicts: it says how far they reach, and does nothing alone",
        ),
        (
            "FailureDomain=zone\nConflicts=",
            "FailureDomain needs Conflicts: it says how far they reach, and does nothing alone",
        ),
        (
            &*format!("{id}\nFailureDomain=zone"),
            "MachineID cannot be used with FailureDomain",
        ),
        (
            "Global=true\nConflicts=a\nFailureDomain=zone",
            "Global cannot be used with FailureDomain",
        ),
        (
            &*format!("{id}\nSpread=zone"),
            "MachineID cannot be used with Spread",
        ),
        ("Global=true\nSpread=zone", "Global cannot be used with Spread"),
    ] {
        assert_eq!(refusal("web@1.service", lines), message, "{lines}");
    }
    assert_eq!(
        refusal("web@.service", "MachineOf=b@%i.service\nConflicts=b@*"),
        "unresolvable requirements: peer \"b@%i.service\" matches conflict \"b@*\"",
        "a template is checked as written"
    );
}

#[test]
fn what_fleet_allows_together() {
    let id = format!("MachineID={ID}");
    for lines in [
        "Global=true\nMachineMetadata=a=b",
        "Global=true\nConflicts=a",
        &*format!("{id}\nMachineMetadata=a=b"),
        &*format!("{id}\nGlobal=false"),
        "MachineOf=a.service\nConflicts=b*",
        "MachineOf=a.service\nMachineMetadata=a=b",
        "Conflicts=web@*",
        "OnDisconnect=keep\nGlobal=true",
        "OnDisconnect=stop\nGlobal=true",
        "OnDisconnect=stop\nConflicts=b*",
        "Conflicts=web@*\nFailureDomain=zone\nMachineMetadata=a=b",
        "MachineOf=a.service\nReplaces=b*",
        "MachineMetadata=a=b\nReplaces=b*",
        "Spread=zone\nConflicts=a",
        "Spread=zone\nReplaces=a",
    ] {
        requirements("web@1.service", lines);
    }
}

#[test]
fn options_that_came_without_text_are_told_of_by_number() {
    let options = vec![
        UnitOption::new("Service", "ExecStart", "/bin/true"),
        UnitOption::new(SECTION, "MachineOf", "a"),
    ];
    let file = UnitFile::from_options(options).unwrap();
    let error = Requirements::parse(&name("a.service"), &file).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("option 2: MachineOf=\"a\": expected a unit name"),
        "{error}"
    );
    assert_eq!(
        error.location(),
        Some(Location {
            option: 1,
            position: None
        })
    );
}

#[test]
fn the_check_at_submit() {
    let file = UnitFile::parse("[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineMetadata=a").unwrap();
    for (unit, file, message) in [
        (
            "a.service",
            &UnitFile::default(),
            "unit file is empty: expected at least one option",
        ),
        (
            "a.device",
            &UnitFile::default(),
            "unit type \"device\" is not supported (the kernel makes devices, and udev tells systemd of them): \
             expected automount, mount, path, service, slice, socket, swap, target or timer",
        ),
        (
            "a.scope",
            &file,
            "unit type \"scope\" is not supported (programs make scopes for processes they have started): \
             expected automount, mount, path, service, slice, socket, swap, target or timer",
        ),
        (
            "a.snapshot",
            &file,
            "unit type \"snapshot\" is not supported (systemd has none of these any more): \
             expected automount, mount, path, service, slice, socket, swap, target or timer",
        ),
        (
            "a--b.slice",
            &file,
            "a--b.slice is no name of a slice: expected parts joined by a \"-\", each the slice within the one before",
        ),
    ] {
        assert_eq!(validate(&name(unit), file).unwrap_err().to_string(), message);
    }
    let error = validate(&name("a.service"), &file).unwrap_err();
    assert!(
        matches!(
            error,
            ValidateError::Requirement(RequirementError::Malformed { .. })
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("line 4, column 17: MachineMetadata=\"a\": expected key=value"),
        "{error}"
    );
    for kind in crate::UnitType::ALL {
        let file = UnitFile::parse("[Unit]\nDescription=a").unwrap();
        assert_eq!(
            validate(&name(&format!("a.{kind}")), &file).is_ok(),
            kind.is_supported()
        );
    }
    for (unit, is_slice) in [
        ("a-b-c.slice", true),
        ("-.slice", true),
        ("-a.slice", false),
        ("a-.slice", false),
    ] {
        let file = UnitFile::parse("[Slice]\nCPUWeight=10").unwrap();
        assert_eq!(validate(&name(unit), &file).is_ok(), is_slice, "{unit}");
    }
}

/// systemd.mount(5), systemd.automount(5), systemd.swap(5): the name is the path.
#[test]
fn mounts_automounts_and_swaps_are_named_by_their_path() {
    for (unit, text) in [
        ("mnt-a.mount", "[Mount]\nWhat=tmpfs\nWhere=/mnt/a"),
        ("mnt-a.mount", "[Mount]\nWhat=tmpfs\nWhere=//mnt/a/"),
        ("mnt-a.mount", "[Mount]\nWhat=tmpfs\nWhere=/other\nWhere=/mnt/a"),
        ("mnt-a.automount", "[Automount]\nWhere=/mnt/a"),
        (r"mnt-a\x2db.mount", "[Mount]\nWhere=/mnt/a-b"),
        ("dev-sda2.swap", "[Swap]\nWhat=/dev/sda2"),
        // Without, systemd takes the path from the name; what it works out later is left to it.
        ("mnt-a.mount", "[Mount]\nWhat=tmpfs"),
        ("mnt-a.mount", "[Mount]\nWhere=/other\nWhere="),
        ("mnt-a.mount", "[Mount]\nWhere=%t/a"),
        ("dev-disk-by\\x2duuid-1.swap", "[Swap]\nWhat=UUID=1"),
        // Not the keys of this type.
        ("mnt-a.mount", "[Mount]\nWhat=/dev/sda2"),
        ("mnt-a.service", "[Mount]\nWhere=/other"),
    ] {
        let checked = validate(&name(unit), &UnitFile::parse(text).unwrap());
        assert!(checked.is_ok(), "{unit}: {text}: {checked:?}");
    }
    for (unit, text, message) in [
        (
            "scratch.mount",
            "[Mount]\nWhat=tmpfs\nWhere = /mnt/scratch",
            "line 3, column 9: Where=\"/mnt/scratch\": expected /scratch, for systemd wants the name to say the path; \
             the mount of this one is mnt-scratch.mount",
        ),
        (
            "mnt-my-data.automount",
            "[Automount]\nWhere=/mnt/my-data",
            "line 2, column 7: Where=\"/mnt/my-data\": expected /mnt/my/data, for systemd wants the name to say the path; \
             the automount of this one is mnt-my\\x2ddata.automount",
        ),
        (
            "a--b.swap",
            "[Swap]\nWhat=/dev/sda2",
            "line 2, column 6: What=\"/dev/sda2\": expected another name, for systemd wants it to say the path; \
             the swap of this one is dev-sda2.swap",
        ),
    ] {
        let error = validate(&name(unit), &UnitFile::parse(text).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

proptest! {
    #[test]
    fn any_section_is_read_or_refused_in_one_line(
        options in proptest::collection::vec(
            (prop::sample::select(values::KEYS.concat()), "[a-c%inNp@.*\\[\\]\" =0\u{e9}-]{0,10}(\\\\\n)?[a ]{0,2}"), 0..5,
        ),
        unit in "[a-c]{1,2}(@[a-c]?)?\\.(service|timer|socket)",
    ) {
        let options = options.into_iter().map(|(key, value)| UnitOption::new(SECTION, key, value)).collect();
        if let Ok(file) = UnitFile::from_options(options)
            && let Err(error) = validate(&name(&unit), &file)
        {
            prop_assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
