//! Rows a second and thread of every operator, and of the kernels under them.
//!
//!     cargo bench --bench kernels [-- --quick] [NAME]
//!
//! Operators come from the registry, so a new one is measured without a line here; each runs with
//! its default parameters over 256 captions, or a few rows with pictures on disk (warm) if it
//! looks at images. Only the operator is on the clock: rows are parsed before. Bytes a second are
//! rows a second times the bytes of a row, which are printed first. An operator that
//! does not build from defaults alone says so and is skipped, unless `PARAMETERS` has some for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::needless_for_each,
    clippy::semicolon_if_nothing_returned,
    clippy::similar_names,
    clippy::many_single_char_names,
    missing_docs,
    reason = "a bench may stop at the first surprise"
)]

#[path = "corpus/caption.rs"]
#[expect(dead_code, reason = "shared with the corpus")]
mod caption;
#[path = "corpus/jpeg.rs"]
mod jpeg;
#[path = "corpus/picture.rs"]
mod picture;
#[path = "corpus/random.rs"]
mod random;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use djr::hash::{
    IgnorePattern, Permutations, Shingler, Tokenization, band_keys, sha1_32_each, text_digest,
};
use djr::image::{HashMethod, decode, header, perceptual_hash, validate};
use djr::io::{Input, LineSource};
use djr::op::{BaseParams, BuildContext, Built, ImageNeed, OpDef, Setting, all};
use djr::sample::{ImageContext, Origin, RowError, Sample};

use jpeg::Style;
use random::Random;

/// Captions an operator is measured on.
const CAPTIONS: usize = 256;

/// Pictures an operator is measured on.
const PICTURES: usize = 8;

/// For operators that need to be told something, JSON that replaces defaults.
const PARAMETERS: &[(&str, &str)] = &[
    (
        "flagged_words_filter",
        r#"{"flagged_words_dir": "fixtures/assets"}"#,
    ),
    (
        "stopwords_filter",
        r#"{"stopwords_dir": "fixtures/assets"}"#,
    ),
    (
        "frequency_specified_field_selector",
        r#"{"field_key": "text", "top_ratio": 0.5}"#,
    ),
    (
        "range_specified_field_selector",
        r#"{"field_key": "number", "lower_percentile": 0.1, "upper_percentile": 0.9}"#,
    ),
    ("random_selector", r#"{"select_num": 10}"#),
    (
        "tags_specified_field_selector",
        r#"{"field_key": "id", "target_tags": ["000000001"]}"#,
    ),
    (
        "topk_specified_field_selector",
        r#"{"field_key": "number", "topk": 10}"#,
    ),
    (
        "replace_content_mapper",
        r#"{"pattern": "[0-9]+", "repl": "0"}"#,
    ),
];

fn build(def: &OpDef) -> Result<Built, String> {
    let serde_json::Value::Object(mut params) = (def.defaults)() else {
        return Err("its defaults are no object".into());
    };
    for (_, more) in PARAMETERS.iter().filter(|(name, _)| *name == def.name) {
        params.extend(serde_json::from_str::<serde_json::Map<_, _>>(more).unwrap());
    }
    (def.check)(params.clone())?;
    let search = vec![env!("CARGO_MANIFEST_DIR").into()];
    let context = BuildContext::new(BaseParams::default(), search, None);
    def.build(params, &context).map_err(|problems| {
        problems
            .into_iter()
            .map(|p| p.message)
            .collect::<Vec<_>>()
            .join("; ")
    })
}

/// Caption rows with a number to select by.
fn caption_lines() -> Vec<String> {
    let mut random = Random::new(7, 0);
    (0..CAPTIONS)
        .map(|i| {
            let row = caption::row(
                &format!("{i:09}"),
                &caption::caption(&mut random),
                &format!("{}.jpg", i % PICTURES),
            );
            let archive = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/fixtures/golden/_archives/paper.zip"
            );
            let more = format!("\"number\": {i}, \"compressed_file\": \"{archive}\"");
            format!("{}, {more}}}", &row[..row.len() - 1])
        })
        .collect()
}

