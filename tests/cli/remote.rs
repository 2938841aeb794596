//! Inputs over a network, from a server of this process; what djr says that was built without them.

#[cfg(not(feature = "remote"))]
mod absent {
    use crate::support::Scratch;

    #[test]
    fn who_has_no_network_is_told_how_to_get_it() {
        let scratch = Scratch::new();
        scratch.write("in.jsonl", "{\"text\": \"a\"}\n");
        for url in ["s3://bucket/x.jsonl", "https://host/x.jsonl"] {
            let ran = scratch.djr(&["subset", "--n", "1", url]).expect(2);
            assert!(
                ran.stderr.contains("the cargo feature `remote`"),
                "{}",
                ran.stderr
            );
        }
        let out = ["subset", "--n", "1", "in.jsonl", "-o", "s3://b/o.jsonl"];
        let ran = scratch.djr(&out).expect(2);
        assert!(
            ran.stderr.contains("the cargo feature `remote`"),
            "{}",
            ran.stderr
        );
        let hub = ["subset", "--n", "1", "hf://datasets/org/nowhere@v2"];
        let ran = scratch.djr(&hub).expect(2);
        assert!(
            ran.stderr
                .contains("hf download --repo-type dataset org/nowhere --revision v2"),
            "{}",
            ran.stderr
        );
        assert_eq!(scratch.files("o.jsonl"), Vec::<String>::new());
    }
}

#[cfg(feature = "remote")]
mod present {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use crate::archives::{samples, tar as archive};
    use crate::support::{Ran, Scratch};

    /// What a server has, and how it misbehaves.
    #[derive(Default)]
    struct World {
        /// By path and query: content and version.
        files: BTreeMap<String, (Vec<u8>, u32)>,
        /// Answers that are no files.
        pages: BTreeMap<String, (String, Option<String>)>,
        /// Who is asked for.
        token: Option<&'static str>,
        /// Every so many requests for a range break off in the middle.
        breaks: Option<usize>,
        /// After so many requests for ranges every file is another one.
        changes: Option<usize>,
        /// Says no version.
        no_tags: bool,
        ranges: usize,
        /// The ranges that were asked for, by path.
        asked: Vec<(String, u64, u64)>,
        refused: usize,
    }

