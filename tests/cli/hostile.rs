//! Input that means harm: each is capped, set aside or refused by its reason, and costs no other
//! row anything; memory stays in bounds. `docs/FAULTS.md` lists them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Scratch;

const GOOD: &[u8] = b"{\"id\": \"good\", \"text\": \"a sound row\"}\n";

const RECIPE: &str =
    "dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [text_length_filter: {min_len: 1}]\n";

/// Runs `RECIPE` over the rows, a good one after each, and gives the reason for every one that
/// was set aside, in order. Each good row must come through.
fn reasons(scratch: &Scratch, lines: &[Vec<u8>]) -> Vec<(u64, String)> {
    let mut input = Vec::new();
    for line in lines {
        input.extend_from_slice(line);
        input.push(b'\n');
        input.extend_from_slice(GOOD);
    }
    scratch.write("in.jsonl", input);
    scratch.write("r.yaml", RECIPE);
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let out = scratch.read("o.jsonl");
    let whole = out.windows(GOOD.len()).filter(|w| *w == GOOD).count();
    assert_eq!(whole, lines.len());
    scratch
        .rows("o.jsonl.djr/quarantine.jsonl")
        .iter()
        .map(|r| {
            (
                r["line"].as_u64().unwrap(),
                r["code"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn peak_memory(scratch: &Scratch, run_dir: &str) -> u64 {
    let manifest = scratch.json(&format!("{run_dir}/manifest.json"));
    manifest["peak_memory_bytes"].as_u64().unwrap()
}

#[test]
fn rows_that_are_no_rows_are_set_aside_by_their_reasons() {
    let nested = |open: &str, close: &str| -> String {
        format!("{}1{}", open.repeat(100_000), close.repeat(100_000))
    };
    let cases: &[(String, Option<&str>)] = &[
        (nested("[", "]"), Some("json_not_object")),
        (nested("{\"text\":", "}"), Some("wrong_type")),
        (
            format!("{{\"text\": {}", "[".repeat(100_000)),
            Some("json_invalid"),
        ),
        // Depth in a field that nobody asks for does no harm.
        (
            format!("{{\"text\": \"deep\", \"x\": {}}}", nested("[", "]")),
            None,
        ),
        ("{\"text\": \"a\u{0}b\"}".into(), Some("json_invalid")),
        ("\u{0}\u{0}\u{0}".into(), Some("json_invalid")),
        ("{\"text\": \"a\\u0000b\"}".into(), None),
        (
            "{\"text\": \"\\ud83d alone\"}".into(),
            Some("lone_surrogate"),
        ),
        (
            "{\"text\": \"\\ude00\\ud83d\"}".into(),
            Some("lone_surrogate"),
        ),
        ("{\"text\": \"first\", \"text\": \"second\"}".into(), None),
        ("{\"text\": \"number\", \"n\": 1e999999}".into(), None),
        (
            format!("{{\"text\": \"number\", \"n\": -{}}}", "9".repeat(100_000)),
            None,
        ),
        ("{\"text\": 1e999}".into(), Some("wrong_type")),
        ("{\"text\": \"nan\", NaN: 1}".into(), Some("json_invalid")),
        ("{\"text\": \"nan\", \"n\": -Infinity}".into(), None),
        ("{\"text\": \"crlf\"}\r".into(), None),
        (
            "\u{feff}{\"text\": \"a mark inside\"}".into(),
            Some("json_invalid"),
        ),
        ("{'text': 'python'}".into(), Some("json_invalid")),
    ];
    let mut lines: Vec<Vec<u8>> = cases.iter().map(|c| c.0.clone().into_bytes()).collect();
    let mut expected: Vec<(u64, String)> = (0..)
        .zip(cases)
        .filter_map(|(n, case)| Some((2 * n + 1, case.1?.to_owned())))
        .collect();
    lines.push(b"\xff\xfe{\0}\0".to_vec());
    expected.push((2 * cases.len() as u64 + 1, "utf8_invalid".into()));
    let scratch = Scratch::new();
    assert_eq!(reasons(&scratch, &lines), expected);
    // Of duplicate keys the last counts, and the row is written as it was.
    let out = String::from_utf8(scratch.read("o.jsonl")).unwrap();
    assert!(out.contains("{\"text\": \"first\", \"text\": \"second\"}\n"));
    assert!(peak_memory(&scratch, "o.jsonl.djr") < 100 << 20);
}

#[test]
fn ids_that_no_reader_could_cope_with_stay_out_of_the_ledger() {
    let scratch = Scratch::new();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("\"{}\"", "x".repeat(100_000));
    let ids = [
        deep.as_str(),
        &long,
        "\"\\ud83d\"",
        "{\"a\": 1}",
        "null",
        "1e999",
        "true",
    ];
    let mut input = String::new();
    for id in ids {
        input += &["{\"id\": ", id, ", \"text\": \"some text\"}\n"].concat();
    }
    input +=
        "{\"id\": \"\\u00e9-1\", \"text\": \"some text\"}\n{\"id\": 12, \"text\": \"some text\"}\n";
    scratch.write("in.jsonl", &input);
    scratch.write("r.yaml", RECIPE);
    scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    let known: Vec<Value> = scratch
        .ledger("o.jsonl.djr")
        .into_iter()
        .filter_map(|entry| entry.get("id").cloned())
        .collect();
    // 1e999 is a number, though none that a double holds.
    assert_eq!(known, [json!("é-1"), json!(12)]);
    assert_eq!(scratch.read("o.jsonl"), input.as_bytes());
}

#[test]
fn a_line_of_any_length_costs_no_more_than_the_cap() {
    let scratch = Scratch::new();
    // A hole of 600 MB in the file: zeros that take no space.
    let path = scratch.write("in.jsonl", GOOD);
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_len(600 << 20).unwrap();
    drop(file);
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, &[b"\n", GOOD].concat()).unwrap();
    drop(file);
    scratch.write("r.yaml", RECIPE);
    scratch
        .djr(&["run", "r.yaml", "-q", "--threads", "2"])
        .expect(1);
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0]["code"], "row_too_long");
    assert!(aside[0]["row"].as_str().unwrap().len() <= 4096);
    assert_eq!(scratch.read("o.jsonl"), [GOOD, GOOD].concat());
    let peak = peak_memory(&scratch, "o.jsonl.djr");
    assert!(peak < 250 << 20, "{peak}");
}

#[test]
fn rows_longer_than_a_sixteenth_of_max_memory_are_not_read_whole() {
    let scratch = Scratch::new();
    // 4 MB are a sixteenth of what counts at least.
    let row = |bytes: usize| format!("{{\"text\": \"{}\"}}\n", "ab ".repeat(bytes / 3));
    scratch.write("in.jsonl", [row(4_100_000), row(3_900_000)].concat());
    scratch.write("r.yaml", RECIPE);
    let run = ["run", "r.yaml", "-q", "--threads", "2"];
    let bounded = [&run[..], &["--max-memory", "64MB"]].concat();
    scratch.djr(&bounded).expect(1);
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0]["code"], "row_too_long");
    assert!(aside[0]["row"].as_str().unwrap().len() <= 4096);
    // Where nothing is said of memory, none is too long.
    scratch.djr(&run).expect(0);
}

