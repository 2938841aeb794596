//! djr: a streaming multimodal dataset processor that runs Data-Juicer recipes.
//!
//! Modules in reading order, from the pure kernels to the command line:
//! [`text`], [`image`], [`transformers`], [`archive`] and [`hash`] compute and know nothing of rows;
//! [`sample`] is one row; [`op`] is the contract of an operator and the registry;
//! [`ops`] is the catalogue; [`recipe`] turns YAML into a checked plan;
//! [`cache`] keeps what was computed for the next run; [`io`] reads and writes rows; [`note`] is what should be known of a run; [`exec`] runs a plan over them;
//! [`record`] is what a run leaves; [`analysis`] measures a dataset before it is cut;
//! [`report`] tells what happens; [`contract`] tries operators on it; [`view`] shows what runs left; [`catalog`] documents the operators; [`cli`] is the command line.
//! [`answer`] is what commands answer to programs.
//! ARCHITECTURE.md holds the invariants.
//!
//! # Rows in, rows out, with their fates
//!
//! A program hands rows in ([`GivenRows`](io::source::GivenRows)), gets the records that are kept
//! ([`exec::run_to`]) and reads what became of each row from the run's ledger
//! ([`record::PastRun`]). `examples/library.rs` is the same with its errors handled.
//!
//! ```
//! use djr::exec::{RunOptions, run_to};
//! use djr::io::source::GivenRows;
//! use djr::recipe::{Inputs, LoadOptions, RecipeSource, Target, load};
//! use djr::record::PastRun;
//!
//! let rows = ["{\"id\": 1, \"text\": \"a red kite\"}", "{\"id\": 2, \"text\": \"hm\"}"];
//! let given = rows.map(|row| row.as_bytes().to_vec()).to_vec();
//! let source = RecipeSource::Text {
//!     name: "recipe".into(),
//!     text: "process: [text_length_filter: {min_len: 5}]".into(),
//! };
//! let recipe = load(&source, &LoadOptions {
//!     input: Some(Inputs::Given(GivenRows::new("rows", given))),
//!     output: Some(Target::Caller),
//!     ..LoadOptions::new("/")
//! })?;
//! let record = std::env::temp_dir().join(format!("djr-doc-{}", std::process::id()));
//! let options = RunOptions { run_dir: Some(record.clone()), ..RunOptions::default() };
//!
//! let mut kept = Vec::new();
//! run_to(&recipe, &options, &mut (), &mut |_, row: &[u8]| {
//!     kept.push(String::from_utf8_lossy(row).into_owned());
//!     Ok(())
//! })?;
//! assert_eq!(kept, [rows[0]]);
//!
//! let mut ledger = PastRun::open(&record)?.ledger()?;
//! let mut fates = Vec::new();
//! while let Some(entry) = ledger.next_record()? {
//!     fates.push((entry.line, entry.fate.word(), entry.by.map(|by| by.into_owned())));
//! }
//! assert_eq!(fates, [
//!     (1, "kept", None),
//!     (2, "dropped", Some("text_length_filter".to_owned())),
//! ]);
//! # std::fs::remove_dir_all(record)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod analysis;
pub mod answer;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod contract;
pub mod exec;
pub mod io;
pub mod layout;
pub mod note;
pub mod op;
pub mod ops;
pub mod plan;
pub mod recipe;
pub mod record;
pub mod report;
pub mod sample;
pub mod service;
pub mod trainer;
pub mod view;

pub use {
    djr_archive as archive, djr_hash as hash, djr_image as image, djr_models as models,
    djr_text as text, djr_transformers as transformers,
};
