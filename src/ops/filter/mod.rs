//! Filters, one file each.

mod text_length_filter;
