//! Rows by their vectors: those that are near each other are joined, and the first one of each set
//! stands, or the one that is chosen; or so many are taken that are far from each other.
//!
//! To join, every pair is compared, block against block. A pair is given up as soon as what is left of both
//! vectors cannot bring it to the threshold (Cauchy and Schwarz), and not looked at if others have
//! joined its rows: both change no answer. Sums are taken in one order, so that all processors agree.
//!
//! Where there is a GPU and enough to do, it says which pairs may be near, and which rows may be the
//! farthest ([`Products`]); these alone are then compared here, so that the outcome is the same.

use std::io;

use rayon::ThreadPool;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, IntoParallelRefMutIterator as _,
    ParallelIterator as _,
};
use rayon::slice::ParallelSlice as _;

use super::choosing::Ranks;
use super::{Exchange, ExchangeError, Machine, Records, Resolution};
use crate::io::workspace::Lengths;
use crate::io::{Log, Workspace};
use crate::op::{Choice, Clusters, VectorOperator, VectorRule};
use crate::service::{Found, Products, ServiceError, rounding};

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

    fn decide(
        &mut self,
        alive: Vec<u32>,
        machine: Machine<'_>,
    ) -> Result<Resolution, ExchangeError> {
        self.log.flush()?;
        match self.op.rule() {
            VectorRule::Join(threshold) => {
                let heads = self.joined(&alive, threshold, machine)?;
                self.ranks.settle(&alive, &heads, None)
            }
            VectorRule::Spread(count) => self.spread(&alive, count, machine),
        }
    }
}

impl VectorRecords<'_> {
    /// For each row the place of the first one of its set.
    fn joined(
        &self,
        alive: &[u32],
        threshold: f32,
        machine: Machine<'_>,
    ) -> Result<Vec<u32>, ExchangeError> {
        let pairs = alive.len() as u64 * alive.len() as u64 / 2;
        let mut joining = Joining {
            clusters: Clusters::new(alive.len()),
            threshold,
            pool: machine.pool,
            products: Products::open(machine.host, pairs.saturating_mul(self.op.dims() as u64))
                .map_err(of_device)?,
        };
        // Two blocks are in memory at a time, each with its norms.
        let row = Block::row_bytes(self.op.dims());
        let rows = self.budget.unwrap_or(BLOCK) / (2 * row);
        let rows = usize::try_from(rows).unwrap_or(usize::MAX).max(AT_ONCE);
        for (number, here) in alive.chunks(rows).enumerate() {
            let block = self.read(here)?;
            joining.place(HERE, &block)?;
            let own: Vec<Vector<'_>> = block.rows().collect();
            let own = Run {
                first: number * rows,
                rows: &own,
            };
            joining.join((HERE, own), (HERE, own))?;
            for (other, there) in alive.chunks(rows).enumerate().skip(number + 1) {
                let block = self.read(there)?;
                joining.place(THERE, &block)?;
                let others: Vec<Vector<'_>> = block.rows().collect();
                let others = Run {
                    first: other * rows,
                    rows: &others,
                };
                joining.join((HERE, own), (THERE, others))?;
            }
        }
        let clusters = joining.clusters;
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
        machine: Machine<'_>,
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
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(alive.len());
        let products = alive.len() as u64 * count as u64;
        let products = products.saturating_mul(self.op.dims() as u64);
        let told = match Products::open(machine.host, products).map_err(of_device)? {
            None => None,
            Some(mut products) => match farthest_told(&mut products, &block, count, machine.pool) {
                Err(error) if products.is_named() => return Err(of_device(error)),
                told => told.ok(),
            },
        };
        let taken = told.unwrap_or_else(|| farthest(&block, count, machine.pool));
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

/// [`farthest`], with a device that says which rows may be next: of several, each one's greatest product
/// is looked at here, and remembered.
fn farthest_told(
    products: &mut Products,
    block: &Block,
    count: usize,
    pool: &ThreadPool,
) -> Result<Vec<bool>, ServiceError> {
    let vectors: Vec<&[f32]> = block.rows().map(|(vector, _)| vector).collect();
    let mut taken = vec![false; vectors.len()];
    // With how many of those taken each row's greatest product is known.
    let mut nearest = vec![(f32::NEG_INFINITY, 0); vectors.len()];
    let mut order: Vec<u32> = Vec::new();
    let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let has_vector = |vector: &&[f32]| vector.iter().any(|x| *x != 0.0);
    let mut next = vectors.iter().position(has_vector).filter(|_| count > 0);
    products.place(HERE, block.dims, &block.numbers)?;
    while let Some(take) = next {
        let wanted = (count - order.len(), 2.0 * rounding(block.dims));
        let told = products.far(HERE, index(take), wanted, order.is_empty())?;
        for &row in &told.taken {
            let slot = taken.get_mut(row as usize).filter(|taken| !**taken);
            *slot.ok_or_else(|| products.nonsense())? = true;
            order.push(row);
        }
        if order.len() >= count {
            break;
        }
        let looked_at: Vec<(u32, f32)> = pool.install(|| {
            let candidates = told.candidates.par_iter();
            let known = candidates.map(|&row| {
                let vector = vectors.get(row as usize).copied().unwrap_or_default();
                let (mut greatest, known) = nearest.get(row as usize).copied().unwrap_or_default();
                for other in order.iter().skip(known) {
                    let other = vectors.get(*other as usize).copied().unwrap_or_default();
                    greatest = greatest.max(whole_product(vector, other));
                }
                (row, greatest)
            });
            known.collect()
        });
        for (row, greatest) in &looked_at {
            if let Some(slot) = nearest.get_mut(*row as usize) {
                *slot = (*greatest, order.len());
            }
        }
        // Of equal ones the first: candidates are in order, and `min_by` takes no later one.
        let first = looked_at.iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
        next = first.map(|(row, _)| *row as usize);
    }
    let left = count.saturating_sub(order.len());
    for slot in taken.iter_mut().filter(|taken| !**taken).take(left) {
        *slot = true;
    }
    Ok(taken)
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

/// What a device calls the block whose rows are compared, and the one with whose rows.
const HERE: u32 = 0;
const THERE: u32 = 1;

/// Pairs that are looked at before their joins are known to the next ones.
const PAIRS_AT_ONCE: usize = 1 << 16;

/// Rows that follow each other; the first of them has this place among all.
#[derive(Clone, Copy)]
struct Run<'r> {
    first: usize,
    rows: &'r [Vector<'r>],
}

