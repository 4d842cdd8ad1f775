//! fleet-reference §1, table by table: what a user of fleet 1.0 knows of unit files, names and `[X-Fleet]`, in the order
//! of that page. Input, then what comes of it. Where a quirk is fixed the row says so; docs/migrating-from-fleet.md
//! has them all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use units::{Parsed, Requirements, UnitFile, UnitName, UnitType, validate};

/// The options of a text as `[section] name=value` lines, or the error.
fn read(text: &str) -> String {
    let file = match UnitFile::parse(text) {
        Ok(file) => file,
        Err(error) => return format!("error: {error}"),
    };
    let options = file.options().iter();
    let lines = options.map(|o| format!("[{}] {}={}", o.section, o.name, o.value));
    lines.collect::<Vec<_>>().join("; ")
}

#[test]
fn section_1_1_the_parser() {
    let long = |n: usize| format!("[S]\n{}={}\n", "A", "x".repeat(n));
    for (topic, text, expected) in [
        // What stands before the first section.
        ("stray lines are skipped", "Key=Value\n>>>>\n[S]\nA=b", "[S] A=b"),
        ("a byte order mark is skipped", "\u{feff}[S]\nA=b", "[S] A=b"),
        (
            "a comment skips to the end of its line",
            "# [T]\n; [U]\n[S]\nA=b",
            "[S] A=b",
        ),
        // Section headers.
        ("blanks may follow", "[S] \t\nA=b", "[S] A=b"),
        (
            "nothing else may",
            "[S] x\nA=b",
            "error: line 1, column 5: expected the end of the line after [S], found \"x\"",
        ),
        (
            "it has to end",
            "[S\nA=b",
            "error: line 1, column 3: expected \"]\" to end the section name, found the end of the line",
        ),
        // Comments.
        (
            "# and ; as the first thing on a line",
            "[S]\n # c\n\t; c\nA=b",
            "[S] A=b",
        ),
        (
            "one that ends in a backslash swallows the next line",
            "[S]\n# c\\\nA=b\nB=c",
            "[S] B=c",
        ),
        ("none within a line", "[S]\nA=b ; c # d", "[S] A=b ; c # d"),
        // Options.
        (
            "name and value are trimmed",
            "[S]\n A \t = \t b \nB=c",
            "[S] A=b; [S] B=c",
        ),
        ("any name will do", "[S]\n<<<<=bar", "[S] <<<<=bar"),
        ("up to the first =", "[S]\nA=b=c", "[S] A=b=c"),
        (
            "a line without = (fleet: unexpected newline encountered while parsing option name)",
            "[S]\nA\nB=c",
            "error: line 2, column 2: expected \"=\" after the option name \"A\", found the end of the line",
        ),
        (
            "the end of the file before = (fleet: EOF)",
            "[S]\nA",
            "error: line 2, column 2: expected \"=\" after the option name \"A\", found the end of the file",
        ),
        // Continuation.
        (
            "is kept verbatim",
            "[S]\nA=b \\\n  c\nB=d",
            "[S] A=b \\\n  c; [S] B=d",
        ),
        (
            "a blank line ends it",
            "[S]\nA=b \\\n\nB=c",
            "[S] A=b \\\n; [S] B=c",
        ),
        (
            "what looks like a comment is value",
            "[S]\nA=b \\\n# c\nB=d",
            "[S] A=b \\\n# c; [S] B=d",
        ),
        // CRLF.
        ("carriage returns are trimmed", "[S]\r\nA=b\r\n", "[S] A=b"),
        (
            "a backslash before one does not continue: refused, for fleet read back something else",
            "[S]\nA=b \\\r\nB=c",
            "error: line 2, column 6: expected the end of the line after \"\\\", found blanks or a carriage return: \
             the line would not be continued",
        ),
        // Case, duplicates, escapes.
        (
            "sections and names are case-sensitive",
            "[s]\na=b\n[S]\nA=b",
            "[s] a=b; [S] A=b",
        ),
        (
            "all occurrences count, in order",
            "[S]\nA=b\nA=\nA=b",
            "[S] A=b; [S] A=; [S] A=b",
        ),
        (
            "nothing is unescaped",
            "[S]\nA=\"b\" 'c' \\x20 %%",
            "[S] A=\"b\" 'c' \\x20 %%",
        ),
        ("an empty file has no options", "", ""),
    ] {
        assert_eq!(read(text), expected, "{topic}");
    }
    // Fleet refused lines from 2048 bytes on; here there is no limit.
    for length in [2045, 2046, 5000] {
        assert!(
            read(&long(length)).ends_with('x'),
            "a line of {} bytes",
            length + 2
        );
    }
}

