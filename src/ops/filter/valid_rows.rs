//! Rows that stand in a recipe for others to be compared with: `valid_dataset`.

use serde_json::{Map, Value};

/// The rows as the table that Data-Juicer makes of them: it has the columns of the first row, and
/// null where a later one lacks a value.
#[must_use]
pub fn valid_rows(rows: Option<&Vec<Map<String, Value>>>) -> Vec<Map<String, Value>> {
    let rows = rows.map_or(&[][..], Vec::as_slice);
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let row = |row: &Map<String, Value>| {
        let columns = first.keys();
        let columns =
            columns.map(|name| (name.clone(), row.get(name).cloned().unwrap_or_default()));
        columns.collect()
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn later_rows_have_the_columns_of_the_first() {
        let rows = json!([{"a": 1, "b": "x"}, {"b": "y", "c": 2}, {}]);
        let rows: Vec<Map<String, Value>> = serde_json::from_value(rows).unwrap();
        let table = json!([{"a": 1, "b": "x"}, {"a": null, "b": "y"}, {"a": null, "b": null}]);
        assert_eq!(json!(valid_rows(Some(&rows))), table);
        assert!(valid_rows(None).is_empty());
    }
}
