//! Parquet as an output: what inputs have stays as it is, and JSON gets types.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers of fixtures"
)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float16Type, Int8Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    DictionaryArray, DurationMillisecondArray, FixedSizeBinaryArray, FixedSizeListArray,
    Float32Array, Float64Array, Int8Array, Int64Array, LargeBinaryArray, LargeStringArray,
    NullArray, PrimitiveArray, RecordBatch, StringArray, StringViewArray, StructArray,
    Time32SecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    UInt8Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::columns::png;
use crate::support::Scratch;

/// All rows of a Parquet file in one batch, and the rows of its groups.
fn read(path: &std::path::Path) -> (RecordBatch, Vec<i64>) {
    let file = File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let groups = reader.metadata().row_groups();
    let groups = groups
        .iter()
        .map(parquet::file::metadata::RowGroupMetaData::num_rows)
        .collect();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let whole = arrow_select::concat::concat_batches(&schema, &batches).unwrap();
    (whole, groups)
}

/// Columns of 28 types, each with values that JSON has no room for.
pub fn all_types(rows: usize) -> RecordBatch {
    let n = |modulus: usize| move |row: usize| (row % 7 != 3).then_some(row % modulus);
    let each = || 0..rows;
    let ints = || {
        each()
            .map(n(100))
            .map(|it| it.map(|n| i64::try_from(n).unwrap()))
    };
    let text = |row: usize| n(9)(row).map(|n| format!("t{n}"));
    let bytes = |row: usize| n(9)(row).map(|n| vec![u8::try_from(n).unwrap(), 0xFF]);
    let texts: Vec<Option<String>> = each().map(text).collect();
    let blobs: Vec<Option<Vec<u8>>> = each().map(bytes).collect();
    let blobs = || blobs.iter().map(Option::as_deref);
    let words = || texts.iter().map(Option::as_deref);
    let mut lists = ListBuilder::new(Int32Builder::new());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for row in each() {
        lists.append_option((row % 5 != 0).then(|| (0..row % 4).map(|n| Some(n as i32))));
        maps.keys().append_value(format!("k{}", row % 3));
        maps.values().append_value(row as i32);
        maps.append(row % 6 != 0).unwrap();
    }
    let item = Arc::new(Field::new("item", DataType::Int8, true));
    let pairs = Int8Array::from_iter_values((0..2 * rows).map(|n| (n % 100) as i8));
    let floats = [1.5, f64::NAN, f64::INFINITY, 0.1, -0.0];
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "bool",
            Arc::new(each().map(|n| Some(n % 2 == 0)).collect::<BooleanArray>()),
        ),
        (
            "i8",
            Arc::new(ints().map(|n| n.map(|n| n as i8)).collect::<Int8Array>()),
        ),
        (
            "i64",
            Arc::new(
                ints()
                    .map(|n| n.map(|n| i64::MIN + n))
                    .collect::<Int64Array>(),
            ),
        ),
        (
            "u8",
            Arc::new(ints().map(|n| n.map(|n| n as u8)).collect::<UInt8Array>()),
        ),
        (
            "u64",
            Arc::new(
                ints()
                    .map(|n| n.map(|n| u64::MAX - n as u64))
                    .collect::<UInt64Array>(),
            ),
        ),
        (
            "f16",
            Arc::new(
                ints()
                    .map(|n| n.map(|n| half::f16::from_f64(n as f64 / 8.0)))
                    .collect::<PrimitiveArray<Float16Type>>(),
            ),
        ),
        (
            "f32",
            Arc::new(
                ints()
                    .map(|n| n.map(|n| n as f32 / 3.0))
                    .collect::<Float32Array>(),
            ),
        ),
        (
            "f64",
            Arc::new(Float64Array::from_iter_values(
                each().map(|row| floats[row % 5]),
            )),
        ),
        (
            "decimal",
            Arc::new(
                ints()
                    .map(|n| n.map(i128::from))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        (
            "date32",
            Arc::new(ints().map(|n| n.map(|n| n as i32)).collect::<Date32Array>()),
        ),
        (
            "date64",
            Arc::new(
                ints()
                    .map(|n| n.map(|n| n * 86_400_000))
                    .collect::<Date64Array>(),
            ),
        ),
        (
            "time32",
            Arc::new(
                ints()
                    .map(|n| n.map(|n| n as i32))
                    .collect::<Time32SecondArray>(),
            ),
        ),
        (
            "time64",
            Arc::new(ints().collect::<Time64NanosecondArray>()),
        ),
        (
            "zoned",
            Arc::new(
                ints()
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("Europe/Paris"),
            ),
        ),
        (
            "nanos",
            Arc::new(ints().collect::<TimestampNanosecondArray>()),
        ),
        (
            "duration",
            Arc::new(ints().collect::<DurationMillisecondArray>()),
        ),
        (
            "large_text",
            Arc::new(words().collect::<LargeStringArray>()),
        ),
        ("view", Arc::new(words().collect::<StringViewArray>())),
        (
            "words",
            Arc::new(words().collect::<DictionaryArray<Int8Type>>()),
        ),
        (
            "binary",
            Arc::new(blobs().collect::<arrow_array::BinaryArray>()),
        ),
        (
            "large_binary",
            Arc::new(blobs().collect::<LargeBinaryArray>()),
        ),
        (
            "binary_view",
            Arc::new(blobs().collect::<BinaryViewArray>()),
        ),
        (
            "fixed",
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(blobs(), 2).unwrap()),
        ),
        ("list", Arc::new(lists.finish())),
        (
            "pair",
            Arc::new(FixedSizeListArray::new(item, 2, Arc::new(pairs), None)),
        ),
        ("map", Arc::new(maps.finish())),
        ("null", Arc::new(NullArray::new(rows))),
    ];
    let row_text = StringArray::from_iter_values(each().map(|row| format!("Row  {row}")));
    let inner: ArrayRef = Arc::new(StringArray::from_iter(texts.clone()));
    let members = StructArray::from(vec![(
        Arc::new(Field::new("a", DataType::Utf8, true)),
        inner,
    )]);
    let mut fields = vec![
        Field::new("text", DataType::Utf8, false),
        Field::new("struct", members.data_type().clone(), true),
    ];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(row_text), Arc::new(members)];
    for (name, array) in columns {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let about = [("pandas".to_owned(), "{}".to_owned())];
    let schema = Schema::new(fields).with_metadata(std::collections::HashMap::from(about));
    RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
}

