//! Outputs that are no regular files are written to as streams and never replaced; outputs that
//! are links have their targets replaced.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;

use crate::support::{Scratch, rows};

const RECIPE: &str = "process:\n  - text_length_filter: {min_len: 3}\n";
const ROWS: &str = "{\"id\": \"1\", \"text\": \"[[human]]: q\\n[[gpt]]: a <|__dj__eoc|>\"}\n{\"id\": \"2\", \"text\": \"\"}\n";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("r.yaml", RECIPE);
    scratch.write("in.jsonl", ROWS);
    scratch
}

/// A FIFO, and a thread that reads it to its end.
fn fifo(scratch: &Scratch, name: &str) -> JoinHandle<Vec<u8>> {
    let path = scratch.path(name);
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    std::thread::spawn(move || fs::read(path).unwrap())
}

fn is_fifo(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().file_type().is_fifo()
}

/// What lies in the scratch directory besides what the test put there.
fn left(scratch: &Scratch, put: &[&str]) -> Vec<String> {
    let found = fs::read_dir(scratch.path("")).unwrap().flatten();
    let names = found.map(|entry| entry.file_name().into_string().unwrap());
    let given = ["fixtures", "recipes", "r.yaml", "in.jsonl"];
    let mut new: Vec<String> = names
        .filter(|name| !given.contains(&name.as_str()) && !put.contains(&name.as_str()))
        .collect();
    new.sort();
    new
}

