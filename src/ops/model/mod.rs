//! What operators that ask a model share: finding it, its heads, and what is sent to them.

mod captions;
mod chunks;
mod clip;
mod embed;
mod open;
mod pictures;
mod reduce;
mod scored;
mod texts;

pub use captions::{Captions, captions_model};
pub use chunks::{Chunk, Chunks};
pub use clip::{Clip, clip_model};
pub use embed::{By, Embedder, VectorParams, Vectors};
pub use open::{head, open, own_code_only, service};
pub use pictures::{Pictures, all_pixels, distinct};
pub use reduce::{ReduceMode, cosine_of};
pub use scored::{ImageScores, Scale, Scorer, classifier};
pub use texts::{Padded, TextHeads};
