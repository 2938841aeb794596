//! Numbers as Python prints them.

/// `repr(float)`: the shortest digits that read back, fixed notation from 1e-4 up to below 1e16,
/// else an exponent of two digits or more; whole numbers end in `.0`.
#[must_use]
pub fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e16).contains(&magnitude) {
        let text = value.to_string();
        return if text.contains('.') {
            text
        } else {
            text + ".0"
        };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
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

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(python_float(value), text);
        }
    }
}
