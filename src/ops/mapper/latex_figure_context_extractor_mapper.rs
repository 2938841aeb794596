//! Makes a row of each figure of a LaTeX source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::op::{BuildContext, Expander, Facts, Field, Operator, ParamError, Part, operator};
use crate::sample::{FieldPath, RowError, Sample};
use crate::text::latex_figures::{Figure, cites, figures, paragraphs, prose};

operator! {
    /// Makes a row of each figure of a LaTeX source: its files, caption, label, and the paragraphs that
    /// cite it.
    ///
    /// Figures are the environments `figure`, `figure*` and `wrapfigure`. Subfigures (the environment,
    /// `\subfigure` and `\subfloat`) are rows of their own, with the caption and label of the figure
    /// around them and the paragraphs that cite either; so are two or more minipages in a figure without
    /// subfigures, but for those that hold a table. Captions are those of `\caption`, `\caption*`,
    /// `\subcaption` and `\captionof{figure}`. What shows no file (`\includegraphics`) is left out, and
    /// a row without figures is dropped. Paragraphs are looked for outside of figures, tables, formulas
    /// and listings. All other fields are repeated in each row.
    ///
    /// ## Example
    /// ```yaml
    /// - latex_figure_context_extractor_mapper: {text_key: tex}
    /// ```
    /// ```json
    /// {"in": {"tex": "See \\ref{f}.\\begin{figure}\\includegraphics{a.png}\\caption{A}\\label{f}\\end{figure}"}, "out": [{"tex": "See \\ref{f}.\\begin{figure}\\includegraphics{a.png}\\caption{A}\\label{f}\\end{figure}", "caption": "A", "images": ["a.png"], "label": "f", "citing_paragraphs": ["See \\ref{f}."], "parent_caption": "", "parent_label": ""}]}
    /// {"in": {"tex": "no figure"}, "out": []}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `latex_figure_context_extractor_mapper`: same, but for `open_tracer`, which
    /// writes no file for it. There the n-th row of a batch is told beside the n-th figure of the
    /// whole batch, which is not its own, and a batch of fewer figures than rows fails.
    latex_figure_context_extractor_mapper: Mapper(Params) => build,
    Facts {
        writes: &[
            Field::Images,
            Field::Param("caption_key"),
            Field::Param("label_key"),
            Field::Param("context_key"),
            Field::Param("parent_caption_key"),
            Field::Param("parent_label_key"),
        ],
        ..Facts::OF_TEXT
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The commands that cite a figure, with or without their backslash; by default `\ref`, `\cref`,
    /// `\Cref` and `\autoref`.
    citation_commands: Option<Vec<String>>,
    /// What stands between paragraphs.
    paragraph_separator: String,
    /// The field for the caption.
    caption_key: String,
    /// The field for the label.
    label_key: String,
    /// The field for the list of paragraphs.
    context_key: String,
    /// The field for the caption of the figure around a subfigure; empty for others.
    parent_caption_key: String,
    /// The field for the label of the figure around a subfigure; empty for others.
    parent_label_key: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            citation_commands: None,
            paragraph_separator: "\n\n".into(),
            caption_key: "caption".into(),
            label_key: "label".into(),
            context_key: "citing_paragraphs".into(),
            parent_caption_key: "parent_caption".into(),
            parent_label_key: "parent_label".into(),
        }
    }
}

struct FigureContext {
    text_key: FieldPath,
    image_key: FieldPath,
    commands: Vec<String>,
    params: Params,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    if params.paragraph_separator.is_empty() {
        let problem = ParamError::new("paragraph_separator", "paragraph_separator is empty");
        return Err(problem
            .hint(r#"write "\n\n" for an empty line between paragraphs"#)
            .into());
    }
    let commands = match &params.citation_commands {
        None => ["ref", "cref", "Cref", "autoref"]
            .map(String::from)
            .to_vec(),
        // As there, a list without commands lets the backslash alone cite.
        Some(commands) if commands.is_empty() => vec![String::new()],
        Some(commands) => commands
            .iter()
            .map(|command| command.trim_start_matches('\\').to_owned())
            .collect(),
    };
    Ok(Operator::Expander(Box::new(FigureContext {
        text_key: context.base.text_key.clone(),
        image_key: context.base.image_key.clone(),
        commands,
        params,
    })))
}

impl Expander for FigureContext {
    fn parts(&self, sample: &Sample) -> Result<Vec<Part>, RowError> {
        let source = sample.required_text(&self.text_key)?;
        let figures = figures(&source);
        if figures.is_empty() {
            return Ok(Vec::new());
        }
        let prose = prose(&source);
        let paragraphs = paragraphs(&prose, &self.params.paragraph_separator);
        let mut parts = Vec::new();
        for figure in &figures {
            let citing = self.citing(&figure.label, &paragraphs);
            if figure.parts.is_empty() {
                parts.push(self.part(figure, citing, None));
                continue;
            }
            for part in &figure.parts {
                let mut merged: Vec<&str> = Vec::new();
                for paragraph in citing.iter().chain(&self.citing(&part.label, &paragraphs)) {
                    if !merged.contains(paragraph) {
                        merged.push(paragraph);
                    }
                }
                parts.push(self.part(part, merged, Some(figure)));
            }
        }
        Ok(parts)
    }
}

impl FigureContext {
    fn citing<'p>(&self, label: &str, paragraphs: &[&'p str]) -> Vec<&'p str> {
        let cites = |paragraph: &&str| !label.is_empty() && cites(paragraph, &self.commands, label);
        paragraphs.iter().copied().filter(cites).collect()
    }

    fn part(&self, figure: &Figure, citing: Vec<&str>, parent: Option<&Figure>) -> Part {
        let params = &self.params;
        let of_parent =
            |text: fn(&Figure) -> &String| parent.map(text).cloned().unwrap_or_default();
        let field = |key: &str, value: Value| (FieldPath::new(key), value);
        Part::Edits(vec![
            field(&params.caption_key, figure.caption.clone().into()),
            (self.image_key.clone(), figure.images.clone().into()),
            field(&params.label_key, figure.label.clone().into()),
            field(&params.context_key, citing.into()),
            field(&params.parent_caption_key, of_parent(|f| &f.caption).into()),
            field(&params.parent_label_key, of_parent(|f| &f.label).into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use crate::op::{BuildContext, find};

    #[test]
    fn paragraphs_need_a_separator() {
        let def = find("latex_figure_context_extractor_mapper").unwrap();
        let params = serde_json::from_str(r#"{"paragraph_separator": ""}"#).unwrap();
        let problems = def.build(params, &BuildContext::default()).err().unwrap();
        assert_eq!(problems[0].param.as_deref(), Some("paragraph_separator"));
    }
}
