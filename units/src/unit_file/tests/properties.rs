//! What holds for every unit file.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Texts made of what the reader looks at.
fn text() -> impl Strategy<Value = String> {
    let pieces = [
        "[S]", "[", "]", "=", "\\", "\n", "\n", "\r", " ", "\t", "#", ";", "A", "é", "\u{a0}", "\u{feff}",
        "A=b\n",
    ];
    vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

/// An option a unit file can hold, as it is read.
fn plain_option() -> impl Strategy<Value = UnitOption> {
    let value = prop_oneof![
        6 => "([a-zé%/\"=#;\\[\\]][a-z \"\\]\\\\]{0,8})?[a-z]?",
        1 => "[a-z]{1,3} \\\\\n *# ?[a-z]{1,3}",
        1 => "[a-z]{1,3} \\\\\n",
    ];
    let value = value.prop_filter("read as given", |value| !value.ends_with(['\\', ' ']));
    ("[A-CX-]{1,2}", "[A-Z<][a-zA-Z <-]{0,4}[a-z]", value)
        .prop_map(|(section, name, value)| UnitOption::new(section, name, value))
}

/// Blank lines and comments.
fn noise() -> impl Strategy<Value = String> {
    vec(
        prop::sample::select(vec!["", " \t", "# A=b", " ;[S]", "# c \\\n swallowed"]),
        0..3,
    )
    .prop_map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
}

/// The options as somebody may have typed them.
fn written(options: &[UnitOption]) -> impl Strategy<Value = String> + use<> {
    let options = options.to_vec();
    let style = (
        noise(),
        noise(),
        any::<bool>(),
        "[ \t]{0,2}",
        "[ \t]{0,2}",
        "[ \t]{0,2}(\r)?",
    );
    vec(style, options.len()).prop_map(move |styles| {
        let mut text = String::from("\u{feff}");
        let mut section = None;
        for (option, (before, between, again, indent, gap, end)) in options.iter().zip(styles) {
            text += &before;
            if again || section != Some(&option.section) {
                section = Some(&option.section);
                text += &format!("{indent}[{}]{end}\n", option.section);
            }
            text += &between;
            text += &format!("{indent}{}{gap}={gap}{}{end}\n", option.name, option.value);
        }
        text
    })
}

/// The same options, each section in one piece: in the order in which the sections were first seen.
fn grouped(options: &[UnitOption]) -> Vec<UnitOption> {
    let first_seen = |option: &UnitOption| options.iter().position(|o| o.section == option.section);
    let mut grouped = options.to_vec();
    grouped.sort_by_key(first_seen);
    grouped
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_is_stable(text in prop_oneof![text(), ".{0,60}", "(?s).{0,60}"]) {
        if let Ok(file) = UnitFile::parse(&text) {
            let canonical = file.canonical();
            let again = UnitFile::parse(&canonical).unwrap();
            prop_assert_eq!(&again, &file);
            prop_assert_eq!(again.canonical(), canonical);
            prop_assert!(again.notes().is_empty());
            // What is read from text is accepted from an API request, unchanged.
            let sent = UnitFile::from_options(file.options().to_vec()).unwrap();
            prop_assert_eq!(sent, file);
        }
    }

    #[test]
    fn a_fault_points_into_the_text(text in text()) {
        if let Err(error) = UnitFile::parse(&text) {
            let line = text.split('\n').nth(error.line - 1).unwrap();
            prop_assert!((1..=line.chars().count() + 1).contains(&error.column), "{}", error);
        }
    }

    #[test]
    fn any_options_are_refused_or_stable(
        options in vec(("[S\\]\n ]{0,2}", "[A=\\[# \n\r]{0,3}", "[b\\\\ \n\r\u{a0}]{0,6}"), 0..3),
    ) {
        let options = options.into_iter().map(|(section, name, value)| UnitOption { section, name, value }).collect();
        if let Ok(file) = UnitFile::from_options(options) {
            prop_assert_eq!(UnitFile::parse(&file.canonical()).unwrap(), file);
        }
    }

    #[test]
    fn the_same_content_has_the_same_hash_however_written(
        (options, text) in vec(plain_option(), 0..8)
            .prop_flat_map(|options| { let text = written(&options); (Just(options), text) })
    ) {
        let file = UnitFile::parse(&text).unwrap();
        let sent = UnitFile::from_options(options).unwrap();
        prop_assert_eq!(file.hash(), sent.hash(), "{:?}", text);
        prop_assert_eq!(file, sent);
    }

    #[test]
    fn the_same_content_has_the_same_hash_however_its_sections_are_interleaved(
        (one, other) in vec(plain_option(), 0..10)
            .prop_flat_map(|options| (written(&options), written(&grouped(&options))))
    ) {
        let [one, other] = [&one, &other].map(|text| UnitFile::parse(text).unwrap());
        prop_assert_eq!(one.hash(), other.hash());
        prop_assert_eq!(one.canonical(), other.canonical());
        prop_assert_eq!(UnitFile::parse(&one.canonical()).unwrap().canonical(), one.canonical());
    }

    #[test]
    fn other_content_has_another_hash(one in vec(plain_option(), 0..4), other in vec(plain_option(), 0..4)) {
        let (one, other) = (UnitFile::from_options(one).unwrap(), UnitFile::from_options(other).unwrap());
        prop_assert_eq!(one == other, one.hash() == other.hash());
    }
}
