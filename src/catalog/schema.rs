//! The JSON Schema of a recipe, for editors.

use serde_json::{Map, Value, json};

use super::pages;
use crate::op::{self, DataLimit, Family, Keep, Merge, OpDef};
use crate::recipe::peer_ops::{PEER_OPS, PeerOp};
use crate::recipe::{BASE_KEYS, FUSED, FUSED_LIST, KEYS, Kind, Role, output_keys};

/// The JSON Schema (draft 2020-12) of a whole recipe.
#[must_use]
pub fn recipe_schema() -> Value {
    let mut definitions = Map::new();
    let mut steps = Map::new();
    let mut names = Vec::new();
    for def in op::all() {
        names.push(def.name);
        steps.insert(def.name.to_owned(), parameters(def, &mut definitions));
    }
    let lacking = |peer: &&PeerOp| op::find(peer.name).is_none() && peer.name != FUSED;
    for peer in PEER_OPS.iter().filter(lacking) {
        names.push(peer.name);
        let mut schema = json!({"type": ["object", "null"]});
        describe(
            &mut schema,
            "It runs in Data-Juicer, which knows its parameters.",
        );
        steps.insert(peer.name.to_owned(), schema);
    }
    steps.insert(FUSED.to_owned(), fused());

    let mut properties = Map::new();
    let mut groups: Map<String, Value> = Map::new();
    for key in KEYS {
        let mut schema = match key.name {
            "process" => process(&steps, &names),
            "outputs" => outputs(),
            _ => nullable(kind_schema(key.kind)),
        };
        describe(&mut schema, &described(key.role, key.doc));
        if let Some((group, name)) = key.name.split_once('.')
            && let Value::Object(group) = groups
                .entry(group)
                .or_insert_with(|| Value::Object(Map::new()))
        {
            group.insert(name.to_owned(), schema.clone());
        }
        properties.insert(key.name.to_owned(), schema);
    }
    for (group, inner) in groups {
        properties.insert(
            group,
            json!({"type": ["object", "null"], "properties": inner, "additionalProperties": false}),
        );
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "djr recipe",
        "description": "A recipe of djr: Data-Juicer 1.6.1's keys and operators, and djr's own.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions,
    })
}

fn described(role: Role, doc: &str) -> String {
    match role {
        Role::Used | Role::Own => doc.to_owned(),
        Role::Ignored(why) => format!("{doc} Ignored: {why}."),
        Role::Refused(why) => format!("{doc} Not supported: {why}."),
    }
}

fn describe(schema: &mut Value, text: &str) {
    if let Value::Object(schema) = schema {
        schema.insert("description".into(), text.into());
    }
}

