//! Charts: bars in SVG that stretches, labels in HTML that does not, so that both read well at
//! any width. Every number is on the page as text as well: in a bar's title and in a table.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::text::{count, number, percent};
use crate::op::BYTES;
use crate::report::table::{bytes, thousands};
use crate::view::histogram::{Histogram, round_up, tidy};

/// The height of the drawing in CSS pixels; the bars are as high in their own units.
const HEIGHT: f64 = 150.0;

/// The share of the width that the bar of what lies beyond the range takes, in percent.
const TAIL: f64 = 5.0;

/// What a chart shows.
pub(super) struct Plot<'a> {
    /// The values.
    pub histogram: &'a Histogram,
    /// What is measured.
    pub stat: &'a str,
    /// What it counts or is measured in.
    pub unit: &'a str,
    /// What the two kinds of values are called.
    pub kinds: [&'a str; 2],
    /// Bounds: name and value as they are written, value, whether it is the upper one.
    pub marks: Vec<(String, f64, bool)>,
    /// Draw shares of two sets over each other instead of counts upon each other.
    pub compare: bool,
}

/// A value that is measured in `unit`.
pub(super) fn value_of(unit: &str, value: f64) -> String {
    if unit == BYTES && value >= 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "shown rounded"
        )]
        return bytes(value.round() as u64);
    }
    number(value)
}

/// Where things are, in percent of the width.
struct Scale {
    first: f64,
    last: f64,
    left: f64,
    right: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let share = (value - self.first) / (self.last - self.first);
        self.left + share * (100.0 - self.left - self.right)
    }
}

struct Bar {
    x: f64,
    width: f64,
    label: String,
    from: Option<f64>,
    to: Option<f64>,
    counts: [u64; 2],
}

