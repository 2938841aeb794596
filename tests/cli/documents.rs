//! Generated documents are up to date, and what documents show is run.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::{Scratch, root};

pub fn check_generated(name: &str, content: &str) {
    let path = root().join(name);
    if std::env::var_os("DJR_BLESS").is_some() {
        fs::write(&path, content).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == content,
        "{name} is out of date; rewrite it with DJR_BLESS=1 cargo test"
    );
}

#[test]
fn operator_pages_and_schema_are_generated() {
    check_generated("recipes/OPERATORS.md", &djr::catalog::operators_markdown());
    check_generated(
        "recipes/recipe.schema.json",
        &format!("{:#}\n", djr::catalog::recipe_schema()),
    );
    check_generated("docs/TRAINERS.md", &djr::catalog::trainers_markdown());
    check_generated("docs/SCHEMAS.md", &djr::catalog::schemas_markdown());
    check_generated("docs/RECIPE.md", &djr::catalog::recipe_markdown());
}

#[test]
fn every_key_of_a_recipe_has_an_example_that_is_read() {
    let scratch = workshop();
    for dir in ["more", "out"] {
        fs::create_dir(scratch.path(dir)).unwrap();
    }
    fs::copy(scratch.path("data.jsonl"), scratch.path("more/a.jsonl.gz")).unwrap();
    let examples = djr::catalog::key_examples();
    assert!(examples.len() > 40);
    for (key, example) in examples {
        let mut text = format!("{example}\n");
        if !["dataset", "dataset_path"].contains(&key) {
            text.push_str("dataset_path: data.jsonl\n");
        }
        if key != "process" {
            text.push_str("process: [text_length_filter: {min_len: 1}]\n");
        }
        let source = djr::recipe::RecipeSource::Text {
            name: key.into(),
            text,
        };
        let options = djr::recipe::LoadOptions::new(scratch.path(""));
        let recipe = djr::recipe::load(&source, &options);
        let recipe = recipe.unwrap_or_else(|problems| panic!("{key}:\n{example}\n{problems}"));
        // Written again, it says the same.
        let text = recipe.spec().to_yaml(&djr::recipe::Comments::default());
        let name = key.into();
        let again = djr::recipe::load(
            &djr::recipe::RecipeSource::Text {
                name,
                text: text.clone(),
            },
            &options,
        );
        let again = again.unwrap_or_else(|problems| panic!("{key}:\n{text}\n{problems}"));
        let (said, again) = (recipe.spec().identity(), again.spec().identity());
        assert_eq!(said, again, "{key}:\n{text}");
        let ignored = recipe
            .notes
            .iter()
            .filter(|note| note.code == djr::note::Code::KeyIgnored);
        // These rows lie in no columns, which is said.
        let expected = usize::from(key == "input.columns");
        assert_eq!(ignored.count(), expected, "{key}");
    }
}

/// Blocks of a document in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

