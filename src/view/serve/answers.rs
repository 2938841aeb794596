//! What the page asks and is told, in types.

use serde::{Deserialize, Serialize};

use super::Viewer;
use super::chart::{Chart, Counts};
use super::rows::RowCard;
use crate::analysis::live::{Bits, Knob, Live, Moved, Outcome};
use crate::op::Side;
use crate::view::gather::Nearest;

/// How many rows a page of a list has.
const PAGE: usize = 12;

/// A question of the page. Which of its parts matter depends on what is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// The bounds that are not where they were stored.
    bounds: Vec<AskedBound>,
    /// A step, from 0.
    step: Option<usize>,
    /// A parameter of it.
    param: String,
    /// Which rows.
    of: RowsOf,
    /// Of rows that were set aside, for which reason: its number.
    reason: Option<usize>,
    /// So many of a list are passed over.
    pub skip: usize,
}

/// Some rows.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowsOf {
    /// Those that reach the outputs.
    #[default]
    Kept,
    /// Those that a step drops.
    Dropped,
    /// Those that could not be processed, or that an output refused.
    Aside,
    /// Those that ended before all their stats were measured.
    Unknown,
}

/// Where a slider stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedBound {
    step: usize,
    param: String,
    value: Option<f64>,
}

impl Asked {
    /// The bounds that were moved.
    pub fn moved(&self, live: &Live) -> Result<Vec<Moved>, String> {
        let of = |bound: &AskedBound| {
            let knob = live.knob(bound.step, &bound.param);
            let knob = knob.ok_or_else(|| format!("'{}' is no bound that moves", bound.param))?;
            Ok(live.moved(knob, bound.value))
        };
        self.bounds.iter().map(of).collect()
    }
}

/// What the page needs to know before anything is moved.
#[derive(Debug, Serialize)]
pub struct Facts {
    rows: u64,
    notes: Vec<String>,
    steps: Vec<StepFacts>,
    charts: Vec<ChartFacts>,
    reasons: Vec<ReasonFacts>,
    clusters: usize,
    /// Why rows cannot be shown.
    hidden: Option<String>,
}

#[derive(Debug, Serialize)]
struct StepFacts {
    op: &'static str,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct ChartFacts {
    step: usize,
    op: &'static str,
    stat: String,
    unit: &'static str,
    whole: bool,
    edges: Vec<f64>,
    least: Option<f64>,
    greatest: Option<f64>,
    knobs: Vec<KnobFacts>,
}

#[derive(Debug, Serialize)]
struct KnobFacts {
    param: &'static str,
    upper: bool,
    value: Option<f64>,
    /// As the recipe writes a bound that comes from the data.
    from: Option<String>,
}

#[derive(Debug, Serialize)]
struct ReasonFacts {
    by: String,
    code: String,
}

impl Facts {
    pub fn of(viewer: &Viewer) -> Self {
        let live = &viewer.live;
        Self {
            rows: viewer.rows(),
            notes: live.notes().iter().map(ToString::to_string).collect(),
            steps: (live.steps().iter())
                .map(|step| StepFacts {
                    op: step.name,
                    kind: step.spec.kind.words(),
                })
                .collect(),
            charts: viewer
                .charts
                .iter()
                .filter_map(|chart| ChartFacts::of(live, chart))
                .collect(),
            reasons: (live.reasons().iter())
                .map(|reason| ReasonFacts {
                    by: reason.by.clone(),
                    code: reason.code.clone(),
                })
                .collect(),
            clusters: viewer.clusters.len(),
            hidden: viewer.finder.problem(),
        }
    }
}

