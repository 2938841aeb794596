//! Selectors, one file each.

mod diversity_selector;
mod frequency_specified_field_selector;
mod mixture_selector;
mod random_selector;
mod range_specified_field_selector;
mod tags_specified_field_selector;
mod topk_specified_field_selector;

pub use mixture_selector::MixtureStep;
