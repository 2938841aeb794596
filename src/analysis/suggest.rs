//! A recipe whose bounds come from what an analysis found.

use std::io;

use serde_json::Value;

use super::among::cascade;
use super::stat::{Stat, stats_of};

use crate::layout::AnalysisFiles;
use crate::op::{BoundParam, OpKind, Side, Written};
use crate::recipe::{Comments, Problems, Recipe, Target};
use crate::record::Analysis;
use crate::report::table::thousands;

/// How bounds are taken from the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The 1st and the 99th percentile.
    Percentiles,
    /// Three standard deviations below and above the mean.
    ThreeSigma,
}

/// Why no recipe could be suggested.
#[derive(Debug, thiserror::Error)]
pub enum SuggestError {
    /// The stored stats cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The recipe made of them is not sound: a defect of djr, or an asset that is gone.
    #[error("{0}")]
    Recipe(Problems),
}

/// What is suggested for one stat.
struct Advice<'a> {
    stat: &'a Stat,
    /// What the data say, for the comment.
    facts: String,
    /// The lower and the upper bound, if they would drop something.
    bounds: [Option<f64>; 2],
}

/// The text of a recipe like `recipe`, with bounds for its filters from `analysis`; `output` is
/// its only one.
///
/// # Errors
/// If the stats cannot be read back, or the result is no sound recipe.
pub fn suggest(
    recipe: &Recipe,
    analysis: &Analysis,
    files: &AnalysisFiles,
    rule: Rule,
    output: Target,
) -> Result<String, SuggestError> {
    let stats = stats_of(&recipe.steps);
    let advice: Vec<Advice> = stats
        .iter()
        .filter_map(|stat| advise(stat, analysis, rule))
        .collect();
    let mut suggested = recipe.spec().writing_to(output);
    let mut comments = Comments {
        head: Vec::new(),
        steps: vec![Vec::new(); suggested.steps.len()],
    };
    for advice in &advice {
        let number = advice.stat.step;
        let (step, lines) = (
            suggested.steps.get_mut(number),
            comments.steps.get_mut(number),
        );
        if let (Some(step), Some(lines)) = (step, lines) {
            lines.push(advice.facts.clone());
            set_bounds(&mut step.params, advice);
        }
    }
    let built = suggested.build().map_err(SuggestError::Recipe)?;
    let (counts, left) = cascade(&files.jsonl(), &stats, &built)?;
    let rows = analysis.rows.read;
    for ((step, count), lines) in built.steps.iter().zip(&counts).zip(&mut comments.steps) {
        match step.spec.kind {
            OpKind::Filter if !step.spec.measures() => {
                lines.push("What it drops is not known from stats alone.".to_owned());
            }
            OpKind::Filter => lines.push(format!(
                "Drops {} rows ({}) alone, {} ({}) in sequence.",
                thousands(count.alone),
                share(count.alone, rows),
                thousands(count.in_sequence),
                share(count.in_sequence, rows)
            )),
            _ => {}
        }
    }
    let rule = match rule {
        Rule::Percentiles => "the 1st and the 99th percentile",
        Rule::ThreeSigma => "three standard deviations around the mean",
    };
    comments.head = vec![
        format!("Suggested by djr analyze: bounds are {rule}, where they drop something."),
        format!(
            "Its filters leave {} of {} rows ({}); deduplicators and selectors are not counted.",
            thousands(left),
            thousands(rows),
            share(left, rows)
        ),
        "Bounds from data are a start: look at the rows beside them before you trust them.".into(),
    ];
    let options = suggested.own_options();
    if !options.is_empty() {
        comments.head.push(format!(
            "Data-Juicer has no keys for all that was measured by: djr run takes {}",
            options.join(" ")
        ));
    }
    Ok(suggested.to_peer_yaml(&comments))
}

/// Bounds of a stat, if its filter has any to set and the analysis has numbers.
fn advise<'a>(stat: &'a Stat, analysis: &Analysis, rule: Rule) -> Option<Advice<'a>> {
    if stat.bounds.iter().all(Option::is_none) {
        return None;
    }
    let found = analysis.stats.get(stat.name.as_ref())?.found.numbers()?;
    let (min, max) = (found.min?, found.max?);
    let (mean, std) = (found.mean?, found.std?);
    let percentiles = [found.percentile("1")?, found.percentile("99")?];
    let sigmas = [mean - 3.0 * std, mean + 3.0 * std];
    let facts = format!(
        "{}: {} to {}, median {}; 1% to 99%: {} to {}; three sigma: {} to {}",
        stat.name,
        shown(min),
        shown(max),
        shown(found.percentile("50")?),
        shown(percentiles[0]),
        shown(percentiles[1]),
        shown(sigmas[0]),
        shown(sigmas[1]),
    );
    let [low, high] = match rule {
        Rule::Percentiles => percentiles,
        Rule::ThreeSigma => sigmas,
    };
    let [lower, upper] = &stat.bounds;
    let low = lower.as_ref().map(|bound| outward(low, bound.param));
    let high = upper.as_ref().map(|bound| outward(high, bound.param));
    Some(Advice {
        stat,
        facts,
        bounds: [
            low.filter(|low| *low > min),
            high.filter(|high| *high < max),
        ],
    })
}

/// A bound rounded away from the data: to a whole number, or to four digits.
fn outward(number: f64, bound: BoundParam) -> f64 {
    let round = |number: f64| match bound.side {
        Side::Min => number.floor(),
        Side::Max => number.ceil(),
    };
    if bound.written != Written::Number {
        return round(number);
    }
    if number == 0.0 || !number.is_finite() {
        return number;
    }
    let digits = 3.0 - number.abs().log10().floor();
    let scale = 10_f64.powf(digits.clamp(-300.0, 300.0));
    // Dividing by a power of ten gives the nearest float; multiplying by its inverse may not.
    round(number * scale) / scale
}

fn set_bounds(params: &mut serde_json::Map<String, Value>, advice: &Advice<'_>) {
    for (bound, limit) in advice.stat.bounds.iter().zip(advice.bounds) {
        let Some(bound) = bound else { continue };
        let bound = bound.param;
        let value = limit.map_or_else(|| bound.open(), |limit| bound.write(limit));
        params.insert(bound.param.to_owned(), value);
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown rounded")]
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0%".into();
    }
    format!("{:.1}%", 100.0 * part as f64 / whole as f64)
}

/// A number with at most four decimals.
fn shown(number: f64) -> String {
    let text = format!("{number:.4}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
