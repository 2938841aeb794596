//! Numbers as Python prints them.

use std::io;

/// `repr(float)`: the shortest digits that read back, fixed notation from 1e-4 up to below 1e16,
/// else an exponent of two digits or more; whole numbers end in `.0`.
#[must_use]
pub fn python_float(value: f64) -> String {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write_python_float(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Writes what [`python_float`] returns.
///
/// The digits are those of the JSON library: of two that are equally near it takes the even one,
/// as Python does and the standard library does not (770895462634846.25 is …846.2).
///
/// # Errors
/// Those of `out`.
pub fn write_python_float(value: f64, mut out: impl io::Write) -> io::Result<()> {
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        return Ok(serde_json::to_writer(out, &value)?);
    }
    if value.is_finite() {
        return out.write_all(scientific(&serde_json::to_string(&value)?).as_bytes());
    }
    out.write_all(match value {
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        _ => b"NaN",
    })
}

/// A decimal number, with or without an exponent, as Python writes one with an exponent.
fn scientific(text: &str) -> String {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let zeros = all.len() - digits.len();
    // Where the point is, counted from the first digit that is not zero.
    let point = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
    let exponent = exponent.parse().unwrap_or(0) + point(whole.len()) - point(zeros) - 1;
    let (first, rest) = digits
        .trim_end_matches('0')
        .split_at_checked(1)
        .unwrap_or(("0", ""));
    let dot = if rest.is_empty() { "" } else { "." };
    let direction = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{dot}{rest}e{direction}{:02}", exponent.abs())
}

/// A double printed with ten decimals and read back as pandas' ujson does both: Data-Juicer 1.6.1
/// passes every stat through this before a filter decides. `None` where it gives null.
///
/// Source: observed behaviour of datasets 5.2.0 with pandas 3.1.1; the reader multiplies the
/// decimal digits by a power of ten and adds, so that 0.3 comes back as 0.30000000000000004.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "the magnitudes are checked first; the tie is exact, as in the peer"
)]
pub fn ujson_round_trip(value: f64) -> Option<f64> {
    const DECIMALS: u32 = 10;
    const SCALE: f64 = 1e10;
    const POWERS: [f64; 11] = [
        1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10,
    ];
    if !value.is_finite() {
        return None;
    }
    let magnitude = value.abs();
    if magnitude > 1e16 - 1.0 {
        // Printed as %.10g.
        return format!("{value:.9e}").parse().ok();
    }
    let mut whole = magnitude.trunc();
    let scaled = (magnitude - whole) * SCALE;
    let mut digits = scaled as u64;
    let rest = scaled - digits as f64;
    if rest > 0.5 || (rest == 0.5 && (digits == 0 || digits % 2 == 1)) {
        digits += 1;
    }
    if digits as f64 >= SCALE {
        digits = 0;
        whole += 1.0;
    }
    let mut places = DECIMALS;
    while places > 1 && digits.is_multiple_of(10) {
        digits /= 10;
        places -= 1;
    }
    let power = POWERS.get(places as usize).copied().unwrap_or(0.0);
    let read = whole + digits as f64 * power;
    Some(if value.is_sign_negative() {
        -read
    } else {
        read
    })
}

/// A text as Python's `float` reads it, but for digits outside of ASCII: white space around it,
/// single underscores between digits, and inf, infinity and nan in any case are accepted.
#[must_use]
pub fn parse_python_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c));
    if !text.contains('_') {
        return text.parse().ok();
    }
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_digit)
    };
    let separates = |at: usize| digit(at.checked_sub(1)) && digit(at.checked_add(1));
    if text.match_indices('_').all(|(at, _)| separates(at)) {
        text.replace('_', "").parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same from the digits of the standard library.
    fn plain(value: f64) -> String {
        if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
            let text = value.to_string();
            return if text.contains('.') {
                text
            } else {
                text + ".0"
            };
        }
        scientific(&format!("{value:e}"))
    }

    proptest! {
        #[test]
        fn floats_have_the_shortest_digits(
            any in any::<f64>().prop_filter("NaN is no number", |value| value.is_finite()),
            (part, whole) in (0_u32..5000, 1_u32..5000),
            digits in 0_u32..100_000_000,
            shift in -40..40_i32,
        ) {
            let near = f64::from(digits) * 10_f64.powi(shift);
            for value in [any, f64::from(part) / f64::from(whole), near, -near, near.round()] {
                let text = python_float(value);
                let plain = plain(value);
                // Of two that are as short and as near the even one is right.
                let digits = text.split('e').next().unwrap_or_default();
                let even = digits.ends_with(['0', '2', '4', '6', '8']);
                prop_assert!(text == plain || (even && text.len() == plain.len()), "{text} {plain}");
                prop_assert_eq!(text.parse(), Ok(value));
            }
        }
    }

    #[test]
    fn stats_round_as_in_the_peer() {
        for (value, read) in [
            (0.3, 0.300_000_000_000_000_04),
            (0.6, 0.600_000_000_000_000_1),
            (0.35, 0.350_000_000_000_000_03),
            (2.0 / 3.0, 0.666_666_666_700_000_1),
            (0.0, 0.0),
            (1.0, 1.0),
            (-0.5, -0.5),
        ] {
            assert_eq!(ujson_round_trip(value), Some(read));
        }
        assert_eq!(ujson_round_trip(f64::NAN), None);
    }

    #[test]
    fn floats_print_as_in_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-7, "1e-07"),
            (1e16, "1e+16"),
            (123_456.789, "123456.789"),
            (0.0001, "0.0001"),
            (2.5e-300, "2.5e-300"),
            (-1.5, "-1.5"),
            (770_895_462_634_846.2, "770895462634846.2"),
            (524_288.000_488_281_2, "524288.0004882812"),
            (0.062_503_814_697_265_62, "0.06250381469726562"),
            (1e-5, "1e-05"),
            (0.000_012_5, "1.25e-05"),
            (-1.25e22, "-1.25e+22"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }
}
