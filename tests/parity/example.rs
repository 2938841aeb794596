//! Runs the `## Example` of an operator's page: a YAML block with one step, then a JSON block.
//!
//! The JSON block holds either lines `{"in": row, "out": row or null, "stats": {…}?}` (mappers
//! and filters; `null` means dropped; `out` is a list for mappers that make several rows of one) or `{"rows": [rows], "out": [rows]}` (operators that see
//! all rows). `"said": [texts]` is what a server answers, in turn. Paths start at the repository's
//! root.

use djr::op::{Answer, Built, OpDef, Operator, Outcome, Said, Setting};
use djr::sample::{RowError, Sample};
use serde_json::{Map, Value};

use crate::case::{self, Suite};
use crate::replay::{self, Rows};
use crate::yaml;

/// The operator as its page's example builds it.
///
/// # Errors
/// If the page has no example, or it does not build.
pub fn built(def: &OpDef, suite: &Suite) -> Result<(Built, Map<String, Value>), String> {
    let (step, _) = blocks(def)?;
    let params = params_of(&step, def.name)?;
    Ok((replay::build(def, suite, &params)?, params))
}

/// Runs the example; the number of lines that held, or what is wrong.
pub fn run(def: &OpDef) -> Result<usize, Vec<String>> {
    let one = |message: String| vec![message];
    let (step, lines) = blocks(def).map_err(one)?;
    let params = params_of(&step, def.name).map_err(one)?;
    let suite = Suite::golden();
    let built = replay::build(def, &suite, &params).map_err(one)?;
    let lines: Vec<Value> = serde_json::Deserializer::from_str(&lines)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|e| one(format!("the json block: {e}")))?;
    if lines.is_empty() {
        return Err(one("the json block is empty".to_owned()));
    }
    let problems: Vec<_> = lines
        .iter()
        .filter_map(|line| {
            let found = check(&built, &suite, &params, line).err()?;
            Some(format!("{line}: {found}"))
        })
        .collect();
    if problems.is_empty() {
        Ok(lines.len())
    } else {
        Err(problems)
    }
}

/// The YAML and the JSON block below `## Example`.
fn blocks(def: &OpDef) -> Result<(String, String), String> {
    let lines: Vec<_> = def
        .docs
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .skip_while(|line| line.trim() != "## Example")
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .collect();
    let block = |kind: &str| {
        let body: Vec<_> = lines
            .iter()
            .skip_while(|line| line.trim() != format!("```{kind}"))
            .skip(1)
            .take_while(|line| line.trim() != "```")
            .copied()
            .collect();
        if body.is_empty() {
            Err(format!("its page has no ## Example with a {kind} block"))
        } else {
            Ok(body.join("\n"))
        }
    };
    Ok((block("yaml")?, block("json")?))
}

/// The parameters of the single step called `name`.
fn params_of(step: &str, name: &str) -> Result<Map<String, Value>, String> {
    let wrong = || format!("the yaml block is not one step `- {name}: {{…}}`");
    let Value::Array(mut steps) = yaml::read(step)? else {
        return Err(wrong());
    };
    let Some(Value::Object(mut step)) = steps.pop().filter(|_| steps.is_empty()) else {
        return Err(wrong());
    };
    match step.shift_remove(name) {
        Some(Value::Object(params)) if step.is_empty() => Ok(params),
        Some(Value::Null) if step.is_empty() => Ok(Map::new()),
        _ => Err(wrong()),
    }
}

/// Runs the operator on a row; what it asks a server is answered so.
fn answered(built: &Built, sample: &mut Sample, said: &[Value]) -> Result<Outcome, RowError> {
    if said.is_empty() {
        return replay::run_row(built, sample);
    }
    let mut texts = said.iter();
    let mut answers: Vec<Answer> = Vec::new();
    loop {
        let setting = Setting {
            answers: (!answers.is_empty()).then_some(answers.as_slice()),
            ..Setting::default()
        };
        match built.operator.run(&built.spec, sample, &setting)? {
            Outcome::Asks(requests) => {
                for _ in requests {
                    let text = texts.next().and_then(Value::as_str);
                    let text =
                        text.ok_or_else(|| RowError::new("asks", "asks more than is said"))?;
                    answers.push(Answer::Said(Said {
                        text: text.to_owned(),
                        ..Said::default()
                    }));
                }
            }
            outcome => return Ok(outcome),
        }
    }
}

fn check(
    built: &Built,
    suite: &Suite,
    params: &Map<String, Value>,
    line: &Value,
) -> Result<(), String> {
    let (base, _) = case::split(params);
    let context = suite.image_context(&base);
    let out = line.get("out").ok_or("it has no \"out\"")?;
    if let Some(Value::Array(input)) = line.get("rows") {
        let rows = Rows { input, context };
        let left: Vec<_> = match &built.operator {
            Operator::Census(op) => {
                replay::edited(built, op.as_ref(), &rows).map_err(|e| e.to_string())?
            }
            Operator::Grouper(_) => replay::groups(built, &rows).map_err(|e| e.to_string())?,
            _ => replay::survivors(built, &rows)?
                .into_iter()
                .filter_map(|row| input.get(row).cloned())
                .collect(),
        };
        let left = Value::Array(left);
        return if left == *out {
            Ok(())
        } else {
            Err(format!("gives {}", replay::visible(&left)))
        };
    }
    let input = std::slice::from_ref(line.get("in").ok_or("it has neither \"in\" nor \"rows\"")?);
    let rows = Rows { input, context };
    let mut sample = rows.sample(0).map_err(|e| e.to_string())?;
    let said = line.get("said").and_then(Value::as_array);
    let said = said.map(Vec::as_slice).unwrap_or_default();
    if let Operator::Expander(_) = &built.operator {
        let made = match answered(built, &mut sample, said).map_err(|e| e.to_string())? {
            Outcome::Parts(parts) => (0..)
                .zip(parts)
                .map(|(number, part)| part.of(&sample, number).map(|part| replay::written(&part)))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| e.to_string())?,
            other => return Err(format!("makes no rows: {other:?}")),
        };
        return if Value::Array(made.clone()) == *out {
            Ok(())
        } else {
            Err(format!("gives {}", replay::visible(&Value::Array(made))))
        };
    }
    let kept = match answered(built, &mut sample, said).map_err(|e| e.to_string())? {
        Outcome::Goes => true,
        Outcome::Dropped(_) => false,
        _ => return Err("it works on many rows: give \"rows\"".to_owned()),
    };
    let left = if kept {
        replay::written(&sample)
    } else {
        Value::Null
    };
    if left != *out {
        return Err(format!("gives {}", replay::visible(&left)));
    }
    let stats = sample.stats.to_json();
    match line.get("stats") {
        Some(expected) if *expected != stats => Err(format!("measures {stats}")),
        _ => Ok(()),
    }
}
