//! `djr view`: only who knows the address of the page is answered, what it counts is what `djr recut`
//! leaves, and the recipe that it writes leaves as many rows.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Scratch, root};

/// A caption that would do something if it was not text.
const EVIL: &str =
    "<script>document.title='owned'</script><img src=http://canary.invalid/x onerror=alert(1)>";

/// A page that is being served.
struct Served {
    child: Child,
    port: u16,
    token: String,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Served {
    fn start(scratch: &Scratch, what: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
            .args(["view", what])
            .current_dir(scratch.path(""))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut address).unwrap();
        let rest = address.strip_prefix("http://127.0.0.1:");
        let (port, token) = rest
            .and_then(|rest| rest.trim().split_once('/'))
            .unwrap_or_else(|| {
                let mut said = String::new();
                child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut said)
                    .unwrap();
                panic!("no address: {address} {said}");
            });
        Self {
            port: port.parse().unwrap(),
            token: token.trim_end_matches('/').to_owned(),
            child,
        }
    }

    /// Sends a request as it is.
    fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A refusal may come before all of the request was read.
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: answer[end + 4..].to_vec(),
            head,
        }
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.raw(format!("GET {path} HTTP/1.1\r\n{headers}\r\n").as_bytes())
    }

    fn host(&self) -> String {
        format!("Host: 127.0.0.1:{}\r\n", self.port)
    }

    #[track_caller]
    fn facts(&self) -> Value {
        let answer = self.get(&format!("/{}/facts", self.token), &self.host());
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let request = format!(
            "POST /{}/{path} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            self.host(),
            body.len()
        );
        let answer = self.raw(request.as_bytes());
        (
            answer.status,
            serde_json::from_slice(&answer.body).unwrap_or_default(),
        )
    }

    #[track_caller]
    fn asked(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Some numbers that look like no pattern.
fn spread(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Rows with texts of all lengths and images of all sizes, one that is no row, one whose image is
/// missing, one without images.
fn rows(scratch: &Scratch) {
    let mut pick = spread(7);
    let mut rows = String::new();
    let words = [
        "a",
        "kite",
        "the red boat",
        "harbour",
        "of",
        "aaaa bbbb",
        "no no no",
    ];
    let sizes = [(30, 20), (64, 64), (120, 40), (48, 90), (200, 100)];
    for (at, (width, height)) in sizes.iter().enumerate() {
        let pixels = vec![90; width * height * 3];
        let mut ppm = format!("P6 {width} {height} 255\n").into_bytes();
        ppm.extend(pixels);
        scratch.write(&format!("{at}.ppm"), ppm);
    }
    for id in 0..240 {
        let text: Vec<&str> = (0..=pick(14))
            .map(|_| words[usize::try_from(pick(7)).unwrap()])
            .collect();
        let images: Vec<String> = (0..=pick(2)).map(|_| format!("{}.ppm", pick(5))).collect();
        let row = json!({"id": id, "text": text.join(" "), "images": images});
        writeln!(rows, "{row}").unwrap();
        if id == 100 {
            rows.push_str("{\"id\": \"broken\"\n");
            writeln!(
                rows,
                "{}",
                json!({"id": "gone", "text": "gone away", "images": ["no.ppm"]})
            )
            .unwrap();
            writeln!(
                rows,
                "{}",
                json!({"id": "none", "text": EVIL, "images": []})
            )
            .unwrap();
        }
    }
    scratch.write("rows.jsonl", rows);
}

const FILTERS: &str = "dataset_path: rows.jsonl\nexport_path: out.jsonl\nprocess:\n\
  - whitespace_normalization_mapper:\n\
  - text_length_filter: {min_len: 4, max_len: 90}\n\
  - words_num_filter: {min_num: 2, max_num: 20}\n\
  - character_repetition_filter: {rep_len: 3, max_ratio: 0.9}\n\
  - image_shape_filter: {min_width: 40, any_or_all: any}\n\
  - image_aspect_ratio_filter: {max_ratio: 5, any_or_all: all}\n";

/// How many rows reach the outputs of a recut.
fn recut(scratch: &Scratch, what: &str, sets: &[(&str, &str, String)]) -> u64 {
    let mut args = vec![
        "recut".to_owned(),
        what.to_owned(),
        "-o".to_owned(),
        "cut.jsonl".to_owned(),
    ];
    for (op, param, value) in sets {
        args.extend(["--set".to_owned(), format!("{op}.{param}={value}")]);
    }
    let ran = scratch.djr(&args);
    assert!(ran.code < 2, "{}", ran.stderr);
    let output = &scratch.json("cut.jsonl.djr/manifest.json")["outputs"][0];
    output["written"].as_u64().unwrap() + output["refused"].as_u64().unwrap_or(0)
}

fn asked(sets: &[(&str, &str, String)], steps: &Value) -> Value {
    let bounds: Vec<Value> = sets
        .iter()
        .map(|(op, param, value)| {
            let steps = steps.as_array().unwrap();
            let step = steps.iter().position(|step| step["op"] == *op).unwrap();
            let value: Value = serde_json::from_str(value).unwrap();
            json!({"step": step, "param": param, "value": value})
        })
        .collect();
    json!({ "bounds": bounds })
}

/// Random bounds, some of them none.
fn some_sets(seed: u64) -> Vec<(&'static str, &'static str, String)> {
    let mut pick = spread(seed);
    let mut sets = Vec::new();
    for (op, param, least, greatest, whole) in [
        ("text_length_filter", "min_len", 0.0, 30.0, true),
        ("text_length_filter", "max_len", 30.0, 110.0, true),
        ("words_num_filter", "max_num", 3.0, 25.0, true),
        ("character_repetition_filter", "max_ratio", 0.0, 0.8, false),
        ("image_shape_filter", "min_width", 20.0, 210.0, true),
        ("image_aspect_ratio_filter", "max_ratio", 1.0, 3.5, false),
    ] {
        let share = f64::from(u32::try_from(pick(1000)).unwrap()) / 1000.0;
        let value = least + share * (greatest - least);
        match pick(4) {
            0 => {}
            1 => sets.push((op, param, "null".to_owned())),
            _ if whole => sets.push((op, param, format!("{}", value.round()))),
            _ => sets.push((op, param, format!("{value}"))),
        }
    }
    sets
}

/// A folder with an analysis of the rows.
fn analyzed() -> Scratch {
    let scratch = Scratch::new();
    rows(&scratch);
    scratch.write("r.yaml", FILTERS);
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(1);
    scratch
}

#[test]
fn only_who_knows_the_address_is_answered() {
    let scratch = analyzed();
    let served = Served::start(&scratch, "look");
    let (host, token) = (served.host(), served.token.clone());
    assert_eq!(token.len(), 32);
    let page = served.get(&format!("/{token}/"), &host);
    assert_eq!(page.status, 200);
    let policy = page
        .head
        .lines()
        .find(|line| line.starts_with("Content-Security-Policy:"))
        .unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'nonce-",
        "style-src 'nonce-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let nonce = policy
        .split("'nonce-")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    let text = String::from_utf8(page.body).unwrap();
    assert_eq!(text.matches("<script").count(), 1);
    assert!(text.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(
        !text.contains("http://")
            || text.matches("http://").count()
                == text.matches("http://www.w3.org/2000/svg").count()
    );
    assert_eq!(served.get(&format!("/{token}/facts"), &host).status, 200);
    let by_name = format!("Host: localhost:{}\r\n", served.port);
    assert_eq!(served.get(&format!("/{token}/facts"), &by_name).status, 200);

    // Without the token, or with almost the right one.
    let mut almost = token.clone();
    let last = almost.pop().unwrap();
    almost.push(if last == '0' { '1' } else { '0' });
    for path in [
        "/".to_owned(),
        "/facts".to_owned(),
        format!("/{almost}/facts"),
        format!("/{}/facts", &token[..31]),
        format!("/{token}0/facts"),
        format!("//{token}/facts"),
        format!("/?token={token}"),
    ] {
        let answer = served.get(&path, &host);
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (403, &b"Forbidden"[..]),
            "{path}"
        );
    }
    // Under a name that somebody else gave the address, or from another site.
    for headers in [
        format!("Host: evil.example:{}\r\n", served.port),
        "Host: 127.0.0.1\r\n".to_owned(),
        format!("Host: 127.0.0.1:{}.evil.example\r\n", served.port),
        format!("{host}Origin: http://evil.example\r\n"),
        format!("{host}Origin: null\r\n"),
    ] {
        assert_eq!(
            served.get(&format!("/{token}/facts"), &headers).status,
            403,
            "{headers}"
        );
    }
    assert_eq!(served.get(&format!("/{token}/facts"), "").status, 400);
    assert_eq!(served.get(&format!("/{token}/nothing"), &host).status, 404);
    // What a form of another site could send.
    let form = format!(
        "POST /{token}/write HTTP/1.1\r\n{host}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    assert_eq!(served.raw(form.as_bytes()).status, 415);
    assert!(!scratch.path("view-1.yaml").exists());
    for (request, status) in [
        (format!("DELETE /{token}/facts HTTP/1.1\r\n{host}\r\n"), 405),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (
            format!("POST /{token}/cut HTTP/1.1\r\n{host}Content-Length: 99999999\r\n\r\n"),
            413,
        ),
        (
            format!(
                "GET /{token}/ HTTP/1.1\r\n{host}X: {}\r\n\r\n",
                "x".repeat(20_000)
            ),
            413,
        ),
    ] {
        assert_eq!(
            served.raw(request.as_bytes()).status,
            status,
            "{request:.60}"
        );
    }
    assert_eq!(
        served
            .post(
                "cut",
                &json!({"bounds": [{"step": 0, "param": "x", "value": 1}]})
            )
            .0,
        409
    );
    assert_eq!(served.post("cut", &json!({"more": 1})).0, 400);

    // From this machine only.
    let outside = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    if let Ok(outside) = outside
        && !outside.ip().is_loopback()
    {
        let there = SocketAddr::new(outside.ip(), served.port);
        assert!(TcpStream::connect(there).is_err(), "{there} answers");
    }
    assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, served.port)).is_err());
}

