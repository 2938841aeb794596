//! Makes a text of the LaTeX files in an archive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::{self, Limits, Packing};
use crate::op::{BuildContext, Facts, Field, Mapper, Operator, ParamError, operator};
use crate::sample::{FieldPath, RowError, Sample};

operator! {
    /// Puts the `.tex` files of the archive that a field names into the text, one behind the other.
    ///
    /// The archive is found as images are: a relative path starts at `image_root`, else at the
    /// input's directory, and with `confine` it must lie below. It is a tar (`.tar`, `.tar.gz`,
    /// `.tgz`; gzipped or not, whatever its name says) or a zip (`.zip`). Regular files whose names
    /// end in `.tex` are taken in the order in which they stand in a tar, or in the directory of a
    /// zip. Bytes that are no UTF-8 become U+FFFD. An archive without such files makes an empty text.
    ///
    /// Nothing is unpacked to the disk. A tar is read to four gibibytes of what it unpacks to, and one
    /// gibibyte is taken at most where limits are off; what goes beyond is an error of the row.
    ///
    /// ## Example
    /// ```yaml
    /// - latex_merge_tex_mapper: {separator: ' | '}
    /// ```
    /// ```json
    /// {"in": {"compressed_file": "fixtures/golden/_archives/paper.zip"}, "out": {"compressed_file": "fixtures/golden/_archives/paper.zip", "text": "\\section{One} | \\section{Two}"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `latex_merge_tex_mapper` with Python 3.11: same for archives that can be
    /// read. One that is missing, damaged, encrypted or of another kind is an error of the row, where
    /// Data-Juicer empties the text; so are a tar compressed with bzip2 or xz, zip methods other than
    /// deflate and sparse files in a tar, which Python reads.
    latex_merge_tex_mapper: Mapper(Params) => build,
    Facts {
        reads: &[Field::Param("compressed_file_key")],
        writes: &[Field::Text],
        ..Facts::NONE
    }
}

/// Parameters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// The field that holds the path of the archive.
    compressed_file_key: String,
    /// What stands between two files.
    separator: String,
    /// A file of more bytes, unpacked, is left out; null or 0 for no limit.
    max_file_size: Option<u64>,
    /// The first file with which the sum of bytes would be greater is left out with all behind it;
    /// null or 0 for no limit.
    max_total_size: Option<u64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            compressed_file_key: "compressed_file".into(),
            separator: "\n\n".into(),
            max_file_size: Some(50 << 20),
            max_total_size: Some(100 << 20),
        }
    }
}

struct MergeTex {
    text_key: FieldPath,
    archive_key: FieldPath,
    separator: String,
    limits: Limits,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let limit = |bytes: Option<u64>| bytes.filter(|bytes| *bytes > 0);
    Ok(Operator::Mapper(Box::new(MergeTex {
        text_key: context.base.text_key.clone(),
        archive_key: params.compressed_file_key.as_str().into(),
        separator: params.separator,
        limits: Limits {
            member: limit(params.max_file_size),
            total: limit(params.max_total_size),
        },
    })))
}

impl Mapper for MergeTex {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let mut file = sample.file(&self.archive_key)?;
        let packing = packing(file.written()).ok_or_else(|| {
            let known = "the name ends in none of .tar, .tar.gz, .tgz and .zip";
            file.error("archive_unsupported", known)
        })?;
        let members = archive::members(&mut file, packing, ".tex", self.limits)
            .map_err(|error| file.error(error.code, &error.message))?;
        let mut text = String::new();
        for (number, member) in members.into_iter().enumerate() {
            if number > 0 {
                text.push_str(&self.separator);
            }
            text.push_str(&String::from_utf8_lossy(&member));
        }
        sample.set_text(&self.text_key, text)
    }
}

/// How the archive of this name is packed.
fn packing(name: &str) -> Option<Packing> {
    let name = name.to_lowercase();
    let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if is(&[".zip"]) {
        Some(Packing::Zip)
    } else if is(&[".tar.gz", ".tgz", ".tar"]) {
        Some(Packing::Tar)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::op::testing::build_mapper;
    use crate::sample::{ImageContext, Origin, Sample};

    #[test]
    fn what_cannot_be_read_is_an_error_with_a_reason() {
        let mapper = build_mapper("latex_merge_tex_mapper", "{}").unwrap();
        let code = |row: &str| {
            let context = Arc::new(ImageContext::default());
            let mut sample = Sample::parse(row.into(), Origin::default(), context).unwrap();
            mapper.apply(&mut sample).unwrap_err().code
        };
        assert_eq!(code("{}"), "missing_field");
        assert_eq!(code(r#"{"compressed_file": 5}"#), "wrong_type");
        assert_eq!(code(r#"{"compressed_file": ""}"#), "file_path_invalid");
        assert_eq!(code(r#"{"compressed_file": "no.zip"}"#), "file_missing");
        assert_eq!(code(r#"{"compressed_file": "src"}"#), "file_not_a_file");
        assert_eq!(
            code(r#"{"compressed_file": "/dev/zero"}"#),
            "file_not_a_file"
        );
        assert_eq!(
            code(r#"{"compressed_file": "http://example.org/a.zip"}"#),
            "file_path_invalid"
        );
        assert_eq!(
            code(r#"{"compressed_file": "Cargo.toml"}"#),
            "archive_unsupported"
        );
    }
}