/// Runs a command, and tells the peak of its resident memory.
fn peak_while(scratch: &Scratch, arguments: &[&str], codes: &[i32]) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args(arguments)
        .current_dir(scratch.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    // The mark only rises, so that the last look tells nearly all.
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        let status = fs::read_to_string(&status).unwrap_or_default();
        let mark = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(mark.unwrap_or_default() * 1024);
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    let code = ended.code().unwrap();
    assert!(codes.contains(&code), "{arguments:?}: {code}: {said}");
    peak
}

#[test]
fn long_rows_take_no_more_than_the_budget_and_two_of_them() {
    const BUDGET: u64 = 64_000_000;
    const LONG: usize = 3_990_000;
    // What a release build takes at rest; a debug build takes twice that.
    const AT_REST: u64 = 26_000_000;
    // On a busy machine threads that wait hold what they have.
    const BUSY: u64 = 12_000_000;
    let scratch = Scratch::new();
    let letters: String = ('a'..='z').flat_map(|it| [it, ' ']).collect();
    let kinds = [
        ("words", "kite bridge a harbour.\\n"),
        ("letters", letters.as_str()),
        ("lines", "a\\nbc\\n"),
        ("wide", "\u{4e2d}\u{6587}\u{3002}"),
    ];
    let short = "{\"id\": 0, \"text\": \"a row\"}\n";
    scratch.write("short.jsonl", short);
    scratch.write("against.json", "[{\"question\": \"What is it?\"}]");
    let limits = ["-q", "--threads", "2", "--max-memory", "64MB"];
    let command = |words: &str| -> Vec<String> {
        let own = words.split(' ').map(str::to_owned);
        own.chain(limits.map(str::to_owned)).collect()
    };
    let peak = |words: &str| {
        let arguments = command(words);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // A group of all rows is longer than one may be, which ends the run in order.
        let is_grouper = words.starts_with("run key_value_grouper");
        let codes: &[i32] = if is_grouper { &[3] } else { &[0, 1] };
        peak_while(&scratch, &arguments, codes)
    };
    scratch.write("text_length_filter.yaml", RECIPE);
    let rest = peak("run text_length_filter.yaml --input short.jsonl --output o.jsonl");
    let operators = [
        "text_length_filter",
        "document_line_deduplicator",
        "document_minhash_deduplicator",
        "document_simhash_deduplicator",
        "key_value_grouper",
        "remove_table_text_mapper",
        "text_chunk_mapper",
        "whitespace_normalization_mapper",
    ];
    for (kind, text) in kinds {
        let rows = |length: usize| {
            let text = text.repeat(length / text.len());
            let row = |id: u32| format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n");
            [row(1), row(2), row(3), row(4), row(5)].concat()
        };
        scratch.write("in.jsonl", rows(LONG));
        // Tables take rows of half that length: more is in memory at a time.
        scratch.write("half.jsonl", rows(LONG / 2));
        let mut commands: Vec<String> = operators
            .iter()
            .map(|op| {
                let recipe = format!("max_quarantine: none\nprocess: [{op}: {{}}]\n");
                scratch.write(&format!("{op}.yaml"), recipe);
                format!("run {op}.yaml --input in.jsonl --output o.jsonl --force")
            })
            .collect();
        commands.extend(
            [
                "analyze in.jsonl -o look",
                "analyze in.jsonl -r text_length_filter.yaml -o look",
                "decontaminate in.jsonl --against against.json -o d.jsonl --force",
                "convert in.jsonl --to llava --question Hm? -o c.json --force --max-quarantine none",
                "convert half.jsonl --to parquet -o c.parquet --force",
            ]
            .map(str::to_owned),
        );
        for command in commands {
            let found = peak(&command);
            let longest = match () {
                () if command.contains("half") => LONG / 2,
                // A group is a row, and may be twice as long.
                () if command.contains("grouper") => 2 * LONG,
                () => LONG,
            };
            let most = rest + BUDGET - AT_REST + BUSY + 2 * longest as u64;
            assert!(found < most, "{kind}: {command}: {found}, not below {most}");
        }
    }
}

