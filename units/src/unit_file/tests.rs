use super::*;

mod properties;

/// The options of a text as `[section] name=value` lines.
fn read(text: &str) -> Vec<String> {
    let file = UnitFile::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let options = file.options().iter();
    options
        .map(|option| format!("[{}] {}={}", option.section, option.name, option.value))
        .collect()
}

fn fault(text: &str) -> String {
    UnitFile::parse(text).unwrap_err().to_string()
}

fn option(section: &str, name: &str, value: &str) -> UnitOption {
    UnitOption::new(section, name, value)
}

/// fleet-reference §1.1, row by row: what is accepted and what it means.
#[test]
fn texts() {
    let table: &[(&str, &[&str])] = &[
        // Before the first section.
        ("", &[]),
        ("\n\n", &[]),
        ("A=b\n>>>>\n[S]\nA=c", &["[S] A=c"]),
        ("\u{feff}[S]\nA=b\n", &["[S] A=b"]),
        ("stray # [S]\n[T]\nA=b", &["[T] A=b"]),
        ("stray [S]\nA=b", &["[S] A=b"]),
        ("# [S] \\\n[T]\n[U]\nA=b", &["[U] A=b"]),
        // Section headers.
        ("[S] \t\nA=b", &["[S] A=b"]),
        ("  [S]\nA=b", &["[S] A=b"]),
        ("[ S ]\nA=b", &["[ S ] A=b"]),
        ("[S[T]\nA=b", &["[S[T] A=b"]),
        ("[S]\n[T]\nA=b", &["[T] A=b"]),
        // Comments.
        ("[S]\n# c\n ; c\nA=b\n\t#B=c", &["[S] A=b"]),
        ("[S]\n# c \\\nA=b\nB=c", &["[S] B=c"]),
        ("[S]\n# c \\ \nA=b\nB=c", &["[S] B=c"]),
        ("[S]\n# c \\\nA=b\\\nB=c\nC=d", &["[S] C=d"]),
        ("[S]\n# c \\\r\nA=b", &["[S] A=b"]),
        ("[S]\n# c \\", &[]),
        ("[S]\nA=b ; c # d", &["[S] A=b ; c # d"]),
        // Options.
        ("[S]\n  A \t=  b  c\t\n", &["[S] A=b  c"]),
        ("[S]\n<<<<=bar\nA B=c", &["[S] <<<<=bar", "[S] A B=c"]),
        ("[S]\nA=b=c", &["[S] A=b=c"]),
        ("[S]\nA=\nA=b\nA=", &["[S] A=", "[S] A=b", "[S] A="]),
        ("[S]\nA=", &["[S] A="]),
        ("[S]\nA=b]\nC=[d", &["[S] A=b]", "[S] C=[d"]),
        ("[s]\na=b\n[S]\nA=c", &["[s] a=b", "[S] A=c"]),
        ("[S]\nA=\u{a0}é\u{2003}", &["[S] A=é"]),
        // Continuation: kept as written.
        ("[S]\nA=b \\\n  c\nD=e", &["[S] A=b \\\n  c", "[S] D=e"]),
        ("[S]\nA=b\\\n# c\\\n;d\nE=f", &["[S] A=b\\\n# c\\\n;d", "[S] E=f"]),
        ("[S]\nA=b \\\n\nC=d", &["[S] A=b \\\n", "[S] C=d"]),
        ("[S]\nA=b \\\n \t\nC=d", &["[S] A=b \\\n", "[S] C=d"]),
        ("[S]\nA=\\\nb", &["[S] A=\\\nb"]),
        ("[S]\nA=b\\\n[T]\nC=d", &["[S] A=b\\\n[T]", "[S] C=d"]),
        ("[S]\nA=b\\\\\nC=d", &["[S] A=b\\\\\nC=d"]),
        // The end of the text ends a continued line just as an empty line does.
        ("[S]\nA=b \\", &["[S] A=b \\\n"]),
        ("[S]\nA=b \\\n", &["[S] A=b \\\n"]),
        // CRLF.
        ("[S]\r\nA=b\r\n\r\n# c\r\nB=c\r\n", &["[S] A=b", "[S] B=c"]),
        ("[S]\nA=b\\\nc\r\nD=e", &["[S] A=b\\\nc", "[S] D=e"]),
        // Sections are brought together.
        ("[S]\nA=1\n[T]\nB=2\n[S]\nC=3", &["[S] A=1", "[S] C=3", "[T] B=2"]),
    ];
    for (text, options) in table {
        assert_eq!(read(text), *options, "{text:?}");
    }
}

#[test]
fn lines_have_no_limit() {
    for length in [2047, 2048, 1 << 20] {
        let value = "x".repeat(length);
        assert_eq!(
            read(&format!("[S]\nA={value}\nB=c")),
            [format!("[S] A={value}"), "[S] B=c".to_owned()]
        );
    }
}