impl Plot<'_> {
    /// The chart.
    #[expect(clippy::cast_precision_loss, reason = "heights of bars")]
    pub(super) fn draw(&self) -> Markup {
        let histogram = self.histogram;
        let (Some(&first), Some(&last)) = (histogram.edges.first(), histogram.edges.last()) else {
            return Markup::default();
        };
        let tail = |counts: [u64; 2]| if counts == [0, 0] { 0.0 } else { TAIL };
        let scale = Scale {
            first,
            last: if last > first { last } else { first + 1.0 },
            left: tail(histogram.below),
            right: tail(histogram.above),
        };
        let bars = self.bars(&scale);
        let totals = [histogram.total(0), histogram.total(1)];
        let height_of = |counts: [u64; 2], kind: usize| {
            let count = counts.get(kind).copied().unwrap_or(0) as f64;
            let total = totals.get(kind).copied().unwrap_or(0).max(1) as f64;
            if self.compare {
                count / total * 100.0
            } else {
                count
            }
        };
        let tallest = bars
            .iter()
            .map(|bar| {
                let (a, b) = (height_of(bar.counts, 0), height_of(bar.counts, 1));
                if self.compare { a.max(b) } else { a + b }
            })
            .fold(0.0, f64::max);
        let step = round_up(tallest / 3.0).max(if self.compare { 0.1 } else { 1.0 });
        let top = (tallest / step).ceil().max(1.0) * step;
        let within = |value: f64| (first..=last).contains(&value);
        let frame = if self.marks.is_empty() {
            "frame low"
        } else {
            "frame"
        };
        html! {
            div.plot {
                div class=(frame) {
                    (y_axis(step, top, self.compare))
                    svg viewBox={ "0 0 1000 " (HEIGHT) } preserveAspectRatio="none" role="img"
                        aria-label=(self.summary(totals)) data-stat=(self.stat) {
                        @for bar in bars.iter().filter(|bar| bar.counts != [0, 0]) {
                            (self.draw_bar(bar, top, &height_of))
                        }
                        @if self.compare {
                            path.outline d=(outline(&bars, top, &height_of)) {}
                        }
                    }
                    @for (name, value, upper) in self.marks.iter().filter(|mark| within(mark.1)) {
                        (Self::mark(&scale, name, *value, *upper))
                    }
                }
                (self.x_axis(&scale))
            }
            @for (name, _, upper) in self.marks.iter().filter(|mark| !within(mark.1)) {
                p.beyond {
                    (name) " lies far to the "
                    (if *upper { "right" } else { "left" }) " of the values."
                }
            }
            (self.table(&bars, totals))
        }
    }

    fn mark(scale: &Scale, name: &str, value: f64, upper: bool) -> Markup {
        let x = scale.x(value);
        let side = if x > 50.0 { "before" } else { "after" };
        let row = if upper { " second" } else { "" };
        html! {
            div class={ "mark " (side) (row) } style=(format!("left:{x:.2}%")) data-bound=(value) {
                span { (name) }
            }
        }
    }

    fn bars(&self, scale: &Scale) -> Vec<Bar> {
        let histogram = self.histogram;
        let show = |value| value_of(self.unit, value);
        let mut bars = Vec::new();
        if let (false, Some(&first)) = (histogram.below == [0, 0], histogram.edges.first()) {
            bars.push(Bar {
                x: 0.0,
                width: TAIL - 1.2,
                label: format!("below {}", show(first)),
                from: histogram.min,
                to: Some(first),
                counts: histogram.below,
            });
        }
        for (edges, counts) in histogram.edges.windows(2).zip(&histogram.bars) {
            let &[from, to] = edges else { continue };
            let (left, right) = (scale.x(from), scale.x(to));
            let label = if (to - from - 1.0).abs() < 1e-9 && from.fract() == 0.0 {
                show(from)
            } else {
                format!("{} to {}", show(from), show(to))
            };
            bars.push(Bar {
                x: left,
                width: if from < to { right - left } else { 100.0 },
                label,
                from: Some(from),
                to: Some(to),
                counts: *counts,
            });
        }
        if let (false, Some(&last)) = (histogram.above == [0, 0], histogram.edges.last()) {
            bars.push(Bar {
                x: 100.0 - TAIL + 1.2,
                width: TAIL - 1.2,
                label: format!("above {}", show(last)),
                from: Some(last),
                to: histogram.max,
                counts: histogram.above,
            });
        }
        bars
    }

    fn draw_bar(&self, bar: &Bar, top: f64, height_of: &impl Fn([u64; 2], usize) -> f64) -> Markup {
        // Room between bars, but not at the cost of thin ones.
        let gap = (bar.width * 0.12).min(0.25);
        let x = format!("{:.1}", bar.x * 10.0);
        let width = format!("{:.1}", (bar.width - gap).max(0.05) * 10.0);
        let edge = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
        let goes = self.goes(bar);
        let mut base = HEIGHT;
        let mut parts = Vec::new();
        for (kind, count) in bar.counts.iter().enumerate() {
            if *count == 0 || (self.compare && kind == 1) {
                continue;
            }
            // Even one row among many is to be seen.
            let height = (height_of(bar.counts, kind) / top * HEIGHT).max(2.0);
            base -= height;
            parts.push((kind, format!("{base:.1}"), format!("{height:.1}")));
        }
        html! {
            g data-from=(edge(bar.from)) data-to=(edge(bar.to)) data-a=(bar.counts[0])
                data-b=(bar.counts[1]) {
                title { (self.told(bar)) }
                rect.hit x=(x) y="0" width=(width) height=(HEIGHT) {}
                @for (kind, base, height) in &parts {
                    rect class={ "k" (if goes { 1 } else { *kind }) } x=(x) y=(base) width=(width) height=(height) {}
                }
            }
        }
    }

    /// Whether all values of a bar lie beyond a bound, where that is not counted.
    fn goes(&self, bar: &Bar) -> bool {
        let [_, second] = self.kinds;
        let mut marks = self.marks.iter();
        second.is_empty()
            && marks.any(|(_, bound, upper)| match (upper, bar.from, bar.to) {
                (true, Some(from), _) => from > *bound,
                (false, _, Some(to)) => to <= *bound,
                _ => false,
            })
    }

    fn told(&self, bar: &Bar) -> String {
        let [a, b] = bar.counts;
        let [first, second] = self.kinds;
        if second.is_empty() {
            return format!("{}: {}", bar.label, thousands(a));
        }
        format!(
            "{}: {} {first}, {} {second}",
            bar.label,
            thousands(a),
            thousands(b)
        )
    }

    fn summary(&self, totals: [u64; 2]) -> String {
        let range = match (self.histogram.min, self.histogram.max) {
            (Some(min), Some(max)) => format!(
                ", from {} to {}",
                value_of(self.unit, min),
                value_of(self.unit, max)
            ),
            _ => String::new(),
        };
        let [first, second] = self.kinds;
        let kinds = if second.is_empty() {
            count(totals[0], "value")
        } else {
            format!(
                "{} {first}, {} {second}",
                thousands(totals[0]),
                thousands(totals[1])
            )
        };
        format!("Histogram of {}: {kinds}{range}", self.stat)
    }

    fn x_axis(&self, scale: &Scale) -> Markup {
        let histogram = self.histogram;
        let step = round_up((scale.last - scale.first) / 7.0);
        let mut labels = Vec::new();
        if step > 0.0 {
            let mut at = (scale.first / step).ceil();
            while at * step <= scale.last * (1.0 + 1e-12) + 1e-300 {
                labels.push(tidy(at * step, step));
                at += 1.0;
            }
        }
        let mut tails = Vec::new();
        if let (false, Some(min)) = (histogram.below == [0, 0], histogram.min) {
            tails.push(format!(
                "first bar: {} down to {}",
                thousands(histogram.below.iter().sum()),
                value_of(self.unit, min)
            ));
        }
        if let (false, Some(max)) = (histogram.above == [0, 0], histogram.max) {
            tails.push(format!(
                "last bar: {} beyond, up to {}",
                thousands(histogram.above.iter().sum()),
                value_of(self.unit, max)
            ));
        }
        let left = |value: f64| format!("left:{:.2}%", scale.x(value).clamp(0.0, 100.0));
        html! {
            div.xaxis aria-hidden="true" {
                @for (index, value) in labels.iter().enumerate() {
                    span.minor[index % 2 == 1] style=(left(*value)) { (value_of(self.unit, *value)) }
                }
            }
            @if !tails.is_empty() { p.tails { (tails.join(" · ")) } }
        }
    }

    fn table(&self, bars: &[Bar], totals: [u64; 2]) -> Markup {
        let [first, second] = self.kinds;
        let columns = if second.is_empty() { 1 } else { 2 };
        let share = |count: u64, total: u64| {
            if self.compare {
                format!(" ({})", percent(count, total))
            } else {
                String::new()
            }
        };
        html! {
            details.numbers {
                summary { "Numbers" }
                div.scroll {
                    table {
                        thead {
                            tr {
                                th scope="col" { (self.stat) }
                                th scope="col" { (first) }
                                @if !second.is_empty() { th scope="col" { (second) } }
                            }
                        }
                        tbody {
                            @for bar in bars.iter().filter(|bar| bar.counts != [0, 0]) {
                                tr {
                                    th scope="row" { (bar.label) }
                                    @for (count, total) in bar.counts.iter().zip(totals).take(columns) {
                                        td { (thousands(*count)) (share(*count, total)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The second set as a line over the bars of the first.
fn outline(bars: &[Bar], top: f64, height_of: &impl Fn([u64; 2], usize) -> f64) -> String {
    let mut path = String::new();
    for bar in bars {
        let y = HEIGHT - height_of(bar.counts, 1) / top * HEIGHT;
        let command = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(
            path,
            "{command}{:.1} {y:.1}H{:.1}",
            bar.x * 10.0,
            (bar.x + bar.width) * 10.0
        );
    }
    path
}

fn y_axis(step: f64, top: f64, shares: bool) -> Markup {
    let mut labels = Vec::new();
    let mut at = step;
    while at <= top * (1.0 + 1e-9) {
        labels.push((format!("bottom:{:.2}%", at / top * 100.0), tidy(at, step)));
        at += step;
    }
    html! {
        div.yaxis aria-hidden="true" {
            @for (style, value) in &labels {
                span style=(style) { (number(*value)) (if shares { " %" } else { "" }) }
            }
        }
    }
}

/// One bar of a waterfall: what is left, what goes, as parts of the rows of the whole run.
#[expect(clippy::cast_precision_loss, reason = "widths of bars")]
pub(super) fn bar(parts: &[(&str, u64)], whole: u64) -> Markup {
    let unit = 1000.0 / whole.max(1) as f64;
    let mut x = 0.0_f64;
    let mut shown = Vec::new();
    for (class, rows) in parts {
        let width = *rows as f64 * unit;
        if *rows > 0 {
            // Even one row is to be seen.
            let wide = width.max(2.5);
            let from = x.min(1000.0 - wide);
            shown.push((class, format!("{from:.2}"), format!("{wide:.2}")));
        }
        x += width;
    }
    html! {
        svg.flow viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, from, wide) in &shown {
                rect class=(class) x=(from) y="0" width=(wide) height="10" {}
            }
        }
    }
}