/// For each operator that declares how much memory texts take it: the worst kind of text that is known.
fn worst_texts(bytes: usize) -> [(&'static str, String); 7] {
    let repeated = |piece: &str| piece.chars().cycle().take(bytes).collect::<String>();
    let mut state = 1_u32;
    let mut letter = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from(state >> 24).unwrap() % 26)
    };
    let letters: String = (0..bytes).map(|_| letter()).collect();
    let words: String = (0..bytes)
        .map(|at| if at % 4 == 3 { ' ' } else { letter() })
        .collect();
    let mut lines = repeated("a\\nbc\\n");
    if lines.ends_with('\\') {
        lines.pop();
        lines.push('a');
    }
    [
        ("document_line_deduplicator", lines.clone()),
        ("remove_table_text_mapper", lines),
        ("clean_html_mapper", repeated("<b>")),
        ("extract_tables_from_html_mapper", repeated("<b>")),
        ("character_repetition_filter", letters),
        ("word_repetition_filter", words),
        ("pii_redaction_mapper", repeated("a@b.co ")),
    ]
}

#[test]
fn a_text_takes_a_step_no_more_than_a_quarter_of_max_memory() {
    const BUDGET: u64 = 96_000_000;
    let scratch = Scratch::new();
    let peak_of = |op: &str, text: &str, code| {
        scratch.write("in.jsonl", format!("{{\"id\": 1, \"text\": \"{text}\"}}\n"));
        let recipe = format!(
            "dataset_path: in.jsonl\nexport_path: o.jsonl\nmax_quarantine: none\nprocess: [{op}: {{}}]\n"
        );
        scratch.write("r.yaml", recipe);
        let run = [
            "run",
            "r.yaml",
            "-q",
            "--threads",
            "1",
            "--max-memory",
            "96MB",
        ];
        scratch.djr(&run).expect(code);
        peak_memory(&scratch, "o.jsonl.djr")
    };
    let declared = djr::op::all().into_iter().filter(|op| op.facts.memory > 0);
    let declared: Vec<&str> = declared.map(|op| op.name).collect();
    assert_eq!(declared.len(), worst_texts(0).len(), "{declared:?}");
    for (index, (op, _)) in worst_texts(0).into_iter().enumerate() {
        let longest = djr::op::find(op).unwrap().facts.longest_text(BUDGET);
        let longest = usize::try_from(longest.unwrap()).unwrap();
        // The quotes count, or all of the row.
        let (_, text) = &worst_texts(longest - 40)[index];
        let plain = peak_of("text_length_filter", text, 0);
        let peak = peak_of(op, text, 0);
        let most = plain + BUDGET / 4 + 2 * longest as u64;
        assert!(peak < most, "{op}: {peak}, not below {most}");
        // One byte more is too long; where nothing is said of memory, it is not.
        let (_, text) = &worst_texts(longest - 1)[index];
        peak_of(op, text, 1);
        let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
        assert_eq!(aside[0]["code"], "row_too_long", "{op}");
        assert_eq!(aside[0]["by"], op);
        scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
    }
}