/// Writes a batch in row groups of 70 rows.
pub fn write(scratch: &Scratch, name: &str, batch: &RecordBatch) {
    let file = File::create(scratch.path(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    for start in (0..batch.num_rows()).step_by(70) {
        writer
            .write(&batch.slice(start, 70.min(batch.num_rows() - start)))
            .unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

/// Nothing of the types is JSON's, and rows wait at a barrier besides.
#[test]
fn columns_that_nobody_writes_to_stay_as_they_are() {
    let scratch = Scratch::new();
    let whole = all_types(300);
    write(&scratch, "in.parquet", &whole);
    scratch.write(
        "r.yaml",
        "dataset_path: in.parquet
process:
  - text_length_filter: {min_len: 7}
  - document_minhash_deduplicator: {window_size: 1, tokenization: character, jaccard_threshold: 0.999999}
  - whitespace_normalization_mapper:
outputs:
  - {path: out.parquet}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let (found, _) = read(&scratch.path("out.parquet"));
    assert_eq!(found.schema().metadata(), whole.schema().metadata());
    // Rows of one and the same characters are duplicates.
    let texts = found.column_by_name("text").unwrap().as_string::<i32>();
    let kept: Vec<usize> = (0..texts.len())
        .map(|row| texts.value(row)[3..].trim().parse().unwrap())
        .collect();
    assert!(
        kept.len() > 90 && kept.len() < 290 && kept.is_sorted(),
        "{}",
        kept.len()
    );
    assert!(texts.iter().all(|text| text.unwrap().starts_with("Row ")));
    let kept = arrow_array::UInt32Array::from_iter_values(kept.iter().map(|row| *row as u32));
    for (field, column) in whole.schema().fields().iter().zip(whole.columns()).skip(1) {
        let expected = arrow_select::take::take(column, &kept, None).unwrap();
        let got = found.column_by_name(field.name()).unwrap();
        assert_eq!(got.data_type(), expected.data_type());
        assert_eq!(got.to_data(), expected.to_data(), "{}", field.name());
    }
}

/// The same file for any number of threads, batches and inputs; the same rows in it as in lines.
#[test]
fn tables_do_not_depend_on_how_rows_were_read() {
    let scratch = Scratch::new();
    let whole = all_types(400);
    fs::create_dir(scratch.path("whole")).unwrap();
    fs::create_dir(scratch.path("cut")).unwrap();
    write(&scratch, "whole/0.parquet", &whole);
    for (number, start) in (0..400).step_by(37).enumerate() {
        let part = whole.slice(start, 37.min(400 - start));
        write(&scratch, &format!("cut/{number:02}.parquet"), &part);
    }
    let recipe = |dir: &str| {
        format!(
            "dataset_path: {dir}
process:
  - text_length_filter: {{min_len: 7}}
  - whitespace_normalization_mapper:
outputs:
  - {{path: {dir}.parquet}}
  - {{path: {dir}-some.parquet, sample: 50, shuffle: true, validate: none}}
"
        )
    };
    for dir in ["whole", "cut"] {
        scratch.write(&format!("{dir}.yaml"), recipe(dir));
        let threads = if dir == "cut" { "3" } else { "1" };
        let recipe = format!("{dir}.yaml");
        scratch
            .djr(&["run", &recipe, "--threads", threads, "--batch-rows", "11"])
            .expect(0);
    }
    assert!(scratch.read("whole.parquet") == scratch.read("cut.parquet"));
    assert!(scratch.read("whole-some.parquet") == scratch.read("cut-some.parquet"));
    // As an input it has the rows that lines would have.
    for input in ["whole.parquet", "whole"] {
        let out = format!("{}.jsonl", input.replace('.', "-"));
        scratch.write("l.yaml", "process:\n  - whitespace_normalization_mapper:\n");
        scratch
            .djr(&["run", "l.yaml", "--input", input, "-o", &out])
            .expect(0);
    }
    let lines = |name: &str| String::from_utf8(scratch.read(name)).unwrap();
    let (all, again) = (lines("whole.jsonl"), lines("whole-parquet.jsonl"));
    let again: Vec<&str> = again.lines().collect();
    assert_eq!(again, all.lines().skip(10).collect::<Vec<_>>());
}

/// Types are found over all rows, those of images included, and a later row may widen them.
#[test]
fn json_gets_the_types_that_all_values_fit() {
    let scratch = Scratch::new();
    let mut rows = String::new();
    for n in 0..250_u32 {
        scratch.write(&format!("{n}.png"), png(1 + n % 40));
        let late: Value = if n < 150 {
            json!(n)
        } else {
            json!(format!("n{n}"))
        };
        let mut row = json!({
            "id": n, "text": "<__dj__image> x", "images": [format!("{n}.png")],
            "half": f64::from(n) / 2.0, "late": late, "none": null,
            "meta": {"a": n}, "tags": vec!["t"; n as usize % 3],
        });
        if n == 0 {
            row["half"] = json!(0);
        }
        if n > 180 {
            row["new"] = json!(true);
            row["meta"] = json!({"b": "x", "a": null});
        }
        writeln!(rows, "{row}").unwrap();
    }
    rows += "{\"text\": \"\\ud83d\", \"images\": []}\n";
    scratch.write("rows.jsonl", &rows);
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl
paths: keep
process:
  - image_shape_filter: {min_width: 1}
outputs:
  - {path: embed.parquet, images: embed}
  - {path: path.parquet, compression: none}
  - {path: copy.parquet, images: copy, paths: absolute}
  - {path: shards.parquet, shard_size: 8KB, images: embed}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let (embed, groups) = read(&scratch.path("embed.parquet"));
    assert_eq!(groups, [100, 100, 50]);
    let column = |name: &str| Arc::clone(embed.column_by_name(name).unwrap());
    let types: Vec<(String, String)> = embed
        .schema()
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().to_string()))
        .collect();
    let names: Vec<&str> = types.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "id", "text", "images", "half", "late", "none", "meta", "tags", "new"
        ]
    );
    assert_eq!(column("half").data_type(), &DataType::Float64);
    assert_eq!(column("none").data_type(), &DataType::Null);
    assert_eq!(column("new").null_count(), 181);
    let late = column("late");
    let late = late.as_string::<i32>();
    assert_eq!((late.value(149), late.value(150)), ("149", "\"n150\""));
    let meta = column("meta");
    let meta = meta.as_struct();
    assert_eq!(meta.column(0).as_primitive::<Int64Type>().value(180), 180);
    assert_eq!(meta.column(1).as_string::<i32>().value(181), "x");
    let images = column("images");
    let images = images.as_list::<i32>();
    for row in [0, 120, 249] {
        let image = images.value(row);
        let image = image.as_struct();
        assert_eq!(
            image.column(0).as_binary::<i32>().value(0),
            png(1 + row as u32 % 40)
        );
        assert_eq!(
            image.column(1).as_string::<i32>().value(0),
            format!("{row}.png")
        );
    }
    let about = embed.schema();
    let about: Value = serde_json::from_str(&about.metadata()["huggingface"]).unwrap();
    let feature = json!({"feature": {"_type": "Image"}, "_type": "List"});
    assert_eq!(about["info"]["features"]["images"], feature);

    let (path, groups) = read(&scratch.path("path.parquet"));
    assert_eq!(groups, [250]);
    let images = Arc::clone(path.column_by_name("images").unwrap());
    assert_eq!(
        images.as_list::<i32>().value(7).as_string::<i32>().value(0),
        "7.png"
    );
    let (copy, _) = read(&scratch.path("copy.parquet"));
    let images = Arc::clone(copy.column_by_name("images").unwrap());
    let copied = images.as_list::<i32>().value(7);
    assert_eq!(
        fs::read(copied.as_string::<i32>().value(0)).unwrap(),
        png(8)
    );

    let shards: Vec<String> = scratch
        .files("")
        .into_iter()
        .filter(|name| name.starts_with("shards-"))
        .collect();
    assert!(shards.len() > 2, "{shards:?}");
    let mut total = 0;
    for shard in &shards {
        let (batch, _) = read(&scratch.path(shard));
        assert_eq!(batch.schema().fields(), embed.schema().fields(), "{shard}");
        total += batch.num_rows();
    }
    assert_eq!(total, 250);
    // Embedded images are images again.
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "--input",
            "embed.parquet",
            "--set",
            "outputs=[]",
            "-o",
            "again.parquet",
        ])
        .expect(0);
    let (again, _) = read(&scratch.path("again.parquet"));
    assert_eq!(
        again.column_by_name("images"),
        embed.column_by_name("images")
    );
    scratch.djr(&["verify", "again.parquet"]).expect(0);
}

