#!/usr/bin/env python3
"""A cache that knows most rows: some are added, one threshold changed, and `full_clean.yaml` runs again.

    cargo build --release && cargo build --release --example corpus
    benches/cache.py [--rows 400000] [--more 5000] [--threads 2] [--runs 3] [--work DIR] [--corpus-dir DIR]
                     [--djr PATH] [--cold]

ROWS rows, each with a picture of its own, run with an empty cache. Then, each beginning with the cache
as that run left it: the same rows again; the same with MORE rows behind them and another bound of
`image_shape_filter`, which is the case that counts; and that without a cache. Printed are medians of
wall and CPU (user + system) seconds, what the cache knew, and how many times the first run lasts the
others, by either. The outputs of the last two are compared, but for the manifest, which holds times.
--cold empties the system's caches before each run (as root, on Linux), for files on a disk.

DIR must be on a file system that keeps times of change. --corpus-dir names one that is there, as
`benches/collage.py` makes it. Needs Python 3.9 and nothing else.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BOUND = ("max_width: 4096", "max_width: 4000")


def measured(args, command):
    if args.cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    with open(args.work / "log", "ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=args.work)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code > 1:
        sys.exit(f"djr ended with {code}, see {args.work / 'log'}")
    return wall, usage.ru_utime + usage.ru_stime


def run(args, recipe, rows, name, cache):
    """Seconds of wall and CPU, and what the manifest says of the cache."""
    out = args.work / name
    shutil.rmtree(out, ignore_errors=True)
    said = ["--cache", args.work / "cache"] if cache else ["--no-cache"]
    command = [args.djr, "run", recipe, "--input", rows, "--output", out / "rows.jsonl", "--threads", args.threads, "-q", *said]
    wall, cpu = measured(args, command)
    manifest = json.loads((out / "rows.jsonl.djr/manifest.json").read_text())
    return wall, cpu, manifest.get("cache") or {}


def left(folder):
    """What a run left, but for its times."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            digests[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def corpus(args):
    """All rows, and the first of them alone."""
    data = args.corpus_dir or args.work / "corpus"
    if not (data / "rows.jsonl").exists():
        command = [args.corpus, "--rows", args.rows + args.more, "--out", data]
        subprocess.run([str(part) for part in command], check=True)
    first = data / f"first-{args.rows}.jsonl"
    with open(data / "rows.jsonl", "rb") as whole, open(first, "wb") as part:
        for number, line in enumerate(whole):
            if number == args.rows:
                break
            part.write(line)
    # A file that was just written might be written again within its time, so it is read again.
    time.sleep(2.5)
    return data / "rows.jsonl", first


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--more", type=int, default=5_000)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", type=Path, default=REPO / "target/bench-cache")
    parser.add_argument("--corpus-dir", type=Path)
    parser.add_argument("--djr", default=REPO / "target/release/djr")
    parser.add_argument("--corpus", default=REPO / "target/release/examples/corpus")
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    rows, first = corpus(args)
    text = (REPO / "recipes/full_clean.yaml").read_text()
    assert BOUND[0] in text
    recipe, changed = args.work / "full_clean.yaml", args.work / "changed.yaml"
    recipe.write_text(text)
    changed.write_text(text.replace(*BOUND))

    shutil.rmtree(args.work / "cache", ignore_errors=True)
    base = run(args, recipe, first, "first", True)
    shutil.rmtree(args.work / "kept", ignore_errors=True)
    shutil.copytree(args.work / "cache", args.work / "kept")
    print(f"{args.rows} rows and {args.more} more, {args.threads} threads, {'cold' if args.cold else 'warm'}, runs: 1 and {args.runs}")
    print("| run | wall s | CPU s | hits | misses | the first run lasts, by the clock | by CPU |\n|---|---|---|---|---|---|---|")
    cases = [
        ("the same again", recipe, first, "again", True),
        ("rows added, a bound changed", changed, rows, "more", True),
        ("that without a cache", changed, rows, "plain", False),
    ]

    def show(what, seconds, cpu, cache):
        hits, misses = cache.get("hits", "–"), cache.get("misses", "–")
        print(f"| {what} | {seconds:.2f} | {cpu:.2f} | {hits} | {misses} | {base[0] / seconds:.1f} times | {base[1] / cpu:.1f} times |", flush=True)

    show("the first", *base)
    for what, which, data, name, cached in cases:
        found = []
        for _ in range(args.runs if cached else 1):
            shutil.rmtree(args.work / "cache")
            shutil.copytree(args.work / "kept", args.work / "cache")
            found.append(run(args, which, data, name, cached))
        wall, cpu = (statistics.median(one[at] for one in found) for at in (0, 1))
        show(what, wall, cpu, found[0][2])
    if left(args.work / "more") != left(args.work / "plain"):
        sys.exit("the cache has changed what came out")
    print("the same bytes with and without the cache")


if __name__ == "__main__":
    main()
