//! djr as a library: rows in, rows out with the fate of each, no file of one's own.
//!
//!     cargo run --example library

use djr::exec::{RunOptions, run_to};
use djr::io::source::given::GivenRows;
use djr::recipe::{self, Inputs, LoadOptions, RecipeSource, Target};
use djr::record::{Fate, PastRun};

const RECIPE: &str = "\
process:
  - text_length_filter: {min_len: 5}
  - document_deduplicator: {}
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = [
        r#"{"id": "a", "text": "a red kite"}"#,
        r#"{"id": "b", "text": "hm"}"#,
        r#"{"id": "c", "text": "a red kite"}"#,
        r#"{"id": "d", "text": "two boats"}"#,
    ];
    let given: Vec<Vec<u8>> = rows.iter().map(|row| row.as_bytes().to_vec()).collect();
    let source = RecipeSource::Text {
        name: "recipe".into(),
        text: RECIPE.into(),
    };
    let recipe = recipe::load(
        &source,
        &LoadOptions {
            input: Some(Inputs::Given(GivenRows::new("rows", given))),
            output: Some(Target::Caller),
            ..LoadOptions::new(std::env::current_dir()?)
        },
    )?;
    // The record of the run goes here: what became of each row, and why.
    let record = tempfile::tempdir()?;
    let options = RunOptions {
        run_dir: Some(record.path().join("run")),
        ..RunOptions::default()
    };
    let mut kept = Vec::new();
    run_to(&recipe, &options, &mut (), &mut |_, row: &[u8]| {
        kept.push(String::from_utf8_lossy(row).into_owned());
        Ok(())
    })?;
    say("kept", &kept);
    let run = PastRun::open(&record.path().join("run"))?;
    let mut fates = Vec::new();
    let mut ledger = run.ledger()?;
    while let Some(entry) = ledger.next_record()? {
        let by = entry.by.as_deref().unwrap_or("an output");
        let id = entry.id_text().unwrap_or_default();
        fates.push(format!("{id}: {} by {by}", entry.fate.word()));
        assert!(entry.fate != Fate::Quarantined);
    }
    say("fates", &fates);
    assert_eq!(kept, [rows[0], rows[3]]);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it has")]
fn say(what: &str, lines: &[String]) {
    println!("{what}:\n  {}", lines.join("\n  "));
}