/// Images that a step changed go where the input has its own, and what fits no column is refused.
#[test]
fn what_steps_change_goes_into_the_columns_of_the_input() {
    let scratch = Scratch::new();
    let mut content = BinaryBuilder::new();
    for n in 0..4_u32 {
        content.append_value(png(20 + n));
    }
    let image = StructArray::from(vec![
        (
            Arc::new(Field::new("bytes", DataType::Binary, true)),
            Arc::new(content.finish()) as ArrayRef,
        ),
        (
            Arc::new(Field::new("path", DataType::Utf8, true)),
            Arc::new(StringArray::from_iter_values(
                (0..4).map(|n| format!("{n}.png")),
            )) as ArrayRef,
        ),
    ]);
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new(
            "text",
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            true,
        ),
        Field::new("image", image.data_type().clone(), true),
        Field::new("audios", DataType::Int64, true),
    ]));
    let texts: DictionaryArray<Int32Type> = ["A", "B", "A", "C"].into_iter().collect();
    let numbers = Int64Array::from_iter_values(0..4);
    let batch = RecordBatch::try_new(
        schema,
        vec![Arc::new(texts), Arc::new(image), Arc::new(numbers)],
    )
    .unwrap();
    write(&scratch, "in.parquet", &batch);
    scratch.write(
        "r.yaml",
        "dataset_path: in.parquet
process:
  - image_blur_mapper: {p: 1.0, blur_type: box}
  - replace_content_mapper: {pattern: '[AB]', repl: x}
outputs:
  - {path: out.parquet}
  - {format: jsonl, path: out.jsonl}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let (out, _) = read(&scratch.path("out.parquet"));
    assert_eq!(out.schema().fields()[..3], batch.schema().fields()[..]);
    let text = out.column(0).as_dictionary::<Int32Type>();
    let text = text.downcast_dict::<StringArray>().unwrap();
    let texts: Vec<Option<&str>> = text.into_iter().collect();
    assert_eq!(texts, [Some("x"), Some("x"), Some("x"), Some("C")]);
    let images = out.column(1).as_struct();
    let rows = scratch.rows("out.jsonl");
    for (row, line) in rows.iter().enumerate() {
        let path = line["images"][0].as_str().unwrap();
        assert_eq!(
            images.column(0).as_binary::<i32>().value(row),
            fs::read(path).unwrap()
        );
    }
    assert_eq!(out.column(2), batch.column(2));
}