fn process(steps: &Map<String, Value>, names: &[&str]) -> Value {
    json!({
        "type": ["array", "null"],
        "items": {
            "anyOf": [
                {"enum": names},
                {
                    "type": "object",
                    "properties": steps,
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        },
    })
}

/// The step that stands for several.
fn fused() -> Value {
    let mut properties = Map::new();
    for base in BASE_KEYS.iter().filter(|base| base.family.is_none()) {
        let mut schema = nullable(kind_schema(base.kind));
        describe(&mut schema, "Accepted and without effect.");
        properties.insert(base.name.to_owned(), schema);
    }
    properties.insert(
        FUSED_LIST.to_owned(),
        json!({
            "$ref": "#/properties/process",
            "description": "Mappers and filters that run one after the other.",
        }),
    );
    json!({
        "description": "Runs the mappers and filters that it lists, as if they stood in its place.",
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn outputs() -> Value {
    let mut properties = Map::new();
    for (key, formats) in output_keys() {
        let mut schema = nullable(kind_schema(key.kind));
        describe(&mut schema, &pages::output_key_meaning(&key, &formats));
        properties.insert(key.name.to_owned(), schema);
    }
    json!({
        "type": ["array", "null"],
        "items": {
            "type": "object",
            "properties": properties,
            "required": ["path"],
            "additionalProperties": false,
        },
    })
}

/// The parameters of an operator, its own and the common ones. Definitions it refers to move to
/// the recipe's, under names that say whose they are.
fn parameters(def: &OpDef, definitions: &mut Map<String, Value>) -> Value {
    let mut own = (def.schema)().to_value();
    rename(&mut own, def.name);
    let mut properties = Map::new();
    if let Value::Object(own) = own {
        for (key, value) in own {
            match (key.as_str(), value) {
                ("$defs", Value::Object(inner)) => {
                    for (name, schema) in inner {
                        definitions.insert(format!("{}.{name}", def.name), schema);
                    }
                }
                ("properties", Value::Object(inner)) => properties = inner,
                _ => {}
            }
        }
    }
    for (name, property) in &mut properties {
        // A mark for djr alone.
        if let Some(property) = property.as_object_mut() {
            property.remove("x-truncated");
        }
        if def.family == Family::Filter && def.bound(name).is_some() {
            or_from_data(property);
        }
    }
    for base in BASE_KEYS {
        let foreign = base.family.is_some_and(|family| family != def.family);
        if foreign || properties.contains_key(base.name) {
            continue;
        }
        let mut schema = nullable(kind_schema(base.kind));
        describe(&mut schema, base.doc);
        match (base.name, def.family) {
            ("keep", Family::Deduplicator) => schema["anyOf"] = survivors(),
            ("keep", _) => schema["pattern"] = Keep::PATTERN.into(),
            ("merge", _) => schema["additionalProperties"] = json!({"enum": MERGES}),
            _ => {}
        }
        properties.insert(base.name.to_owned(), schema);
    }
    json!({
        "description": def.docs.first().map_or("", |line| line.trim()),
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

/// How a field is taken over.
const MERGES: [&str; 3] = [Merge::List.word(), Merge::Sum.word(), Merge::First.word()];

/// Which duplicate stays.
fn survivors() -> Value {
    let end = |name: &str| {
        json!({
            "type": "object",
            "properties": {name: {"type": "string", "minLength": 1}},
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!([{"enum": ["first", "longest", null]}, end("max"), end("min")])
}

/// A bound that is a number may also be a place in the data; one that is a text, such as a size, is
/// not told apart here.
fn or_from_data(property: &mut Value) {
    let Some(Value::Array(types)) = property.get_mut("type") else {
        return;
    };
    if types.iter().any(|kind| kind == "string") {
        return;
    }
    types.push("string".into());
    property["pattern"] = DataLimit::PATTERN.into();
}

fn rename(schema: &mut Value, owner: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(name) = reference.strip_prefix("#/$defs/") {
                            *reference = format!("#/$defs/{owner}.{name}");
                        }
                    }
                    other => rename(other, owner),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                rename(item, owner);
            }
        }
        _ => {}
    }
}

fn kind_schema(kind: Kind) -> Value {
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int => json!({"type": "integer"}),
        Kind::Positive => json!({"type": "integer", "minimum": 1}),
        Kind::Natural => json!({"type": "integer", "minimum": 0}),
        Kind::PositiveOrAuto => {
            json!({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]})
        }
        Kind::Number => json!({"type": "number"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Texts => {
            json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
        Kind::TextList => json!({"type": "array", "items": {"type": "string"}}),
        Kind::NumberList => json!({"type": "array", "items": {"type": "number"}}),
        Kind::MapList => json!({"type": "array", "items": {"type": "object"}}),
        Kind::Map => json!({"type": "object"}),
        Kind::MapOrList => json!({"type": ["object", "array"]}),
        Kind::Bytes => json!({"anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^[0-9][0-9._]* *([kKmMgGtT][iI]?)?[bB]?$"},
        ]}),
        Kind::Limit => json!({"anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^([0-9.]+ *%|[0-9]+|none)$"},
        ]}),
        Kind::Word(words) => json!({"enum": words}),
        Kind::Any => json!({}),
    }
}

/// A key that is there but empty counts as absent.
fn nullable(schema: Value) -> Value {
    match schema {
        Value::Object(map) if map.is_empty() => Value::Object(map),
        other => json!({"anyOf": [other, {"type": "null"}]}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_accepts_what_the_loader_accepts_and_refuses_what_it_refuses() {
        let validator = jsonschema::validator_for(&recipe_schema()).unwrap();
        for good in [
            json!({"np": 4, "process": [{"text_length_filter": null}, "text_length_filter"]}),
            json!({"process": [{"text_length_filter": {"min_len": 5, "num_proc": 4, "text_key": "t"}}]}),
            json!({"outputs": [{"format": "llava", "path": "o.json", "sample": 5}], "max_memory": "2GB"}),
            json!({"process": [{"text_length_filter": {"min_len": "p5", "max_len": "-1.5sigma", "keep": "best 5%"}}]}),
            json!({"checkpoint": {"n_ops": 3}, "partition.mode": "auto", "work_dir": null}),
            json!({"process": [{"general_fused_op": {"fused_op_list": [{"text_length_filter": {"min_len": 2}}, "clean_ip_mapper"]}}]}),
        ] {
            assert!(validator.is_valid(&good), "{good}");
        }
        for bad in [
            json!({"nps": 4}),
            json!({"np": "four"}),
            json!({"process": [{"text_lenght_filter": null}]}),
            json!({"process": [{"text_length_filter": {"min_length": 5}}]}),
            json!({"process": [{"general_fused_op": {"fused_op_list": [{"text_length_filter": {"min": 2}}]}}]}),
            json!({"process": [{"text_length_filter": {"min_len": "5"}}]}),
            json!({"process": [{"text_length_filter": {"min_len": "p101"}}]}),
            json!({"process": [{"text_length_filter": {"keep": "most 5"}}]}),
            json!({"outputs": [{"format": "lava", "path": "o.json"}]}),
        ] {
            assert!(!validator.is_valid(&bad), "{bad}");
        }
    }

    #[test]
    fn every_reference_has_its_definition() {
        fn check(at: &Value, root: &Value) {
            match at {
                Value::Object(map) => {
                    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                        assert!(
                            root.pointer(reference.trim_start_matches('#')).is_some(),
                            "{reference}"
                        );
                    }
                    map.values().for_each(|v| check(v, root));
                }
                Value::Array(items) => items.iter().for_each(|v| check(v, root)),
                _ => {}
            }
        }
        let schema = recipe_schema();
        check(&schema, &schema);
    }
}
