//! What somebody may have meant by a word that means nothing here.

/// The known word nearest to `word`: the same but for case or an `X-` prefix, or at most two letters away.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let bare = word
        .strip_prefix("X-Condition")
        .or_else(|| word.strip_prefix("X-"))
        .unwrap_or(word);
    let distances = known.iter().flat_map(|&known| {
        let distance = distance(word, known)?.min(distance(bare, known)?);
        Some((distance, known))
    });
    distances
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// How many letters to insert, drop or replace to get from one word to the other, case aside; `None` if the lengths
/// alone make it many.
fn distance(one: &str, other: &str) -> Option<usize> {
    let one: Vec<char> = one.chars().take(40).flat_map(char::to_lowercase).collect();
    let other: Vec<char> = other.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied()
}
