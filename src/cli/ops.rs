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
  djr ops blur                   the operators that speak of it";

/// Show the operators, one operator's page, or those that a word stands in.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The operator, or a word to look for in names and pages.
    name: Option<String>,
    #[command(flatten)]
    pub(super) json: AsJson,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let Some(name) = &args.name else {
        return list(&op::all(), ui);
    };
    if let Some(def) = op::find(name) {
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
    let word = name.to_lowercase();
    let speaks = |def: &&OpDef| {
        def.name.contains(&word)
            || def
                .docs
                .iter()
                .any(|line| line.to_lowercase().contains(&word))
    };
    // A name that is nearly right is a mistake, and no word to look for.
    let (message, hint) = recipe::unknown_operator(name);
    let found: Vec<&OpDef> = op::all().into_iter().filter(speaks).collect();
    if found.is_empty() {
        ui.error("operator_unknown", &message, hint.as_deref());
        return Exit::Usage;
    }
    list(&found, ui)
}

fn summary(def: &OpDef) -> &str {
    def.docs.first().map_or("", |line| line.trim())
}

fn in_short(def: &OpDef) -> OpAnswer {
    OpAnswer {
        name: def.name.to_owned(),
        family: def.family.to_string(),
        summary: summary(def).to_owned(),
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
