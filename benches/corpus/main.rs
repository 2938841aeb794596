//! Writes a corpus for benchmarks: rows like the reference data's, with planted duplicates and
//! damage, and a ledger that says where they are.
//!
//!     cargo run --release --example corpus -- --rows 10000 --out DIR
//!         [--distinct M] [--seed S] [--copy] [--no-images]
//!         [--text-copies N] [--text-near N] [--image-copies N] [--image-near N] [--damaged N]
//!
//! DIR gets `rows.jsonl`, `stage_1.json` (the `LLaVA` records the rows may have come from),
//! `ledger.json` and `images/`. M pictures are drawn (default: as many as rows) and row i shows
//! picture i mod M; image files are hard links to the M contents, or copies with `--copy`, for a
//! disk that is to be read for real. The options that plant take rows per 1,000; the ledger lists
//! them by row number from 0. With M < N every picture returns, so that image duplicates are then
//! the rule, planted or not; texts may also be equal by chance. The same arguments give the same
//! bytes. 400,000 rows with as many pictures (18 GB) take 7 minutes on two cores of 2026, 21 on two
//! shared ones (computed from 2 and 6.3 ms of CPU a picture).
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::many_single_char_names,
    reason = "a tool that measures: it may stop at the first surprise"
)]

mod caption;
mod jpeg;
mod picture;
mod random;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use rayon::prelude::*;

use jpeg::Style;
use random::Random;

/// Writes a corpus for benchmarks.
#[derive(Parser)]
struct Args {
    /// Rows.
    #[arg(long)]
    rows: usize,
    /// Pictures to draw [default: one a row].
    #[arg(long)]
    distinct: Option<usize>,
    /// Where to write; must not hold a corpus yet.
    #[arg(long)]
    out: PathBuf,
    /// Another seed, another corpus.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A file of its own for every row, not links to the M contents.
    #[arg(long)]
    copy: bool,
    /// Rows only; their images do not exist.
    #[arg(long)]
    no_images: bool,
    /// Rows in 1,000 with the text of an earlier row.
    #[arg(long, default_value_t = 20)]
    text_copies: usize,
    /// … with an earlier text but for one word.
    #[arg(long, default_value_t = 20)]
    text_near: usize,
    /// … with the image file of an earlier row, byte for byte.
    #[arg(long, default_value_t = 5)]
    image_copies: usize,
    /// … with an earlier row's picture in another quality.
    #[arg(long, default_value_t = 5)]
    image_near: usize,
    /// … whose image file is damaged.
    #[arg(long, default_value_t = 5)]
    damaged: usize,
}

/// What is done to an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Truncated,
    NoEndMarker,
    Html,
    Empty,
    Missing,
}

/// What a row is made of.
struct Row {
    id: String,
    path: String,
    caption: String,
    /// The row whose picture it shows.
    picture: usize,
    /// In which quality: 1 is another than the original's.
    version: u8,
    damage: Option<Damage>,
}

const QUESTIONS: &[&str] = &[
    "What is this?",
    "Give a brief description of the image.",
    "Summarize the visual content of the image.",
    "Give a short and clear explanation of the subsequent image.",
];

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if args.out.join("rows.jsonl").exists() {
        return Err(format!("{} holds a corpus already", args.out.display()).into());
    }
    fs::create_dir_all(&args.out)?;
    let mut ledger: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
    let rows = plan(&args, &mut ledger);
    write_rows(&args, &rows)?;
    let bytes = if args.no_images {
        0
    } else {
        write_images(&args, &rows)?
    };
    let truth = serde_json::json!({
        "rows": args.rows, "distinct": args.distinct.unwrap_or(args.rows), "seed": args.seed,
        "image_bytes": bytes, "planted": ledger,
    });
    fs::write(args.out.join("ledger.json"), serde_json::to_vec(&truth)?)?;
    eprintln!(
        "{} rows, {:.1} MB of images in {}",
        rows.len(),
        bytes as f64 / 1e6,
        args.out.display()
    );
    Ok(())
}

