//! Puts the tables of an HTML text into a field.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::op::{
    BuildContext, Facts, Field, META, Mapper, Operator, ParamError, meta_of, operator,
};
use crate::sample::{FieldPath, RowError, Sample};
use crate::text::markup::{NodeId, ROOT, Tree};

operator! {
    /// Puts the tables of an HTML text into a field of `__dj__meta__`.
    ///
    /// By default a table becomes a list of rows, and a row (`tr`) a list of the texts of the cells
    /// (`td`, `th`) directly in it, each piece of text stripped of white space; rows without cells and
    /// tables without rows are left out. The rows of a table within a table belong to both. Elements
    /// are those that Python's `html.parser` sees: nothing is implied, so that a cell that is not
    /// closed holds those behind it. A row that has the field already is left as it is.
    ///
    /// ## Example
    /// ```yaml
    /// - extract_tables_from_html_mapper: {}
    /// ```
    /// ```json
    /// {"in": {"text": "<table><tr><th>n</th></tr><tr><td> 1 </td></tr></table>"}, "out": {"text": "<table><tr><th>n</th></tr><tr><td> 1 </td></tr></table>", "__dj__meta__": {"html_tables": [[["n"], ["1"]]]}}}
    /// {"in": {"text": "no table"}, "out": {"text": "no table", "__dj__meta__": {"html_tables": []}}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `extract_tables_from_html_mapper` with Python 3.11.7 and BeautifulSoup 4.15:
    /// same, but that the encoding named by a `meta` element in a table stays as it is, and that tables
    /// within tables to a depth that would make gigabytes of a row are an error of the row. In the
    /// outputs `__dj__meta__` stays a field of the row, where Data-Juicer moves it to its stats file
    /// unless `keep_stats_in_res_ds` is set.
    extract_tables_from_html_mapper: Mapper(Params) => build,
    Facts {
        memory: 64,
        reads: &[Field::Text, Field::Meta],
        writes: &[Field::Meta],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The name of the field in `__dj__meta__`.
    tables_field_name: String,
    /// Keep each table as HTML instead.
    retain_html_tags: bool,
    /// Whether rows that hold a header cell (`th`) are kept; they are in HTML.
    include_header: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            tables_field_name: "html_tables".into(),
            retain_html_tags: false,
            include_header: true,
        }
    }
}

/// Most nodes and bytes of text that may be visited for one row of the dataset.
const MAX_WORK: usize = 1 << 26;

struct ExtractTables {
    text_key: FieldPath,
    params: Params,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every operator's build function"
)]
fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(ExtractTables {
        text_key: context.base.text_key.clone(),
        params,
    })))
}

impl Mapper for ExtractTables {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let mut meta = meta_of(sample)?;
        let name = &self.params.tables_field_name;
        if meta.contains_key(name) {
            return Ok(());
        }
        let tables = self.tables(&sample.required_text(&self.text_key)?)?;
        meta.insert(name.clone(), tables.into());
        sample.set_value(META, Value::Object(meta));
        Ok(())
    }
}

impl ExtractTables {
    fn tables(&self, html: &str) -> Result<Vec<Value>, RowError> {
        let tree = Tree::parse(html).map_err(|e| RowError::new("html_invalid", e))?;
        let mut budget = Budget(MAX_WORK);
        let mut found = Vec::new();
        for table in tree.descendants(ROOT, "table") {
            budget.spend(tree.weight(table))?;
            if self.params.retain_html_tags {
                found.push(tree.html(table).into());
                continue;
            }
            let rows = self.rows(&tree, table, &mut budget)?;
            if !rows.is_empty() {
                found.push(rows.into());
            }
        }
        Ok(found)
    }

    fn rows(
        &self,
        tree: &Tree,
        table: NodeId,
        budget: &mut Budget,
    ) -> Result<Vec<Value>, RowError> {
        let mut rows = Vec::new();
        for row in tree.descendants(table, "tr") {
            let is_header = tree.children(row, &["th"]).next().is_some();
            if is_header && !self.params.include_header {
                continue;
            }
            budget.spend(tree.weight(row))?;
            let cells: Vec<Value> = tree
                .children(row, &["td", "th"])
                .map(|cell| tree.stripped_text(cell).into())
                .collect();
            if !cells.is_empty() {
                rows.push(cells.into());
            }
        }
        Ok(rows)
    }
}

/// What is left of [`MAX_WORK`].
struct Budget(usize);

impl Budget {
    fn spend(&mut self, weight: usize) -> Result<(), RowError> {
        match self.0.checked_sub(weight) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(RowError::new(
                "html_too_deep",
                "tables or rows lie within each other too deep".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::op::testing::build_mapper;
    use crate::sample::{ImageContext, Origin, Sample};

    #[track_caller]
    fn check(row: &str, expected: Result<&str, &str>) {
        let mapper = build_mapper("extract_tables_from_html_mapper", "{}").unwrap();
        let context = Arc::new(ImageContext::default());
        let mut row = Sample::parse(row.to_owned(), Origin::default(), context).unwrap();
        let answer = mapper.apply(&mut row).map(|()| {
            let mut out = Vec::new();
            row.write_json(&[], &mut out);
            String::from_utf8(out).unwrap()
        });
        assert_eq!(answer.as_deref().map_err(|e| e.code), expected);
    }

    #[test]
    fn what_was_found_before_stays() {
        let row = r#"{"text": "<table>", "__dj__meta__": {"html_tables": 1}}"#;
        check(row, Ok(row));
        let row = r#"{"text": "<table>", "__dj__meta__": null}"#;
        let found = r#"{"text": "<table>", "__dj__meta__": {"html_tables": []}}"#;
        check(row, Ok(found));
        check(r#"{"text": "x", "__dj__meta__": 1}"#, Err("wrong_type"));
        check(r#"{"text": "<![x]>"}"#, Err("html_invalid"));
        check(r#"{"text": null}"#, Err("missing_field"));
    }

    #[test]
    fn tables_without_end_are_refused() {
        let html = "<table>".repeat(100) + &"x".repeat(1_000_000);
        let row = serde_json::json!({ "text": html }).to_string();
        check(&row, Err("html_too_deep"));
    }
}
