//! Steps that ask a server: what it is sent, what becomes of rows that it fails, what is paid.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::mock::{Mock, Reply, Seen, nobody};
use crate::support::{Ran, Scratch};

/// What the filter takes for a score of `score`, from 0 to 1.
fn scores(score: f64) -> String {
    let each = score * 5.0;
    json!({"dimension_scores": {
        "accuracy": each, "grammar": each, "informativeness": each, "coherence": each,
    }})
    .to_string()
}

/// The number in the text of a row, which stands in what is said of it.
fn number(seen: &Seen) -> usize {
    let said = seen.said();
    let (_, behind) = said.split_once("row ").unwrap();
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// The score of row `n`: what a server that knows only its text can say.
fn score_of(n: usize) -> f64 {
    f64::from(u32::try_from(n % 10).unwrap()) / 10.0
}

fn sound(seen: &Seen) -> Reply {
    Reply::content(scores(score_of(number(seen))))
}

/// A recipe with one step that asks the server at `url`, over `rows` rows.
fn scratch(rows: usize, url: &Value, more: &str) -> Scratch {
    let scratch = Scratch::new();
    let mut lines = String::new();
    for n in 0..rows {
        writeln!(lines, "{}", json!({"id": n, "text": format!("row {n}")})).unwrap();
    }
    scratch.write("rows.jsonl", lines);
    scratch.write("r.yaml", recipe(url, more));
    scratch
}

fn recipe(url: &Value, more: &str) -> String {
    format!(
        "dataset_path: rows.jsonl
export_path: out.jsonl
max_quarantine: none
process:
  - llm_quality_score_filter: {{api_or_hf_model: m, model_params: {{base_url: {url}, api_key: sk-secret{more}}}}}
"
    )
}

fn run(scratch: &Scratch, args: &[&str]) -> Ran {
    let mut all = vec!["run", "r.yaml", "-q"];
    all.extend(args);
    scratch.djr(&all)
}

fn ids(scratch: &Scratch) -> Vec<usize> {
    let rows = scratch.rows("out.jsonl");
    let ids = rows.iter().map(|row| row["id"].as_u64().unwrap());
    ids.map(|id| usize::try_from(id).unwrap()).collect()
}

/// What a run keeps of so many rows.
fn kept(rows: usize) -> Vec<usize> {
    (0..rows).filter(|n| score_of(*n) >= 0.5).collect()
}

/// The rows set aside: id, code and message.
fn set_aside(scratch: &Scratch) -> Vec<(u64, String, String)> {
    let rows = scratch.rows("out.jsonl.djr/quarantine.jsonl");
    let told = rows.iter().map(|row| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (
            row["line"].as_u64().unwrap() - 1,
            text("code"),
            text("message"),
        )
    });
    told.collect()
}

#[test]
fn a_prompt_that_came_back_as_it_was_is_asked_for_again() {
    let asked = AtomicUsize::new(0);
    let mock = Mock::start(move |_| {
        let said = ["draw a cat", "draw a cat", "draw two kites", "draw a dog"];
        let at = asked.fetch_add(1, Ordering::Relaxed);
        Reply::content(format!("【提示词】{}", said[at.min(3)]))
    });
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", "{\"prompt\": \"draw a cat\"}\n");
    let params = json!({
        "api_or_hf_model": "m", "gen_num": 4, "max_example_num": 1,
        "model_params": {"base_url": mock.url()},
    });
    scratch.write(
        "r.yaml",
        format!(
            "dataset_path: rows.jsonl\nexport_path: out.jsonl\ntext_keys: prompt\n\
             process:\n  - optimize_prompt_mapper: {params}\n"
        ),
    );
    run(&scratch, &[]).expect(0);
    let rows = scratch.rows("out.jsonl");
    let prompts: Vec<&str> = rows
        .iter()
        .map(|row| row["prompt"].as_str().unwrap())
        .collect();
    // The row itself, then what came of each request.
    assert_eq!(
        prompts,
        [
            "draw a cat",
            "draw a cat",
            "draw a cat",
            "draw two kites",
            "draw a dog"
        ]
    );
    assert_eq!(mock.count(), 4);
}

