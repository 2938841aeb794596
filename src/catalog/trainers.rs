//! The page of the trainers, from their tables.

use std::fmt::Write as _;

use crate::trainer::{Find, TRAINERS};

/// `docs/TRAINERS.md`.
#[must_use]
pub fn trainers_markdown() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n| `--for` | program | reads | tokens a row |\n| --- | --- | --- | --- |\n");
    for trainer in TRAINERS {
        let tokens = trainer.max_tokens.map_or(String::new(), |n| n.to_string());
        let _ = writeln!(
            out,
            "| [`{0}`](#{0}) | {1} | {2} | {tokens} |",
            trainer.name, trainer.title, trainer.reads
        );
    }
    for trainer in TRAINERS {
        let _ = write!(
            out,
            "\n## {}\n\n{}: {}\n\n| code | rule | otherwise | what cures it |\n| --- | --- | --- | --- |\n",
            trainer.name, trainer.title, trainer.reads
        );
        for check in trainer.checks {
            let of = match check.find {
                Find::File(_) => "file: ",
                Find::Row(_) | Find::RowAmongImages(_) => "",
            };
            let _ = writeln!(
                out,
                "| `{}` | {of}{} | **{}**: {} | {} |",
                check.code,
                check.rule.replace('|', "\\|"),
                check.effect.words(),
                check.loader.replace('|', "\\|"),
                check.cure.replace('|', "\\|")
            );
        }
    }
    out
}

const HEAD: &str = "\
# Trainers

Generated from the tables in `src/trainer/`, one file a trainer; do not edit.

`djr check --for TRAINER FILE` says what a trainer's loader would stumble over, before the training \
starts: each row, why, what the loader does about it, and what cures it. `--fix OUT` writes the file \
without the rows that fail. `for: TRAINER` of an output in a recipe, and `djr convert --for TRAINER`, \
refuse such rows while the file is written; manifest and report say how many and why.

Four things can happen: the training ends before its first step (**crash at the start**) or hours \
later (**crash in the middle**), rows are left out or replaced by others (**silent skip**), or it \
trains on something else than the file says (**silently wrong**).

Tokens are counted by `--tokenizer` (a `tokenizer.json`, or a SentencePiece model), else estimated: \
one a character of Chinese, Japanese and Korean, else one for 3.5 bytes; and what an image costs \
there. `--max-tokens` says another limit than the program's own.
";