/// A program of that name beside djr, for commands that are run as shown.
fn stand_in(scratch: &Scratch, name: &str, script: &str) {
    fs::create_dir_all(scratch.path("bin")).unwrap();
    let path = scratch.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_the_page_of_schedulers_shows_works() {
    let page = fs::read_to_string(root().join("docs/SCHEDULERS.md")).unwrap();
    let scratch = workshop();
    scratch.write(
        "recipe.yaml",
        "dataset_path: data.jsonl\nexport_path: out/clean.jsonl\nprocess: [text_length_filter: {min_len: 38}]\n",
    );
    let scripts = blocks(&page, "sh");
    assert_eq!(scripts.len(), 4);
    // SLURM's programs, as far as the page needs them.
    stand_in(&scratch, "srun", "exec \"$@\"");
    for block in &scripts {
        // No `||` may hide a failure here.
        let block = block.replace(" || echo \"djr ended with $?\"", "");
        assert_eq!(run_shown(&scratch, &block), Some(0), "{block}");
    }
    // What Airflow is told to run is what the shell ran.
    let python = &blocks(&page, "python")[0];
    for line in scripts[2].lines().take(2) {
        let command = line.split(" > ").next().unwrap();
        assert!(python.contains(&format!("\"{command}\"")), "{command}");
    }
    // A signal reaches the step; the script asks for the job once more.
    let step = "\"$@\" & kill -TERM $!; wait $!";
    stand_in(&scratch, "srun", step);
    stand_in(&scratch, "scontrol", "echo \"$@\" > requeued");
    let job = format!("export SLURM_JOB_ID=7\n{}", scripts[3]);
    assert_eq!(shell(&scratch, &job).0, Some(143));
    assert_eq!(scratch.read("requeued"), b"requeue 7\n");
    stand_in(&scratch, "srun", "exec \"$@\"");
    assert_eq!(run_shown(&scratch, &scripts[3]), Some(0));
    let stage = blocks(&page, "yaml").remove(0);
    let command = stage
        .lines()
        .find_map(|line| line.trim().strip_prefix("cmd: "));
    assert_eq!(run_shown(&scratch, command.unwrap()), Some(0));
    // Each file that the stage names is there.
    for name in [
        "recipe.yaml",
        "data.jsonl",
        "out/clean.jsonl",
        "out/clean.jsonl.djr/manifest.json",
    ] {
        assert!(
            stage.contains(name) && scratch.path(name).exists(),
            "{name}"
        );
    }
    scratch.write("Makefile", &blocks(&page, "make")[0]);
    if Command::new("make").arg("--version").output().is_err() {
        eprintln!("no make here: its example is not run");
        return;
    }
    fs::remove_file(scratch.path("out/clean.jsonl")).unwrap();
    assert_eq!(run_shown(&scratch, "make out/sample.jsonl"), Some(0));
    assert!(!scratch.rows("out/sample.jsonl").is_empty());
    assert_eq!(run_shown(&scratch, "make -q out/sample.jsonl"), Some(0));
}

#[test]
fn the_page_of_notes_is_generated() {
    check_generated("docs/NOTES.md", &djr::catalog::notes_markdown());
}

#[test]
fn the_table_in_the_readme_is_what_the_demo_prints() {
    let scratch = Scratch::new();
    let shown = scratch
        .djr(&["run", "fixtures/demo.yaml", "--threads", "2"])
        .expect(1)
        .stderr;
    // Times, rates and memory differ from run to run.
    let stable: Vec<String> = shown
        .lines()
        .skip_while(|line| !line.starts_with("rows in"))
        .take_while(|line| !line.starts_with("time"))
        .map(|line| {
            let line = line.replace(scratch.path("").to_str().unwrap(), "");
            match line.rsplit_once("   ") {
                Some((left, right)) if right.ends_with(" cpu") => {
                    let kept: Vec<&str> = right
                        .split(", ")
                        .filter(|part| !part.ends_with(" cpu"))
                        .collect();
                    format!("{left}   {}", kept.join(", "))
                        .trim_end()
                        .to_owned()
                }
                _ => line,
            }
        })
        .collect();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (before, rest) = readme.split_once("<!-- demo-table -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /demo-table -->").unwrap();
    let table = format!("```text\n{}\n```\n", stable.join("\n"));
    check_generated(
        "README.md",
        &format!("{before}<!-- demo-table -->\n{table}<!-- /demo-table -->{after}"),
    );
}

/// Commands shown in a document: lines of console blocks, after the dollar sign.
pub fn shown_commands(text: &str) -> Vec<String> {
    let blocks = text
        .split("```console\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    blocks
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("$ "))
        .map(str::to_owned)
        .collect()
}

/// A scratch directory in which the documents' file names mean the fixtures.
pub fn workshop() -> Scratch {
    let scratch = Scratch::new();
    let dataset = root().join("fixtures/dataset");
    std::os::unix::fs::symlink(dataset.join("images"), scratch.path("images")).unwrap();
    for (name, file) in [
        ("data.jsonl", "rows.jsonl"),
        ("rows.jsonl", "rows.jsonl"),
        ("stage_1.json", "stage_1.json"),
    ] {
        fs::copy(dataset.join(file), scratch.path(name)).unwrap();
    }
    pictures(&scratch);
    scratch.write(
        "benchmark.json",
        r#"{"data": [{"question": "What does it show?", "image_id": "00000/000003"}]}"#,
    );
    scratch
}

/// A folder as img2dataset writes it: each picture with its caption and what is known of it.
fn pictures(scratch: &Scratch) {
    let folder = scratch.path("laion/00000");
    fs::create_dir_all(&folder).unwrap();
    let rows = scratch.read("data.jsonl");
    let rows = rows.split(|byte| *byte == b'\n').take(60).enumerate();
    for (number, row) in rows {
        // Some are broken on purpose.
        let row: serde_json::Value = serde_json::from_slice(row).unwrap_or_default();
        let image = row["images"][0].as_str().unwrap_or_default();
        let Ok(bytes) = fs::read(scratch.path(image)) else {
            continue;
        };
        let caption = row["text"].as_str().unwrap_or_default();
        let caption = caption
            .replace("<__dj__image>\n", "")
            .replace("<|__dj__eoc|>", "");
        let key = format!("{number:09}");
        let about = serde_json::json!({"key": key, "caption": caption.trim(), "status": "success"});
        fs::write(folder.join(format!("{key}.jpg")), bytes).unwrap();
        fs::write(folder.join(format!("{key}.txt")), caption.trim()).unwrap();
        fs::write(folder.join(format!("{key}.json")), format!("{about:#}")).unwrap();
    }
}

fn run_shown(scratch: &Scratch, command: &str) -> Option<i32> {
    let (code, stderr) = shell(scratch, command);
    // The fixtures hold planted defects: 1 says that rows were set aside.
    assert!(
        matches!(code, Some(0 | 1)),
        "{command}\nended with {code:?}\n{stderr}"
    );
    code
}

/// How a command ends, and what it says, in a shell that knows djr and the stand-ins.
fn shell(scratch: &Scratch, command: &str) -> (Option<i32>, String) {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_djr"));
    let path = format!(
        "{}:{}:{}",
        bin.parent().unwrap().display(),
        scratch.path("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", command])
        .current_dir(scratch.path(""))
        .env("PATH", path)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

#[test]
fn what_the_readme_shows_works() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let scratch = workshop();
    let commands = shown_commands(&readme);
    assert!(commands.len() >= 10);
    for command in commands {
        match command.as_str() {
            "cargo test" => {}
            "cargo run --release -- run fixtures/demo.yaml" => {
                // Other members have binaries, too.
                let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
                assert!(manifest.contains("\ndefault-run = \"djr\"\n"));
                let _ = run_shown(&scratch, "djr run fixtures/demo.yaml");
            }
            command => {
                let _ = run_shown(&scratch, command);
            }
        }
    }
    // The pipeline found its images although the recipe lies in another directory.
    let packed = scratch.read("clean.jsonl.gz");
    let mut rows = String::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut rows)
        .unwrap();
    assert!(rows.lines().count() > 100, "{} rows", rows.lines().count());
}

