//! How many rows of each kind make a mixture.

/// One kind of rows, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stratum {
    /// What its rows have in common.
    pub value: String,
    /// How many there were.
    pub had: u64,
    /// How many its share came to.
    pub wanted: u64,
    /// How many were drawn.
    pub got: u64,
}

/// Shares `number` rows out among kinds, each given by its share and its number of rows: how many each
/// is to have, and how many it gets. Without `repeats` a kind gets no more than it has, and what it
/// lacks the others share, by their shares; one that has no rows gets none.
#[must_use]
pub fn allot(number: u64, kinds: &[(f64, u64)], repeats: bool) -> (Vec<u64>, Vec<u64>) {
    let shares: Vec<f64> = kinds.iter().map(|(share, _)| *share).collect();
    let most: Vec<u64> = kinds
        .iter()
        .map(|(share, had)| match (*had, *share > 0.0) {
            (0, _) | (_, false) => 0,
            (_, true) if repeats => u64::MAX,
            (had, true) => had,
        })
        .collect();
    let wanted = divide(number, &shares);
    let mut got = vec![0; kinds.len()];
    let mut open = shares;
    // Kinds that would get more than their most leave the division; it ends when none would.
    loop {
        let given: u64 = got.iter().sum();
        let parts = divide(number - given, &open);
        let mut full = false;
        for (((part, most), got), share) in parts.iter().zip(&most).zip(&mut got).zip(&mut open) {
            if *share > 0.0 && part > most {
                *got = *most;
                *share = 0.0;
                full = true;
            }
        }
        if !full {
            for ((part, got), share) in parts.iter().zip(&mut got).zip(&open) {
                if *share > 0.0 {
                    *got = *part;
                }
            }
            return (wanted, got);
        }
    }
}

/// `number` cut by shares: whole parts, and what is left to the greatest fractions, of equal ones to the
/// first.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of rows are below 2^53 and shares not negative"
)]
fn divide(number: u64, shares: &[f64]) -> Vec<u64> {
    let total: f64 = shares.iter().sum();
    if total <= 0.0 {
        return vec![0; shares.len()];
    }
    let exact = shares.iter().map(|share| number as f64 * (share / total));
    let exact: Vec<f64> = exact.collect();
    let mut parts: Vec<u64> = exact.iter().map(|part| part.floor() as u64).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.retain(|at| shares.get(*at).is_some_and(|share| *share > 0.0));
    let fraction = |at: &usize| exact.get(*at).map_or(0.0, |part| part.fract());
    order.sort_by(|a, b| fraction(b).total_cmp(&fraction(a)));
    let mut left = number.saturating_sub(parts.iter().sum());
    for at in order.iter().cycle() {
        if left == 0 {
            break;
        }
        if let Some(part) = parts.get_mut(*at) {
            *part += 1;
            left -= 1;
        }
    }
    // Rounding may have made a whole number of what is just below one.
    let mut over = parts.iter().sum::<u64>().saturating_sub(number);
    for part in parts.iter_mut().rev() {
        let less = over.min(*part);
        *part -= less;
        over -= less;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn remainders_go_to_the_greatest_fractions() {
        assert_eq!(divide(10, &[1.0, 1.0, 1.0]), [4, 3, 3]);
        assert_eq!(divide(10, &[0.0, 2.0, 1.0]), [0, 7, 3]);
        assert_eq!(divide(7, &[0.1, 0.2, 0.7]), [1, 1, 5]);
        assert_eq!(divide(3, &[]), [0; 0]);
        assert_eq!(divide(3, &[0.0]), [0]);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_there_is_and_nothing_is_left(
            kinds in prop::collection::vec((0u32..5, 0u64..40), 0..8),
            number in 0u64..200,
            repeats in any::<bool>(),
        ) {
            let kinds: Vec<(f64, u64)> = kinds.into_iter().map(|(share, had)| (f64::from(share), had)).collect();
            let (wanted, got) = allot(number, &kinds, repeats);
            let shared = kinds.iter().any(|(share, _)| *share > 0.0);
            prop_assert_eq!(wanted.iter().sum::<u64>(), if shared { number } else { 0 });
            let there: u64 = kinds.iter().filter(|(share, _)| *share > 0.0).map(|(_, had)| had).sum();
            let expected = if there == 0 { 0 } else if repeats { number } else { number.min(there) };
            prop_assert_eq!(got.iter().sum::<u64>(), expected);
            for ((share, had), (wanted, got)) in kinds.iter().zip(wanted.iter().zip(&got)) {
                prop_assert!(repeats || got <= had);
                prop_assert!(*got == 0 || (*share > 0.0 && *had > 0));
                // Who gets less than its share has no more.
                prop_assert!(got + 1 >= *wanted || got == had || *had == 0);
            }
        }
    }
}