#[test]
fn a_row_takes_an_output_no_more_than_a_quarter_of_max_memory() {
    const BUDGET: u64 = 96_000_000;
    // What a short row takes, and rows that wait beside the long one.
    const BESIDE: u64 = 96_000_000;
    let scratch = Scratch::new();
    let declared = djr::io::format::FORMATS.iter().filter(|it| it.memory > 0);
    for (index, format) in declared.enumerate() {
        let memory = format.memory.max(djr::op::ROW_MEMORY);
        let longest = djr::op::longest_within(BUDGET, memory).unwrap();
        let output = format!("{index}.{}", format.suffixes[0]);
        let run = |bytes: u64, more: &[&str]| {
            // What stands around the text counts, in the row and in the record.
            let text = "ab ".repeat(usize::try_from(bytes / 3).unwrap());
            let rows = match format.name {
                "dj" => format!(
                    "[{{\"id\": \"a\", \"conversations\": [{{\"from\": \"human\", \"value\": \"?\"}}, {{\"from\": \"gpt\", \"value\": \"{text}\"}}]}}, {{\"id\": \"b\", \"conversations\": [{{\"from\": \"human\", \"value\": \"?\"}}, {{\"from\": \"gpt\", \"value\": \"x\"}}]}}]"
                ),
                _ => format!(
                    "{{\"id\": \"a\", \"text\": \"{text}\"}}\n{{\"id\": \"b\", \"text\": \"x\"}}\n"
                ),
            };
            scratch.write("in.jsonl", rows);
            let mut arguments = vec!["convert", "in.jsonl", "--to", format.name, "-o", &output];
            arguments.extend(["-q", "--force", "--threads", "1"]);
            if format.options.iter().any(|it| it.argument == "question") && format.name != "dj" {
                arguments.extend(["--question", "What is it?"]);
            }
            arguments.extend(more);
            scratch.djr(&arguments)
        };
        let bounded = ["--max-memory", "96MB"];
        // The text is twice in a sample of an archive.
        let fits = if format.name == "webdataset" {
            longest / 2
        } else {
            longest
        };
        run(fits - 1000, &bounded).expect(0);
        let record = format!("{output}.djr");
        let peak = peak_memory(&scratch, &record);
        let most = BESIDE + BUDGET / 4 + 2 * longest;
        assert!(peak < most, "{}: {peak}, not below {most}", format.name);
        run(longest, &bounded).expect(1);
        let aside = scratch.rows(&format!("{record}/quarantine.jsonl"));
        assert_eq!(aside.len(), 1);
        assert_eq!(aside[0]["code"], "row_too_long", "{}", format.name);
        // Where nothing is said of memory, it is not too long.
        run(longest, &[]).expect(0);
    }
}

