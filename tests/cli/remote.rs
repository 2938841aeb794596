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
        scratch.write("r.yaml", "process: [text_length_filter]\n");
        let url = "s3://bucket/work";
        let out = ["--input", "in.jsonl", "-o", "o.jsonl"];
        for words in [
            &[&["plan", "r.yaml", "--work", url][..], &out].concat(),
            &[&["run", "r.yaml", "--tasks", url][..], &out].concat(),
            &["next", url].to_vec(),
            &["task", url, "decide-1"].to_vec(),
            &["finish", url].to_vec(),
            &["slurm", url].to_vec(),
        ] {
            let ran = scratch.djr(words).expect(2);
            assert!(
                ran.stderr.contains("s3://bucket/work: this djr")
                    && ran.stderr.contains("the cargo feature `remote`"),
                "{}",
                ran.stderr
            );
        }
    }
}

#[cfg(feature = "remote")]
mod present {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::fs;
    use std::io::Read as _;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use serde_json::json;

    use crate::archives::{samples, tar as archive};
    use crate::resume::assert_same;
    use crate::support::{Ran, Scratch};
    use crate::tasks::{self, made, results};

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
        asked: Vec<(String, usize, usize)>,
        refused: usize,
        /// So many objects may still be put there.
        takes: Option<usize>,
        /// Every so many objects that are put there, nobody hears of it.
        silent: Option<usize>,
        /// Objects are taken whatever is said of them.
        careless: bool,
        /// How long an object waits that is put there unless there is one.
        slow: Duration,
        puts: usize,
        /// Objects that were there when they must not be.
        second: usize,
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
            let length = headers.get("content-length");
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body)?;
            let first = headers.contains_key("if-none-match");
            let slow = world.lock().unwrap().slow;
            if first && !slow.is_zero() {
                std::thread::sleep(slow);
            }
            let mut world = world.lock().unwrap();
            let (answer, whole) = match method.as_str() {
                "PUT" => world.put(&path, body, first),
                "POST" => world.remove(&path, &String::from_utf8_lossy(&body)),
                "GET" if path.contains("list-type=2") => (world.list(&path), true),
                _ => world.answer(&method, &path, &headers),
            };
            drop(world);
            stream.write_all(&answer)?;
            if !whole {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    fn plain(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n");
        [head.as_bytes(), body].concat()
    }

    impl World {
        /// Takes an object, if need be only where there is none.
        fn put(&mut self, path: &str, content: Vec<u8>, first: bool) -> (Vec<u8>, bool) {
            if let Some(takes) = &mut self.takes {
                let Some(left) = takes.checked_sub(1) else {
                    return (plain("403 Forbidden", "", b""), true);
                };
                *takes = left;
            }
            if first && !self.careless && self.files.contains_key(path) {
                self.second += 1;
                return (plain("412 Precondition Failed", "", b""), true);
            }
            self.files.insert(path.to_owned(), (content, 1));
            self.puts += 1;
            if self
                .silent
                .is_some_and(|every| self.puts.is_multiple_of(every))
            {
                return (Vec::new(), false);
            }
            (plain("200 OK", "ETag: \"v1\"\r\n", b""), true)
        }

        /// Removes the objects that a request names.
        fn remove(&mut self, path: &str, named: &str) -> (Vec<u8>, bool) {
            let bucket = path.split('?').next().unwrap().trim_end_matches('/');
            let mut answer = String::new();
            for rest in named.split("<Key>").skip(1) {
                let key = rest.split("</Key>").next().unwrap();
                self.files.remove(&format!("{bucket}/{key}"));
                let _ = write!(answer, "<Deleted><Key>{key}</Key></Deleted>");
            }
            let answer = format!("<DeleteResult>{answer}</DeleteResult>");
            (plain("200 OK", "", answer.as_bytes()), true)
        }

        /// The objects below a prefix, up to the next slash if one is asked for.
        fn list(&self, path: &str) -> Vec<u8> {
            let (bucket, query) = path.split_once('?').unwrap();
            let query = query.replace("%2F", "/");
            let asked = |name: &str| query.split('&').find_map(|it| it.strip_prefix(name));
            let prefix = format!(
                "{}/{}",
                bucket.trim_end_matches('/'),
                asked("prefix=").unwrap_or("")
            );
            let mut answer = String::new();
            for (name, (content, _)) in &self.files {
                let Some(rest) = name.strip_prefix(&prefix) else {
                    continue;
                };
                if asked("delimiter=").is_some() && rest.contains('/') {
                    continue;
                }
                let key = name.strip_prefix(bucket).unwrap().trim_start_matches('/');
                let _ = write!(
                    answer,
                    "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>\
                     <ETag>\"v1\"</ETag><Size>{}</Size></Contents>",
                    content.len()
                );
            }
            let answer = format!("<ListBucketResult>{answer}</ListBucketResult>");
            plain("200 OK", "", answer.as_bytes())
        }

        /// The objects whose names hold all of these words.
        fn names(&self, words: &[&str]) -> Vec<String> {
            let names = self.files.keys();
            let wanted = names.filter(|name| words.iter().all(|word| name.contains(word)));
            wanted.cloned().collect()
        }

        /// The bytes of an answer, and whether they are all of it.
        fn answer(
            &mut self,
            method: &str,
            path: &str,
            headers: &BTreeMap<String, String>,
        ) -> (Vec<u8>, bool) {
            let plain = |status: &str, more: &str, body: &[u8]| (plain(status, more, body), true);
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
                Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
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
            let body = &content[from..=to];
            let (mut out, _) = plain("206 Partial Content", &head, body);
            if self
                .breaks
                .is_some_and(|every| self.ranges.is_multiple_of(every))
                && body.len() > 1
            {
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

    const WORK: &str = "s3://bucket/some/work";

    /// A machine with a scratch directory of its own, before the store of a server.
    struct Machine<'s> {
        scratch: &'s Scratch,
        server: &'s str,
        name: &'static str,
    }

    impl Machine<'_> {
        fn command(&self, words: &[&str]) -> Command {
            self.program(Path::new(env!("CARGO_BIN_EXE_djr")), words)
        }

        fn program(&self, program: &Path, words: &[&str]) -> Command {
            let temporary = self.scratch.path(self.name);
            fs::create_dir_all(&temporary).unwrap();
            let mut command = Command::new(program);
            command
                .args(words)
                .current_dir(self.scratch.path(""))
                .env("TMPDIR", temporary)
                .env("AWS_ENDPOINT", self.server)
                .env("AWS_ALLOW_HTTP", "true")
                .env("AWS_REGION", "us-east-1")
                .env("AWS_SKIP_SIGNATURE", "true")
                .env("NO_PROXY", "127.0.0.1")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command
        }

        fn djr(&self, words: &[&str]) -> Ran {
            Ran::of(self.command(words).output().unwrap())
        }

        fn plan(&self) -> Ran {
            let words = ["plan", "r.yaml", "--work", WORK, "--task-bytes", "20KB"];
            self.djr(&words)
        }

        /// The tasks that can be done now.
        fn ready(&self) -> Vec<String> {
            let next = self.djr(&["next", WORK, "--all"]);
            assert!([0, 11].contains(&next.code), "{}", next.stderr);
            next.text().lines().map(str::to_owned).collect()
        }

        /// The files of the plan that are here.
        fn files(&self) -> Vec<String> {
            self.scratch.files(self.name)
        }
    }

    /// Machines of these names before one store.
    fn machines<'s, const N: usize>(
        scratch: &'s Scratch,
        server: &'s str,
        names: [&'static str; N],
    ) -> [Machine<'s>; N] {
        names.map(|name| Machine {
            scratch,
            server,
            name,
        })
    }

    /// Does all tasks, each on another machine than the one before.
    fn do_all(machines: &[&Machine<'_>]) {
        let mut number = 0;
        loop {
            let ready = machines[0].ready();
            let Some(id) = ready.get(number % ready.len().max(1)) else {
                return;
            };
            number += 1;
            let machine = machines[number % machines.len()];
            machine.djr(&["task", WORK, id, "-q"]).expect(0);
        }
    }

    #[test]
    fn a_plan_in_a_store_makes_the_bytes_of_one_run() {
        let (scratch, expected) = made(tasks::RECIPE, &tasks::rows(900));
        let (server, world) = serve(World {
            silent: Some(7),
            ..World::default()
        });
        let [a, b, c, d] = machines(&scratch, &server, ["a", "b", "c", "d"]);
        let none = a.djr(&["next", WORK]).expect(2);
        assert!(
            none.stderr.contains("s3://bucket/some/work/plan.json"),
            "{}",
            none.stderr
        );
        a.plan().expect(0);
        b.plan().expect(0);
        let other = [
            &["plan", "r.yaml", "--work", WORK][..],
            &["--task-bytes", "9KB"],
        ]
        .concat();
        let other = b.djr(&other).expect(2);
        assert!(
            other.stderr.contains("holds another plan"),
            "{}",
            other.stderr
        );
        do_all(&[&a, &b]);
        assert!(!a.files().is_empty() && !b.files().is_empty());
        // A machine that has none of it, not even what those left that decided.
        fs::remove_dir_all(scratch.path("out")).unwrap();
        let answer = c.djr(&["next", WORK, "--json"]).expect(11).answer();
        assert_eq!(answer["result"]["work"], WORK);
        c.djr(&["finish", WORK]).expect(1);
        assert_same(&results(&scratch), &expected, "three machines");
        c.djr(&["verify", "out/clean.jsonl"]).expect(0);
        assert_eq!(c.files(), Vec::<String>::new());
        let again = d.djr(&["finish", WORK]).expect(1);
        assert!(again.stderr.contains("up to date"), "{}", again.stderr);
        let world = world.lock().unwrap();
        assert_eq!(world.names(&["/bucket/some/work/finished.json"]).len(), 1);
        assert!(
            world
                .names(&[])
                .iter()
                .all(|name| name.starts_with("/bucket/some/work/"))
        );
        drop(world);
        // On one machine, all tasks at once.
        fs::remove_dir_all(scratch.path("out")).unwrap();
        let here = "s3://bucket/here/";
        let words = [
            "run",
            "r.yaml",
            "--tasks",
            here,
            "--task-bytes",
            "20KB",
            "-j",
            "3",
        ];
        d.djr(&words).expect(1);
        assert_same(&results(&scratch), &expected, "one machine");
    }

    #[test]
    fn duplicates_are_found_by_partitions_in_a_store() {
        let (scratch, expected) = tasks::made_with_pictures(1200);
        let (server, world) = serve(World {
            silent: Some(11),
            ..World::default()
        });
        let [a, b, c] = machines(&scratch, &server, ["a", "b", "c"]);
        let plan = ["plan", "r.yaml", "--work", WORK, "--task-bytes", "40KB"];
        a.djr(&[&plan[..], &["--partitions", "3"]].concat())
            .expect(0);
        let mut damaged = false;
        while let Some(id) = a.ready().first() {
            let compares = id.starts_with("match-");
            if compares && !damaged {
                // A byte of some keys: whoever compares those says so.
                let keys = world.lock().unwrap().names(&["/t/keys-1-1-", "/keys"]);
                let keys = keys.iter().find(|name| name.ends_with("/keys")).unwrap();
                let url = format!("s3:/{keys}");
                let flip = |world: &mut World| {
                    let (content, version) = world.files.get_mut(keys).unwrap();
                    content[0] ^= 1;
                    *version += 1;
                };
                flip(&mut world.lock().unwrap());
                let partitions = a.ready().into_iter();
                let said: Vec<Ran> = partitions.map(|id| b.djr(&["task", WORK, &id])).collect();
                let refused: Vec<&Ran> = said.iter().filter(|ran| ran.code != 0).collect();
                assert_eq!(refused.len(), 1);
                let text = &refused[0].stderr;
                let named = text.contains(&url) && text.contains("not what was written");
                assert!(refused[0].code == 3 && named, "{text}");
                flip(&mut world.lock().unwrap());
                damaged = true;
                continue;
            }
            let machine = if compares { &b } else { &a };
            machine.djr(&["task", WORK, id, "-q"]).expect(0);
        }
        let here = b.files();
        let has = |what: &str| here.iter().any(|name| name.ends_with(what));
        assert!(has("/pairs") && has("/gone") && has("/keys.index"));
        assert!(!has("/keys"), "of keys only pieces are read: {here:?}");
        fs::remove_dir_all(scratch.path("out")).unwrap();
        c.djr(&["finish", WORK]).expect(1);
        assert_same(&results(&scratch), &expected, "partitions in a store");
        assert!(damaged);
    }

    /// The directories of attempts at a task that have files in the store.
    fn attempts(world: &Mutex<World>, id: &str) -> usize {
        let names = world.lock().unwrap().names(&[&format!("/t/{id}/")]);
        let attempt = |name: &String| name.rsplit_once('/').unwrap().0.to_owned();
        let attempts: std::collections::BTreeSet<_> = names.iter().map(attempt).collect();
        attempts.len()
    }

    #[test]
    fn of_two_machines_at_one_task_one_counts() {
        let (scratch, expected) = made(tasks::RECIPE, &tasks::rows(300));
        let (server, world) = serve(World {
            slow: Duration::from_millis(150),
            ..World::default()
        });
        let machines = machines(&scratch, &server, ["a", "b"]);
        machines[0].plan().expect(0);
        let before = world.lock().unwrap().second;
        while let Some(id) = machines[0].ready().first() {
            let race = machines.each_ref().map(|machine| {
                let mut command = machine.command(&["task", WORK, id]);
                command.spawn().unwrap()
            });
            let ran = race.map(|child: Child| Ran::of(child.wait_with_output().unwrap()).expect(0));
            let did = ran.iter().filter(|ran| !ran.stderr.contains("already"));
            assert_eq!(did.count(), 1, "{id}: {} {}", ran[0].stderr, ran[1].stderr);
            assert!(
                id.starts_with("measure") || attempts(&world, id) == 1,
                "{id}"
            );
        }
        assert!(world.lock().unwrap().second > before + 2);
        machines[1].djr(&["finish", WORK]).expect(1);
        assert_same(&results(&scratch), &expected, "races");
    }

    #[test]
    fn a_task_that_dies_while_it_uploads_is_done_again() {
        let (scratch, expected) = made(tasks::RECIPE, &tasks::rows(300));
        let (server, world) = serve(World::default());
        let [a, b] = machines(&scratch, &server, ["a", "b"]);
        a.plan().expect(0);
        let mut halves = 0;
        while let Some(id) = a.ready().first() {
            for takes in 0..3 {
                world.lock().unwrap().takes = Some(takes);
                let ran = a.djr(&["task", WORK, id]);
                world.lock().unwrap().takes = None;
                if ran.code == 0 {
                    break;
                }
                assert_eq!(ran.code, 3, "{}", ran.stderr);
                let says = [WORK, id, "the store refuses it", "what is done is kept"];
                assert!(
                    says.iter().all(|it| ran.stderr.contains(it)),
                    "{}",
                    ran.stderr
                );
                halves += usize::from(takes > 0);
            }
            b.djr(&["task", WORK, id, "-q"]).expect(0);
        }
        assert!(halves > 4, "{halves}");
        let left = |name: &str| attempts(&world, name);
        assert!(left("pass-1-00000") > 1 || left("decide-1") > 1);
        b.djr(&["finish", WORK]).expect(1);
        assert_eq!((left("pass-1-00000"), left("decide-1")), (1, 1));
        assert_same(&results(&scratch), &expected, "uploads that broke off");
    }

    #[test]
    fn the_script_for_slurm_does_a_plan_in_a_store() {
        let (scratch, expected) = made(tasks::RECIPE, &tasks::rows(300));
        let (server, world) = serve(World::default());
        let [a] = machines(&scratch, &server, ["a"]);
        a.plan().expect(0);
        let script = a.djr(&["slurm", WORK, "--array", "3"]).expect(0);
        scratch.write("job.sh", script.text());
        fs::create_dir(scratch.path("state")).unwrap();
        let sbatch = scratch.write("bin/sbatch", tasks::SBATCH);
        fs::set_permissions(&sbatch, fs::Permissions::from_mode(0o755)).unwrap();
        let bin = scratch.path("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut submit = a.program(&sbatch, &["job.sh"]);
        submit.env("PATH", path);
        submit.env("SLURM_STATE", scratch.path("state"));
        submit.output().unwrap();
        let log = String::from_utf8(scratch.read("state/log")).unwrap();
        assert!(scratch.path("out/clean.jsonl").exists(), "{log}");
        assert_same(&results(&scratch), &expected, "SLURM");
        assert_eq!(world.lock().unwrap().names(&["finished.json"]).len(), 1);
        let logs = scratch.files("");
        assert!(
            logs.iter()
                .any(|name| name.starts_with("work-") && name.ends_with(".slurm/job.sh")),
            "{logs:?}"
        );
    }

    #[test]
    fn only_what_a_record_says_is_used() {
        let (scratch, expected) = made(tasks::RECIPE, &tasks::rows(300));
        let (server, world) = serve(World::default());
        let [a, b] = machines(&scratch, &server, ["a", "b"]);
        a.plan().expect(0);
        do_all(&[&a]);
        fs::remove_dir_all(scratch.path("out")).unwrap();
        let part = world
            .lock()
            .unwrap()
            .names(&["/t/pass-4-00000/", "/part"])
            .remove(0);
        let url = format!("s3:/{part}");
        let (sound, _) = world.lock().unwrap().files[&part].clone();
        let mut flipped = sound.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let put = |content: Option<&[u8]>| {
            let mut world = world.lock().unwrap();
            match content {
                Some(content) => drop(world.files.insert(part.clone(), (content.to_vec(), 1))),
                None => drop(world.files.remove(&part)),
            }
        };
        for (content, says) in [
            (Some(&flipped[..]), "its digest is"),
            (Some(&sound[1..]), "its record says"),
            (None, "there is no such object"),
        ] {
            put(content);
            let refused = b.djr(&["finish", WORK]).expect(3);
            let named = refused.stderr.contains(&url) && refused.stderr.contains(says);
            assert!(named, "{}", refused.stderr);
        }
        put(Some(&sound));
        // What is wrong on a machine alone is brought again: files, and records of another plan.
        let damage = |machine: &Machine<'_>, ends: &str| {
            let files = machine
                .files()
                .into_iter()
                .filter(|name| name.ends_with(ends));
            let files: Vec<String> = files
                .map(|name| format!("{}/{name}", machine.name))
                .collect();
            for name in &files {
                let mut content = scratch.read(name);
                content[0] ^= 1;
                scratch.write(name, content);
            }
            files.len()
        };
        assert!(damage(&a, "/part") > 3 && damage(&a, ".done") > 3);
        a.djr(&["finish", WORK]).expect(1);
        assert_same(&results(&scratch), &expected, "damaged");
        // The store is emptied, and the same is planned again.
        fs::remove_dir_all(scratch.path("out")).unwrap();
        world.lock().unwrap().files.clear();
        assert!(!b.files().is_empty());
        b.plan().expect(0);
        let ready = b.djr(&["next", WORK, "--all", "--json"]).expect(0).answer();
        assert_eq!(ready["result"]["done"], 0);
        do_all(&[&b]);
        b.djr(&["finish", WORK]).expect(1);
        assert_same(&results(&scratch), &expected, "planned again");
    }

    #[test]
    fn a_store_that_takes_everything_holds_no_plan() {
        let scratch = Scratch::new();
        scratch.write(
            "r.yaml",
            format!("dataset_path: in.jsonl\nexport_path: o.jsonl\n{RECIPE}"),
        );
        scratch.write("in.jsonl", "{\"text\": \"some\"}\n");
        let (server, world) = serve(World {
            careless: true,
            ..World::default()
        });
        let [a] = machines(&scratch, &server, ["a"]);
        let ran = a.plan().expect(3);
        assert!(ran.stderr.contains("If-None-Match"), "{}", ran.stderr);
        assert_eq!(world.lock().unwrap().names(&[]), Vec::<String>::new());
        for (url, says) in [
            ("https://host/work", "djr writes to s3://"),
            ("s3://bucket", "names no folder"),
        ] {
            let ran = a.djr(&["plan", "r.yaml", "--work", url]).expect(2);
            assert!(ran.stderr.contains(says), "{}", ran.stderr);
        }
    }

    /// Rows and outputs of tasks in a store: no machine needs a file of another.
    #[test]
    fn tasks_read_and_write_objects() {
        let recipe = "\
dataset_path: s3://bucket/in
export_path: s3://bucket/out/clean.jsonl
process:
  - text_length_filter: {min_len: 8}
  - document_deduplicator:
  - document_minhash_deduplicator: {num_permutations: 32}
";
        let text = tasks::rows(900).replace("{\"text\": \"cut\n", "");
        let (front, back) = text.split_at(text[..text.len() / 2].rfind('\n').unwrap() + 1);
        let files = [
            file("/bucket/in/0.jsonl", front),
            file(
                "/bucket/in/1.jsonl.zst",
                zstd::encode_all(back.as_bytes(), 1).unwrap(),
            ),
            file("/bucket/in/2.jsonl", text.trim_end().replace("w1", "v1")),
        ];
        let (server, world) = serve(World {
            files: files.into(),
            ..World::default()
        });
        let out = "/bucket/out/clean.jsonl";
        let mut seen = Vec::new();
        let scratch = Scratch::new();
        scratch.write("r.yaml", recipe);
        let [a, b] = machines(&scratch, &server, ["a", "b"]);
        for by_tasks in [false, true] {
            if by_tasks {
                a.plan().expect(0);
                let names = world.lock().unwrap().names(&["/work/plan.json"]);
                let plan = world.lock().unwrap().files[&names[0]].0.clone();
                let plan: serde_json::Value = serde_json::from_slice(&plan).unwrap();
                assert!(plan["reads"].as_array().unwrap().len() > 5, "{plan}");
                do_all(&[&a, &b]);
                fs::remove_dir_all(scratch.path("clean.jsonl.djr")).unwrap();
                b.djr(&["finish", WORK]).expect(0);
            } else {
                a.djr(&["run", "r.yaml"]).expect(0);
            }
            b.djr(&["verify", "s3://bucket/out/clean.jsonl"]).expect(0);
            let (content, _) = world.lock().unwrap().files.remove(out).unwrap();
            let ledger = scratch.read("clean.jsonl.djr/ledger.jsonl.zst");
            seen.push((content, ledger));
            fs::remove_dir_all(scratch.path("clean.jsonl.djr")).unwrap();
        }
        assert!(seen[0] == seen[1]);
    }
}
