//! Unit files that somebody damaged: read or refused, never anything else, and what is read stays what it is.
//! 256 cases of each; more: `PROPTEST_CASES=100000 cargo test --package units --test fuzz`.

#![allow(clippy::unwrap_used)] // clippy takes only functions marked as tests for such

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use units::{UnitFile, UnitName, validate};

/// The examples, and what unit files of others look like.
fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut all: Vec<Vec<u8>> = files
        .filter(|path| path.is_file())
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert!(all.len() > 3, "no examples");
    let others: [&[u8]; 3] = [
        b"[Unit]\r\nDescription=a \\\r\n  b\r\n\r\n[Service]\r\nExecStart=/bin/a\r\n",
        b"\xef\xbb\xbf# c \\\n swallowed\n[Service]\nExecStart=\nExecStart=/bin/sh -c \"a = b; [c]\"\nEnvironment='A=B' \"C=D\"\n",
        b"[X-Fleet]\nMachineOf=a.service b.service\nConflicts=\nConflicts=x@*.service\nX-ConditionMachineMetadata=a=b\nMachineMetadata=\"a=b\" \"c=d\"\nGlobal=on\n",
    ];
    all.extend(others.map(<[u8]>::to_vec));
    all
}

#[derive(Debug, Clone)]
enum Damage {
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize, usize),
    Flip(Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let pieces: Vec<&[u8]> = vec![
        b"[",
        b"]",
        b"=",
        b"\\\n",
        b"\n",
        b"\r",
        b"\0",
        b"#",
        b"\xc2\xa0",
        b"\xff",
        b"[X-Fleet]\n",
        b"Global=true\n",
        b"MachineOf=",
        b"Conflicts=[",
        b"Replaces=",
        b"Spread=",
        b"[Mount]\nWhere=/",
        b"[Swap]\nWhat=/a-b\xff",
        b"/../",
        b"%i",
        b"\xe2\x80\xa8",
    ];
    prop_oneof![
        (any::<Index>(), 1..40_usize).prop_map(|(at, n)| Damage::Cut(at, n)),
        (
            any::<Index>(),
            prop_oneof![select(pieces).prop_map(<[u8]>::to_vec), vec(any::<u8>(), 1..6)]
        )
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..60_usize, 1..50_usize).prop_map(|(at, n, times)| Damage::Repeat(at, n, times)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Damage::Flip(at, bits)),
    ]
}

fn damaged(mut text: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages {
        let whole = text.len();
        let at = |index: Index| if whole == 0 { 0 } else { index.index(whole) };
        let span = |index: Index, n: usize| at(index)..(at(index) + n).min(whole);
        match damage {
            Damage::Cut(index, n) => drop(text.drain(span(index, n))),
            Damage::Insert(index, bytes) => drop(text.splice(at(index)..at(index), bytes)),
            Damage::Repeat(index, n, times) => {
                let piece = text.get(span(index, n)).unwrap_or_default().repeat(times);
                text.splice(at(index)..at(index), piece);
            }
            Damage::Flip(index, bits) => {
                if let Some(byte) = text.get_mut(at(index)) {
                    *byte ^= bits;
                }
            }
        }
    }
    text
}

fn holds(bytes: &[u8]) -> Result<(), TestCaseError> {
    // As fleetctl takes a file: it is text or it is refused.
    let text = String::from_utf8_lossy(bytes);
    let Ok(file) = UnitFile::parse(&text) else {
        return Ok(());
    };
    let canonical = file.canonical();
    let again =
        UnitFile::parse(&canonical).map_err(|e| TestCaseError::fail(format!("{e}: {canonical:?}")))?;
    prop_assert_eq!(again.canonical(), canonical);
    prop_assert_eq!(again.hash(), file.hash());
    let sent = UnitFile::from_options(file.options().to_vec());
    prop_assert_eq!(sent.map(|f| f.hash()).ok(), Some(file.hash()));
    for name in NAMES.map(|n| UnitName::parse(n).unwrap()) {
        // What the API checks is what fleetctl checked.
        let [one, other] =
            [&file, &again].map(|f| format!("{:?}", validate(&name, f).ok().map(|p| p.requirements)));
        prop_assert_eq!(one, other);
        if let Err(error) = validate(&name, &file) {
            let error = error.to_string();
            prop_assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
        }
    }
    Ok(())
}

/// One of each type, and the kinds of name.
const NAMES: [&str; 15] = [
    "a.service",
    "a@.service",
    "a@b.service",
    "a.timer",
    "a.socket",
    "a.path",
    "a.target",
    "a-b.slice",
    "mnt-a.mount",
    r"mnt-a\x2db.automount",
    "dev-a.swap",
    "a.device",
    "a.scope",
    "a.snapshot",
    "a.busname",
];

proptest! {
    #[test]
    fn a_damaged_unit_file_is_read_or_refused(file in select(corpus()), damages in vec(damage(), 0..6)) {
        holds(&damaged(file, damages))?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        holds(&bytes)?;
    }

    #[test]
    fn any_text_is_a_name_or_refused(text in prop_oneof!["(?s).{0,40}", "[a-z@.\\\\:_-]{0,12}\\.(service|socket|mount|slice|target|swap|x)"]) {
        if let Ok(name) = UnitName::parse(&text) {
            prop_assert_eq!(name.as_str(), text.as_str());
            prop_assert!(name.as_str().len() < 256 && !text.contains('/') && !text.contains('\0'));
        }
    }
}
