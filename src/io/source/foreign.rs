//! What a file is that holds no rows djr reads, told by its first bytes and its name.

/// How a kind of file begins: at which byte with what, and what it is called.
const MAGIC: [(usize, &[u8], &str); 28] = [
    (0, b"PARE", "an encrypted Apache Parquet file"),
    (0, b"FEA1", "a Feather file"),
    (0, b"ORC", "an Apache ORC file"),
    (0, b"Obj\x01", "an Apache Avro file"),
    (0, b"PK\x03\x04", "a zip archive (or an office document)"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (0, b"Rar!\x1A\x07", "a RAR archive"),
    (0, b"LZIP", "an lzip file"),
    (0, b"\xFF\x06\x00\x00sNaPpY", "a snappy file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\x89HDF\r\n\x1A\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04\x95", "a Python pickle"),
    (0, b"\x80\x05\x95", "a Python pickle"),
    (0, b"\x89PNG\r\n\x1A\n", "a PNG image"),
    (0, &[0xFF, 0xD8, 0xFF], "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (8, b"WAVE", "a WAVE sound"),
    (
        4,
        b"ftyp",
        "an MP4 video (or a picture or a sound of that family)",
    ),
    (0, b"\x1A\x45\xDF\xA3", "a Matroska video"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x7FELF", "a program"),
];

/// Names of text files by their suffixes.
const TEXTS: [(&str, &str); 10] = [
    (".csv", "a CSV file"),
    (".tsv", "a TSV file"),
    (".txt", "plain text"),
    (".md", "a Markdown text"),
    (".yaml", "a YAML file"),
    (".yml", "a YAML file"),
    (".xml", "an XML file"),
    (".html", "an HTML page"),
    (".htm", "an HTML page"),
    (".py", "a Python program"),
];

/// What a file that begins so certainly is, whatever it is called.
#[must_use]
pub fn certain(head: &[u8]) -> Option<&'static str> {
    MAGIC
        .iter()
        .find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
        .map(|(_, _, what)| *what)
}

/// Whether bytes are no text: they have a NUL or are not UTF-8 (but for a character that `head`
/// cuts off).
#[must_use]
pub fn is_binary(head: &[u8]) -> bool {
    let utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    head.contains(&0) || !utf8
}

/// Whether a text is what comes instead of a file of rows: the page of a server, or the pointer that
/// git-lfs leaves.
#[must_use]
pub fn is_instead(head: &[u8]) -> bool {
    let head = head.trim_ascii_start();
    head.starts_with(b"<") || head.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// What a file that holds no JSON most likely is, by its first bytes and its name.
#[must_use]
pub fn likely(head: &[u8], name: &str) -> String {
    if is_binary(head) {
        return "a binary file of an unknown kind".to_owned();
    }
    if let Some(named) = named(name) {
        return named.to_owned();
    }
    let looks = by_looks(head).map(|looks| format!(" (by its looks {looks})"));
    format!("a text without JSON{}", looks.unwrap_or_default())
}

/// How many lines of a text are looked at to say what it looks like.
const LINES: usize = 16;

/// How lines of programs begin.
const PROGRAMS: [&str; 18] = [
    "#!",
    "#include",
    "import ",
    "from ",
    "def ",
    "class ",
    "package ",
    "using ",
    "fn ",
    "pub ",
    "function ",
    "const ",
    "let ",
    "var ",
    "return ",
    "//",
    "/*",
    "@",
];

/// What a text looks like; a guess that helps whoever gave it by mistake.
fn by_looks(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(LINES)
        .collect();
    let first = lines.first()?.trim_start();
    let is_value = |line: &&str| serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok();
    let separated_by = |separator: char| {
        let count = |line: &&str| unquoted(line, separator);
        let columns = count(lines.first().unwrap_or(&""));
        // The last line may go on behind what is shown.
        let whole = lines.split_last().map_or(&[][..], |(_, rest)| rest);
        columns > 0 && lines.len() > 1 && whole.iter().all(|line| count(line) == columns)
    };
    let dated = first.trim_start_matches(['[', '<', '(']).as_bytes();
    if is_instead(head) {
        let page = first.starts_with('<');
        return Some(if page {
            "a page in HTML or XML"
        } else {
            "a pointer of git-lfs"
        });
    }
    if first.starts_with("{'") {
        return Some("dictionaries as Python prints them, which json.dumps turns into JSON");
    }
    if matches!(dated, [a, b, c, d, b'-' | b'/', ..] if [a, b, c, d].iter().all(|it| it.is_ascii_digit()))
    {
        return Some("a log");
    }
    if lines
        .iter()
        .any(|line| PROGRAMS.iter().any(|begin| line.starts_with(begin)))
    {
        return Some("a program");
    }
    if lines.iter().all(is_value) {
        return Some("JSON values that are no objects");
    }
    if separated_by('\t') {
        return Some("TSV, which input.format: tsv reads");
    }
    if separated_by(',') {
        return Some("CSV, which input.format: csv reads");
    }
    None
}

/// How often `separator` stands outside of quotes.
fn unquoted(line: &str, separator: char) -> usize {
    let mut inside = false;
    let mut count = 0;
    for c in line.chars() {
        inside ^= c == '"';
        count += usize::from(c == separator && !inside);
    }
    count
}

/// The kind of text that a file called `name` says it is.
#[must_use]
pub fn named(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let found = TEXTS.iter().find(|(suffix, _)| name.ends_with(suffix));
    found.map(|(_, what)| *what)
}
