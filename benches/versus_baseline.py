#!/usr/bin/env python3
"""Two builds of djr side by side: the cases of RESULTS.md, alternating, outputs compared.

    cargo build --release && cargo build --release --example corpus
    benches/versus_baseline.py --baseline OLD/djr [--djr PATH] [--corpus PATH] [--work DIR]
        [--rows 200000] [--image-rows 5000] [--header-rows 50000] [--threads 1,2,4,8,16]
        [--runs 3] [--seconds 540] [--only text,header] [--json FILE]

OLD/djr is a build of the version to compare with; RESULTS.md names f1d75bf:

    git worktree add ../baseline f1d75bf && (cd ../baseline && cargo build --release)

Round by round every case runs once with either build and each number of threads, the builds
taking turns to be first, so that whatever else the machine does meets both. After --runs rounds, or
when --seconds are over, it prints medians of wall and CPU (user + system) seconds, and of the peak
of memory (never below the 10 MB of the Python that starts a program), in which a ratio of 1.03 is
3% more than before; a case whose CPU grew by more than 3% is in bold. --json also writes every
single measurement.

Both builds run in the same folder on the same generated rows (in DIR, kept there for the next
time; a folder in memory such as /dev/shm leaves the disk out of it). Every file that they write is
compared byte for byte, but for the run's own record (`*.djr`), whose format has a version. Stats are
compared as values, to ten decimals: the file beside an output is rounded as Data-Juicer rounds it
since f1d75bf, and an analysis has them in another place. That is done for the first number of
threads; for the others each build must give the bytes that it gave then. Exit code 1 if an answer
differs.

Needs Python 3.9 and nothing else.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BUILDS = ("before", "now")
# Starts a program from a small process: what a process has before it becomes another program
# counts for that one's peak of memory.
MEASURE = """
import os, sys
from time import perf_counter
began = perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
wall = perf_counter() - began
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status), file=sys.stderr)
"""


def measured(command, folder):
    """Runs a command: seconds of wall, of CPU, peak MB, exit code."""
    command = [sys.executable, "-I", "-S", "-c", MEASURE, *map(str, command)]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    *said, figures = done.stderr.splitlines()
    wall, cpu, mb, code = map(float, figures.split())
    if code not in (0, 1):  # 1: rows were set aside
        sys.exit(f"exit code {code:.0f} of {' '.join(command[5:])}\n" + "\n".join(said))
    return {"wall": wall, "cpu": cpu, "mb": mb}


def corpus(args, name, rows, distinct):
    """A generated corpus; `distinct` pictures, none if that is 0."""
    out = args.work / f"{name}-{rows}-{distinct}"
    if not (out / "ledger.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        command = [args.corpus, "--rows", rows, "--out", out]
        command += ["--distinct", distinct] if distinct else ["--no-images"]
        subprocess.run([str(c) for c in command], check=True)
    return out


def recipe(args, path, data):
    """A copy of a recipe with its fixtures replaced by the corpus."""
    text = path.read_text().replace("../fixtures/dataset/stage_1.json", str(data / "stage_1.json"))
    copy = args.work / "recipes" / f"{data.name}-{path.name}"
    copy.parent.mkdir(exist_ok=True)
    copy.write_text(text.replace("../fixtures/assets", str(REPO / "fixtures/assets")))
    return copy


def cases(args):
    """(name, rows, command without the program, whether it takes --threads)."""
    one = ("one", 1, 0)
    text = ("text", args.rows, 0)
    images = ("images", args.image_rows, args.image_rows)
    headers = ("headers", args.header_rows, min(2_000, args.header_rows))
    bench, shipped = REPO / "benches/recipes", REPO / "recipes"
    recipes = [
        ("one row", one, bench / "text.yaml"),
        ("filter", text, bench / "filter.yaml"),
        ("text", text, bench / "text.yaml"),
        ("exact", text, bench / "exact.yaml"),
        ("minhash", text, bench / "minhash.yaml"),
        ("caption_quality", text, shipped / "caption_quality.yaml"),
        ("header", headers, bench / "header.yaml"),
        ("basic_clean", headers, shipped / "basic_clean.yaml"),
        ("near", images, bench / "near.yaml"),
        ("phash", images, bench / "phash.yaml"),
        ("full_clean", images, shipped / "full_clean.yaml"),
        ("baseline_10k", images, shipped / "baseline_10k.yaml"),
        ("train_200k", images, shipped / "train_200k.yaml"),
    ]
    convert = ["convert", "{rows}", "--to", "llava", "--questions", "{data}/stage_1.json", "-o", "out/train.json"]
    subset = ["subset", "{rows}", "--n", args.rows // 2, "-o", "out/rows.jsonl"]
    analyze = ["analyze", "{rows}", "-o", "out"]
    others = [
        ("convert", images, convert, True),
        ("convert unchecked", text, convert + ["--validate", "none"], True),
        ("subset", text, subset, False),
        ("subset python", text, subset + ["--sampler", "python"], False),
        ("analyze", text, analyze + ["--validate", "none"], True),
    ]
    only = args.only and args.only.split(",")
    for name, data, path in recipes:
        if not only or name in only:
            folder = corpus(args, *data)
            copy = recipe(args, path, folder)
            command = ["run", copy, "--input", folder / "rows.jsonl", "--quiet"]
            if "\noutputs:" not in copy.read_text():
                command += ["--output", "out/rows.jsonl"]
            yield name, data[1], command, True
    for name, data, command, threaded in others:
        if not only or name in only:
            folder = corpus(args, *data)
            command = [str(c).format(rows=folder / "rows.jsonl", data=folder) for c in command]
            yield name, data[1], command + ["--quiet"], threaded


def rounded(value):
    if isinstance(value, float):
        return round(value, 10)
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value


def values_of(path):
    """A digest of what lines of stats say, wherever a line has them."""
    places = ("file", "line", "offset", "id", "part", "errors", "images_decode")
    digest = hashlib.sha256()
    with open(path, "rb") as lines:
        for line in lines:
            row = json.loads(line)
            stats = row.get("stats", {key: value for key, value in row.items() if key not in places})
            said = [row.get("offset"), rounded(stats)]
            digest.update(json.dumps(said, sort_keys=True).encode())
    return digest.hexdigest()


def bytes_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def answers(out, as_values):
    """File below `out` → digest, without the record of the run and what cannot be compared: a time."""
    found = {}
    for path in sorted(out.rglob("*")):
        inside = path.relative_to(out)
        if path.is_file() and not any(part.endswith(".djr") for part in inside.parts):
            if path.name.endswith("stats.jsonl") and as_values:
                found[str(inside)] = values_of(path)
            elif path.name not in ("analysis.json", "stats.parquet"):
                found[str(inside)] = bytes_of(path)
    return found


def different(before, now):
    """What differs between two sets of answers, in words; empty if nothing does."""
    names = sorted({*before, *now})
    return [
        f"{name} ({'only before' if name not in now else 'only now' if name not in before else 'other bytes'})"
        for name in names
        if before.get(name) != now.get(name)
    ]


def machine():
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "system": platform.release()}


def once(args, case, threads, first):
    """Runs a case with both builds, `first` first."""
    _, _, command, _ = case
    figures, found = {}, {}
    for build in (first, *(b for b in BUILDS if b != first)):
        folder = args.work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        option = ["--threads", threads] if threads else []
        figures[build] = measured([args.builds[build], *command, *option], folder)
        if (case[0], threads, build) not in args.answers:
            args.answers[case[0], threads, build] = answers(folder / "out", False)
        if case[0] not in args.compared:
            found[build] = answers(folder / "out", True)
        shutil.rmtree(folder)
    if found:
        args.compared[case[0]] = (threads, different(found["before"], found["now"]))
    return figures


def verdict(args, case, threads):
    """What is to be said of the outputs of a case with so many threads."""
    first, differences = args.compared[case]
    said = list(differences)
    for build in BUILDS:
        again = different(args.answers[case, first, build], args.answers[case, threads, build])
        said += [f"{build}, than with {first} threads: {what}" for what in again]
    return said or ["the same"]


def table(results):
    print("| case | rows | threads | runs | wall s before | now | ratio | CPU s before | now | ratio | peak MB before | now | outputs |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for result in results:
        if not result["runs"]:
            print(f"| {result['case']} | {result['rows']:,} | {result['threads'] or '-'} | 0 | not run: no time was left" + " |" * 9)
            continue
        median = {b: {k: statistics.median(r[b][k] for r in result["runs"]) for k in ("wall", "cpu", "mb")} for b in BUILDS}
        before, now = median["before"], median["now"]
        more = now["cpu"] / max(before["cpu"], 1e-6)
        shown = f"**{more:.2f}**" if more > 1.03 else f"{more:.2f}"
        print(
            f"| {result['case']} | {result['rows']:,} | {result['threads'] or '-'} | {len(result['runs'])} "
            f"| {before['wall']:.3f} | {now['wall']:.3f} | {now['wall'] / before['wall']:.2f} "
            f"| {before['cpu']:.3f} | {now['cpu']:.3f} | {shown} "
            f"| {before['mb']:.0f} | {now['mb']:.0f} | {', '.join(result['outputs'])} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, required=True, help="the build to compare with")
    parser.add_argument("--djr", type=Path, default=REPO / "target/release/djr")
    parser.add_argument("--corpus", type=Path, default=REPO / "target/release/examples/corpus")
    parser.add_argument("--work", type=Path, default=REPO / "target/versus_baseline")
    parser.add_argument("--rows", type=int, default=200_000, help="captions, without images")
    parser.add_argument("--image-rows", type=int, default=5_000, help="rows whose pictures are decoded, each with its own")
    parser.add_argument("--header-rows", type=int, default=50_000, help="rows of whose pictures only headers are read")
    parser.add_argument("--threads", default="1,2,4,8,16")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=540, help="start no further pair of runs after that")
    parser.add_argument("--only", help="names of cases")
    parser.add_argument("--json", type=Path, help="also write every measurement here")
    args = parser.parse_args()
    began = time.monotonic()
    args.builds = {"before": args.baseline.resolve(), "now": args.djr.resolve()}
    args.corpus, args.work = args.corpus.resolve(), args.work.resolve()
    args.compared, args.answers = {}, {}
    args.work.mkdir(parents=True, exist_ok=True)
    for program in args.builds.values():
        subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL)

    wanted = list(cases(args))
    results = []
    for case in wanted:
        for threads in [int(t) for t in args.threads.split(",")] if case[3] else [0]:
            results.append({"case": case[0], "rows": case[1], "threads": threads, "runs": [], "of": case})
    for number in range(args.runs):
        for result in results:
            if time.monotonic() - began < args.seconds:
                result["runs"].append(once(args, result["of"], result["threads"], BUILDS[number % 2]))
    for result in results:
        del result["of"]
        result["outputs"] = verdict(args, result["case"], result["threads"]) if result["runs"] else []

    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, Linux {about['system']}, {time.monotonic() - began:.0f} s in all\n")
    table(results)
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")
    sys.exit(any(outputs not in ([], ["the same"]) for outputs in (r["outputs"] for r in results)))


if __name__ == "__main__":
    main()
