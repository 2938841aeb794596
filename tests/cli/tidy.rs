//! What the compiler does not check: who may use whom, and that documents name what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

/// A table of ARCHITECTURE.md: its first column, and the names in its third. Its rows begin with
/// `` | `PREFIX ``. What the crates under `crates/` may use is in their `Cargo.toml`, and any module
/// may use them.
fn table(prefix: &str) -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut table = Vec::new();
    for line in page.lines() {
        let Some(row) = line.strip_prefix(&format!("| `{prefix}")) else {
            continue;
        };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').collect();
        let [module, _, may_use] = cells[..] else {
            panic!("not three cells: {line}");
        };
        let module = module.trim().trim_end_matches(".rs`");
        let module = module.trim_end_matches("/`").to_owned();
        // What stands in brackets explains a name.
        let plain: String = may_use
            .split('(')
            .map(|part| part.rsplit(')').next().unwrap_or_default())
            .collect();
        let words = plain
            .split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .filter(|word| !word.is_empty() && *word != "crates");
        table.push((module, words.map(str::to_owned).collect()));
    }
    assert!(!table.is_empty(), "no table of {prefix}");
    table
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    files(dir, &["rs"])
}

/// The files below `dir` whose names have one of these suffixes.
fn files(dir: &Path, suffixes: &[&str]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        if path.is_dir() {
            out.extend(files(&path, suffixes));
        } else if suffix.is_some_and(|suffix| suffixes.contains(&suffix)) {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// The files and folders of `dir`, as module names.
fn modules_of(dir: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(dir).unwrap().flatten();
    names
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !["mod.rs", "lib.rs", "main.rs"].contains(&name.as_str()))
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect()
}

/// The names that follow `from` in Rust code, each with its line: one after the path, or all of
/// a list in braces, wherever it ends.
fn used(code: &str, from: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(from) {
        let line = code[..at].lines().count().max(1);
        let text = code[..at].lines().last().unwrap_or_default();
        if text.trim_start().starts_with("//")
            || code[..at].ends_with(|c: char| c.is_alphanumeric() || c == ':' || c == '_')
        {
            continue;
        }
        let rest = &code[at + from.len()..];
        let names = if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let end = list.find(|c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth < 0
            });
            let mut depth = 0;
            let mut top = String::new();
            for c in list[..end.unwrap()].chars() {
                depth += i32::from(c == '{') - i32::from(c == '}');
                if depth == 0 {
                    top.push(c);
                }
            }
            top
        } else {
            rest.split_once(|c: char| !c.is_alphanumeric() && c != '_')
                .map_or(rest, |(name, _)| name)
                .to_owned()
        };
        for name in names.split(',') {
            let name = name.trim().split("::").next().unwrap_or_default();
            let name = name.split_whitespace().next().unwrap_or_default();
            if !name.is_empty() {
                found.push((line, name.to_owned()));
            }
        }
    }
    found
}

/// Where code under `src/` uses a module that `table` does not allow it. `paths` are ways to
/// write the parent of the modules from `depth` folders below it.
fn forbidden(
    parent: &Path,
    table: &[(String, Vec<String>)],
    paths: impl Fn(usize) -> Vec<String>,
    alias: &dyn Fn(&str) -> String,
) -> Vec<String> {
    let listed: BTreeSet<&String> = table.iter().map(|(module, _)| module).collect();
    let mut wrong = Vec::new();
    for (module, allowed) in table {
        let folder = parent.join(module);
        let files = if folder.is_dir() {
            sources(&folder)
        } else {
            vec![parent.join(format!("{module}.rs"))]
        };
        for file in files {
            let inside = file.strip_prefix(parent).unwrap().components().count();
            let depth = inside - usize::from(file.ends_with("mod.rs"));
            let text = fs::read_to_string(&file).unwrap();
            for (line, name) in paths(depth).iter().flat_map(|path| used(&text, path)) {
                let name = alias(&name);
                let all = allowed.iter().any(|word| word == "all");
                if name != *module && listed.contains(&name) && !all && !allowed.contains(&name) {
                    let file = file.display();
                    wrong.push(format!("{file}:{line}: {module} may not use {name}"));
                }
            }
        }
    }
    wrong
}