#[test]
fn a_table_is_a_file_and_recipes_may_ask_for_it_as_data_juicer_does() {
    let scratch = Scratch::new();
    scratch.write(
        "rows.jsonl",
        "{\"text\": \"a\"}\n{\"text\": \"b\", \"n\": 1}\n",
    );
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl
export_path: out/x.parquet
export_shard_size: 1
export_in_parallel: true
process:
  - text_length_filter: {min_len: 1}
",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    for name in ["out/x-00-of-02.parquet", "out/x-01-of-02.parquet"] {
        let (batch, _) = read(&scratch.path(name));
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 2));
    }
    let named = [
        "run",
        "r.yaml",
        "-o",
        "out/y",
        "--set",
        "export_type=parquet",
    ];
    scratch
        .djr(&[&named[..], &["--set", "export_shard_size=0"]].concat())
        .expect(0);
    assert_eq!(read(&scratch.path("out/y")).0.num_rows(), 2);
    let piped = scratch
        .djr(&["convert", "rows.jsonl", "--to", "parquet", "-o", "-"])
        .expect(0);
    assert!(piped.stdout.starts_with(b"PAR1") && piped.stdout.ends_with(b"PAR1"));
    // A table without rows is one, too.
    scratch.write("none.jsonl", "");
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "--input",
            "none.jsonl",
            "-o",
            "none.parquet",
            "--set",
            "export_shard_size=0",
        ])
        .expect(0);
    assert_eq!(read(&scratch.path("none.parquet")).0.num_rows(), 0);
}
