//! Djr's contract for operators, kept by all of its own: each runs over the inputs of its golden
//! cases.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that cannot be read fails the test"
)]

use djr::contract::{Contract, PROMISES};
use djr::op;
use serde_json::{Value, json};

use crate::case::{self, Suite};

/// Parameters for those that do not build without any.
fn needed(name: &str) -> Value {
    match name {
        "benchmark_overlap_filter" => json!({
            "benchmarks": ["fixtures/benchmark/questions.json", "fixtures/benchmark/pictures.jsonl"],
        }),
        "command_filter" => json!({"command": "sed -u 's/.*kite.*/true/; t; s/.*/7/'"}),
        "command_mapper" => json!({"command": "sed -u 's/e/E/'"}),
        "flagged_words_filter" => json!({"flagged_words_dir": "fixtures/assets"}),
        "stopwords_filter" => json!({"stopwords_dir": "fixtures/assets"}),
        "token_num_filter" => json!({"hf_tokenizer": "fixtures/models/bytes"}),
        "sentence_split_mapper" => json!({"punkt_dir": "fixtures/assets/punkt_tab"}),
        "image_text_similarity_filter" | "image_pair_similarity_filter" => {
            json!({"hf_clip": "fixtures/transformers/clip"})
        }
        "text_pair_similarity_filter" => json!({
            "hf_clip": "fixtures/transformers/clip", "text_key_second": "answer",
        }),
        "image_text_matching_filter" => json!({"hf_blip": "fixtures/transformers/blip"}),
        "image_aesthetics_filter" => {
            json!({"hf_scorer_model": "fixtures/transformers/aesthetics-predictor-v1"})
        }
        "image_nsfw_filter" => json!({"hf_nsfw_model": "fixtures/transformers/vit"}),
        "image_watermark_filter" => json!({"hf_watermark_model": "fixtures/transformers/vit"}),
        "diversity_selector" => json!({"hf_model": "fixtures/transformers/clip", "select_num": 2}),
        "embed" | "semantic_deduplicator" => json!({"hf_model": "fixtures/transformers/clip"}),
        "phrase_grounding_recall_filter" => json!({
            "hf_owlvit": "fixtures/transformers/owlvit", "nltk_dir": "fixtures/nltk_data",
        }),
        "text_embd_similarity_filter" => json!({
            "api_or_hf_model": "fixtures/transformers/bert-fast", "is_hf_model": true,
            "valid_dataset": [{"text": "the cat"}],
        }),
        "optimize_qa_mapper" | "optimize_query_mapper" | "optimize_response_mapper" => json!({
            "is_hf_model": false, "model_params": {"base_url": "http://127.0.0.1:9/v1"},
        }),
        "image_tagging_vlm_mapper" => json!({
            "is_api_model": true, "model_params": {"base_url": "http://127.0.0.1:9/v1"},
        }),
        "llm_extract_mapper" => json!({
            "input_keys": ["text"], "output_schema": {"a": "the animal"},
            "model_params": {"base_url": "http://127.0.0.1:9/v1"},
        }),
        "image_captioning_mapper"
        | "mllm_mapper"
        | "generate_qa_from_text_mapper"
        | "llm_mapper" => json!({
            "api_model": "m", "model_params": {"base_url": "http://127.0.0.1:9/v1"},
        }),
        "generate_qa_from_examples_mapper" => json!({
            "seed_file": "fixtures/llm/seeds.jsonl", "example_num": 1,
            "model_params": {"base_url": "http://127.0.0.1:9/v1"},
        }),
        "llm_task_relevance_filter" => json!({
            "task_desc": "t", "model_params": {"base_url": "http://127.0.0.1:9/v1"},
        }),
        name if asks_a_server(name) => {
            json!({"model_params": {"base_url": "http://127.0.0.1:9/v1"}})
        }
        "remove_words_with_incorrect_substrings_mapper" => json!({"substrings": ["ex"]}),
        "replace_content_mapper" => json!({"pattern": "a", "repl": "b"}),
        "specified_field_filter" => json!({"field_key": "n", "target_value": [1, "x"]}),
        "specified_numeric_field_filter" => json!({"field_key": "n"}),
        "tags_specified_field_selector" => json!({"field_key": "n", "target_tags": [1, 2, null]}),
        "mixture_selector" => json!({"by": "text", "repeat_to": 40}),
        _ => json!({}),
    }
}

/// Whether it asks a server: those that do have a parameter for it.
fn asks_a_server(name: &str) -> bool {
    let defaults = op::find(name).map(|def| (def.defaults)());
    let has = |defaults: Value| defaults.get("model_params").is_some();
    name != "text_embd_similarity_filter" && defaults.is_some_and(has)
}

/// Parameters with which it does something to the rows here.
fn telling(name: &str) -> Value {
    match name {
        "random_selector" => json!({"select_ratio": 0.5}),
        "frequency_specified_field_selector" | "topk_specified_field_selector" => {
            json!({"field_key": "n", "topk": 3})
        }
        "range_specified_field_selector" => {
            json!({"field_key": "n", "lower_rank": 2, "upper_rank": 9})
        }
        "image_blur_mapper" => json!({
            "p": 0.5,
            "save_dir": concat!(env!("CARGO_TARGET_TMPDIR"), "/blurred"),
        }),
        "general_field_filter" => json!({"filter_condition": "n > 1"}),
        "suffix_filter" => json!({"suffixes": [".txt"]}),
        other => needed(other),
    }
}

fn contract(name: &str) -> Contract {
    let golden = Suite::golden();
    let mut rows = Vec::new();
    let mut contract = Contract::of(name)
        .unwrap()
        .below(case::repository())
        .cached_in(case::repository().join("fixtures/cache"))
        .needs(&needed(name))
        .with(&telling(name));
    // What has no peer runs over the rows of a filter that looks at texts.
    let with_rows = if golden.cases(name).is_empty() {
        "text_length_filter"
    } else {
        name
    };
    for path in golden.cases(with_rows).values() {
        let case = golden.read(path).unwrap();
        let step = (case.input.len() / 15).max(1);
        rows.extend(case.input.into_iter().step_by(step));
        // Those of the golden cases set every parameter somewhere.
        if !case.fails && with_rows == name {
            contract = contract.also_with(case.params);
        }
    }
    contract.over(rows)
}

/// Holds every operator to the promises numbered so; what is wrong with any is told.
fn all_keep(promises: std::ops::Range<usize>) {
    let wrong: Vec<String> = op::all()
        .into_iter()
        .flat_map(|def| {
            let contract = contract(def.name);
            let promises = PROMISES[promises.clone()].iter();
            let broken = promises.filter_map(move |(what, promise)| {
                let problem = promise(&contract).err()?;
                Some(format!("{}: {what}: {problem}", def.name))
            });
            broken.collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

// Several tests, so that they run beside each other.

#[test]
fn every_operator_says_what_it_is_and_reads_its_parameters() {
    all_keep(0..4);
}

#[test]
fn batches_and_threads_change_nothing_and_nothing_panics() {
    all_keep(4..5);
}

#[test]
fn unknown_fields_survive_and_stats_are_as_declared() {
    all_keep(5..7);
}

#[test]
fn every_bound_may_come_from_the_data() {
    all_keep(7..8);
}

#[test]
fn every_operator_touches_only_the_fields_that_it_declares() {
    all_keep(8..9);
}
