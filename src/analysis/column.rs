//! Columns of numbers on disk, and what is told of one: percentiles, moments, a histogram.
//!
//! A column costs 8 bytes a value in a nameless file; one column at a time is read back into
//! memory, sorted and summarised.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::record::analysis::{Bars, Summary};
use crate::record::ordered::Ordered;

/// The percentiles of a summary, in hundredths.
pub const PERCENTILES: [(&str, f64); 11] = [
    ("0.1", 0.1),
    ("1", 1.0),
    ("5", 5.0),
    ("10", 10.0),
    ("25", 25.0),
    ("50", 50.0),
    ("75", 75.0),
    ("90", 90.0),
    ("95", 95.0),
    ("99", 99.0),
    ("99.9", 99.9),
];

/// How many bars of equal width a histogram has at most, besides one for each tail.
const BARS: usize = 50;

/// How far beyond the 5th and the 95th percentile bars of equal width go at most, in distances
/// between the two.
const FENCE: f64 = 1.5;

/// Values of eight bytes in a nameless file, in the order they came.
pub struct Spill {
    writer: BufWriter<File>,
    values: u64,
}

impl Spill {
    /// An empty file in `directory`; its space is freed when it is dropped, however the process
    /// ends.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            writer: BufWriter::with_capacity(1 << 15, tempfile::tempfile_in(directory)?),
            values: 0,
        })
    }

    /// Appends a value.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, value: u64) -> io::Result<()> {
        self.values += 1;
        self.writer.write_all(&value.to_le_bytes())
    }

    /// Reads the value at `index` back; 0 before the first.
    ///
    /// # Errors
    /// If the file cannot be read. What was pushed since [`Spill::flush`] may not be there.
    pub fn get(&self, index: Option<u64>) -> io::Result<u64> {
        let Some(index) = index else { return Ok(0) };
        let mut word = [0; 8];
        self.writer.get_ref().read_exact_at(&mut word, index * 8)?;
        Ok(u64::from_le_bytes(word))
    }

    /// Hands all values to the system.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Reads all values back.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<u64>> {
        self.writer.flush()?;
        let file = self.writer.get_mut();
        file.rewind()?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut values = Vec::with_capacity(usize::try_from(self.values).unwrap_or(0));
        let mut word = [0; 8];
        for _ in 0..self.values {
            reader.read_exact(&mut word)?;
            values.push(u64::from_le_bytes(word));
        }
        Ok(values)
    }
}

/// A column of finite numbers.
pub struct Column(Spill);

impl Column {
    /// An empty column, kept in `directory`.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn create(directory: &Path) -> io::Result<Self> {
        Spill::create(directory).map(Self)
    }

    /// Appends numbers.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn extend(&mut self, numbers: &[f64]) -> io::Result<()> {
        numbers
            .iter()
            .try_for_each(|number| self.0.push(number.to_bits()))
    }

    /// Reads the numbers back, in ascending order.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn sorted(&mut self) -> io::Result<Sorted> {
        let mut numbers: Vec<f64> = self.0.read()?.into_iter().map(f64::from_bits).collect();
        numbers.sort_unstable_by(f64::total_cmp);
        Ok(Sorted(numbers))
    }
}

