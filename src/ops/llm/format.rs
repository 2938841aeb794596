//! Templates with fields in braces, as Python's `str.format` fills them.

use std::borrow::Cow;

use crate::op::ParamError;

/// A text with fields in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Words(String),
    Field(String),
}

impl Format {
    /// Reads the template that the parameter `param` gives, or `default`. Its fields must be among
    /// `known`; those without a name are called by their numbers, from `0`.
    ///
    /// # Errors
    /// If it is no template, or names another field.
    pub fn of(
        param: &str,
        given: Option<&String>,
        default: &str,
        known: &[&str],
    ) -> Result<Self, ParamError> {
        let written = given.filter(|text| !text.is_empty());
        let format = Self::read(param, written.map_or(default, String::as_str))?;
        let mut fields = format.fields();
        match fields.find(|field| !known.contains(field)) {
            None => Ok(Self {
                parts: format.parts.clone(),
            }),
            Some(other) => Err(ParamError::new(
                param,
                format!("{param} has the field '{{{other}}}'"),
            )
            .hint(format!(
                "it may have {}; write {{{{ and }}}} for braces",
                shown(known)
            ))),
        }
    }

    /// Reads a template with any fields.
    ///
    /// # Errors
    /// If it is none: a brace alone, or a field with a conversion, a format or a part of it.
    pub fn read(param: &str, written: &str) -> Result<Self, ParamError> {
        let refused = |what: &str| {
            ParamError::new(param, format!("{param} {what}"))
                .hint("name fields in braces, e.g. {text}; write {{ and }} for braces")
        };
        let mut parts = Vec::new();
        let mut words = String::new();
        let mut unnamed = 0;
        let mut chars = written.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    words.push(c);
                }
                '}' => return Err(refused("has a brace that was not opened")),
                '{' => {
                    let mut field = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some(c) => field.push(c),
                            None => return Err(refused("has a brace that is not closed")),
                        }
                    }
                    if field.contains(['!', ':', '[', '{', '"', '\n']) {
                        return Err(refused(&format!(
                            "has the field '{field}', which is no name"
                        )));
                    }
                    if field.is_empty() {
                        field = unnamed.to_string();
                        unnamed += 1;
                    }
                    if !words.is_empty() {
                        parts.push(Part::Words(std::mem::take(&mut words)));
                    }
                    parts.push(Part::Field(field));
                }
                c => words.push(c),
            }
        }
        if !words.is_empty() {
            parts.push(Part::Words(words));
        }
        Ok(Self { parts })
    }

    /// The fields that it names, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Words(_) => None,
        })
    }

    /// The text with these values for its fields; nothing for one that has none.
    #[must_use]
    pub fn fill(&self, values: &[(&str, &str)]) -> String {
        let found = |name: &str| values.iter().find(|(field, _)| *field == name);
        let filled = self.try_fill::<()>(|name| {
            Ok(found(name).map_or(Cow::Borrowed(""), |(_, value)| Cow::Borrowed(*value)))
        });
        filled.unwrap_or_default()
    }

    /// The text with what `value` says of each field.
    ///
    /// # Errors
    /// Those of `value`.
    pub fn try_fill<'v, E>(
        &self,
        value: impl Fn(&str) -> Result<Cow<'v, str>, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Words(words) => text.push_str(words),
                Part::Field(name) => text.push_str(&value(name)?),
            }
        }
        Ok(text)
    }
}

fn shown(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_as_python_fills_it() {
        let format = Format::of("t", None, "a {x} {{b}} {x}{y}", &["x", "y"]).unwrap();
        assert_eq!(format.fill(&[("x", "1"), ("y", "{x}")]), "a 1 {b} 1{x}");
        let unnamed = Format::of("t", Some(&"{} and {}".to_owned()), "", &["0", "1"]).unwrap();
        assert_eq!(unnamed.fill(&[("0", "q"), ("1", "a")]), "q and a");
        for wrong in ["{", "}", "{x", "{x!r}", "{x:>3}", "{z}", "{x[0]}"] {
            assert!(
                Format::of("t", Some(&wrong.to_owned()), "", &["x"]).is_err(),
                "{wrong}"
            );
        }
    }
}
