//! What fuzzing calls: a function a target, each given arbitrary bytes. They must neither panic
//! nor hang nor take memory out of proportion, and what they check must hold for any input.
//!
//! The program's tests include this file to replay the seeds and every input that once failed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::cell::RefCell;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use djr::archive::{self, Limits, Packing};
use djr::image::{self, Format, Probe, SegmentRule};
use djr::io::format::questions::Questions;
use djr::io::format::{
    OptionKind, OptionValue, Options, OutputFormat, Records, Renderer, Setting as Output,
};
use djr::io::paths::PathWriter;
use djr::io::source::InputAttachments;
use djr::io::{Input, LineSource};
use djr::models::{FastText, KenLm, SentencePiece, perplexity};
use djr::op::{BaseParams, BuildContext, Built, Operator, Outcome, RowKey, Setting};
use djr::recipe::{LoadOptions, RecipeSource};
use djr::sample::{Attachments as _, FieldPath, ImageCheck, ImageContext, Origin, Sample};
use djr::text::python_expr::Condition;
use djr::text::python_regex::{Pattern, Substitution};
use serde_json::Value;

/// What a target does with its input.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("rows", rows),
    ("tar_rows", tar_rows),
    ("parquet_rows", parquet_rows),
    ("csv_rows", csv_rows),
    ("row", row),
    ("recipe", recipe),
    ("jpeg", jpeg),
    ("png", png),
    ("gif", gif),
    ("webp", webp),
    ("tiff", tiff),
    ("bitmaps", bitmaps),
    ("archives", archives),
    ("llava", llava),
    ("questions", questions),
    ("operators", operators),
    ("patterns", patterns),
    ("fasttext", fasttext),
    ("kenlm", kenlm),
    ("sentencepiece", sentencepiece),
];

/// A file of this process's own that holds `bytes`, for what reads files only.
fn with_file(suffix: &str, bytes: &[u8], work: impl FnOnce(&Path)) {
    thread_local! {
        static DIR: RefCell<tempfile::TempDir> = RefCell::new(tempfile::tempdir().unwrap());
    }
    let path = DIR.with_borrow(|dir| dir.path().join(format!("input{suffix}")));
    std::fs::write(&path, bytes).unwrap();
    work(&path);
}

/// The readers of lines, arrays and compressed files: rows come out the same for any batch size.
pub fn rows(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    let suffix = [".jsonl", ".json", "", ".jsonl.zst"][usize::from(kind % 4)];
    rows_of(suffix, bytes);
}

/// The reader of webdataset archives.
pub fn tar_rows(bytes: &[u8]) {
    rows_of(".tar", bytes);
}

/// The readers of Parquet and Arrow files.
pub fn parquet_rows(bytes: &[u8]) {
    rows_of(".parquet", bytes);
}

/// The reader of tables in text.
pub fn csv_rows(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    rows_of([".csv", ".tsv"][usize::from(kind % 2)], bytes);
}

/// Rows come out the same for any batch size, and so does what came with them, at once or read again.
fn rows_of(suffix: &str, bytes: &[u8]) {
    with_file(suffix, bytes, |path| {
        let input = Input::File(path.to_owned());
        let attachments = InputAttachments::new(vec![input.clone()]);
        let read = |max_rows, max_bytes| {
            let mut source = LineSource::new(vec![input.clone()]);
            let mut found = Vec::new();
            let mut at = None;
            while let Some(batch) = source.next_batch(max_rows, max_bytes)? {
                for line in &batch.lines {
                    assert!(at < Some(line.origin.offset), "identities must grow");
                    at = Some(line.origin.offset);
                    let problem = line.problem.as_ref().map(|p| p.code);
                    for attachment in &line.attached {
                        let here = attachment.here.clone();
                        let mut there = attachment.clone();
                        there.here = None;
                        let again = attachments.read(&there, 1 << 20);
                        if let (Some(here), Ok(again)) = (here, again) {
                            assert_eq!(here, again);
                        }
                    }
                    found.push((line.origin, batch.bytes(line).to_vec(), problem));
                }
            }
            Ok::<_, djr::io::SourceError>(found)
        };
        let (all, single) = (read(1000, 1 << 20), read(1, 1));
        match (all, single) {
            (Ok(all), Ok(single)) => assert_eq!(all, single),
            (Err(_), Err(_)) => {}
            (all, single) => panic!("{all:?} but one by one {single:?}"),
        }
    });
}

