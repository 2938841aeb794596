//! Filters that decide once all rows are measured: bounds that come from the data, and the best
//! rows of all.
//!
//! What a row measured waits on disk, so that nothing is measured twice; the numbers alone are in
//! memory while a bound is looked up among them.

use std::cmp::Ordering;
use std::io;

use super::{Exchange, ExchangeError, Machine, Records, Resolution};
use crate::exec::spill::store::{Store, StoreWriter};
use crate::io::Workspace;
use crate::io::workspace::Lengths;
use crate::op::{Bounds, DataBound, Decision, Filter, Keep, Verdict};
use crate::recipe::Step;
use crate::record::counts::FromData;
use crate::sample::{StatKey, StatValue, Stats};

/// Rows are recorded with what the filter measured of them, as a JSON object.
pub struct BoundsFromData<'s> {
    /// The step, with the bounds as they were written.
    pub step: &'s Step,
    /// Its operator.
    pub filter: &'s dyn Filter,
}

impl Exchange for BoundsFromData<'_> {
    fn open<'e>(
        &'e self,
        workspace: &Workspace,
        name: &str,
        _: Option<u64>,
    ) -> io::Result<Box<dyn Records + 'e>> {
        Ok(Box::new(MeasuredRows {
            step: self.step,
            filter: self.filter,
            writer: Some(StoreWriter::open(workspace, name)?),
            reached: Vec::new(),
            judge: None,
        }))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        StoreWriter::remove(workspace, name);
    }
}

/// The stats of one filter, one entry a row.
struct MeasuredRows<'e> {
    step: &'e Step,
    filter: &'e dyn Filter,
    writer: Option<StoreWriter>,
    /// The rows that `of all` means.
    reached: Vec<u32>,
    judge: Option<Judge>,
}

impl Records for MeasuredRows<'_> {
    fn push(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        match &mut self.writer {
            Some(writer) => writer.push(record.unwrap_or_default()).map(|_| ()),
            None => Ok(()),
        }
    }

    fn sync(&mut self, lengths: &mut Lengths) -> io::Result<()> {
        self.writer
            .as_mut()
            .map_or(Ok(()), |writer| writer.sync(lengths))
    }

    fn reach(&mut self, rows: &[u32]) {
        if self.step.base.looks_at_all() {
            self.reached = rows.to_vec();
        }
    }

    /// Looks the bounds up in what the rows measured, and decides by them.
    fn decide(&mut self, alive: Vec<u32>, _: Machine<'_>) -> Result<Resolution, ExchangeError> {
        let (step, filter) = (self.step, self.filter);
        let Some(writer) = self.writer.take() else {
            return Ok(Resolution::default());
        };
        let store = writer.finish()?;
        let among = Among {
            step,
            filter,
            read: &|row| read(&store, row),
            reached: &self.reached,
        };
        let decided = among.decide(filter.bounds(), &step.base.from_data, &alive)?;
        self.judge = Some(Judge {
            store,
            bounds: decided.bounds,
            last: decided.last,
        });
        Ok(Resolution {
            alive: decided.alive,
            dropped: decided.dropped.into_iter().map(|row| (row, None)).collect(),
            from_data: decided.from_data,
            ..Resolution::default()
        })
    }

    fn decision(&self, row: u32) -> io::Result<Option<Box<Decision>>> {
        match &self.judge {
            Some(judge) => judge.decision(self.filter, row).map(Some),
            None => Ok(None),
        }
    }
}

/// A filter that decides among all rows that reach it, wherever their stats are.
pub struct Among<'a> {
    /// The step.
    pub step: &'a Step,
    /// Its operator.
    pub filter: &'a dyn Filter,
    /// The stats of a row.
    pub read: &'a dyn Fn(u32) -> io::Result<Stats>,
    /// The rows that reach the first of the neighbouring filters that decide so.
    pub reached: &'a [u32],
}

/// What such a filter decided.
pub struct Decided {
    /// The rows that stay, in the order in which they came.
    pub alive: Vec<u32>,
    /// Those that go, in the order of their numbers.
    pub dropped: Vec<u32>,
    /// The ranges, with the values that were found.
    pub bounds: Vec<Bounds>,
    /// What was found, by the parameters that asked.
    pub from_data: Vec<FromData>,
    /// Why rows go that the bounds keep: the stat they are ranked by, and the limit.
    pub last: Option<(StatKey, String)>,
}

