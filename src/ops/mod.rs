//! The catalogue: one file an operator, named as in recipes.

pub mod benchmark;
mod dedup;
mod filter;
mod frequency;
mod group;
mod llm;
mod mapper;
mod model;
mod nltk;
mod select;

pub use filter::BenchmarkStep;
pub use select::MixtureStep;
