//! The table of a bound's other values and how many rows each leaves.

use maud::{Markup, html};

use super::plot::value_of;
use super::text::{count, percent};
use crate::op::{Written, size_text};
use crate::report::table::thousands;
use crate::view::cuts::Cuts;

/// The table; `now` is the bound as the recipe writes it, and `of` says which rows were counted.
pub(super) fn table(cuts: &Cuts, unit: &str, now: Option<&str>, of: &str) -> Markup {
    let shown = |value: f64| match (cuts.now.map(f64::to_bits) == Some(value.to_bits()), now) {
        (true, Some(now)) => now.to_owned(),
        _ if cuts.bound.written == Written::Size => size_text(value),
        _ => value_of(unit, value),
    };
    html! {
        details.numbers {
            summary { (cuts.bound.param) " → rows left" }
            p.what {
                "Of the " (count(cuts.rows, "row")) " " (of) ", the other bounds as they are."
            }
            div.scroll {
                table.cuts {
                    thead {
                        tr {
                            th scope="col" { (cuts.bound.param) }
                            th scope="col" { "Rows left" }
                            th scope="col" { "Share" }
                        }
                    }
                    tbody {
                        @for (value, left) in &cuts.left {
                            tr.now[cuts.now.map(f64::to_bits) == Some(value.to_bits())] data-cut=(value) data-left=(left) {
                                th scope="row" { (shown(*value)) }
                                td { (thousands(*left)) }
                                td { (percent(*left, cuts.rows)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
