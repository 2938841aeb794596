//! The last pass: rows are written to the outputs, or set aside for samples to be drawn from.

mod draw;
mod stage;

pub use draw::{Draw, keeps_its_order};
pub use stage::{OutputStage, sampled, samples, takes_all, takes_settled};
