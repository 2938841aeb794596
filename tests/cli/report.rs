//! `djr report`: the page says what the run's own files say, is opened by a browser without a
//! complaint, asks the network for nothing, and shows what looks like markup as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use regex::Regex;
use serde_json::{Value, json};

use crate::support::{Scratch, root, shared};

/// A caption that would do something if it was not text.
const EVIL: &str = "<script>document.title='owned'</script><img src=http://canary.invalid/x onerror=alert(1)> \"'&amp;";

/// One bar of a chart, as the page has it.
#[derive(Debug, Clone, PartialEq)]
struct Bar {
    from: f64,
    to: f64,
    counts: [u64; 2],
}

/// The charts of the part of a page that begins with `section`, by the stat they show.
fn charts(page: &str, section: &str) -> Vec<(String, Vec<Bar>)> {
    let opening = format!("<section id=\"{section}\"");
    let (_, rest) = page.split_once(&opening).unwrap();
    let (inside, _) = rest.split_once("</section>").unwrap();
    let drawn =
        Regex::new(r#"data-from="([^"]*)" data-to="([^"]*)" data-a="(\d+)" data-b="(\d+)""#)
            .unwrap();
    inside
        .split("data-stat=\"")
        .skip(1)
        .map(|chart| {
            let (stat, rest) = chart.split_once('"').unwrap();
            let svg = rest.split("</svg>").next().unwrap();
            let bars = drawn.captures_iter(svg).map(|c| Bar {
                from: c[1].parse().unwrap(),
                to: c[2].parse().unwrap(),
                counts: [c[3].parse().unwrap(), c[4].parse().unwrap()],
            });
            (stat.to_owned(), bars.collect())
        })
        .collect()
}

/// The values that the run's files have for a stat: of survivors, and of rows that `step` dropped.
fn values(scratch: &Scratch, base: &str, stat: &str, step: u64) -> [Vec<f64>; 2] {
    let list = |value: &Value| -> Vec<f64> {
        match value {
            Value::Array(list) => list.iter().filter_map(Value::as_f64).collect(),
            other => other.as_f64().into_iter().collect(),
        }
    };
    let kept = scratch
        .rows(&format!("{base}_stats.jsonl"))
        .iter()
        .flat_map(|row| list(&row["__dj__stats__"][stat]))
        .collect();
    let dropped = scratch
        .ledger(&format!("{base}.jsonl.djr"))
        .iter()
        .filter(|e| e["step"] == step && e["stat"] == stat)
        .flat_map(|e| list(&e["value"]))
        .collect();
    [kept, dropped]
}

fn assert_counts(bars: &[Bar], values: &[Vec<f64>; 2], stat: &str) {
    for (kind, values) in values.iter().enumerate() {
        let told: u64 = bars.iter().map(|b| b.counts[kind]).sum();
        assert_eq!(told, values.len() as u64, "{stat}");
        for (index, bar) in bars.iter().enumerate() {
            // Whether a bar holds its upper edge, only the next bar's presence tells.
            let inner = |v: &&f64| **v > bar.from && **v < bar.to;
            let closed = |v: &&f64| **v >= bar.from && **v <= bar.to;
            let (least, most) = (
                values.iter().filter(inner).count() as u64,
                values.iter().filter(closed).count() as u64,
            );
            assert!(
                (least..=most).contains(&bar.counts[kind]),
                "{stat}, bar {index}: {bar:?}, {least} to {most} values"
            );
        }
    }
}

#[test]
fn the_charts_of_a_run_are_its_files() {
    let scratch = Scratch::new();
    scratch.djr(&["run", "fixtures/demo.yaml"]).expect(1);
    let _ = std::fs::remove_file(scratch.path("out/demo/clean.jsonl.djr/stats.jsonl.zst"));
    let page = scratch
        .djr(&["report", "out/demo/clean.jsonl.djr"])
        .expect(0)
        .text();
    let manifest = scratch.json("out/demo/clean.jsonl.djr/manifest.json");
    // The waterfall.
    let line = Regex::new(r#"data-left="(\d+)" data-dropped="(\d+)" data-aside="(\d+)""#).unwrap();
    let lines: Vec<[u64; 3]> = line
        .captures_iter(&page)
        .map(|c| [1, 2, 3].map(|i| c[i].parse().unwrap()))
        .collect();
    let steps = manifest["steps"].as_array().unwrap();
    assert_eq!(lines.len(), steps.len() + 3);
    for (line, step) in lines[2..].iter().zip(steps) {
        let told = [&step["out"], &step["dropped"], &step["quarantined"]];
        assert_eq!(line.map(Value::from), told.map(Clone::clone), "{step}");
    }
    assert_eq!(
        Value::from(lines.last().unwrap()[0]),
        manifest["rows"]["out"]
    );
    // The histograms, each with its bounds.
    let charts_found = charts(&page, "filters");
    assert_eq!(charts_found.len(), 14);
    let step_of: BTreeMap<&str, u64> = (1..)
        .zip(manifest["steps"].as_array().unwrap())
        .map(|(i, s)| (s["op"].as_str().unwrap(), i))
        .collect();
    let op_of = |stat: &str| match stat {
        "text_len" => "text_length_filter",
        "num_words" => "words_num_filter",
        "alnum_ratio" => "alphanumeric_filter",
        "special_char_ratio" => "special_characters_filter",
        "avg_line_length" => "average_line_length_filter",
        "max_line_length" => "maximum_line_length_filter",
        "flagged_words_ratio" => "flagged_words_filter",
        "stopwords_ratio" => "stopwords_filter",
        "word_rep_ratio" => "word_repetition_filter",
        "char_rep_ratio" => "character_repetition_filter",
        "image_width" | "image_height" => "image_shape_filter",
        "aspect_ratios" => "image_aspect_ratio_filter",
        "image_sizes" => "image_size_filter",
        other => panic!("{other}"),
    };
    for (stat, bars) in &charts_found {
        let known = values(&scratch, "out/demo/clean", stat, step_of[op_of(stat)]);
        assert_counts(bars, &known, stat);
    }
    assert!(page.contains("data-bound=\"38\"") && page.contains("data-bound=\"0.3\""));
    // The samples are drawn from all that was kept.
    for (stat, bars) in charts(&page, "samples") {
        let all = values(&scratch, "out/demo/clean", &stat, 999);
        let told = |kind: usize| bars.iter().map(|b| b.counts[kind]).sum::<u64>();
        assert_eq!(told(0), all[0].len() as u64, "{stat}");
        let images = matches!(
            stat.as_str(),
            "image_width" | "image_height" | "aspect_ratios" | "image_sizes"
        );
        assert!(
            told(1) == 20 || (images && told(1) > 0),
            "{stat}: {}",
            told(1)
        );
    }
    // Rows next to bounds, reasons and duplicates.
    for text in [
        "1,048,605",
        "Just dropped at <code>min_len 38</code>",
        "json_invalid",
        "CLOSE UP OF THE CURIOUS",
        "3 rows at image_deduplicator",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains("data:image/jpeg;base64,"));
    assert_eq!(
        page,
        scratch
            .djr(&["report", "out/demo/clean.jsonl.djr"])
            .expect(0)
            .text(),
        "the same run gives the same page"
    );
}

/// An analysis of three rows, as `docs/ANALYSIS.md` describes its files.
pub fn little_analysis(scratch: &Scratch) -> Value {
    std::fs::create_dir_all(scratch.path("look")).unwrap();
    let rows = [
        json!({"id": "a", "text": "one <b>caption</b>"}),
        json!({"id": "b", "text": "one <b>caption</b>"}),
        json!({"id": "c", "text": "x"}),
    ];
    let mut offset = 0;
    let mut stats = Vec::new();
    let mut lines = String::new();
    let mut offsets = Vec::new();
    let name = scratch.path("three.jsonl").display().to_string();
    for (number, row) in rows.iter().enumerate() {
        let line = format!("{row}\n");
        let length = row["text"].as_str().unwrap().len();
        let stat = json!({"file": name, "line": number + 1, "offset": offset, "id": row["id"], "stats": {"text_len": length}});
        stats.push(format!("{stat}\n"));
        offsets.push(offset);
        offset += line.len();
        lines += &line;
    }
    scratch.write("three.jsonl", &lines);
    scratch.write("look/stats.jsonl", stats.concat());
    let summary = json!({
        "values": 3, "min": 1.0, "max": 18.0, "mean": 12.333, "std": 8.01,
        "percentiles": {"0.1": 1.0, "5": 2.7, "25": 9.5, "50": 18.0, "75": 18.0, "95": 18.0},
        "histogram": {"edges": [1.0, 7.0, 13.0, 18.0], "counts": [1, 0, 2]},
    });
    let mut stat = json!({
        "op": "text_length_filter", "step": 1, "rows": 3, "missing": 0,
        "bounds": {"min": 5.0}, "would_drop": 1,
    });
    let parts = stat.as_object_mut().unwrap();
    parts.extend(summary.as_object().unwrap().clone());
    let same = json!({"clusters": 1, "rows": 2, "largest": [{
        "rows": 2, "example": "one <b>caption</b>",
        "origins": [{"file": name, "line": 1, "offset": offsets[0]}, {"file": name, "line": 2, "offset": offsets[1]}],
    }]});
    let none = json!({"clusters": 0, "rows": 0, "largest": []});
    let analysis = json!({
        "format": {"major": 2, "minor": 0}, "djr": "0.1.0", "kind": "analysis",
        "inputs": [{"name": name, "bytes": lines.len(), "rows": 3, "bytes_read": lines.len()}],
        "rows": {"in": 3, "measured": 3, "unreadable": 0}, "unreadable": {}, "errors": [],
        "recipe_file": "look.yaml", "images_checked": "decode",
        "plan": {"version": 1, "steps": [], "stages": [], "assets": [],
            "recipe": {"text_keys": ["text"], "image_key": "images",
                "process": [{"text_length_filter": {"min_len": 5, "max_len": null}}]}},
        "stats": {"text_len": stat},
        "filters": [{"op": "text_length_filter", "step": 1, "stats": ["text_len"], "would_drop": 1, "would_drop_in_sequence": 1}],
        "images": {"references": 0, "distinct_paths": 0, "rows_without": 3, "bad_fields": {}, "missing": 0,
            "broken": {}, "formats": {}, "width": {"values": 0}, "height": {"values": 0},
            "aspect_ratio": {"values": 0}, "bytes": {"values": 0}},
        "text": {"rows": 3, "missing": 0, "empty": 0, "characters": summary, "words": summary,
            "total_words": 5, "distinct_words": 3, "distinct_words_exact": true, "type_token_ratio": 0.6,
            "top_words": [["<i>one</i>", 2], ["caption", 2]], "templates": []},
        "duplicates": {"text": same, "image": none, "captions_per_image": none, "images_per_caption": none},
    });
    scratch.write("look/analysis.json", analysis.to_string());
    analysis
}

#[test]
fn the_charts_of_an_analysis_are_its_numbers() {
    let scratch = Scratch::new();
    let analysis = little_analysis(&scratch);
    let page = scratch.djr(&["report", "look"]).expect(0).text();
    for (section, path) in [
        ("stats", "/stats/text_len/histogram"),
        ("captions", "/text/characters/histogram"),
    ] {
        let shown = charts(&page, section);
        let (_, bars) = shown.first().unwrap();
        let known = analysis.pointer(path).unwrap();
        let counts = known["counts"].as_array().unwrap();
        let edges: Vec<f64> = known["edges"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        // Empty bars are not drawn.
        let expected: Vec<Bar> = edges
            .windows(2)
            .zip(counts)
            .map(|(e, n)| Bar {
                from: e[0],
                to: e[1],
                // The value of 1 is beyond the bound of 5.
                counts: if section == "stats" && e[1] <= 7.0 {
                    [0, n.as_u64().unwrap()]
                } else {
                    [n.as_u64().unwrap(), 0]
                },
            })
            .filter(|bar| bar.counts != [0, 0])
            .collect();
        assert_eq!(*bars, expected, "{section}");
    }
    for text in [
        "1 would go",
        "Just within <code>min_len 5</code>",
        "one &lt;b&gt;caption&lt;/b&gt;",
        "&lt;i&gt;one&lt;/i&gt;",
        "2 rows in 1 cluster",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(
        page,
        scratch
            .djr(&["report", "look/analysis.json"])
            .expect(0)
            .text()
    );
    scratch.write("other.json", "{\"kind\": \"something\"}");
    assert!(
        scratch
            .djr(&["report", "other.json"])
            .expect(3)
            .stderr
            .contains("not what djr writes")
    );
}

/// A run over rows that try to get out of the page.
fn evil_run(scratch: &Scratch) -> String {
    std::fs::create_dir_all(scratch.path("img")).unwrap();
    std::fs::write(scratch.path("img/x<b>.jpg"), b"no image").unwrap();
    let rows = [
        json!({"id": EVIL, "text": EVIL, "images": []}),
        json!({"id": "2", "text": "short \u{202e}", "images": []}),
        json!({"id": "3", "text": EVIL, "images": []}),
        json!({"id": "4", "text": "long enough to stay in, not with this image", "images": ["img/x<b>.jpg"]}),
    ];
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    scratch.write(
        "in.jsonl",
        format!("{}\n{{\"<script>alert(1)</script>\n", lines.join("\n")),
    );
    scratch.write(
        "r.yaml",
        "project_name: '</title><script>alert(2)</script>'\ndataset_path: in.jsonl\nexport_path: o.jsonl\nprocess:\n\
         \x20 - text_length_filter: {min_len: 20, max_len: 999}\n  - image_shape_filter:\n  - document_deduplicator:\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(1);
    scratch
        .djr(&["report", "o.jsonl.djr", "-o", "page.html"])
        .expect(0);
    String::from_utf8(scratch.read("page.html")).unwrap()
}

/// Texts that a run has changed stand beside what they were, those that it left do not.
#[test]
fn texts_are_shown_before_and_after() {
    let scratch = Scratch::new();
    let mut rows = String::new();
    for n in 0..400 {
        let text = if n % 100 < 50 {
            "plain"
        } else {
            "see https://a.bc/d now"
        };
        let _ = writeln!(rows, "{{\"text\": \"{text} {n}\", \"id\": {n}}}");
    }
    scratch.write("rows.jsonl", rows);
    scratch.write(
        "r.yaml",
        "dataset_path: rows.jsonl\nexport_path: out/a.jsonl\nprocess:\n  - clean_links_mapper:\n  \
         - text_length_filter: {min_len: 1}\n",
    );
    let page = |code: i32| {
        scratch
            .djr(&["run", "r.yaml", "-q", "--force"])
            .expect(code);
        scratch.djr(&["report", "out/a.jsonl.djr"]).expect(0).text()
    };
    let shown = page(0);
    let (_, section) = shown.split_once("<section id=\"texts\"").unwrap();
    let (section, _) = section.split_once("</section>").unwrap();
    assert_eq!(section.matches("now: see  now").count(), 6, "{section}");
    assert_eq!(
        section.matches("see https://a.bc/d now").count(),
        6,
        "{section}"
    );
    assert!(!section.contains("plain"), "{section}");
    // Nothing is changed: nothing to show.
    scratch.write("rows.jsonl", "{\"text\": \"plain\"}\n");
    assert!(!page(0).contains("<section id=\"texts\""));
}

#[test]
fn markup_in_rows_stays_text() {
    let scratch = Scratch::new();
    let page = evil_run(&scratch);
    assert!(!page.contains("<script"), "a script tag");
    assert!(!page.contains("<img src=http"));
    assert!(page.contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"));
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains('\u{202e}'));
}

#[test]
fn rows_stand_at_the_bound_that_they_broke() {
    let scratch = Scratch::new();
    let data = root().join("fixtures/dataset/rows.jsonl");
    let recipe = format!(
        "dataset_path: {}\nexport_path: o.jsonl\nprocess:\n  - image_shape_filter: {{min_width: 30}}\n",
        data.display()
    );
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    scratch
        .djr(&["report", "o.jsonl", "-o", "r.html"])
        .expect(0);
    let page = String::from_utf8(scratch.read("r.html")).unwrap();
    let says = |words: &str, param: &str| {
        let at = format!(" at <code>{param} ");
        page.contains(&format!("{words}{at}"))
    };
    assert!(says("Just dropped", "min_width"));
    // One of the two narrow pictures is one pixel high, which is the least height.
    assert!(!says("Just dropped", "min_height"));
    assert!(page.contains("At <code>min_height 1</code> nothing was dropped"));
}

#[test]
fn what_is_no_run_is_refused_and_what_is_gone_is_said() {
    let scratch = Scratch::new();
    assert!(
        scratch
            .djr(&["report", "."])
            .expect(2)
            .stderr
            .contains("hint:")
    );
    scratch.write("in.jsonl", "{\"text\": \"first\"}\n{\"text\": \"x\"}\n");
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: {min_len: 3}]\n",
    );
    scratch.djr(&["run", "r.yaml"]).expect(0);
    let page = scratch.djr(&["report", "o.jsonl.djr"]).expect(0).text();
    assert!(page.contains(">first</div>"), "{page}");
    scratch.write("in.jsonl", "{\"text\": \"another\"}\n");
    let page = scratch.djr(&["report", "o.jsonl.djr"]).expect(0).text();
    assert!(page.contains("is not what it was when it was read"));
    assert!(!page.contains(">first</div>") && !page.contains(">another</div>"));
}

/// Chromium, if this machine has it.
fn chromium() -> Option<&'static str> {
    let there = |name: &&str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(there)
}

struct Opened {
    dom: String,
    /// Messages of the console.
    console: Vec<String>,
    /// First lines of what was sent to the network.
    requests: Vec<String>,
}

/// Opens a page, with everything that goes to the network coming here.
fn open(browser: &str, page: &Path, home: &Path) -> Opened {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut start = [0; 512];
            let n = stream.read(&mut start).unwrap_or(0);
            let text = String::from_utf8_lossy(&start[..n]).into_owned();
            let line = text.lines().next().unwrap_or_default().to_owned();
            kept.lock().unwrap().push(line);
        }
    });
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
            "--dump-dom",
        ])
        .arg(format!("--proxy-server=http://127.0.0.1:{port}"))
        .arg(format!("--user-data-dir={}", home.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    // The browser's own errands are not the page's.
    let own = ["google.com", "googleapis.com", "gvt1.com", "gstatic.com"];
    let requests = seen.lock().unwrap().clone();
    Opened {
        dom: String::from_utf8(output.stdout).unwrap(),
        console: stderr
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .map(str::to_owned)
            .collect(),
        requests: requests
            .into_iter()
            .filter(|line| !line.is_empty() && !own.iter().any(|host| line.contains(host)))
            .collect(),
    }
}

#[test]
fn a_browser_opens_it_in_silence() {
    let Some(browser) = chromium() else {
        println!("skipped: no Chromium on this machine (Debian: apt install chromium)");
        return;
    };
    let scratch = Scratch::new();
    let home = scratch.path("home");
    // What the test looks for is found where it is.
    let control = scratch.write(
        "control.html",
        "<script>console.error('canary')</script><img src=http://canary.invalid/x.png>",
    );
    let opened = open(browser, &control, &home);
    assert!(
        opened.console.iter().any(|l| l.contains("canary")),
        "{:?}",
        opened.console
    );
    assert!(
        opened.requests.iter().any(|l| l.contains("canary.invalid")),
        "{:?}",
        opened.requests
    );

    evil_run(&scratch);
    scratch.djr(&["run", "fixtures/demo.yaml"]).expect(1);
    scratch
        .djr(&["report", "out/demo/clean.jsonl.djr", "-o", "demo.html"])
        .expect(0);
    let mut pages: Vec<PathBuf> = vec![scratch.path("page.html"), scratch.path("demo.html")];
    if let Some(real) = shared()
        .map(|dir| dir.join("real"))
        .filter(|dir| dir.exists())
    {
        let recipe = format!(
            "dataset_path: {}\nexport_path: real.jsonl\nprocess:\n  - text_length_filter: {{min_len: 60, max_len: 140}}\n  - image_shape_filter: {{min_width: 300}}\n",
            real.join("rows.jsonl").display()
        );
        scratch.write("real.yaml", recipe);
        scratch.djr(&["run", "real.yaml"]).expect(0);
        scratch
            .djr(&["report", "real.jsonl.djr", "-o", "real.html"])
            .expect(0);
        pages.push(scratch.path("real.html"));
    }
    for page in pages {
        let opened = open(browser, &page, &home);
        let name = page.file_name().unwrap().to_string_lossy();
        assert_eq!(opened.console, Vec::<String>::new(), "{name}");
        assert_eq!(opened.requests, Vec::<String>::new(), "{name}");
        assert!(
            !opened.dom.contains("<script"),
            "{name}: a script is in the page"
        );
        assert!(
            !opened.dom.contains("onerror=\""),
            "{name}: a handler is in the page"
        );
        // The browser understood the page as it was written: all charts are still there.
        let written = std::fs::read_to_string(&page).unwrap();
        assert_eq!(
            charts(&opened.dom, "filters"),
            charts(&written, "filters"),
            "{name}"
        );
        if name == "page.html" {
            assert!(!opened.dom.contains("owned</title>"));
            assert!(
                opened
                    .dom
                    .contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"),
                "the caption is not shown as text"
            );
        }
    }
}
