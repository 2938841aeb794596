//! What a person at a terminal sees while a run goes on.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::Scratch;

/// What a run writes to a terminal of so many columns while its rows come slowly.
fn seen(scratch: &Scratch, columns: u16) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let output = format!("o{columns}.jsonl");
    let mut child = Command::new(env!("CARGO_BIN_EXE_djr"))
        .args([
            "run",
            "r.yaml",
            "--input",
            "-",
            "--batch-rows",
            "1",
            "--output",
            &output,
        ])
        .current_dir(scratch.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(terminal)
        .spawn()
        .unwrap();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        // Once nobody has the terminal open, reading it is an error.
        let _ = File::from(master).read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    });
    let mut stdin = child.stdin.take().unwrap();
    for row in 0..8 {
        writeln!(stdin, "{{\"text\": \"some words of row {row}\"}}").unwrap();
        thread::sleep(Duration::from_millis(120));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap()
}

#[test]
fn the_progress_line_never_wraps() {
    let scratch = Scratch::new();
    scratch.write(
        "r.yaml",
        "dataset_path: '-'\nprocess: [text_length_filter: {min_len: 1}]\n",
    );
    let widths = [40, 60, 80, 200];
    thread::scope(|scope| {
        let scratch = &scratch;
        let runs = widths.map(|width| (width, scope.spawn(move || seen(scratch, width))));
        for (width, run) in runs {
            let text = run.join().unwrap();
            let (live, _) = text.split_once('\n').unwrap();
            let drawn: Vec<&str> = live
                .split('\r')
                .filter(|line| line.contains(" rows"))
                .collect();
            assert!(!drawn.is_empty(), "{width}: {text}");
            for line in &drawn {
                assert!(
                    line.chars().count() < usize::from(width),
                    "{width}: {line:?}"
                );
            }
            assert_eq!(
                drawn.iter().any(|line| line.contains("memory ")),
                width >= 80,
                "{drawn:?}"
            );
            // The table stands on lines of its own.
            assert!(
                text.contains("\nrows in ") || text.contains("\rrows in "),
                "{text}"
            );
        }
    });
}
