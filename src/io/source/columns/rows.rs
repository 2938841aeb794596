//! Rows of a column file as JSON, and rows that nobody has made such of yet: whoever works on them
//! does that, on a thread of its own.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use bytes::Bytes;

use super::roles::Role;
use super::size::size;
use super::{bytes_at, ending, list_at, text_at, view};
use crate::sample::{Attachment, Locator, push_string};

/// What the columns of a file are to its rows.
#[derive(Debug)]
pub(super) struct Shape {
    /// The columns that are read, in the order of the file.
    pub columns: Vec<Column>,
    /// The field of images.
    pub image_key: String,
}

/// A column that is read.
#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub role: Role,
    /// Its place in the file.
    pub number: u32,
}

impl Shape {
    /// Appends row `at` of `batch` as JSON, and gives what came with it. `base` is the identity of the
    /// file's first row, `row` the number of this one there.
    pub fn write(
        &self,
        batch: &RecordBatch,
        at: usize,
        (base, row): (u64, u64),
        data: &mut Vec<u8>,
    ) -> Vec<Attachment> {
        let row = Row {
            shape: self,
            batch,
            at,
            base,
            ordinal: row,
        };
        row.write(data)
    }
}

/// Rows that follow each other, in columns.
#[derive(Debug, Clone)]
pub struct ColumnRows {
    shape: Arc<Shape>,
    batch: RecordBatch,
    base: u64,
    first: u64,
    bytes: usize,
}

