//! Converts Chinese characters between their standards.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::op::{
    BuildContext, Facts, Operator, ParamError, TextMapper, TextMapperAdapter, operator,
};
use crate::sample::RowError;
use crate::text::opencc::{Converter, Mode};

operator! {
    /// Converts Chinese text between simplified, traditional, Taiwanese, Hong Kong's and Japanese
    /// characters.
    ///
    /// The text is cut into the longest phrases that the mode's dictionary of phrases has, and
    /// what lies between them; each piece is then rewritten by the mode's dictionaries one after
    /// the other, the longest key at each place first. Of a character with several counterparts
    /// the most usual one is taken unless it is part of a phrase. Text in other scripts stays.
    /// A text ends at its first U+0000.
    ///
    /// ## Example
    /// ```yaml
    /// - chinese_convert_mapper: {mode: s2t}
    /// ```
    /// ```json
    /// {"in": {"text": "她的头发发光"}, "out": {"text": "她的頭髮發光"}}
    /// {"in": {"text": "two bicycles"}, "out": {"text": "two bicycles"}}
    /// ```
    ///
    /// ## Peer
    /// Data-Juicer 1.6.1 `chinese_convert_mapper` (OpenCC 1.1.9 and its dictionaries): same.
    chinese_convert_mapper: Mapper(Params) => build,
    Facts::MAPS_TEXT
}

/// Parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// From which standard into which one: `s` simplified, `t` traditional, `tw` Taiwan, `hk`
    /// Hong Kong, `jp` Japan; with `p` at the end words are exchanged as well.
    mode: Mode,
}

struct ChineseConvert {
    converter: Converter,
}

fn build(params: Params, context: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    let converter = Converter::new(params.mode)
        .map_err(|e| ParamError::new("mode", format!("cannot read the dictionaries: {e}")))?;
    Ok(Operator::Mapper(Box::new(TextMapperAdapter::new(
        ChineseConvert { converter },
        context.base.text_key.clone(),
    ))))
}

impl TextMapper for ChineseConvert {
    fn map_text<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, RowError> {
        Ok(self.converter.convert(text))
    }
}

#[cfg(test)]
mod tests {
    use crate::op::testing::check_mapper;

    #[test]
    fn the_mode_decides() {
        let check = |params, expected| {
            check_mapper("chinese_convert_mapper", params, "台湾里的软件", expected);
        };
        check("{}", "臺灣裏的軟件");
        check(r#"{"mode": "s2tw"}"#, "臺灣裡的軟件");
        check(r#"{"mode": "s2twp"}"#, "臺灣裡的軟體");
        check(r#"{"mode": "t2s"}"#, "台湾里的软件");
    }
}