impl Run<'_> {
    fn part(self, range: std::ops::Range<usize>) -> Self {
        Self {
            first: self.first + range.start,
            rows: self.rows.get(range).unwrap_or_default(),
        }
    }

    /// A row's place among all.
    fn place(self, at: usize) -> u32 {
        u32::try_from(self.first + at).unwrap_or(u32::MAX)
    }
}

/// The device's error as one of the exchange.
fn of_device(error: ServiceError) -> ExchangeError {
    let hint = error.hint.as_deref().unwrap_or_default();
    ExchangeError::Operator(format!("comparing on a device: {}; {hint}", error.message))
}

/// Rows on their way into sets.
struct Joining<'j> {
    clusters: Clusters,
    threshold: f32,
    pool: &'j ThreadPool,
    /// A device that says what may be near, unless it failed.
    products: Option<Products>,
}

impl Joining<'_> {
    /// Goes on without the device if it failed and nobody asked for it.
    fn without(&mut self, error: ServiceError) -> Result<(), ExchangeError> {
        match self.products.take() {
            Some(products) if products.is_named() => Err(of_device(error)),
            _ => Ok(()),
        }
    }

    fn place(&mut self, name: u32, block: &Block) -> Result<(), ExchangeError> {
        let placed = match &mut self.products {
            None => Ok(()),
            Some(products) => products.place(name, block.dims, &block.numbers),
        };
        placed.or_else(|error| self.without(error))
    }

    /// Joins the rows of two blocks that are near each other, each with the device's name of it; of one
    /// block with itself each pair is looked at once.
    fn join(
        &mut self,
        (name, own): (u32, Run<'_>),
        (other_name, others): (u32, Run<'_>),
    ) -> Result<(), ExchangeError> {
        let Some(mut products) = self.products.take() else {
            self.join_all(own, others);
            return Ok(());
        };
        let dims = own.rows.first().map_or(0, |(vector, _)| vector.len());
        let least = self.threshold - rounding(dims);
        let told = products.near((name, other_name), least, |found| match found {
            Found::Pairs(pairs) => self.join_told(own, others, pairs),
            Found::Dense(rows, other_rows) => {
                self.join_all(own.part(rows), others.part(other_rows));
            }
        });
        self.products = Some(products);
        if let Err(error) = told {
            self.without(error)?;
            self.join_all(own, others);
        }
        Ok(())
    }

    /// Joins those of `pairs` that are near.
    fn join_told(&mut self, own: Run<'_>, others: Run<'_>, pairs: &[[u32; 2]]) {
        let threshold = self.threshold;
        for pairs in pairs.chunks(PAIRS_AT_ONCE) {
            let mut apart = Vec::new();
            for &[one, other] in pairs {
                let (one, other) = (one as usize, other as usize);
                if let (Some(a), Some(b)) = (own.rows.get(one), others.rows.get(other)) {
                    let (one, other) = (own.place(one), others.place(other));
                    if self.clusters.find(one) != self.clusters.find(other) {
                        apart.push(((one, other), *a, *b));
                    }
                }
            }
            let near: Vec<(u32, u32)> = self.pool.install(|| {
                let near = apart
                    .par_iter()
                    .filter(|(_, a, b)| alike(*a, *b, threshold));
                near.map(|(pair, _, _)| *pair).collect()
            });
            for (one, other) in near {
                self.clusters.join(one, other);
            }
        }
    }

    /// Joins the rows of two runs that are near each other, after a look at each pair; where the runs
    /// overlap, at each once.
    fn join_all(&mut self, own: Run<'_>, others: Run<'_>) {
        let threshold = self.threshold;
        let own_rows: Vec<(u32, Vector<'_>)> = own
            .rows
            .iter()
            .enumerate()
            .map(|(at, row)| (own.place(at), *row))
            .collect();
        for rows in own_rows.chunks(AT_ONCE) {
            let heads: Vec<u32> = (0..others.rows.len())
                .map(|at| self.clusters.find(others.place(at)))
                .collect();
            let own_heads: Vec<u32> = rows
                .iter()
                .map(|(place, _)| self.clusters.find(*place))
                .collect();
            let near = |((place, one), head): (&(u32, Vector<'_>), &u32)| {
                let behind = (*place as usize + 1).saturating_sub(others.first);
                let others_of = others.rows.iter().zip(&heads).enumerate().skip(behind);
                let near = others_of.filter(|(_, (other, other_head))| {
                    *other_head != head && alike(*one, **other, threshold)
                });
                near.map(|(other, _)| (*place, others.place(other)))
                    .collect::<Vec<_>>()
            };
            let found: Vec<Vec<(u32, u32)>> = self.pool.install(|| {
                let rows = rows.par_chunks(1).zip(own_heads.par_chunks(1));
                rows.map(|(row, head)| row.iter().zip(head).flat_map(near).collect())
                    .collect()
            });
            for (one, other) in found.into_iter().flatten() {
                self.clusters.join(one, other);
            }
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
        let mut joining = Joining {
            clusters: Clusters::new(vectors.len()),
            threshold,
            pool: &pool,
            products: None,
        };
        for (i, a) in parts.iter().enumerate() {
            for (j, b) in parts.iter().enumerate().skip(i) {
                let own: Vec<Vector<'_>> = a.rows().collect();
                let others: Vec<Vector<'_>> = b.rows().collect();
                joining.join_all(
                    Run {
                        first: i * blocks,
                        rows: &own,
                    },
                    Run {
                        first: j * blocks,
                        rows: &others,
                    },
                );
            }
        }
        (0..)
            .take(vectors.len())
            .map(|at| joining.clusters.find(at))
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
            let plain = Clusters::new(vectors.len());
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
