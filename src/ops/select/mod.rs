//! Operators of this family, one file each.
