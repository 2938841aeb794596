//! Supervised fastText models (`.bin` and quantised `.ftz`), read to tell the language of a text.
//!
//! The file is not trusted: every size is checked against what is left of it before anything is
//! allocated. Sums are made in single precision and in fastText's order, so that scores are equal
//! to the last bit.

use std::collections::HashMap;
use std::fmt;

/// What a file starts with.
const MAGIC: i32 = 793_712_314;
/// What labels start with.
const LABEL: &str = "__label__";
/// The token that stands for the end of a line.
const END: &[u8] = b"</s>";
/// Centroids of a product quantiser.
const CENTROIDS: usize = 256;

/// Why a model file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastTextError(String);

impl fmt::Display for FastTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FastTextError {}

/// A model that is ready to predict.
#[derive(Debug)]
pub struct FastText {
    dimensions: usize,
    word_ngrams: usize,
    /// Fewest and most characters of a piece of a word; no pieces if the most is 0.
    pieces: (usize, usize),
    bucket: u32,
    entries: HashMap<Box<[u8]>, u32>,
    words: usize,
    labels: Vec<String>,
    pruned: Option<HashMap<u32, u32>>,
    input: Matrix,
    output: Matrix,
    loss: Loss,
}

#[derive(Debug)]
enum Loss {
    /// A binary tree over the labels: children of each inner node, by number.
    Tree(Vec<(usize, usize)>),
    Softmax,
    /// One sigmoid a label.
    Sigmoids(Vec<f32>),
}

impl FastText {
    /// Reads a model file.
    ///
    /// # Errors
    /// If it is no supervised fastText model, or damaged.
    pub fn parse(file: &[u8]) -> Result<Self, FastTextError> {
        let mut reader = Reader(file);
        if reader.int().ok() != Some(MAGIC) {
            return Err(error("it is not a fastText model"));
        }
        let version = reader.int()?;
        if !(11..=12).contains(&version) {
            return Err(error(format!("its version is {version}, not 11 or 12")));
        }
        let dimensions = reader.size("the dimension")?;
        for _ in 0..4 {
            reader.int()?;
        }
        let word_ngrams = reader.int()?.max(1);
        let loss = reader.int()?;
        if reader.int()? != 3 {
            return Err(error(
                "it is a model of word vectors, which predicts no labels",
            ));
        }
        let bucket = reader.size("the number of buckets")?;
        let shortest = reader.int()?.max(0);
        let longest = reader.int()?.max(0);
        reader.take(4 + 8)?;
        if dimensions == 0 {
            return Err(error("the dimension is 0"));
        }
        // Older supervised models had no pieces of words, whatever the file says.
        let longest = if version == 11 { 0 } else { longest };
        let dictionary = Dictionary::read(&mut reader)?;
        let quantised = reader.flag()?;
        if !quantised && dictionary.pruned.is_some() {
            return Err(error("it is pruned but not quantised"));
        }
        let input = Matrix::read(&mut reader, quantised)?;
        let output = reader.flag()?;
        let output = Matrix::read(&mut reader, quantised && output)?;
        if input.columns != dimensions || output.columns != dimensions {
            return Err(error("its matrices do not have its dimension"));
        }
        let labels = dictionary.labels.len();
        // The tree has one row for each of its inner nodes, and one that is not used.
        if labels == 0 || output.rows != labels {
            return Err(error("its labels do not match its output matrix"));
        }
        if dictionary.words > input.rows {
            return Err(error("its words do not match its input matrix"));
        }
        let loss = match loss {
            1 => Loss::Tree(tree(&dictionary.label_counts)?),
            3 => Loss::Softmax,
            2 | 4 => Loss::Sigmoids(sigmoids()),
            other => return Err(error(format!("its loss {other} is unknown"))),
        };
        Ok(Self {
            dimensions,
            word_ngrams: usize::try_from(word_ngrams).unwrap_or(1),
            pieces: (
                usize::try_from(shortest).unwrap_or(0),
                usize::try_from(longest).unwrap_or(0),
            ),
            bucket: u32::try_from(bucket).unwrap_or(0),
            entries: dictionary.entries,
            words: dictionary.words,
            labels: dictionary.labels,
            pruned: dictionary.pruned,
            input,
            output,
            loss,
        })
    }

