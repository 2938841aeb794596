//! Bounds that come from the data: percentiles, distances from the mean, and the best rows.

use std::fmt;

use serde::Serialize;

use super::selector::share_of;

/// A bound written as a place in the distribution of what a filter measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataLimit {
    /// The place.
    pub place: DataPlace,
    /// `of all`: the distribution is that of the rows which reach the first of the neighbouring filters
    /// that wait for all rows, so that several cut at once; without it, of those that reach this filter.
    pub of_all: bool,
}

/// A place in a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DataPlace {
    /// `p99.5`: a percentile, between two values by linear interpolation.
    Percentile(f64),
    /// `3sigma`: so many standard deviations from the mean, towards the bound's own side.
    Sigma(f64),
}

/// What follows a place that is one of all rows.
const OF_ALL: &str = " of all";

/// Which end of a range a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The lower end.
    Min,
    /// The upper end.
    Max,
}

impl DataLimit {
    /// What such a bound looks like, as a regular expression.
    pub const PATTERN: &'static str =
        r"^(p(100(\.0*)?|[0-9]{1,2}(\.[0-9]+)?)|[+-]?[0-9]+(\.[0-9]+)? ?sigma)( of all)?$";

    /// Reads `p5`, `p99.5`, `3sigma`, `-1 sigma`, `p25 of all`; `None` if the text is not meant as one of
    /// them.
    ///
    /// # Errors
    /// What is wrong with a text that is meant so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let text = text.trim();
        let (place, of_all) = match text.strip_suffix(OF_ALL) {
            Some(place) => (place, true),
            None => (text, false),
        };
        let place = DataPlace::parse(place)?;
        Some(place.map(|place| Self { place, of_all }))
    }

    /// The bound among `values`, which are sorted and finite; `None` if there are none.
    #[must_use]
    pub fn resolve(self, side: Side, values: &[f64]) -> Option<f64> {
        match self.place {
            DataPlace::Percentile(percent) => percentile(values, percent),
            DataPlace::Sigma(times) => {
                let (mean, deviation) = moments(values)?;
                Some(match side {
                    Side::Min => mean - times * deviation,
                    Side::Max => mean + times * deviation,
                })
            }
        }
    }
}

impl DataPlace {
    fn parse(text: &str) -> Option<Result<Self, String>> {
        let text = text.trim_end();
        if let Some(times) = text.strip_suffix("sigma") {
            let times = times.trim_end();
            let (sign, digits) = match times.strip_prefix('-') {
                Some(digits) => (-1.0, digits),
                None => (1.0, times.strip_prefix('+').unwrap_or(times)),
            };
            return Some(match plain_number(digits) {
                Some(number) => Ok(Self::Sigma(sign * number)),
                None => Err(format!(
                    "'{text}' does not say how many standard deviations"
                )),
            });
        }
        let percent = text.strip_prefix('p')?;
        if !percent.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
            return None;
        }
        Some(match plain_number(percent) {
            Some(percent) if percent <= 100.0 => Ok(Self::Percentile(percent)),
            _ => Err(format!(
                "'{text}' is no percentile: they go from p0 to p100"
            )),
        })
    }
}

impl fmt::Display for DataLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            DataPlace::Percentile(percent) => write!(f, "p{percent}")?,
            DataPlace::Sigma(times) => write!(f, "{times}sigma")?,
        }
        f.write_str(if self.of_all { OF_ALL } else { "" })
    }
}

/// Digits with at most one point.
fn plain_number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| plain)
}

/// The percentile of sorted `values` as numpy's `percentile` has it by default.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among values that fit into memory"
)]
fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let place = percent / 100.0 * (values.len().checked_sub(1)? as f64);
    let below = *values.get(place as usize)?;
    let above = values.get(place as usize + 1).copied().unwrap_or(below);
    let share = place.fract();
    // Numpy starts from the nearer value, so that both ends are met exactly.
    Some(if share < 0.5 {
        below + (above - below) * share
    } else {
        above - (above - below) * (1.0 - share)
    })
}

/// Mean and population standard deviation.
#[expect(clippy::cast_precision_loss, reason = "a count of values in memory")]
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let first = *values.first()?;
    // Distances from a value of theirs keep great values apart.
    let mean = first + sum(values.iter().map(|value| value - first)) / count;
    let variance = sum(values.iter().map(|value| (value - mean).powi(2))) / count;
    Some((mean, variance.sqrt()))
}

/// Neumaier's sum: the rounding of each step is carried along.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() {
            (total - next) + value
        } else {
            (value - next) + total
        };
        total = next;
    }
    total + lost
}

/// A filter's bound that waits for the data.
#[derive(Debug, Clone, PartialEq)]
pub struct DataBound {
    /// The parameter.
    pub param: String,
    /// What stands for its value.
    pub limit: DataLimit,
}

/// `keep`: only so many of the rows that a filter lets pass, the greatest or the least ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Keep {
    /// Whether the least values are kept instead of the greatest.
    pub worst: bool,
    /// How many rows.
    pub amount: Amount,
    /// The stat to rank by; `None` means the filter's only one.
    pub by: Option<String>,
}

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So many.
    Rows(u64),
    /// A share of those that pass, from 0 to 100, rounded down.
    Percent(f64),
    /// Those behind the first ones, up to so many of all.
    Window(u64, u64),
}

impl Keep {
    /// What it looks like, as a regular expression.
    pub const PATTERN: &'static str =
        r"^(best|worst) +([1-9][0-9]*|[0-9]+\.\.[1-9][0-9]*|[0-9]+(\.[0-9]+)?%)( +by +[^ ]+)?$";

