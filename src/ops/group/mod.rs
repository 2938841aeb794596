//! Groupers and their reverse, one file each.

mod key_value_grouper;
mod naive_grouper;
mod naive_reverse_grouper;