/// Decides what every row is; one after the other, for a row may repeat an earlier one.
fn plan(args: &Args, ledger: &mut BTreeMap<&'static str, Vec<serde_json::Value>>) -> Vec<Row> {
    let distinct = args.distinct.unwrap_or(args.rows).max(1);
    let mut rows: Vec<Row> = Vec::with_capacity(args.rows);
    for number in 0..args.rows {
        let mut random = Random::new(args.seed, number as u64);
        let id = format!("{:09}", number * 15 + random.below(15));
        let path = format!("images/{}/{id}.jpg", &id[..5]);
        let mut row = Row {
            id,
            path,
            caption: caption::caption(&mut random),
            picture: number % distinct,
            version: 0,
            damage: None,
        };
        let mut plant = |kind, of: usize| ledger.entry(kind).or_default().push([number, of].into());
        let of = random.below(number.max(1));
        let at = random.below(1000);
        if number > 0 && at < args.text_copies {
            row.caption.clone_from(&rows[of].caption);
            plant("text_copies", of);
        } else if number > 0 && at < args.text_copies + args.text_near {
            row.caption = caption::near(&rows[of].caption, &mut random);
            plant("text_near", of);
        }
        let of = random.below(number.max(1));
        let at = random.below(1000);
        if number > 0 && at < args.image_copies {
            (row.picture, row.version) = (rows[of].picture, rows[of].version);
            plant("image_copies", of);
        } else if number > 0 && at < args.image_copies + args.image_near {
            (row.picture, row.version) = (rows[of].picture, 1);
            plant("image_near", of);
        }
        if random.chance(args.damaged) {
            let kinds = [
                Damage::Truncated,
                Damage::NoEndMarker,
                Damage::Html,
                Damage::Empty,
                Damage::Missing,
            ];
            let damage = kinds[random.below(kinds.len())];
            row.damage = Some(damage);
            let entry = serde_json::json!([number, format!("{damage:?}")]);
            ledger.entry("damaged").or_default().push(entry);
        }
        rows.push(row);
    }
    rows
}

fn write_rows(args: &Args, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(fs::File::create(args.out.join("rows.jsonl"))?);
    let mut records = BufWriter::new(fs::File::create(args.out.join("stage_1.json"))?);
    for (number, row) in rows.iter().enumerate() {
        writeln!(out, "{}", caption::row(&row.id, &row.caption, &row.path))?;
        let question = QUESTIONS[number % QUESTIONS.len()];
        let (open, close) = (
            if number == 0 { "[\n" } else { ",\n" },
            if number + 1 == rows.len() {
                "\n]\n"
            } else {
                ""
            },
        );
        write!(
            records,
            "{open} {{\"id\": \"{}\", \"image\": \"{}\", \"conversations\": [{{\"from\": \"human\", \"value\": \"<image>\\n{question}\"}}, {{\"from\": \"gpt\", \"value\": {}}}]}}{close}",
            row.id,
            row.path,
            caption::json_string(&row.caption)
        )?;
    }
    out.flush()?;
    Ok(records.flush()?)
}

/// Draws the pictures and gives every row its file; the sum of their sizes.
fn write_images(args: &Args, rows: &[Row]) -> Result<u64, Box<dyn Error>> {
    let mut folders: Vec<&Path> = rows
        .iter()
        .filter_map(|row| Path::new(&row.path).parent())
        .collect();
    folders.dedup();
    for folder in folders {
        fs::create_dir_all(args.out.join(folder))?;
    }
    let mut shown: BTreeMap<(usize, u8), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        shown
            .entry((row.picture, row.version))
            .or_default()
            .push(row);
    }
    let shown: Vec<_> = shown.into_iter().collect();
    let sizes: Result<Vec<u64>, std::io::Error> = shown
        .par_iter()
        .map(|((picture, version), rows)| write_picture(args, *picture, *version, rows))
        .collect();
    Ok(sizes?.iter().sum())
}

/// Draws one picture and writes it for all the rows that show it.
fn write_picture(args: &Args, picture: usize, version: u8, rows: &[&Row]) -> std::io::Result<u64> {
    let mut random = Random::new(!args.seed, picture as u64);
    let drawn = picture::draw(&mut random);
    let rare = random.below(10_000);
    let quality = u8::try_from(80 + random.below(14)).unwrap_or(85) - 25 * version;
    let style = Style {
        quality,
        progressive: rare < 2,
        grey: (2..72).contains(&rare),
    };
    let bytes = jpeg::encode(&drawn, style);
    let mut sum = 0;
    let mut first: Option<PathBuf> = None;
    for row in rows {
        let path = args.out.join(&row.path);
        let content: &[u8] = match row.damage {
            Some(Damage::Missing) => continue,
            Some(Damage::Truncated) => &bytes[..bytes.len() * (3 + random.below(6)) / 10],
            Some(Damage::NoEndMarker) => &bytes[..bytes.len() - 2],
            Some(Damage::Html) => b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
            Some(Damage::Empty) => b"",
            None => &bytes,
        };
        sum += content.len() as u64;
        match &first {
            Some(first) if row.damage.is_none() && !args.copy => {
                // A file system may limit the number of links to one file.
                if fs::hard_link(first, &path).is_ok() {
                    continue;
                }
                fs::write(&path, content)?;
            }
            _ => fs::write(&path, content)?,
        }
        if row.damage.is_none() {
            first = Some(path);
        }
    }
    Ok(sum)
}