    /// The most probable label of a text of one line, without its prefix, and its score, which
    /// may exceed 1 a little; `None` if no label is probable enough to have any.
    #[must_use]
    pub fn predict(&self, line: &str) -> Option<(&str, f32)> {
        let rows = self.rows(line);
        let hidden = self.average(&rows)?;
        let (label, log) = match &self.loss {
            Loss::Tree(tree) => self.descend(tree, &hidden),
            Loss::Softmax => best(&softmax(self.scores(&hidden))),
            Loss::Sigmoids(table) => {
                let scores = self.scores(&hidden);
                best(
                    &scores
                        .map(|score| sigmoid(table, score))
                        .collect::<Vec<_>>(),
                )
            }
        }?;
        Some((self.labels.get(label)?, log.exp()))
    }

    /// The rows of the input matrix that stand for a text.
    fn rows(&self, line: &str) -> Vec<u32> {
        let mut rows = Vec::new();
        let mut hashes = Vec::new();
        let separator = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0);
        let tokens = line.as_bytes().split(separator);
        for token in tokens.filter(|token| !token.is_empty()).chain([END]) {
            let id = self.entries.get(token).copied();
            let is_word = match id {
                Some(id) => (id as usize) < self.words,
                None => !token.starts_with(LABEL.as_bytes()),
            };
            if is_word {
                rows.extend(id);
                if token != END && (id.is_none() || self.pieces.1 > 0) {
                    self.add_pieces(token, &mut rows);
                }
                hashes.push(hash(token));
            }
            if token == END {
                break;
            }
        }
        self.add_ngrams(&hashes, &mut rows);
        rows
    }

    /// The pieces of a word between its marks `<` and `>`, by length in characters.
    fn add_pieces(&self, word: &[u8], rows: &mut Vec<u32>) {
        let (shortest, longest) = self.pieces;
        let marked = [b"<", word, b">"].concat();
        let starts: Vec<usize> = (0..marked.len())
            .filter(|&at| marked.get(at).is_some_and(|byte| byte & 0xc0 != 0x80))
            .chain([marked.len()])
            .collect();
        let characters = starts.len() - 1;
        for (first, &start) in starts.iter().enumerate().take(characters) {
            for length in shortest.max(1)..=longest.min(characters - first) {
                let end = starts.get(first + length).copied().unwrap_or(start);
                // The marks alone are no pieces.
                if length == 1 && (first == 0 || end == marked.len()) {
                    continue;
                }
                let piece = marked.get(start..end).unwrap_or_default();
                self.add_bucket(u64::from(hash(piece)), rows);
            }
        }
    }

    fn add_ngrams(&self, hashes: &[u32], rows: &mut Vec<u32>) {
        // Hashes are signed where they are put together.
        let signed = |hash: u32| i64::from(hash.cast_signed()).cast_unsigned();
        for (at, &first) in hashes.iter().enumerate() {
            let mut sum = signed(first);
            let others = hashes.iter().skip(at + 1).take(self.word_ngrams - 1);
            for &other in others {
                sum = sum.wrapping_mul(116_049_371).wrapping_add(signed(other));
                self.add_bucket(sum, rows);
            }
        }
    }

    fn add_bucket(&self, hash: u64, rows: &mut Vec<u32>) {
        let Some(bucket) = hash.checked_rem(u64::from(self.bucket)) else {
            return;
        };
        let bucket = u32::try_from(bucket).unwrap_or_default();
        let kept = match &self.pruned {
            None => Some(bucket),
            Some(kept) => kept.get(&bucket).copied(),
        };
        let words = u32::try_from(self.words).unwrap_or(u32::MAX);
        rows.extend(kept.and_then(|bucket| words.checked_add(bucket)));
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "single precision is fastText's"
    )]
    fn average(&self, rows: &[u32]) -> Option<Vec<f32>> {
        if rows.is_empty() {
            return None;
        }
        let mut sum = vec![0.0; self.dimensions];
        for &row in rows {
            self.input.add_row(row as usize, &mut sum);
        }
        let scale = (1.0 / rows.len() as f64) as f32;
        for x in &mut sum {
            *x *= scale;
        }
        Some(sum)
    }

    fn scores<'a>(&'a self, hidden: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        (0..self.labels.len()).map(|row| self.output.dot_row(row, hidden))
    }

    /// The best leaf of the tree, with the logarithm of its score.
    fn descend(&self, tree: &[(usize, usize)], hidden: &[f32]) -> Option<(usize, f32)> {
        let leaves = self.labels.len();
        let mut best: Option<(usize, f32)> = None;
        let root = (leaves + tree.len()).checked_sub(1)?;
        let mut open = vec![(root, 0.0_f32)];
        while let Some((node, score)) = open.pop() {
            if score < log(0.0) || best.is_some_and(|(_, best)| score < best) {
                continue;
            }
            let Some(inner) = node.checked_sub(leaves) else {
                best = Some((node, score));
                continue;
            };
            let (left, right) = tree.get(inner).copied()?;
            let (no, yes) = branches(self.output.dot_row(inner, hidden));
            // The left branch is looked at first.
            open.push((right, score + yes));
            open.push((left, score + no));
        }
        best
    }
}