/// Runs a script that must succeed.
fn bash(scratch: &Scratch, script: &str) {
    let ran = Command::new("bash")
        .args(["-c", script])
        .current_dir(scratch.path(""))
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn every_command_writes_into_a_pipe_and_leaves_nothing_beside_it() {
    let commands: [&[&str]; 4] = [
        &["run", "r.yaml", "--input", "in.jsonl", "--output", "pipe"],
        &["convert", "--to", "llava", "in.jsonl", "-o", "pipe"],
        &["subset", "in.jsonl", "--n", "1", "-o", "pipe"],
        &[
            "subset",
            "in.jsonl",
            "--n",
            "1",
            "--validate",
            "exists",
            "-o",
            "pipe",
        ],
    ];
    for command in commands {
        let scratch = scratch();
        let read = fifo(&scratch, "pipe");
        let ran = scratch.djr(command);
        assert!(ran.code <= 1, "{command:?}: {}", ran.stderr);
        let got = read.join().unwrap();
        assert!(got.len() > 20, "{command:?} wrote {got:?}");
        assert!(is_fifo(&scratch.path("pipe")), "{command:?}");
        assert_eq!(left(&scratch, &["pipe"]), [""; 0], "{command:?}");
    }
}

#[test]
fn archives_and_tables_go_into_pipes_as_into_files() {
    for (format, file) in [("webdataset", "whole.tar"), ("parquet", "whole.parquet")] {
        let scratch = scratch();
        let convert = ["convert", "--to", format, "in.jsonl", "-o"];
        scratch.djr(&[&convert[..], &[file]].concat()).expect(0);
        let whole = scratch.read(file);
        let read = fifo(&scratch, "pipe");
        scratch.djr(&[&convert[..], &["pipe"]].concat()).expect(0);
        assert!(read.join().unwrap() == whole, "{format}");
        let record = format!("{file}.djr");
        assert_eq!(left(&scratch, &["pipe", file, &record]), [""; 0]);
        let piped = scratch.djr(&[&convert[..], &["-"]].concat()).expect(0);
        assert!(piped.stdout == whole, "{format}");
        scratch
            .djr(&[&convert[..], &["/dev/null"]].concat())
            .expect(0);
    }
    // What lies beside a file has no place beside a stream.
    for (keys, what) in [
        (
            "format: webdataset, index: true",
            "an index is written beside a file",
        ),
        (
            "format: imagefolder, image_files: copy",
            "images are copied",
        ),
    ] {
        let scratch = scratch();
        let recipe =
            format!("dataset_path: in.jsonl\n{RECIPE}outputs: [{{path: /dev/null, {keys}}}]\n");
        scratch.write("beside.yaml", recipe);
        let ran = scratch.djr(&["check", "beside.yaml"]).expect(2);
        assert!(ran.stderr.contains(what), "{}", ran.stderr);
    }
}

#[test]
fn an_analysis_is_no_stream() {
    let scratch = scratch();
    scratch.write("file", "kept");
    for output in ["/dev/null", "file"] {
        let ran = scratch
            .djr(&["analyze", "in.jsonl", "-o", output])
            .expect(2);
        assert!(
            ran.stderr.contains("an analysis is a directory"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(scratch.read("file"), b"kept");
}

#[test]
fn a_device_stays_a_device() {
    let scratch = scratch();
    // A link first: a program that replaced what it is given would replace only the link.
    symlink("/dev/null", scratch.path("link")).unwrap();
    let made = Command::new("mknod")
        .args([
            scratch.path("null").as_os_str(),
            "c".as_ref(),
            "1".as_ref(),
            "3".as_ref(),
        ])
        .status();
    let mut outputs = vec!["link"];
    if made.is_ok_and(|status| status.success()) {
        outputs.push("null");
    }
    for output in outputs {
        let before = fs::metadata(scratch.path(output)).unwrap().file_type();
        scratch
            .djr(&["run", "r.yaml", "--input", "in.jsonl", "--output", output])
            .expect(0);
        scratch
            .djr(&["subset", "in.jsonl", "--n", "1", "-o", output])
            .expect(0);
        scratch
            .djr(&["convert", "--to", "llava", "in.jsonl", "-o", output])
            .expect(1);
        let after = fs::metadata(scratch.path(output)).unwrap().file_type();
        assert!(
            before.is_char_device() && after.is_char_device(),
            "{output}"
        );
        assert_eq!(left(&scratch, &["link", "null"]), [""; 0]);
    }
    assert!(
        fs::symlink_metadata(scratch.path("link"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_stream_among_outputs_leaves_the_record_to_the_files() {
    let scratch = scratch();
    scratch.write(
        "two.yaml",
        "dataset_path: in.jsonl\nprocess:\n  - text_length_filter: {min_len: 3}\noutputs:\n  - {format: jsonl, path: pipe.jsonl}\n  - {format: llava, path: out/b.json}\n",
    );
    let read = fifo(&scratch, "pipe.jsonl");
    scratch.djr(&["run", "two.yaml"]).expect(0);
    assert_eq!(rows(&read.join().unwrap()).len(), 1);
    assert_eq!(left(&scratch, &["two.yaml", "pipe.jsonl"]), ["out"]);
    assert_eq!(scratch.json("out/b.json").as_array().unwrap().len(), 1);
    assert!(
        scratch
            .files("out")
            .iter()
            .any(|name| name.ends_with("manifest.json")),
        "{:?}",
        scratch.files("out")
    );
}

#[test]
fn a_record_of_a_stream_goes_where_run_dir_says() {
    let scratch = scratch();
    let read = fifo(&scratch, "pipe");
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "--input",
            "in.jsonl",
            "--output",
            "pipe",
            "--run-dir",
            "record",
        ])
        .expect(0);
    assert_eq!(rows(&read.join().unwrap()).len(), 1);
    assert_eq!(left(&scratch, &["pipe", "record"]), [""; 0]);
    assert!(scratch.path("record/manifest.json").is_file());
    let ran = scratch.djr(&["verify", "record"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn pages_and_differences_go_into_pipes_too() {
    let scratch = scratch();
    scratch
        .djr(&[
            "run",
            "r.yaml",
            "--input",
            "in.jsonl",
            "--output",
            "a.jsonl",
            "--run-dir",
            "record",
        ])
        .expect(0);
    for command in [
        ["report", "record", "-o", "pipe", ""],
        ["diff", "in.jsonl", "a.jsonl", "-o", "pipe"],
    ] {
        let read = fifo(&scratch, "pipe");
        let command = command.iter().filter(|word| !word.is_empty());
        let ran = scratch.djr(&command.collect::<Vec<_>>());
        assert!(ran.code <= 1, "{}", ran.stderr);
        assert!(read.join().unwrap().len() > 10);
        assert!(is_fifo(&scratch.path("pipe")));
        fs::remove_file(scratch.path("pipe")).unwrap();
        assert_eq!(
            left(&scratch, &["a.jsonl", "a_stats.jsonl", "record"]),
            [""; 0]
        );
    }
}

#[test]
fn a_shell_may_pack_an_output_on_the_way() {
    let scratch = scratch();
    let djr = env!("CARGO_BIN_EXE_djr");
    let script = format!(
        "set -e; {djr} run r.yaml --input in.jsonl --output >(gzip > x.gz) 2>/dev/null; \
         {djr} run r.yaml --input in.jsonl --output /dev/fd/3 3> three.jsonl 2>/dev/null; \
         {{ echo first; {djr} run r.yaml --input in.jsonl --output /dev/stdout 2>/dev/null; echo last; }} > all.txt; \
         for i in $(seq 100); do gzip -t x.gz 2>/dev/null && break; sleep 0.1; done; gzip -dc x.gz > x.jsonl"
    );
    bash(&scratch, &script);
    let kept = ROWS.lines().next().unwrap();
    assert_eq!(scratch.read("x.jsonl"), format!("{kept}\n").as_bytes());
    assert_eq!(scratch.read("three.jsonl"), format!("{kept}\n").as_bytes());
    assert_eq!(
        scratch.read("all.txt"),
        format!("first\n{kept}\nlast\n").as_bytes()
    );
    assert_eq!(
        left(&scratch, &["x.gz", "x.jsonl", "three.jsonl", "all.txt"]),
        [""; 0]
    );
}

#[test]
fn a_descriptor_is_shared_with_who_opened_it() {
    let scratch = scratch();
    let djr = env!("CARGO_BIN_EXE_djr");
    let script = format!(
        "set -e; \
         exec 7> seven.txt; echo first >&7; {djr} run r.yaml --input in.jsonl --output /dev/fd/7 2>/dev/null; echo last >&7; exec 7>&-; \
         {djr} subset in.jsonl -n 1 -o /dev/stderr --quiet 2> two.txt; \
         cp in.jsonl read.jsonl; \
         if {djr} subset in.jsonl -n 1 -o /dev/fd/8 8< read.jsonl 2>/dev/null; then exit 4; fi; \
         if {djr} run r.yaml --input read.jsonl --output - >> read.jsonl 2>/dev/null; then exit 5; fi; \
         if {djr} subset read.jsonl -n 1 -o /dev/fd/9 9>> read.jsonl 2>/dev/null; then exit 6; fi"
    );
    bash(&scratch, &script);
    let kept = ROWS.lines().next().unwrap();
    assert_eq!(
        scratch.read("seven.txt"),
        format!("first\n{kept}\nlast\n").as_bytes()
    );
    assert_eq!(scratch.rows("two.txt").len(), 1);
    // A descriptor for reading is not written to, nor is an input by another name.
    assert_eq!(scratch.read("read.jsonl"), ROWS.as_bytes());
}

#[test]
fn the_target_of_a_link_is_replaced_and_the_link_stays() {
    for command in [
        [
            "run",
            "r.yaml",
            "--input",
            "in.jsonl",
            "--output",
            "link.jsonl",
        ],
        ["subset", "in.jsonl", "--n", "1", "-o", "link.jsonl"],
    ] {
        for old in [Some("old"), None] {
            let scratch = scratch();
            fs::create_dir(scratch.path("far")).unwrap();
            if let Some(old) = old {
                scratch.write("far/real.jsonl", old);
            }
            symlink("far/real.jsonl", scratch.path("link.jsonl")).unwrap();
            let held = old.map(|_| fs::File::open(scratch.path("far/real.jsonl")).unwrap());
            scratch.djr(&command).expect(0);
            assert!(
                fs::symlink_metadata(scratch.path("link.jsonl"))
                    .unwrap()
                    .is_symlink()
            );
            assert_eq!(rows(&scratch.read("far/real.jsonl")).len(), 1);
            if let Some(held) = held {
                // Replaced as a whole: whoever had the old file open still reads it.
                assert_eq!(std::io::read_to_string(held).unwrap(), "old");
            }
            assert_eq!(scratch.files("far"), ["real.jsonl"]);
        }
    }
}

#[test]
fn parts_and_locks_are_not_written_through_links() {
    for name in [".out.jsonl.djr-part", ".out.jsonl.djr-lock"] {
        let scratch = scratch();
        scratch.write("precious", "precious");
        symlink("precious", scratch.path(name)).unwrap();
        let ran = scratch.djr(&[
            "run",
            "r.yaml",
            "--input",
            "in.jsonl",
            "--output",
            "out.jsonl",
        ]);
        assert!(ran.code == 0 || ran.code == 3, "{}", ran.stderr);
        assert_eq!(scratch.read("precious"), b"precious", "{name}");
    }
}

#[test]
fn an_index_and_a_file_that_was_mended_are_called_what_they_are() {
    let scratch = Scratch::new();
    scratch.write("b.json", "[{\"question\": \"What is it?\"}]");
    scratch.write("t.jsonl", "{\"messages\": []}\n");
    for name in ["b.gz", "b.csv", "b", "d/", "s3://bucket/b.index"] {
        let ran = scratch.djr(&["index", "b.json", "-o", name]).expect(2);
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
    for name in ["f.csv", "f", "f.jsonl.gz", "d/"] {
        let args = ["check", "--for", "ms_swift", "t.jsonl", "--fix", name];
        let ran = scratch.djr(&args).expect(2);
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
    for name in ["b.gz", "b.csv", "b", "d", "s3:", "f.csv", "f", "f.jsonl.gz"] {
        assert!(!scratch.path(name).exists(), "{name}");
    }
    for name in ["b.index", "b.index.json"] {
        scratch.djr(&["index", "b.json", "-o", name]).expect(0);
    }
}

#[test]
fn a_stream_holds_what_a_file_of_its_name_would() {
    let scratch = scratch();
    let row = |id: &str, answer: &str| {
        format!(
            "{{\"id\": \"{id}\", \"conversations\": [{{\"from\": \"human\", \"value\": \"q\"}}, {{\"from\": \"gpt\", \"value\": \"{answer}\"}}]}}"
        )
    };
    scratch.write("t.json", format!("[{}, {}]", row("1", "a"), row("2", "")));
    let fix = |name: &str| scratch.djr(&["check", "--for", "llava", "t.json", "--fix", name]);
    fix("fixed.json").expect(1);
    assert_eq!(scratch.json("fixed.json").as_array().unwrap().len(), 1);
    // A name that says nothing is that of the file it was made of.
    for name in ["pipe.json", "pipe"] {
        let read = fifo(&scratch, name);
        fix(name).expect(1);
        assert_eq!(read.join().unwrap(), scratch.read("fixed.json"), "{name}");
        assert!(is_fifo(&scratch.path(name)));
    }
    // What was found goes there.
    for name in ["-", "/dev/stdout", "/dev/fd/1"] {
        let ran = fix(name).expect(2);
        assert!(ran.stdout.is_empty(), "{name}: {}", ran.text());
    }
    let to = |name: &'static str| ["run", "r.yaml", "--input", "in.jsonl", "--output", name];
    scratch.djr(&to("out.json")).expect(0);
    let read = fifo(&scratch, "rows.json");
    scratch.djr(&to("rows.json")).expect(0);
    assert_eq!(read.join().unwrap(), scratch.read("out.json"));
}
