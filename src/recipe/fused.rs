//! `general_fused_op`: several operators in one step of a recipe.
//!
//! There it saves passes over the dataset; here all operators of a row run one after the other
//! anyway, so the step is read as the operators that it lists.

use super::keys::BASE_KEYS;
use super::nearest::did_you_mean;
use super::process::{Found, operator_and_params};
use super::yaml::{Issue, Value};
use crate::note::{Code, Note};
use crate::op::{self, Family};

/// Its name in recipes.
pub const FUSED: &str = "general_fused_op";

/// The parameter that lists the operators.
pub const LIST: &str = "fused_op_list";

/// The operators that an item of `process` stands for: itself, or those that it lists.
pub fn unfold<'n>(
    found: Found<'n>,
    issues: &mut Vec<Issue>,
    notes: &mut Vec<Note>,
) -> Vec<Found<'n>> {
    let (name, _, params) = found;
    if name != FUSED {
        return vec![found];
    }
    let mut inner = Vec::new();
    for entry in params {
        match (&entry.node.value, entry.key.as_str()) {
            (Value::Null, LIST) => {}
            (Value::List(items), LIST) => {
                for item in items {
                    let Some(found) = operator_and_params(item, issues) else {
                        continue;
                    };
                    match op::find(found.0).map(|def| def.family) {
                        None | Some(Family::Mapper | Family::Filter) => {
                            inner.extend(unfold(found, issues, notes));
                        }
                        Some(family) => issues.push(
                            Issue::new(
                                "step_invalid",
                                found.1,
                                format!(
                                    "{FUSED} runs mappers and filters, and {} is a {family}",
                                    found.0
                                ),
                            )
                            .hint(format!("list it under `process`, behind {FUSED}")),
                        ),
                    }
                }
            }
            (_, LIST) => issues.push(
                Issue::new(
                    "step_invalid",
                    entry.node.at,
                    format!(
                        "'{LIST}' of {FUSED}: expected a list of operators, found {}",
                        entry.node.describe()
                    ),
                )
                .hint("start each operator with `- `"),
            ),
            (value, key) if BASE_KEYS.iter().any(|base| base.name == key) => {
                if !matches!(value, Value::Null) {
                    let text = format!("ignored: parameter `{key}` of {FUSED}");
                    Note::new(Code::KeyIgnored, text).add_to(notes);
                }
            }
            (_, key) => issues.push(
                Issue::new(
                    "parameter_unknown",
                    entry.at,
                    format!("unknown parameter '{key}' of {FUSED}"),
                )
                .named(key)
                .maybe_hint(did_you_mean(key, [LIST, "batch_size"])),
            ),
        }
    }
    inner
}
