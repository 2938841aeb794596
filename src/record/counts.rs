//! The numbers of a run, and the check that no row was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::ServiceRecord;
use super::StepNumber;
use crate::io::atomic::Finished;
use crate::note::{Code, Note};
use crate::recipe::QuarantineLimit;
use crate::sample::ImageCounts;

/// A word of the program. (An alias, since serde takes a plain reference for a borrow.)
pub type Word = &'static str;

/// Where a row failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// While it was read.
    Read,
    /// In the step at this index.
    Step(usize),
    /// In this output.
    Output(usize),
}

impl Stage {
    /// The step, as records count them.
    #[must_use]
    pub fn step(self) -> Option<StepNumber> {
        match self {
            Self::Step(step) => Some(StepNumber::at(step)),
            Self::Read | Self::Output(_) => None,
        }
    }
}

/// A parameter that took its value from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FromData {
    /// The parameter, or `keep`.
    pub param: String,
    /// What the recipe says: `p99.5`.
    pub from: String,
    /// The bound, or the value of the last row kept; `None` if there was none to take it from.
    pub value: Option<f64>,
}

/// One kind of rows that a selector, or a recipe with weights, drew from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StratumCounts {
    /// What its rows have in common.
    pub value: String,
    /// How many there were.
    pub had: u64,
    /// How many its share came to.
    pub wanted: u64,
    /// How many were drawn.
    pub got: u64,
}

/// What one step did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StepCounts {
    /// The operator's name.
    pub name: String,
    /// Rows it was shown.
    pub rows_in: u64,
    /// Rows it dropped.
    pub dropped: u64,
    /// Rows it could not process.
    pub quarantined: u64,
    /// Rows it changed.
    pub changed: u64,
    /// Rows it made beyond one of one: a selector may take a row more than once, and a mapper may
    /// make several of it.
    pub repeated: u64,
    /// How often it took the row that it took most often, if it may take rows more than once.
    #[serde(default)]
    pub most_taken: u64,
    /// Rows it made part of another row's group.
    pub merged: u64,
    /// Rows that it would have decided differently if it did not round what it measured.
    pub rounding_decided: u64,
    /// What is to be noted of rows here, with how many rows.
    #[serde(default)]
    pub notes: Vec<(Code, u64)>,
    /// Bounds that came from the data.
    pub from_data: Vec<FromData>,
    /// The kinds of rows that it drew from.
    #[serde(default)]
    pub strata: Vec<StratumCounts>,
    /// Its processor time over all threads, estimated from a part of the rows.
    pub time: Duration,
}

impl StepCounts {
    /// Rows that went on.
    #[must_use]
    pub fn rows_out(&self) -> u64 {
        (self.rows_in + self.repeated).saturating_sub(self.dropped + self.quarantined + self.merged)
    }
}

/// What one output received.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OutputCounts {
    /// Its path, or `<stdout>`.
    pub name: String,
    /// Its format.
    #[serde(deserialize_with = "lasting")]
    pub format: Word,
    /// Rows that reached the outputs.
    pub candidates: u64,
    /// Rows written.
    pub written: u64,
    /// Rows refused by name.
    pub refused: u64,
    /// Rows that the sample did not draw.
    pub not_drawn: u64,
    /// Rows for which its condition did not hold.
    #[serde(default)]
    pub unmatched: u64,
    /// How many rows the sample was to have, if it is one.
    pub wanted: Option<u64>,
    /// The files, once they are complete.
    pub files: Vec<Finished>,
    /// Who will read it, if rows were checked for that.
    #[serde(default, deserialize_with = "lasting_if_any")]
    pub checked_for: Option<Word>,
    /// Files beside them that say what they are.
    #[serde(default)]
    pub beside: Vec<Finished>,
}

/// One reason for quarantine and how often it came up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// Where: while reading, in a step, in an output.
    pub stage: Stage,
    /// The stable word.
    #[serde(deserialize_with = "lasting")]
    pub code: Word,
}

/// Files that operators made of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProducedCounts {
    /// How many were written.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A field that rows have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldField {
    /// Its name.
    pub name: String,
    /// Whether its value is a text.
    pub is_text: bool,
}

/// What the rows of a run showed beside their fates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// A bit for each field that the recipe asks for and that some row has.
    pub fields: u64,
    /// Fields of the rows, the first ones seen, where one that is asked for was missing.
    pub held: Vec<HeldField>,
    /// Rows that reached the outputs with another number of image tokens than of images.
    pub tokens_differ: u64,
    /// Rows that have the id of an earlier one; counted when all are read.
    pub ids_repeated: u64,
}