impl ColumnRows {
    /// As many of the rows of `batch` as have about so many `bytes`, one at least. The first is that of
    /// number `first` in a file whose first row has the identity `base`.
    pub(super) fn new(
        shape: &Arc<Shape>,
        mut batch: RecordBatch,
        (base, first): (u64, u64),
        bytes: usize,
    ) -> Self {
        let size = |batch: &RecordBatch| {
            let columns = batch.columns().iter();
            let bytes: u64 = columns.map(|column| size(column)).sum();
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let mut found = size(&batch);
        while found > bytes && batch.num_rows() > 1 {
            batch = batch.slice(0, batch.num_rows() / 2);
            found = size(&batch);
        }
        Self {
            shape: Arc::clone(shape),
            batch,
            base,
            first,
            bytes: found,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes their values have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The identity of the first row of their file.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The number in the file, from 0, of row `at` of these.
    #[must_use]
    pub fn number(&self, at: usize) -> u64 {
        self.first + at as u64
    }

    /// Appends row `at` of them as JSON, and gives what came with it.
    pub fn write(&self, at: usize, data: &mut Vec<u8>) -> Vec<Attachment> {
        let row = (self.base, self.number(at));
        self.shape.write(&self.batch, at, row, data)
    }
}

/// A row of a batch.
struct Row<'a> {
    shape: &'a Shape,
    batch: &'a RecordBatch,
    at: usize,
    base: u64,
    /// Its number in the file.
    ordinal: u64,
}

impl Row<'_> {
    fn write(&self, data: &mut Vec<u8>) -> Vec<Attachment> {
        let batch = self.batch;
        let mut attached = Vec::new();
        let mut first = true;
        data.push(b'{');
        for (column, values) in self.shape.columns.iter().zip(batch.columns()) {
            match column.role {
                Role::Field => {
                    view::name(&column.name, &mut first, data);
                    view::write_value(values, self.at, data);
                }
                Role::ImageBytes => self.named_images(column, values, &mut attached),
                Role::Image | Role::Content | Role::Carried | Role::Left => {}
            }
        }
        let is_image = |column: &&Column| matches!(column.role, Role::Image | Role::Content);
        if self.shape.columns.iter().any(|column| is_image(&column)) {
            view::name(&self.shape.image_key, &mut first, data);
            data.push(b'[');
            let start = data.len();
            for (column, values) in self.shape.columns.iter().zip(batch.columns()) {
                if column.role == Role::Content {
                    if let Some(content) = bytes_at(values, self.at) {
                        self.image(column, (0, Some(content), None), data, &mut attached);
                    }
                } else if column.role == Role::Image {
                    self.images(column, values, data, &mut attached);
                }
            }
            // What separates the first from none before it.
            if data.len() > start {
                data.truncate(data.len() - 2);
            }
            data.push(b']');
        }
        data.push(b'}');
        attached
    }

    /// The images of a cell of Hugging Face's type, each with a separator behind it.
    fn images(
        &self,
        column: &Column,
        values: &ArrayRef,
        data: &mut Vec<u8>,
        attached: &mut Vec<Attachment>,
    ) {
        if values.is_null(self.at) {
            return;
        }
        let list = list_at(values, self.at);
        let (items, range) = match &list {
            Some(items) => (items, 0..items.len()),
            None => (values, self.at..self.at + 1),
        };
        let Some(parts) = items.as_struct_opt() else {
            return;
        };
        let content = parts.column_by_name("bytes");
        let path = parts.column_by_name("path");
        for (element, at) in (0..).zip(range) {
            if parts.is_null(at) {
                data.extend_from_slice(b"null, ");
                continue;
            }
            let content = content.and_then(|column| bytes_at(column, at));
            let path = path.and_then(|column| text_at(column, at));
            self.image(column, (element, content, path), data, attached);
        }
    }

    /// One image: its name, a separator, and where it lies.
    fn image(
        &self,
        column: &Column,
        (element, content, path): (u32, Option<Bytes>, Option<&str>),
        data: &mut Vec<u8>,
        attached: &mut Vec<Attachment>,
    ) {
        let made;
        let name = if let Some(path) = path {
            path
        } else {
            let identity = self.base.wrapping_add(self.ordinal);
            let which = match attached.len() {
                0 => String::new(),
                number => format!("-{number}"),
            };
            let ending = content.as_deref().map_or("", ending);
            made = format!("row-{identity}{which}{ending}");
            &made
        };
        push_string(name, data);
        data.extend_from_slice(b", ");
        if let Some(content) = content {
            attached.push(self.attachment(column, (element, name, content), false));
        }
    }

    /// An image of a cell, under its name; `as_stored` is that of [`Attachment`].
    fn attachment(
        &self,
        column: &Column,
        (element, name, content): (u32, &str, Bytes),
        as_stored: bool,
    ) -> Attachment {
        Attachment {
            name: name.into(),
            input: 0,
            at: Locator::Cell {
                row: self.ordinal,
                column: column.number,
                element,
            },
            as_stored,
            is_image: true,
            here: Some(content),
        }
    }

    /// Data-Juicer's rule: image `i` is element `i` of the bytes, if it has any.
    fn named_images(&self, column: &Column, values: &ArrayRef, attached: &mut Vec<Attachment>) {
        let is_list = |column: &&Column| column.name == self.shape.image_key;
        let names = self
            .shape
            .columns
            .iter()
            .position(|column| is_list(&column));
        let names = names.and_then(|number| list_at(self.batch.columns().get(number)?, self.at));
        let (Some(names), Some(contents)) = (names, list_at(values, self.at)) else {
            return;
        };
        for (element, at) in (0..).zip(0..names.len().min(contents.len())) {
            if let (Some(name), Some(content)) = (text_at(&names, at), bytes_at(&contents, at)) {
                attached.push(self.attachment(column, (element, name, content), true));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{BinaryArray, Int64Array, StringArray, StructArray};
    use arrow_schema::{DataType, Field, Fields, Schema};

    use super::super::table::{Table, TableBatches};
    use super::super::{ColumnReader, RowReader as _};
    use crate::io::source::{GivenRows, Input, LineSource, Reading};

    use super::*;

    /// Numbers, texts of any length, and images with and without a name, in batches of 40 rows.
    fn table() -> Arc<Table> {
        let parts = Fields::from(vec![
            Field::new("bytes", DataType::Binary, true),
            Field::new("path", DataType::Utf8, true),
        ]);
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("image", DataType::Struct(parts.clone()), true),
        ]));
        let batch = |start: u8| {
            let numbers = start..start + 40;
            let text = |n: u8| {
                (!n.is_multiple_of(5)).then(|| "\"é\n".repeat(usize::from(n) * usize::from(n) % 97))
            };
            let content = |n: u8| (!n.is_multiple_of(3)).then(|| vec![0xFF, 0xD8, n]);
            let path = |n: u8| (!n.is_multiple_of(2)).then(|| format!("{n}.jpg"));
            let images = StructArray::new(
                parts.clone(),
                vec![
                    Arc::new(numbers.clone().map(content).collect::<BinaryArray>()) as ArrayRef,
                    Arc::new(numbers.clone().map(path).collect::<StringArray>()),
                ],
                None,
            );
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(numbers.clone().map(i64::from))),
                Arc::new(numbers.map(text).collect::<StringArray>()),
                Arc::new(images),
            ];
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        };
        let batches = vec![batch(0), batch(40), batch(80)];
        Arc::new(Table::new(Arc::clone(&schema), batches).unwrap())
    }

    /// A row: its identity, its number, its text, and the images that came with it.
    type Seen = (u64, u64, String, Vec<(String, Locator, Option<Bytes>)>);

    fn seen((offset, number): (u64, u64), line: &[u8], attached: &[Attachment]) -> Seen {
        let image = |it: &Attachment| (it.name.to_string(), it.at, it.here.clone());
        let line = String::from_utf8(line.to_vec()).unwrap();
        (offset, number, line, attached.iter().map(image).collect())
    }

    #[test]
    fn rows_are_the_same_one_by_one_and_in_columns() {
        let table = table();
        let batches = Box::new(TableBatches::new(Arc::clone(&table)));
        let mut reader = ColumnReader::new(batches, &Reading::default()).unwrap();
        reader.begin(0);
        let mut single = Vec::new();
        let mut data = Vec::new();
        while let Some(row) = reader.next(&mut data, usize::MAX).unwrap() {
            single.push(seen((row.offset, row.number), &data, &row.attached));
            data.clear();
        }
        assert_eq!(single.len(), 120);
        assert!(single.iter().any(|row| !row.3.is_empty()));
        let inputs = vec![Input::Given(GivenRows::table("memory", table))];
        for (max_rows, max_bytes) in [(1, 1 << 20), (7, 1 << 20), (500, 300), (500, 1)] {
            let mut source = LineSource::new(inputs.clone());
            let mut found = Vec::new();
            while let Some(mut batch) = source.next_unwritten(max_rows, max_bytes).unwrap() {
                let (count, size) = (batch.rows(), batch.size());
                assert!(count <= max_rows && (size <= max_bytes || count == 1));
                assert!(batch.lines.is_empty());
                batch.write_columns();
                assert_eq!(batch.lines.len(), count);
                found.extend(batch.lines.iter().map(|line| {
                    let place = (line.origin.offset, line.origin.line);
                    seen(place, batch.bytes(line), &line.attached)
                }));
                // Another process goes on from here.
                source = LineSource::resume(inputs.clone(), source.position());
            }
            assert_eq!(found, single, "{max_rows} {max_bytes}");
        }
    }
}
