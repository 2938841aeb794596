//! Rows by their vectors: those that are near each other are joined, and the first one of each set
//! stands, or the one that is chosen; or so many are taken that are far from each other.
//!
//! To join, every pair is compared, block against block. A pair is given up as soon as what is left of both
//! vectors cannot bring it to the threshold (Cauchy and Schwarz), and not looked at if others have
//! joined its rows: both change no answer. Sums are taken in one order, so that all processors agree.

use std::io;

use rayon::ThreadPool;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, IntoParallelRefMutIterator as _,
    ParallelIterator as _,
};
use rayon::slice::ParallelSlice as _;

use super::choosing::Ranks;
use super::{Exchange, ExchangeError, Records, Resolution};
use crate::io::workspace::Lengths;
use crate::io::{Log, Workspace};
use crate::op::{Choice, Clusters, VectorOperator, VectorRule};

/// Numbers that are multiplied before it is asked whether a pair can still be near.
const CHUNK: usize = 64;

/// Sums that run beside each other in a chunk.
const LANES: usize = 16;

/// How far rounding may lead the test for giving up astray, with room to spare.
const SLACK: f32 = 1e-4;

/// Rows that are compared with a block before their joins are known to the next ones.
const AT_ONCE: usize = 64;

/// Bytes of a block where the memory is not bounded.
const BLOCK: u64 = 256 << 20;

/// Rows are recorded with their vectors.
pub struct ByVectors<'s> {
    /// The operator.
    pub op: &'s dyn VectorOperator,
    /// Which row stays.
    pub choice: &'s Choice,
}

impl Exchange for ByVectors<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        budget: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        Ok(Box::new(VectorRecords {
            op: self.op,
            log: workspace.log(name)?,
            ranks: Ranks::open(self.choice, workspace, name)?,
            budget,
        }))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        workspace.remove(name);
        Ranks::remove(self.choice, workspace, name);
    }
}

/// The vectors of all rows, one after the other; a row without one has zeros, which are near nothing.
struct VectorRecords<'e> {
    op: &'e dyn VectorOperator,
    log: Log,
    ranks: Ranks<'e>,
    budget: Option<u64>,
}

impl VectorRecords<'_> {
    fn record_bytes(&self) -> usize {
        self.op.dims() * 4
    }

    fn read(&self, rows: &[u32]) -> io::Result<Block> {
        let mut bytes = vec![0; self.record_bytes()];
        let mut block = Block::of(self.op.dims(), rows.len());
        for &row in rows {
            let at = u64::from(row) * bytes.len() as u64;
            self.log.read_exact_at(&mut bytes, at)?;
            let (words, _) = bytes.as_chunks::<4>();
            block.push(words.iter().map(|word| f32::from_le_bytes(*word)));
        }
        Ok(block)
    }
}

impl Records for VectorRecords<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        let record = self.ranks.push(record)?.unwrap_or_default();
        if record.len() == self.record_bytes() {
            self.log.append(record)
        } else {
            self.log.append(&vec![0; self.record_bytes()])
        }
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.ranks.sync(lengths)?;
        self.log.sync(lengths)
    }

    fn decide(&mut self, alive: Vec<u32>, pool: &ThreadPool) -> Result<Resolution, ExchangeError> {
        self.log.flush()?;
        match self.op.rule() {
            VectorRule::Join(threshold) => {
                let heads = self.joined(&alive, threshold, pool)?;
                self.ranks.settle(&alive, &heads, None)
            }
            VectorRule::Spread(count) => self.spread(&alive, count, pool),
        }
    }
}

impl VectorRecords<'_> {
    /// For each row the place of the first one of its set.
    fn joined(&self, alive: &[u32], threshold: f32, pool: &ThreadPool) -> io::Result<Vec<u32>> {
        let mut clusters = Clusters::new(alive.len());
        // Two blocks are in memory at a time, each with its norms.
        let row = Block::row_bytes(self.op.dims());
        let rows = self.budget.unwrap_or(BLOCK) / (2 * row);
        let rows = usize::try_from(rows).unwrap_or(usize::MAX).max(AT_ONCE);
        for (number, here) in alive.chunks(rows).enumerate() {
            let block = self.read(here)?;
            let first = number * rows;
            join(
                &block,
                (first, first),
                &block,
                threshold,
                pool,
                &mut clusters,
            );
            for (other, there) in alive.chunks(rows).enumerate().skip(number + 1) {
                let places = (first, other * rows);
                join(
                    &block,
                    places,
                    &self.read(there)?,
                    threshold,
                    pool,
                    &mut clusters,
                );
            }
        }
        Ok((0..)
            .take(alive.len())
            .map(|at| clusters.find(at))
            .collect())
    }

    /// Takes `count` rows that are far from each other.
    fn spread(
        &self,
        alive: &[u32],
        count: u64,
        pool: &ThreadPool,
    ) -> Result<Resolution, ExchangeError> {
        let bytes = Block::row_bytes(self.op.dims()) * alive.len() as u64;
        if let Some(budget) = self.budget.filter(|budget| *budget < bytes) {
            return Err(ExchangeError::Operator(format!(
                "the vectors of {} rows take {bytes} bytes, and a quarter of max_memory is {budget}: \
                 give it more, or leave fewer rows to it",
                alive.len()
            )));
        }
        let block = self.read(alive)?;
        let taken = farthest(&block, usize::try_from(count).unwrap_or(usize::MAX), pool);
        let mut resolution = Resolution::default();
        for (row, taken) in alive.iter().zip(taken) {
            if taken {
                resolution.alive.push(*row);
            } else {
                resolution.dropped.push((*row, None));
            }
        }
        Ok(resolution)
    }
}