#[test]
fn section_1_1_the_canonical_form() {
    for (topic, text, canonical) in [
        (
            "sections in the order first seen, merged, a blank line between, none at the end",
            "# c\n[B]\nA=1\n\n[A]\nC = 2\n[B]\nD=3\n\n",
            "[B]\nA=1\nD=3\n\n[A]\nC=2\n",
        ),
        (
            "sections without options disappear",
            "[A]\n[B]\nC=d\n",
            "[B]\nC=d\n",
        ),
        ("empty assignments stay", "[A]\nB=\n", "[A]\nB=\n"),
        ("nothing of nothing", "# c\n", ""),
    ] {
        assert_eq!(UnitFile::parse(text).unwrap().canonical(), canonical, "{topic}");
    }
}

#[test]
fn section_1_2_the_hash() {
    for (text, hash) in [
        (
            "[Service]\nExecStart=/bin/sleep 100\n",
            "1c6fb6f3684bafb0c173d8b8b957ceff031180c1",
        ),
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (
            "[Service]\nExecStart=/bin/true\n",
            "86943ac9f3754cb90f8dd38bf6da7b0cad074592",
        ),
        (
            "[Unit]\nDescription=some description\n",
            "a0f275d46bc6ee0eca06be7c339913c07d99c0c7",
        ),
        // Comments and spacing do not count.
        (
            "# c\n[Service]\n\n ExecStart = /bin/true\n",
            "86943ac9f3754cb90f8dd38bf6da7b0cad074592",
        ),
        // examples/hello.service of fleet's repository.
        (
            "[Unit]\nDescription=Hello World\n\n[Service]\n\
             ExecStart=/bin/bash -c \"while true; do echo \\\"Hello, world\\\"; sleep 1; done\"\n",
            "e55c0aeb44ba0b68004ceb8a200e685194448b45",
        ),
    ] {
        let found = UnitFile::parse(text).unwrap().hash();
        let expected = (hash.to_owned(), &hash[..7]);
        assert_eq!((found.to_string(), found.short()), expected, "{text}");
    }
}

#[test]
fn section_1_3_names() {
    let long = format!("{}.service", "a".repeat(249));
    // In the order of the checks; the first that fails is told.
    for (name, message) in [
        ("", "unit name cannot be empty"),
        (&*long, "unit name exceeds maximum length (256)"),
        ("foo", "unit name must contain \".\""),
        ("foo.", "unit name cannot end in \".\""),
        ("foo.x", "invalid unit type: \"x\""),
        ("foo@.mount", "invalid unit type for template: \"mount\""),
        ("foo@1.automount", "invalid unit type for template: \"automount\""),
        ("foo bar.service", "invalid character ' ' in unit name"),
        ("foo@{1..3}.service", "invalid character '{' in unit name"),
        ("@.service", "unit name cannot start in \"@\""),
    ] {
        assert_eq!(
            UnitName::parse(name).unwrap_err().to_string(),
            message,
            "{name:?}"
        );
    }
    let suffixes =
        "automount busname device mount path scope service slice snapshot socket swap target timer";
    for suffix in suffixes.split(' ') {
        assert!(UnitName::parse(&format!("foo.{suffix}")).is_ok(), "{suffix}");
        let template = UnitName::parse(&format!("foo@.{suffix}")).is_ok();
        let may = ["path", "service", "socket", "target", "timer"].contains(&suffix);
        assert_eq!(template, may, "{suffix}");
    }
    assert_eq!(UnitType::ALL.map(UnitType::as_str).join(" "), suffixes);
    assert!(UnitName::parse(r"azAZ09:_.\@-.service").is_ok());
}

