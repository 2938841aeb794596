//! The catalogue: one file an operator, named as in recipes.

mod dedup;
mod filter;
mod group;
mod mapper;
mod model;
mod nltk;
mod select;

pub use select::MixtureStep;