#[test]
fn its_counts_are_those_of_recut() {
    let scratch = analyzed();
    let served = Served::start(&scratch, "look");
    let facts = served.facts();
    assert_eq!(facts["rows"], 243);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..14 {
        let sets = some_sets(seed);
        if sets.is_empty() {
            continue;
        }
        let cut = served.asked("cut", &asked(&sets, &facts["steps"]));
        assert_eq!(cut["unsure"], Value::Null);
        assert_eq!(cut["unknown"], 0);
        assert_eq!(cut["left"], recut(&scratch, "look", &sets), "{sets:?}");
        seen.insert(cut["left"].as_u64().unwrap());
        // Step by step: who comes in goes on, is dropped or set aside.
        let steps = scratch.json("cut.jsonl.djr/manifest.json")["steps"].clone();
        for (step, cut) in steps
            .as_array()
            .unwrap()
            .iter()
            .zip(cut["steps"].as_array().unwrap())
        {
            let of = |name: &str| step[name].as_u64().unwrap_or(0);
            assert_eq!(cut["dropped"], of("dropped"), "{step} {cut}");
            assert_eq!(cut["aside"], of("quarantined"), "{step} {cut}");
        }
    }
    assert!(seen.len() > 5, "{seen:?}");
    // A chart counts each value in front of its filter.
    let cut = served.asked("cut", &json!({}));
    let sum = |list: &Value| {
        list.as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_u64)
            .sum::<u64>()
    };
    assert_eq!(facts["charts"][0]["stat"], "text_len");
    assert_eq!(
        sum(&cut["charts"][0][0]),
        cut["steps"][2]["reach"].as_u64().unwrap()
    );
    assert_eq!(
        sum(&cut["charts"][0][1]),
        cut["steps"][1]["dropped"].as_u64().unwrap()
    );
    let (status, answer) = served.post(
        "cut",
        &json!({"bounds": [{"step": 1, "param": "min_len", "value": 50}, {"step": 1, "param": "max_len", "value": 9}]}),
    );
    assert_eq!(status, 409);
    assert!(
        answer["problem"]
            .as_str()
            .unwrap()
            .contains("min_len 50 is above max_len 9"),
        "{answer}"
    );
}

