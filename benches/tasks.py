#!/usr/bin/env python3
"""A run cut into tasks beside the same run in one piece: processor seconds, and the bytes compared.

    cargo build --release
    benches/tasks.py [ROWS] [--ray PYTHON]       # 2000000; PYTHON has the wheel and Ray

Captions with duplicates of every kind through two exact deduplicators, near-duplicates by minhash, a
bound from the data, a sample and records for LLaVA: by `djr run`, by `djr run --tasks` with tasks of
256 KB, 7 MB and a whole file, with duplicates by partitions, by a process a task (as SLURM has it), and
on a Ray of this machine with three raylets, where the processor time of Ray itself, with that of
starting its workers, is told apart. The inputs are eight files of
lines. The table goes to standard output; DJR names another binary.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
DJR = pathlib.Path(os.environ.get("DJR", ROOT / "target/release/djr")).resolve()
FILES = 8
RECIPE = {
    "dataset_path": "in",
    "export_path": "out/clean.jsonl",
    "process": [
        {"text_length_filter": {"min_len": 40, "max_len": 400}},
        {"words_num_filter": {"min_num": 4}},
        {"document_deduplicator": {"lowercase": True}},
        {"document_deduplicator": {"ignore_non_character": True}},
        {"document_minhash_deduplicator": {}},
        {"average_line_length_filter": {"max_len": "3sigma"}},
    ],
    "outputs": [
        {"format": "llava", "path": "out/train.json", "question": "What is it?", "validate": "none", "paths": "keep"},
        {"format": "jsonl", "path": "out/sample.jsonl", "sample": 20000, "seed": 7, "validate": "none", "paths": "keep"},
    ],
}
#: Runs the recipe on three raylets, and says how many tasks each did.
ON_RAY = """
import json, os, sys
import djr
os.environ.update(djr.ray._OWN)
from ray.cluster_utils import Cluster
cluster = Cluster()
for _ in range(3):
    cluster.add_node(node_ip_address="127.0.0.1", num_cpus=1, include_dashboard=False)
