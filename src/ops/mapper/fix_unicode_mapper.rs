//! Repairs mojibake and untidy characters.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::{ftfy, normal::Form};

operator! {
    /// Repairs text that was decoded wrongly and normalises its characters.
    ///
    /// Gives the answer of ftfy 6.3.1's `fix_text` with its defaults and `normalization`. The text
    /// is cut after every line feed. Each line passes these steps until none changes it: HTML
    /// entities that end in a semicolon are decoded (not in, or after, a line with a `<`); mojibake
    /// is undone; C1 controls are read as Windows-1252; Latin ligatures become letters; full-width
    /// and half-width forms become ordinary ones; curled quotes become straight; CR LF, CR, U+2028
    /// and U+2029 become line feeds; terminal escapes and invisible controls go; the line is
    /// normalised.
    ///
    /// ## Example
    /// ```yaml
    /// - fix_unicode_mapper:
    /// ```
    /// ```json
    /// {"in": {"text": "âœ” No problems"}, "out": {"text": "✔ No problems"}}
    /// {"in": {"text": "l’humanitÃ© ﬁnale &hellip;"}, "out": {"text": "l'humanité finale …"}}
    /// {"in": {"text": "plain text"}, "out": {"text": "plain text"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `fix_unicode_mapper` (ftfy 6.3.1 on Python 3.11, Unicode 14.0): same.
    fix_unicode_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Unicode normal form of the result, in any case: `NFC`, `NFKC`, `NFD` or `NFKD`. Missing or
    /// empty means `NFC`.
    normalization: Option<String>,
}

struct FixUnicode {
    form: Form,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let name = params.normalization.unwrap_or_default();
    let form = match name.to_uppercase().as_str() {
        "" | "NFC" => Form::Nfc,
        "NFD" => Form::Nfd,
        "NFKC" => Form::Nfkc,
        "NFKD" => Form::Nfkd,
        _ => {
            return Err(vec![
                ParamError::new("normalization", format!("{name:?} is not a normal form"))
                    .hint("use NFC, NFKC, NFD or NFKD"),
            ]);
        }
    };
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        FixUnicode { form },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for FixUnicode {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        Ok(ftfy::fix_text(text, self.form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: Form, input: &str, expected: &str) {
        assert_eq!(FixUnicode { form }.map_text(input).unwrap(), expected);
    }

    #[test]
    fn the_form_is_chosen() {
        check(Form::Nfc, "e\u{301}", "é");
        check(Form::Nfd, "é", "e\u{301}");
        check(Form::Nfkc, "x²", "x2");
    }

    #[test]
    fn forms_are_read_in_any_case() {
        let build = |form: &str| {
            build(
                Params {
                    normalization: Some(form.into()),
                },
                &BuildContext::default(),
            )
        };
        assert!(build("nfkd").is_ok() && build("").is_ok());
        assert_eq!(
            build("x").err().unwrap()[0].param.as_deref(),
            Some("normalization")
        );
    }
}