fn parse(bytes: &[u8]) -> Option<Sample> {
    let line = std::str::from_utf8(bytes).ok()?;
    let context = Arc::new(ImageContext::default());
    Sample::parse(line.to_owned(), Origin::default(), context).ok()
}

/// The row parser: what it takes is JSON, what nobody changed is written as it was read, and a
/// changed field changes nothing else.
pub fn row(bytes: &[u8]) {
    let Some(mut sample) = parse(bytes) else {
        return;
    };
    let line = sample.line().to_owned();
    let mut out = Vec::new();
    sample.write_json(&[], &mut out);
    let space: &[char] = &[' ', '\t', '\r', '\n'];
    assert_eq!(out, line.trim_matches(space).as_bytes());
    let before: Option<serde_json::Map<String, Value>> = serde_json::from_str(&line).ok();
    for name in ["text", "id", "images", "a.b", "__dj__stats__"] {
        let path = FieldPath::new(name);
        let _ = sample.text(&path);
        let _ = sample.value(&path);
        let _ = sample.raw_json(name);
    }
    let _ = sample.images().map(<[_]>::len);
    let _ = sample.image_field_is_list();
    assert!(sample.keys().count() <= line.len());
    let _ = sample.set_text(&FieldPath::new("a.b"), "nested \u{1}".into());
    sample
        .set_text(&FieldPath::new("text"), "new \"text\"".into())
        .unwrap();
    sample.remove("images");
    out.clear();
    sample.write_json(&[("extra", &serde_json::json!([1]))], &mut out);
    let Some(before) = before else { return };
    let after: serde_json::Map<String, Value> = serde_json::from_slice(&out)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)));
    assert_eq!(after["text"], "new \"text\"");
    assert_eq!(after["extra"], serde_json::json!([1]));
    assert!(!after.contains_key("images"));
    for (key, value) in &before {
        if !["text", "images", "extra", "a", "a.b"].contains(&key.as_str()) {
            assert_eq!(after.get(key), Some(value), "{key}");
        }
    }
}