/// Quirk 1: all that systemd starts from a file runs, and everything else is refused.
#[test]
fn section_1_3_types() {
    let file = UnitFile::parse("[Unit]\nDescription=x\n").unwrap();
    for (suffix, runs) in [
        ("automount", true),
        ("busname", false),
        ("device", false),
        ("mount", true),
        ("path", true),
        ("scope", false),
        ("service", true),
        ("slice", true),
        ("snapshot", false),
        ("socket", true),
        ("swap", true),
        ("target", true),
        ("timer", true),
    ] {
        let checked = validate(&UnitName::parse(&format!("foo.{suffix}")).unwrap(), &file);
        assert_eq!(checked.is_ok(), runs, "{suffix}: {checked:?}");
        if let Err(error) = checked {
            let start = format!("unit type \"{suffix}\" is not supported (");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }
}

#[test]
fn section_1_3_arguments() {
    for (argument, name) in [
        ("foo", "foo.service"),
        ("foo.1", "foo.1.service"),
        ("dir/bar.socket", "bar.socket"),
        ("a.service", "a.service"),
        ("a.socket", "a.socket"),
        ("a.timer", "a.timer"),
        ("a.path", "a.path"),
        ("a.device", "a.device"),
        ("a.mount", "a.mount"),
        ("a.automount", "a.automount"),
        // Fleet appended .service to these.
        ("a.target", "a.target"),
        ("a.swap", "a.swap"),
        ("a.slice", "a.slice"),
    ] {
        assert_eq!(
            UnitName::from_argument(argument).unwrap().as_str(),
            name,
            "{argument}"
        );
    }
}

#[test]
fn section_1_4_templates_and_instances() {
    // name, prefix, instance, suffix, template of it, is a template
    for (text, prefix, instance, suffix, template, is_template) in [
        ("foo.service", "foo", None, "service", None, false),
        ("foo@.service", "foo", None, "service", None, true),
        (
            "foo@1.socket",
            "foo",
            Some("1"),
            "socket",
            Some("foo@.socket"),
            false,
        ),
        (
            "foo@bar@baz.service",
            "foo",
            Some("bar@baz"),
            "service",
            Some("foo@.service"),
            false,
        ),
        (
            "foo@a.b.timer",
            "foo",
            Some("a.b"),
            "timer",
            Some("foo@.timer"),
            false,
        ),
    ] {
        let name = UnitName::parse(text).unwrap();
        let parts = (name.prefix(), name.instance(), name.suffix(), name.is_template());
        assert_eq!(parts, (prefix, instance, suffix, is_template), "{text}");
        assert_eq!(name.template().as_ref().map(UnitName::as_str), template, "{text}");
    }
}

/// What `web@1.service` asks for with these lines, or the error.
fn asked(lines: &str) -> Result<Requirements, String> {
    let file = UnitFile::parse(&format!("[X-Fleet]\n{lines}\n")).unwrap();
    let parsed = Parsed::of(&UnitName::parse("web@1.service").unwrap(), &file);
    parsed.map(|p| p.requirements).map_err(|e| e.to_string())
}

const ID: &str = "0123456789abcdef0123456789abcdef";

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items
        .into_iter()
        .map(|i| i.to_string())
        .collect::<Vec<_>>()
        .join("|")
}

#[test]
fn section_1_5_values() {
    type Show = fn(Requirements) -> String;
    let machine_id: Show = |r| r.machine_id.unwrap_or_default();
    let metadata: Show = |r| list(r.metadata.into_iter().map(|(k, v)| format!("{k}={}", list(v))));
    let machine_of: Show = |r| list(r.machine_of);
    let conflicts: Show = |r| list(r.conflicts);
    let global: Show = |r| r.global.to_string();
    let replaces: Show = |r| list(r.replaces);
    let other = ID.replace('0', "f");
    for (lines, show, expected) in [
        // Multivalue.
        (
            "MachineOf=\"a.service\" \"b.service\"".to_owned(),
            machine_of,
            "a.service|b.service",
        ),
        (
            "MachineOf=a.service\nMachineOf=b.service".into(),
            machine_of,
            "a.service|b.service",
        ),
        ("MachineMetadata=\"a=b c\" \"d=e\"".into(), metadata, "a=b c|d=e"),
        ("Replaces=\"a\" \"b*\"".into(), replaces, "a|b*"),
        ("Conflicts=\"a b\" c".into(), conflicts, "\"a|b\"|c"),
        // Specifiers.
        (
            "MachineOf=%p-%i.service\nMachineOf=x-%N.service".into(),
            machine_of,
            "web-1.service|x-web@1.service",
        ),
        ("Conflicts=%n".into(), conflicts, "web@1.service"),
        ("Conflicts=%%p %b".into(), conflicts, "%web|%b"),
        // MachineID: the first value of the newest spelling.
        (format!("MachineID={ID}"), machine_id, ID),
        ("MachineID=01234567".into(), machine_id, "01234567"),
        (
            format!("X-ConditionMachineBootID={other}\nX-ConditionMachineID={ID}"),
            machine_id,
            ID,
        ),
        (
            format!("X-ConditionMachineID={other}\nMachineID={ID}\nMachineID={other}"),
            machine_id,
            ID,
        ),
        (format!("X-ConditionMachineBootID={ID}"), machine_id, ID),
        // MachineMetadata: keys all, values any; the old spelling first.
        (
            "MachineMetadata=a=b\nMachineMetadata=a=c\nX-ConditionMachineMetadata=d=e".into(),
            metadata,
            "a=b|c|d=e",
        ),
        // MachineOf: exact names.
        (
            "X-ConditionMachineOf=a.service\nMachineOf=b.service".into(),
            machine_of,
            "a.service|b.service",
        ),
        // Conflicts: split at any blanks, also the old spelling.
        ("Conflicts=a* b?\tc".into(), conflicts, "a*|b?|c"),
        ("X-Conflicts=a\nConflicts=b".into(), conflicts, "a|b"),
        // Global: the last value, a few words of truth, no old spelling.
        ("Global=true".into(), global, "true"),
        ("Global=YES".into(), global, "true"),
        ("Global=1".into(), global, "true"),
        ("Global=on".into(), global, "true"),
        ("Global=t".into(), global, "true"),
        ("Global=y".into(), global, "false"),
        ("Global=true\nGlobal=no".into(), global, "false"),
        ("X-Global=true".into(), global, "false"),
        // Replaces: not split at blanks, no old spelling.
        ("Replaces=a*\nReplaces=b".into(), replaces, "a*|b"),
        ("X-Replaces=a".into(), replaces, ""),
    ] {
        assert_eq!(show(asked(&lines).unwrap()), expected, "{lines}");
    }
    let file = UnitFile::parse("[X-Fleet]\nMachineof=a.service\n[x-fleet]\nGlobal=true\n").unwrap();
    let parsed = Parsed::of(&UnitName::parse("a.service").unwrap(), &file).unwrap();
    assert_eq!(
        parsed.requirements,
        Requirements::default(),
        "names are case-sensitive"
    );
    let warnings = list(parsed.warnings.iter().map(|w| &w.message));
    assert!(
        warnings.starts_with("unrecognized requirement in [X-Fleet] section: \"Machineof\""),
        "{warnings}"
    );
}

