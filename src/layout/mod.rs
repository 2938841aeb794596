//! Where what a run or an analysis leaves lies, and which files of a directory some run wrote. What
//! is in those files is [`crate::record`]'s; who looks for inputs needs only to know which they are.

mod analysis;
mod copied;
mod earlier;
pub(crate) mod file;
mod run;

pub use analysis::{AnalysisFiles, AnalysisKind};
pub use copied::CopiedRecord;
pub use earlier::{is_analysis, is_outputs, recorded_files, records, written};
pub use file::FileRecord;
pub use run::RunFiles;
