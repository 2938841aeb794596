//! Sizes of files as Data-Juicer writes them in parameters.

use super::ParamError;

/// Bytes of a size as Data-Juicer reads it: its digits make the number, its letters the unit.
///
/// # Errors
/// If there is no number, or the unit is unknown.
pub fn size_param(param: &str, size: &str) -> Result<f64, ParamError> {
    let hint = "write a whole number and a unit, such as 120KB or 20MB";
    let digits: String = size.chars().filter(char::is_ascii_digit).collect();
    let unit: String = size
        .chars()
        .filter(|c| c.is_alphabetic())
        .flat_map(char::to_lowercase)
        .collect();
    let number: f64 = digits.parse().map_err(|_| {
        ParamError::new(param, format!("{param} '{size}' has no number")).hint(hint)
    })?;
    let power = match unit.as_str() {
        "" => 0,
        "kb" | "kib" => 1,
        "mb" | "mib" => 2,
        "gb" | "gib" => 3,
        "tb" | "tib" => 4,
        "pb" | "pib" => 5,
        "eb" | "eib" => 6,
        "zb" | "zib" => 7,
        "yb" | "yib" => 8,
        other => {
            return Err(ParamError::new(
                param,
                format!("{param} '{size}' has an unknown unit '{other}'"),
            )
            .hint(hint));
        }
    };
    Ok(number * 1024_f64.powi(power))
}

/// A number of bytes as a recipe writes it: in the greatest unit in which it is whole.
#[must_use]
pub fn size_text(bytes: f64) -> String {
    let units = ["", "KB", "MB", "GB", "TB", "PB"];
    let mut number = bytes;
    let mut unit = 0;
    while unit + 1 < units.len() && number != 0.0 && (number / 1024.0).fract() == 0.0 {
        number /= 1024.0;
        unit += 1;
    }
    format!("{number}{}", units.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for (bytes, text) in [
            (0.0, "0"),
            (500.0, "500"),
            (1024.0, "1KB"),
            (1536.0, "1536"),
            (20.0 * 1024.0 * 1024.0, "20MB"),
            (1536.0 * 1024.0, "1536KB"),
        ] {
            assert_eq!(size_text(bytes), text);
            assert_eq!(size_param("max_size", text), Ok(bytes));
        }
    }
}