#[test]
fn of_a_run_it_counts_what_is_known() {
    let scratch = Scratch::new();
    rows(&scratch);
    let recipe = format!("{FILTERS}- document_deduplicator:\n");
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    let served = Served::start(&scratch, "out.jsonl");
    let facts = served.facts();
    let whole = served.asked("cut", &json!({}));
    let output = &manifest["outputs"][0];
    assert_eq!(whole["left"], output["written"]);
    assert_eq!(whole["unsure"], Value::Null);
    let steps = manifest["steps"].as_array().unwrap();
    assert!(steps[6]["dropped"].as_u64() > Some(0));
    for (step, cut) in steps.iter().zip(whole["steps"].as_array().unwrap()) {
        assert_eq!(cut["dropped"], step["dropped"], "{step}");
    }
    // Tighter in front of the deduplicator: it may keep other rows, which only recut tells.
    let sets = [("text_length_filter", "min_len", "30".to_owned())];
    let tighter = asked(&sets, &facts["steps"]);
    let cut = served.asked("cut", &tighter);
    assert_eq!(cut["unsure"], 6);
    assert_eq!(cut["unknown"], 0);
    let says = |bounds: &Value| served.asked("recipe", bounds)["says"].to_string();
    let told = format!(
        "Its filters leave {} of 243 rows; what document_deduplicator makes of other rows is not counted.",
        cut["left"]
    );
    assert!(says(&tighter).contains(&told), "{}", says(&tighter));
    // Looser: rows come back whose other stats nobody measured.
    let sets = [
        ("text_length_filter", "min_len", "null".to_owned()),
        ("text_length_filter", "max_len", "null".to_owned()),
    ];
    let looser = asked(&sets, &facts["steps"]);
    let cut = served.asked("cut", &looser);
    assert_eq!(cut["unknown"], steps[1]["dropped"]);
    let told = format!(
        "; {} rows, whose stats were not all measured, are not counted.",
        cut["unknown"]
    );
    assert!(says(&looser).contains(&told), "{}", says(&looser));
    // What was set aside, by reason, and clusters of duplicates.
    let reasons = facts["reasons"].as_array().unwrap();
    let missing = reasons
        .iter()
        .position(|reason| reason["code"] == "image_missing")
        .unwrap();
    let aside = served.asked("rows", &json!({"of": "aside", "reason": missing}));
    assert_eq!(
        (aside["total"].as_u64(), &aside["rows"][0]["id"]),
        (Some(1), &json!("gone"))
    );
    assert_eq!(served.asked("rows", &json!({"of": "aside"}))["total"], 2);
    let clusters = served.asked("clusters", &json!({}));
    let largest = &clusters["clusters"][0];
    assert_eq!(largest["by"], "document_deduplicator");
    let texts: Vec<&Value> = largest["some"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["text"])
        .collect();
    assert!(
        texts.len() > 1 && texts.iter().all(|text| *text == texts[0]),
        "{texts:?}"
    );
}