#[test]
fn faults_tell_where_and_what_was_expected() {
    let texts = [
        "[Unit",
        "\n  [Unit\nA=b]",
        "[]",
        "[Unit] x",
        "[Unit]#x",
        "[S]\nKey",
        "[S]\n\n  é Key  \r\nA=b",
        "[S]\nKey\rA=b",
        "[S]\n = b",
        "[S]\nA=b \\\r\nc",
        "[S]\nA=b\\\nc\\  \n",
        "[S]\nA=b\0c",
        &format!("[S]\n{}\n", "x".repeat(80)),
    ];
    insta::assert_snapshot!(texts.map(fault).join("\n"), @r##"
    line 1, column 6: expected "]" to end the section name, found the end of the line
    line 2, column 8: expected "]" to end the section name, found the end of the line
    line 1, column 2: expected a section name, found "]"
    line 1, column 8: expected the end of the line after [Unit], found "x"
    line 1, column 7: expected the end of the line after [Unit], found "#x"
    line 2, column 4: expected "=" after the option name "Key", found the end of the file
    line 3, column 8: expected "=" after the option name "é Key", found the end of the line
    line 2, column 4: expected "=" after the option name "Key", found a carriage return
    line 2, column 2: expected an option name, found "="
    line 2, column 6: expected the end of the line after "\", found blanks or a carriage return: the line would not be continued
    line 3, column 3: expected the end of the line after "\", found blanks or a carriage return: the line would not be continued
    line 2, column 4: expected text, found a NUL character
    line 2, column 81: expected "=" after the option name "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…", found the end of the line
    "##);
}

#[test]
fn skipped_text_is_noted() {
    let notes = |text| {
        let file = UnitFile::parse(text).unwrap();
        file.notes().iter().map(Note::to_string).collect::<Vec<_>>()
    };
    let preamble = "this stands before the first section and is ignored";
    let swallowed = "this is ignored: the comment before it ends in \"\\\" and goes on here";
    for (text, expected) in [
        ("\u{feff}# c\n\n[S]\nA=b\n# c\n", None),
        (
            "\n  A=b\nB=c\n[S]\nA=b",
            Some(format!("line 2, column 3: {preamble}")),
        ),
        ("x [S]\nA=b", Some(format!("line 1, column 1: {preamble}"))),
        ("\u{feff}A=b\n", Some(format!("line 1, column 2: {preamble}"))),
        (
            "[S]\n# c \\\n  A =b\n",
            Some(format!("line 3, column 3: {swallowed}")),
        ),
        (
            "[S]\n# c \\\n[T]\nA=b\n",
            Some(format!("line 3, column 1: {swallowed}")),
        ),
        // What a command that was commented out goes on with is no news.
        ("[S]\n# ExecStart=/bin/run \\\n  --env A=b \\\n  web\n", None),
        ("[S]\n# c \\\n# A=b\n", None),
    ] {
        assert_eq!(notes(text), Vec::from_iter(expected), "{text:?}");
    }
}

#[test]
fn positions() {
    let file = UnitFile::parse("[S]\n  A = b\n[T]\nB=\\\nc\n[S]\nC=").unwrap();
    let at = |line, column| Some(Position { line, column });
    let places: Vec<_> = (0..4)
        .map(|index| (file.position(index), file.value_position(index)))
        .collect();
    assert_eq!(
        places,
        [
            (at(2, 3), at(2, 7)),
            (at(7, 1), at(7, 3)),
            (at(4, 1), at(4, 3)),
            (None, None)
        ]
    );
    let file = UnitFile::from_options(file.into_options()).unwrap();
    assert_eq!((file.position(0), file.value_position(0)), (None, None));
}

#[test]
fn canonical_form() {
    for (text, canonical) in [
        ("", ""),
        ("[S]\n[T]\n", ""),
        (
            "# c\n\n[S]\n\n A = b \n[T]\nB=c\n[S]\nC=\n",
            "[S]\nA=b\nC=\n\n[T]\nB=c\n",
        ),
        ("[S]\nA=b \\\n\n[T]\nB=c", "[S]\nA=b \\\n\n\n[T]\nB=c\n"),
        ("[S]\nA=b \\", "[S]\nA=b \\\n\n"),
    ] {
        let file = UnitFile::parse(text).unwrap();
        assert_eq!(file.canonical(), canonical, "{text:?}");
        assert_eq!(UnitFile::parse(canonical).unwrap(), file);
    }
}

/// fleet-reference §1.2.
#[test]
fn hashes_are_those_of_fleet() {
    for (text, hash) in [
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (
            "[Service]\nExecStart=/bin/sleep 100\n",
            "1c6fb6f3684bafb0c173d8b8b957ceff031180c1",
        ),
        (
            "# c\n[Service]\n\n ExecStart = /bin/true",
            "86943ac9f3754cb90f8dd38bf6da7b0cad074592",
        ),
        (
            "[Unit]\nDescription=some description\n",
            "a0f275d46bc6ee0eca06be7c339913c07d99c0c7",
        ),
    ] {
        let file = UnitFile::parse(text).unwrap();
        assert_eq!(file.hash().to_string(), hash, "{text:?}");
        assert_eq!(file.hash().short(), &hash[..7]);
        assert_eq!(
            UnitFile::from_options(file.options().to_vec()).unwrap().hash(),
            file.hash()
        );
    }
}

#[test]
fn hashes_as_text() {
    let hash = UnitFile::default().hash();
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{hash}\""));
    for wrong in [
        "",
        "da39a3e",
        &hash.as_str().to_uppercase(),
        &format!("{hash} "),
        &hash.as_str().replace('d', "g"),
    ] {
        assert_eq!(wrong.parse::<Hash>(), Err(HashError(wrong.to_owned())));
        assert!(serde_json::from_value::<Hash>(wrong.into()).is_err());
    }
}

