//! The readers and kernels of small language models that operators ask: fastText's classifiers,
//! KenLM's n-gram models and SentencePiece's unigram tokenizers. Each answers as its own program
//! does, and believes nothing of a model file before it has checked it.

mod fasttext;
mod kenlm;
mod sentencepiece;

pub use fasttext::{FastText, FastTextError};
pub use kenlm::{KenLm, KenLmError, perplexity};
pub use sentencepiece::{ModelError, SentencePiece};