/// Whether each vector is one of the `count` that are taken.
fn farthest(block: &Block, count: usize, pool: &ThreadPool) -> Vec<bool> {
    let vectors: Vec<&[f32]> = block.rows().map(|(vector, _)| vector).collect();
    // The greatest product with a vector that is taken; of one that is taken, and of zeros, none.
    let mut nearest: Vec<f32> = vectors
        .iter()
        .map(|vector| {
            if vector.iter().all(|x| *x == 0.0) {
                f32::INFINITY
            } else {
                f32::NEG_INFINITY
            }
        })
        .collect();
    let mut taken = vec![false; vectors.len()];
    for _ in 0..count.min(vectors.len()) {
        let free = nearest
            .iter()
            .zip(&taken)
            .enumerate()
            .filter(|(_, (_, taken))| !**taken);
        // Of equal ones the first: `min_by` takes no later one.
        let next = free
            .min_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b))
            .map(|(at, _)| at);
        let Some(next) = next else { break };
        if let Some(slot) = taken.get_mut(next) {
            *slot = true;
        }
        let Some(new) = vectors.get(next) else { break };
        pool.install(|| {
            let rows = nearest.par_iter_mut().zip(vectors.par_iter());
            rows.with_min_len(256).for_each(|(nearest, vector)| {
                *nearest = nearest.max(whole_product(vector, new));
            });
        });
    }
    taken
}

/// The product of two vectors.
fn whole_product(x: &[f32], y: &[f32]) -> f32 {
    let chunks = x.chunks(CHUNK).zip(y.chunks(CHUNK));
    chunks.map(|(x, y)| product(x, y)).sum()
}

/// A vector, and the norms of what is left of it behind each chunk.
type Vector<'v> = (&'v [f32], &'v [f32]);

/// Vectors in memory.
struct Block {
    dims: usize,
    numbers: Vec<f32>,
    /// For each vector, the norm of what is left of it behind each chunk.
    rests: Vec<f32>,
}

impl Block {
    fn of(dims: usize, rows: usize) -> Self {
        Self {
            dims,
            numbers: Vec::with_capacity(rows * dims),
            rests: Vec::with_capacity(rows * dims.div_ceil(CHUNK)),
        }
    }

    fn row_bytes(dims: usize) -> u64 {
        4 * (dims + dims.div_ceil(CHUNK)) as u64
    }

    fn push(&mut self, vector: impl Iterator<Item = f32>) {
        let start = self.numbers.len();
        self.numbers.extend(vector);
        let vector = self.numbers.get(start..).unwrap_or_default();
        let place = self.rests.len();
        let mut left = 0.0_f64;
        for chunk in vector.chunks(CHUNK).rev() {
            self.rests.push(norm(left));
            left += chunk
                .iter()
                .map(|x| f64::from(*x) * f64::from(*x))
                .sum::<f64>();
        }
        if let Some(own) = self.rests.get_mut(place..) {
            own.reverse();
        }
    }

