//! The types that pandas gives the columns of a table in text, cell by cell: `read_csv` with its
//! defaults, floats read to the nearest value.

use std::io::Write as _;

use super::columns::view::write_float;
use crate::sample::push_string;

/// What pandas takes for nothing.
const NOTHING: [&str; 18] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan",
];

/// The type of a column, by its cells so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is found apart")]
pub struct CellType {
    /// Some cell holds nothing.
    nothing: bool,
    /// Some cell is no whole number.
    not_whole: bool,
    /// Some cell is below 0.
    negative: bool,
    /// Some cell is no whole number of 64 bits with a sign.
    not_signed: bool,
    /// Some cell is no whole number of 64 bits at all.
    beyond: bool,
    /// Some cell is no number.
    not_float: bool,
    /// Some cell is neither true nor false.
    not_bool: bool,
}

fn is_nothing(cell: &str) -> bool {
    NOTHING.contains(&cell) || cell == "null"
}

fn whole(cell: &str) -> Option<i128> {
    let text = cell.trim_matches(' ');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = (1..=30).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn float(cell: &str) -> Option<f64> {
    let text = cell.trim_matches(' ');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let word = ["inf", "infinity"]
        .iter()
        .any(|it| digits.eq_ignore_ascii_case(it));
    if begins || word {
        text.parse().ok()
    } else {
        None
    }
}

fn truth(cell: &str) -> Option<bool> {
    match cell {
        "True" | "TRUE" | "true" => Some(true),
        "False" | "FALSE" | "false" => Some(false),
        _ => None,
    }
}

impl CellType {
    /// Widens the type for one more cell.
    pub fn see(&mut self, cell: &[u8]) {
        let Ok(cell) = std::str::from_utf8(cell) else {
            (self.not_whole, self.not_float, self.not_bool) = (true, true, true);
            return;
        };
        if is_nothing(cell) {
            self.nothing = true;
            return;
        }
        match whole(cell) {
            None => self.not_whole = true,
            Some(number) => {
                self.negative |= number < 0;
                self.not_signed |= i64::try_from(number).is_err();
                self.beyond |= number > u64::MAX.into();
            }
        }
        self.not_float |= float(cell).is_none();
        self.not_bool |= truth(cell).is_none();
    }

    /// Appends a cell of the column as JSON. One that was not seen may be any.
    pub fn write(self, cell: &[u8], out: &mut Vec<u8>) {
        let cell = String::from_utf8_lossy(cell);
        if is_nothing(&cell) {
            return out.extend_from_slice(b"null");
        }
        // Numbers of 64 bits with a hole are floats, larger ones stay as they are.
        let is_whole = !self.not_whole && (self.beyond || !self.nothing);
        let is_mixed = !self.not_whole && self.negative && self.not_signed;
        if is_mixed {
            push_string(&cell, out);
        } else if is_whole && let Some(number) = whole(&cell) {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{number}");
        } else if !self.not_float
            && let Some(number) = float(&cell)
        {
            write_float(number, out);
        } else if !self.not_bool
            && let Some(truth) = truth(&cell)
        {
            out.extend_from_slice(if truth { b"true" } else { b"false" });
        } else {
            push_string(&cell, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What pandas 3.1.1 makes of columns.
    #[test]
    fn columns_get_the_types_of_pandas() {
        for (cells, expected) in [
            (&["001", "2"][..], "1 2"),
            (&["1", "", "3"], "1.0 null 3.0"),
            (&["1", "2.5"], "1.0 2.5"),
            (&["1e3", "inf", "-Infinity"], "1000.0 Infinity -Infinity"),
            (&["True", "false"], "true false"),
            (&["True", "NA"], "true null"),
            (&["true", "1"], "\"true\" \"1\""),
            (
                &["a", "null", "None", "n/a", "NULL"],
                "\"a\" null null null null",
            ),
            (&["2024-01-01", "1"], "\"2024-01-01\" \"1\""),
            (&["1", "18446744073709551615"], "1 18446744073709551615"),
            (&["", "nan"], "null null"),
            (&["1_000"], "\"1_000\""),
            (&["0x10"], "\"0x10\""),
            (&[" 7", "8 "], "7 8"),
            (
                &["1", "", "99999999999999999999"],
                "1 null 99999999999999999999",
            ),
            (
                &["-1", "18446744073709551615"],
                "\"-1\" \"18446744073709551615\"",
            ),
            (&[".5", "5.", "+1"], "0.5 5.0 1.0"),
            (&["1.", "-"], "\"1.\" \"-\""),
            (&["1e400", "1"], "Infinity 1.0"),
        ] {
            let mut column = CellType::default();
            for cell in cells {
                column.see(cell.as_bytes());
            }
            let text = |cell: &&str| {
                let mut out = Vec::new();
                column.write(cell.as_bytes(), &mut out);
                String::from_utf8(out).unwrap()
            };
            let found: Vec<String> = cells.iter().map(text).collect();
            assert_eq!(found.join(" "), expected, "{cells:?}");
        }
    }
}
