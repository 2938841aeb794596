//! One operator on one row: the only way in which operators are run, whoever asks.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use super::{
    ANY_FIELD, Answer, Asks, Common, Decision, FieldKey, Filter, Measured, OpSpec, Operator, Part,
    Request, Stat, Verdict,
};
use crate::note::Code;
use crate::sample::{RowError, Sample, StatSource, Stats};

/// What a run says of all rows that an operator sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting<'a> {
    /// Round stats as Data-Juicer 1.6.1 does.
    pub ujson: bool,
    /// The operator decides once all rows are known: rows are measured, and their keys told.
    pub collects: bool,
    /// What a census found common, once it has counted.
    pub common: Option<&'a Common>,
    /// Counts rows that a filter would decide differently if it did not round.
    pub rounding_decided: Option<&'a Cell<u64>>,
    /// What the service that the operator asked about this row has answered.
    pub answers: Option<&'a [Answer]>,
    /// Knows answers before anything is asked.
    pub recalls: Option<&'a dyn Recalls>,
    /// The longest text, in bytes, that the operator may be given, if that is bounded.
    pub longest: Option<u64>,
}

/// Who knows what was answered before.
pub trait Recalls: fmt::Debug {
    /// The answers to all that would be asked about a row, if they are known.
    fn answers(&self, sample: &Sample) -> Option<Vec<Answer>>;
}

/// What an operator says of a row.
#[derive(Debug)]
pub enum Outcome {
    /// The row goes on; a mapper may have changed it.
    Goes,
    /// A filter drops it.
    Dropped(Box<Decision>),
    /// These parts stand in its place.
    Parts(Vec<Part>),
    /// The row goes on, and is decided about by this key among those of other rows.
    Key(RowKey),
    /// The operator must be run again with answers to these requests.
    Asks(Vec<Request>),
}

/// What a row is told from others by.
#[derive(Debug, Clone, PartialEq)]
pub enum RowKey {
    /// Keys of a near-deduplicator, one a band.
    Near(Vec<u64>),
    /// A vector; `None` is near nothing.
    Vector(Option<Vec<f32>>),
    /// A key that is equal for equal rows; `None` equals nothing.
    Exact(Option<u128>),
    /// What a selector picks by.
    Select(FieldKey),
    /// Keys that a census counts.
    Counts(Vec<u128>),
    /// What a filter measured, as [`Stats::encode`] has it.
    Measured(Vec<u8>),
}

impl RowKey {
    /// Appends the key as the record of its row: whole keys in little-endian order, no byte for
    /// the lack of one, what a selector picks by as JSON, what a filter measured as it is.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Near(keys) => out.extend(keys.iter().flat_map(|key| key.to_le_bytes())),
            Self::Vector(vector) => {
                out.extend(
                    vector
                        .iter()
                        .flatten()
                        .flat_map(|number| number.to_le_bytes()),
                );
            }
            Self::Exact(key) => out.extend(key.iter().flat_map(|key| key.to_le_bytes())),
            Self::Counts(keys) => out.extend(keys.iter().flat_map(|key| key.to_le_bytes())),
            // A key has no map whose keys are no texts, and writing to memory cannot fail.
            Self::Select(key) => serde_json::to_writer(out, key).unwrap_or_default(),
            Self::Measured(stats) => out.extend_from_slice(stats),
        }
    }
}