    /// Reads `best 1000`, `worst 5%`, `best 2000..202000`, `best 10 by image_width`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (end, amount, by) = match words.as_slice() {
            [end, amount] => (*end, *amount, None),
            [end, amount, "by", stat] => (*end, *amount, Some((*stat).to_owned())),
            _ => return Err(format!("'{text}' is not `best N` or `worst N`")),
        };
        let worst = match end {
            "best" => false,
            "worst" => true,
            other => return Err(format!("'{other}' is neither best nor worst")),
        };
        let amount = if let Some(percent) = amount.strip_suffix('%') {
            let percent = plain_number(percent).filter(|percent| *percent <= 100.0);
            percent.map(Amount::Percent)
        } else if let Some((skipped, end)) = amount.split_once("..") {
            let window = skipped.parse().ok().zip(end.parse().ok());
            let window = window.filter(|(skipped, end)| skipped < end);
            window.map(|(skipped, end)| Amount::Window(skipped, end))
        } else {
            let rows = amount.parse().ok().filter(|rows| *rows > 0);
            rows.map(Amount::Rows)
        }
        .ok_or_else(|| {
            format!("'{amount}' is neither a number of rows, nor a percentage, nor ranks such as 2000..202000")
        })?;
        Ok(Self { worst, amount, by })
    }

    /// How many of `total` rows, in the order of their ranks, those that are skipped included.
    #[must_use]
    pub fn of(&self, total: usize) -> usize {
        match self.amount {
            Amount::Rows(rows) | Amount::Window(_, rows) => {
                usize::try_from(rows).map_or(total, |rows| rows.min(total))
            }
            Amount::Percent(percent) => share_of(percent / 100.0, total),
        }
    }

    /// How many rows of the first ranks are skipped.
    #[must_use]
    pub fn skipped(&self) -> usize {
        match self.amount {
            Amount::Window(skipped, _) => usize::try_from(skipped).unwrap_or(usize::MAX),
            Amount::Rows(_) | Amount::Percent(_) => 0,
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.worst { "worst " } else { "best " })?;
        match self.amount {
            Amount::Rows(rows) => write!(f, "{rows}")?,
            Amount::Percent(percent) => write!(f, "{percent}%")?,
            Amount::Window(skipped, end) => write!(f, "{skipped}..{end}")?,
        }
        match &self.by {
            Some(stat) => write!(f, " by {stat}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "numpy's own digits")]
mod tests {
    use super::*;

    fn limit(text: &str) -> DataLimit {
        DataLimit::parse(text).unwrap().unwrap()
    }

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([-2.5, 0.1, 0.3, 3, 4, 1000], q)
        let values = [-2.5, 0.1, 0.3, 3.0, 4.0, 1000.0];
        for (text, expected) in [
            ("p0", -2.5),
            ("p5", -1.85),
            ("p50", 1.65),
            ("p33.3", 0.232_999_999_999_999_96),
            ("p99.5", 975.099_999_999_999_7),
            ("p100", 1000.0),
        ] {
            let found = limit(text).resolve(Side::Min, &values).unwrap();
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(limit("p50").resolve(Side::Max, &[7.0]), Some(7.0));
        assert_eq!(limit("p50").resolve(Side::Max, &[]), None);
    }

    #[test]
    fn sigmas_point_to_the_side_of_their_bound() {
        // mean 3, population deviation 2
        let values = [1.0, 1.0, 5.0, 5.0];
        let at = |text, side| limit(text).resolve(side, &values).unwrap();
        assert_eq!(at("3sigma", Side::Max), 9.0);
        assert_eq!(at("3sigma", Side::Min), -3.0);
        assert_eq!(at("-0.5 sigma", Side::Max), 2.0);
        assert_eq!(at("-0.5sigma", Side::Min), 4.0);
        let far = [1e9, 1e9 + 2.0];
        assert_eq!(limit("1sigma").resolve(Side::Max, &far), Some(1e9 + 2.0));
    }

    #[test]
    fn what_is_meant_as_a_limit_is_read_or_refused() {
        let sigma = limit("+2.5sigma");
        assert_eq!((sigma.place, sigma.of_all), (DataPlace::Sigma(2.5), false));
        for text in ["p25 of all", "1sigma of all", "p99.5"] {
            assert_eq!(limit(text).to_string(), text);
            assert_eq!(limit(text).of_all, text.ends_with("all"));
        }
        for not_meant in ["", "p", "5", "pb", "20KB", "percent", "sig", "P5"] {
            assert_eq!(DataLimit::parse(not_meant), None, "{not_meant}");
        }
        for wrong in [
            "p101",
            "p-1",
            "p1.2.3",
            "p5x",
            "p.",
            "p1e1",
            "sigma",
            "xsigma",
            "--2sigma",
            "+-2sigma",
            "infsigma",
            "p25 of some",
            "p101 of all",
        ] {
            assert!(DataLimit::parse(wrong).unwrap().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keep_is_read_and_written() {
        for text in [
            "best 10",
            "worst 2.5%",
            "best 3 by image_width",
            "worst 2..7 by x",
        ] {
            assert_eq!(Keep::parse(text).unwrap().to_string(), text);
        }
        for wrong in [
            "10",
            "best",
            "best 0",
            "best -1",
            "best 1.5",
            "best 101%",
            "most 3",
            "best 3..3",
            "best ..3",
            "best 3..",
            "best 1%..3%",
            "best 3 by",
            "best 3 of x",
        ] {
            assert!(Keep::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Keep::parse("best 29%").unwrap().of(10), 2);
        assert_eq!(Keep::parse("best 29").unwrap().of(10), 10);
        let window = Keep::parse("best 2..7").unwrap();
        assert_eq!((window.skipped(), window.of(10), window.of(5)), (2, 7, 5));
    }
}
