//! `djr run --explain`: the plan of a recipe, for people.

use std::fmt::Write as _;

use crate::exec::plan;
use crate::op::{ImageNeed, Operator};
use crate::recipe::{Inputs, OutputSpec, Recipe, Step, Target, Validation};

/// The plan as text.
#[must_use]
pub fn render(recipe: &Recipe) -> String {
    let mut out = String::new();
    match &recipe.inputs {
        Inputs::Stdin => out.push_str("read   standard input\n"),
        Inputs::Files(files) => {
            for file in files {
                let _ = writeln!(out, "read   {}", file.display());
            }
        }
    }
    if let Some(root) = &recipe.image_root {
        let _ = writeln!(
            out,
            "images below {}{}",
            root.display(),
            if recipe.confine {
                ", confined to it"
            } else {
                ""
            }
        );
    }
    let phases = plan::phases(&recipe.steps);
    for (number, phase) in phases.iter().enumerate() {
        let need = plan::image_need(&recipe.steps, phase, &recipe.outputs);
        let _ = writeln!(
            out,
            "phase {} of {}: {}",
            number + 1,
            phases.len(),
            image_words(need)
        );
        for step in recipe.steps.get(phase.stream.clone()).unwrap_or_default() {
            let _ = writeln!(out, "  {}", step_line(step));
        }
        for step in recipe.steps.get(phase.group.clone()).unwrap_or_default() {
            let _ = writeln!(out, "  {}", step_line(step));
        }
        if !phase.group.is_empty() {
            out.push_str("  -- barrier: rows wait on disk until every key is known --\n");
        }
    }
    for output in &recipe.outputs {
        let _ = writeln!(out, "write  {}", output_line(output));
    }
    for note in &recipe.notes {
        let _ = writeln!(out, "note   {note}");
    }
    out
}

fn step_line(step: &Step) -> String {
    let class = match &step.operator {
        Operator::Mapper(_) | Operator::Filter(_) => "row by row",
        Operator::Exact(_) => "keys in parallel, admitted in order",
        Operator::Near(_) | Operator::Selector(_) => "decides when all rows are known",
    };
    let params: Vec<String> = step
        .params
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let image = match step.operator.image_need() {
        ImageNeed::None => String::new(),
        need => format!(", {}", image_words(need)),
    };
    format!(
        "{:>2} {} {{{}}}  ({class}{image})",
        step.index + 1,
        step.name,
        params.join(", ")
    )
}

fn output_line(output: &OutputSpec) -> String {
    let target = match &output.target {
        Target::Stdout => "standard output".to_owned(),
        Target::File(path) => path.display().to_string(),
    };
    let mut notes = vec![
        output.format.word().to_owned(),
        format!("{} paths", output.paths),
    ];
    if output.validate != Validation::None {
        notes.push(format!("images checked: {}", output.validate));
    }
    if let Some(count) = output.sample {
        notes.push(format!(
            "sample of {count}, {} sampler, seed {}",
            output.sampler, output.seed
        ));
    }
    if let Some(questions) = &output.questions {
        notes.push(format!("questions from {}", questions.display()));
    }
    format!("{target} ({})", notes.join(", "))
}

fn image_words(need: ImageNeed) -> &'static str {
    match need {
        ImageNeed::None => "images not looked at",
        ImageNeed::Path => "image paths",
        ImageNeed::FileSize => "image file sizes",
        ImageNeed::Header => "image headers",
        ImageNeed::Scaled => "images decoded at reduced scale",
        ImageNeed::Pixels => "images decoded once",
    }
}
