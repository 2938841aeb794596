//! djr: a streaming multimodal dataset processor that runs Data-Juicer recipes.
//!
//! Modules in reading order, from the pure kernels to the command line:
//! [`text`], [`image`], [`transformers`], [`archive`] and [`hash`] compute and know nothing of rows;
//! [`sample`] is one row; [`op`] is the contract of an operator and the registry;
//! [`ops`] is the catalogue; [`recipe`] turns YAML into a checked plan;
//! [`io`] reads and writes rows; [`note`] is what should be known of a run; [`exec`] runs a plan over them;
//! [`record`] is what a run leaves; [`analysis`] measures a dataset before it is cut;
//! [`report`] tells what happens; [`contract`] tries operators on it; [`view`] shows what runs left; [`catalog`] documents the operators; [`cli`] is the command line.
//! ARCHITECTURE.md holds the invariants.

pub mod analysis;
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
