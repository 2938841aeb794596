//! Filters, one file each.

mod alphanumeric_filter;
mod average_line_length_filter;
mod benchmark_overlap_filter;
mod character_repetition_filter;
mod command_filter;
mod flagged_words_filter;
mod general_field_filter;
mod image_aesthetics_filter;
mod image_aspect_ratio_filter;
mod image_nsfw_filter;
mod image_pair_similarity_filter;
mod image_shape_filter;
mod image_size_filter;
mod image_subplot_filter;
mod image_text_matching_filter;
mod image_text_similarity_filter;
mod image_watermark_filter;
mod language_id_score_filter;
mod line_grid;
mod listed_words;
mod maximum_line_length_filter;
mod perplexity_filter;
mod phrase_grounding_recall_filter;
mod special_characters_filter;
mod specified_field_filter;
mod specified_numeric_field_filter;
mod stopwords_filter;
mod suffix_filter;
mod text_embd_similarity_filter;
mod text_length_filter;
mod text_pair_similarity_filter;
mod token_num_filter;
mod word_repetition_filter;
mod words_num_filter;

pub use benchmark_overlap_filter::BenchmarkStep;