fn pictures() -> Vec<Vec<u8>> {
    let style = Style {
        quality: 86,
        progressive: false,
        grey: false,
    };
    (0..PICTURES)
        .map(|i| jpeg::encode(&picture::draw(&mut Random::new(1, i as u64)), style))
        .collect()
}

fn write_pictures(folder: &Path) {
    for (i, bytes) in pictures().iter().enumerate() {
        std::fs::write(folder.join(format!("{i}.jpg")), bytes).unwrap();
    }
}

fn parse(lines: &[String], context: &Arc<ImageContext>) -> Vec<Sample> {
    lines
        .iter()
        .map(|line| Sample::parse(line.clone(), Origin::default(), Arc::clone(context)).unwrap())
        .collect()
}

/// Runs an operator on rows; the error of the first that it refuses.
fn apply(built: &Built, rows: &mut [Sample]) -> Result<(), RowError> {
    let setting = Setting {
        collects: built.spec.kind.is_exchange(),
        ..Setting::default()
    };
    for row in rows {
        black_box(built.operator.run(&built.spec, row, &setting)?);
    }
    Ok(())
}

fn operators(c: &mut Criterion) {
    let lines = caption_lines();
    let folder = tempfile::tempdir().unwrap();
    write_pictures(folder.path());
    let bytes: usize = lines.iter().map(String::len).sum();
    eprintln!(
        "captions have {} bytes a row, pictures {}",
        bytes / lines.len(),
        pictures().iter().map(Vec::len).sum::<usize>() / PICTURES
    );
    let mut group = c.benchmark_group("operator");
    for def in all() {
        let built = match build(def) {
            Ok(built) => built,
            Err(why) => {
                eprintln!("operator/{}: skipped, {why}", def.name);
                continue;
            }
        };
        let need = built.spec.images;
        let lines = if need == ImageNeed::None {
            &lines[..]
        } else {
            &lines[..PICTURES]
        };
        let context = Arc::new(ImageContext {
            roots: vec![folder.path().to_owned()],
            want: need,
            ..ImageContext::default()
        });
        if let Err(why) = apply(&built, &mut parse(lines, &context)) {
            eprintln!(
                "operator/{}: skipped, it does not take captions: {why}",
                def.name
            );
            continue;
        }
        group.throughput(Throughput::Elements(lines.len() as u64));
        group.bench_function(def.name, |b| {
            b.iter_batched_ref(
                || parse(lines, &context),
                |rows| apply(&built, rows),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn rows(c: &mut Criterion) {
    let lines = caption_lines();
    let context = Arc::new(ImageContext::default());
    let mut group = c.benchmark_group("row");
    group.throughput(Throughput::Elements(CAPTIONS as u64));
    group.bench_function("parse", |b| {
        b.iter_batched(
            || lines.clone(),
            |lines| {
                lines.into_iter().for_each(|line| {
                    black_box(
                        Sample::parse(line, Origin::default(), Arc::clone(&context)).unwrap(),
                    );
                });
            },
            BatchSize::SmallInput,
        );
    });
    let mut out = Vec::new();
    for edited in [false, true] {
        let mut samples = parse(&lines, &context);
        for sample in samples.iter_mut().filter(|_| edited) {
            let text = sample.required_text(&"text".into()).unwrap().to_uppercase();
            sample.set_text(&"text".into(), text).unwrap();
        }
        group.bench_function(
            if edited {
                "write, text edited"
            } else {
                "write, unchanged"
            },
            |b| {
                b.iter(|| {
                    out.clear();
                    samples
                        .iter()
                        .for_each(|sample| sample.write_json(&[], &mut out));
                    black_box(&out);
                });
            },
        );
    }
    let file = tempfile::NamedTempFile::with_suffix(".jsonl").unwrap();
    let many = 100 * CAPTIONS;
    std::fs::write(file.path(), format!("{}\n", lines.join("\n")).repeat(100)).unwrap();
    group.throughput(Throughput::Elements(many as u64));
    group.bench_function("split lines of a file", |b| {
        b.iter(|| {
            let mut source = LineSource::new(vec![Input::File(PathBuf::from(file.path()))]);
            let mut count = 0;
            while let Some(batch) = source.next_batch(4096, 1 << 20).unwrap() {
                count += batch.lines.len();
            }
            assert_eq!(count, many);
        });
    });
    group.finish();
}

fn hashes(c: &mut Criterion) {
    let mut random = Random::new(7, 0);
    let texts: Vec<String> = (0..CAPTIONS)
        .map(|_| caption::text(&caption::caption(&mut random)))
        .collect();
    let shingler = Shingler {
        tokenization: Tokenization::Character,
        window: 5,
        lowercase: true,
        ignore: IgnorePattern::optional(Some(r"<__dj__image>|<\|__dj__eoc\|>|\p{P}".into()))
            .unwrap(),
        model: None,
    };
    let shingles: Vec<_> = texts
        .iter()
        .map(|text| shingler.shingles(text).unwrap())
        .collect();
    let mut words = Vec::new();
    let hashed: Vec<Vec<u32>> = shingles
        .iter()
        .map(|s| {
            words.clear();
            sha1_32_each(s.iter(), &mut words);
            words.clone()
        })
        .collect();
    let permutations = Permutations::new(256);
    let mut signature = Vec::new();
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Elements(CAPTIONS as u64));
    group.bench_function("shingles", |b| {
        b.iter(|| {
            texts
                .iter()
                .for_each(|text| drop(black_box(shingler.shingles(text))))
        });
    });
    group.bench_function("sha1 of shingles", |b| {
        b.iter(|| {
            for shingles in &shingles {
                words.clear();
                sha1_32_each(shingles.iter(), &mut words);
                black_box(&words);
            }
        });
    });
    group.bench_function("minhash signature", |b| {
        b.iter(|| {
            for words in &hashed {
                signature.clear();
                permutations.signature(words, &mut signature);
                black_box(&signature);
            }
        });
    });
    permutations.signature(&hashed[0], &mut signature);
    let mut keys = Vec::new();
    group.bench_function("25 band keys", |b| {
        b.iter(|| {
            for _ in 0..CAPTIONS {
                keys.clear();
                band_keys(&signature[..256], 25, 10, &mut keys);
                black_box(&keys);
            }
        });
    });
    group.bench_function("text digest", |b| {
        b.iter(|| {
            texts.iter().for_each(|text| {
                black_box(text_digest(text, true, true));
            })
        });
    });
    group.finish();
}

fn images(c: &mut Criterion) {
    let files = pictures();
    let decoded: Vec<_> = files.iter().map(|bytes| decode(bytes).unwrap()).collect();
    let bytes = files.iter().map(Vec::len).sum::<usize>();
    eprintln!("pictures: {PICTURES}, mean {} bytes", bytes / PICTURES);
    let mut group = c.benchmark_group("image");
    group.throughput(Throughput::Elements(PICTURES as u64));
    group.bench_function("header", |b| {
        b.iter(|| {
            files.iter().for_each(|bytes| {
                black_box(header(bytes).unwrap());
            })
        });
    });
    group.bench_function("validate (decode at 1/8)", |b| {
        b.iter(|| {
            files.iter().for_each(|bytes| {
                black_box(validate(bytes).unwrap());
            })
        });
    });
    group.bench_function("decode", |b| {
        b.iter(|| {
            files
                .iter()
                .for_each(|bytes| drop(black_box(decode(bytes).unwrap())))
        })
    });
    for (name, method) in [
        ("phash of pixels", HashMethod::Phash),
        ("dhash of pixels", HashMethod::Dhash),
        ("ahash of pixels", HashMethod::Ahash),
        ("whash of pixels", HashMethod::Whash),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                decoded.iter().for_each(|image| {
                    black_box(perceptual_hash(&image.image, method));
                })
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = operators, rows, hashes, images
}
criterion_main!(benches);