print("up", flush=True)
report = djr.ray.run("recipe.json", work="work", task_bytes=sys.argv[1], address=cluster.address, force=True)
print(json.dumps(report.nodes), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def corpus(directory, rows):
    """Captions: one in six said before, one in six with a word changed or in capitals."""
    number = random.Random(5)
    adjectives = "red old small wooden white modern vintage tiny large rustic black yellow quiet snowy".split()
    nouns = "house bus dog kitchen boat woman man chair table bridge mountain street bicycle cat train".split()
    verbs = "standing parked sitting seen waiting sleeping displayed running floating left".split()
    places = "harbour park museum market river garden station castle beach field forest tower".split()
    said = []
    directory.mkdir()
    for file in range(FILES):
        with open(directory / f"{file}.jsonl", "w") as out:
            for n in range(file, rows, FILES):
                kind = number.randrange(6) if len(said) > 100 else 5
                if kind == 0:
                    text = number.choice(said)
                elif kind == 1:
                    text = number.choice(said)
                    text = text.upper() if number.randrange(2) else text + " today"
                else:
                    pick = number.choice
                    text = (
                        f"A {pick(adjectives)} {pick(nouns)} and a {pick(adjectives)} {pick(nouns)} {pick(verbs)} "
                        f"near the {pick(adjectives)} {pick(places)} in {number.randrange(3000)}"
                    )
                if number.randrange(20) == 0 or len(said) < 200:
                    said.append(text)
                row = {"id": f"{n:07}", "text": f"<__dj__image>\n{text}", "images": [f"img/{n:07}.jpg"]}
                out.write(json.dumps(row) + "\n")


def used():
    """Processor seconds of processes that have ended."""
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime


def djr(*words, fine=(0, 1)):
    """Runs the program; its exit code, and what it printed."""
    ran = subprocess.run([DJR, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ran.returncode not in fine:
        sys.exit(f"djr {' '.join(words)}: {ran.returncode}\n{ran.stderr}")
    return ran.returncode, ran.stdout


def by_hand(size):
    """A process for each task, with one processor: two at a time."""
    djr("plan", "recipe.json", "--work", "work", "--task-bytes", size, "--force")
    while True:
        code, ids = djr("next", "work", "--all", fine=(0, 11))
        if code == 11:
            break
        with ThreadPoolExecutor(2) as places:
            list(places.map(lambda task: djr("task", "work", task, "-q", "--threads", "1"), ids.split()))
    djr("finish", "work", "-q")


class Sampled:
    """Processor seconds of a process and all below it, by whether they are Ray's own.

    Of a worker those are its own that it took before its first task, to start Python and Ray, and of the
    driver those before the cluster was up.
    """

    def __init__(self, root):
        self.root, self.over, self.is_up = root, threading.Event(), threading.Event()
        self.seconds, self.before = {}, {}
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        ticks = os.sysconf("SC_CLK_TCK")
        while not self.over.wait(0.1):
            parents, stats = {}, {}
            for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
                try:
                    text = path.read_text()
                except OSError:
                    continue
                rest = text.rpartition(")")[2].split()
                pid = int(path.parent.name)
                parents[pid], stats[pid] = int(rest[1]), (int(rest[11]) + int(rest[12])) / ticks
                try:
                    work = (path.parent / "cmdline").read_bytes()
                except OSError:
                    continue
                if work.startswith(b"ray::_do") or pid == self.root and self.is_up.is_set():
                    # As it was when somebody looked last.
                    self.before.setdefault(pid, self.seconds.get(pid, 0))
                self.seconds.setdefault(pid, 0)
            for pid, seconds in stats.items():
                above = pid
                while above not in (0, 1, self.root):
                    above = parents.get(above, 0)
                if above == self.root:
                    self.seconds[pid] = max(self.seconds.get(pid, 0), seconds)
                else:
                    self.seconds.pop(pid, None)
                    self.before.pop(pid, None)

    def end(self):
        """Those of the driver and its workers, and those of Ray."""
        self.over.set()
        self.thread.join()
        works = sum(self.seconds[pid] - before for pid, before in self.before.items())
        return works, sum(self.seconds.values()) - works


def on_ray(python, size):
    """The same on Ray: seconds once it is up, processor seconds of tasks and driver, and of Ray."""
    process = subprocess.Popen(
        [python, "-c", ON_RAY, size], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    sampled = Sampled(process.pid)
    process.stdout.readline()
    sampled.is_up.set()
    began = time.monotonic()
    nodes = process.stdout.readline()
    took = time.monotonic() - began
    works, rays = sampled.end()
    process.communicate("")
    return took, works, rays, sorted(json.loads(nodes).values())


def digest():
    """One of all files below `out` but the manifest."""
    found = hashlib.sha256()
    for path in sorted(pathlib.Path("out").rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            found.update(str(path).encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def clear():
    subprocess.run(["rm", "-rf", "out", "work"], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=2_000_000)
    parser.add_argument("--ray", metavar="PYTHON")
    parser.add_argument("--sizes", default="256KB,7MB,1GB")
    parser.add_argument("--partitions", default="8", help="empty for none")
    parser.add_argument("--one-by-one", default="32MB", help="size of tasks that have a process each")
    args = parser.parse_args()
    python = args.ray and os.path.abspath(args.ray)
    place = tempfile.TemporaryDirectory(dir=os.environ.get("PLACE"))
    os.chdir(place.name)
    corpus(pathlib.Path("in"), args.rows)
    pathlib.Path("recipe.json").write_text(json.dumps(RECIPE))
    one = None
    print("| way | tasks | processor seconds | of one run | seconds | digest |\n|---|---:|---:|---:|---:|---|")

    def row(way, tasks, cpu, took, more=""):
        share = "" if one is None else f"{cpu / one:.2f}"
        print(f"| {way} | {tasks} | {cpu:.1f}{more} | {share} | {took:.1f} | {digest()} |", flush=True)

    def measured(way, do):
        before, began = used(), time.monotonic()
        do()
        cpu, took = used() - before, time.monotonic() - began
        tasks = len(list(pathlib.Path("work/t").glob("*.done"))) if pathlib.Path("work").exists() else ""
        row(way, tasks, cpu, took)
        clear()
        return cpu

    one = min(measured("`djr run`", lambda: djr("run", "recipe.json", "-q")) for _ in range(2))
    for size in args.sizes.split(","):
        words = ["run", "recipe.json", "-q", "--tasks", "work", "--task-bytes", size]
        measured(f"`djr run --tasks`, {size}", lambda words=words: djr(*words))
    size = args.one_by_one
    if size and args.partitions:
        words = ["run", "recipe.json", "-q", "--tasks", "work", "--task-bytes", size]
        words += ["--partitions", args.partitions]
        measured(f"`djr run --tasks`, {size}, {args.partitions} partitions", lambda: djr(*words))
    if size:
        measured(f"a process a task, {size}", lambda: by_hand(size))
    if size and python:
        took, works, rays, nodes = on_ray(python, size)
        row(f"Ray, three raylets, {size} {nodes}", sum(nodes), works, took, f" (and {rays:.1f} of Ray)")
        clear()


if __name__ == "__main__":
    main()
