#!/usr/bin/env python3
"""djr and Data-Juicer 1.6.1 side by side: the same recipes, the same rows, in one go.

    cargo build --release --example corpus && cargo build --release
    benches/versus_peer.py [--python VENV/bin/python] [--work DIR] [--runs 3] [--only text,header]
                           [--text-rows 20000] [--image-rows 3000] [--lines 400000] [--json FILE]

Without --python a virtual environment with py-data-juicer is made in the work directory (takes a
while). Each case runs Data-Juicer and djr alternately on generated rows (cached in the work
directory), compares what came out, and prints a table of medians. Ratios are of wall time; CPU is
user + system of all processes, which a busy machine disturbs less; memory is the peak of the
largest single process, and never less than the 15 MB of this script. Exit code 1 if an answer differs.

Needs Python 3.9 and nothing else outside of the virtual environment.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PEER = "py-data-juicer==1.6.1"

# What a user would write to draw rows, as the challenge's own script does.
SAMPLE = """
import json, random, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
random.seed(1024)
with open(sys.argv[2], "w") as out:
    for row in random.sample(rows, int(sys.argv[3])):
        out.write(json.dumps(row, ensure_ascii=False) + "\\n")
"""

CONVERT = """
import sys, types
sys.modules.setdefault("fire", types.ModuleType("fire"))  # only its command line needs it
from tools.fmt_conversion.multimodal.data_juicer_format_to_target_format.dj_to_llava import main
main(sys.argv[1], sys.argv[2], eoc_special_token="<|__dj__eoc|>", image_special_token="<__dj__image>",
     restore_questions=True, original_llava_ds_path=sys.argv[3])
