//! Files that are refused: for each of them all that is wrong is said, and nothing is done.

use proptest::prelude::*;

use super::*;

/// Files without their first line, `#cloud-config`, each followed by what is said of it. `\t` stands for a tab.
const FILES: &str = include_str!("bad.txt");

fn cases() -> Vec<(String, Vec<&'static str>)> {
    let blocks = FILES.split("\n\n").filter(|block| !block.trim().is_empty());
    let cases = blocks.map(|block| {
        let (said, text): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with("=> "));
        let text = format!("#cloud-config\n{}\n", text.join("\n")).replace("\\t", "\t");
        (text, said.iter().map(|line| &line[3..]).collect())
    });
    cases.collect()
}

fn refused(text: &[u8], arguments: &[&str], expected: &[&str]) {
    let ran = run_on(&Memory::new("core-01"), arguments, text, facts());
    let shown = String::from_utf8_lossy(text);
    let (last, findings) = ran.said.split_last().unwrap();
    let errors: Vec<&str> = findings
        .iter()
        .filter(|line| !line.contains(": notice: "))
        .map(|line| line.strip_prefix("f.yaml:").unwrap())
        .collect();
    assert_eq!(errors, expected, "{shown}");
    assert!(last.ends_with("wrong with f.yaml: nothing was changed"), "{last}");
    assert_eq!(ran.code, 2, "{shown}");
    assert_eq!(ran.changes, [""; 0], "{shown}");
    assert_eq!(ran.out, "", "{shown}");
}

#[test]
fn every_wrong_thing_is_named_with_its_line_and_nothing_is_changed() {
    let cases = cases();
    assert!(cases.len() > 100, "{}", cases.len());
    for (text, expected) in cases {
        assert!(!expected.is_empty(), "{text}");
        for arguments in [&[][..], &["--validate"], &["--dry-run"]] {
            refused(text.as_bytes(), arguments, &expected);
        }
    }
}

#[test]
fn what_is_no_cloud_config_is_said_to_be_something_else() {
    let large = [b"#cloud-config\n".as_slice(), &vec![b'a'; cloud_config::MAX_SIZE]].concat();
    let table: [(&[u8], &str); 10] = [
        (b"", "1: expected #cloud-config in the first line, found nothing"),
        (
            b"hostname: a\n",
            "1: expected #cloud-config in the first line, found `hostname: a`",
        ),
        (
            b"\n#cloud-config\n",
            "1: expected #cloud-config in the first line, found nothing",
        ),
        (
            b"# cloud-config\n",
            "1: expected #cloud-config in the first line, found `# cloud-config`",
        ),
        (
            b"#!/bin/bash\necho\n",
            "1: expected #cloud-config, found a script: run it yourself",
        ),
        (
            b"Content-Type: multipart/mixed; boundary=x\n\n",
            "1: expected #cloud-config, found a MIME message: give its cloud-config part alone",
        ),
        (
            b"\x1f\x8b\x08\x00",
            "1: the file is compressed: unpack it with gunzip first",
        ),
        (
            b"#cloud-config\nhostname: a\0\n",
            "2: there is a NUL byte in this line",
        ),
        (b"#cloud-config\n\nhostname: \xff\n", "3: this line is not UTF-8"),
        (&large, "1: the file is larger than 1 MiB"),
    ];
    for (text, expected) in table {
        refused(text, &[], &[expected]);
    }
}

#[test]
fn a_variable_that_is_not_known_is_wrong_where_it_is_used() {
    let text =
        "#cloud-config\n# $private_ipv4\nhostname: a\ncoreos:\n  fleet:\n    public-ip: $private_ipv4\n";
    let ran = run_on(&Memory::new("core-01"), &[], text.as_bytes(), Facts::default());
    assert_eq!(
        ran.said[0],
        "f.yaml:6: $private_ipv4: not known for this machine: give --private-ipv4, or set COREOS_PRIVATE_IPV4 in /etc/environment"
    );
    assert_eq!((ran.code, ran.changes.len()), (2, 0));
}

/// Pieces that make something near a cloud-config.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "#cloud-config\n",
        "coreos:\n",
        "  units:\n",
        "    - name: a.service\n",
        "      command: start\n",
        "      content: |\n",
        "        [Service]\n",
        "  etcd2:\n",
        "    proxy: on\n",
        "    name: a\n",
        "    initial-cluster: a=http://10.0.0.11:2380\n",
        "  fleet:\n",
        "    public-ip: $public_ipv4\n",
        "hostname: ",
        "write_files:\n",
        "  - path: /a\n",
        "    permissions: 0644\n",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "\"",
        "'",
        "|",
        ">",
        "&a ",
        "*a ",
        "!",
        "%",
        "\t",
        "\n",
        "  ",
        "é",
        "\\",
        "---\n",
        "...\n",
        "? ",
        "~",
        "#",
        "\r\n",
        "<<",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in prop_oneof![".*", pieces(), pieces().prop_map(|p| format!("#cloud-config\n{p}"))]) {
        let ran = run_new(&[], &text);
        if ran.code == 2 {
            prop_assert!(ran.changes.is_empty(), "{:?}", ran.changes);
        }
    }
}