/// Numbers in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts `numbers`, which must be finite.
    #[must_use]
    pub fn new(mut numbers: Vec<f64>) -> Self {
        numbers.sort_unstable_by(f64::total_cmp);
        Self(numbers)
    }

    /// The numbers.
    #[must_use]
    pub fn numbers(&self) -> &[f64] {
        &self.0
    }

    /// The percentile `q` (0 to 100) as numpy's default method has it: linear between the two
    /// nearest ranks, in its order of operations. `None` if there is no number.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is below 2^53 and not negative"
    )]
    pub fn percentile(&self, q: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let rank = last as f64 * (q / 100.0);
        let below = (rank.floor() as usize).min(last);
        let a = *self.0.get(below)?;
        let b = *self.0.get((below + 1).min(last))?;
        let t = rank - below as f64;
        Some(if t >= 0.5 {
            b - (b - a) * (1.0 - t)
        } else {
            a + (b - a) * t
        })
    }

    /// The arithmetic mean, to the last digit or the one before.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count()?;
        Some(sum(self.0.iter().copied()) / count)
    }

    /// The standard deviation of the numbers as the whole population (numpy's `ddof=0`).
    #[must_use]
    pub fn std(&self) -> Option<f64> {
        let mean = self.mean()?;
        let squares = sum(self
            .0
            .iter()
            .map(|number| (number - mean) * (number - mean)));
        Some((squares / self.count()?).sqrt())
    }

    /// Count, extremes, mean, standard deviation, percentiles and histogram as JSON.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let percentiles = PERCENTILES.iter();
        Summary {
            values: self.0.len() as u64,
            min: self.0.first().copied(),
            max: self.0.last().copied(),
            mean: self.mean(),
            std: self.std(),
            percentiles: Ordered(
                percentiles
                    .map(|(name, q)| ((*name).to_owned(), self.percentile(*q)))
                    .collect(),
            ),
            histogram: self.histogram(),
        }
    }

    /// Bars of equal width where nearly all numbers are (within the 0.1st and the 99.9th percentile,
    /// and no further than [`FENCE`] says), and a wider one for each tail beyond, so that outliers
    /// do not flatten the picture. A bar holds its lower edge but not its upper one; the last bar
    /// holds both.
    fn histogram(&self) -> Bars {
        let edges = self.edges();
        let mut counts = vec![0_u64; edges.len().saturating_sub(1)];
        let last = counts.len().saturating_sub(1);
        let mut bar = 0;
        for number in &self.0 {
            while bar < last && edges.get(bar + 1).is_some_and(|edge| number >= edge) {
                bar += 1;
            }
            if let Some(count) = counts.get_mut(bar) {
                *count += 1;
            }
        }
        Bars { edges, counts }
    }

    #[expect(clippy::cast_precision_loss, reason = "the number of bars is small")]
    fn edges(&self) -> Vec<f64> {
        let (Some(&min), Some(&max)) = (self.0.first(), self.0.last()) else {
            return Vec::new();
        };
        if min >= max {
            return vec![min, max];
        }
        let at = |q| self.percentile(q).unwrap_or(min);
        let (mut low, mut high) = (at(0.1), at(99.9));
        let spread = at(95.0) - at(5.0);
        if spread > 0.0 {
            low = low.max(at(5.0) - FENCE * spread);
            high = high.min(at(95.0) + FENCE * spread);
        }
        let whole = self.0.iter().all(|number| number.fract() == 0.0);
        let (low, high) = if low >= high {
            (min, max)
        } else if whole {
            (low.floor(), high.ceil())
        } else {
            (low, high)
        };
        let bars = BARS as f64;
        // A tail narrower than a bar would be no bar that anybody sees.
        let bar = (high - low) / bars;
        let low = if low - min < bar { min } else { low };
        let high = if max - high < bar { max } else { high };
        // Counts get bars that hold equally many whole numbers each.
        let width = if whole {
            ((high - low) / bars).ceil().max(1.0)
        } else {
            (high - low) / bars
        };
        let mut edges = Vec::with_capacity(BARS + 3);
        if min < low {
            edges.push(min);
        }
        for bar in 0..=BARS {
            let edge = low + bar as f64 * width;
            if edge >= high {
                break;
            }
            edges.push(edge);
        }
        edges.push(high);
        if max > high {
            edges.push(max);
        }
        edges
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 numbers")]
    fn count(&self) -> Option<f64> {
        (!self.0.is_empty()).then_some(self.0.len() as f64)
    }
}

/// A sum that keeps what rounding drops (Neumaier's way).
fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for number in numbers {
        let next = sum + number;
        lost += if sum.abs() >= number.abs() {
            (sum - next) + number
        } else {
            (number - next) + sum
        };
        sum = next;
    }
    sum + lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numpy_s() {
        // numpy.percentile([((i * 37) % 101) / 7 for i in range(101)], [...])
        let sorted = Sorted::new((0..101).map(|i| f64::from((i * 37) % 101) / 7.0).collect());
        let shown: Vec<f64> = PERCENTILES
            .iter()
            .map(|(_, q)| sorted.percentile(*q).unwrap())
            .collect();
        assert_eq!(shown, EXPECTED);
        assert_eq!(Sorted::new(vec![3.5]).percentile(99.9), Some(3.5));
        assert_eq!(Sorted::new(Vec::new()).percentile(50.0), None);
    }

    const EXPECTED: [f64; 11] = [
        0.014_285_714_285_714_285,
        0.142_857_142_857_142_85,
        0.714_285_714_285_714_3,
        1.428_571_428_571_428_5,
        3.571_428_571_428_571_6,
        7.142_857_142_857_143,
        10.714_285_714_285_714,
        12.857_142_857_142_858,
        13.571_428_571_428_571,
        14.142_857_142_857_142,
        14.271_428_571_428_572,
    ];

    #[test]
    fn every_number_is_in_one_bar() {
        for numbers in [
            vec![1.0],
            vec![2.0, 2.0],
            vec![1.0, 2.0],
            (0..1000).map(f64::from).collect(),
            (0..1000).map(|i| f64::from(i) / 3.0).collect(),
            (0..2000)
                .map(|i| if i == 7 { 1e6 } else { f64::from(i % 40) })
                .collect(),
        ] {
            let count = numbers.len() as u64;
            let histogram = Sorted::new(numbers).histogram();
            let Bars { edges, counts } = &histogram;
            assert_eq!(edges.len(), counts.len() + 1, "{histogram:?}");
            assert_eq!(counts.iter().sum::<u64>(), count, "{histogram:?}");
            assert!(edges.windows(2).all(|e| e[0] <= e[1]), "{histogram:?}");
            assert!(counts.len() <= BARS + 2, "{histogram:?}");
        }
    }

    #[test]
    fn no_bar_is_too_narrow_to_be_seen() {
        for numbers in [vec![0.25, 0.5], vec![0.1, 0.2, 0.9], vec![3.0, 700.0]] {
            let histogram = Sorted::new(numbers).histogram();
            let edges = &histogram.edges;
            let whole = edges.last().unwrap() - edges[0];
            let narrow = |e: &[f64]| e[1] - e[0] < whole / 100.0;
            assert!(!edges.windows(2).any(narrow), "{histogram:?}");
        }
    }

    #[test]
    fn columns_come_back_from_disk() {
        let mut column = Column::create(Path::new(".")).unwrap();
        column.extend(&[2.0, -1.5]).unwrap();
        column.extend(&[0.1]).unwrap();
        assert_eq!(column.sorted().unwrap().numbers(), [-1.5, 0.1, 2.0]);
    }
}
