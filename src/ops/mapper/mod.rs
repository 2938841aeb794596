//! Operators of this family, one file each.
mod fix_unicode_mapper;