#[test]
fn questions() {
    let file = UnitFile::parse("[Unit]\nDescription=a\nDescription=b\n[Install]\nWantedBy=c").unwrap();
    assert_eq!(file.description(), Some("a"));
    assert_eq!(
        file.get_all("Unit", "Description").collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(file.get_all("unit", "Description").count(), 0);
    assert!(file.has_section("Install") && !file.has_section("Service") && !file.is_empty());
    assert!(UnitFile::default().is_empty() && UnitFile::default().description().is_none());
}

#[test]
fn options_that_no_file_can_hold_are_refused() {
    let table = [
        option("", "A", "b"),
        option("S]", "A", "b"),
        option("S\n", "A", "b"),
        option("S", " ", "b"),
        option("S", "A=B", "c"),
        option("S", "A\nB", "c"),
        option("S", " #A", "b"),
        option("S", ";A", "b"),
        option("S", "[A", "b"),
        option("S", "A", "b\nB=c"),
        option("S", "A", "b\\\r\nB=c"),
        option("S", "A", "b\\"),
        option("S", "A", "b\\ \n"),
        option("S", "A", "b\0"),
    ];
    let refusals = table.map(|wrong| {
        let options = vec![option("Service", "ExecStart", "/bin/true"), wrong];
        UnitFile::from_options(options).unwrap_err().to_string()
    });
    insta::assert_snapshot!(refusals.join("\n"), @r##"
    option 2 (section "", name "A"): expected a section name, found none
    option 2 (section "S]", name "A"): expected a section name without "]", line feed or NUL, found ']'
    option 2 (section "S\n", name "A"): expected a section name without "]", line feed or NUL, found '\n'
    option 2 (section "S", name " "): expected an option name, found none
    option 2 (section "S", name "A=B"): expected an option name without "=", line end or NUL, found '='
    option 2 (section "S", name "A\nB"): expected an option name without "=", line end or NUL, found '\n'
    option 2 (section "S", name " #A"): expected an option name, found '#' at its start, which begins a section or a comment
    option 2 (section "S", name ";A"): expected an option name, found ';' at its start, which begins a section or a comment
    option 2 (section "S", name "[A"): expected an option name, found '[' at its start, which begins a section or a comment
    option 2 (section "S", name "A"): expected "\" before each line feed of the value, found none
    option 2 (section "S", name "A"): expected "\" before each line feed of the value, found none
    option 2 (section "S", name "A"): expected a line feed after the "\" at the end of the value: it continues the line
    option 2 (section "S", name "A"): expected a line feed after the "\" at the end of the value: it continues the line
    option 2 (section "S", name "A"): expected a value without NUL characters
    "##);
}

#[test]
fn options_are_trimmed_and_put_in_order_as_reading_them_back_would() {
    let given = vec![
        option("S", " A ", " b \n"),
        option("T", "B", ""),
        option("S", "C", "d \\\n  e"),
        option("S", "D", "f \\\n"),
    ];
    let kept = [
        option("S", "A", "b"),
        option("S", "C", "d \\\n  e"),
        option("S", "D", "f \\\n"),
        option("T", "B", ""),
    ];
    let file = UnitFile::from_options(given).unwrap();
    assert_eq!(file.options(), kept);
    assert_eq!(UnitFile::parse(&file.canonical()).unwrap(), file);
}

#[test]
fn options_in_json_leave_out_what_is_empty() {
    let empty_value = option("S", "A", "");
    assert_eq!(
        serde_json::to_string(&empty_value).unwrap(),
        r#"{"section":"S","name":"A"}"#
    );
    assert_eq!(
        serde_json::from_str::<UnitOption>(r#"{"section":"S","name":"A","new":1}"#).unwrap(),
        empty_value
    );
}
