//! The last steps of a score, behind the model.

/// How the scores of several pictures of one text become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Their mean.
    Avg,
    /// The greatest.
    Max,
    /// The least.
    Min,
}

impl Reduce {
    /// The scores as one; `None` if there are none. Not a number is passed on, as torch and numpy
    /// do.
    #[must_use]
    pub fn of(self, scores: &[f32]) -> Option<f32> {
        if scores.is_empty() {
            return None;
        }
        if scores.iter().any(|score| score.is_nan()) {
            return Some(f32::NAN);
        }
        match self {
            Self::Avg => Some(narrow(mean(scores.iter().copied().map(f64::from))?)),
            Self::Max => scores.iter().copied().reduce(f32::max),
            Self::Min => scores.iter().copied().reduce(f32::min),
        }
    }
}

/// The mean; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "there are few of them")]
pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

#[expect(clippy::cast_possible_truncation, reason = "scores have 32 bits")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// The share of each class.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits
        .iter()
        .map(|logit| (f64::from(*logit) - f64::from(greatest)).exp())
        .collect();
    let sum: f64 = powers.iter().sum();
    powers
        .into_iter()
        .map(|power| narrow(power / sum))
        .collect()
}

fn norm(vector: &[f32]) -> f64 {
    let squares = vector.iter().map(|v| f64::from(*v) * f64::from(*v));
    squares.sum::<f64>().sqrt()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// `torch.cosine_similarity`: a norm counts as at least 1e-8.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    const EPSILON: f64 = 1e-8;
    dot(a, b) / (norm(a).max(EPSILON) * norm(b).max(EPSILON))
}

/// The product of both vectors, each divided by its norm; not a number where a norm is zero.
#[must_use]
pub fn dot_of_units(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (norm(a) * norm(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_one() {
        // torch.softmax(torch.tensor([4.86605453, 4.0224762]), -1)
        let shares = softmax(&[4.866_054_5, 4.022_476]);
        assert!((shares[1] - 0.300_781_7).abs() < 1e-6, "{shares:?}");
        assert_eq!(softmax(&[1000.0, 0.0]), [1.0, 0.0]);
    }

    #[test]
    fn nothing_is_like_nothing() {
        assert!(cosine(&[0.0, 0.0], &[1.0, 0.0]).abs() < 1e-12);
        assert!(dot_of_units(&[0.0, 0.0], &[1.0, 0.0]).is_nan());
        assert!((cosine(&[3.0, 4.0], &[4.0, 3.0]) - 0.96).abs() < 1e-12);
    }

    #[test]
    fn scores_are_reduced() {
        let scores = [0.25, 0.5, 0.75];
        assert_eq!(Reduce::Avg.of(&scores), Some(0.5));
        assert_eq!(Reduce::Max.of(&scores), Some(0.75));
        assert_eq!(Reduce::Min.of(&scores), Some(0.25));
        assert_eq!(Reduce::Min.of(&[]), None);
        assert!(Reduce::Max.of(&[f32::NAN, 1.0]).unwrap().is_nan());
    }
}
