//! The catalogue as documents: operator pages and the JSON Schema of a recipe, from the registry.
