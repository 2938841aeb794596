//! The `metadata.jsonl` of a Hugging Face image folder: the rows, with paths relative to the folder.

use super::chat::{self, IDS};
use super::conversation::RowId;
use super::{Format, Framing, Lead, Made, Options, Renderer, Setting, jsonl, push_ascii_json};
use crate::io::paths::PathStyle;
use crate::io::paths::PathWriter;
use crate::sample::{ImageCheck, RowError, Sample};

/// The format.
pub const FORMAT: &Format = &Format {
    name: "imagefolder",
    summary: "The `metadata.jsonl` of a Hugging Face image folder: the rows beside their images, paths relative to it.",
    suffixes: &["jsonl"],
    framing: Framing::LINES,
    holds_rows: false,
    written_image_key: Some("file_name"),
    check: ImageCheck::Decode,
    paths: PathStyle::Relative,
    own_paths: true,
    lead: Some(Lead::Without(b"\"file_names\": []")),
    options: &[chat::IMAGES, chat::IDS, chat::FIRST_ROW],
    renderer,
    ..*jsonl::FORMAT
};

fn renderer(options: &Options, setting: Setting) -> Made {
    Ok(Box::new(Folder {
        several: options.word(chat::IMAGES.name) == Some("list"),
        ids: options.word(IDS.name),
        paths: setting.paths.with_style(PathStyle::Relative),
    }))
}

/// The fields that name files, as the loader knows them.
const ONE: &str = "file_name";
const SEVERAL: &str = "file_names";

struct Folder {
    several: bool,
    ids: Option<&'static str>,
    paths: PathWriter,
}

impl Renderer for Folder {
    fn render(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), RowError> {
        let images = sample.images()?;
        let mut paths = Vec::with_capacity(images.len());
        for image in images {
            chat::has_file(image)?;
            let path = self.paths.image(image)?;
            if path.starts_with("../") || path.starts_with('/') || path.contains("://") {
                return Err(RowError::new(
                    "image_outside_folder",
                    format!(
                        "image '{}' does not lie below the output's folder",
                        image.written()
                    ),
                ));
            }
            paths.push(path);
        }
        if !self.several && paths.len() != 1 {
            return Err(RowError::new(
                "image_count",
                format!("{} images; a record has one", paths.len()),
            ));
        }
        // The same fields first in every record, whatever the order in the row.
        out.push(b'{');
        if self.several {
            member(SEVERAL, out);
            out.push(b'[');
            for (index, path) in paths.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                push_ascii_json(path, out);
            }
            out.push(b']');
        } else {
            member(ONE, out);
            push_ascii_json(paths.first().map_or("", AsRef::as_ref), out);
        }
        if self.ids == Some("string") {
            let id = RowId::of(sample)?;
            out.extend_from_slice(b", ");
            member("id", out);
            push_ascii_json(id.as_ref().map_or("", |id| &id.text), out);
        }
        let key = sample.image_context().image_key.as_str();
        for (name, json) in sample.members() {
            if name == key || name == "id" && self.ids.is_some_and(|ids| ids != "keep") {
                continue;
            }
            if [ONE, SEVERAL].contains(&name.as_ref()) || name.ends_with("_file_name") {
                return Err(RowError::new(
                    "field_unplaced",
                    format!("the row has a field '{name}', which names a file to the loader"),
                ));
            }
            out.extend_from_slice(b", ");
            push_ascii_json(&name, out);
            out.extend_from_slice(b": ");
            out.extend_from_slice(json.as_bytes());
        }
        out.push(b'}');
        Ok(())
    }
}

fn member(name: &str, out: &mut Vec<u8>) {
    push_ascii_json(name, out);
    out.extend_from_slice(b": ");
}
