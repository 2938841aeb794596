//! What transformers 4.57.1 does before and after a model: pictures and texts become tensors, and
//! what a model answers becomes a score. The model itself runs elsewhere.
//!
//! The reference is the processors that Data-Juicer 1.6.1 gets: Pillow's, not torchvision's, which
//! later versions take. A configuration with a key, a kind or a value that is not known here is
//! refused by its name: a guess would give wrong scores without a word.

mod captions;
mod error;
mod files;
mod grounding;
mod hub;
mod json;
mod model;
mod pixels;
mod processor;
mod tail;
mod tokenizer;

pub use captions::Captioner;
pub use error::ModelError;
pub use files::{ModelFiles, Read};
pub use grounding::{Detections, Grounding};
pub use hub::Hub;
pub use model::{Aesthetics, Architecture, ModelConfig};
pub use pixels::{ChannelOrder, PixelError, Pixels};
pub use processor::{ImageProcessor, ProcessorKind, Table};
pub use tail::{Reduce, cosine, dot_of_units, mean, softmax};
pub use tokenizer::{Tokenizer, Tokens};
