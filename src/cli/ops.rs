//! `djr ops`: the catalogue of operators.

use std::fmt::Write as _;

use super::{Exit, data, error};
use crate::{catalog, op, recipe};

const EXAMPLES: &str = "\
Examples:
  djr ops                        every operator, a line each
  djr ops text_length_filter     its page: definition, parameters, example";

/// Show the operators, or one operator's page.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The operator.
    name: Option<String>,
}

/// Runs the command.
pub fn main(args: &Args) -> Exit {
    let Some(name) = &args.name else {
        let mut list = String::new();
        let ops = op::all();
        let width = ops.iter().map(|op| op.name.len()).max().unwrap_or(0);
        for def in ops {
            let summary = def.docs.first().map_or("", |line| line.trim());
            let _ = writeln!(
                list,
                "{:<12} {:<width$}  {summary}",
                def.family.to_string(),
                def.name
            );
        }
        return data(&list);
    };
    if let Some(def) = op::find(name) {
        return data(&catalog::operator_page(def));
    }
    if name == recipe::FUSED {
        return data(catalog::FUSED_PAGE.trim_start());
    }
    let (message, hint) = recipe::unknown_operator(name);
    error(&message, hint.as_deref());
    Exit::Usage
}
