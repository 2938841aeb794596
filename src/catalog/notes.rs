//! The page of all notes.

use std::fmt::Write as _;

use crate::note::Code;

/// `docs/NOTES.md`.
#[must_use]
pub fn notes_markdown() -> String {
    let mut out = String::from(HEAD);
    out.push_str("\n| code | meaning | what helps |\n|---|---|---|\n");
    for code in Code::ALL {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} |",
            code.word(),
            code.meaning(),
            code.advice()
        );
    }
    out
}

const HEAD: &str = "# Notes

What a recipe or a run does that its author may not expect, though nothing is wrong. Where an answer
is odd because Data-Juicer's is, it stays so, and a note says it.

`djr check` and `djr run --explain` print the notes that can be made without reading all rows; a run
prints them before it starts and, at its end, those that counting rows takes: `note: …`, with the code
in brackets. `manifest.json` has all of them under `notes` (`code`, `step` from 1, `rows`, `message`),
and the HTML report shows them. A note changes no answer and no exit code. A ledger record lists under
`notes` what the step that decided had to note of its row, and `djr why` says it.

Relative paths in a recipe are those of files in the recipe's own directory if they exist there, else
in the working directory; outputs, and all that the command line names, start at the working directory.
";