#[test]
fn a_record_that_is_much_longer_than_its_row_is_too_long() {
    const BUDGET: u64 = 64_000_000;
    let scratch = Scratch::new();
    // Two bytes of the row are six of the record.
    let text = "\u{e9}".repeat(1_900_000);
    let rows = format!("{{\"id\": 1, \"text\": \"{text}\"}}\n{{\"id\": 2, \"text\": \"x\"}}\n");
    scratch.write("in.jsonl", rows);
    let convert = ["convert", "in.jsonl", "--to", "llava", "--question", "Hm?"];
    let convert = [&convert[..], &["-o", "o.json", "-q", "--force"]].concat();
    let bounded = [&convert[..], &["--max-memory", "64MB"]].concat();
    scratch.djr(&bounded).expect(1);
    let aside = scratch.rows("o.json.djr/quarantine.jsonl");
    assert_eq!(aside[0]["code"], "row_too_long");
    let format = djr::io::format::FORMATS
        .iter()
        .find(|it| it.name == "llava");
    let longest = djr::op::longest_within(BUDGET, format.unwrap().memory).unwrap();
    let why = aside[0]["message"].as_str().unwrap();
    assert!(why.contains(&format!("takes {longest} at most")), "{why}");
    scratch.djr(&convert).expect(0);
}

#[test]
fn a_file_in_utf16_is_refused_with_what_to_do() {
    let scratch = Scratch::new();
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let text = "\u{feff}{\"text\": \"x\"}\n";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
        scratch.write("in.jsonl", bytes);
        scratch.write("r.yaml", RECIPE);
        let ran = scratch.djr(&["run", "r.yaml"]).expect(2);
        assert!(
            ran.stderr.contains("UTF-16") && ran.stderr.contains("iconv"),
            "{}",
            ran.stderr
        );
        assert!(!scratch.path("o.jsonl").exists());
    }
}

fn png_chunk(name: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    let body = [name, data].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&body);
    out.extend(body);
    out.extend(sum.sum().to_be_bytes());
    out
}

fn png(side: u32) -> Vec<u8> {
    let mut header = [side.to_be_bytes(), side.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut pixels = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut pixels, &[0; 100]).unwrap();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        png_chunk(b"IHDR", &header),
        png_chunk(b"IDAT", &pixels.finish().unwrap()),
        png_chunk(b"IEND", b""),
    ]
    .concat()
}

fn gif(screen: u16, frame: u16) -> Vec<u8> {
    let sizes = |side: u16| [side.to_le_bytes(), side.to_le_bytes()].concat();
    [
        b"GIF89a".to_vec(),
        sizes(screen),
        b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0".to_vec(),
        sizes(frame),
        b"\0\x02\x02\x44\x01\0;".to_vec(),
    ]
    .concat()
}

fn bmp(side: u32) -> Vec<u8> {
    let mut out = b"BM\x64\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    out.extend([side.to_le_bytes(), side.to_le_bytes()].concat());
    out.extend(b"\x01\0\x18\0");
    out.resize(100, 0);
    out
}

fn webp(side: u32) -> Vec<u8> {
    let side = side - 1;
    let mut canvas = vec![0; 4];
    canvas.extend([&side.to_le_bytes()[..3], &side.to_le_bytes()[..3]].concat());
    let lossless = [&b"\x2f\x07\xc0\x01\0"[..], &[0; 20]].concat();
    let chunk = |name: &[u8], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        let mut out = [name, &length, data].concat();
        out.resize(out.len().next_multiple_of(2), 0);
        out
    };
    let body = [
        &b"WEBP"[..],
        &chunk(b"VP8X", &canvas),
        &chunk(b"VP8L", &lossless),
    ]
    .concat();
    chunk(b"RIFF", &body)
}