impl ChartFacts {
    fn of(live: &Live, chart: &Chart) -> Option<Self> {
        let (stat, step) = (live.stats().get(chart.stat)?, live.steps().get(chart.step)?);
        let knob = |knob: &Knob| {
            let from = step.base.data_limit(knob.bound.param);
            KnobFacts {
                param: knob.bound.param,
                upper: knob.bound.side == Side::Max,
                value: knob.bound.value(&step.params).filter(|_| from.is_none()),
                from: from.map(|from| from.to_string()),
            }
        };
        Some(Self {
            step: chart.step,
            op: step.name,
            stat: stat.name.clone().into_owned(),
            unit: stat.unit,
            whole: chart.whole,
            edges: chart.edges.clone(),
            least: chart.range.map(|range| range.0),
            greatest: chart.range.map(|range| range.1),
            knobs: chart.knobs.iter().map(knob).collect(),
        })
    }
}

/// What bounds leave.
#[derive(Debug, Serialize)]
pub struct CutAnswer {
    /// Rows that reach the outputs.
    left: u64,
    /// Of them, those that an output of the run refused.
    refused: u64,
    /// Rows whose stats were not all measured.
    unknown: u64,
    unreadable: u64,
    steps: Vec<StepCut>,
    charts: Vec<Counts>,
    /// What was found for bounds that come from the data.
    found: Vec<FoundBound>,
    /// From this step on, rows are those of the run with its own bounds, or not counted at all.
    unsure: Option<usize>,
}

#[derive(Debug, Serialize)]
struct StepCut {
    reach: u64,
    dropped: u64,
    aside: u64,
    unknown: u64,
    repeated: u64,
}

#[derive(Debug, Serialize)]
struct FoundBound {
    step: usize,
    param: String,
    value: Option<f64>,
}

/// Rows on both sides of a bound.
#[derive(Debug, Serialize)]
pub struct NearAnswer {
    kept: Vec<RowCard>,
    dropped: Vec<RowCard>,
}

/// A page of a list of rows.
#[derive(Debug, Serialize)]
pub struct RowsAnswer {
    total: u64,
    rows: Vec<RowCard>,
}

impl Viewer {
    pub(super) fn cut(&self, asked: &Asked) -> Result<CutAnswer, String> {
        let outcome = self.live.outcome(&asked.moved(&self.live)?)?;
        let last = outcome.reach.last();
        let refused = last.zip(self.live.refused());
        let next = outcome.reach.iter().skip(1);
        let steps: Vec<StepCut> = (outcome.steps.iter().zip(&outcome.reach).zip(next))
            .enumerate()
            .map(|(number, ((step, reach), next))| {
                let live = &self.live;
                let [reach, aside, unknown, dropped] =
                    [reach, &step.aside, &step.unknown, &step.dropped]
                        .map(|rows| live.count(rows, number));
                let next = live.count(next, number + 1);
                let ended = aside + unknown;
                StepCut {
                    reach,
                    // Of a row's copies some may go and some stay.
                    dropped: dropped.max(reach.saturating_sub(ended + next)),
                    aside,
                    unknown,
                    repeated: (next + ended + dropped).saturating_sub(reach),
                }
            })
            .collect();
        Ok(CutAnswer {
            left: self.live.left(&outcome),
            refused: refused.map_or(0, |(last, refused)| {
                self.live.count(&last.and(refused), outcome.steps.len())
            }),
            unknown: steps.iter().map(|step| step.unknown).sum(),
            unreadable: self.live.unreadable().count(),
            charts: self
                .charts
                .iter()
                .map(|chart| chart.count(&outcome))
                .collect(),
            found: (outcome.found.iter())
                .map(|(step, found)| FoundBound {
                    step: *step,
                    param: found.param.clone(),
                    value: found.value,
                })
                .collect(),
            unsure: outcome.unsure,
            steps,
        })
    }