/// The logarithms of going left and right at a node.
#[expect(
    clippy::cast_possible_truncation,
    reason = "single precision is fastText's"
)]
fn branches(score: f32) -> (f32, f32) {
    let right = (1.0 / f64::from(1.0 + (-score).exp())) as f32;
    let left = (1.0 - f64::from(right)) as f32;
    (log(left), log(right))
}

/// fastText's logarithm, which is defined for 0.
#[expect(
    clippy::cast_possible_truncation,
    reason = "single precision is fastText's"
)]
fn log(x: f32) -> f32 {
    (f64::from(x) + 1e-5).ln() as f32
}

/// The best label, the last of equal ones, with the logarithm of its score.
fn best(scores: &[f32]) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for (label, &score) in scores.iter().enumerate() {
        let score = log(score);
        if best.is_none_or(|(_, best)| score >= best) {
            best = Some((label, score));
        }
    }
    best
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "single precision is fastText's"
)]
fn softmax(scores: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut scores: Vec<f32> = scores.collect();
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in &mut scores {
        *score = f64::from(*score - largest).exp() as f32;
        sum += *score;
    }
    for score in &mut scores {
        *score /= sum;
    }
    scores
}

/// Values of the sigmoid between -8 and 8.
#[expect(
    clippy::cast_possible_truncation,
    reason = "single precision is fastText's"
)]
fn sigmoids() -> Vec<f32> {
    (0..=512_u16)
        .map(|i| {
            let x = f32::from(i * 16) / 512.0 - 8.0;
            (1.0 / (1.0 + f64::from((-x).exp()))) as f32
        })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the score lies within the table"
)]
fn sigmoid(table: &[f32], score: f32) -> f32 {
    if score < -8.0 {
        return 0.0;
    }
    if score > 8.0 {
        return 1.0;
    }
    let at = (score + 8.0) * 512.0 / 8.0 / 2.0;
    table.get(at as usize).copied().unwrap_or_default()
}

/// FNV-1a of 32 bits, where bytes are signed.
fn hash(text: &[u8]) -> u32 {
    text.iter().fold(2_166_136_261, |hash, &byte| {
        let signed = i32::from(byte.cast_signed()).cast_unsigned();
        (hash ^ signed).wrapping_mul(16_777_619)
    })
}

