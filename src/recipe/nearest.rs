//! The name a user probably meant.

use strsim::normalized_damerau_levenshtein;

/// How alike two names must be for a suggestion.
const LIKENESS: f64 = 0.55;

/// The candidate most like `name`, if any is alike; the first of equals.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    score(name, candidates).map(|(_, candidate)| candidate)
}

/// As [`nearest`], with how alike it is.
pub fn score<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<(f64, &'c str)> {
    // A name is a word; what is longer is not worth comparing.
    if name.len() > 100 {
        return None;
    }
    let plain = |s: &str| s.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = normalized_damerau_levenshtein(&name, &plain(candidate));
        if likeness >= LIKENESS && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best
}

/// `did you mean 'x'?`
pub fn did_you_mean<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    nearest(name, candidates).map(|n| format!("did you mean '{n}'?"))
}
