//! Running one operator on one row in unit tests.

use std::sync::Arc;

use super::{BuildContext, Filter, Mapper, Operator, ParamError, Part, Verdict, find};
use crate::sample::{ImageContext, Origin, Sample};

/// Builds the filter `name` from parameters in JSON; relative paths start at the package's root.
pub(crate) fn build_filter(name: &str, params: &str) -> Result<Box<dyn Filter>, Vec<ParamError>> {
    let def = find(name).unwrap();
    let params: serde_json::Map<_, _> = serde_json::from_str(params).unwrap();
    (def.check)(params.clone()).unwrap();
    // The tiny models of the repository.
    let context = BuildContext {
        cache: Some("fixtures/cache".into()),
        ..BuildContext::default()
    };
    match (def.build)(params, &context)? {
        Operator::Filter(filter) => Ok(filter),
        _ => panic!("{name} is not a filter"),
    }
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
    let filter = build_filter(name, params).unwrap();
    let context = Arc::new(ImageContext::default());
    let mut row = Sample::parse(line.to_owned(), Origin::default(), context).unwrap();
    let judged = filter.measure(&row).and_then(|measured| {
        assert_eq!(measured.len(), filter.stats().len(), "one value a stat");
        for (key, value) in filter.stats().iter().zip(measured) {
            row.stats.set(key.clone(), value);
        }
        filter.decide_row(&row)
    });
    let verdict = match judged {
        Ok(Verdict::Keep) => "keep",
        Ok(Verdict::Drop(_)) => "drop",
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

/// Builds the mapper `name` from parameters in JSON.
pub(crate) fn build_mapper(name: &str, params: &str) -> Result<Box<dyn Mapper>, Vec<ParamError>> {
    let def = find(name).unwrap();
    let params: serde_json::Map<_, _> = serde_json::from_str(params).unwrap();
    (def.check)(params.clone()).unwrap();
    match (def.build)(params, &BuildContext::default())? {
        Operator::Mapper(mapper) => Ok(mapper),
        _ => panic!("{name} is not a mapper"),
    }
}

/// Maps a row with this text and compares its text with `expected`.
#[track_caller]
pub(crate) fn check_mapper(name: &str, params: &str, text: &str, expected: &str) {
    let mapper = build_mapper(name, params).unwrap();
    let line = serde_json::json!({ "text": text }).to_string();
    let context = Arc::new(ImageContext::default());
    let mut row = Sample::parse(line, Origin::default(), context).unwrap();
    mapper.apply(&mut row).unwrap();
    assert_eq!(
        row.required_text(&"text".into()).unwrap(),
        expected,
        "{name} {params} {text:?}"
    );
}

/// Makes parts of a row with this text and compares their texts, or the code of the error.
#[track_caller]
pub(crate) fn check_parts(name: &str, params: &str, text: &str, expected: Result<&[&str], &str>) {
    let def = find(name).unwrap();
    let given: serde_json::Map<_, _> = serde_json::from_str(params).unwrap();
    let Operator::Expander(op) = (def.build)(given, &BuildContext::default()).unwrap() else {
        panic!("{name} does not make several rows of one");
    };
    let line = serde_json::json!({ "text": text }).to_string();
    let context = Arc::new(ImageContext::default());
    let row = Sample::parse(line, Origin::default(), context).unwrap();
    let texts: Result<Vec<String>, _> = op.parts(&row).map(|parts| {
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
