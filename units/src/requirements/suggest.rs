//! What somebody may have meant by a word that means nothing here.

/// The known word nearest to `word`: the same but for case or an `X-` prefix, or at most two letters away.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let bare = word
        .strip_prefix("X-Condition")
        .or_else(|| word.strip_prefix("X-"))
        .unwrap_or(word);
    let near = known
        .iter()
        .map(|&known| (distance(word, known).min(distance(bare, known)), known));
    near.filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// How many letters to insert, drop or replace to get from one word to the other, case aside.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    // Row `i` of the table holds the distances from the first `i` letters of `one` to each beginning of `other`. More
    // than 40 letters are far from every word we know, so they need no more rows.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(40).flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("abc", "ABC", 0),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ] {
            assert_eq!(
                (distance(one, other), distance(other, one)),
                (expected, expected),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn suggestions() {
        let known = ["MachineOf", "MachineID", "Conflicts", "Global"];
        for (word, meant) in [
            ("machineof", Some("MachineOf")),
            ("MachineIDs", Some("MachineID")),
            ("Conflict", Some("Conflicts")),
            ("X-Global", Some("Global")),
            ("X-ConditionGlobal", Some("Global")),
            ("Weight", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }
}
