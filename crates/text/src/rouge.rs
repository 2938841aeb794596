//! ROUGE-L of two texts (Lin 2004), as the package `rouge` 1.0.1 computes it: sentences end at full
//! stops, words at white space, and each word counts once.

use std::collections::HashSet;

use djr_python::is_space;

/// The most pairs of words of two sentences that are compared.
const MOST: usize = 1 << 26;

/// The F-measure of the words that sentences of both texts have in the same order: the union of the
/// longest common subsequence of each sentence of the one with each of the other. `None` if sentences
/// are too long to be compared.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "texts have fewer than 2^53 words"
)]
pub fn rouge_l(hypothesis: &str, reference: &str) -> Option<f64> {
    let [ours, theirs] = [hypothesis, reference].map(sentences);
    let mut common = HashSet::new();
    for one in &theirs {
        for other in &ours {
            common.extend(common_subsequence(one, other)?);
        }
    }
    let words = |sentences: &[Vec<&str>]| {
        let words: HashSet<&str> = sentences.iter().flatten().copied().collect();
        words.len() as f64
    };
    let common = common.len() as f64;
    let (precision, recall) = (common / words(&ours), common / words(&theirs));
    Some(2.0 * (precision * recall / (precision + recall + 1e-8)))
}

/// The words of each sentence. One of white space alone has one, which is empty.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    let sentences = text.split('.').filter(|sentence| !sentence.is_empty());
    let words = sentences.map(|sentence| {
        let words = sentence.split(is_space).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        if words.is_empty() { vec![""] } else { words }
    });
    words.collect()
}

/// A longest sequence of words that both have in this order; of equally long ones that which is found
/// from the end by taking words off the second first.
fn common_subsequence<'t>(one: &[&'t str], other: &[&str]) -> Option<Vec<&'t str>> {
    let wide = other.len() + 1;
    if wide.checked_mul(one.len() + 1)? > MOST {
        return None;
    }
    // Row by row, how long it is for the first words of both.
    let mut lengths = vec![vec![0_u32; wide]];
    for word in one {
        let above = lengths.last()?;
        let mut row = Vec::with_capacity(wide);
        let mut left = 0;
        row.push(left);
        for (pair, theirs) in above.windows(2).zip(other) {
            let &[diagonal, up] = pair else { continue };
            left = if word == theirs {
                diagonal + 1
            } else {
                left.max(up)
            };
            row.push(left);
        }
        lengths.push(row);
    }
    let length = |i: usize, j: usize| lengths.get(i).and_then(|row| row.get(j)).copied();
    let (mut i, mut j) = (one.len(), other.len());
    let mut found = Vec::new();
    while let (Some(before), Some(behind)) = (i.checked_sub(1), j.checked_sub(1)) {
        if one.get(before) == other.get(behind) {
            found.extend(one.get(before));
            (i, j) = (before, behind);
        } else if length(before, j) > length(i, behind) {
            i = before;
        } else {
            j = behind;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_package() {
        // rouge.Rouge().get_scores(hypothesis, reference)[0]["rouge-l"]["f"], rouge 1.0.1.
        for (hypothesis, reference, f) in CASES {
            let found = rouge_l(hypothesis, reference).unwrap();
            assert!(
                (found - f).abs() < 1e-12,
                "{hypothesis:?} {reference:?}: {found} and not {f}"
            );
        }
        let long = "a ".repeat(10_000);
        assert_eq!(rouge_l(&long, &long), None);
    }

    const CASES: [(&str, &str, f64); 9] = [
        (
            "the cat sat on the mat\n",
            "the cat sat on the mat\n",
            0.999_999_995,
        ),
        ("a b c d", "d c b a", 0.249_999_995_000_000_09),
        ("a b a c. d e", "c a b. e d f", 0.545_454_540_495_867_8),
        ("\n\n", "q\na\n", 0.0),
        ("\n\n", "\n\n", 0.999_999_995),
        (
            "the 猫 sat.　on it. twice",
            "sat the 猫 on. it it twice.. ",
            0.769_230_764_260_355_1,
        ),
        ("x", "y", 0.0),
        (
            "What is a kite?\nA bird of prey.\n",
            "What is a hawk?\nA bird of prey. It hunts.\n",
            0.799_999_995_05,
        ),
        ("a b c a b d", "b a c b d a", 0.999_999_995),
    ];
}