    /// The vectors, each with its norms.
    fn rows(&self) -> impl Iterator<Item = Vector<'_>> {
        let rests = self.rests.chunks(self.dims.div_ceil(CHUNK).max(1));
        self.numbers.chunks(self.dims.max(1)).zip(rests)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a norm, rounded")]
fn norm(squares: f64) -> f32 {
    squares.sqrt() as f32
}

/// Joins the rows of two blocks that are near each other. The blocks begin at these `places` among the
/// rows; of one block with itself each pair is looked at once.
fn join(
    a: &Block,
    places: (usize, usize),
    b: &Block,
    threshold: f32,
    pool: &ThreadPool,
    clusters: &mut Clusters,
) {
    let (first, second) = places;
    let others: Vec<Vector<'_>> = b.rows().collect();
    let own: Vec<(usize, Vector<'_>)> = a.rows().enumerate().collect();
    let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    for rows in own.chunks(AT_ONCE) {
        let heads: Vec<u32> = (second..)
            .take(others.len())
            .map(|at| clusters.find(index(at)))
            .collect();
        let own_heads: Vec<u32> = rows
            .iter()
            .map(|(at, _)| clusters.find(index(first + at)))
            .collect();
        let near = |((at, one), head): (&(usize, Vector<'_>), &u32)| {
            let from = if first == second { at + 1 } else { 0 };
            let others = others.iter().zip(&heads).enumerate().skip(from);
            let near = others.filter(|(_, (other, other_head))| {
                *other_head != head && alike(*one, **other, threshold)
            });
            near.map(|(other, _)| (index(first + at), index(second + other)))
                .collect::<Vec<_>>()
        };
        let found: Vec<Vec<(u32, u32)>> = pool.install(|| {
            let rows = rows.par_chunks(1).zip(own_heads.par_chunks(1));
            rows.map(|(row, head)| row.iter().zip(head).flat_map(near).collect())
                .collect()
        });
        for (one, other) in found.into_iter().flatten() {
            clusters.join(one, other);
        }
    }
}

/// Whether the product of two vectors is at least `threshold`.
fn alike(a: Vector<'_>, b: Vector<'_>, threshold: f32) -> bool {
    let mut sum = 0.0;
    let chunks = a.0.chunks(CHUNK).zip(b.0.chunks(CHUNK));
    for ((x, y), (left, other_left)) in chunks.zip(a.1.iter().zip(b.1)) {
        sum += product(x, y);
        if sum + left * other_left + SLACK < threshold {
            return false;
        }
    }
    sum >= threshold
}

/// The sum of the products of a chunk, in [`LANES`] sums that are added in order.
fn product(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (x, rest) = x.as_chunks::<LANES>();
    let (y, other_rest) = y.as_chunks::<LANES>();
    for (x, y) in x.iter().zip(y) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    let tail: f32 = rest.iter().zip(other_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(numbers: &[f32]) -> Vec<f32> {
        let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
        numbers.iter().map(|x| x / norm.max(1e-9)).collect()
    }

    fn heads(vectors: &[Vec<f32>], blocks: usize, threshold: f32) -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let dims = vectors[0].len();
        let parts: Vec<Block> = vectors
            .chunks(blocks)
            .map(|part| {
                let mut block = Block::of(dims, part.len());
                for vector in part {
                    block.push(vector.iter().copied());
                }
                block
            })
            .collect();
        let mut clusters = Clusters::new(vectors.len());
        for (i, a) in parts.iter().enumerate() {
            for (j, b) in parts.iter().enumerate().skip(i) {
                join(
                    a,
                    (i * blocks, j * blocks),
                    b,
                    threshold,
                    &pool,
                    &mut clusters,
                );
            }
        }
        (0..)
            .take(vectors.len())
            .map(|at| clusters.find(at))
            .collect()
    }

    #[test]
    fn the_farthest_are_taken_first_and_rows_without_a_vector_last() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let at = |degrees: f32| vec![degrees.to_radians().cos(), degrees.to_radians().sin()];
        let vectors = [
            vec![0.0, 0.0],
            at(0.0),
            at(10.0),
            at(180.0),
            at(90.0),
            at(180.0),
        ];
        let mut block = Block::of(2, vectors.len());
        for vector in &vectors {
            block.push(vector.iter().copied());
        }
        let taken = |count| {
            let taken = farthest(&block, count, &pool);
            let places = taken.iter().enumerate().filter(|(_, taken)| **taken);
            places.map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(taken(0), [0; 0]);
        assert_eq!(taken(1), [1]);
        assert_eq!(taken(2), [1, 3]);
        assert_eq!(taken(3), [1, 3, 4]);
        assert_eq!(taken(4), [1, 2, 3, 4]);
        assert_eq!(taken(5), [1, 2, 3, 4, 5]);
        assert_eq!(taken(9), [0, 1, 2, 3, 4, 5]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(60))]
        #[test]
        fn blocks_join_what_comparing_all_pairs_joins(
            seeds in proptest::collection::vec((0u16..5, -0.4_f32..0.4, 0usize..150), 1..80),
            blocks in 1usize..70,
            threshold in 0.5_f32..0.999,
        ) {
            // Five directions in 150 dimensions, each row off one of them by some.
            let vectors: Vec<Vec<f32>> = seeds.iter().map(|(kind, off, at)| {
                let mut vector: Vec<f32> = (0..150u16).map(|i| (f32::from(i) * (1.0 + f32::from(*kind))).sin()).collect();
                vector[*at] += off * 40.0;
                unit(&vector)
            }).collect();
            let mut plain = Clusters::new(vectors.len());
            for (i, a) in vectors.iter().enumerate() {
                for (j, b) in vectors.iter().enumerate().skip(i + 1) {
                    if whole_product(a, b) >= threshold {
                        plain.join(u32::try_from(i).unwrap(), u32::try_from(j).unwrap());
                    }
                }
            }
            let plain: Vec<u32> = (0..).take(vectors.len()).map(|at| plain.find(at)).collect();
            proptest::prop_assert_eq!(heads(&vectors, blocks, threshold), plain);
        }
    }

    #[test]
    fn rows_without_a_vector_are_near_nothing() {
        let zeros = vec![0.0; 8];
        let one = unit(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let found = heads(&[zeros.clone(), one.clone(), zeros, one], 3, 0.5);
        assert_eq!(found, [0, 1, 2, 1]);
    }
}