/// A grey TIFF of one strip; its LZW data is junk.
fn tiff(side: u32, rows_per_strip: u32) -> Vec<u8> {
    let entries = [
        (256, 4, side),
        (257, 4, side),
        (258, 3, 8),
        (259, 3, 5),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, rows_per_strip),
        (279, 4, 100),
    ];
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    out.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    for (tag, kind, value) in entries {
        out.extend(u16::to_le_bytes(tag));
        out.extend(u16::to_le_bytes(kind));
        out.extend(1_u32.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    out.resize(out.len() + 100, 0);
    out
}

/// What `djr` says of each image when it must decode them all.
fn verdicts(scratch: &Scratch, paths: &[&str], recipe: &str) -> BTreeMap<String, String> {
    let rows: String = paths
        .iter()
        .map(|path| json!({"id": path, "text": "t", "images": [path]}).to_string() + "\n")
        .collect();
    scratch.write("in.jsonl", rows);
    scratch.write(
        "r.yaml",
        format!("dataset_path: in.jsonl\noutputs: [{{format: jsonl, path: o.jsonl, validate: decode}}]\nprocess: []\n{recipe}"),
    );
    let all = [
        "run",
        "r.yaml",
        "-q",
        "--threads",
        "2",
        "--max-quarantine",
        "none",
    ];
    let ran = scratch.djr(&all);
    assert!(ran.code <= 1, "{}", ran.stderr);
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    (1_u64..)
        .zip(paths)
        .map(|(line, path)| {
            let record = aside.iter().find(|r| r["line"] == line);
            let code = record.map_or("sound", |r| r["code"].as_str().unwrap());
            ((*path).to_owned(), code.to_owned())
        })
        .collect()
}

#[test]
fn image_bombs_are_refused_by_their_headers() {
    let scratch = Scratch::new();
    let bombs: &[(&str, Vec<u8>, &str)] = &[
        ("a.png", png(60_000), "image_too_large"),
        ("b.png", png(9_000), "image_truncated"),
        ("a.gif", gif(60_000, 60_000), "image_too_large"),
        ("b.gif", gif(10, 60_000), "image_too_large"),
        ("a.bmp", bmp(60_000), "image_too_large"),
        ("b.bmp", bmp(9_000), "image_truncated"),
        ("a.webp", webp(60_000), "image_too_large"),
        ("a.tiff", tiff(60_000, 60_000), "image_too_large"),
        ("b.tiff", tiff(100, u32::MAX), "image_corrupt"),
        ("a.ppm", b"P6 60000 60000 255\n".to_vec(), "image_too_large"),
        (
            "b.ppm",
            b"P6 9000 9000 255\nabc".to_vec(),
            "image_truncated",
        ),
        (
            "a.qoi",
            b"qoif\0\0\xea\x60\0\0\xea\x60\x03\0\xfd\xfd".to_vec(),
            "image_too_large",
        ),
    ];
    let mut expected = BTreeMap::new();
    for (name, bytes, code) in bombs {
        assert!(bytes.len() < 400);
        scratch.write(name, bytes);
        expected.insert((*name).to_owned(), (*code).to_owned());
    }
    let names: Vec<&str> = bombs.iter().map(|b| b.0).collect();
    assert_eq!(verdicts(&scratch, &names, ""), expected);
    // The largest that is decoded at all, 9,000 pixels a side, has 243 MB of pixels.
    let peak = peak_memory(&scratch, "o.jsonl.djr");
    assert!(peak < 800 << 20, "{peak}");
}

#[cfg(unix)]
#[test]
fn paths_that_are_no_image_files_are_never_opened() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let image = scratch.read("fixtures/dataset/images/00000/000003.jpg");
    scratch.write("a b.jpg", &image);
    fs::create_dir(scratch.path("dir")).unwrap();
    let status = std::process::Command::new("mkfifo")
        .arg(scratch.path("fifo"))
        .status();
    assert!(status.unwrap().success());
    std::os::unix::fs::symlink("loop", scratch.path("loop")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", scratch.path("zeros")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff.jpg");
    fs::write(scratch.path("").join(odd), &image).unwrap();
    let (long, many) = ("x".repeat(5000), "a/".repeat(3000));
    let cases = [
        ("a b.jpg", "sound"),
        ("./dir/../a b.jpg", "sound"),
        ("/dev/zero", "image_not_a_file"),
        ("zeros", "image_not_a_file"),
        ("fifo", "image_not_a_file"),
        ("dir", "image_not_a_file"),
        ("..", "image_not_a_file"),
        ("loop", "image_path_invalid"),
        ("loop/a.jpg", "image_path_invalid"),
        ("file:///a%20b.jpg", "image_path_invalid"),
        ("https://a.example/a.jpg", "image_path_invalid"),
        ("a%20b.jpg", "image_missing"),
        ("odd\u{fffd}.jpg", "image_missing"),
        ("a b.jpg/", "image_missing"),
        ("a b.jpg/x", "image_missing"),
        ("a\u{0}b", "image_path_invalid"),
        ("", "image_path_invalid"),
        (long.as_str(), "image_path_invalid"),
        (many.as_str(), "image_path_invalid"),
        ("/proc/self/mem", "image_unreadable"),
        ("/etc/passwd", "image_unknown_format"),
    ];
    let paths: Vec<&str> = cases.iter().map(|c| c.0).collect();
    let expected: BTreeMap<String, String> = cases
        .iter()
        .map(|(path, code)| ((*path).to_owned(), (*code).to_owned()))
        .collect();
    assert_eq!(verdicts(&scratch, &paths, ""), expected);
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    assert!(
        aside
            .iter()
            .all(|r| r["message"].as_str().unwrap().len() < 12_500)
    );
}

