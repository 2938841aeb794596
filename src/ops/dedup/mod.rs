//! Deduplicators, one file each.

mod document_deduplicator;
mod document_minhash_deduplicator;
mod document_simhash_deduplicator;
mod image_deduplicator;