#[test]
fn what_the_page_of_curation_shows_works() {
    let page = fs::read_to_string(root().join("docs/CURATION.md")).unwrap();
    let scratch = workshop();
    run_shown(&scratch, "head -n 20 data.jsonl > seen.jsonl");
    let commands = shown_commands(&page);
    assert!(commands.len() >= 4);
    for command in commands {
        let _ = run_shown(&scratch, &command);
    }
    // Each list of steps is sound.
    let files = "dataset_path: data.jsonl\nimage_root: .\nexport_path: out.jsonl\nprocess:\n";
    let lists = page.split("```yaml\nprocess:\n").skip(1);
    let lists: Vec<&str> = lists.filter_map(|rest| rest.split("```").next()).collect();
    assert!(lists.len() >= 3);
    for steps in lists {
        scratch.write("steps.yaml", format!("{files}{steps}"));
        scratch.djr(&["check", "steps.yaml"]).expect(0);
    }
}

#[test]
fn what_help_shows_works() {
    let scratch = workshop();
    fs::copy(
        root().join("recipes/basic_clean.yaml"),
        scratch.path("recipe.yaml"),
    )
    .unwrap();
    // Files that examples read and others write.
    run_shown(&scratch, "cp data.jsonl clean.jsonl; mkdir -p data");
    run_shown(
        &scratch,
        "djr convert --to llava data.jsonl --questions stage_1.json -o train.json",
    );
    run_shown(
        &scratch,
        "djr convert --to messages --from llava train.json -o train.jsonl",
    );
    let recipe = "djr run recipe.yaml --set dataset_path=data.jsonl --set image_root=.";
    run_shown(&scratch, &format!("{recipe} --output out/clean.jsonl"));
    run_shown(
        &scratch,
        "cp data.jsonl old.jsonl; cp clean.jsonl new.jsonl; cp train.json a.json; cp a.json b.json;
        for name in before after; do djr run recipe.yaml --set dataset_path=data.jsonl \
            --set image_root=. --output $name.jsonl; done; true",
    );
    run_shown(
        &scratch,
        &format!("{recipe} --output kept.jsonl --cache kept"),
    );
    run_shown(&scratch, "head -n 20 data.jsonl > seen.jsonl");
    crate::report::little_analysis(&scratch);
    let mut shown = 0;
    for command in [
        "",
        "run",
        "plan",
        "next",
        "task",
        "slurm",
        "finish",
        "check",
        "analyze",
        "recut",
        "subset",
        "convert",
        "why",
        "verify",
        "diff",
        "report",
        "ops",
        "ls",
        "clean",
        "cache",
        "schema",
        "index",
        "decontaminate",
    ] {
        let args: Vec<&str> = [command, "--help"]
            .into_iter()
            .filter(|a| !a.is_empty())
            .collect();
        let help = scratch.djr(&args).expect(0).text();
        let examples = help.split("Example").nth(1).unwrap_or_default();
        for line in examples.lines().filter_map(|l| l.strip_prefix("  ")) {
            let line = line.split("   ").next().unwrap();
            if !(line.starts_with("djr ") || line.starts_with("cat ")) {
                continue;
            }
            // An id that the fixtures have, and a cache that the runs before made.
            let line = line
                .replace("/data/kept", "kept")
                .replace("--image-root /data", "--image-root .")
                .replace("006092514", "001206");
            // Each example stands for itself; here all of them write into one directory.
            let line = line.replace("djr run recipe.yaml", recipe);
            run_shown(&scratch, &format!("export DJR_FORCE=1; {line}"));
            shown += 1;
        }
    }
    assert!(shown >= 18, "only {shown} examples");
}
