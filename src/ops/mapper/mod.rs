//! Operators of this family, one file each.

mod chinese_convert_mapper;
mod clean_copyright_mapper;
mod clean_email_mapper;
mod clean_html_mapper;
mod clean_ip_mapper;
mod clean_links_mapper;
mod expand_macro_mapper;
mod extract_tables_from_html_mapper;
mod fix_unicode_mapper;
mod latex_figure_context_extractor_mapper;
mod pii_redaction_mapper;
mod punctuation_normalization_mapper;
mod remove_bibliography_mapper;
mod remove_comments_mapper;
mod remove_header_mapper;
mod remove_long_words_mapper;
mod remove_non_chinese_character_mapper;
mod remove_repeat_sentences_mapper;
mod remove_specific_chars_mapper;
mod remove_table_text_mapper;
mod remove_words_with_incorrect_substrings_mapper;
mod replace_content_mapper;
mod sentence_split_mapper;
mod text_chunk_mapper;
mod whitespace_normalization_mapper;
