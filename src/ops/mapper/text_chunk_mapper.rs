//! Makes several rows of one by cutting its text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::op::{
    BuildContext, Expander, Facts, Operator, ParamError, Part, Problems, operator, positive,
};
use crate::sample::{FieldPath, RowError, Sample};
use crate::text::chunk::{Unit, at_pattern, between, windows};
use crate::text::python_regex::Pattern;

operator! {
    /// Cuts a text into chunks and makes a row of each.
    ///
    /// With `split_pattern` alone, chunks lie between its matches (what its groups match is a chunk
    /// too), and blank ones are left out; a row whose text holds nothing else is dropped. With
    /// `max_len` alone, chunks are windows of that length which share `overlap_len` with the window
    /// before. With both, a text that is too long is cut at the last match within `max_len`, and the
    /// match is left out; where there is none it is cut at `max_len`, and the next chunk begins
    /// `overlap_len` before the cut. All but the last chunk of a row then have more than white space.
    ///
    /// All other fields and what was measured so far are repeated in each chunk's row. The rows keep
    /// the place and the identity of the row they come of; the ledger tells them apart by `part`. A hash
    /// that a deduplicator in front made of the whole text stays with all chunks, as it does there, so
    /// that a second deduplicator of its kind leaves one of them; put it behind this step instead.
    ///
    /// ## Example
    /// ```yaml
    /// - text_chunk_mapper: {max_len: 10, split_pattern: ' '}
    /// ```
    /// ```json
    /// {"in": {"id": 7, "text": "a chunk of ten"}, "out": [{"id": 7, "text": "a chunk"}, {"id": 7, "text": "of ten"}]}
    /// {"in": {"text": ""}, "out": [{"text": ""}]}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `text_chunk_mapper`: same, but that `tokenizer` must be a local Hugging Face
    /// tokenizer (`tokenizer.json`), and that a text of more than about 950 chunks works (there it
    /// exceeds Python's recursion limit, which loses its whole batch). `open_tracer` writes no file
    /// for it: there the n-th row of a batch is told beside the n-th chunk of the whole batch, which
    /// is not its own from the first row of several chunks on.
    text_chunk_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Greatest length of a chunk, in code points or tokens; no limit by default.
    max_len: Option<i64>,
    /// A regular expression (Python syntax, no flags) to cut at; null cuts by length alone.
    split_pattern: Option<String>,
    /// How much of a chunk the next one repeats where it was cut by length; less than `max_len`.
    overlap_len: u32,
    /// A Hugging Face tokenizer: lengths count its tokens. Code points by default.
    tokenizer: Option<String>,
    /// Accepted and without effect: no code is run.
    trust_remote_code: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            max_len: None,
            split_pattern: Some(r"\n\n".into()),
            overlap_len: 0,
            tokenizer: None,
            trust_remote_code: false,
        }
    }
}

struct TextChunk {
    text_key: FieldPath,
    size: Option<usize>,
    pattern: Option<Pattern>,
    overlap: usize,
    unit: Unit,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let size = problems.keep(
        params
            .max_len
            .map(|len| positive("max_len", len))
            .transpose(),
    );
    let pattern = problems.keep(
        params
            .split_pattern
            .as_deref()
            .map(|pattern| {
                Pattern::of_re(pattern).map_err(|e| {
                    let message =
                        format!("{pattern:?} cannot be used as a regular expression: {e}");
                    ParamError::new("split_pattern", message)
                })
            })
            .transpose(),
    );
    let unit = problems.keep(match &params.tokenizer {
        None => Ok(Unit::Character),
        Some(name) => context
            .hf_tokenizer("tokenizer", name)
            .map(|tokenizer| Unit::Token(Box::new(tokenizer))),
    });
    let overlap = params.overlap_len as usize;
    let (Some(size), Some(pattern), Some(unit)) = (size, pattern, unit) else {
        return Err(problems.into());
    };
    if size.is_none() && pattern.is_none() {
        let problem = ParamError::new("max_len", "max_len and split_pattern are both null");
        return Err(problem.hint("give at least one of them").into());
    }
    if let Some(size) = size.filter(|&size| overlap >= size) {
        let message = format!("overlap_len is {overlap}, max_len is {size}");
        return Err(ParamError::new("overlap_len", message)
            .hint("the overlap must be less than the length")
            .into());
    }
    Ok(Operator::Expander(Box::new(TextChunk {
        text_key: context.base.text_key.clone(),
        size,
        pattern,
        overlap,
        unit,
    })))
}

impl Expander for TextChunk {
    fn parts(&self, sample: &Sample) -> Result<Vec<Part>, RowError> {
        let text = sample.required_text(&self.text_key)?;
        let chunks = match (&self.pattern, self.size) {
            (Some(pattern), None) => between(pattern, &text)
                .map(|chunks| chunks.into_iter().map(ToOwned::to_owned).collect()),
            (Some(pattern), Some(size)) => {
                at_pattern(&text, pattern, size, self.overlap, &self.unit)
            }
            (None, size) => windows(&text, size.unwrap_or(usize::MAX), self.overlap, &self.unit),
        }
        .map_err(|e| RowError::new("chunking_failed", e))?;
        Ok(match chunks.as_slice() {
            [only] if **only == *text => vec![Part::Edits(Vec::new())],
            _ => chunks
                .into_iter()
                .map(|chunk| Part::Edits(vec![(self.text_key.clone(), Value::String(chunk))]))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_parts;

    fn check(params: &str, text: &str, expected: &[&str]) {
        check_parts("text_chunk_mapper", params, text, Ok(expected));
    }

    #[test]
    fn texts_are_cut_at_the_pattern_and_by_length() {
        check("{}", "a\n\nb\n\n \n\n", &["a", "b"]);
        check("{}", " \n\n", &[]);
        check(
            r#"{"split_pattern": "(,)|;"}"#,
            "a,b;c",
            &["a", ",", "b", "c"],
        );
        check(
            r#"{"split_pattern": ".", "max_len": 4}"#,
            "\n\n\n\nend",
            &["end"],
        );
        let by_length = r#"{"split_pattern": null, "max_len": 3, "overlap_len": 1}"#;
        check(
            by_length,
            "日本語👩\u{200d}👧e",
            &["日本語", "語👩\u{200d}", "\u{200d}👧e", "e"],
        );
        check(by_length, "abc", &["abc"]);
        check(by_length, "", &[""]);
        let both = r#"{"split_pattern": " ", "max_len": 5, "overlap_len": 2}"#;
        check(both, "ab cd efghijk", &["ab", "cd", "efghi", "hijk"]);
        check(both, "      ", &[" "]);
    }

    #[test]
    fn a_cut_without_progress_is_an_error() {
        let stuck = r#"{"split_pattern": "^", "max_len": 2}"#;
        check_parts("text_chunk_mapper", stuck, "abc", Err("chunking_failed"));
    }
}
