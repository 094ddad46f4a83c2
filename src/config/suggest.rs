//! "Did you mean …?"

/// Longest word for which a neighbour is sought: the cost is the product of the lengths, and nobody mistypes a page.
const LONGEST: usize = 64;

/// The candidate that a mistyped word most likely stands for, if any is near enough: one slip for every three
/// letters, and at most three.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let bound = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to change, add, drop or swap; case, `-` and `_` make no difference.
fn distance(a: &str, b: &str) -> usize {
    let plain = |word: &str| word.to_ascii_lowercase().replace('-', "_");
    strsim::damerau_levenshtein(&plain(a), &plain(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["address", "name", "limits", "timeouts"];
        for (word, found) in [
            ("adress", Some("address")),
            ("Address", Some("address")),
            ("adrdess", Some("address")),
            ("timeout", Some("timeouts")),
            ("nam", Some("name")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), found, "{word}");
        }
        assert_eq!(nearest(&"address".repeat(1000), keys), None);
    }
}