/// The tree that hierarchical softmax builds over labels: rare ones lie deep. Labels come by
/// falling count; the result holds the children of each inner node in the order of their making,
/// numbered behind the labels.
fn tree(counts: &[i64]) -> Result<Vec<(usize, usize)>, FastTextError> {
    /// What stands for the count of a node that is not made yet.
    const HUGE: i64 = 1_000_000_000_000_000;
    if counts.iter().any(|count| !(0..HUGE).contains(count)) {
        return Err(error("a label has an impossible count"));
    }
    let leaves = counts.len();
    let mut sums: Vec<i64> = Vec::with_capacity(leaves);
    let mut tree = Vec::with_capacity(leaves);
    let mut rest = counts.iter().enumerate().rev().peekable();
    let mut made = 0;
    for _ in 1..leaves {
        let mut smallest = || {
            let inner = sums.get(made).copied().unwrap_or(HUGE);
            if let Some((leaf, &count)) = rest.next_if(|(_, count)| **count < inner) {
                return (leaf, count);
            }
            made += 1;
            (leaves + made - 1, inner)
        };
        let (left, right) = (smallest(), smallest());
        tree.push((left.0, right.0));
        sums.push(left.1.saturating_add(right.1));
    }
    // A node may only lead to nodes that were made before it, or the descent would not end.
    let sound = tree
        .iter()
        .zip(leaves..)
        .all(|(&(left, right), node)| left < node && right < node);
    if sound {
        Ok(tree)
    } else {
        Err(error("its labels make no tree"))
    }
}

/// The words and labels of a model.
struct Dictionary {
    entries: HashMap<Box<[u8]>, u32>,
    words: usize,
    labels: Vec<String>,
    label_counts: Vec<i64>,
    /// Where the buckets that were kept went.
    pruned: Option<HashMap<u32, u32>>,
}

impl Dictionary {
    fn read(reader: &mut Reader) -> Result<Self, FastTextError> {
        let size = reader.size("the number of entries")?;
        let words = reader.size("the number of words")?;
        let labels = reader.size("the number of labels")?;
        reader.long()?;
        let pruned = reader.long()?;
        if words.checked_add(labels) != Some(size) {
            return Err(error("its words and labels are not all of its entries"));
        }
        // An entry takes ten bytes at least.
        reader.expect(size, 10, "entries")?;
        let mut dictionary = Self {
            entries: HashMap::with_capacity(size),
            words,
            labels: Vec::with_capacity(labels),
            label_counts: Vec::with_capacity(labels),
            pruned: None,
        };
        for id in 0..size {
            let text = reader.text()?;
            let count = reader.long()?;
            let is_label = reader.flag()?;
            if is_label != (id >= words) {
                return Err(error("its labels do not come behind its words"));
            }
            if is_label {
                let label = String::from_utf8(text.to_vec())
                    .map_err(|_| error("a label is not valid UTF-8"))?;
                dictionary.labels.push(label.replace(LABEL, ""));
                dictionary.label_counts.push(count);
            }
            let id = u32::try_from(id).unwrap_or(u32::MAX);
            dictionary.entries.insert(text.into(), id);
        }
        if let Ok(pairs) = usize::try_from(pruned) {
            reader.expect(pairs, 8, "kept buckets")?;
            let mut kept = HashMap::with_capacity(pairs);
            for _ in 0..pairs {
                let (from, to) = (reader.int()?, reader.int()?);
                kept.insert(from.cast_unsigned(), to.cast_unsigned());
            }
            dictionary.pruned = Some(kept);
        }
        Ok(dictionary)
    }
}

/// A matrix of which rows are asked for; a row beyond its end counts as zeros.
#[derive(Debug)]
struct Matrix {
    rows: usize,
    columns: usize,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Dense(Vec<f32>),
    Quantised {
        codes: Vec<u8>,
        rows: Quantiser,
        norms: Option<(Vec<u8>, Quantiser)>,
    },
}

/// A product quantiser: every row is cut into parts, and each part is one of 256 centroids.
#[derive(Debug)]
struct Quantiser {
    parts: usize,
    /// Columns of a part, and of the last one.
    width: (usize, usize),
    centroids: Vec<f32>,
}