/// Quirk 3, and its like: what fleet dropped, and with it the constraint.
#[test]
fn section_1_5_malformed_values_are_refused() {
    for line in [
        "MachineMetadata=foo",
        "MachineMetadata=a=b=c",
        "MachineMetadata=a=",
        "MachineMetadata==b",
        "MachineOf=a b",
        "Conflicts=a[",
        "Replaces=a b",
        "Replaces=[",
    ] {
        let error = asked(line).unwrap_err();
        assert!(
            error.starts_with("line 2, column ") && error.contains("expected "),
            "{error}"
        );
    }
}

#[test]
fn section_1_5_patterns() {
    for (pattern, name, matches) in [
        ("web@*", "web@2.service", true),
        ("*", "a.service", true),
        ("web@?.service", "web@2.service", true),
        ("web@?.service", "web@22.service", false),
        ("[a-c].service", "b.service", true),
        ("[^a-c].service", "b.service", false),
        ("[^a-c].service", "d.service", true),
        (r"a\*.service", "ab.service", false),
        ("web", "web.service", false),
        ("web.service", "web.service", true),
    ] {
        let conflicts = asked(&format!("Conflicts={pattern}")).unwrap().conflicts;
        assert_eq!(conflicts[0].matches(name), matches, "{pattern} {name}");
    }
}

#[test]
fn section_1_5_combinations() {
    let id = format!("MachineID={ID}");
    let refused = [
        (
            "MachineOf=p.service\nConflicts=p*",
            "unresolvable requirements: peer \"p.service\" matches conflict \"p*\"",
        ),
        (
            "MachineOf=p.service\nReplaces=p*",
            "unresolvable requirements: peer \"p.service\" matches replace \"p*\"",
        ),
        ("%ID\nMachineOf=p.service", "MachineID cannot be used with Peers"),
        ("%ID\nConflicts=a", "MachineID cannot be used with Conflicts"),
        ("%ID\nGlobal=true", "MachineID cannot be used with Global"),
        ("%ID\nReplaces=a", "MachineID cannot be used with Replaces"),
        (
            "Global=true\nMachineOf=p.service",
            "Global cannot be used with Peers",
        ),
        ("Global=true\nReplaces=a", "Global cannot be used with Replaces"),
        (
            "Conflicts=a\nReplaces=b",
            "Conflicts cannot be used with Replaces",
        ),
        // The first that applies.
        (
            "%ID\nMachineOf=p.service\nConflicts=p*",
            "unresolvable requirements: peer \"p.service\" matches conflict \"p*\"",
        ),
        (
            "%ID\nGlobal=true\nReplaces=a\nConflicts=b",
            "MachineID cannot be used with Conflicts",
        ),
    ];
    for (lines, message) in refused {
        assert_eq!(asked(&lines.replace("%ID", &id)).unwrap_err(), message, "{lines}");
    }
    for lines in [
        "Global=true\nMachineMetadata=a=b",
        "Global=true\nConflicts=a",
        "%ID\nMachineMetadata=a=b",
        "MachineOf=p.service\nConflicts=a*",
        "MachineOf=p.service\nReplaces=a*",
    ] {
        assert!(asked(&lines.replace("%ID", &id)).is_ok(), "{lines}");
    }
}