#[cfg(unix)]
#[test]
fn a_confined_run_stays_below_its_root() {
    let scratch = Scratch::new();
    let image = scratch.read("fixtures/dataset/images/00000/000003.jpg");
    fs::create_dir(scratch.path("root")).unwrap();
    scratch.write("root/in.jpg", &image);
    let outside = scratch.write("out.jpg", &image);
    std::os::unix::fs::symlink(&outside, scratch.path("root/link.jpg")).unwrap();
    std::os::unix::fs::symlink("..", scratch.path("root/up")).unwrap();
    let outside = outside.to_str().unwrap().to_owned();
    let cases = [
        ("in.jpg", "sound"),
        ("../root/in.jpg", "sound"),
        ("up/root/in.jpg", "sound"),
        ("link.jpg", "image_outside_root"),
        ("../out.jpg", "image_outside_root"),
        ("up/out.jpg", "image_outside_root"),
        (outside.as_str(), "image_outside_root"),
        ("/etc/passwd", "image_outside_root"),
        ("/proc/self/cwd/out.jpg", "image_outside_root"),
    ];
    let paths: Vec<&str> = cases.iter().map(|c| c.0).collect();
    let expected: BTreeMap<String, String> = cases
        .iter()
        .map(|(path, code)| ((*path).to_owned(), (*code).to_owned()))
        .collect();
    let found = verdicts(&scratch, &paths, "image_root: root\nconfine: true\n");
    assert_eq!(found, expected);
}

#[cfg(unix)]
#[test]
fn archives_are_read_by_the_rules_of_images_and_capped() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("root")).unwrap();
    for name in ["paper.zip", "gnu.tar.gz"] {
        let archive = scratch.read(&format!("fixtures/golden/_archives/{name}"));
        scratch.write(&format!("root/{name}"), &archive);
        scratch.write(&format!("root/cut.{name}"), &archive[..archive.len() - 30]);
    }
    scratch.write("root/text.zip", "no archive");
    scratch.write("root/a.rar", "Rar!");
    scratch.write("outside.zip", scratch.read("root/paper.zip"));
    std::os::unix::fs::symlink("../outside.zip", scratch.path("root/link.zip")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", scratch.path("root/zero.tar")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(scratch.path("root/pipe.zip"))
        .status();
    assert!(made.unwrap().success());
    let huge = fs::File::create(scratch.path("root/huge.tar")).unwrap();
    huge.set_len((1 << 30) + 1).unwrap();
    // A member that nobody wants, of zeros without end.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let tar = scratch.read("fixtures/golden/_archives/sizes.tar");
    std::io::Write::write_all(&mut bomb, &tar[..1024]).unwrap();
    let bomb = bomb.finish().unwrap();
    scratch.write("root/bomb.tgz", &bomb[..bomb.len() - 9]);
    let cases = [
        ("paper.zip", "sound"),
        ("gnu.tar.gz", "sound"),
        ("cut.paper.zip", "archive_corrupt"),
        ("cut.gnu.tar.gz", "archive_corrupt"),
        ("bomb.tgz", "archive_corrupt"),
        ("text.zip", "archive_corrupt"),
        ("a.rar", "archive_unsupported"),
        ("none.zip", "file_missing"),
        ("", "file_path_invalid"),
        ("http://example.org/a.zip", "file_path_invalid"),
        ("link.zip", "file_outside_root"),
        ("../outside.zip", "file_outside_root"),
        ("zero.tar", "file_outside_root"),
        ("pipe.zip", "file_not_a_file"),
        ("huge.tar", "file_too_large"),
        (".", "file_not_a_file"),
    ];
    let rows = cases.map(|(path, _)| format!("{}\n", json!({"compressed_file": path})));
    scratch.write("in.jsonl", rows.concat());
    scratch.write(
        "r.yaml",
        "dataset_path: in.jsonl\nexport_path: o.jsonl\nimage_root: root\nconfine: true\n\
         max_quarantine: none\ntext_keys: compressed_file\n\
         process: [latex_merge_tex_mapper: {text_key: text}]\n",
    );
    scratch.djr(&["run", "r.yaml", "-q"]).expect(1);
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    for (line, (path, expected)) in (1..).zip(cases) {
        let reason = aside.iter().find(|row| row["line"] == line);
        let found = reason.map_or("sound", |row| row["code"].as_str().unwrap());
        assert_eq!(found, expected, "{path}");
    }
    assert_eq!(scratch.rows("o.jsonl").len(), 2);
    let manifest = scratch.json("o.jsonl.djr/manifest.json");
    assert_eq!(manifest["rows"]["quarantined"], 14);
    assert_eq!(manifest["rows"]["conserved"], true);
}

