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