    pub(super) fn near(&self, asked: &Asked) -> Result<NearAnswer, String> {
        let outcome = self.live.outcome(&asked.moved(&self.live)?)?;
        let step = asked.step.ok_or("which step?")?;
        let chart = self.charts.iter().find_map(|chart| {
            let mut knobs = chart.knobs.iter();
            let knob = knobs.find(|knob| knob.step == step && knob.bound.param == asked.param)?;
            Some((chart, knob))
        });
        let (chart, knob) = chart.ok_or("no such bound")?;
        let bound = self.bound(asked, knob, &outcome);
        let none = Bits::default();
        let goes_on = outcome.reach.get(step + 1).unwrap_or(&none);
        let dropped = outcome.steps.get(step).map_or(&none, |step| &step.dropped);
        let [kept, dropped] = [goes_on, dropped].map(|rows| {
            let mut nearest = Nearest::default();
            for row in rows.iter() {
                // Of several images the one nearest to the bound speaks for the row.
                let numbers = self.live.numbers(chart.stat, row).into_iter();
                let closest = numbers
                    .filter(|number| number.is_finite())
                    .map(|number| ((number - bound).abs(), number))
                    .min_by(|a, b| a.0.total_cmp(&b.0));
                if let Some((distance, number)) = closest {
                    nearest.add(distance, number, row as u64);
                }
            }
            let rows = nearest.into_list().into_iter();
            rows.filter_map(|(value, row)| Some((usize::try_from(row).ok()?, Some(value))))
                .collect::<Vec<_>>()
        });
        Ok(NearAnswer {
            kept: self.cards(&kept)?,
            dropped: self.cards(&dropped)?,
        })
    }

    /// Where a bound stands now; where there is none, the end of the values on its side.
    fn bound(&self, asked: &Asked, knob: &Knob, outcome: &Outcome) -> f64 {
        let mut of_asked = asked.bounds.iter();
        let moved =
            of_asked.rfind(|bound| bound.step == knob.step && bound.param == knob.bound.param);
        let step = self.live.steps().get(knob.step);
        let set = match moved {
            Some(moved) => moved.value,
            None => step.and_then(|step| {
                let found = outcome
                    .found
                    .iter()
                    .find(|(at, found)| *at == knob.step && found.param == knob.bound.param);
                match found {
                    Some((_, found)) => found.value,
                    None => knob.bound.value(&step.params),
                }
            }),
        };
        let end = if knob.bound.side == Side::Max {
            f64::MAX
        } else {
            f64::MIN
        };
        set.unwrap_or(end)
    }

    pub(super) fn rows_of(&self, asked: &Asked) -> Result<RowsAnswer, String> {
        let outcome = self.live.outcome(&asked.moved(&self.live)?)?;
        let none = Bits::default();
        let at_steps = |pick: fn(&crate::analysis::live::StepOutcome) -> &Bits| {
            let all = outcome.steps.iter().map(pick);
            Bits::of(self.live.rows(), |row| {
                all.clone().any(|bits| bits.has(row))
            })
        };
        let found = match asked.of {
            RowsOf::Kept => outcome.reach.last().cloned().unwrap_or_default(),
            RowsOf::Dropped => match asked.step {
                Some(step) => outcome
                    .steps
                    .get(step)
                    .map_or(none, |step| step.dropped.clone()),
                None => at_steps(|step| &step.dropped),
            },
            RowsOf::Unknown => at_steps(|step| &step.unknown),
            RowsOf::Aside => {
                let aside = at_steps(|step| &step.aside);
                let last = outcome.reach.last();
                let refused = last
                    .zip(self.live.refused())
                    .map(|(last, bits)| last.and(bits));
                let wanted = asked.reason.map(|reason| self.live.reasons().get(reason));
                Bits::of(self.live.rows(), |row| {
                    let is_aside = aside.has(row)
                        || self.live.unreadable().has(row)
                        || refused.as_ref().is_some_and(|bits| bits.has(row));
                    is_aside && wanted.is_none_or(|reason| self.live.reason(row) == reason)
                })
            }
        };
        let page: Vec<_> = found
            .iter()
            .skip(asked.skip)
            .take(PAGE)
            .map(|row| (row, None))
            .collect();
        Ok(RowsAnswer {
            total: found.count(),
            rows: self.cards(&page)?,
        })
    }
}