impl Operator {
    /// Runs it on one row. `spec` is its own.
    ///
    /// # Errors
    /// Whatever makes the row impossible to process; it is quarantined.
    pub fn run(
        &self,
        spec: &OpSpec,
        sample: &mut Sample,
        setting: &Setting<'_>,
    ) -> Result<Outcome, RowError> {
        if let Some(longest) = setting.longest {
            check_length(spec, sample, longest)?;
        }
        Ok(match self {
            Self::Mapper(op) => {
                match asked(op.asks(), sample, setting)? {
                    Asked::Nothing => op.apply(sample)?,
                    Asked::Answers(answers) => op.apply_answers(sample, &answers)?,
                    Asked::Waits(requests) => return Ok(Outcome::Asks(requests)),
                }
                Outcome::Goes
            }
            Self::Expander(op) => Outcome::Parts(match asked(op.asks(), sample, setting)? {
                Asked::Nothing => op.parts(sample)?,
                Asked::Answers(answers) => op.parts_of_answers(sample, &answers)?,
                Asked::Waits(requests) => return Ok(Outcome::Asks(requests)),
            }),
            Self::Filter(op) if op.judges() => {
                refuse_group(sample)?;
                let verdict = match asked(op.asks(), sample, setting)? {
                    Asked::Nothing => op.judge(sample, &[], setting.ujson)?,
                    Asked::Answers(answers) => op.judge(sample, &answers, setting.ujson)?,
                    Asked::Waits(requests) => return Ok(Outcome::Asks(requests)),
                };
                match verdict {
                    Verdict::Keep => Outcome::Goes,
                    Verdict::Drop(decision) => Outcome::Dropped(decision),
                }
            }
            Self::Filter(op) => {
                if is_measured(&spec.stats, &sample.stats) {
                    remark_on_sources(&spec.stats, sample);
                } else {
                    remark_on_refused(&spec.stats, sample);
                    refuse_group(sample)?;
                    let values = match asked(op.asks(), sample, setting)? {
                        Asked::Nothing => op.measure(sample)?,
                        Asked::Answers(answers) => op.measure_answers(sample, &answers)?,
                        Asked::Waits(requests) => return Ok(Outcome::Asks(requests)),
                    };
                    set_measured(&spec.stats, values, sample, setting.ujson);
                }
                if setting.collects {
                    let own = own_stats(&spec.stats, sample);
                    return Ok(Outcome::Key(RowKey::Measured(own)));
                }
                let (verdict, rounding) = decided(op.as_ref(), &spec.stats, sample)?;
                if let Some(count) = setting.rounding_decided {
                    count.set(count.get() + u64::from(rounding));
                }
                match verdict {
                    Verdict::Keep => Outcome::Goes,
                    Verdict::Drop(decision) => Outcome::Dropped(decision),
                }
            }
            Self::Exact(op) => {
                let key = match asked(op.asks(), sample, setting)? {
                    Asked::Nothing => op.key(sample)?,
                    Asked::Answers(answers) => op.key_of_answers(sample, &answers)?,
                    Asked::Waits(requests) => return Ok(Outcome::Asks(requests)),
                };
                Outcome::Key(RowKey::Exact(key))
            }
            Self::Near(op) => {
                let mut keys = Vec::with_capacity(op.bands());
                op.keys(sample, &mut keys)?;
                Outcome::Key(RowKey::Near(keys))
            }
            Self::Vectors(op) => match asked(op.asks(), sample, setting)? {
                Asked::Waits(requests) => return Ok(Outcome::Asks(requests)),
                Asked::Nothing => Outcome::Key(RowKey::Vector(op.vector(sample, &[])?)),
                Asked::Answers(answers) => {
                    Outcome::Key(RowKey::Vector(op.vector(sample, &answers)?))
                }
            },
            Self::Census(op) => match setting.common {
                Some(common) if !setting.collects => match op.apply(sample, common)? {
                    Verdict::Keep => Outcome::Goes,
                    Verdict::Drop(decision) => Outcome::Dropped(decision),
                },
                _ => {
                    let mut keys = Vec::new();
                    op.keys(sample, &mut keys)?;
                    Outcome::Key(RowKey::Counts(keys))
                }
            },
            Self::Selector(op) => Outcome::Key(RowKey::Select(op.key(sample)?)),
            Self::Grouper(op) => Outcome::Key(RowKey::Exact(Some(op.key(sample)?))),
        })
    }
}

/// Sees that no field that the operator reads is longer than `longest` bytes.
///
/// # Errors
/// `row_too_long`.
fn check_length(spec: &OpSpec, sample: &Sample, longest: u64) -> Result<(), RowError> {
    let own = spec.reads.iter().map(|name| match name.as_str() {
        ANY_FIELD => sample.line().len(),
        name => sample.bytes_of(name),
    });
    match own.max().filter(|bytes| *bytes as u64 > longest) {
        Some(bytes) => Err(RowError::new(
            "row_too_long",
            format!(
                "the text has {bytes} bytes; within max_memory {} takes {longest} at most",
                spec.name
            ),
        )),
        None => Ok(()),
    }
}

/// What an operator that may ask knows of a row.
enum Asked<'a> {
    /// It does not ask.
    Nothing,
    /// This was answered.
    Answers(Cow<'a, [Answer]>),
    /// This is asked.
    Waits(Vec<Request>),
}

