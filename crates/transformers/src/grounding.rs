//! How many of a text's phrases a detector finds in a picture.

/// What a detector says of a picture: for each box a logit of each phrase, and where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Detections<'a> {
    /// Logits, phrase by phrase within box by box, `stride` of them a box.
    pub logits: &'a [f32],
    /// How many logits a box has; those beyond the phrases are not looked at.
    pub stride: usize,
    /// Centre, width and height of each box, as shares of the picture's sides.
    pub boxes: &'a [f32],
    /// Width and height of the picture.
    pub size: (u32, u32),
}

/// Which boxes count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grounding {
    /// The most that two boxes may overlap.
    pub iou_thr: f64,
    /// The greatest share of the picture that a box may cover.
    pub large_area_ratio_thr: f64,
    /// What a score must exceed.
    pub conf_thr: f64,
}

struct Found {
    score: f32,
    phrase: usize,
    /// Left, top, right, bottom.
    corners: [f32; 4],
}

impl Grounding {
    /// The share of `phrases` phrases that are found.
    ///
    /// As many boxes as there are phrases are looked at, the best first. Boxes of equal scores are
    /// in the detector's order, where torch leaves theirs open.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a text has few phrases")]
    pub fn recall(&self, found: &Detections<'_>, phrases: usize) -> f64 {
        let mut boxes = found.above(phrases, self.conf_thr);
        boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
        boxes.truncate(phrases);
        let (width, height) = found.size;
        let area = (u64::from(width) * u64::from(height)) as f32;
        let mut hits: Vec<&Found> = Vec::new();
        for candidate in &boxes {
            let again = hits.iter().any(|hit| hit.phrase == candidate.phrase);
            let overlaps = |hit: &&Found| iou(hit.corners, candidate.corners) > self.iou_thr;
            if again || self.is_large(candidate, area) || hits.iter().any(overlaps) {
                continue;
            }
            hits.push(candidate);
        }
        hits.len() as f64 / phrases as f64
    }

    /// torch divides a number of Python by a whole one in 32 bits, and compares there too.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "torch rounds to 32 bits here"
    )]
    fn is_large(&self, found: &Found, area: f32) -> bool {
        area_of(found.corners.map(f64::from)) as f32 / area > self.large_area_ratio_thr as f32
    }
}

impl Detections<'_> {
    /// The boxes whose best phrase scores above `threshold`.
    #[expect(clippy::cast_precision_loss, reason = "sides are below 2^24")]
    #[expect(clippy::cast_possible_truncation, reason = "torch compares in 32 bits")]
    fn above(&self, phrases: usize, threshold: f64) -> Vec<Found> {
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        let each = self.logits.chunks_exact(self.stride.max(1));
        let boxes = each.zip(self.boxes.as_chunks::<4>().0);
        let found = boxes.filter_map(|(logits, &[x, y, w, h])| {
            let (phrase, logit) = best(logits.get(..phrases)?)?;
            let corners = [x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h];
            let sides = [width, height, width, height];
            Some(Found {
                score: sigmoid(logit),
                phrase,
                corners: std::array::from_fn(|i| corners[i] * sides[i]),
            })
        });
        found
            .filter(|found| found.score > threshold as f32)
            .collect()
    }
}

/// The first of the greatest.
fn best(logits: &[f32]) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for (at, &logit) in logits.iter().enumerate() {
        if best.is_none_or(|(_, greatest)| logit > greatest) {
            best = Some((at, logit));
        }
    }
    best
}

#[expect(clippy::cast_possible_truncation, reason = "scores have 32 bits")]
fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

fn area_of([left, top, right, bottom]: [f64; 4]) -> f64 {
    (right - left) * (bottom - top)
}

fn iou(a: [f32; 4], b: [f32; 4]) -> f64 {
    let (a, b) = (a.map(f64::from), b.map(f64::from));
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let shared = width * height;
    let union = area_of(a) + area_of(b) - shared;
    if union == 0.0 { 0.0 } else { shared / union }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_once_and_boxes_keep_apart() {
        let rule = Grounding {
            iou_thr: 0.5,
            large_area_ratio_thr: 0.95,
            conf_thr: 0.0,
        };
        let recall = |logits: &[f32], boxes: &[f32], phrases| {
            let found = Detections {
                logits,
                stride: 2,
                boxes,
                size: (100, 50),
            };
            rule.recall(&found, phrases)
        };
        let left = [0.25, 0.5, 0.4, 0.4];
        let right = [0.75, 0.5, 0.4, 0.4];
        let whole = [0.5, 0.5, 1.0, 1.0];
        let pair = |a: [f32; 4], b: [f32; 4]| [a, b].concat();
        assert!((recall(&[3.0, 1.0, 1.0, 2.0], &pair(left, right), 2) - 1.0).abs() < 1e-9);
        assert!((recall(&[3.0, 1.0, 2.0, 1.0], &pair(left, right), 2) - 0.5).abs() < 1e-9);
        assert!((recall(&[3.0, 1.0, 1.0, 2.0], &pair(left, left), 2) - 0.5).abs() < 1e-9);
        assert!((recall(&[3.0, 1.0, 1.0, 2.0], &pair(whole, right), 2) - 0.5).abs() < 1e-9);
        // The second logit belongs to no phrase.
        assert!((recall(&[1.0, 9.0, 2.0, 9.0], &pair(whole, left), 1) - 1.0).abs() < 1e-9);
    }
}