#[test]
fn of_a_run_steps_whose_stats_it_did_not_store_are_as_the_run_had_them() {
    let scratch = Scratch::new();
    rows(&scratch);
    let recipe = format!(
        "{FILTERS}- document_deduplicator: {{keep: longest}}\n- words_num_filter: {{min_num: 3}}\n"
    );
    scratch.write("r.yaml", recipe);
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    let served = Served::start(&scratch, "out.jsonl");
    let whole = served.asked("cut", &json!({}));
    assert_eq!(whole["left"], manifest["outputs"][0]["written"]);
    assert_eq!(whole["unknown"], 0);
    for (step, cut) in manifest["steps"]
        .as_array()
        .unwrap()
        .iter()
        .zip(whole["steps"].as_array().unwrap())
    {
        assert_eq!(cut["dropped"], step["dropped"], "{step}");
    }
}

#[test]
fn copies_of_a_run_count_as_often_as_it_has_them() {
    let scratch = Scratch::new();
    rows(&scratch);
    let recipe = format!(
        "{FILTERS}- mixture_selector: {{repeat_to: 1000}}\n- document_deduplicator: {{keep: longest}}\n- mixture_selector: {{repeat_to: 2000}}\n- words_num_filter: {{min_num: 3}}\n"
    );
    scratch.write("r.yaml", recipe);
    let ran = scratch.djr(&["run", "r.yaml"]);
    assert!(ran.code <= 1, "{}", ran.stderr);
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    let served = Served::start(&scratch, "out.jsonl");
    let whole = served.asked("cut", &json!({}));
    assert_eq!(whole["left"], manifest["outputs"][0]["written"]);
    let steps = manifest["steps"].as_array().unwrap();
    for (step, cut) in steps.iter().zip(whole["steps"].as_array().unwrap()) {
        assert_eq!(cut["reach"], step["in"], "{step}");
        assert_eq!(cut["dropped"], step["dropped"], "{step}");
        assert_eq!(cut["repeated"], step["repeated"], "{step}");
    }
    assert!(steps.iter().filter(|step| step["repeated"] != 0).count() == 2);
}

