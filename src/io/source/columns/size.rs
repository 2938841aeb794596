//! How much memory values take.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{BinaryType, ByteArrayType, LargeBinaryType, LargeUtf8Type, Utf8Type};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, OffsetSizeTrait};
use arrow_schema::DataType;

/// About how many bytes its values have, however they lie in memory.
#[must_use]
pub fn size(values: &dyn Array) -> u64 {
    let rows = values.len() as u64;
    match values.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => bytes_size::<Utf8Type>(values) + 4 * rows,
        DataType::LargeUtf8 => bytes_size::<LargeUtf8Type>(values) + 8 * rows,
        DataType::Binary => bytes_size::<BinaryType>(values) + 4 * rows,
        DataType::LargeBinary => bytes_size::<LargeBinaryType>(values) + 8 * rows,
        DataType::Utf8View => viewed_size(values.as_string_view().lengths()) + 16 * rows,
        DataType::BinaryView => viewed_size(values.as_binary_view().lengths()) + 16 * rows,
        DataType::List(_) => {
            let list = values.as_list::<i32>();
            items_size(list.value_offsets(), list.values()) + 4 * rows
        }
        DataType::LargeList(_) => {
            let list = values.as_list::<i64>();
            items_size(list.value_offsets(), list.values()) + 8 * rows
        }
        DataType::FixedSizeList(..) => size(values.as_fixed_size_list().values()),
        DataType::Map(..) => {
            let map = values.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            items_size(map.value_offsets(), &entries) + 4 * rows
        }
        DataType::Struct(_) => {
            let columns = values.as_struct().columns();
            columns.iter().map(|column| size(column)).sum()
        }
        DataType::FixedSizeBinary(_) => {
            let bytes = values.as_any().downcast_ref::<FixedSizeBinaryArray>();
            bytes.map_or(0, |it| u64::try_from(it.value_length()).unwrap_or(0)) * rows
        }
        DataType::Dictionary(..) => 4 * rows,
        other => other.primitive_width().unwrap_or(8) as u64 * rows,
    }
}

fn bytes_size<T: ByteArrayType>(values: &dyn Array) -> u64 {
    let offsets = values.as_bytes::<T>().value_offsets();
    ends(offsets).map_or(0, |(first, last)| (last - first) as u64)
}

fn viewed_size(lengths: impl Iterator<Item = u32>) -> u64 {
    lengths.map(u64::from).sum()
}

/// The first and the last of some offsets.
fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> Option<(usize, usize)> {
    Some((offsets.first()?.as_usize(), offsets.last()?.as_usize()))
}

fn items_size<O: OffsetSizeTrait>(offsets: &[O], items: &ArrayRef) -> u64 {
    ends(offsets).map_or(0, |(first, last)| size(&items.slice(first, last - first)))
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;

    use super::*;

    #[test]
    fn the_size_of_values_does_not_depend_on_how_they_lie() {
        let array = StringArray::from(vec![Some("abc"), None, Some("d")]);
        let alone = StringArray::from(vec![None, Some("d")]);
        assert_eq!(size(&array.slice(1, 2)), size(&alone));
        assert_eq!(size(&array), 4 + 12);
    }
}
