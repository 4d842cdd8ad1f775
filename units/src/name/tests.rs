use super::*;
use proptest::prelude::*;

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

#[test]
fn broken_names_are_refused_in_fleets_words() {
    let long = format!("{}.service", "a".repeat(249));
    for (text, message) in [
        ("", "unit name cannot be empty"),
        (&*long, "unit name exceeds maximum length (256)"),
        ("foo", r#"unit name must contain ".""#),
        ("foo.", r#"unit name cannot end in ".""#),
        (".", r#"unit name cannot end in ".""#),
        ("foo.invalid", r#"invalid unit type: "invalid""#),
        ("foo.Service", r#"invalid unit type: "Service""#),
        ("foo.service ", r#"invalid unit type: "service ""#),
        ("foo@1.mount", r#"invalid unit type for template: "mount""#),
        ("foo@.slice", r#"invalid unit type for template: "slice""#),
        ("foo bar.service", "invalid character ' ' in unit name"),
        ("foo@{1..3}.service", "invalid character '{' in unit name"),
        ("a/b.service", "invalid character '/' in unit name"),
        ("f%i.service", "invalid character '%' in unit name"),
        ("é.service", "invalid character 'é' in unit name"),
        ("@.service", r#"unit name cannot start in "@""#),
        ("@foo.service", r#"unit name cannot start in "@""#),
        // The first rule broken is the one told of.
        ("@f o.service", "invalid character ' ' in unit name"),
        ("@f o.bogus", r#"invalid unit type: "bogus""#),
        ("f o@.mount", r#"invalid unit type for template: "mount""#),
    ] {
        assert_eq!(
            UnitName::parse(text).unwrap_err().to_string(),
            message,
            "{text:?}"
        );
        assert!(serde_json::from_value::<UnitName>(text.into()).is_err());
    }
}

#[test]
fn every_type_makes_a_name_and_five_make_templates() {
    for kind in UnitType::ALL {
        assert_eq!(name(&format!("foo.{kind}")).unit_type(), kind);
        assert_eq!(
            UnitName::parse(&format!("foo@.{kind}")).is_ok(),
            kind.may_be_template()
        );
    }
    assert!(UnitType::ALL.is_sorted());
    let of = |wanted: fn(UnitType) -> bool| {
        UnitType::ALL
            .into_iter()
            .filter(|kind| wanted(*kind))
            .map(UnitType::as_str)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(UnitType::is_supported),
        [
            "automount",
            "mount",
            "path",
            "service",
            "slice",
            "socket",
            "swap",
            "target",
            "timer"
        ]
    );
    assert_eq!(
        of(UnitType::may_be_template),
        ["path", "service", "socket", "target", "timer"]
    );
}

#[test]
fn allowed_characters_and_the_longest_name() {
    let all = "azAZ09:_.\\-x@azAZ09:_.\\-@.service";
    assert_eq!(name(all).as_str(), all);
    assert_eq!(
        name(&format!("{}.service", "a".repeat(248))).as_str().len(),
        UnitName::MAX_LENGTH
    );
}

#[test]
fn parts() {
    // name, %N, %p, %i, suffix, template, is a template
    for (text, stem, prefix, instance, suffix, template, is_template) in [
        ("foo.service", "foo", "foo", None, "service", None, false),
        ("foo.1.socket", "foo.1", "foo.1", None, "socket", None, false),
        ("foo@.service", "foo@", "foo", None, "service", None, true),
        (
            "foo@1.service",
            "foo@1",
            "foo",
            Some("1"),
            "service",
            Some("foo@.service"),
            false,
        ),
        (
            "foo@a.b.timer",
            "foo@a.b",
            "foo",
            Some("a.b"),
            "timer",
            Some("foo@.timer"),
            false,
        ),
        (
            "foo@bar@baz.service",
            "foo@bar@baz",
            "foo",
            Some("bar@baz"),
            "service",
            Some("foo@.service"),
            false,
        ),
        (
            "foo@@.service",
            "foo@@",
            "foo",
            Some("@"),
            "service",
            Some("foo@.service"),
            false,
        ),
    ] {
        let name = name(text);
        assert_eq!(
            (name.stem(), name.prefix(), name.instance()),
            (stem, prefix, instance),
            "{text}"
        );
        assert_eq!(
            (name.suffix(), name.is_template()),
            (suffix, is_template),
            "{text}"
        );
        assert_eq!(name.template().as_ref().map(UnitName::as_str), template, "{text}");
    }
}

#[test]
fn arguments() {
    for (argument, meant) in [
        ("foo", "foo.service"),
        ("foo.1", "foo.1.service"),
        ("foo@1", "foo@1.service"),
        ("foo@", "foo@.service"),
        ("dir/bar.socket", "bar.socket"),
        ("/abs/dir.d/bar.timer", "bar.timer"),
        ("./bar/", "bar.service"),
        ("a.path", "a.path"),
        ("a.device", "a.device"),
        ("a.mount", "a.mount"),
        ("a.automount", "a.automount"),
        ("a.target", "a.target"),
        ("a.swap", "a.swap"),
        ("a.slice", "a.slice"),
        // Types that are refused later, in clear words.
        ("a.scope", "a.scope"),
        ("a.snapshot", "a.snapshot"),
        ("a.busname", "a.busname"),
        ("a.socket.bak", "a.socket.bak.service"),
        ("a.Target", "a.Target.service"),
        ("a.", "a..service"),
    ] {
        assert_eq!(
            UnitName::from_argument(argument),
            UnitName::parse(meant),
            "{argument}"
        );
    }
    for argument in ["", "/", "//"] {
        assert_eq!(UnitName::from_argument(argument), Err(NameError::Empty));
    }
    assert_eq!(
        UnitName::from_argument("foo@{1..3}"),
        Err(NameError::Character('{'))
    );
}

#[test]
fn json_is_a_checked_string() {
    let web = name("web@1.service");
    assert_eq!(serde_json::to_string(&web).unwrap(), r#""web@1.service""#);
    assert_eq!(
        serde_json::from_str::<UnitName>(r#""web@1.service""#).unwrap(),
        web
    );
    let error = serde_json::from_str::<UnitName>(r#""web""#)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(r#"unit name must contain ".""#), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_a_name_or_an_error(text in ".{0,40}", argument in "[a-z@./-]{0,20}") {
        let _ = UnitName::parse(&text);
        let _ = UnitName::from_argument(&argument);
    }

    #[test]
    fn parts_make_the_whole(text in r"[a-z:_.\\-]{1,6}(@[a-z0-9@.]{0,6})?\.(service|socket|timer|path)") {
        let name = UnitName::parse(&text).unwrap();
        let (prefix, stem, suffix) = (name.prefix(), name.stem(), name.suffix());
        prop_assert_eq!(format!("{stem}.{suffix}"), &*text);
        let instance = name.instance().unwrap_or_default();
        let at = if name.is_template() || name.instance().is_some() { "@" } else { "" };
        prop_assert_eq!(format!("{prefix}{at}{instance}.{suffix}"), &*text);
        prop_assert!(name.template().is_none_or(|template| template.is_template() && template.prefix() == prefix));
    }
}
