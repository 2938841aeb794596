//! How rows and what is known of them lie in files that only the program reads which wrote them:
//! numbers are LEB128, texts and bytes have their length in front.

use super::StatValue;

/// Appends a number as LEB128.
pub(crate) fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends bytes with their length in front.
pub(crate) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    number(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Appends a measured value.
pub(crate) fn value(value: &StatValue, out: &mut Vec<u8>) {
    match value {
        StatValue::Int(value) => {
            out.push(0);
            out.extend_from_slice(&value.to_le_bytes());
        }
        StatValue::Float(value) => {
            out.push(1);
            out.extend_from_slice(&value.to_le_bytes());
        }
        StatValue::Ints(values) => {
            out.push(2);
            words(values.iter().map(|value| value.to_le_bytes()), out);
        }
        StatValue::Floats(values) => {
            out.push(3);
            words(values.iter().map(|value| value.to_le_bytes()), out);
        }
        StatValue::Json(value) => {
            out.push(4);
            bytes(value.to_string().as_bytes(), out);
        }
    }
}

/// Appends words with their number in front.
fn words(values: impl ExactSizeIterator<Item = [u8; 8]>, out: &mut Vec<u8>) {
    number(values.len() as u64, out);
    values.for_each(|word| out.extend_from_slice(&word));
}

/// Takes a byte.
pub(crate) fn take_byte(from: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = from.split_first()?;
    *from = rest;
    Some(*byte)
}

/// Takes what [`number`] wrote.
pub(crate) fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(from)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a number that counts what is in memory.
pub(crate) fn take_size(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_number(from)?).ok()
}

/// Takes what [`bytes`] wrote.
pub(crate) fn take_bytes<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_size(from)?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

/// Takes a text that [`bytes`] wrote.
pub(crate) fn take_text(from: &mut &[u8]) -> Option<String> {
    String::from_utf8(take_bytes(from)?.to_vec()).ok()
}

/// Takes what [`value`] wrote.
pub(crate) fn take_value(from: &mut &[u8]) -> Option<StatValue> {
    Some(match take_byte(from)? {
        0 => StatValue::Int(i64::from_le_bytes(take_word(from)?)),
        1 => StatValue::Float(f64::from_le_bytes(take_word(from)?)),
        2 => StatValue::Ints(take_words(from, i64::from_le_bytes)?),
        3 => StatValue::Floats(take_words(from, f64::from_le_bytes)?),
        _ => StatValue::json(serde_json::from_slice::<serde_json::Value>(take_bytes(from)?).ok()?),
    })
}

fn take_word(from: &mut &[u8]) -> Option<[u8; 8]> {
    let (word, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*word)
}

/// Takes what [`words`] wrote, each as `read` has it.
fn take_words<T, L: FromIterator<T>>(from: &mut &[u8], read: fn([u8; 8]) -> T) -> Option<L> {
    (0..take_number(from)?)
        .map(|_| take_word(from).map(read))
        .collect()
}
