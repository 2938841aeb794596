//! Recipes good and bad, through the one public door.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::note::Note;

/// A directory with an input, and a recipe in it.
struct Case {
    dir: TempDir,
    options: LoadOptions,
    source: RecipeSource,
}

impl Case {
    fn new(recipe: &str) -> Self {
        Self::bytes(recipe.as_bytes())
    }

    fn bytes(recipe: &[u8]) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("rows.jsonl"), "{\"text\": \"a\"}\n").unwrap();
        fs::write(dir.path().join("recipe.yaml"), recipe).unwrap();
        let mut options = LoadOptions::new(dir.path());
        options.env = Box::new(|name| (name == "MIN").then(|| "7".to_owned()));
        Self {
            source: RecipeSource::File("recipe.yaml".into()),
            dir,
            options,
        }
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.options.sets.push((key.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Recipe, Problems> {
        load(&self.source, &self.options)
    }

    fn problems(&self) -> String {
        match self.load() {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

const GOOD: &str = "\
dataset_path: ./rows.jsonl
export_path: out/rows.jsonl
np: 3
process:
  - text_length_filter: {min_len: 5}
";

#[test]
fn a_recipe_is_resolved() {
    let case = Case::new(GOOD);
    let recipe = case.load().unwrap();
    assert_eq!(recipe.inputs, Inputs::Files(vec![case.path("rows.jsonl")]));
    assert_eq!(recipe.threads, Some(3));
    assert_eq!(recipe.outputs.len(), 1);
    assert_eq!(
        recipe.outputs[0].target,
        Target::File(case.path("out/rows.jsonl"))
    );
    let step = &recipe.steps[0];
    assert_eq!((step.name, step.line), ("text_length_filter", 5));
    assert_eq!(
        serde_json::Value::Object(step.params.clone()),
        json!({"min_len": 5, "max_len": null})
    );
    assert_eq!(recipe.image_special_token, "<__dj__image>");
    assert_eq!(recipe.eoc_special_token, "<|__dj__eoc|>");
    assert_eq!(
        recipe.to_json()["process"][0]["text_length_filter"]["min_len"],
        5
    );
}

#[test]
fn every_problem_is_shown_at_once() {
    let case = Case::new(
        "\
project_nam: x
dataset_path: nowhere.jsonl
export_path: out/rows.jsonl
np: ten
process:
  - text_length_filter: {max_length: 5}
  - text_lenght_filter:
  - text_length_filter:
      min_len: ten
      max_len: 'five'
  - video_aesthetics_filter: {}
  - text_length_filter: {min_len: 9, max_len: 3}
",
    );
    let shown = case.problems();
    for expected in [
        "recipe.yaml:1:1: unknown key 'project_nam'",
        "did you mean 'project_name'?",
        "recipe.yaml:2:15: input not found: nowhere.jsonl",
        "recipe.yaml:4:5: 'np': expected a whole number of at least 1, found the string 'ten'",
        "recipe.yaml:6:26: unknown parameter 'max_length' of text_length_filter",
        "hint: did you mean 'max_len'?",
        "recipe.yaml:7:5: unknown operator 'text_lenght_filter'",
        "did you mean 'text_length_filter'?",
        "recipe.yaml:9:16: 'min_len' of text_length_filter: expected a whole number, found the string 'ten'",
        "recipe.yaml:10:16: 'max_len' of text_length_filter: expected a whole number, found the string 'five'",
        "recipe.yaml:11:5: video_aesthetics_filter is an operator of Data-Juicer (filter, needs a neural model) that djr does not have",
        "recipe.yaml:12:35: text_length_filter: min_len 9 is above max_len 3",
    ] {
        assert!(shown.contains(expected), "missing: {expected}\n{shown}");
    }
    let problems = case.load().map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), 9, "{shown}");
    let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
    assert!(places.is_sorted(), "{places:?}");
    // A caret stands under what is meant.
    let first = problems.iter().nth(2).unwrap().to_string();
    assert!(first.ends_with("\n    np: ten\n        ^"), "{first}");
}

#[test]
fn an_empty_process_is_a_problem() {
    for recipe in [
        "dataset_path: rows.jsonl\nprocess: []\n",
        "dataset_path: rows.jsonl\nprocess:\n",
        "dataset_path: rows.jsonl\n",
    ] {
        let shown = Case::new(recipe).problems();
        assert!(shown.contains("nothing to do"), "{shown}");
        assert!(shown.contains("djr convert"), "{shown}");
    }
    let only_outputs = "dataset_path: rows.jsonl\noutputs: [{format: llava, path: o.json}]\n";
    assert!(Case::new(only_outputs).load().is_ok());
}

#[test]
fn unreadable_recipes_say_why() {
    for (recipe, expected) in [
        (&b""[..], "the recipe is empty"),
        (b"- text_length_filter:\n", "under `process:`"),
        (b"just text", "a recipe is a mapping"),
        (b"np: 4\nproject_name: \xff\n", "recipe.yaml:2:15: not UTF-8"),
        (b"process:\n\t- text_length_filter:\n", "recipe.yaml:2:1: a tab"),
        (b"np: [1\nprocess: 2\n", "not valid YAML"),
        (b"np: 1\n---\nnp: 2\n", "recipe.yaml:2:1: a second YAML document"),
        (b"a0: &a [1,1,1,1,1,1,1,1,1,1]\na1: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\na2: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\na3: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\na4: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n", "aliases multiply"),
    ] {
        let shown = Case::bytes(recipe).problems();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let mut case = Case::new("");
    case.source = RecipeSource::File("missing.yaml".into());
    assert!(case.problems().contains("cannot read the recipe"));
}

#[test]
fn items_of_process_must_be_one_operator() {
    for (item, expected) in [
        (
            "text_length_filter:\n    min_len: 5",
            "indent the parameters of text_length_filter",
        ),
        (
            "text_length_filter:\n    clean_links_mapper:",
            "its own `- `",
        ),
        ("[text_length_filter]", "expected an operator, found a list"),
        ("{}", "an empty item"),
        (
            "text_length_filter: 5",
            "expected a mapping of parameters, found the number 5",
        ),
    ] {
        let shown =
            Case::new(&format!("dataset_path: rows.jsonl\nprocess:\n  - {item}\n")).problems();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let shown =
        Case::new("dataset_path: rows.jsonl\nprocess: {text_length_filter: {}}\n").problems();
    assert!(shown.contains("expected a list of operators"), "{shown}");
    let bare = "dataset_path: rows.jsonl\nprocess:\n  - text_length_filter\n  - text_length_filter:\n  - text_length_filter: {}\n";
    assert_eq!(Case::new(bare).load().unwrap().steps.len(), 3);
}

#[test]
fn base_parameters_reach_the_operator() {
    let case = Case::new(
        "\
dataset_path: rows.jsonl
text_keys: [caption, alt]
image_key: pics
process:
  - text_length_filter: {text_key: meta.t, min_closed_interval: false, num_proc: 4, batch_size: 1}
  - text_length_filter: {reversed_range: true, min_len: 9, max_len: 3}
",
    );
    let recipe = case.load().unwrap();
    let base = &recipe.steps[0].base;
    assert_eq!(base.text_key.as_str(), "meta.t");
    assert_eq!(base.image_key.as_str(), "pics");
    assert!(!base.min_closed_interval && base.max_closed_interval);
    assert_eq!(recipe.steps[1].base.text_key.as_str(), "caption");
    assert!(
        recipe
            .notes
            .iter()
            .any(|n| n.message == "ignored: parameter `num_proc` of operators")
    );
    assert!(!recipe.steps[0].params.contains_key("num_proc"));

    let shown = Case::new(
        "dataset_path: rows.jsonl\nprocess: [text_length_filter: {reversed_range: perhaps}]\n",
    )
    .problems();
    assert!(
        shown.contains("expected true or false, found the string 'perhaps'"),
        "{shown}"
    );
}

#[test]
fn numbers_are_read_as_the_peer_reads_them() {
    let params = |text: &str| {
        let case = Case::new(&format!(
            "dataset_path: rows.jsonl\nprocess:\n  - text_length_filter: {{{text}}}\n"
        ));
        case.load()
            .map(|recipe| serde_json::Value::Object(recipe.steps[0].params.clone()))
            .map_err(|problems| problems.to_string())
    };
    assert_eq!(params("max_len: 1e3").unwrap()["max_len"], 1000);
    assert_eq!(params("max_len: 20.0").unwrap()["max_len"], 20);
    assert_eq!(params("max_len: .inf").unwrap()["max_len"], json!(null));
    assert_eq!(
        params("max_len: 9223372036854775807").unwrap()["max_len"],
        i64::MAX
    );
    assert_eq!(
        params("max_len: 99999999999999999999").unwrap()["max_len"],
        i64::MAX
    );
    for (text, expected) in [
        (
            "max_len: 20.5",
            "expected a whole number, found the number 20.5",
        ),
        ("max_len: '20'", "write it without quotes: 20"),
        ("max_len: .nan", "NaN"),
        ("max_len: true", "expected a whole number, found true"),
        ("max_len: [1]", "found a list"),
    ] {
        let shown = params(text).unwrap_err();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
}

#[test]
fn overrides_reach_keys_and_parameters() {
    let case = Case::new(GOOD)
        .set("np", "8")
        .set("text_length_filter.min_len", "2")
        .set("process.0.text_length_filter.max_len", "30")
        .set("outputs", "[{format: llava, path: o.json}]")
        .set("outputs.0.sample", "10")
        .set("checkpoint.enabled", "false");
    let recipe = case.load().unwrap();
    assert_eq!(recipe.threads, Some(8));
    assert_eq!(recipe.steps[0].params["min_len"], 2);
    assert_eq!(recipe.steps[0].params["max_len"], 30);
    assert_eq!(recipe.outputs[1].sample, Some(10));
    assert_eq!(recipe.outputs[1].line, 0);

    for (key, value, expected) in [
        ("np", "ten", "--set np=ten: 'np': expected a whole number"),
        (
            "text_lenght_filter.min_len",
            "3",
            "did you mean 'text_length_filter'?",
        ),
        (
            "text_length_filter.min_length",
            "3",
            "unknown parameter 'min_length'",
        ),
        (
            "process.7.text_length_filter.min_len",
            "3",
            "no position in a list of 1",
        ),
        ("nonsense", "3", "unknown key 'nonsense'"),
        ("np", "[1", "not valid YAML"),
    ] {
        let shown = Case::new(GOOD).set(key, value).problems();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let bare = "dataset_path: rows.jsonl\nprocess:\n  - text_length_filter\n";
    let recipe = Case::new(bare)
        .set("text_length_filter.min_len", "4")
        .load()
        .unwrap();
    assert_eq!(recipe.steps[0].params["min_len"], 4);
}

#[test]
fn variables_expand() {
    let recipe = Case::new(
        "\
dataset_path: rows.jsonl
project_name: a${MIN}b$${MIN}c${}d${x y}
process:
  - text_length_filter:
      min_len: ${MIN}
",
    )
    .load()
    .unwrap();
    assert_eq!(recipe.project_name, "a7b${MIN}c${}d${x y}");
    assert_eq!(recipe.steps[0].params["min_len"], 7);
    let shown = Case::new("dataset_path: ${NOWHERE}/rows.jsonl\nprocess: [text_length_filter]\n")
        .problems();
    assert!(
        shown.contains("recipe.yaml:1:15: the variable NOWHERE is not set"),
        "{shown}"
    );
}

#[test]
fn keys_without_a_meaning_are_noted_and_others_refused() {
    let good = format!(
        "{GOOD}executor_type: ray\nuse_cache: false\ncheckpoint: {{n_ops: 3}}\npartition.mode: auto\nwork_dir: null\n"
    );
    let recipe = Case::new(&good).load().unwrap();
    assert_eq!(
        told(&recipe.notes),
        [
            "ignored: `executor_type: ray` (djr runs on this machine's threads)",
            "ignored: `use_cache: false` (djr keeps no copies of datasets; `cache` keeps dear results)",
            "ignored: `checkpoint.n_ops: 3` (`djr run --resume` continues a run)",
            "ignored: `partition.mode: auto` (djr runs on this machine's threads)",
        ]
    );
    for (line, expected) in [
        (
            "encrypt_before_export: true",
            "'encrypt_before_export' is not supported",
        ),
        ("generated_dataset_config: {type: x}", "not supported"),
        (
            "custom-operator-paths: [x.py]",
            "no such file or directory: x.py",
        ),
        ("checkpoint: {n_op: 3}", "did you mean 'checkpoint.n_ops'?"),
        ("text_length_filter: {}", "list it under `process`"),
        ("questions: x.json", "belongs to an item of `outputs`"),
        ("on_error: quaratine", "did you mean 'quarantine'?"),
        ("max_memory: lots", "such as 2GB"),
        ("image_root: nowhere", "no such directory"),
    ] {
        let shown = Case::new(&format!("{GOOD}{line}\n")).problems();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    assert!(
        Case::new(&format!(
            "{GOOD}encrypt_before_export: false\nload_dataset_kwargs: {{num_proc: 4}}\n"
        ))
        .load()
        .is_ok()
    );
    let recipe = Case::new(&format!("{GOOD}skip_op_error: false\nmax_memory: 512MiB\n"))
        .load()
        .unwrap();
    assert_eq!(recipe.on_error, OnError::Fail);
    assert_eq!(recipe.max_memory, Some(512 << 20));
}

#[test]
fn outputs_have_sound_defaults() {
    let case = Case::new(
        "\
dataset_path: rows.jsonl
seed: 7
paths: keep
outputs:
  - {path: a.jsonl, shard_size: 1MB}
  - {format: llava, path: b.json, paths: relative, questions: rows.jsonl}
  - {format: jsonl, path: c.jsonl, sample: 10, sampler: python, seed: 1024, shuffle: true}
  - {format: jsonl, path: '-', validate: header}
  - {path: e.json, sample: 3}
",
    );
    let recipe = case.load().unwrap();
    let [a, b, c, d, array] = recipe.outputs.as_slice() else {
        panic!("{:?}", recipe.outputs);
    };
    assert_eq!(
        (a.validate, a.paths, a.seed, a.line),
        (Validation::None, PathStyle::Keep, 7, 5)
    );
    assert_eq!(
        (b.validate, b.paths),
        (Validation::Decode, PathStyle::Relative)
    );
    let questions = b.options.file("questions").map(Path::to_owned);
    assert_eq!(questions, Some(case.path("rows.jsonl")));
    assert_eq!((a.format.word(), array.format.word()), ("jsonl", "json"));
    assert_eq!(array.validate, Validation::Decode);
    assert_eq!(
        (c.validate, c.sample, c.seed),
        (Validation::Decode, Some(10), 1024)
    );
    assert_eq!((c.sampler, c.shuffle), (Sampler::Python, true));
    assert_eq!(
        (&d.target, a.shard_size),
        (&Target::Stdout, Some(1_000_000))
    );
}

#[test]
fn outputs_are_checked_against_each_other_and_the_input() {
    for (outputs, expected) in [
        (
            "[{format: llava, path: a.json}, {format: llava, path: ./x/../a.json}]",
            "two outputs go to",
        ),
        (
            "[{path: o/main.jsonl}, {path: 'o/{value}.jsonl', split_by: k}]",
            "o/{value}.jsonl may be one of",
        ),
        (
            "[{path: 'o/{value}.jsonl', split_by: k}, {path: o/a.jsonl, of: dropped}]",
            "o/a.jsonl may be one of",
        ),
        (
            "[{path: 'o/{value}.jsonl', split_by: k}, {path: 'o/e{value}.jsonl', split_by: n}]",
            "may be one of",
        ),
        ("[{path: rows.jsonl}]", "is an input, too"),
        ("[{path: rows.jsonl/x.jsonl}]", "is not a directory"),
        ("[{path: ''}]", "has no path"),
        ("[{path: a.out}]", "has no format"),
        ("[{path: a}]", "has no format"),
        (
            "[{path: a.json, format: llava, questions: none.json}]",
            "questions file not found",
        ),
        (
            "[{path: a.jsonl, questions: rows.jsonl}]",
            "belongs to outputs of format llava",
        ),
        (
            "[{format: dj, path: a.jsonl, images: list}]",
            "belongs to outputs of format llava",
        ),
        (
            "[{format: llava, path: a.json, images: both}]",
            "expected one of",
        ),
        (
            "[{format: llava, path: a.jsonl}]",
            "the name a.jsonl says jsonl",
        ),
        ("[{format: jsonl, path: a.json}]", "let it end in .jsonl"),
        (
            "[{format: llava, path: a.ndjson}]",
            "the name a.ndjson says ndjson",
        ),
        ("[{format: llava, path: a}]", "has no suffix"),
        ("[{format: jsonl, path: a.parquet}]", "says parquet"),
        ("[{format: jsonl, path: 's3://b/a.jsonl'}]", "remote"),
        ("[{format: jsonl, path: new/}]", "is a directory"),
        ("[{path: a.jsonl, shuffle: true}]", "needs `sample`"),
        ("[{path: a.jsonl, sample: 0}]", "at least 1"),
        ("[{path: a.jsonl, smple: 1}]", "did you mean 'sample'?"),
        ("[{format: lava, path: a.json}]", "did you mean 'llava'?"),
        ("[{path: a.jsonl.xz, format: jsonl}]", "not packed so"),
        ("[a.jsonl]", "expected a list of mappings"),
    ] {
        let shown =
            Case::new(&format!("dataset_path: rows.jsonl\noutputs: {outputs}\n")).problems();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    // Both the old key and the new list.
    let both = Case::new(&format!("{GOOD}outputs: [{{path: b.jsonl}}]\n"))
        .load()
        .unwrap();
    assert_eq!(both.outputs.len(), 2);
    let default = Case::new("dataset_path: rows.jsonl\nprocess: [text_length_filter]\n");
    assert_eq!(
        default.load().unwrap().outputs[0].target,
        Target::File(default.path("outputs/hello_world/hello_world.jsonl"))
    );
}

#[test]
fn inputs_are_found() {
    let with = |dataset: &str| {
        let case = Case::new(&format!("{dataset}\nprocess: [text_length_filter]\n"));
        fs::create_dir_all(case.path("data/sub")).unwrap();
        fs::create_dir_all(case.path("data/x.djr")).unwrap();
        for name in [
            "data/b.jsonl",
            "data/a.json",
            "data/sub/c.jsonl.zst",
            "data/n.txt",
            "data/x.djr/manifest.json",
        ] {
            fs::write(case.path(name), "").unwrap();
        }
        let found = case.load().map(|recipe| match recipe.inputs {
            Inputs::Stdin | Inputs::Given(_) => vec!["-".to_owned()],
            Inputs::Files(files) => files
                .iter()
                .map(|f| {
                    f.strip_prefix(case.dir.path())
                        .unwrap()
                        .display()
                        .to_string()
                })
                .collect(),
        });
        found.map_err(|problems| problems.to_string())
    };
    for (dataset, expected) in [
        (
            "dataset_path: data",
            &["data/a.json", "data/b.jsonl", "data/sub/c.jsonl.zst"][..],
        ),
        ("dataset_path: data\nsuffixes: jsonl", &["data/b.jsonl"]),
        ("dataset_path: data/*.jsonl", &["data/b.jsonl"]),
        (
            "dataset_path: 0.5 data/b.jsonl 1 rows.jsonl",
            &["data/b.jsonl", "rows.jsonl"],
        ),
        (
            "dataset_path: [rows.jsonl, data/a.json]",
            &["rows.jsonl", "data/a.json"],
        ),
        ("dataset_path: '-'", &["-"]),
        (
            "dataset: {configs: [{type: local, path: rows.jsonl, weight: 0.5}]}",
            &["rows.jsonl"],
        ),
    ] {
        assert_eq!(with(dataset).unwrap(), expected, "{dataset}");
    }
    for (dataset, expected) in [
        ("np: 1", "dataset_path is missing"),
        (
            "dataset_path: data\nsuffixes: [.csv]",
            "no input in the directory",
        ),
        ("dataset_path: data/*.csv", "no file matches"),
        ("dataset_path: s3://bucket/x.jsonl", "remote"),
        (
            "dataset: {configs: [{type: remote, source: huggingface, path: x}]}",
            "of type local",
        ),
        (
            "dataset: {configs: [{type: local, path: rows.jsonl}], max_sample_num: 0}",
            "max_sample_num",
        ),
        ("dataset: {config: []}", "did you mean 'configs'?"),
        ("dataset_path: [rows.jsonl, rows.jsonl]", "listed twice"),
    ] {
        let shown = with(dataset).unwrap_err();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
}

#[test]
fn the_command_line_names_input_and_output() {
    let mut case = Case::new("process: [text_length_filter]\n");
    case.options.input = Some(Inputs::Stdin);
    case.options.output = Some(Target::Stdout);
    let recipe = case.load().unwrap();
    assert_eq!(recipe.inputs, Inputs::Stdin);
    assert_eq!(recipe.outputs[0].target, Target::Stdout);
    case.options.input = Some(Inputs::Files(vec!["none.jsonl".into()]));
    assert!(case.problems().contains("input not found: none.jsonl"));
}

#[test]
fn paths_in_a_recipe_are_looked_for_beside_it_first() {
    let case = Case::new("");
    fs::create_dir(case.path("sub")).unwrap();
    fs::write(case.path("sub/rows.jsonl"), "").unwrap();
    fs::write(case.path("other.jsonl"), "").unwrap();
    fs::write(
        case.path("sub/r.yaml"),
        "dataset_path: [rows.jsonl, other.jsonl]\nexport_path: o.jsonl\nprocess: [text_length_filter]\n",
    )
    .unwrap();
    let recipe = load(&RecipeSource::File("sub/r.yaml".into()), &case.options).unwrap();
    assert_eq!(
        recipe.inputs,
        Inputs::Files(vec![case.path("sub/rows.jsonl"), case.path("other.jsonl")])
    );
    assert_eq!(recipe.outputs[0].target, Target::File(case.path("o.jsonl")));
}

#[test]
fn ten_problems_fit_one_screen() {
    let mut recipe = String::from("dataset_path: rows.jsonl\nprocess:\n");
    for i in 0..10 {
        writeln!(recipe, "  - text_length_filter: {{min_lenn: {i}}}").unwrap();
    }
    let shown = Case::new(&recipe).problems();
    assert_eq!(shown.lines().count(), 20, "{shown}");
    let shown = Case::new("dataset_path: rows.jsonl\nprocess:\n\t- x\n").problems();
    assert_eq!(shown.lines().count(), 4, "{shown}");
}

#[test]
fn a_fused_operator_is_what_it_lists() {
    let case = Case::new(
        "\
dataset_path: rows.jsonl
export_path: o.jsonl
process:
  - words_num_filter: {min_num: 1}
  - general_fused_op:
      batch_size: 2
      fused_op_list:
        - whitespace_normalization_mapper
        - general_fused_op: {fused_op_list: [text_length_filter: {min_len: 2}]}
        - general_fused_op:
  - document_deduplicator:
",
    );
    let recipe = case.load().unwrap();
    let steps: Vec<_> = recipe.steps.iter().map(|s| (s.index, s.name)).collect();
    assert_eq!(
        steps,
        [
            (0, "words_num_filter"),
            (1, "whitespace_normalization_mapper"),
            (2, "text_length_filter"),
            (3, "document_deduplicator")
        ]
    );
    assert_eq!(recipe.steps[2].params["min_len"], 2);
    assert_eq!(
        told(&recipe.notes),
        ["ignored: parameter `batch_size` of general_fused_op"]
    );
    let bad = Case::new(
        "\
dataset_path: rows.jsonl
export_path: o.jsonl
process:
  - general_fused_op:
      fused_op_lst: []
      fused_op_list:
        - document_deduplicator:
        - text_length_filter: {min_len: x}
        - no_such_mapper:
  - general_fused_op: {fused_op_list: text_length_filter}
",
    );
    let problems = bad.problems();
    for part in [
        "5:7: unknown parameter 'fused_op_lst'",
        "did you mean 'fused_op_list'?",
        "7:11: general_fused_op runs mappers and filters, and document_deduplicator is a deduplicator",
        "8:41: 'min_len' of text_length_filter",
        "9:11: unknown operator 'no_such_mapper'",
        "expected a list of operators, found",
    ] {
        assert!(problems.contains(part), "{part} not in\n{problems}");
    }
}

/// What notes say.
fn told(notes: &[Note]) -> Vec<String> {
    notes.iter().map(|note| note.message.clone()).collect()
}

/// What `process` says, step by step, and the notes.
fn read(process: &str) -> (Vec<serde_json::Value>, Vec<String>) {
    let text = format!("dataset_path: rows.jsonl\nexport_path: o.jsonl\nprocess:\n{process}");
    let recipe = Case::new(&text).load().unwrap();
    let steps = recipe.steps.iter();
    (
        steps.map(|s| s.params.clone().into()).collect(),
        told(&recipe.notes),
    )
}

/// As Data-Juicer 1.6.1's `init_configs` reads the same recipes.
#[test]
fn what_a_step_leaves_out_is_taken_from_the_one_of_its_name_before_it() {
    let (steps, notes) = read(
        "  - replace_content_mapper: {pattern: a, repl: X}
  - text_length_filter: {min_len: 1}
  - replace_content_mapper: {pattern: b}
  - text_length_filter: {max_len: 90}
  - text_length_filter:
  - text_length_filter: {min_len: null}
  - text_length_filter: {max_len: 50}
",
    );
    assert_eq!(steps[2], json!({"pattern": "b", "repl": "X"}));
    let lengths: Vec<_> = [1, 3, 4, 5, 6].iter().map(|&i| &steps[i]).collect();
    assert_eq!(
        lengths,
        [
            &json!({"min_len": 1, "max_len": null}),
            &json!({"min_len": 1, "max_len": 90}),
            &json!({"min_len": 1, "max_len": 90}),
            &json!({"min_len": null, "max_len": 90}),
            &json!({"min_len": null, "max_len": 50}),
        ]
    );
    assert_eq!(
        notes[0],
        "step 3 (replace_content_mapper) leaves `repl` out and takes it from step 1, as in Data-Juicer"
    );
    assert!(
        notes[2]
            .contains("step 5 (text_length_filter) leaves `max_len` out and takes it from step 4"),
        "{notes:?}"
    );
}

#[test]
fn steps_that_say_all_take_nothing_over() {
    let (_, notes) = read(
        "  - text_length_filter: {min_len: 1, max_len: 5, text_key: caption, keep: best 3}
  - words_num_filter: {min_num: 3}
  - text_length_filter: {min_len: 2, max_len: 6}
  - general_fused_op: {fused_op_list: [{words_num_filter: {min_num: 1, max_num: 4}}]}
",
    );
    assert_eq!(notes, [""; 0]);
    let text = "dataset_path: rows.jsonl\nprocess:\n  - text_length_filter: {min_len: 1, text_key: q, reversed_range: true}\n  - text_length_filter: {min_len: 2}\n";
    let recipe = Case::new(text).load().unwrap();
    assert_eq!(recipe.steps[1].base.text_key.as_str(), "text");
    assert!(recipe.steps[1].base.reversed_range);
    // A default that is taken over is no news.
    let (_, notes) =
        read("  - text_length_filter: {min_len: 10}\n  - text_length_filter: {max_len: 50}\n");
    assert_eq!(notes, [""; 0]);
}

#[test]
fn a_step_that_is_wrong_for_what_it_took_over_says_so() {
    let text = "dataset_path: rows.jsonl\nprocess:\n  - alphanumeric_filter: {min_ratio: 0.25, max_ratio: 0.9}\n  - alphanumeric_filter: {min_ratio: 1.5}\n";
    let problems = Case::new(text).load().map(|_| ()).unwrap_err();
    let said = problems.to_string();
    assert!(
        said.contains("min_ratio 1.5 is above max_ratio 0.9"),
        "{said}"
    );
    assert!(
        said.contains("`max_ratio` is what the alphanumeric_filter before it says, as in Data-Juicer: write it in this step"),
        "{said}"
    );
    // What the step says itself is its own fault.
    let text = text.replace("1.5}", "1.5, max_ratio: 1}");
    let said = Case::new(&text).load().map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("swap the two bounds"), "{said}");
}

#[test]
fn a_value_with_a_comma_behind_it_is_named_without() {
    let text = "dataset_path: rows.jsonl\nprocess:\n  - extract_tables_from_html_mapper: {retain_html_tags: 'false,'}\n";
    let said = Case::new(text).load().map(|_| ()).unwrap_err().to_string();
    assert!(
        said.contains("write it without what surrounds it: false"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_with_a_parameter_that_is_taken_over_is_said_once() {
    let text = "dataset_path: rows.jsonl\nprocess:\n  - text_length_filter: {min_len: x}\n  - text_length_filter: {max_len: 50}\n";
    let problems = Case::new(text).load().map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
}

#[test]
fn numbers_beyond_all_bounds_are_bounds() {
    let params = |op: &str, given: &str| {
        let (steps, _) = read(&format!("  - {op}: {{{given}}}\n"));
        steps[0].clone()
    };
    for (written, min) in [
        (".inf", json!(i64::MAX)),
        ("1e400", json!(i64::MAX)),
        ("99999999999999999999999", json!(i64::MAX)),
        ("-.inf", json!(null)),
        ("1e3", json!(1000)),
    ] {
        let found = params("text_length_filter", &format!("min_len: {written}"));
        assert_eq!(found["min_len"], min, "{written}");
    }
    for (written, max) in [
        (".inf", json!(null)),
        ("-.inf", json!(i64::MIN)),
        ("-1e999", json!(i64::MIN)),
    ] {
        let found = params(
            "text_length_filter",
            &format!("min_len: null, max_len: {written}"),
        );
        assert_eq!(found["max_len"], max, "{written}");
    }
    for (written, min) in [
        (".inf", json!(f64::MAX)),
        (".nan", json!(f64::MAX)),
        ("-.inf", json!(null)),
    ] {
        let found = params("alphanumeric_filter", &format!("min_ratio: {written}"));
        assert_eq!(found["min_ratio"], min, "{written}");
    }
    let found = params("alphanumeric_filter", "min_ratio: null, max_ratio: .nan");
    assert_eq!(found["max_ratio"], json!(f64::MIN));
    let text = "dataset_path: rows.jsonl\nprocess:\n  - alphanumeric_filter: {max_ratio: .nan}\n";
    let said = Case::new(text).load().map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("max_ratio -.inf (or .nan)"), "{said}");
    for (op, given) in [
        ("text_length_filter", "min_len: .nan"),
        ("text_length_filter", "min_len: 1.5"),
    ] {
        let text = format!("dataset_path: rows.jsonl\nprocess:\n  - {op}: {{{given}}}\n");
        assert!(Case::new(&text).load().is_err(), "{given}");
    }
}

#[test]
fn of_a_count_that_the_peer_cuts_off_the_whole_part_counts() {
    for op in ["topk", "frequency"] {
        let (steps, _) = read(&format!(
            "  - {op}_specified_field_selector: {{field_key: n, topk: 2.5}}\n"
        ));
        assert_eq!(steps[0]["topk"], 2);
    }
}

#[test]
fn of_two_files_that_a_path_may_mean_the_one_taken_is_named() {
    let case = Case::new("");
    fs::create_dir(case.path("configs")).unwrap();
    fs::write(case.path("configs/rows.jsonl"), "{}\n").unwrap();
    let text =
        "dataset_path: ./rows.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: ]\n";
    fs::write(case.path("configs/r.yaml"), text).unwrap();
    let source = RecipeSource::File("configs/r.yaml".into());
    let recipe = load(&source, &case.options).unwrap();
    let files = Inputs::Files(vec![case.path("configs/rows.jsonl")]);
    assert_eq!(recipe.inputs, files);
    let [note] = recipe.notes.as_slice() else {
        panic!("{:?}", recipe.notes);
    };
    let (taken, other) = (case.path("configs/rows.jsonl"), case.path("rows.jsonl"));
    assert!(
        note.message
            .contains(&format!("is {} (beside the recipe)", taken.display())),
        "{note}"
    );
    let not = format!("not {}", other.display());
    assert!(note.message.contains(&not), "{note}");
    // With one of them gone, or the recipe in the working directory, there is no doubt.
    fs::remove_file(&other).unwrap();
    assert_eq!(load(&source, &case.options).unwrap().notes, []);
    assert_eq!(Case::new(GOOD).load().unwrap().notes, []);
}

/// A recipe with something of everything that is not a default.
const FULL: &str = "\
project_name: 'a: b #'
dataset_path: rows.jsonl
export_path: out/rows.jsonl
export_shard_size: 1MB
text_keys: [text, caption]
image_key: pictures
np: 3
max_memory: 2GB
max_quarantine: 7%
on_error: drop
seed: 7
open_tracer: true
trace_num: 3
keep_stats_in_res_ds: true
process:
  - text_length_filter: {min_len: 5, keep: best 10, text_key: caption}
  - text_length_filter: {max_len: p90}
  - alphanumeric_filter: {min_ratio: 0.1, max_closed_interval: false}
  - replace_content_mapper: {pattern: ['a${MIN}', b], repl: ['$${x}', '']}
  - random_selector: {select_ratio: 0.07}
outputs:
  - {format: llava, path: out/some.json, sample: 10, sampler: python, shuffle: true, seed: 1}
";

#[test]
fn a_recipe_is_read_back_from_its_json() {
    for text in [FULL, GOOD] {
        let case = Case::new(text);
        let recipe = case.load().unwrap();
        let spec = recipe.spec();
        let json = serde_json::to_string(&recipe.to_json()).unwrap();
        let read = RecipeSpec::from_json(serde_json::from_str(&json).unwrap()).unwrap();
        let lines = |spec: &RecipeSpec| -> Vec<OutputSpec> {
            let without = |o: &OutputSpec| OutputSpec {
                line: 0,
                ..o.clone()
            };
            spec.outputs.iter().map(without).collect()
        };
        assert_eq!(lines(&read), lines(&spec));
        assert_eq!(read.to_json(), spec.to_json());
        let built = read.build().unwrap();
        assert_eq!(built.to_json(), recipe.to_json());
        for (built, step) in built.steps.iter().zip(&recipe.steps) {
            assert_eq!((built.index, built.name), (step.index, step.name));
            assert_eq!(built.base.draw, step.base.draw);
            assert_eq!(built.base.from_data, step.base.from_data);
            assert_eq!(built.base.keep, step.base.keep);
        }
        assert_eq!(built.steps.len(), recipe.steps.len());
    }
}

#[test]
fn a_recipe_written_as_yaml_says_the_same() {
    let mixed = "dataset_path: [web, 'news-*.jsonl']
export_path: out/m.jsonl
process:
  - mixture_selector: {by: __dj__dataset__, shares: {web: 2, 'news-*': 1}, repeat_to: 9}
";
    for text in [FULL, GOOD, mixed] {
        let case = Case::new(text);
        fs::create_dir(case.path("web")).unwrap();
        for name in ["web/a.jsonl", "web/b.jsonl", "news-1.jsonl", "news-2.jsonl"] {
            fs::write(case.path(name), "{}\n").unwrap();
        }
        let recipe = case.load().unwrap();
        let written = recipe.spec().to_yaml(&Comments {
            head: vec!["head".into()],
            steps: vec![vec!["step".into()]],
        });
        assert!(written.starts_with("# head\n\n") && written.contains("\n  # step\n"));
        fs::write(case.path("again.yaml"), &written).unwrap();
        let again = load(&RecipeSource::File("again.yaml".into()), &case.options).unwrap();
        assert_eq!(
            again.spec().identity(),
            recipe.spec().identity(),
            "{written}"
        );
    }
}

#[test]
fn another_format_of_recipe_is_refused_by_name() {
    let mut json = Case::new(GOOD).load().unwrap().to_json();
    json["version"] = 2.into();
    let error = RecipeSpec::from_json(json).unwrap_err().to_string();
    assert!(
        error.contains("format 2") && error.contains("format 1"),
        "{error}"
    );
}

#[test]
fn the_identity_leaves_out_what_changes_no_answer() {
    let identity = |text: &str| Case::new(text).load().unwrap().spec().identity();
    let (mut a, mut b) = (
        identity(GOOD),
        identity(&GOOD.replace("np: 3", "max_memory: 2GB")),
    );
    let c = identity(&GOOD.replace("min_len: 5", "min_len: 6"));
    for json in [&mut a, &mut b] {
        // Each case lies in a directory of its own.
        for key in ["inputs", "outputs", "search"] {
            json.as_object_mut().unwrap().remove(key);
        }
    }
    assert_eq!(a, b);
    assert_ne!(a["process"], c["process"]);
}

#[test]
fn parameters_of_a_recipe_that_is_data_are_set_anew() {
    let case = Case::new(FULL);
    let spec = case.load().unwrap().spec();
    let set = |key: &str, value: &str| spec.build_with(&[(key.into(), value.into())], None);
    let built = set("alphanumeric_filter.min_ratio", "1e-1").unwrap();
    assert_eq!(built.steps[2].params["min_ratio"], 0.1);
    let both = set("text_length_filter.max_len", "99").unwrap();
    assert_eq!(both.steps[0].params["max_len"], 99);
    assert_eq!(both.steps[1].params["max_len"], 99);
    assert!(both.steps[1].base.from_data.is_empty());
    for (key, value, expected) in [
        ("np", "3", "unknown"),
        ("alphanumeric_filter.min_ratio", "x", "expected a number"),
        ("words_num_filter.min_num", "3", "no step of the recipe"),
    ] {
        let problems = set(key, value).map(|_| ()).unwrap_err().to_string();
        assert!(problems.contains(expected), "{problems}");
        assert!(
            problems.contains(&format!("--set {key}={value}")),
            "{problems}"
        );
    }
}

#[test]
fn a_recipe_may_be_given_as_a_value() {
    let case = Case::new(GOOD);
    let source = |min: i64| RecipeSource::Value {
        name: "mine".into(),
        value: json!({
            "dataset_path": "rows.jsonl",
            "process": [{"text_length_filter": {"min_len": min}}],
        }),
    };
    let recipe = load(&source(5), &case.options).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.steps[0].line), ("mine", 0));
    let mut options = LoadOptions::new(case.dir.path());
    options
        .sets
        .push(("text_length_filter.min_len".into(), "7".into()));
    let recipe = load(&source(5), &options).unwrap();
    assert_eq!(recipe.steps[0].params["min_len"], 7);
}
