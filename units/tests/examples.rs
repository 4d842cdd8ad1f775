//! The unit files in `examples/` are right, and a corpus for the parser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use units::{Requirements, UnitFile, UnitName, validate};

fn examples() -> BTreeMap<UnitName, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = UnitName::from_argument(path.to_str().unwrap()).unwrap();
            assert_eq!(path.file_name().unwrap(), name.as_str());
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The name under which an example runs: a template needs an instance.
fn runnable(name: &UnitName) -> UnitName {
    match name.is_template() {
        true => UnitName::parse(&format!("{}@0123abcd.{}", name.prefix(), name.suffix())).unwrap(),
        false => name.clone(),
    }
}

fn requirements(name: &str) -> Requirements {
    let (name, text) = examples().remove_entry(name).unwrap();
    validate(&runnable(&name), &UnitFile::parse(&text).unwrap())
        .unwrap()
        .requirements
}

#[test]
fn every_example_is_accepted_without_a_warning() {
    let examples = examples();
    assert!(!examples.is_empty());
    for (name, text) in examples {
        let file = UnitFile::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for name in [&name, &runnable(&name)] {
            let parsed = validate(name, &file).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(parsed.warnings, [], "{name}");
        }
        assert!(file.description().is_some(), "{name} has a description");
        assert!(text.starts_with("# "), "{name} says what it shows");
    }
}

#[test]
fn every_example_keeps_its_hash_through_editors_and_the_api() {
    for (name, text) in examples() {
        let file = UnitFile::parse(&text).unwrap();
        assert_eq!(UnitFile::parse(&file.canonical()).unwrap(), file, "{name}");
        assert_eq!(
            UnitFile::from_options(file.options().to_vec()).unwrap(),
            file,
            "{name}"
        );

        let spaced = text
            .replace('\n', "\n\n# comment\n")
            .replace("\\\n\n# comment\n", "\\\n");
        assert_eq!(UnitFile::parse(&spaced).unwrap().hash(), file.hash(), "{name}");
        if !text.contains('\\') {
            let crlf = text.replace('\n', "\r\n");
            assert_eq!(UnitFile::parse(&crlf).unwrap().hash(), file.hash(), "{name}");
        }
    }
}

#[test]
fn the_examples_ask_for_what_they_say() {
    assert!(requirements("global.service").global);
    assert_eq!(requirements("zone@.service").failure_domain, ["zone"]);
    assert!(requirements("zone@.service").conflicts[0].matches("zone@b.service"));
    assert!(
        requirements("podman-web@.service")
            .conflicts
            .iter()
            .any(|glob| glob.matches("web@1.service"))
    );
    assert!(
        requirements("sidekick@.service")
            .machine_of
            .contains("web@0123abcd.service")
    );
    assert!(
        requirements("minutely.timer")
            .machine_of
            .contains("minutely.service")
    );
    assert_eq!(
        requirements("pinned@.service").machine_id.as_deref(),
        Some("0123abcd")
    );
    assert_eq!(requirements("metadata.service").metadata["zone"].len(), 2);
    assert_eq!(requirements("hello.service"), Requirements::default());
}
