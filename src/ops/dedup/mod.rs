//! Deduplicators, one file each.

mod document_deduplicator;
mod document_line_deduplicator;
mod document_minhash_deduplicator;
mod document_minhash_deduplicator_with_uid;
mod document_simhash_deduplicator;
mod image_deduplicator;
mod ray_bts_minhash_cpp_deduplicator;
mod ray_bts_minhash_deduplicator;
mod ray_bts_minhash_deduplicator_with_uid;
mod ray_document_deduplicator;
mod ray_image_deduplicator;
mod semantic_deduplicator;

pub(super) use image_deduplicator::Method;