impl Among<'_> {
    /// Finds the bounds `from_data` among `alive`, puts them into `ranges`, and keeps of the rows
    /// within them as many as the step's `keep` says.
    ///
    /// # Errors
    /// If stats cannot be read, or bounds are found in the wrong order.
    pub fn decide(
        &self,
        ranges: &[Bounds],
        from_data: &[DataBound],
        alive: &[u32],
    ) -> Result<Decided, ExchangeError> {
        let (step, filter) = (self.step, self.filter);
        let mut found = Vec::new();
        for bound in from_data {
            let Some((stat, end)) = step.spec.bound(&bound.param) else {
                continue;
            };
            let rows = if bound.limit.of_all {
                self.reached
            } else {
                alive
            };
            let values = self.all_numbers(&stat.name, rows)?;
            found.push(FromData {
                param: bound.param.clone(),
                from: bound.limit.to_string(),
                value: bound.limit.resolve(end.side, &values),
            });
        }
        let values = || found.iter().map(|b| (b.param.as_str(), b.value));
        let bounds = ranges
            .iter()
            .map(|range| range.with_found(values()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                ExchangeError::Operator(format!("with bounds from the data, {}", error.message))
            })?;
        let mut decided = Decided {
            alive: Vec::new(),
            dropped: Vec::new(),
            bounds,
            from_data: found,
            last: None,
        };
        for &row in alive {
            let stats = (self.read)(row)?;
            if filter.decide_within(&decided.bounds, &stats) == Verdict::Keep {
                decided.alive.push(row);
            } else {
                decided.dropped.push(row);
            }
        }
        if let Some(keep) = &step.base.keep {
            self.keep(keep, &mut decided)?;
        }
        decided.dropped.sort_unstable();
        Ok(decided)
    }

    /// Keeps only the best rows.
    fn keep(&self, keep: &Keep, decided: &mut Decided) -> io::Result<()> {
        let cut = self.cut(keep, &decided.bounds, &decided.alive)?;
        decided.from_data.push(FromData {
            param: "keep".to_owned(),
            from: keep.to_string(),
            value: cut.value,
        });
        let mut ranked = Vec::new();
        for (row, kept) in std::mem::take(&mut decided.alive).into_iter().zip(cut.kept) {
            if kept {
                ranked.push(row);
            } else {
                decided.dropped.push(row);
            }
        }
        decided.alive = ranked;
        let first = cut
            .first
            .map(|first| format!("the first of them {first}, "));
        let first = first.unwrap_or_default();
        decided.last = Some((
            cut.stat,
            format!("keep: {keep}, {first}the last of them {}", shown(cut.value)),
        ));
        Ok(())
    }

    /// Ranks `rows`; the earlier of two equal ones goes before.
    fn cut(&self, keep: &Keep, bounds: &[Bounds], rows: &[u32]) -> io::Result<Cut> {
        let stat = match (&keep.by, self.step.spec.stats.as_slice()) {
            (Some(by), _) => StatKey::from(by.clone()),
            (None, [only, ..]) => only.name.clone(),
            (None, []) => StatKey::default(),
        };
        // With several images, the one that counts for `any_or_all` counts here.
        let mut ranges = bounds.iter();
        let all = ranges.any(|range| *range.stat() == stat && range.asks_all());
        let least = all != keep.worst;
        let mut ranked = Vec::with_capacity(rows.len());
        for (&row, position) in rows.iter().zip(0_u32..) {
            let numbers = self.filter.numbers(&(self.read)(row)?, &stat);
            let numbers = numbers.into_iter().filter(|number| !number.is_nan());
            let number = if least {
                numbers.min_by(f64::total_cmp)
            } else {
                numbers.max_by(f64::total_cmp)
            };
            ranked.push((number, row, position));
        }
        ranked.sort_unstable_by(|(a, row_a, at_a), (b, row_b, at_b)| {
            let values = match (a, b) {
                (Some(a), Some(b)) if keep.worst => a.total_cmp(b),
                (Some(a), Some(b)) => b.total_cmp(a),
                // Rows without a value come last.
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (None, None) => Ordering::Equal,
            };
            values.then((row_a, at_a).cmp(&(row_b, at_b)))
        });
        ranked.truncate(keep.of(rows.len()));
        ranked.drain(..keep.skipped().min(ranked.len()));
        let first = ranked.first().and_then(|(number, ..)| *number);
        let mut kept = vec![false; rows.len()];
        for (_, _, position) in &ranked {
            if let Some(flag) = kept.get_mut(*position as usize) {
                *flag = true;
            }
        }
        Ok(Cut {
            stat,
            kept,
            first: first.filter(|_| keep.skipped() > 0),
            value: ranked.last().and_then(|(number, ..)| *number),
        })
    }

    /// The finite numbers of a stat over all `rows`, in order of size.
    fn all_numbers(&self, stat: &StatKey, rows: &[u32]) -> io::Result<Vec<f64>> {
        let mut values = Vec::with_capacity(rows.len());
        for &row in rows {
            let numbers = self.filter.numbers(&(self.read)(row)?, stat);
            values.extend(numbers.into_iter().filter(|number| number.is_finite()));
        }
        values.sort_unstable_by(f64::total_cmp);
        Ok(values)
    }
}

/// Which rows are among the best.
struct Cut {
    stat: StatKey,
    kept: Vec<bool>,
    /// The value of the first one that is kept, if better ones are not.
    first: Option<f64>,
    /// The value of the last one that is kept.
    value: Option<f64>,
}

/// Decides once more about single rows, so that no decision of millions has to be kept.
struct Judge {
    store: Store,
    /// The filter's ranges, with the values that were found.
    bounds: Vec<Bounds>,
    /// Why rows go that the bounds keep: the stat they are ranked by, and the limit.
    last: Option<(StatKey, String)>,
}

impl Judge {
    fn decision(&self, filter: &dyn Filter, row: u32) -> io::Result<Box<Decision>> {
        let stats = read(&self.store, row)?;
        if let Verdict::Drop(decision) = filter.decide_within(&self.bounds, &stats) {
            return Ok(decision);
        }
        let (stat, limit) = self.last.clone().unwrap_or_default();
        let value = stats.get(&stat).cloned();
        Ok(Box::new(Decision {
            value: value.unwrap_or_else(StatValue::null),
            stat,
            limit,
        }))
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "without a value".to_owned(), |value| value.to_string())
}

fn read(store: &Store, row: u32) -> io::Result<Stats> {
    let mut frame = Vec::new();
    store.read(row, &mut frame)?;
    if frame.is_empty() {
        return Ok(Stats::default());
    }
    let stats = Stats::decode(&mut frame.as_slice());
    stats.ok_or_else(|| io::Error::other("stats cannot be read back"))
}
