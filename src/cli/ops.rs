//! `djr ops`: the catalogue of operators.

use std::fmt::Write as _;

use super::Exit;
use super::ui::{AsJson, Ui};
use crate::answer::{OpAnswer, OpsAnswer};
use crate::op::OpDef;
use crate::{catalog, op, recipe};

const EXAMPLES: &str = "\
Examples:
  djr ops                        every operator, a line each
  djr ops text_length_filter     its page: definition, parameters, example
  djr ops blur                   the operators that speak of it
  djr ops window size            those that speak of both words";

/// Show the operators, one operator's page, or those in whose pages words stand.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The operator, or words to look for in names and pages: all of them must be there.
    words: Vec<String>,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let name = args.words.join(" ");
    if name.trim().is_empty() {
        return list(&op::all(), ui);
    }
    if let Some(def) = op::find(&name) {
        let page = catalog::operator_page(def);
        ui.result(&OpsAnswer {
            operators: vec![OpAnswer {
                page: Some(page.clone()),
                parameters: Some((def.schema)().to_value()),
                defaults: Some((def.defaults)()),
                ..in_short(def)
            }],
        });
        return ui.data(&page);
    }
    if name == recipe::FUSED {
        return ui.data(catalog::FUSED_PAGE.trim_start());
    }
    let words = name.to_lowercase();
    let speaks = |def: &&OpDef| {
        let page = def.docs.join("\n").to_lowercase();
        let mut words = words.split_whitespace();
        words.all(|word| def.name.contains(word) || page.contains(word))
    };
    // A name that is nearly right is a mistake, and no word to look for.
    let (message, hint) = recipe::unknown_operator(&name);
    let found: Vec<&OpDef> = op::all().into_iter().filter(speaks).collect();
    if found.is_empty() {
        ui.error("operator_unknown", &message, hint.as_deref());
        return Exit::Usage;
    }
    list(&found, ui)
}

/// The first sentence of its page.
fn summary(def: &OpDef) -> String {
    let paragraph = catalog::summary(def);
    let end = paragraph.find(". ").map_or(paragraph.len(), |dot| dot + 1);
    paragraph.get(..end).unwrap_or_default().to_owned()
}

fn in_short(def: &OpDef) -> OpAnswer {
    OpAnswer {
        name: def.name.to_owned(),
        family: def.family.to_string(),
        summary: summary(def),
        version: def.facts.version,
        page: None,
        parameters: None,
        defaults: None,
    }
}

fn list(ops: &[&OpDef], ui: &Ui) -> Exit {
    let mut list = String::new();
    let width = ops.iter().map(|op| op.name.len()).max().unwrap_or(0);
    for def in ops {
        let family = def.family.to_string();
        let _ = writeln!(list, "{family:<12} {:<width$}  {}", def.name, summary(def));
    }
    ui.result(&OpsAnswer {
        operators: ops.iter().map(|def| in_short(def)).collect(),
    });
    ui.data(&list)
}
