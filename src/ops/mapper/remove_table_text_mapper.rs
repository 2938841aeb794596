//! Removes tables typed as text.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::table_text::without_tables;

operator! {
    /// Removes tables of `min_col` to `max_col` columns that are typed as plain text.
    ///
    /// For each number of columns in turn: two or more lines in a row, each of so many cells, with the
    /// empty lines between and after them. Cells hold no white space and are parted by one space, one
    /// tab or a `|`, which may as well be part of a cell. The first line of the text is never part of a
    /// table, nor a last one without a line feed. Any two lines with the same number of words count.
    ///
    /// ## Example
    /// ```yaml
    /// - remove_table_text_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "Prices:\nmilk 1\ntea 2\n\nThat is all."}, "out": {"text": "Prices:\nThat is all."}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `remove_table_text_mapper`: same.
    remove_table_text_mapper: Mapper(Params) => build,
    Facts {
        memory: 6,
        ..Facts::MAPS_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Fewest columns of a table that is removed, inclusive; 2 to 20.
    #[schemars(range(min = 2, max = 20))]
    min_col: usize,
    /// Most columns of a table that is removed, inclusive; 2 to 20.
    #[schemars(range(min = 2, max = 20))]
    max_col: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            min_col: 2,
            max_col: 20,
        }
    }
}

struct RemoveTableText {
    columns: RangeInclusive<usize>,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let errors: Vec<_> = [("min_col", params.min_col), ("max_col", params.max_col)]
        .into_iter()
        .filter(|(_, columns)| !(2..=20).contains(columns))
        .map(|(name, columns)| {
            ParamError::new(name, format!("{columns} is not a number of columns"))
                .hint("choose a number from 2 to 20")
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        RemoveTableText {
            columns: params.min_col..=params.max_col,
        },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for RemoveTableText {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        Ok(without_tables(text, self.columns.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::{build_mapper, check_mapper};

    fn check(params: &str, input: &str, expected: &str) {
        check_mapper("remove_table_text_mapper", params, input, expected);
    }

    #[test]
    fn rows_of_the_same_number_go() {
        check("{}", "x\na b\nc d\ny", "x\ny");
        check(r#"{"min_col": 3}"#, "x\na b\nc d\ny", "x\na b\nc d\ny");
    }

    #[test]
    fn columns_are_limited() {
        for (params, param) in [
            (r#"{"min_col": 1}"#, "min_col"),
            (r#"{"max_col": 21}"#, "max_col"),
        ] {
            let errors = build_mapper("remove_table_text_mapper", params)
                .err()
                .unwrap();
            assert_eq!(errors[0].param.as_deref(), Some(param));
        }
    }
}
