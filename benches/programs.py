#!/usr/bin/env python3
"""Whole programs on a generated corpus: every recipe of recipes/ and benches/recipes/, convert, subset.

    cargo build --release --example corpus --example ideal && cargo build --release
    benches/programs.py [ROWS ...] [--distinct 3000] [--threads 1,2] [--runs 3] [--only text,convert]
                        [--work DIR] [--corpus-dir DIR] [--djr PATH] [--text-only] [--ideal] [--cold]
                        [--no-warm-up]

ROWS: 10000 unless given. For each row count and number of threads it prints medians of wall and
CPU (user + system) seconds, rows per second, the peak of memory, files opened and images decoded
(to pixels / at 1/8) per row as the manifest counts them, and the exit code (1: rows with damaged
images were set aside). --text-only makes a corpus
without any and runs only what needs none. The first run of a case is thrown away, unless --no-warm-up: files are warm.
--ideal runs benches/ideal.rs, the kernels alone on the same files, before each run of a case that
has such a part, and prints the median of its wall seconds and djr's rate as a share of its rate.
--cold empties the system's caches before each run (as root, on Linux); kernels then get 8 threads.
Peaks below 20 MB may be those of this script, which started the program.

Needs Python 3.9 and nothing else.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
# What benches/ideal.rs does in place of a case.
IDEAL = {"header": "header", "phash": "phash", "near": "near", "convert": "validate", "subset": "read", "subset python": "read"}
TEXT_ONLY = ("text", "filter", "exact", "minhash", "caption_quality", "subset", "subset python")


def measured(command, folder):
    with open(folder / "log", "ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode


def forget(args):
    if args.cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")


def ideal(args, work, data, threads):
    forget(args)
    command = [args.kernels, work, data, "--threads", 8 if args.cold else threads]
    return float(subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout)


def corpus(args, rows):
    if args.corpus_dir:
        return args.corpus_dir
    out = args.work / f"rows-{rows}-{'text' if args.text_only else min(args.distinct, rows)}"
    if not (out / "ledger.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        command = [args.corpus, "--rows", rows, "--out", out, "--distinct", min(args.distinct, rows)]
        subprocess.run([str(c) for c in command + (["--no-images"] if args.text_only else [])], check=True)
    return out


def cases(args, data):
    """Name → command without --threads. Recipes are copied with their fixtures replaced by the corpus."""
    rows = data / "rows.jsonl"
    copies = args.work / "recipes"
    copies.mkdir(exist_ok=True)
    found = {}
    for recipe in sorted([*REPO.glob("benches/recipes/*.yaml"), *REPO.glob("recipes/*.yaml")]):
        text = recipe.read_text()
        if "\nprocess:" not in text:
            continue
        text = text.replace("../fixtures/dataset/stage_1.json", str(data / "stage_1.json"))
        text = text.replace("../fixtures/assets", str(REPO / "fixtures/assets"))
        copy = copies / recipe.name
        copy.write_text(text)
        command = [args.djr, "run", copy, "--input", rows, "--quiet"]
        found[recipe.stem] = command + ([] if "\noutputs:" in text else ["--output", "out/rows.jsonl"])
    convert = [args.djr, "convert", rows, "--to", "llava", "--questions", data / "stage_1.json", "-o", "out/train.json", "--quiet"]
    found["convert"] = convert
    found["convert unchecked"] = convert + ["--validate", "none"]
    total = sum(1 for _ in open(rows, "rb"))
    subset = [args.djr, "subset", rows, "--n", total // 2, "-o", "out/rows.jsonl", "--quiet"]
    found["subset"] = subset
    found["subset python"] = subset + ["--sampler", "python"]
    return found


def images(folder):
    """Files opened, full and 1/8 decodes that the run's manifest counts."""
    for manifest in folder.glob("**/manifest.json"):
        counts = json.loads(manifest.read_text()).get("images") or {}
        return [counts.get(key, 0) for key in ("opened", "full_decodes", "scaled_decodes")]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=[10_000])
    parser.add_argument("--distinct", type=int, default=3_000, help="different pictures")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="names of cases")
    parser.add_argument("--text-only", action="store_true")
    parser.add_argument("--djr", type=Path, default=REPO / "target/release/djr")
    parser.add_argument("--corpus", type=Path, default=REPO / "target/release/examples/corpus")
    parser.add_argument("--work", type=Path, default=REPO / "target/programs")
    parser.add_argument("--corpus-dir", type=Path, help="a corpus that is there, of as many rows as given")
    parser.add_argument("--kernels", type=Path, default=REPO / "target/release/examples/ideal")
    parser.add_argument("--ideal", action="store_true", help="run the kernels alone beside each case")
    parser.add_argument("--cold", action="store_true", help="empty the system's caches before each run")
    parser.add_argument("--no-warm-up", dest="warm_up", action="store_const", const=0, default=1, help="count the first run too")
    args = parser.parse_args()
    args.kernels = args.kernels.resolve()
    args.corpus_dir = args.corpus_dir and args.corpus_dir.resolve()
    args.work, args.djr, args.corpus = args.work.resolve(), args.djr.resolve(), args.corpus.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    print("| case | rows | threads | wall s | CPU s | rows/s | peak MB | opened, decoded, 1/8 a row | exit | kernels alone, wall s (rate reached) |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for rows in args.rows:
        data = corpus(args, rows)
        for name, command in cases(args, data).items():
            if (args.only and name not in args.only.split(",")) or (args.text_only and name not in TEXT_ONLY):
                continue
            for threads in args.threads.split(","):
                if "subset" in name and threads != args.threads.split(",")[0]:
                    continue
                option = [] if "subset" in name else ["--threads", threads]
                runs, alone = [], []
                for _ in range(args.runs + args.warm_up):
                    if args.ideal and name in IDEAL:
                        alone.append(ideal(args, IDEAL[name], data, threads))
                    forget(args)
                    folder = args.work / "run"
                    shutil.rmtree(folder, ignore_errors=True)
                    (folder / "out").mkdir(parents=True)
                    runs.append(measured(command + option, folder))
                    if runs[-1][3] not in (0, 1):
                        sys.exit(f"{name}: exit {runs[-1][3]}\n{(folder / 'log').read_text()}")
                wall, cpu, peak, code = (statistics.median(r[i] for r in runs[args.warm_up:]) for i in range(4))
                counts = images(folder)
                beside = statistics.median(alone[args.warm_up:]) if alone else None
                beside = f"{beside:.3f} ({beside / wall:.0%})" if beside else "-"
                shown = ", ".join(f"{c / rows:.2f}" for c in counts) if counts else "-"
                print(f"| {name} | {rows:,} | {'-' if 'subset' in name else threads} | {wall:.3f} | {cpu:.3f} "
                      f"| {rows / wall:,.0f} | {peak:.0f} | {shown} | {code:.0f} | {beside} |", flush=True)


if __name__ == "__main__":
    main()