"""


def measured(command, env, log):
    """Runs a command: seconds of wall, of CPU, peak MB, exit code."""
    with open(log, "ab") as out:
        began = time.perf_counter()
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=out, env=env, cwd=log.parent)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024, "code": code}


def apart(same, peer, djr):
    """Compares in a process of its own: what this one needs counts into the peaks of its children."""
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()

    def compare():
        try:
            answer.put(same(peer, djr))
        except (OSError, ValueError, KeyError) as error:
            answer.put(f"DIFFER: {error}")

    process = context.Process(target=compare)
    process.start()
    verdict = answer.get()
    process.join()
    return verdict


class Bench:
    def __init__(self, args):
        self.args = args
        self.work = Path(args.work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.djr = Path(args.djr).resolve()
        self.python = Path(args.python).absolute() if args.python else self.venv()
        self.env = dict(os.environ, HF_HUB_OFFLINE="1", HF_DATASETS_CACHE=str(self.work / "hf-cache"),
                        TQDM_DISABLE="1")
        self.results = []

    def venv(self):
        python = self.work / "venv/bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", self.work / "venv"], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", PEER, "imagededup"], check=True)
        return python

    def corpus(self, rows, images):
        """A corpus without damage: the peer loses whole batches to one bad image."""
        out = self.work / f"rows-{rows}-{'images' if images else 'text'}"
        if not (out / "ledger.json").exists():
            shutil.rmtree(out, ignore_errors=True)
            command = [Path(self.args.corpus).resolve(), "--rows", rows, "--out", out, "--damaged", 0]
            subprocess.run([str(c) for c in command + ([] if images else ["--no-images"])], check=True)
        return out

    def alternate(self, name, rows, peer, djr, same):
        """Runs both in turn, peer first, and notes medians; `same` compares what they wrote."""
        runs = {"peer": [], "djr": []}
        logs = self.work / "logs"
        logs.mkdir(exist_ok=True)
        out = self.work / "out"
        verdict = ""
        for number in range(self.args.runs):
            for who, command, repeat in (("peer", peer, 1), ("djr", djr, 3)):
                for _ in range(repeat):
                    shutil.rmtree(out / who, ignore_errors=True)
                    (out / who).mkdir(parents=True)
                    run = measured(command(out / who), self.env, logs / f"{name}-{who}.log")
                    runs[who].append(run)
                    print(f"{name} {who} {number}: {run['wall']:.2f} s, CPU {run['cpu']:.2f} s, "
                          f"{run['mb']:.0f} MB, exit {run['code']}", file=sys.stderr, flush=True)
            if not verdict.startswith("DIFFER"):
                verdict = apart(same, out / "peer", out / "djr")
        medians = {who: {k: statistics.median(r[k] for r in of) for k in ("wall", "cpu", "mb")}
                   for who, of in runs.items()}
        self.results.append({"case": name, "rows": rows, "verdict": verdict, "runs": runs, "medians": medians})

    def recipe(self, name, recipe, rows, images, mine=None, same=None):
        """Runs `recipe` in both, or `mine` in djr."""
        data = self.corpus(rows, images) / "rows.jsonl"

        def peer(out):
            return [self.python.parent / "dj-process", "--config", recipe, "--dataset_path", data,
                    "--export_path", out / "rows.jsonl", "--np", 2, "--use_cache", "false"]

        def djr(out):
            return [self.djr, "run", mine or recipe, "--input", data, "--output", out / "rows.jsonl", "--quiet"]

        self.alternate(name, rows, peer, djr, same or same_rows)

    def subset(self, lines):
        data = self.corpus(lines, False) / "rows.jsonl"
        wanted = lines // 2

        def script(out):
            return [self.python, "-c", SAMPLE, data, out / "rows.jsonl", wanted]

        def sampler(kind):
            return lambda out: [self.djr, "subset", data, "--n", wanted, "--sampler", kind, "--seed", 1024,
                                "-o", out / "rows.jsonl", "--quiet"]

        self.alternate("subset --sampler python", lines, script, sampler("python"), same_rows)
        self.alternate("subset", lines, script, sampler("uniform"),
                       lambda _, out: f"{len(load(out))} rows, another draw")
        began = time.perf_counter()
        with open(data, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
        self.results[-1]["read_file_seconds"] = time.perf_counter() - began

    def convert(self, rows):
        data = self.corpus(rows, True)

        def peer(out):
            return [self.python, "-c", CONVERT, data / "rows.jsonl", out / "train.json", data / "stage_1.json"]

        def djr(validate):
            return lambda out: [self.djr, "convert", data / "rows.jsonl", "--to", "llava", "--questions",
                                data / "stage_1.json", "--validate", validate, "-o", out / "train.json", "--quiet"]

        self.alternate("convert --validate none", rows, peer, djr("none"), same_records)
        self.alternate("convert (validates; peer does not)", rows, peer, djr("decode"), same_records)

    def table(self):
        versions = subprocess.run([self.python, "-c", "import data_juicer, PIL; print(data_juicer.__version__, "
                                   "'with Pillow', PIL.__version__)"], capture_output=True, text=True,
                                  env=self.env).stdout.strip().splitlines()
        djr = subprocess.run([self.djr, "--version"], capture_output=True, text=True).stdout.strip()
        print(f"{machine()}; {djr}; Data-Juicer {versions[-1] if versions else '?'}; Python {platform.python_version()}\n")
        print("| case | rows | Data-Juicer wall s (CPU s, MB) | djr wall s (CPU s, MB) | wall | CPU | answers |")
        print("|---|---|---|---|---|---|---|")
        for result in self.results:
            peer, djr = result["medians"]["peer"], result["medians"]["djr"]
            print(f"| {result['case']} | {result['rows']:,} | {peer['wall']:.2f} ({peer['cpu']:.2f}, {peer['mb']:.0f}) "
                  f"| {djr['wall']:.3f} ({djr['cpu']:.3f}, {djr['mb']:.0f}) | {peer['wall'] / djr['wall']:.0f}x "
                  f"| {peer['cpu'] / max(djr['cpu'], 0.001):.0f}x | {result['verdict']} |")
        for result in self.results:
            if "read_file_seconds" in result:
                print(f"\nReading the {result['rows']:,} lines alone: {result['read_file_seconds']:.3f} s.")


def load(out):
    with open(out / "rows.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def same_rows(peer, djr):
    peer, djr = load(peer), load(djr)
    if [row["id"] for row in peer] != [row["id"] for row in djr]:
        differ = len({row["id"] for row in peer} ^ {row["id"] for row in djr})
        return f"DIFFER: {len(peer)} and {len(djr)} rows, {differ} ids in one only"
    if [row["text"] for row in peer] != [row["text"] for row in djr]:
        return "DIFFER: the same ids, other texts"
    return f"the same {len(peer):,} rows"


def same_records(peer, djr):
    """Records alike but for the path, which djr makes absolute."""
    lists = []
    for out in (peer, djr):
        with open(out / "train.json", encoding="utf-8") as file:
            records = json.load(file)
        for record in records:
            record["image"] = os.path.basename(record["image"])
        lists.append(records)
    if lists[0] != lists[1]:
        return f"DIFFER: {len(lists[0])} and {len(lists[1])} records"
    return f"the same {len(lists[0]):,} records"


def machine():
    model = "unknown processor"
    memory = "?"
    try:
        text = Path("/proc/cpuinfo").read_text()
        model = next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
        memory = round(int(Path("/proc/meminfo").read_text().split()[1]) / 2**20)
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="an interpreter that has Data-Juicer")
    parser.add_argument("--djr", default=REPO / "target/release/djr")
    parser.add_argument("--corpus", default=REPO / "target/release/examples/corpus")
    parser.add_argument("--work", default=REPO / "target/versus_peer")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="one,text,header,phash,near,full,minhash,subset,convert")
    parser.add_argument("--text-rows", type=int, default=20_000)
    parser.add_argument("--image-rows", type=int, default=3_000)
    parser.add_argument("--lines", type=int, default=400_000)
    parser.add_argument("--json", type=Path, help="where to write every single run")
    args = parser.parse_args()
    bench = Bench(args)
    recipes = REPO / "benches/recipes"
    cases = {
        "one": lambda: bench.recipe("one row", recipes / "text.yaml", 1, False),
        "text": lambda: bench.recipe("text, 8 operators", recipes / "text.yaml", args.text_rows, False),
        "header": lambda: bench.recipe("image headers, 3 filters", recipes / "header.yaml", args.image_rows, True),
        "phash": lambda: bench.recipe("exact pHash", recipes / "phash.yaml", args.image_rows, True),
        "near": lambda: bench.recipe("near images on scaled decode, peer: exact pHash", recipes / "phash.yaml",
                                     args.image_rows, True, recipes / "near.yaml",
                                     lambda peer, djr: f"{len(load(djr)):,} rows, exact: {len(load(peer)):,}"),
        "full": lambda: bench.recipe("full_clean.yaml", REPO / "recipes/full_clean.yaml", args.image_rows, True),
        "minhash": lambda: bench.recipe("minhash", recipes / "minhash.yaml", args.text_rows, False),
        "subset": lambda: bench.subset(args.lines),
        "convert": lambda: bench.convert(args.image_rows),
    }
    chosen = args.only.split(",")
    unknown = [name for name in chosen if name not in cases]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(cases)}")
    for name in chosen:
        cases[name]()
        if args.json:
            args.json.write_text(json.dumps(bench.results, indent=1))
    bench.table()
    sys.exit(1 if any("DIFFER" in result["verdict"] for result in bench.results) else 0)


if __name__ == "__main__":
    main()
