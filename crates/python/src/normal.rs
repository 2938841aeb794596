//! Unicode normal forms as Python 3.11 has them, that is, with the tables of Unicode 14.0.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

/// A Unicode normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Form {
    /// Canonical composition.
    #[default]
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility decomposition, then composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
}

impl Form {
    /// `text` in this form.
    #[must_use]
    pub fn normalize(self, text: &str) -> Cow<'_, str> {
        if text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let chars = text.chars();
        let quick = match self {
            Self::Nfc => is_nfc_quick(chars),
            Self::Nfd => is_nfd_quick(chars),
            Self::Nfkc => is_nfkc_quick(chars),
            Self::Nfkd => is_nfkd_quick(chars),
        };
        if quick == IsNormalized::Yes {
            return Cow::Borrowed(text);
        }
        Cow::Owned(self.rewrite(text))
    }

    /// The plain version of [`Form::normalize`].
    fn rewrite(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        // To Unicode 14.0 a later character is one that nothing happens to and nothing passes.
        while let Some((at, newer)) = rest.char_indices().find(|&(_, c)| is_newer(c)) {
            self.push(rest.get(..at).unwrap_or_default(), &mut out);
            out.push(newer);
            rest = rest.get(at + newer.len_utf8()..).unwrap_or_default();
        }
        self.push(rest, &mut out);
        out
    }

    fn push(self, text: &str, out: &mut String) {
        match self {
            Self::Nfc => out.extend(text.nfc()),
            Self::Nfd => out.extend(text.nfd()),
            Self::Nfkc => out.extend(text.nfkc()),
            Self::Nfkd => out.extend(text.nfkd()),
        }
    }
}

/// Whether `c` takes part in normalisation today but was unassigned in Unicode 14.0. Found by
/// comparing the tables of the `unicode-normalization` crate (Unicode 18.0) with Python 3.11's.
fn is_newer(c: char) -> bool {
    matches!(
        c,
        '\u{558}' | '\u{58b}'..='\u{58c}' | '\u{5c8}'..='\u{5c9}' | '\u{897}'
            | '\u{1acf}'..='\u{1af0}' | '\u{209d}'..='\u{209f}' | '\u{a7f1}'
            | '\u{105c9}' | '\u{105d2}' | '\u{105da}' | '\u{105e4}' | '\u{107bb}'..='\u{107bf}'
            | '\u{10d69}'..='\u{10d6d}' | '\u{10ecb}'..='\u{10ecf}' | '\u{10ef0}'..='\u{10efb}'
            | '\u{10efd}'..='\u{10eff}' | '\u{11383}' | '\u{11385}' | '\u{1138e}' | '\u{11391}'
            | '\u{113b8}' | '\u{113bb}' | '\u{113c2}' | '\u{113c5}' | '\u{113c7}'..='\u{113c9}'
            | '\u{113ce}'..='\u{113d0}' | '\u{11f41}'..='\u{11f42}' | '\u{1611e}'..='\u{16129}'
            | '\u{1612f}' | '\u{16d67}'..='\u{16d6a}' | '\u{1b123}'..='\u{1b126}'
            | '\u{1ccd6}'..='\u{1ccf9}' | '\u{1d127}'..='\u{1d128}' | '\u{1d250}'..='\u{1d252}'
            | '\u{1d25b}'..='\u{1d25c}' | '\u{1d25f}' | '\u{1d280}'..='\u{1d281}' | '\u{1d6a6}'
            | '\u{1df95}' | '\u{1dfcd}'..='\u{1dfff}' | '\u{1e030}'..='\u{1e06d}' | '\u{1e08f}'
            | '\u{1e4ec}'..='\u{1e4ef}' | '\u{1e5ee}'..='\u{1e5ef}' | '\u{1e6e3}' | '\u{1e6e6}'
            | '\u{1e6ee}'..='\u{1e6ef}' | '\u{1e6f5}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_after_unicode_14_stay() {
        assert_eq!(Form::Nfkc.normalize("\u{1e030}é²"), "\u{1e030}é2");
        assert_eq!(Form::Nfc.normalize("\u{105d2}\u{307}"), "\u{105d2}\u{307}");
    }

    proptest! {
        #[test]
        fn normal_text_is_borrowed_only_if_nothing_changes(text in "(?s)[a-zé\u{300}-\u{330}가-각ｱ-ﾟ\u{1100}-\u{11ff}²\u{105d2}\u{1e030}]{0,12}") {
            for form in [Form::Nfc, Form::Nfd, Form::Nfkc, Form::Nfkd] {
                prop_assert_eq!(form.normalize(&text), form.rewrite(&text));
            }
        }
    }
}