impl Matrix {
    fn read(reader: &mut Reader, quantised: bool) -> Result<Self, FastTextError> {
        let with_norms = quantised && reader.flag()?;
        let rows = reader.long_size("the rows of a matrix")?;
        let columns = reader.long_size("the columns of a matrix")?;
        if !quantised {
            let cells = rows
                .checked_mul(columns)
                .ok_or_else(|| error("a matrix is too large"))?;
            let store = Store::Dense(reader.floats(cells)?);
            return Ok(Self {
                rows,
                columns,
                store,
            });
        }
        let size = reader.size("the size of a matrix's codes")?;
        let codes = reader.take(size)?.to_vec();
        let parts = Quantiser::read(reader, columns)?;
        if parts.parts.checked_mul(rows) != Some(size) {
            return Err(error("a matrix does not have one code a part"));
        }
        let norms = if with_norms {
            let codes = reader.take(rows)?.to_vec();
            Some((codes, Quantiser::read(reader, 1)?))
        } else {
            None
        };
        Ok(Self {
            rows,
            columns,
            store: Store::Quantised {
                codes,
                rows: parts,
                norms,
            },
        })
    }

    fn add_row(&self, row: usize, sum: &mut [f32]) {
        match &self.store {
            Store::Dense(cells) => {
                let start = row.saturating_mul(self.columns);
                let cells = cells.get(start..).unwrap_or_default();
                for (sum, cell) in sum.iter_mut().zip(cells) {
                    *sum += cell;
                }
            }
            Store::Quantised { rows, .. } => {
                let norm = self.norm(row);
                let parts = sum.chunks_mut(rows.width.0.max(1));
                for (part, centroid) in parts.zip(self.centroids(row)) {
                    for (sum, cell) in part.iter_mut().zip(centroid) {
                        *sum += norm * cell;
                    }
                }
            }
        }
    }

    fn dot_row(&self, row: usize, vector: &[f32]) -> f32 {
        let mut sum = 0.0;
        match &self.store {
            Store::Dense(cells) => {
                let start = row.saturating_mul(self.columns);
                let cells = cells.get(start..).unwrap_or_default();
                for (x, cell) in vector.iter().zip(cells) {
                    sum += cell * x;
                }
                sum
            }
            Store::Quantised { rows, .. } => {
                let parts = vector.chunks(rows.width.0.max(1));
                for (part, centroid) in parts.zip(self.centroids(row)) {
                    for (x, cell) in part.iter().zip(centroid) {
                        sum += x * cell;
                    }
                }
                sum * self.norm(row)
            }
        }
    }

    fn norm(&self, row: usize) -> f32 {
        let Store::Quantised {
            norms: Some((codes, quantiser)),
            ..
        } = &self.store
        else {
            return 1.0;
        };
        let code = codes.get(row).copied().unwrap_or_default();
        let centroid = quantiser.centroid(0, code).first();
        centroid.copied().unwrap_or_default()
    }

    /// The centroids of a row, part by part.
    fn centroids(&self, row: usize) -> impl Iterator<Item = &[f32]> {
        let found = match &self.store {
            Store::Dense(_) => None,
            Store::Quantised { codes, rows, .. } => {
                let codes = codes.chunks(rows.parts.max(1)).nth(row);
                codes.map(|codes| (codes, rows))
            }
        };
        found.into_iter().flat_map(|(codes, quantiser)| {
            let codes = codes.iter().enumerate();
            codes.map(move |(part, &code)| quantiser.centroid(part, code))
        })
    }
}

impl Quantiser {
    fn read(reader: &mut Reader, columns: usize) -> Result<Self, FastTextError> {
        let dimension = reader.size("the dimension of a quantiser")?;
        let parts = reader.size("the parts of a quantiser")?;
        let width = reader.size("the width of a part")?;
        let last = reader.size("the width of the last part")?;
        let covered = parts
            .checked_sub(1)
            .and_then(|parts| parts.checked_mul(width))
            .and_then(|columns| columns.checked_add(last));
        if dimension != columns || covered != Some(columns) || last > width {
            return Err(error("a quantiser does not fit its matrix"));
        }
        let centroids = reader.floats(columns.saturating_mul(CENTROIDS))?;
        Ok(Self {
            parts,
            width: (width, last),
            centroids,
        })
    }

