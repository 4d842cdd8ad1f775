use std::time::Duration;

use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, name: &str) -> bool {
    Glob::parse(pattern).unwrap().matches(name)
}

/// The behaviour of Go's `path.Match`, row by row.
#[test]
fn patterns() {
    for (pattern, name, expected) in [
        ("", "", true),
        ("", "a", false),
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("abcd", "abc", false),
        ("*", "", true),
        ("*", "abc", true),
        ("*c", "abc", true),
        ("*c", "abcd", false),
        ("a*", "a", true),
        ("a*", "ba", false),
        ("a**b", "ab", true),
        ("web@*", "web@1.service", true),
        ("web@*", "web.service", false),
        ("web@*.service", "web@1.service", true),
        ("web@*.service", "web@1.timer", false),
        ("*.service", "web@1.service", true),
        ("a*b*c*d", "abxbxcxbcd", true),
        ("a*b*c*d", "abxbxcxbc", false),
        ("a*/b", "a/c/b", false),
        ("*", "a/b", false),
        ("a?b", "a/b", false),
        ("a[/]b", "a/b", true),
        ("a[^a]b", "a/b", true),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a?c", "a☺c", true),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("[a-c1-3]", "2", true),
        ("[b-a]", "a", false),
        ("[^b-a]", "a", true),
        ("[!a]", "a", true), // no negation in Go
        ("[!a]", "b", false),
        ("[a^]", "^", true),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-z]", "y", false),
        ("[*]", "*", true),
        ("[*]", "a", false),
        ("[?]", "a", false),
        ("]", "]", true),
        ("-", "-", true),
        ("^", "^", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a\\\\b", "a\\b", true),
        ("\\a", "a", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
    }
}

#[test]
fn broken_patterns_tell_where() {
    for (pattern, offset, expected) in [
        ("[]", 1, "a character of the class"),
        ("[]a]", 1, "a character of the class"),
        ("é[^]a]", 3, "a character of the class"),
        ("[-a]", 1, "a character of the class"),
        ("[a-]", 3, "a character of the class"),
        ("[a--]", 3, "a character of the class"),
        ("[", 1, "\"]\" to end the class"),
        ("[^", 2, "\"]\" to end the class"),
        ("ab[c", 4, "\"]\" to end the class"),
        ("[a-", 3, "\"]\" to end the class"),
        ("[\\", 2, "a character after \"\\\""),
        ("[a\\]", 4, "\"]\" to end the class"),
        ("a\\", 2, "a character after \"\\\""),
    ] {
        let error = Glob::parse(pattern).unwrap_err();
        assert_eq!((error.offset, &*error.pattern), (offset, pattern));
        assert!(
            error.expected.starts_with(&format!("expected {expected}")),
            "{pattern}: {error}"
        );
        assert!(serde_json::from_value::<Glob>(pattern.into()).is_err());
    }
    assert_eq!(
        Glob::parse("ab[c").unwrap_err().to_string(),
        r#"invalid pattern "ab[c": at character 5: expected "]" to end the class"#
    );
}

#[test]
fn many_stars_take_no_longer_than_pattern_times_name() {
    let glob = Glob::parse(&"a*".repeat(120)).unwrap();
    let started = std::time::SystemTime::now();
    assert!(!glob.matches(&format!("{}b", "ca".repeat(127))));
    assert!(
        !Glob::parse(&format!("{}b", "*a".repeat(120)))
            .unwrap()
            .matches(&"a".repeat(256))
    );
    assert!(started.elapsed().unwrap() < Duration::from_secs(1));
}

#[test]
fn literal_prefixes() {
    for (pattern, prefix) in [
        ("", ""),
        ("web", "web"),
        ("web@*", "web@"),
        ("*", ""),
        ("a?", "a"),
        ("a[b]", "a"),
        ("a\\*", "a"),
    ] {
        assert_eq!(Glob::parse(pattern).unwrap().literal_prefix(), prefix);
    }
}

/// A pattern as a tree, and what it means in the simplest words.
#[derive(Clone, Debug)]
enum Node {
    Star,
    AnyOne,
    Char(char, bool),
    Class(bool, Vec<(char, char)>),
}

impl Node {
    fn write(&self, pattern: &mut String) {
        let special = |c: char| "*?[]\\-^".contains(c);
        match self {
            Self::Star => pattern.push('*'),
            Self::AnyOne => pattern.push('?'),
            Self::Char(c, escaped) => {
                if *escaped || special(*c) {
                    pattern.push('\\');
                }
                pattern.push(*c);
            }
            Self::Class(negated, ranges) => {
                pattern.push_str(if *negated { "[^" } else { "[" });
                for (low, high) in ranges {
                    Self::Char(*low, false).write(pattern);
                    if low != high {
                        pattern.push('-');
                        Self::Char(*high, false).write(pattern);
                    }
                }
                pattern.push(']');
            }
        }
    }
}

fn naive(pattern: &[Node], name: &[char]) -> bool {
    let Some((node, pattern)) = pattern.split_first() else {
        return name.is_empty();
    };
    let one = |fits: &dyn Fn(char) -> bool| {
        name.first()
            .is_some_and(|c| fits(*c) && naive(pattern, &name[1..]))
    };
    match node {
        Node::Star => (0..=name.len()).any(|taken| naive(pattern, &name[taken..])),
        Node::AnyOne => one(&|_| true),
        Node::Char(expected, _) => one(&|c| c == *expected),
        Node::Class(negated, ranges) => {
            one(&|c| ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated)
        }
    }
}

fn node() -> impl Strategy<Value = Node> {
    let letter = || prop::sample::select(vec!['a', 'b', 'c', '-', ']', '^', '*', '\\', 'é']);
    let ranges = prop::collection::vec((letter(), letter()), 1..3);
    prop_oneof![
        3 => Just(Node::Star),
        1 => Just(Node::AnyOne),
        5 => (letter(), any::<bool>()).prop_map(|(c, escaped)| Node::Char(c, escaped)),
        2 => (any::<bool>(), ranges).prop_map(|(negated, ranges)| Node::Class(negated, ranges)),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_naive_matcher(nodes in prop::collection::vec(node(), 0..6), name in r"[abc\]é*^\\-]{0,8}") {
        let mut pattern = String::new();
        nodes.iter().for_each(|node| node.write(&mut pattern));
        let expected = naive(&nodes, &name.chars().collect::<Vec<_>>());
        prop_assert_eq!(matches(&pattern, &name), expected, "{} on {}", pattern, name);
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(pattern in r"[ab*?\[\]^\\é-]{0,12}", name in "[abé/]{0,12}") {
        if let Ok(glob) = Glob::parse(&pattern) {
            glob.matches(&name);
            prop_assert!(!glob.matches(&name) || name.starts_with(glob.literal_prefix()));
            let json = serde_json::to_string(&glob).unwrap();
            prop_assert_eq!(serde_json::from_str::<Glob>(&json).unwrap(), glob);
        }
    }
}
