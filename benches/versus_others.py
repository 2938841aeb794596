#!/usr/bin/env python3
"""Other engines on the same files beside djr: time, memory, and whether the rows are the same.

    python3 -m venv OTHERS && OTHERS/bin/pip install polars duckdb daft rensa
    cargo build --release && cargo build --release --example corpus
    benches/versus_others.py --python OTHERS/bin/python [--djr PATH] [--corpus PATH] [--work DIR]
        [--rows 400000] [--threads 2] [--runs 3] [--only filter,exact]

Every program is a process of its own that reads a file of generated captions and writes JSON Lines.
Each round runs all of them once, in turn; the table has medians of wall and CPU (user + system)
seconds and of the peak of memory, what it takes to start and import included; the case `start` says
how much that is. djr runs with its defaults: a ledger of every row, stats, absolute paths of images,
outputs made durable; the others write their rows and no more.

Rows are compared by their ids: in order where the engine promises an order, else as a set. A random
sample is compared by its size, and near duplicates, which each engine defines in its own way, are
not: the table says how many rows it left.

Needs Python 3.9, and the packages for the engines in the Python that --python names.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
# As in versus_baseline.py: started from a small process, whose memory counts for nobody.
MEASURE = """
import os, sys
from time import perf_counter
began = perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
wall = perf_counter() - began
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status), file=sys.stderr)
"""

DUCK = "import duckdb, sys\nsource, out, n, threads = sys.argv[1:]\ndb = duckdb.connect(config={'threads': int(threads)})\n"
POLARS = "import polars as pl, sys\nsource, out, n, threads = sys.argv[1:]\n"
DAFT = "import daft, sys\nsource, out, n, threads = sys.argv[1:]\n"
READ_DUCK = "read_json('{source}', format='newline_delimited', columns={{id: 'VARCHAR', text: 'VARCHAR', images: 'VARCHAR[]'}})"
SCHEMA = "{'id': pl.String, 'text': pl.String, 'images': pl.List(pl.String)}"

# Case → engine → (program, whether rows come in the order of the input).
OTHERS = {
    "start": {
        "polars": (POLARS, True),
        "duckdb": (DUCK, True),
        "daft": (DAFT, True),
    },
    "filter": {
        "polars": (POLARS + f"pl.scan_ndjson(source, schema={SCHEMA}).filter(pl.col('text').str.len_chars().is_between(60, 500)).sink_ndjson(out)\n", True),
        "duckdb": (DUCK + f"""db.execute(f"COPY (SELECT * FROM {READ_DUCK} WHERE length(text) BETWEEN 60 AND 500) TO '{{out}}' (FORMAT json)".replace('{{{{', '{{').replace('}}}}', '}}'))\n""", True),
        "daft": (DAFT + "from daft import col\ndaft.set_runner_native()\nrows = daft.read_json(source)\nlength = rows['text'].length()\nrows.where((length >= 60) & (length <= 500)).write_json(out)\n", False),
    },
    "exact": {
        "polars": (POLARS + f"pl.scan_ndjson(source, schema={SCHEMA}).unique(subset='text', keep='first', maintain_order=True).sink_ndjson(out)\n", True),
        "duckdb": (DUCK + f"""db.execute(f"COPY (SELECT id, text, images FROM (SELECT *, row_number() OVER () AS place FROM {READ_DUCK}) QUALIFY row_number() OVER (PARTITION BY text ORDER BY place) = 1 ORDER BY place) TO '{{out}}' (FORMAT json)".replace('{{{{', '{{').replace('}}}}', '}}'))\n""", True),
        "duckdb, group by": (DUCK + f"""db.execute(f"COPY (SELECT first.id AS id, text, first.images AS images FROM (SELECT text, min(place) AS place, arg_min({{{{id: id, images: images}}}}, place) AS first FROM (SELECT *, row_number() OVER () AS place FROM {READ_DUCK}) GROUP BY text) ORDER BY place) TO '{{out}}' (FORMAT json)".replace('{{{{', '{{').replace('}}}}', '}}'))\n""", True),
    },
    "subset": {
        "polars": (POLARS + f"pl.read_ndjson(source, schema={SCHEMA}).sample(int(n), seed=42).write_ndjson(out)\n", None),
        "duckdb": (DUCK + f"""db.execute(f"COPY (SELECT * FROM {READ_DUCK} USING SAMPLE reservoir({{n}} ROWS) REPEATABLE (42)) TO '{{out}}' (FORMAT json)".replace('{{{{', '{{').replace('}}}}', '}}'))\n""", None),
    },
    "minhash": {
        "rensa": (
            "import json, sys\nfrom rensa import RMinHash, RMinHashLSH\nsource, out, n, threads = sys.argv[1:]\n"
            "lsh, known = RMinHashLSH(threshold=0.8, num_perm=256, num_bands=32), {}\n"
            "with open(source) as rows, open(out, 'w') as kept:\n"
            "    for number, line in enumerate(rows):\n"
            "        text = json.loads(line)['text'].lower()\n"
            "        text = text.replace('<__dj__image>', '').replace('<|__dj__eoc|>', '')\n"
            "        minhash = RMinHash(num_perm=256, seed=42)\n"
            "        minhash.update([text[i:i + 5] for i in range(max(1, len(text) - 4))])\n"
            "        if not any(minhash.jaccard(known[near]) >= 0.8 for near in lsh.query(minhash)):\n"
            "            kept.write(line)\n"
            "            known[number] = minhash\n"
            "            lsh.insert(number, minhash)\n",
            None,
        ),
    },
}
TEXT = "text_keys: text\nimage_key: images\nimage_special_token: '<__dj__image>'\neoc_special_token: '<|__dj__eoc|>'\n"
RECIPES = {
    "start": "process:\n  - text_length_filter: {min_len: 1}\n",
    "filter": "process:\n  - text_length_filter: {min_len: 60, max_len: 500}\n",
    "exact": "process:\n  - document_deduplicator:\n",
}


def measured(command, environment):
    """Runs a command: seconds of wall, of CPU, peak MB."""
    command = [sys.executable, "-I", "-S", "-c", MEASURE, *map(str, command)]
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    *said, figures = done.stderr.splitlines()
    wall, cpu, mb, code = map(float, figures.split())
    if code != 0:
        sys.exit(f"exit code {code:.0f} of {' '.join(command[5:])}\n" + "\n".join(said))
    return wall, cpu, mb


def ids(out):
    """The ids of the rows in a file, or in the files of a folder."""
    files = sorted(out.iterdir()) if out.is_dir() else [out]
    found = []
    for file in files:
        with open(file) as rows:
            found += [json.loads(row)["id"] for row in rows]
    return found


def djr_command(args, case, source, out):
    if case == "subset":
        return [args.djr, "subset", source, "--n", args.rows // 2, "-o", out, "--quiet"]
    recipe = args.work / f"{case}.yaml"
    if case == "minhash":
        shutil.copy(REPO / "benches/recipes/minhash.yaml", recipe)
    else:
        recipe.write_text(f"project_name: {case}\n{TEXT}{RECIPES[case]}")
    return [args.djr, "run", recipe, "--input", source, "--output", out, "--threads", args.threads, "--quiet"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="a Python that has the engines")
    parser.add_argument("--djr", type=Path, default=REPO / "target/release/djr")
    parser.add_argument("--corpus", type=Path, default=REPO / "target/release/examples/corpus")
    parser.add_argument("--work", type=Path, default=REPO / "target/versus_others")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="names of cases")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    data = args.work / f"captions-{args.rows}"
    if not (data / "ledger.json").exists():
        shutil.rmtree(data, ignore_errors=True)
        made = [args.corpus, "--rows", args.rows, "--out", data, "--no-images", "--text-copies", 20, "--text-near", 20]
        subprocess.run([str(word) for word in made], check=True)
    one = args.work / "one.jsonl"
    with open(data / "rows.jsonl") as rows:
        one.write_text(rows.readline())
    asked = "import importlib.metadata as m, sys\nprint(*(f'{p} {m.version(p)}' for p in sys.argv[1:]), sep=', ')"
    engines = subprocess.run([args.python, "-c", asked, "polars", "duckdb", "daft", "rensa"], check=True, capture_output=True, text=True)
    environment = {**os.environ, "POLARS_MAX_THREADS": str(args.threads), "DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "1"}

    only = args.only and args.only.split(",")
    failed = False
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; {engines.stdout.strip()}\n")
    print("| case | engine | rows left | wall s | CPU s | peak MB | rows |")
    print("|---|---|---|---|---|---|---|")
    for case, others in OTHERS.items():
        if only and case not in only:
            continue
        source = one if case == "start" else data / "rows.jsonl"
        figures = {engine: [] for engine in ("djr", *others)}
        found = {}
        for _ in range(args.runs):
            for engine in figures:
                out = args.work / "out" / "rows.jsonl"
                shutil.rmtree(out.parent, ignore_errors=True)
                out.parent.mkdir()
                if engine == "djr":
                    command = djr_command(args, case, source, out)
                else:
                    command = [args.python, "-c", others[engine][0], source, out, args.rows // 2, args.threads]
                figures[engine].append(measured(command, environment))
                if case != "start":
                    found[engine] = ids(out)
        for engine, runs in figures.items():
            wall, cpu, mb = (statistics.median(run[i] for run in runs) for i in range(3))
            rows, said = "", ""
            if case != "start":
                rows = f"{len(found[engine]):,}"
                ordered = engine == "djr" or others[engine][1]
                if engine == "djr":
                    said = ""
                elif ordered is None:
                    said = "of its own choice"
                elif found[engine] == found["djr"]:
                    said = "the same, in order"
                elif not ordered and sorted(found[engine]) == sorted(found["djr"]):
                    said = "the same, in another order"
                else:
                    said, failed = "**others**", True
            print(f"| {case} | {engine} | {rows} | {wall:.2f} | {cpu:.2f} | {mb:.0f} | {said} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
