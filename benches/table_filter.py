#!/usr/bin/env python3
"""`djr.filter` over a table in memory beside `djr run` over the same rows in a file: processor seconds,
and how much memory a column of bytes takes that nobody touches.

    cargo build --release && pip install ./python pyarrow      # or any wheel
    benches/table_filter.py [ROWS]                             # 1000000

Each is run three times in a process of its own; the fastest counts. What it takes to start Python and
to make the table is measured apart and taken off; the program reads and writes Parquet without
packing. The table goes to standard output; DJR names another binary.
"""
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DJR = pathlib.Path(os.environ.get("DJR", ROOT / "target/release/djr")).resolve()
#: Bytes of the column that nobody touches, a row.
BLOB = 1000
RECIPES = {
    "one filter": [{"text_length_filter": {"min_len": 30}}],
    "8 text operators": [
        {"whitespace_normalization_mapper": {}},
        {"text_length_filter": {"min_len": 30}},
        {"words_num_filter": {"min_num": 4}},
        {"alphanumeric_filter": {"min_ratio": 0.2}},
        {"special_characters_filter": {"max_ratio": 0.5}},
        {"average_line_length_filter": {}},
        {"maximum_line_length_filter": {}},
        {"character_repetition_filter": {"max_ratio": 0.9}},
    ],
    "exact duplicates": [{"document_deduplicator": {}}],
}

#: Makes the table, and filters it unless the recipe is null.
CHILD = """
import json, resource, sys
import pyarrow.parquet
table = pyarrow.parquet.read_table(sys.argv[1])
def used():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime
import djr
before, peak = used(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = djr.filter(table, json.loads(sys.argv[2]), threads=2)
rows = sum(batch.num_rows for batch in pyarrow.table(kept).to_batches())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([used() - before, rows, (after - peak) * 1024]))
"""


def corpus(path, rows, with_blob):
    """Captions in a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    words = "a red kite flies over two old boats in the quiet harbour at dawn".split()
    draw = random.Random(7)
    texts = [" ".join(draw.choices(words, k=draw.randint(3, 14))) for _ in range(rows)]
    columns = {"id": list(range(rows)), "text": texts}
    if with_blob:
        columns["blob"] = [draw.randbytes(BLOB) for _ in range(rows)]
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="none")


def filtered(path, steps):
    """Processor seconds, rows and further memory of the fastest `djr.filter`."""
    words = [sys.executable, "-c", CHILD, str(path), json.dumps({"process": steps})]
    runs = [json.loads(subprocess.run(words, check=True, capture_output=True).stdout) for _ in range(3)]
    return min(runs)


def program(path, steps, scratch):
    """Processor seconds of the fastest `djr run`."""
    recipe = scratch / "recipe.yaml"
    outputs = [{"path": str(scratch / "out.parquet"), "compression": "none"}]
    recipe.write_text(json.dumps({"process": steps, "outputs": outputs}))
    words = [DJR, "run", recipe, "--input", path, "--threads", "2", "--force", "--restart", "--quiet"]
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print("| recipe | rows | kept | `djr run` CPU s | `djr.filter` CPU s | ratio |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        scratch = pathlib.Path(place)
        table = scratch / "rows.parquet"
        corpus(table, rows, with_blob=False)
        for name, steps in RECIPES.items():
            seconds, kept, _ = filtered(table, steps)
            other = program(table, steps, scratch)
            print(f"| {name} | {rows:,} | {kept:,} | {other:.2f} | {seconds:.2f} | {seconds / other:.2f} |")
        heavy = scratch / "heavy.parquet"
        few = max(rows // 5, 1)
        corpus(heavy, few, with_blob=True)
        everything = [{"text_length_filter": {"min_len": 0}}]
        _, kept, memory = filtered(heavy, everything)
        print(f"\n{kept:,} rows with {few * BLOB / 1e6:,.0f} MB of bytes: {memory / 1e6:,.1f} MB more at the peak.")


if __name__ == "__main__":
    main()