    fn serve(world: World) -> (String, Arc<Mutex<World>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let world = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A client that goes away ends its connection only.
                    let _ = connection(stream, &world);
                });
            }
        });
        (format!("http://{address}"), world)
    }

    fn connection(mut stream: TcpStream, world: &Mutex<World>) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split_whitespace();
            let method = words.next().unwrap_or_default().to_owned();
            let path = words.next().unwrap_or_default().to_owned();
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim().split_once(':') else {
                    break;
                };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let (answer, whole) = world.lock().unwrap().answer(&method, &path, &headers);
            stream.write_all(&answer)?;
            if !whole {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    impl World {
        /// The bytes of an answer, and whether they are all of it.
        fn answer(
            &mut self,
            method: &str,
            path: &str,
            headers: &BTreeMap<String, String>,
        ) -> (Vec<u8>, bool) {
            let plain = |status: &str, more: &str, body: &[u8]| {
                let mut out = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}\r\n",
                    body.len()
                )
                .into_bytes();
                out.extend_from_slice(body);
                (out, true)
            };
            if let Some(token) = self.token
                && headers.get("authorization").map(String::as_str) != Some(token)
            {
                self.refused += 1;
                return plain("401 Unauthorized", "", b"");
            }
            if let Some((page, next)) = self.pages.get(path) {
                let link = next.as_ref().map_or(String::new(), |next| {
                    format!("Link: <{next}>; rel=\"next\"\r\n")
                });
                return plain("200 OK", &link, page.as_bytes());
            }
            let Some((content, version)) = self.files.get_mut(path) else {
                return plain("404 Not Found", "", b"");
            };
            let range = headers.get("range").and_then(|range| {
                let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
                Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?))
            });
            if range.is_some() {
                self.ranges += 1;
                if self.changes.is_some_and(|after| self.ranges > after) {
                    *version = 2;
                }
            }
            let tag = format!("\"v{version}\"");
            if headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
                return plain("412 Precondition Failed", "", b"");
            }
            let mut head = String::new();
            let date = if *version == 1 { "Mon, 01" } else { "Tue, 02" };
            let _ = write!(head, "Last-Modified: {date} Jan 2024 00:00:00 GMT\r\n");
            if !self.no_tags {
                let _ = write!(head, "ETag: {tag}\r\n");
            }
            if method == "HEAD" {
                let out = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{head}\r\n",
                    content.len()
                );
                return (out.into_bytes(), true);
            }
            let Some((from, to)) = range else {
                return plain("200 OK", &head, content);
            };
            self.asked.push((path.to_owned(), from, to));
            let _ = write!(
                head,
                "Content-Range: bytes {from}-{to}/{}\r\n",
                content.len()
            );
            let body = &content[from as usize..=to as usize];
            let (mut out, _) = plain("206 Partial Content", &head, body);
            if self.breaks.is_some_and(|every| self.ranges % every == 0) && body.len() > 1 {
                out.truncate(out.len() - body.len() / 2);
                return (out, false);
            }
            (out, true)
        }
    }

    /// More than one range of the largest size.
    fn many_rows() -> Vec<u8> {
        let mut rows = Vec::new();
        for number in 0..40_000 {
            let text = format!("row {number} ").repeat(24);
            writeln!(rows, "{}", json!({"id": number, "text": text})).unwrap();
        }
        rows
    }

    fn file(path: &str, content: impl Into<Vec<u8>>) -> (String, (Vec<u8>, u32)) {
        (path.to_owned(), (content.into(), 1))
    }

    const RECIPE: &str = "process: [{text_length_filter: {min_len: 3}}]\n";

    fn run(scratch: &Scratch, input: &str) -> Ran {
        scratch.djr(&[
            "run", "r.yaml", "--input", input, "-o", "o.jsonl", "--force",
        ])
    }

    #[test]
    fn rows_of_a_server_are_those_of_the_file_whatever_breaks_off() {
        let scratch = Scratch::new();
        scratch.write("r.yaml", RECIPE);
        let rows = many_rows();
        assert!(rows.len() > 9 << 20);
        scratch.write("in.jsonl", &rows);
        run(&scratch, "in.jsonl").expect(0);
        let expected = scratch.read("o.jsonl");
        for (no_tags, breaks) in [(false, None), (false, Some(3)), (true, Some(4))] {
            let packed = zstd::encode_all(&rows[..], 1).unwrap();
            let (url, world) = serve(World {
                files: [
                    file("/a/in.jsonl", rows.clone()),
                    file("/p.jsonl.zst?sig=x%2Fy", packed),
                ]
                .into(),
                breaks,
                no_tags,
                ..World::default()
            });
            for name in ["a/in.jsonl", "p.jsonl.zst?sig=x%2Fy"] {
                let input = format!("{url}/{name}");
                let ran = run(&scratch, &input).expect(0);
                assert!(
                    expected == scratch.read("o.jsonl"),
                    "{name}: {}",
                    ran.stderr
                );
                assert_eq!(
                    scratch.json("o.jsonl.djr/manifest.json")["inputs"][0]["name"],
                    *input
                );
                scratch.djr(&["verify", "o.jsonl"]).expect(0);
            }
            let asked = std::mem::take(&mut world.lock().unwrap().asked);
            assert!(asked.iter().all(|(_, from, to)| to - from < 8 << 20));
        }
    }

    #[test]
    fn an_object_that_changes_under_the_run_ends_it() {
        let scratch = Scratch::new();
        scratch.write("r.yaml", RECIPE);
        for no_tags in [false, true] {
            for input in ["fail", "quarantine"] {
                let (url, _world) = serve(World {
                    files: [file("/in.jsonl", many_rows())].into(),
                    changes: Some(5),
                    no_tags,
                    ..World::default()
                });
                let recipe = format!("{RECIPE}input: {{on_broken_input: {input}}}\n");
                scratch.write("r.yaml", recipe);
                let ran = run(&scratch, &format!("{url}/in.jsonl")).expect(3);
                assert!(ran.stderr.contains("changed"), "{}", ran.stderr);
                assert!(!scratch.path("o.jsonl").exists());
                scratch.djr(&["clean", "."]);
                let _ = std::fs::remove_dir_all(scratch.path("o.jsonl.djr"));
            }
        }
    }

    #[test]
    fn of_tables_only_what_is_needed_is_asked_for_and_archives_keep_their_images() {
        let scratch = Scratch::new();
        scratch.write("r.yaml", RECIPE);
        // A table with a text, and with bytes that nobody asks for.
        let rows = many_rows();
        scratch.write("in.jsonl", &rows);
        scratch
            .djr(&["convert", "--to", "parquet", "in.jsonl", "-o", "t.parquet"])
            .expect(0);
        let tar = archive(&samples(60).concat());
        scratch.write("s.tar", &tar);
        let (url, world) = serve(World {
            files: [
                file("/t.parquet", scratch.read("t.parquet")),
                file("/s.tar", tar),
            ]
            .into(),
            breaks: Some(5),
            ..World::default()
        });
        for name in ["t.parquet", "s.tar"] {
            let mut answers = Vec::new();
            for (from, input) in [("l", name.to_owned()), ("r", format!("{url}/{name}"))] {
                let images = "process: [{image_shape_filter: {min_width: 5}}]\n";
                scratch.write("i.yaml", if name == "s.tar" { images } else { RECIPE });
                for ending in ["jsonl", "parquet", "tar"] {
                    let output = format!("{from}-{}-{ending}.{ending}", &name[..1]);
                    if name == "t.parquet" && ending == "tar" {
                        continue;
                    }
                    let ran = ["run", "i.yaml", "--input", &input, "-o", &output];
                    scratch.djr(&ran).expect(0);
                    answers.push(scratch.read(&output));
                }
            }
            let (local, remote) = answers.split_at(answers.len() / 2);
            assert!(local == remote, "{name}");
        }
        drop(world);
    }

    #[test]
    fn braces_name_files_of_a_server_and_folders_it_does_not_tell() {
        let scratch = Scratch::new();
        scratch.write("r.yaml", RECIPE);
        let (url, _world) = serve(World {
            files: [
                file("/a-00.jsonl", "{\"text\": \"none\"}\n"),
                file("/a-01.jsonl", "{\"text\": \"one more\"}\n"),
                file("/a.bin", b"\x7fELF\x02\x01\x01".to_vec()),
            ]
            .into(),
            ..World::default()
        });
        run(&scratch, &format!("{url}/a-{{00..01}}.jsonl")).expect(0);
        assert_eq!(scratch.rows("o.jsonl").len(), 2);
        for (name, says) in [
            ("a-02.jsonl", "input not found"),
            ("a.bin", "does not read"),
            ("", "does not say which files it has"),
        ] {
            let ran = run(&scratch, &format!("{url}/{name}")).expect(2);
            assert!(ran.stderr.contains(says), "{}", ran.stderr);
        }
        let out = format!("{url}/o.jsonl");
        let ran = scratch
            .djr(&["run", "r.yaml", "--input", "x", "-o", &out])
            .expect(2);
        assert!(ran.stderr.contains("djr writes to s3://"), "{}", ran.stderr);
    }

    #[test]
    fn data_sets_of_the_hub_are_read_from_where_hf_endpoint_says() {
        let scratch = Scratch::new();
        scratch.write("r.yaml", RECIPE);
        let row = |text: &str| format!("{}\n", json!({"text": text}));
        let base = "/datasets/org/set/resolve/main";
        let (url, world) = serve(World {
            files: [
                file(&format!("{base}/data/train-0.jsonl"), row("first")),
                file(&format!("{base}/data/train-1.jsonl"), row("second")),
                file(&format!("{base}/data/test-0.jsonl"), row("third")),
                file("/datasets/org/set/resolve/v2/a%20b.jsonl", row("fourth")),
            ]
            .into(),
            token: Some("Bearer secret"),
            ..World::default()
        });
        let tree = "/api/datasets/org/set/tree/main";
        let query = "recursive=true&expand=false";
        let entry = |path: &str, kind: &str| json!({"type": kind, "path": path, "size": 1});
        let pages = [
            (
                format!("{tree}?{query}"),
                json!([
                    entry("data", "directory"),
                    entry("README.md", "file"),
                    entry("data/test-0.jsonl", "file")
                ]),
                Some(format!("{url}{tree}?cursor=2")),
            ),
            (
                format!("{tree}?cursor=2"),
                json!([
                    entry("data/train-1.jsonl", "file"),
                    entry("data/train-0.jsonl", "file")
                ]),
                None,
            ),
            (
                format!("{tree}/data?{query}"),
                json!([
                    entry("data/test-0.jsonl", "file"),
                    entry("data/train-1.jsonl", "file")
                ]),
                None,
            ),
        ];
        for (path, page, next) in pages {
            let page = (page.to_string(), next);
            world.lock().unwrap().pages.insert(path, page);
        }
        let run = |input: &str, token: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_djr"))
                .args([
                    "run", "r.yaml", "--force", "-o", "o.jsonl", "--input", input,
                ])
                .current_dir(scratch.path(""))
                .env("HF_ENDPOINT", &url)
                .env("HF_TOKEN", token)
                .env("HF_HOME", scratch.path("none"))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            Ran::of(output)
        };
        for (input, texts) in [
            ("hf://datasets/org/set", &["first", "second"][..]),
            ("hf://datasets/org/set/data/test-*.jsonl", &["third"]),
            ("hf://datasets/org/set/data/train-1.jsonl", &["second"]),
            ("hf://datasets/org/set@v2/a b.jsonl", &["fourth"]),
        ] {
            let ran = run(input, "secret").expect(0);
            let rows = scratch.rows("o.jsonl");
            let found: Vec<&str> = rows.iter().filter_map(|row| row["text"].as_str()).collect();
            assert_eq!(found, texts, "{input}: {}", ran.stderr);
        }
        let ran = run("hf://datasets/org/set", "other").expect(2);
        assert!(ran.stderr.contains("HF_TOKEN"), "{}", ran.stderr);
        let ran = run("hf://datasets/org/other", "secret").expect(2);
        assert!(ran.stderr.contains("no such data set"), "{}", ran.stderr);
        assert!(world.lock().unwrap().refused > 0);
    }
}