/// A module of `table` that can be reached from itself.
fn circle(table: &[(String, Vec<String>)]) -> Option<String> {
    // Rows whose needs are all taken away, again and again: what is left goes round.
    let mut left: Vec<&(String, Vec<String>)> = table.iter().collect();
    while !left.is_empty() {
        let names: BTreeSet<&String> = left.iter().map(|row| &row.0).collect();
        let before = left.len();
        let stands = |row: &&(String, Vec<String>)| row.1.iter().any(|used| names.contains(used));
        let kept: Vec<_> = left.iter().copied().filter(stands).collect();
        if kept.len() == before {
            return Some(
                kept.iter()
                    .map(|row| row.0.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            );
        }
        left = kept;
    }
    None
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let table = table("src/");
    let src = root().join("src");
    let listed: BTreeSet<String> = table.iter().map(|(module, _)| module.clone()).collect();
    assert_eq!(
        modules_of(&src),
        listed,
        "ARCHITECTURE.md's table and src/ differ"
    );
    let wrong = forbidden(&src, &table, |_| vec!["crate::".to_owned()], &str::to_owned);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(circle(&table), None, "modules go round");
}

#[test]
fn the_rooms_of_the_executor_use_only_what_its_table_allows() {
    let table = table("exec/");
    let exec = root().join("src/exec");
    let listed: BTreeSet<String> = table.iter().map(|(module, _)| module.clone()).collect();
    assert_eq!(
        modules_of(&exec),
        listed,
        "ARCHITECTURE.md's table and src/exec/ differ"
    );
    let front = fs::read_to_string(exec.join("mod.rs")).unwrap();
    // What `mod.rs` gives out under its own name is its room's.
    let alias = |name: &str| {
        let gives = |line: &&str| {
            let line = line
                .strip_prefix("pub use ")
                .or_else(|| line.strip_prefix("use "));
            line.is_some_and(|line| {
                line.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|word| word == name)
            })
        };
        let line = front.lines().find(gives).unwrap_or_default();
        let path = line.trim_start_matches("pub ").trim_start_matches("use ");
        let room = path.split("::").next().unwrap_or_default();
        if listed.contains(room) {
            room.to_owned()
        } else {
            name.to_owned()
        }
    };
    let paths = |depth: usize| vec!["crate::exec::".to_owned(), "super::".repeat(depth)];
    let wrong = forbidden(&exec, &table, paths, &alias);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(circle(&table), None, "rooms go round");
}

#[test]
fn operator_files_modules_and_registry_agree() {
    let ops = root().join("src/ops");
    let mut files = BTreeSet::new();
    for family in ["mapper", "filter", "dedup", "select", "group"] {
        let listed = fs::read_to_string(ops.join(family).join("mod.rs")).unwrap();
        for file in sources(&ops.join(family)) {
            let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
            if stem == "mod" {
                continue;
            }
            assert!(
                listed.contains(&format!("mod {stem};")),
                "{family}/mod.rs does not list {stem}"
            );
            if fs::read_to_string(&file).unwrap().contains("operator! {") {
                files.insert(stem);
            }
        }
    }
    let registry: BTreeSet<String> = djr::op::all().iter().map(|op| op.name.to_owned()).collect();
    assert_eq!(files, registry);
    for op in djr::op::all() {
        assert!(
            op.file.ends_with(&format!("{}.rs", op.name)),
            "{} is defined in {}",
            op.name,
            op.file
        );
    }
}

/// The code of a source file: what stands before its tests.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let tests = text.find("\nmod tests {");
    let begin = tests.and_then(|tests| text[..tests].rfind("#[cfg(test)]"));
    text[..begin.unwrap_or(text.len())].to_owned()
}

