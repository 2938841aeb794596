//! Rows of tables: Parquet, Arrow, CSV. The same answers however they are cut, and damage told.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::support::{Scratch, rows};

pub fn png(width: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, 4)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn text(n: i64) -> String {
    format!("<__dj__image>\nrow {}", n - i64::from(n % 3 == 2))
}

/// Rows of an id, a text and a picture in Hugging Face's way.
fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let mut content = BinaryBuilder::new();
    let mut path = StringBuilder::new();
    for n in rows.clone() {
        content.append_value(png(1 + u32::try_from(n).unwrap() % 40));
        path.append_option((n % 2 == 0).then(|| format!("p{n}.png")));
    }
    let fields = Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(content.finish()), Arc::new(path.finish())];
    let images = StructArray::new(fields.clone(), columns, None);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("image", DataType::Struct(fields), true),
    ]);
    let ids = Int64Array::from_iter_values(rows.clone());
    let texts = StringArray::from_iter_values(rows.map(text));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts), Arc::new(images)];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

pub fn parquet(rows: std::ops::Range<i64>) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(13))
        .build();
    let batch = batch(rows);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn arrow(rows: std::ops::Range<i64>) -> Vec<u8> {
    let batch = batch(rows);
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    for start in (0..batch.num_rows()).step_by(9) {
        writer
            .write(&batch.slice(start, 9.min(batch.num_rows() - start)))
            .unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn csv(rows: std::ops::Range<i64>) -> Vec<u8> {
    let mut out = "id,text,note\n".to_owned();
    let mut notes = ["a", "", "\"x,\"\"y\"\"\""].into_iter().cycle();
    notes.nth(usize::try_from(rows.start).unwrap() % 3 + 2);
    for n in rows {
        let note = notes.next().unwrap();
        write!(out, "{n},\"{}\",{note}\r\n", text(n)).unwrap();
    }
    out.into_bytes()
}

const RECIPE: &str = "dataset_path: in
process:
  - words_num_filter: {min_num: 1}
  - document_deduplicator: {}
  - document_minhash_deduplicator: {window_size: 1, jaccard_threshold: 0.95}
  - image_deduplicator: {consider_text: true}
outputs:
  - {format: jsonl, path: out.jsonl, validate: decode}
  - {format: jsonl, path: some.jsonl, sample: 9, validate: decode}
";

#[test]
fn rows_of_tables_are_the_same_however_they_are_cut() {
    type Write = fn(std::ops::Range<i64>) -> Vec<u8>;
    for (suffix, write) in [
        ("parquet", parquet as Write),
        ("arrow", arrow),
        ("csv", csv),
    ] {
        let mut expected: Option<(Vec<u8>, Vec<u8>)> = None;
        for (files, threads) in [(1, "1"), (7, "2"), (100, "8")] {
            let scratch = Scratch::new();
            fs::create_dir(scratch.path("in")).unwrap();
            let each = (120_i64 + files - 1) / files;
            for (number, start) in (0..120).step_by(usize::try_from(each).unwrap()).enumerate() {
                let content = write(start..(start + each).min(120));
                scratch.write(&format!("in/{number:05}.{suffix}"), content);
            }
            scratch.write("r.yaml", RECIPE);
            scratch
                .djr(&["run", "r.yaml", "--threads", threads])
                .expect(0);
            let got = (scratch.read("out.jsonl"), scratch.read("some.jsonl"));
            assert_eq!(
                *expected.get_or_insert_with(|| got.clone()),
                got,
                "{files} {suffix}"
            );
        }
        let rows = rows(&expected.unwrap().0);
        assert!(rows.len() > 20, "{} rows of {suffix}", rows.len());
        if suffix == "csv" {
            assert_eq!(rows[0], json!({"id": "0", "text": text(0), "note": "a"}));
            assert_eq!(rows[1], json!({"id": "1", "text": text(1), "note": null}));
        } else {
            assert_eq!(
                rows[0],
                json!({"id": 0, "text": text(0), "images": ["p0.png"]})
            );
            assert_eq!(
                rows[1],
                json!({"id": 1, "text": text(1), "images": ["row-1.png"]})
            );
        }
    }
}

#[test]
fn a_damaged_table_says_what_is_lost() {
    let scratch = Scratch::new();
    let whole = parquet(0..40);
    let mut damaged = whole.clone();
    // The header of the first page.
    damaged[4..24].fill(0xFF);
    scratch.write("page.parquet", &damaged);
    scratch.write("footer.parquet", &whole[..whole.len() - 9]);
    scratch.write("quote.csv", "id,text\n1,a\n2,\"open\n3,b\n");
    scratch.write("many.csv", "id,text\n1,a\n2,b,c\n3,d");
    let run = |input: &str, broken: &str| {
        scratch.write("r.yaml", "process: [text_length_filter: {min_len: 1}]\n");
        let set = format!("input.on_broken_input={broken}");
        scratch.djr(&[
            "run",
            "r.yaml",
            "--input",
            input,
            "--output",
            "out.jsonl",
            "--set",
            &set,
            "--max-quarantine",
            "none",
            "--restart",
        ])
    };
    let codes = || -> Vec<String> {
        let rows = scratch.rows("out.jsonl.djr/quarantine.jsonl");
        rows.iter()
            .map(|row| row["code"].as_str().unwrap().to_owned())
            .collect()
    };
    let ran = run("footer.parquet", "fail").expect(2);
    assert!(ran.stderr.contains("footer.parquet"), "{}", ran.stderr);
    run("footer.parquet", "quarantine").expect(1);
    assert_eq!(codes(), ["input_cut"]);
    run("page.parquet", "fail").expect(3);
    run("page.parquet", "quarantine").expect(1);
    assert_eq!(codes(), ["row_group_broken"; 13]);
    assert_eq!(scratch.rows("out.jsonl").len(), 27);
    run("quote.csv", "fail").expect(3);
    run("quote.csv", "quarantine").expect(1);
    assert_eq!(codes(), ["input_cut"]);
    run("many.csv", "fail").expect(1);
    assert_eq!(codes(), ["csv_fields"]);
    assert_eq!(scratch.rows("out.jsonl").len(), 2);
}

#[test]
fn columns_of_one_name_must_fit() {
    let scratch = Scratch::new();
    let one = |data_type: DataType, column: ArrayRef| {
        let schema = Arc::new(Schema::new(vec![Field::new("n", data_type, true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    scratch.write(
        "a.parquet",
        one(DataType::Int64, Arc::new(Int64Array::from(vec![1]))),
    );
    scratch.write(
        "b.parquet",
        one(DataType::Utf8, Arc::new(StringArray::from(vec!["x"]))),
    );
    let ran = scratch
        .djr(&["subset", "a.parquet", "b.parquet", "--n", "1"])
        .expect(2);
    for part in ["a.parquet", "b.parquet", "Int64", "Utf8"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

/// What comes through a pipe gives what the file gives, its pictures too, whatever is between the
/// input and the outputs.
#[test]
fn tables_and_archives_come_through_a_pipe() {
    use std::io::Write as _;
    let scratch = Scratch::new();
    let members = crate::archives::samples(60).concat();
    let tar = crate::archives::tar(&members);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&tar).unwrap();
    scratch.write(
        "r.yaml",
        "process:
  - image_shape_filter: {min_width: 5}
  - document_minhash_deduplicator: {window_size: 1, jaccard_threshold: 0.95}
",
    );
    for (name, content) in [
        ("in.parquet", parquet(0..90)),
        ("in.arrow", arrow(0..90)),
        ("in.tar", tar),
        ("in.tar.gz", packed.finish().unwrap()),
    ] {
        scratch.write(name, &content);
        for ending in ["jsonl", "parquet", "tar"] {
            let of_file = format!("file-{name}-{ending}.{ending}");
            let of_pipe = format!("pipe-{name}-{ending}.{ending}");
            scratch
                .djr(&["run", "r.yaml", "--input", name, "-o", &of_file])
                .expect(0);
            scratch
                .djr_with(&["run", "r.yaml", "--input", "-", "-o", &of_pipe], &content)
                .expect(0);
            let (of_file, of_pipe) = (scratch.read(&of_file), scratch.read(&of_pipe));
            assert!(of_file == of_pipe, "{name} to {ending}");
        }
        // Cut off, it is told what it is.
        let cut = &content[..content.len() / 2];
        let ran = scratch.djr_with(&["run", "r.yaml", "--input", "-", "-o", "cut.jsonl"], cut);
        assert!(matches!(ran.code, 2 | 3), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("<stdin>"), "{}", ran.stderr);
        assert!(!scratch.path("cut.jsonl").exists());
    }
    // What a recipe says of inputs counts for this one, too.
    scratch.write(
        "c.yaml",
        "input: {format: csv, csv: {delimiter: ';'}}\nprocess: [text_length_filter: {min_len: 2}]\n",
    );
    let table = b"id;text\n1;a text\n2;b\n";
    let ran = scratch
        .djr_with(&["run", "c.yaml", "--input", "-", "-o", "-"], table)
        .expect(0);
    assert_eq!(rows(&ran.stdout), [json!({"id": "1", "text": "a text"})]);
}

#[test]
fn columns_that_are_asked_for_must_be_there() {
    let scratch = Scratch::new();
    scratch.write("in.parquet", parquet(0..9));
    scratch.write("in.jsonl", "{\"id\": 1, \"text\": \"a text\"}\n");
    let run = |columns: &str, input: &str| {
        let recipe = format!(
            "input: {{columns: [{columns}]}}\nprocess: [text_length_filter: {{min_len: 1}}]\n"
        );
        scratch.write("r.yaml", recipe);
        scratch.djr(&[
            "run", "r.yaml", "--force", "--input", input, "-o", "o.jsonl",
        ])
    };
    let ran = run("text", "in.parquet").expect(0);
    assert!(!ran.stderr.contains("input.columns"), "{}", ran.stderr);
    assert_eq!(scratch.rows("o.jsonl")[0], json!({"text": text(0)}));
    for (columns, says) in [
        ("text, ids", "did you mean"),
        ("text, zebra", "it has id, text, image"),
    ] {
        let ran = run(columns, "in.parquet").expect(2);
        assert!(ran.stderr.contains("has no column"), "{}", ran.stderr);
        assert!(ran.stderr.contains("r.yaml:1:"), "{}", ran.stderr);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    let ran = run("text", "in.jsonl").expect(0);
    assert!(
        ran.stderr
            .contains("ignored: `input.columns` (no input is a Parquet or Arrow file)"),
        "{}",
        ran.stderr
    );
}
