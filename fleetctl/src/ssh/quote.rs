//! Words for a shell.
//!
//! sshd hands the command line to the remote user's shell. fleet put each argument between double quotes, in which that
//! shell still ran what stood behind a `$` or a backquote (fleet-reference §4.6).

/// A command line that a POSIX shell reads as exactly these words.
pub fn command_line<S: AsRef<str>>(words: &[S]) -> String {
    let quoted = words.iter().enumerate().map(|(index, word)| {
        // In front of a command A=b is an assignment.
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || "-_./,:@%+".contains(c) || (c == '=' && index > 0);
        let word = word.as_ref();
        match !word.is_empty() && word.chars().all(is_plain) {
            true => word.to_owned(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        let table: [(&[&str], &str); 7] = [
            (
                &["journalctl", "--unit", "web@1.service"],
                "journalctl --unit web@1.service",
            ),
            (&["a", ""], "a ''"),
            (&["$HOME", "`id`"], "'$HOME' '`id`'"),
            (&["it's"], r"'it'\''s'"),
            (&["a\\x2d.service"], r"'a\x2d.service'"),
            (&["A=b", "--output=short", "A=b"], "'A=b' --output=short A=b"),
            (&["~", "#", "a;b", "é"], "'~' '#' 'a;b' 'é'"),
        ];
        for (words, line) in table {
            assert_eq!(command_line(words), line);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_gives_the_words_back(words in prop::collection::vec("[^\0]{0,8}", 1..5)) {
            let script = format!("printf '%s\\0' {}", command_line(&words));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let back: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
            let sent: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).chain([&b""[..]]).collect();
            prop_assert_eq!(back, sent);
        }
    }
}