/// What goes wrong, the answer that says so, and whether the row passes after all.
type Trouble = (&'static str, fn() -> Reply, bool);

#[test]
fn rows_are_asked_about_in_any_order_and_come_out_in_theirs() {
    let mock = Mock::start(|seen| {
        // Later rows are answered sooner.
        std::thread::sleep(Duration::from_millis((number(seen) % 7) as u64));
        sound(seen)
    });
    let url = json!(mock.url());
    let reference = scratch(300, &url, "");
    run(&reference, &[]).expect(0);
    assert_eq!(ids(&reference), kept(300));
    assert_eq!(mock.count(), 300);
    assert!(mock.most_at_once() > 8, "{} at once", mock.most_at_once());
    let first = &mock.seen()[0];
    assert_eq!(
        (first.method.as_str(), first.path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(first.header("authorization"), Some("Bearer sk-secret"));
    assert_eq!(first.header("content-type"), Some("application/json"));
    let out = reference.read("out.jsonl");
    for (threads, batch) in [("1", "1"), ("8", "7"), ("2", "512")] {
        let again = scratch(300, &url, "");
        run(&again, &["--threads", threads, "--batch-rows", batch]).expect(0);
        assert_eq!(again.read("out.jsonl"), out);
    }
    // The key stands in nothing that is left.
    for file in reference.files("out.jsonl.djr") {
        let bytes = reference.read(&format!("out.jsonl.djr/{file}"));
        assert!(
            !String::from_utf8_lossy(&bytes).contains("sk-secret"),
            "{file}"
        );
    }
    let manifest = reference.json("out.jsonl.djr/manifest.json");
    let service = &manifest["services"][0];
    assert_eq!(service["service"], "m");
    assert_eq!(
        [
            &service["sent"],
            &service["tokens_in"],
            &service["tokens_out"]
        ],
        [300, 3000, 1500].map(Value::from).each_ref()
    );
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_costs_its_row() {
    // The fourth request is answered so.
    let troubles: [Trouble; 7] = [
        (
            "429",
            || Reply::error(429, "slow down").with("Retry-After", "0.2"),
            true,
        ),
        ("503", || Reply::error(503, "warming up"), true),
        ("500", || Reply::error(500, "boom"), true),
        ("cut", || Reply::Cut, true),
        (
            "no JSON",
            || Reply::Of(200, Vec::new(), "<html>bad gateway</html>".into()),
            true,
        ),
        (
            "no answer",
            || Reply::json(200, &json!({"choices": []})),
            true,
        ),
        ("400", || Reply::error(400, "no such parameter"), false),
    ];
    for (name, trouble, passes) in troubles {
        let row = Arc::new(AtomicUsize::new(usize::MAX));
        let refused = Arc::clone(&row);
        let mock = Mock::start(move |seen| {
            // Not the first answer of all, which is judged otherwise, and only once.
            if seen.number == 3 {
                refused.store(number(seen), Ordering::SeqCst);
                trouble()
            } else {
                sound(seen)
            }
        });
        let scratch = scratch(12, &json!(mock.url()), "");
        let ran = run(&scratch, &[]);
        if passes {
            ran.expect(0);
            assert_eq!((ids(&scratch), mock.count()), (kept(12), 13), "{name}");
        } else {
            ran.expect(1);
            let aside = set_aside(&scratch);
            let row = row.load(Ordering::SeqCst) as u64;
            assert_eq!((aside.len(), aside[0].0), (1, row), "{name}");
            assert_eq!(aside[0].1, "model_failed");
            assert!(
                aside[0].2.contains("HTTP 400: no such parameter"),
                "{}",
                aside[0].2
            );
            assert_eq!(mock.count(), 12);
        }
    }
}

#[test]
fn a_row_that_fails_every_time_is_set_aside_with_the_last_status() {
    let mock = Mock::start(|seen| match number(seen) {
        3 => Reply::error(500, "boom"),
        4 => Reply::Hang(Duration::from_secs(3)),
        5 => Reply::content("I cannot answer that."),
        6 => Reply::error(400, "This model's maximum context length is 4096 tokens"),
        _ => sound(seen),
    });
    let scratch = scratch(10, &json!(mock.url()), ", max_retries: 1, timeout: 0.5");
    run(&scratch, &[]).expect(1);
    let aside = set_aside(&scratch);
    let told: Vec<_> = aside
        .iter()
        .map(|(row, code, _)| (*row, code.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (3, "model_failed"),
            (4, "model_failed"),
            (5, "answer_unusable"),
            (6, "model_input")
        ]
    );
    let message = |row: usize| aside[row].2.as_str();
    assert!(
        message(0).contains("HTTP 500: boom") && message(0).contains("2 tries"),
        "{}",
        message(0)
    );
    assert!(message(1).contains("timeout"), "{}", message(1));
    assert!(
        message(2).contains("3 answers") && message(2).contains("I cannot"),
        "{}",
        message(2)
    );
    assert_eq!(ids(&scratch), [7, 8, 9]);
    let times = |row| {
        mock.seen()
            .iter()
            .filter(|seen| number(seen) == row)
            .count()
    };
    assert_eq!([times(3), times(4), times(5), times(6)], [2, 2, 3, 1]);
}

#[test]
fn what_is_wrong_from_the_start_costs_one_request() {
    for (status, message, hint) in [
        (401, "bad key", "OPENAI_API_KEY"),
        (404, "no such model", "usually ends in /v1"),
        (400, "temperature is too high", "sampling_params"),
    ] {
        let mock = Mock::start(move |_| Reply::error(status, message));
        let scratch = scratch(200, &json!(mock.url()), "");
        let ran = run(&scratch, &[]).expect(3);
        assert!(
            ran.stderr.contains(message) && ran.stderr.contains(hint),
            "{}",
            ran.stderr
        );
        assert_eq!(mock.count(), 1, "{status}");
        assert!(!scratch.path("out.jsonl").exists());
    }
    // Nobody there.
    let scratch = scratch(200, &json!(nobody()), ", max_retries: 1");
    let ran = run(&scratch, &[]).expect(3);
    assert!(ran.stderr.contains("nobody answers"), "{}", ran.stderr);
}

#[test]
fn a_server_that_is_gone_for_good_stops_the_run() {
    let mock = Mock::start(|seen| {
        if seen.number < 20 {
            sound(seen)
        } else {
            Reply::error(500, "gone")
        }
    });
    let scratch = scratch(200, &json!(mock.url()), ", max_retries: 0");
    let ran = run(&scratch, &[]).expect(3);
    assert!(
        ran.stderr.contains("too many rows in a row"),
        "{}",
        ran.stderr
    );
    assert!(mock.count() < 200, "{}", mock.count());
}

#[test]
fn of_two_addresses_one_may_die() {
    let alive = Mock::start(|seen| {
        std::thread::sleep(Duration::from_millis(2));
        sound(seen)
    });
    let dying = Mock::start(|seen| {
        if seen.number < 5 {
            sound(seen)
        } else {
            Reply::Cut
        }
    });
    for urls in [
        json!([dying.url(), alive.url()]),
        json!([nobody(), alive.url()]),
    ] {
        let scratch = scratch(120, &urls, "");
        run(&scratch, &[]).expect(0);
        assert_eq!(ids(&scratch), kept(120));
    }
    // The first address is asked first, whatever else happens.
    assert!(dying.count() >= 1 && alive.count() >= 120);
}

#[test]
fn the_same_question_is_asked_once() {
    let mock = Mock::start(|seen| {
        std::thread::sleep(Duration::from_millis(5));
        // Whoever asks twice hears something else.
        Reply::content(scores(if seen.number == 0 { 0.8 } else { 0.1 }))
    });
    let scratch = scratch(0, &json!(mock.url()), "");
    let row = |n: usize| json!({"id": n, "text": "row 0"}).to_string() + "\n";
    scratch.write("rows.jsonl", (0..50).map(row).collect::<String>());
    run(&scratch, &[]).expect(0);
    assert_eq!((ids(&scratch).len(), mock.count()), (50, 1));
}

#[test]
fn a_run_that_was_killed_pays_for_nothing_twice() {
    let mock = Mock::start(|seen| {
        std::thread::sleep(Duration::from_millis(10));
        sound(seen)
    });
    let url = json!(mock.url());
    let whole = scratch(400, &url, "");
    run(&whole, &[]).expect(0);
    let paid = mock.count();
    assert_eq!(paid, 400);
    let killed = scratch(400, &url, ", max_concurrency: 4");
    for kill in 0..6 {
        let before = mock.count();
        let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
            .args(crate::resume::SMALL_STEPS)
            .args((kill > 0).then_some("--resume"))
            .current_dir(killed.path(""))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while mock.count() < before + 20 + kill * 7 {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run(&killed, &["--resume"]).expect(0);
    assert_eq!(killed.read("out.jsonl"), whole.read("out.jsonl"));
    let asked: Vec<String> = mock.seen()[paid..]
        .iter()
        .map(|seen| seen.body.clone())
        .collect();
    let different: BTreeSet<&String> = asked.iter().collect();
    assert_eq!(different.len(), 400);
    // Only what was on its way when it was killed, four at most each time, was asked again.
    assert!(asked.len() <= 400 + 6 * 4, "{}", asked.len());
    // What is run anew with another bound asks nothing.
    let before = mock.count();
    let step = recipe(&url, "").replace("api_or_hf_model: m", "api_or_hf_model: m, min_score: 0.9");
    killed.write("r.yaml", step);
    run(&killed, &["--force"]).expect(0);
    assert_eq!((ids(&killed).len(), mock.count()), (40, before));
}

#[test]
fn tasks_ask_servers_and_pay_for_nothing_twice() {
    let mock = Mock::start(|seen| {
        std::thread::sleep(Duration::from_millis(5));
        let each = score_of(number(seen)) * 5.0;
        let dimensions = [
            "accuracy",
            "grammar",
            "informativeness",
            "coherence",
            "linguistic_complexity",
            "conceptual_depth",
            "prior_knowledge",
            "step_complexity",
            "ambiguity",
        ];
        let scores: BTreeMap<&str, f64> = dimensions.map(|name| (name, each)).into();
        Reply::content(json!({"dimension_scores": scores}).to_string())
    });
    let url = json!(mock.url());
    let step = |name: &str| {
        let params = json!({"base_url": url, "max_concurrency": 4});
        json!({name: {"api_or_hf_model": "m", "model_params": params, "min_score": 0.3}})
    };
    let choice = json!({"topk_specified_field_selector": {"field_key": "id", "topk": 120}});
    let scratch = scratch(200, &url, "");
    let head = "dataset_path: rows.jsonl\nexport_path: out.jsonl\nmax_quarantine: none\n";
    let steps = json!([
        step("llm_quality_score_filter"),
        choice,
        step("llm_difficulty_score_filter")
    ]);
    let recipe = format!("{head}process: {steps}\n");
    scratch.write("r.yaml", &recipe);
    run(&scratch, &[]).expect(0);
    let made = |scratch: &Scratch| {
        let manifest = scratch.json("out.jsonl.djr/manifest.json");
        let services = manifest["services"].as_array().unwrap().iter();
        let cost = |it: &Value| {
            (
                it["service"].clone(),
                it["requests"].clone(),
                it["tokens_out"].clone(),
            )
        };
        let ledger = scratch.read("out.jsonl.djr/ledger.jsonl.zst");
        (
            scratch.read("out.jsonl"),
            ledger,
            services.map(cost).collect::<Vec<_>>(),
        )
    };
    let expected = made(&scratch);
    let paid = mock.count();
    assert_eq!(paid, 320);
    std::fs::remove_file(scratch.path("out.jsonl")).unwrap();
    std::fs::remove_dir_all(scratch.path("out.jsonl.djr")).unwrap();

    let limited = format!("max_tokens_total: 1000000\n{recipe}");
    scratch.write("limited.yaml", limited);
    let refused = scratch.djr(&["plan", "limited.yaml", "--work", "work"]);
    let refused = refused.expect(2).stderr;
    assert!(refused.contains("max_tokens_total"), "{refused}");

    let plan = ["plan", "r.yaml", "--work", "work", "--task-bytes", "2KB"];
    scratch.djr(&plan).expect(0);
    let start = |id: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_djr"));
        command.args(["task", "work", id, "-q"]);
        command.current_dir(scratch.path("")).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let (mut kills, mut tasks) = (0, 0);
    loop {
        let next = scratch.djr(&["next", "work"]);
        if next.code == 11 {
            break;
        }
        let id = next.expect(0).text().trim().to_owned();
        tasks += 1;
        let before = mock.count();
        if id.starts_with("pass-") {
            let mut killed = start(&id);
            while mock.count() < before + 9 && killed.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            killed.kill().unwrap();
            killed.wait().unwrap();
            kills += 1;
        }
        // Of two attempts at once one asks, and the other waits for what comes of it.
        let mut both = [start(&id), start(&id)];
        for attempt in &mut both {
            assert!(attempt.wait().unwrap().success());
        }
    }
    assert!(tasks > kills && kills > 4, "{kills} kills, {tasks} tasks");
    scratch.djr(&["finish", "work"]).expect(0);
    assert_eq!(made(&scratch), expected);
    // Four at most were on their way whenever it was killed.
    let asked = mock.count() - paid;
    assert!((320..=320 + 4 * kills).contains(&asked), "{asked}");
    let different: BTreeSet<String> = mock.seen()[paid..]
        .iter()
        .map(|it| it.body.clone())
        .collect();
    assert_eq!(different.len(), 320);
    assert!(!scratch.path("out.jsonl.djr/answers.log").exists());
}

#[test]
fn what_another_run_was_answered_is_in_the_cache() {
    let mock = Mock::start(sound);
    let url = json!(mock.url());
    let reference = scratch(60, &url, "");
    run(&reference, &[]).expect(0);
    let plain = reference.read("out.jsonl");
    assert_eq!(mock.count(), 60);

    // Half of the rows first, then all of them to another output, at an address of another name.
    let first = scratch(30, &url, "");
    run(&first, &["--cache", "kept"]).expect(0);
    assert_eq!(mock.count(), 90);
    let all = reference.read("rows.jsonl");
    first.write("rows.jsonl", all);
    let other = json!([mock.url(), mock.url().replace("127.0.0.1", "localhost")]);
    first.write("r.yaml", recipe(&other, ", max_concurrency: 3"));
    let more = ["--cache", "kept", "-o", "more.jsonl"];
    run(&first, &more).expect(0);
    assert_eq!(mock.count(), 120);
    assert_eq!(first.read("more.jsonl"), plain);
    let service = &first.json("more.jsonl.djr/manifest.json")["services"][0];
    let counts = ["sent", "cache_hits", "cache_misses", "tokens_out"];
    let counts = counts.map(|name| service[name].as_u64().unwrap());
    assert_eq!(counts, [30, 30, 30, 30 * 5]);

    // Another bound asks nothing, another model everything.
    let bound = recipe(&url, "").replace("{api_or_hf", "{min_score: 0.8, api_or_hf");
    first.write("r.yaml", &bound);
    run(&first, &["--cache", "kept", "-o", "bound.jsonl"]).expect(0);
    assert_eq!(mock.count(), 120);
    first.write("r.yaml", bound.replace("hf_model: m", "hf_model: other"));
    run(&first, &["--cache", "kept", "-o", "model.jsonl"]).expect(0);
    assert_eq!(mock.count(), 180);
}

/// The same recipe with what a limit needs: `params` of the server, `sampling` beside the messages.
fn priced(limit: &str, url: &Value, params: &str, sampling: &str) -> String {
    let more = format!("{params}}}, sampling_params: {{{sampling}");
    format!("{limit}\n{}", recipe(url, &more))
}

const PRICES: &str = ", price_in: 100, price_out: 200";

#[test]
fn no_more_is_spent_than_allowed_and_the_run_goes_on_from_there() {
    // An answer has up to 400 tokens, as many as the row says; some have no usage, some are cut off.
    let tokens = |seen: &Seen| [1, 400, 30, 250][number(seen) % 4];
    let sound = move |seen: &Seen| {
        let Reply::Of(status, headers, body) = sound(seen) else {
            unreachable!()
        };
        let mut body: Value = serde_json::from_str(&body).unwrap();
        body["usage"] = json!({"prompt_tokens": 50, "completion_tokens": tokens(seen)});
        if number(seen) == 17 {
            body.as_object_mut().unwrap().remove("usage");
        }
        Reply::Of(status, headers, body.to_string())
    };
    // What the server counts, whatever the client hears of it.
    let used = |mock: &Mock| -> (u64, f64) {
        let seen = mock.seen();
        let out: u64 = seen.iter().map(tokens).sum();
        let sent = 50 * seen.len() as u64;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let cost = (sent as f64 * 100.0 + out as f64 * 200.0) / 1e6;
        (sent + out, cost)
    };
    for (limit, args, most) in [
        ("max_cost: 1.5", vec![], (u64::MAX, 1.5)),
        ("max_tokens_total: 9000", vec![], (9000, f64::MAX)),
        ("max_cost: 100", vec!["--max-cost", "0.9"], (u64::MAX, 0.9)),
        (
            "max_cost: 100",
            vec!["--max-tokens-total", "9999"],
            (9999, f64::MAX),
        ),
    ] {
        let cut = AtomicUsize::new(0);
        let mock = Mock::start(move |seen| {
            if number(seen) == 5 && cut.fetch_add(1, Ordering::SeqCst) == 0 {
                return Reply::Cut;
            }
            sound(seen)
        });
        let url = json!(mock.url());
        let scratch = scratch(100, &url, "");
        scratch.write("r.yaml", priced(limit, &url, PRICES, "max_tokens: 400"));
        let ran = run(&scratch, &args).expect(3);
        assert!(ran.stderr.contains("leaves no room"), "{}", ran.stderr);
        assert!(mock.count() > 5, "{limit} {args:?}: {}", mock.count());
        let (all, cost) = used(&mock);
        assert!(all <= most.0 && cost <= most.1, "{limit}: {all}, {cost}");
        // What was lost is still counted, so that a run which goes on stops at once.
        let before = mock.count();
        let again = [&["--resume"], args.as_slice()].concat();
        run(&scratch, &again).expect(3);
        assert!(mock.count() <= before + 1, "{limit} {args:?}");
        let (all, cost) = used(&mock);
        assert!(all <= most.0 && cost <= most.1, "{limit}: {all}, {cost}");
        // A higher limit is no other plan.
        let higher = ["--max-cost", "100", "--max-tokens-total", "10000000"];
        run(&scratch, &[&["--resume"], higher.as_slice()].concat()).expect(0);
        // The one that was cut off is asked again.
        assert_eq!((ids(&scratch), mock.count()), (kept(100), 101));
    }
}

#[test]
fn a_limit_that_cannot_be_held_is_refused_before_anything_is_asked() {
    let mock = Mock::start(sound);
    let url = json!(mock.url());
    let scratch = scratch(3, &url, "");
    let free = ", price_in: 0";
    let window = ", max_model_len: 4096";
    for (limit, params, sampling, why) in [
        ("max_cost: 1", PRICES, "", "how long an answer may be"),
        ("max_cost: 1", "", "max_tokens: 9", "what tokens cost"),
        ("max_tokens_total: 9", "", "", "how long an answer may be"),
        ("max_cost: 1", PRICES, "max_tokens: 9", ""),
        ("max_cost: 1", &format!("{PRICES}{window}"), "", ""),
        ("max_cost: 1", &format!("{free}{window}"), "", ""),
        ("max_tokens_total: 9000", "", "max_completion_tokens: 9", ""),
        ("max_tokens_total: 90000", window, "", ""),
        ("", "", "", ""),
    ] {
        scratch.write("r.yaml", priced(limit, &url, params, sampling));
        let checked = scratch.djr(&["check", "r.yaml"]);
        if why.is_empty() {
            checked.expect(0);
            continue;
        }
        let said = checked.expect(2).stderr.clone();
        assert!(
            said.contains("cannot be held") && said.contains(why),
            "{said}"
        );
        run(&scratch, &[]).expect(2);
    }
    // So is one of the command line, and one over pictures, whose tokens nobody foresees.
    scratch.write("r.yaml", recipe(&url, PRICES));
    let ran = run(&scratch, &["--max-cost", "5"]).expect(2);
    assert!(
        ran.stderr.contains("how long an answer may be"),
        "{}",
        ran.stderr
    );
    for (more, code) in [("", 2), (window, 0)] {
        scratch.write(
            "r.yaml",
            format!(
                "dataset_path: rows.jsonl
export_path: out.jsonl
max_tokens_total: 100000
process:
  - image_tagging_vlm_mapper: {{api_or_hf_model: m, is_api_model: true, sampling_params: {{max_tokens: 9}}, model_params: {{base_url: {url}, api_key: k{more}}}}}
"
            ),
        );
        let checked = scratch.djr(&["check", "r.yaml"]).expect(code);
        assert_eq!(checked.stderr.contains("a picture may take"), code == 2);
    }
    assert_eq!(mock.count(), 0);
}

#[test]
fn thousands_of_rows_wait_in_bounded_memory() {
    let mock = Mock::start(|seen| {
        std::thread::sleep(Duration::from_millis(3));
        sound(seen)
    });
    let scratch = Scratch::new();
    let padding = "x".repeat(2000);
    let mut lines = String::new();
    for n in 0..5000 {
        let row = json!({"id": n, "text": format!("row {n}"), "padding": padding});
        writeln!(lines, "{row}").unwrap();
    }
    scratch.write("rows.jsonl", lines);
    scratch.write("r.yaml", recipe(&json!(mock.url()), ""));
    run(&scratch, &["--max-memory", "64MB"]).expect(0);
    assert_eq!(ids(&scratch), kept(5000));
    assert_eq!(mock.count(), 5000);
    assert!(
        mock.most_at_once() <= 64 && mock.most_at_once() > 16,
        "{}",
        mock.most_at_once()
    );
    let manifest = scratch.json("out.jsonl.djr/manifest.json");
    let peak = manifest["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak < 300 << 20, "{peak}");
}

#[test]
fn an_estimate_asks_about_the_first_rows_and_a_run_does_not_pay_for_them_again() {
    let mock = Mock::start(sound);
    let prices = ", price_in: 100, price_out: 200";
    let scratch = scratch(400, &json!(mock.url()), prices);
    let ran = scratch.djr(&["run", "r.yaml", "--estimate", "40", "--json"]);
    let answer = ran.expect(0).answer();
    let cost = &answer["result"]["cost"];
    assert_eq!(
        [&cost["rows"], &cost["requests"], &cost["tokens_in"]],
        [40, 40, 400].map(Value::from).each_ref()
    );
    // Later rows are a little longer than the first.
    let all = cost["all_rows"].as_u64().unwrap();
    assert!((350..450).contains(&all), "{cost}");
    let money = cost["all_cost"].as_f64().unwrap();
    let all = f64::from(u32::try_from(all).unwrap());
    assert!((money / all - 0.002).abs() < 1e-4, "{cost}");
    assert_eq!(mock.count(), 40);
    assert!(!scratch.path("out.jsonl").exists());
    run(&scratch, &[]).expect(0);
    assert_eq!((ids(&scratch), mock.count()), (kept(400), 400));
    // What is known costs nothing.
    let ran = scratch.djr(&["run", "r.yaml", "--estimate"]).expect(0);
    assert!(
        ran.text().contains("100 answers were known already"),
        "{}",
        ran.text()
    );
    assert_eq!(mock.count(), 400);
}

#[test]
fn a_template_goes_in_and_a_field_comes_out() {
    let mock = Mock::start(|seen| Reply::content(format!("<a>{}</a>", seen.said().to_uppercase())));
    let scratch = scratch(20, &json!(mock.url()), "");
    let step = format!(
        "dataset_path: rows.jsonl
export_path: out.jsonl
process:
  - llm_mapper: {{api_model: m, input_template: 'say {{id}}: {{text}}', output_pattern: '<a>(.*)</a>', output_key: said, model_params: {{base_url: '{}'}}}}
",
        mock.url()
    );
    scratch.write("r.yaml", step);
    run(&scratch, &[]).expect(0);
    let rows = scratch.rows("out.jsonl");
    assert_eq!(
        rows[7],
        json!({"id": 7, "text": "row 7", "said": "SAY 7: ROW 7"})
    );
    // A row that lacks what the template names is set aside, and nothing is asked about it; what is
    // asked about the other one was answered before.
    let before = mock.count();
    scratch.write(
        "rows.jsonl",
        "{\"text\": \"row 1\"}\n{\"id\": 2, \"text\": \"row 2\"}\n",
    );
    run(&scratch, &["--max-quarantine", "none"]).expect(1);
    assert_eq!(set_aside(&scratch)[0].1, "missing_field");
    assert_eq!(mock.count(), before);
}
