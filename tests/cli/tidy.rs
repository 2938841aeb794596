//! What the compiler does not check: who may use whom, and that documents name what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

/// The modules each module may use, as ARCHITECTURE.md says.
const MAY_USE: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("image", &[]),
    ("archive", &[]),
    ("hash", &["text"]),
    ("sample", &["image", "text"]),
    ("op", &["hash", "sample", "text"]),
    ("ops", &["op", "sample", "text", "image", "archive", "hash"]),
    ("recipe", &["op", "sample", "io"]),
    ("io", &["sample", "recipe", "text"]),
    (
        "exec",
        &["op", "sample", "io", "recipe", "report", "hash", "text"],
    ),
    (
        "analysis",
        &[
            "exec", "image", "io", "op", "recipe", "report", "sample", "text",
        ],
    ),
    ("report", &["exec", "io", "recipe", "sample", "cli"]),
    ("view", &["report", "op", "sample", "io", "recipe", "image"]),
    ("catalog", &["op", "recipe"]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out.sort();
    out
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (module, allowed) in MAY_USE {
        for file in sources(&root().join("src").join(module)) {
            let text = fs::read_to_string(&file).unwrap();
            // Tests may look at everything.
            let text = if file.ends_with("tests.rs") {
                ""
            } else {
                text.split("#[cfg(test)]").next().unwrap()
            };
            for (number, line) in text.lines().enumerate() {
                for used in line.split("crate::").skip(1) {
                    let name: String = used
                        .chars()
                        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                        .collect();
                    let known = MAY_USE.iter().any(|(m, _)| *m == name) || name == "cli";
                    let comment = line.trim_start().starts_with("//");
                    if known && name != *module && !allowed.contains(&name.as_str()) && !comment {
                        wrong.push(format!(
                            "{}:{}: {module} may not use {name}",
                            file.display(),
                            number + 1
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
        let peer = djr::catalog::peer_ops::find(op.name);
        assert!(peer.is_some(), "{} is no operator of Data-Juicer", op.name);
    }
}

/// Codes given to the constructors of errors of a row anywhere in the source.
fn reason_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for file in sources(&root().join("src")) {
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
    let files = [root().join("src"), root().join("tests")];
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
