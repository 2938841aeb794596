//! The catalogue as documents: operator pages and the JSON Schema of a recipe, from the registry,
//! and the page of notes from their list.
//!
//! Everything here is derived from the operators' own files and the tables of [`crate::recipe`];
//! nothing is written twice.

mod notes;
mod pages;
mod recipe_page;
mod schema;
mod schemas;
mod trainers;

pub use crate::recipe::peer_ops;
pub use notes::notes_markdown;
pub use pages::{FUSED_PAGE, keys_markdown, operator_page, operators_markdown, summary};
pub use recipe_page::{key_examples, recipe_markdown};
pub use schema::recipe_schema;
pub use schemas::{schema_names, schema_of, schemas_markdown};
pub use trainers::trainers_markdown;