#[test]
fn recipes_that_expand_without_end_are_refused() {
    let scratch = Scratch::new();
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut merges = "a0: &a0 {x: 1}\n".to_owned();
    for n in 1..60 {
        let before = n - 1;
        let _ = writeln!(
            laughs,
            "a{n}: &a{n} [{}]",
            vec![format!("*a{before}"); 9].join(", ")
        );
        let _ = writeln!(
            merges,
            "a{n}: &a{n} {{<<: [*a{before}, *a{before}], b: *a{before}, c: *a{before}}}"
        );
    }
    let deep = format!("process: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_maps = format!("process: {}1{}", "{a: ".repeat(50_000), "}".repeat(50_000));
    let cases = [
        (laughs, "aliases"),
        (merges, "aliases"),
        ("np: &a [*a]\n".to_owned(), "refers to itself"),
        (deep, "nest"),
        (deep_maps, "nest"),
    ];
    for (text, word) in cases {
        scratch.write("r.yaml", &text);
        let ran = scratch.djr(&["check", "r.yaml"]).expect(2);
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
        assert!(ran.stderr.len() < 10_000);
    }
}

#[test]
fn patterns_that_blow_up_give_up_on_the_row() {
    let scratch = Scratch::new();
    let text = "a".repeat(3000);
    scratch.write(
        "in.jsonl",
        format!("{{\"id\": 1, \"text\": \"{text}\"}}\n{{\"id\": 2, \"text\": \"short\"}}\n"),
    );
    let run = |pattern: &str, code| {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [replace_content_mapper: {{pattern: '{pattern}', repl: ''}}]\n"),
        );
        scratch.djr(&["run", "r.yaml", "-q"]).expect(code)
    };
    // Exponential in Python's engine, linear here.
    run("(a+)+b", 0);
    run("(a|a)*$", 0);
    // Needs backtracking: the row is set aside, the other one is not.
    run("((a+)+)+(?!x)b", 1);
    let aside = scratch.rows("o.jsonl.djr/quarantine.jsonl");
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0]["code"], "pattern_failed");
    assert_eq!(scratch.rows("o.jsonl")[0]["id"], 2);
    // Too large to be compiled: a problem of the recipe.
    let told = run("(((a{100}){100}){100}){100}", 2).stderr;
    assert!(told.contains("regular expression"), "{told}");
}

/// Each text would take hours if its length counted twice; the test would not come to an end.
#[test]
fn texts_made_to_be_slow_are_not() {
    const BYTES: usize = 400_000;
    let scratch = Scratch::new();
    let parts = [
        "\\section{",
        "\\part[",
        "\\part[a]{",
        "\\bibliography{",
        "\\begin{",
        "%\n",
        "<div",
        "<!--",
        "&#",
        "a@",
        "a.",
        "http://",
        "www.",
        "/*",
        "| a |\n",
        "a\tb\n",
        " ",
        "(",
        "1.",
        "// \n",
    ];
    let input: String = parts
        .iter()
        .map(|part| json!({"text": part.repeat(BYTES / part.len())}).to_string() + "\n")
        .collect();
    scratch.write("in.jsonl", input);
    for op in [
        "remove_header_mapper",
        "remove_bibliography_mapper",
        "remove_comments_mapper",
        "clean_html_mapper",
        "clean_links_mapper",
        "clean_email_mapper",
        "clean_ip_mapper",
        "clean_copyright_mapper",
        "remove_table_text_mapper",
        "expand_macro_mapper",
    ] {
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nexport_path: o.jsonl\nprocess: [{op}]\n"),
        );
        scratch.djr(&["run", "r.yaml", "-q"]).expect(0);
        assert_eq!(scratch.ledger("o.jsonl.djr").len(), parts.len());
    }
}