/// The outcome of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// Names of what is read.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Rows read.
    pub rows_in: u64,
    /// Rows that at least one output wrote.
    pub rows_out: u64,
    /// Rows that an operator dropped, or that no sample drew.
    pub dropped: u64,
    /// Rows that could not be processed.
    pub quarantined: u64,
    /// Further copies of rows that selectors made.
    pub repeated: u64,
    /// Rows that groupers made part of another row's group.
    pub merged: u64,
    /// Of `dropped`: rows that only sampled outputs could have written, and none drew.
    pub not_drawn: u64,
    /// Of `dropped`: rows that met the condition of no output.
    #[serde(default)]
    pub unmatched: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// The datasets that rows were drawn of, where the recipe gives them weights.
    #[serde(default)]
    pub datasets: Vec<StratumCounts>,
    /// One entry a step.
    pub steps: Vec<StepCounts>,
    /// One entry an output.
    pub outputs: Vec<OutputCounts>,
    /// What rows showed beside their fates.
    pub seen: Seen,
    /// What is to be known of the run, once it has read its rows.
    pub notes: Vec<Note>,
    /// Reasons of quarantine and refusal.
    #[serde(with = "pairs")]
    pub reasons: BTreeMap<Reason, u64>,
    /// What was read of images.
    pub images: ImageCounts,
    /// What operators made.
    pub produced: ProducedCounts,
    /// What models and programs were asked.
    #[serde(default)]
    pub services: Vec<ServiceRecord>,
    /// Bytes of rows read.
    pub bytes_in: u64,
    /// Wall time.
    pub time: Duration,
    /// Largest resident memory of the process in bytes.
    pub peak_memory: u64,
}

/// A word of a checkpoint as the program's own words are kept. There are few, and a process reads
/// one checkpoint, so what is leaked is nothing.
pub(crate) fn lasting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    Ok(Box::leak(
        String::deserialize(deserializer)?.into_boxed_str(),
    ))
}

fn lasting_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Word>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.map(|word| -> Word { Box::leak(word.into_boxed_str()) }))
}

/// Reasons as a list of pairs: JSON keys are strings.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Reason;

    pub fn serialize<S: Serializer>(
        reasons: &BTreeMap<Reason, u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(reasons)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Reason, u64>, D::Error> {
        Vec::<(Reason, u64)>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}

impl StepCounts {
    /// Rows that a mixture was to draw and did not find.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        let sum = |of: fn(&StratumCounts) -> u64| self.strata.iter().map(of).sum::<u64>();
        sum(|it| it.wanted).saturating_sub(sum(|it| it.got))
    }
}

impl RunReport {
    /// Who a stage is: an operator, an output, or `read`.
    #[must_use]
    pub fn who(&self, stage: Stage) -> &str {
        match stage {
            Stage::Read => super::stats::READ,
            Stage::Step(step) => self.steps.get(step).map_or("", |s| &s.name),
            Stage::Output(output) => self.outputs.get(output).map_or("", |o| &o.name),
        }
    }

    /// How many numbers copies of one row may have in front of step `step`, its own included.
    #[must_use]
    pub fn copy_numbers(&self, step: usize) -> u64 {
        let before = self.steps.iter().take(step);
        let times = before.map(|step| step.most_taken.max(1));
        times.fold(1, u64::wrapping_mul)
    }

    /// Every row accounted for, in total and for each output?
    ///
    /// # Errors
    /// The equation that does not hold. This is a defect of djr, never of the data.
    pub fn check_conservation(&self) -> Result<(), String> {
        let total = self.rows_out + self.dropped + self.quarantined + self.merged;
        if self.rows_in + self.repeated != total {
            return Err(format!(
                "rows in ({}) + repeated ({}) differ from rows out ({}) + dropped ({}) + quarantined ({}) + merged ({})",
                self.rows_in,
                self.repeated,
                self.rows_out,
                self.dropped,
                self.quarantined,
                self.merged
            ));
        }
        for output in &self.outputs {
            let ended = output.written + output.refused + output.not_drawn + output.unmatched;
            if output.candidates != ended {
                return Err(format!(
                    "output {}: {} rows reached it, but {} written + {} refused + {} not drawn + {} not asked for",
                    output.name,
                    output.candidates,
                    output.written,
                    output.refused,
                    output.not_drawn,
                    output.unmatched
                ));
            }
        }
        Ok(())
    }

    /// Whether some row was set aside or some sample fell short.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        self.quarantined > 0 || self.outputs.iter().any(|o| o.refused > 0) || self.shortfall() > 0
    }

    /// Rows that could not be processed, or that one output refused: the most of these.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let refused = self.outputs.iter().map(|output| output.refused);
        refused.chain([self.quarantined]).max().unwrap_or(0)
    }

    /// The exit code: 1 where more rows were lost than `tolerated` says (none, if it says nothing),
    /// or a sample fell short; else 0.
    #[must_use]
    pub fn exit_code(&self, tolerated: Option<QuarantineLimit>) -> u8 {
        let lost = self.lost();
        let fine = match tolerated {
            None => lost == 0,
            Some(limit) => limit.allows(lost, self.rows_in),
        };
        let mut outputs = self.outputs.iter();
        let is_short = outputs.any(|o| o.wanted.is_some_and(|wanted| o.written < wanted))
            || self.steps.iter().any(|step| step.lacking() > 0);
        u8::from(!fine || is_short)
    }

    /// Rows that samples were to have and could not find valid ones for.
    #[must_use]
    pub fn shortfall(&self) -> u64 {
        self.outputs
            .iter()
            .filter(|o| o.refused > 0)
            .filter_map(|o| Some(o.wanted?.min(o.candidates).saturating_sub(o.written)))
            .sum()
    }
}

/// The largest resident memory of this process so far, in bytes; 0 where the system does not say.
#[must_use]
pub fn peak_memory() -> u64 {
    status_kib("VmHWM:")
}

/// The resident memory of this process now, in bytes; 0 where the system does not say.
#[must_use]
pub fn resident_memory() -> u64 {
    status_kib("VmRSS:")
}

fn status_kib(field: &str) -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|l| l.starts_with(field))?;
            line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .unwrap_or(0)
        * 1024
}
