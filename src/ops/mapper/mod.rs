//! Operators of this family, one file each.
mod clean_html_mapper;
mod fix_unicode_mapper;