#[test]
fn bounds_from_the_data_are_found_among_the_rows_that_are_left() {
    let scratch = Scratch::new();
    rows(&scratch);
    let recipe = FILTERS
        .replace(
            "{max_num: 20}",
            "{min_num: p25, max_num: p90, keep: best 60%}",
        )
        .replace("max_ratio: 0.9", "max_ratio: 1sigma of all");
    scratch.write("r.yaml", recipe);
    scratch
        .djr(&["analyze", "--recipe", "r.yaml", "-o", "look"])
        .expect(1);
    let served = Served::start(&scratch, "look");
    let facts = served.facts();
    let moved: Vec<Vec<(&str, &str, String)>> = vec![
        vec![("text_length_filter", "max_len", "60".to_owned())],
        vec![
            ("text_length_filter", "min_len", "25".to_owned()),
            ("image_shape_filter", "min_width", "100".to_owned()),
        ],
        vec![("words_num_filter", "min_num", "4".to_owned())],
    ];
    for sets in moved {
        let cut = served.asked("cut", &asked(&sets, &facts["steps"]));
        assert_eq!(cut["left"], recut(&scratch, "look", &sets), "{sets:?}");
        let found = scratch.json("cut.jsonl.djr/manifest.json")["steps"][2]["from_data"].clone();
        for bound in cut["found"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|found| found["step"] == 2)
        {
            let of_run = found
                .as_array()
                .unwrap()
                .iter()
                .find(|of| of["param"] == bound["param"]);
            assert_eq!(bound["value"], of_run.unwrap()["value"], "{sets:?}");
        }
    }
}

#[test]
fn the_recipe_that_it_writes_leaves_as_many_rows() {
    let scratch = Scratch::new();
    rows(&scratch);
    scratch.write("r.yaml", FILTERS);
    scratch.djr(&["run", "r.yaml"]).expect(1);
    let before = scratch.read("out.jsonl");
    let served = Served::start(&scratch, "out.jsonl.djr");
    let facts = served.facts();
    let sets = [
        ("text_length_filter", "max_len", "70.4".to_owned()),
        (
            "character_repetition_filter",
            "max_ratio",
            "0.35".to_owned(),
        ),
    ];
    let bounds = asked(&sets, &facts["steps"]);
    let cut = served.asked("cut", &bounds);
    scratch.write("view-1.yaml", "mine");
    std::fs::create_dir(scratch.path("view-2")).unwrap();
    let named = served.asked("recipe", &bounds);
    assert_eq!(
        (named["name"].as_str(), &named["path"]),
        (Some("view-3.yaml"), &Value::Null)
    );
    let written = served.asked("write", &bounds);
    assert_eq!(written["name"], "view-3.yaml");
    assert_eq!(written["left"], cut["left"]);
    assert_eq!(
        written["says"],
        format!("It leaves {} of 243 rows to its outputs.", cut["left"])
    );
    assert_eq!(
        written["yaml"].as_str().unwrap().as_bytes(),
        scratch.read("view-3.yaml")
    );
    assert_eq!(served.asked("write", &bounds)["name"], "view-4.yaml");
    assert_eq!(scratch.read("view-1.yaml"), b"mine");
    scratch.djr(&["run", "view-3.yaml"]).expect(1);
    let manifest = scratch.json("view-3/out.jsonl.djr/manifest.json");
    assert_eq!(manifest["outputs"][0]["written"], cut["left"]);
    assert_eq!(manifest["steps"][1]["dropped"], cut["steps"][1]["dropped"]);
    // The run that was looked at is as it was.
    assert_eq!(scratch.read("out.jsonl"), before);
}

