//! Operators of this family, one file each.

mod clean_copyright_mapper;
mod clean_email_mapper;
mod clean_html_mapper;
mod clean_ip_mapper;
mod clean_links_mapper;
mod fix_unicode_mapper;
mod punctuation_normalization_mapper;
mod whitespace_normalization_mapper;