/// The recipe parser: a recipe, or its problems.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let options = LoadOptions {
        env: Box::new(|name| (name.len() < 3).then(|| "v: 1".to_owned())),
        ..LoadOptions::new("/nonexistent")
    };
    let source = RecipeSource::Text {
        name: "fuzz.yaml".into(),
        text: text.to_owned(),
    };
    match djr::recipe::load(&source, &options) {
        Ok(recipe) => drop(recipe.to_json().to_string()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}

/// Pixels that a fuzzer may ask for; more only takes time.
const PIXELS: u64 = 1 << 20;

/// Header, probe, verdict and pixels of a file agree with each other.
fn picture(bytes: &[u8], formats: &[Format]) {
    let header = image::header(bytes);
    if let Ok(header) = &header {
        if !formats.contains(&header.format) {
            return;
        }
        assert!(header.width > 0 && header.height > 0);
        if u64::from(header.width) * u64::from(header.height) > PIXELS {
            return;
        }
    }
    for cut in [16, 64, 1024] {
        let Some(start) = bytes.get(..cut) else { break };
        match image::probe(start) {
            // What unknown bytes look like may change as more of them are seen.
            Probe::Known(known) => {
                assert_eq!(
                    known.map_err(|e| e.code),
                    header.clone().map_err(|e| e.code)
                );
            }
            Probe::Needs(more) => assert!(more > cut),
            Probe::NeedsAll => {}
        }
    }
    let verdict = image::validate(bytes);
    match (image::decode(bytes), header) {
        (Ok(decoded), Ok(header)) => {
            assert_eq!(decoded.header, header);
            assert_eq!(verdict, Ok((header, decoded.suspect)));
            assert_eq!(
                (decoded.image.width(), decoded.image.height()),
                (header.width, header.height)
            );
            straight_lines(&decoded.image);
        }
        (Ok(_), Err(error)) => panic!("pixels without a header: {error}"),
        (Err(error), _) => assert_eq!(verdict.map_err(|e| e.code), Err(error.code)),
    }
}

/// The lines of a small picture lie within it.
fn straight_lines(picture: &image::RgbImage) {
    let (width, height) = (picture.width(), picture.height());
    if width * height > 1 << 14 {
        return;
    }
    let rule = SegmentRule {
        votes: 8,
        min_length: 5,
        max_gap: 2,
    };
    let lines = image::segments(&image::edges(picture, 70, 190), rule).unwrap();
    let within = |place: i32, side: u32| u32::try_from(place).is_ok_and(|place| place < side);
    for line in lines {
        assert!(within(line.x1, width) && within(line.x2, width), "{line:?}");
        assert!(
            within(line.y1, height) && within(line.y2, height),
            "{line:?}"
        );
    }
}

pub fn jpeg(bytes: &[u8]) {
    picture(bytes, &[Format::Jpeg]);
}

pub fn png(bytes: &[u8]) {
    picture(bytes, &[Format::Png]);
}

pub fn gif(bytes: &[u8]) {
    picture(bytes, &[Format::Gif]);
}

pub fn webp(bytes: &[u8]) {
    picture(bytes, &[Format::WebP]);
}

pub fn tiff(bytes: &[u8]) {
    picture(bytes, &[Format::Tiff]);
}

pub fn bitmaps(bytes: &[u8]) {
    use Format::{Avif, Bmp, Ico, Jpeg2000, Pnm, Qoi};
    picture(bytes, &[Bmp, Ico, Pnm, Qoi, Avif, Jpeg2000]);
}

/// What is taken out of an archive stays within the limits.
pub fn archives(bytes: &[u8]) {
    let limits = Limits {
        member: Some(1 << 20),
        total: Some(3 << 20),
    };
    for packing in [Packing::Tar, Packing::Zip] {
        if let Ok(members) = archive::members(Cursor::new(bytes), packing, ".tex", limits) {
            assert!(members.iter().all(|member| member.len() <= 1 << 20));
            assert!(members.iter().map(Vec::len).sum::<usize>() <= 3 << 20);
        }
    }
}

/// Records for training are ASCII JSON with one image token an image and no foreign one, whatever
/// they are made of; they turn into rows, or say why not.
pub fn llava(bytes: &[u8]) {
    static RENDERERS: LazyLock<Vec<(OutputFormat, Box<dyn Renderer>)>> = LazyLock::new(renderers);
    let Some(sample) = parse(bytes) else { return };
    for (format, renderer) in RENDERERS.iter() {
        let mut out = Vec::new();
        if renderer.render(&sample, &mut out).is_err() {
            continue;
        }
        if format.framing.records != Records::Bytes {
            // Members of an archive or rows of a table, not records of JSON.
            continue;
        }
        let record: Value = serde_json::from_slice(&out).unwrap();
        if !format.options.iter().any(|option| option.name == "token") {
            continue;
        }
        assert!(out.is_ascii());
        let text = String::from_utf8(out).unwrap();
        let tokens = text.matches("<image>").count() + text.matches("\"type\": \"image").count();
        let images = match record.get("image").or(record.get("images")) {
            Some(Value::Array(images)) => images.len(),
            Some(_) => 1,
            None if format.word() == "openai" => tokens,
            None => 0,
        };
        // Ids and paths may say anything.
        assert!(tokens >= images, "{text}");
        for turns in [record.get("conversations"), record.get("messages")] {
            let turns = turns.map(Value::to_string).unwrap_or_default();
            assert!(!turns.contains("<__dj__image>") && !turns.contains("<|__dj__eoc|>"));
        }
    }
}

/// Every format with everything that it can be made of.
fn renderers() -> Vec<(OutputFormat, Box<dyn Renderer>)> {
    let setting = |format: OutputFormat| Output {
        text_key: FieldPath::new("text"),
        image_token: "<__dj__image>".to_owned(),
        eoc_token: "<|__dj__eoc|>".to_owned(),
        keep_stats: false,
        keep_hashes: false,
        paths: PathWriter::new(format.paths, Path::new("/w"), Path::new("out")),
        validate: ImageCheck::None,
        images: format.images[0],
        inputs: Vec::new(),
        lists: Vec::new(),
        sums: Vec::new(),
        tells_fate: false,
    };
    let mut renderers = Vec::new();
    for format in OutputFormat::all() {
        let mut make = |options: &Options| {
            renderers.push((format, (format.renderer)(options, setting(format)).unwrap()));
        };
        let Some(from) = format.option("from") else {
            make(&Options::default());
            continue;
        };
        let OptionKind::Word(words) = from.kind else {
            continue;
        };
        for word in words {
            let mut options = Options::default();
            options.set(from, OptionValue::Word(word));
            make(&options);
            if let Some(questions) = format.option("questions").filter(|_| *word == "dj") {
                let path = root().join("fixtures/dataset/stage_1.json");
                options.set(questions, OptionValue::File(path));
                make(&options);
            }
        }
    }
    renderers
}

/// The reader of questions files.
pub fn questions(bytes: &[u8]) {
    with_file(".json", bytes, |path| {
        if let Ok(questions) = Questions::load(&Input::File(path.to_owned())) {
            let _ = questions.get("000000001", Some("a.jpg"));
            assert!(questions.len() as u64 <= bytes.len() as u64);
        }
    });
}

/// Every operator that its defaults can build, on a row with this text.
pub fn operators(bytes: &[u8]) {
    static OPERATORS: LazyLock<Vec<Built>> = LazyLock::new(|| {
        let cache = Some(root().join("fixtures/cache"));
        let context = BuildContext::new(BaseParams::default(), vec![root()], cache);
        djr::op::all()
            .into_iter()
            .filter_map(|def| def.build(serde_json::Map::new(), &context).ok())
            .collect()
    });
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    assert!(OPERATORS.len() > 40, "{}", OPERATORS.len());
    let line = serde_json::json!({"id": 1, "text": text, "images": []}).to_string();
    for Built { operator, spec } in &*OPERATORS {
        let name = spec.name;
        let mut sample = parse(line.as_bytes()).unwrap();
        let setting = Setting {
            collects: spec.kind.is_exchange(),
            ..Setting::default()
        };
        let Ok(outcome) = operator.run(spec, &mut sample, &setting) else {
            continue;
        };
        match (outcome, operator) {
            (Outcome::Key(RowKey::Near(keys)), Operator::Near(near)) => {
                assert_eq!(keys.len(), near.bands(), "{name}");
            }
            (Outcome::Goes | Outcome::Dropped(_), Operator::Filter(_)) => {
                let mut stats = spec.stats.iter();
                assert!(stats.all(|s| sample.stats.get(&s.name).is_some()), "{name}");
            }
            _ => {
                let mut out = Vec::new();
                sample.write_json(&[], &mut out);
                assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{name}");
            }
        }
    }
}

/// Patterns, templates and conditions of recipes, on a text; the parts are cut at NUL bytes.
pub fn patterns(bytes: &[u8]) {
    let Ok(all) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut parts = all.splitn(3, '\0');
    let (pattern, template) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let text = parts.next().unwrap_or("The <b>quick</b> brown fox\n");
    if let Ok(substitution) = Substitution::from_recipe(pattern, template) {
        let _ = substitution.apply(text);
    }
    let _ = Pattern::new(pattern);
    let _ = Condition::parse(pattern);
}

pub fn fasttext(bytes: &[u8]) {
    if let Ok(model) = FastText::parse(bytes) {
        let _ = model.predict("the quick brown fox");
        let _ = model.predict("");
    }
}

pub fn kenlm(bytes: &[u8]) {
    if let Ok(model) = KenLm::parse(bytes.to_vec()) {
        let _ = model.score("the quick brown fox");
        let _ = perplexity(&model, "one two\nthree");
    }
}

pub fn sentencepiece(bytes: &[u8]) {
    if let Ok(model) = SentencePiece::parse(bytes) {
        for text in ["the quick brown fox", "", " \u{4e2d}\u{6587} \u{1f600}"] {
            let mut pieces = 0;
            model.pieces(text, |_| pieces += 1);
            assert!(pieces <= 8 * (text.len() + 2));
        }
    }
}

/// The repository: this file is compiled by the program's tests and by the fuzzers' package in it.
fn root() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    if dir.join("fixtures").is_dir() {
        return dir.to_owned();
    }
    dir.parent().unwrap_or(dir).to_owned()
}