/// The string literals of Rust code, without their quotes.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix('r').and_then(|after| {
            let hashes = after.len() - after.trim_start_matches('#').len();
            let body = after[hashes..].strip_prefix('"')?;
            let end = format!("\"{}", "#".repeat(hashes));
            Some((body.find(&end)?, body, end.len()))
        });
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some((end, body, quote)) = raw {
            found.push(body[..end].to_owned());
            rest = &body[end + quote..];
        } else if let Some(body) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = body.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let end = end.unwrap();
            found.push(body[..end].to_owned());
            rest = &body[end + 1..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = &rest[rest[1..].find('\'').unwrap() + 2..];
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            rest = end.map_or("", |end| &rest[end..]);
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

#[test]
fn literals_are_found_among_comments_and_quotes() {
    let code = r##"let a = "b\"c"; // "no"
        f('"', '\"', 'x', r#"d"e"#, br"f", &'a "g");
        let raw = r"h";"##;
    assert_eq!(literals(code), ["b\\\"c", "d\"e", "f", "g", "h"]);
}

/// Examples for people: nothing is decided by them.
const SHOWN: [(&str, &[&str]); 11] = [
    (
        "catalog/pages.rs",
        &[
            "text_length_filter",
            "image_aspect_ratio_filter",
            "image_shape_filter",
            "image_width",
            "image_deduplicator",
            "document_minhash_deduplicator",
        ],
    ),
    (
        "catalog/recipe_page.rs",
        &["text_length_filter", "document_deduplicator"],
    ),
    ("cli/ops.rs", &["text_length_filter"]),
    ("cli/recut.rs", &["text_length_filter", "words_num_filter"]),
    ("cli/run.rs", &["text_length_filter"]),
    ("cli/why.rs", &["text_length_filter"]),
    (
        "trainer/llama_factory.rs",
        &[
            "replace_content_mapper",
            "image_aspect_ratio_filter",
            "text_length_filter",
        ],
    ),
    (
        "trainer/llava.rs",
        &["text_length_filter", "image_shape_filter"],
    ),
    // A word of the option `images` of outputs.
    ("io/format/mod.rs", &["embed"]),
    (
        "trainer/ms_swift.rs",
        &["replace_content_mapper", "text_length_filter"],
    ),
    (
        "trainer/qwen_vl.rs",
        &["image_aspect_ratio_filter", "image_shape_filter"],
    ),
];

#[test]
fn no_operator_and_no_stat_is_known_by_its_name() {
    let ops = djr::op::all();
    let stats = ops.iter().flat_map(|op| op.facts.stats);
    let names: BTreeSet<&str> = ops
        .iter()
        .map(|op| op.name)
        .chain(stats.map(djr::op::StatDef::name))
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.len() > 90, "{names:?}");
    let src = root().join("src");
    let mut wrong = Vec::new();
    for file in sources(&src) {
        let place = file.strip_prefix(&src).unwrap().to_str().unwrap();
        // The operators themselves, and the list of Data-Juicer's.
        if place.starts_with("ops/") || place == "recipe/peer_ops.rs" || place.ends_with("tests.rs")
        {
            continue;
        }
        let shown = SHOWN.iter().find(|(at, _)| *at == place);
        let shown = shown.map_or(&[][..], |(_, names)| names);
        for literal in literals(&code(&file)) {
            // A name of one word may stand in a sentence.
            let words = literal.split(|c: char| !c.is_alphanumeric() && c != '_');
            let words = words.filter(|word| word.contains('_') || *word == literal);
            for word in words {
                if names.contains(word) && !shown.contains(&word) {
                    wrong.push(format!("src/{place}: {word}"));
                }
            }
        }
    }
    // Examples and cures name operators that there are, and no others are excepted.
    for (place, shown) in SHOWN {
        let text = code(&src.join(place));
        for name in shown {
            if !names.contains(name) || !text.contains(name) {
                wrong.push(format!("src/{place}: {name} is excepted, and not there"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators_open_files_through_their_context_only() {
    let mut wrong = Vec::new();
    for file in sources(&root().join("src/ops")) {
        let code = code(&file);
        for door in ["std::fs", "fs::", "File::open", "OpenOptions"] {
            if code.contains(door) {
                wrong.push(format!("{}: {door}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names like those of options that the tests and scripts of this project take from the environment.
fn variables_of_tests() -> BTreeSet<String> {
    let mut scripts = vec![root().join(".ci/run")];
    for folder in ["tests", "crates", "python", "benches", "fixtures"] {
        scripts.extend(files(&root().join(folder), &["rs", "py", "sh"]));
    }
    let mut names = BTreeSet::new();
    for script in scripts {
        let text = fs::read_to_string(&script).unwrap();
        for reads in [
            "env::var(\"",
            "env::var_os(\"",
            "environ.get(\"",
            "environ[\"",
            "${",
        ] {
            for name in text.split(reads).skip(1) {
                let is_word = |letter: char| letter == '_' || letter.is_ascii_uppercase();
                let name: String = name.chars().take_while(|it| is_word(*it)).collect();
                names.extend(name.starts_with("DJR_").then_some(name));
            }
        }
    }
    names
}

#[test]
fn variables_of_the_tests_are_told_from_mistyped_options() {
    let names = variables_of_tests();
    assert!(names.contains("DJR_SHARED") && names.contains("DJR_RAY_PYTHON"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_djr"));
    let said = command
        .args(["ls", "fixtures/golden"])
        .current_dir(root())
        .envs(names.iter().map(|name| (name, "x")))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(!said.contains("stands for no option"), "{said}");
}

/// Codes given to the constructors of errors of a row anywhere in the source.
fn reason_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut files = sources(&root().join("src"));
    files.extend(sources(&root().join("crates")));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for constructor in ["RowError::new(", "ImageError::new(", "ArchiveError::new("] {
            for call in text.split(constructor).skip(1) {
                if let Some(rest) = call.trim_start().strip_prefix('"') {
                    codes.extend(rest.split('"').next().map(str::to_owned));
                }
            }
        }
    }
    codes
}

#[test]
fn every_reason_is_explained() {
    let page = fs::read_to_string(root().join("docs/REASONS.md")).unwrap();
    let missing: Vec<_> = reason_codes()
        .into_iter()
        .filter(|code| !page.contains(&format!("`{code}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/REASONS.md does not explain {missing:?}"
    );
}

#[test]
fn every_fault_has_its_test() {
    let page = fs::read_to_string(root().join("docs/FAULTS.md")).unwrap();
    let files = [
        root().join("src"),
        root().join("crates"),
        root().join("tests"),
    ];
    let code: String = files
        .iter()
        .flat_map(|dir| sources(dir))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains("::"))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let function = name.rsplit("::").next().unwrap();
        assert!(
            code.contains(&format!("fn {function}(")),
            "{name} is no test"
        );
    }
}