    fn centroid(&self, part: usize, code: u8) -> &[f32] {
        let (width, last) = self.width;
        let own = if part + 1 == self.parts { last } else { width };
        let start = part * CENTROIDS * width + usize::from(code) * own;
        self.centroids.get(start..start + own).unwrap_or_default()
    }
}

/// The bytes that are left of a file.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FastTextError> {
        let taken = self.0.split_at_checked(length);
        let (taken, rest) = taken.ok_or_else(|| error("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Fails if `count` things of at least `size` bytes cannot follow.
    fn expect(&self, count: usize, size: usize, what: &str) -> Result<(), FastTextError> {
        match count.checked_mul(size) {
            Some(bytes) if bytes <= self.0.len() => Ok(()),
            _ => Err(error(format!("it is too short for {count} {what}"))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FastTextError> {
        let taken = self.take(N)?.first_chunk();
        taken.copied().ok_or_else(|| error("it is cut off"))
    }

    fn int(&mut self) -> Result<i32, FastTextError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    fn long(&mut self) -> Result<i64, FastTextError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, FastTextError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(error(format!("a switch is {other}, not 0 or 1"))),
        }
    }

    fn size(&mut self, what: &str) -> Result<usize, FastTextError> {
        let value = self.int()?;
        usize::try_from(value).map_err(|_| error(format!("{what} is {value}")))
    }

    fn long_size(&mut self, what: &str) -> Result<usize, FastTextError> {
        let value = self.long()?;
        usize::try_from(value).map_err(|_| error(format!("{what} are {value}")))
    }

    /// A text up to the byte 0, which is taken too.
    fn text(&mut self) -> Result<&'a [u8], FastTextError> {
        let end = memchr::memchr(0, self.0).ok_or_else(|| error("it is cut off"))?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, FastTextError> {
        self.expect(count, 4, "numbers")?;
        let (floats, _) = self.take(count * 4)?.as_chunks::<4>();
        Ok(floats
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect())
    }
}

fn error(message: impl Into<String>) -> FastTextError {
    FastTextError(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Vec<u8> {
        std::fs::read(format!("../../fixtures/{name}")).unwrap()
    }

    #[test]
    fn hashes_are_those_of_signed_bytes() {
        assert_eq!(hash(b""), 2_166_136_261);
        assert_eq!(hash(b"a"), 0xe40c_292c);
        // 0xe9 is -23 there: its sign fills the upper bytes.
        assert_ne!(
            hash(b"\xe9"),
            (0x811c_9dc5_u32 ^ 0xe9).wrapping_mul(16_777_619)
        );
    }

    #[test]
    fn every_kind_of_model_predicts_as_recorded() {
        // Predictions of fastText itself, written by fixtures/models.py.
        let expected: HashMap<String, Vec<(String, String, f64)>> =
            serde_json::from_slice(&model("models/lid_expected.json")).unwrap();
        assert_eq!(expected.len(), 4);
        for (name, predictions) in expected {
            let read = FastText::parse(&model(&name)).unwrap();
            for (text, label, score) in predictions {
                let found = read
                    .predict(&text)
                    .map(|(label, score)| (label, f64::from(score)));
                assert_eq!(found, Some((label.as_str(), score)), "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let sound = model("cache/models/lid.176.bin");
        assert!(FastText::parse(b"").is_err() && FastText::parse(b"PK\x03\x04 zip").is_err());
        for end in (0..sound.len()).step_by(97) {
            assert!(FastText::parse(&sound[..end]).is_err(), "cut at {end}");
        }
        // Sizes that lie must neither panic nor take memory.
        for at in (8..400).step_by(4) {
            for value in [-1_i32, i32::MAX, 0] {
                let mut file = sound.clone();
                file[at..at + 4].copy_from_slice(&value.to_le_bytes());
                if let Ok(model) = FastText::parse(&file) {
                    let _ = model.predict("the boat é");
                }
            }
        }
        let mut words = sound;
        words[36] = 1;
        let problem = FastText::parse(&words).unwrap_err().to_string();
        assert!(problem.contains("word vectors"), "{problem}");
    }
}
