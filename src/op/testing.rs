//! Running one operator on one row in unit tests.

use std::sync::Arc;

use super::{
    BuildContext, Built, Filter, Mapper, Operator, Outcome, ParamError, Part, Setting, find,
};
use crate::sample::{ImageContext, Origin, Sample};

/// Builds the operator `name` from its defaults and `params`, which are JSON; relative paths start
/// at the package's root.
pub(crate) fn build(name: &str, params: &str) -> Result<Built, Vec<ParamError>> {
    let def = find(name).unwrap();
    let given: serde_json::Map<_, _> = serde_json::from_str(params).unwrap();
    (def.check)(given.clone()).unwrap();
    // The tiny models of the repository.
    let cache = Some("fixtures/cache".into());
    def.build(
        given,
        &BuildContext {
            cache,
            ..BuildContext::default()
        },
    )
}

/// Builds the filter `name`.
pub(crate) fn build_filter(name: &str, params: &str) -> Result<Box<dyn Filter>, Vec<ParamError>> {
    match build(name, params)?.operator {
        Operator::Filter(filter) => Ok(filter),
        _ => panic!("{name} is not a filter"),
    }
}

/// Builds the mapper `name`.
pub(crate) fn build_mapper(name: &str, params: &str) -> Result<Box<dyn Mapper>, Vec<ParamError>> {
    match build(name, params)?.operator {
        Operator::Mapper(mapper) => Ok(mapper),
        _ => panic!("{name} is not a mapper"),
    }
}

fn row(line: String) -> Sample {
    let context = Arc::new(ImageContext::default());
    Sample::parse(line, Origin::default(), context).unwrap()
}

/// Measures a row with this text and compares stats and verdict with `expected`:
/// `{"text_len": 3} drop`.
#[track_caller]
pub(crate) fn check_filter(name: &str, params: &str, text: &str, expected: &str) {
    let line = serde_json::json!({ "text": text }).to_string();
    check_row(name, params, &line, expected);
}

/// The same for a row in JSON; if the row must be refused, `expected` is the code of the error.
#[track_caller]
pub(crate) fn check_row(name: &str, params: &str, line: &str, expected: &str) {
    let built = build(name, params).unwrap();
    let mut row = row(line.to_owned());
    let ran = built
        .operator
        .run(&built.spec, &mut row, &Setting::default());
    let verdict = match ran {
        Ok(Outcome::Goes) => "keep",
        Ok(Outcome::Dropped(_)) => "drop",
        Ok(other) => panic!("{name} is not a filter: {other:?}"),
        Err(e) => {
            assert_eq!(e.code, expected, "{name}: {line}: {e}");
            return;
        }
    };
    let (stats, expected_verdict) = expected.rsplit_once(' ').unwrap();
    let stats: serde_json::Value = serde_json::from_str(stats).unwrap();
    assert_eq!(
        (row.stats.to_json(), verdict),
        (stats, expected_verdict),
        "{name}: {line}"
    );
}

/// Maps a row with this text and compares its text with `expected`.
#[track_caller]
pub(crate) fn check_mapper(name: &str, params: &str, text: &str, expected: &str) {
    let built = build(name, params).unwrap();
    let mut row = row(serde_json::json!({ "text": text }).to_string());
    let ran = built
        .operator
        .run(&built.spec, &mut row, &Setting::default());
    assert!(matches!(ran, Ok(Outcome::Goes)), "{name}: {ran:?}");
    assert_eq!(
        row.required_text(&"text".into()).unwrap(),
        expected,
        "{name} {params} {text:?}"
    );
}

/// Makes parts of a row with this text and compares their texts, or the code of the error.
#[track_caller]
pub(crate) fn check_parts(name: &str, params: &str, text: &str, expected: Result<&[&str], &str>) {
    let built = build(name, params).unwrap();
    let mut row = row(serde_json::json!({ "text": text }).to_string());
    let ran = built
        .operator
        .run(&built.spec, &mut row, &Setting::default());
    let texts: Result<Vec<String>, _> = ran.map(|outcome| {
        let Outcome::Parts(parts) = outcome else {
            panic!("{name} does not make several rows of one");
        };
        let part_of = |part: Part| part.of(&row, 0).unwrap();
        let text_of = |part: Sample| part.required_text(&"text".into()).unwrap().into_owned();
        parts
            .into_iter()
            .map(|part| text_of(part_of(part)))
            .collect()
    });
    match (&texts, expected) {
        (Ok(texts), Ok(expected)) => assert_eq!(texts, expected, "{name} {params} {text:?}"),
        (Err(e), Err(code)) => assert_eq!(e.code, code),
        _ => panic!("{name} {params} {text:?}: {texts:?}"),
    }
}