#[test]
fn rows_next_to_a_bound_are_shown_as_they_are() {
    let scratch = analyzed();
    let served = Served::start(&scratch, "look");
    let bounds = json!({"bounds": [{"step": 1, "param": "max_len", "value": 40}], "step": 1, "param": "max_len"});
    let near = served.asked("near", &bounds);
    for (side, within) in [("kept", true), ("dropped", false)] {
        let rows = near[side].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let length = row["text"].as_str().unwrap().chars().count();
            let length = f64::from(u32::try_from(length).unwrap());
            assert_eq!(row["value"].as_f64(), Some(length), "{row}");
            assert_eq!(length <= 40.0, within);
            assert!(
                row["pictures"][0]["address"]
                    .as_str()
                    .unwrap()
                    .starts_with("data:image/jpeg;base64,")
            );
        }
    }
    // What stands between a row and its neighbours is nothing: no row is nearer.
    let kept = served.asked("rows", &bounds);
    assert!(kept["total"].as_u64() > Some(12));
    let mut texts = Vec::new();
    for skip in (0..240).step_by(12) {
        let dropped = json!({"bounds": [{"step": 1, "param": "max_len", "value": 80}], "of": "dropped", "step": 1, "skip": skip});
        let page = served.asked("rows", &dropped);
        let rows = page["rows"].as_array().unwrap();
        texts.extend(
            rows.iter()
                .filter_map(|row| row["text"].as_str().map(str::to_owned)),
        );
    }
    assert!(texts.iter().any(|text| text == EVIL), "{texts:?}");
    let all = served.asked("rows", &json!({"bounds": [{"step": 1, "param": "max_len", "value": 80}], "of": "dropped", "step": 1}));
    assert_eq!(all["total"], texts.len());
    let second = served.asked("rows", &json!({"skip": 12}));
    let first = served.asked("rows", &json!({}));
    assert_ne!(second["rows"][0]["line"], first["rows"][0]["line"]);
    assert_eq!(second["total"], first["total"]);
}

#[test]
fn what_cannot_be_recut_is_not_shown() {
    let scratch = analyzed();
    scratch.write("rows.jsonl", "{\"text\": \"other\"}\n");
    let ran = scratch.djr(&["view", "look"]).expect(2);
    assert!(
        ran.stderr.contains("rows.jsonl") && ran.stderr.contains("measure the rows again"),
        "{}",
        ran.stderr
    );
    let ran = scratch.djr(&["view", "nothing"]).expect(2);
    assert!(
        ran.stderr.contains("no run is recorded here"),
        "{}",
        ran.stderr
    );
}

/// Chromium, a python, and the script that drives one by the other.
#[test]
fn a_browser_slides_and_writes() {
    let there = |name: &str| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !there("chromium") || !there("python3") {
        println!(
            "skipped: no Chromium or no Python on this machine (Debian: apt install chromium)"
        );
        return;
    }
    let script = root().join("tests/browser/view.py");
    let ran = Command::new("python3")
        .arg(&script)
        .args(["--djr", env!("CARGO_BIN_EXE_djr")])
        .current_dir(Path::new("/"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(said.contains("all is well"), "{said}");
}
