//! Text and numbers on the page. What means something in HTML is escaped by the templates.

use crate::report::table::thousands;

/// The page without control characters, which may not stand in HTML, and without those that turn
/// the direction of text and would reach beyond the caption that holds them.
pub(super) fn plain(page: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    page.chars().map(shown).collect()
}

/// The first `most` characters of `text`, and how many there are if that is not all.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let total = text.chars().count();
    if total <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most).collect();
    format!("{start}… ({} characters)", thousands(total as u64))
}

/// A measured value: whole numbers with separators, others with four significant digits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and below 2^53"
)]
pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        let digits = thousands(value.abs() as u64);
        return if value < 0.0 {
            format!("−{digits}")
        } else {
            digits
        };
    }
    if !value.is_finite() {
        return "–".to_owned();
    }
    let exponent = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&exponent) {
        return format!("{value:.3e}").replace('-', "−");
    }
    if value.abs() >= 999.95 && exponent < 9.0 {
        return number(value.round());
    }
    let decimals = (3.0 - exponent).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    text.replace('-', "−")
}

/// `part` of `whole` as a percentage.
#[expect(clippy::cast_precision_loss, reason = "shown rounded")]
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = part as f64 / whole as f64 * 100.0;
    if part > 0 && share < 0.05 {
        "< 0.1 %".to_owned()
    } else if part < whole && share > 99.95 {
        "> 99.9 %".to_owned()
    } else {
        format!("{share:.1} %")
    }
}

/// `1 row`, `2 rows`.
pub(super) fn count(number: u64, one: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {one}{s}", thousands(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_caption_is_markup() {
        let caption = "<script>alert(\"1\" & '2')</script>\u{0}\u{202e}x\n";
        let page = maud::html! { p title=(caption) { (caption) } };
        let text = "&lt;script&gt;alert(&quot;1&quot; &amp; '2')&lt;/script&gt;\u{fffd}\u{fffd}x\n";
        assert_eq!(
            plain(&page.into_string()),
            format!("<p title=\"{text}\">{text}</p>")
        );
    }

    #[test]
    fn numbers_are_short_and_true() {
        assert_eq!(number(1_048_605.0), "1,048,605");
        assert_eq!(number(-3.0), "−3");
        assert_eq!(number(0.090_909), "0.09091");
        assert_eq!(number(0.5), "0.5");
        assert_eq!(number(12.345_6), "12.35");
        assert_eq!(number(-5309.39), "−5,309");
        assert_eq!(number(999.96), "1,000");
        assert_eq!(number(1e-9), "1.000e−9");
        assert_eq!(percent(1, 400_000), "< 0.1 %");
        assert_eq!(percent(1, 4), "25.0 %");
        assert_eq!(shorten("äbcd", 2), "äb… (4 characters)");
    }
}