fn asked<'a>(
    asks: Option<&dyn Asks>,
    sample: &Sample,
    setting: &Setting<'a>,
) -> Result<Asked<'a>, RowError> {
    let Some(asks) = asks else {
        return Ok(Asked::Nothing);
    };
    let requests = match (setting.answers, setting.recalls) {
        (Some(answers), _) => asks.ask_on(sample, answers)?,
        (None, Some(known)) => match known.answers(sample) {
            Some(answers) => return Ok(Asked::Answers(answers.into())),
            None => asks.ask(sample)?,
        },
        (None, None) => asks.ask(sample)?,
    };
    Ok(if requests.is_empty() {
        Asked::Answers(setting.answers.unwrap_or_default().into())
    } else {
        Asked::Waits(requests)
    })
}

/// Whether a row has all stats of a filter. One that came with the row and is null or of another
/// type than the filter declares (a text, say) is no measurement of it: bounds could not be held
/// against it, so it counts as missing. A null of this run stands for a number that is not finite.
#[must_use]
pub fn is_measured(stats: &[Stat], of_row: &Stats) -> bool {
    let holds = |stat: &Stat| of_row.get(&stat.name).is_some() && !is_refused(stat, of_row);
    stats.iter().all(|stat| stat.beside || holds(stat))
}

/// Whether a row's value of a stat cannot be one.
fn is_refused(stat: &Stat, of_row: &Stats) -> bool {
    let given = of_row.source(&stat.name) == Some(StatSource::Given);
    let value = of_row.get(&stat.name);
    value.is_some_and(|value| {
        !stat.kind.holds(value) || given && !stat.nullable && stat.kind.lacks(value)
    })
}

/// Notes that stats which came with a row are measured anew.
fn remark_on_refused(stats: &[Stat], sample: &Sample) {
    let mut own = stats.iter().filter(|stat| !stat.beside);
    if own.any(|stat| is_refused(stat, &sample.stats)) {
        sample.remark(Code::StatMeasuredAgain);
    }
}

fn refuse_group(sample: &Sample) -> Result<(), RowError> {
    if sample.stats.members().is_empty() {
        return Ok(());
    }
    Err(RowError::new(
        "wrong_type",
        "the row is a group: its stats are those of its rows",
    ))
}

fn set_measured(stats: &[Stat], values: Measured, sample: &mut Sample, ujson: bool) {
    debug_assert_eq!(values.len(), stats.len(), "one value a declared stat");
    for (stat, value) in stats.iter().zip(values) {
        sample.stats.set_measured(stat.name.clone(), value, ujson);
    }
}

/// Notes where stats come from that a filter did not measure itself.
fn remark_on_sources(stats: &[Stat], sample: &Sample) {
    for stat in stats {
        match sample.stats.source(&stat.name) {
            Some(StatSource::Given) => sample.remark(Code::StatCameAlong),
            Some(StatSource::Stale) => {
                sample.remark(Code::StatBeforeChange);
                sample.remark(Code::StatOfOtherStep);
            }
            // Whether that step measured otherwise, the plan knows.
            Some(StatSource::Measured) => sample.remark(Code::StatOfOtherStep),
            None => {}
        }
    }
}

/// Those of a row's stats that are `stats`, as [`Stats::encode`] has them.
fn own_stats(stats: &[Stat], sample: &Sample) -> Vec<u8> {
    let mut own = Stats::default();
    for stat in stats {
        if let Some(value) = sample.stats.get(&stat.name) {
            own.set(stat.name.clone(), value.clone());
        }
    }
    let mut record = Vec::new();
    own.encode(&mut record);
    record
}

/// What a filter says of a row that is measured, and whether it would say the opposite of the
/// exact values. A reason tells the exact value, and what it was rounded to where that decided.
///
/// # Errors
/// Those of the filter.
fn decided(
    filter: &dyn Filter,
    stats: &[Stat],
    sample: &mut Sample,
) -> Result<(Verdict, bool), RowError> {
    let mut verdict = filter.decide_row(sample)?;
    if !stats.iter().any(|stat| sample.stats.is_rounded(&stat.name)) {
        return Ok((verdict, false));
    }
    sample.stats.swap_exact();
    let exact = filter.decide_row(sample);
    sample.stats.swap_exact();
    let differs = (verdict == Verdict::Keep) != (exact? == Verdict::Keep);
    if let Verdict::Drop(decision) = &mut verdict
        && let Some(value) = sample.stats.exact(&decision.stat)
    {
        let rounded = std::mem::replace(&mut decision.value, value.clone());
        if differs {
            decision.limit = format!("{}, rounded to {}", decision.limit, rounded.to_json());
        }
    }
    Ok((verdict, differs))
}
