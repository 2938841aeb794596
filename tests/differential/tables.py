#!/usr/bin/env python3
"""Tables through djr into Parquet, as pyarrow, pandas, DuckDB and Hugging Face's datasets read them.

    tests/differential/tables.py FILE... [--djr target/debug/djr]

Needs pyarrow, pandas, duckdb and datasets. Each Parquet or Arrow file goes through a run that keeps
all rows with a text and writes a table; its columns must come out with the types and values that
pyarrow reads of the file (NaN counts as itself, rows without a text are left out of both, and what
arrow-rs takes from a file's own Arrow schema where pyarrow does not is shown and not counted). Each
file of JSON lines is written with its images embedded; all four readers must find its rows, and
datasets the bytes of its images. Files of every type are found in the test data of Apache Arrow and
Parquet (github.com/apache/parquet-testing); none is shipped here.

Prints a line a file; exit code 1 if one differs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import datasets
import duckdb
import pandas
import pyarrow as pa
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet

RECIPE = "paths: keep\nprocess:\n  - text_length_filter: {min_len: 0, max_len: 1000000000}\n"


def table(path):
    """All rows of a file as pyarrow reads it."""
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PAR1"):
        return pa.parquet.read_table(path)
    if magic == b"ARROW1":
        return pa.ipc.open_file(path).read_all()
    return pa.ipc.open_stream(path).read_all()


def run(djr, recipe, path, out):
    """The message of a run that failed, if it did."""
    with open("recipe.yaml", "w", encoding="utf-8") as file:
        file.write(recipe)
    line = [djr, "run", "recipe.yaml", "--quiet", "--restart", "--max-quarantine", "none"]
    line += ["--input", path, *out]
    ended = subprocess.run(line, capture_output=True, text=True)
    return None if ended.returncode in (0, 1) else ended.stderr.strip()


def columns(djr, path):
    """What is wrong with the columns of a table after a run."""
    failed = run(djr, RECIPE, path, ["-o", "out.parquet"])
    if failed:
        return [failed]
    before, after = table(path), pa.parquet.read_table("out.parquet")
    if "text" in before.column_names and before["text"].null_count:
        before = before.filter(pa.compute.is_valid(before["text"]))
    wrong = []
    if before.num_rows != after.num_rows:
        wrong.append(f"{after.num_rows} rows of {before.num_rows}")
    for name in before.column_names:
        if name not in after.column_names:
            wrong.append(f"{name} is gone")
            continue
        a, b = before[name], after[name]
        if a.type != b.type:
            print(f"  {name}: {a.type} is {b.type} now")
        elif not a.equals(b) and repr(a.to_pylist()) != repr(b.to_pylist()):
            wrong.append(f"{name} has other values")
    return wrong


def lines(djr, path):
    """What readers find wrong with rows of JSON in a table."""
    recipe = RECIPE + "outputs:\n  - {path: out.parquet, images: embed}\n  - {path: out.jsonl}\n"
    failed = run(djr, recipe, path, [])
    if failed:
        return [failed]
    with open("out.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    found = pa.parquet.read_table("out.parquet")
    seen = datasets.load_dataset(
        "parquet", data_files="out.parquet", split="train", cache_dir="cache"
    )
    counts = {
        "pyarrow": found.num_rows,
        "pandas": len(pandas.read_parquet("out.parquet")),
        "duckdb": duckdb.sql("select count(*) from 'out.parquet'").fetchall()[0][0],
        "datasets": len(seen),
    }
    wrong = [f"{who} reads {n} rows of {len(rows)}" for who, n in counts.items() if n != len(rows)]
    folder = os.path.dirname(path)
    for row, (has, is_now) in enumerate(zip(rows, found.to_pylist())):
        for name, value in has.items():
            now = is_now.get(name)
            if name == "images":
                names = [value] if isinstance(value, str) else value or []
                for image, cell in zip(names, now or []):
                    with open(os.path.join(folder, image), "rb") as file:
                        if file.read() != cell["bytes"]:
                            wrong.append(f"row {row}: the image {image} has other bytes")
            elif not same(value, now):
                wrong.append(f"row {row}: {name} is {now!r:.60} and was {value!r:.60}")
    return wrong[:5]


def same(value, now):
    """Whether a value of JSON is what stands in the table: missing members are null there, and
    what fits no type is JSON text."""
    if isinstance(value, dict) and isinstance(now, dict):
        return all(same(value.get(name), part) for name, part in now.items())
    if isinstance(value, list) and isinstance(now, list):
        return len(value) == len(now) and all(map(same, value, now))
    if value == now or value != value and now != now:
        return True
    return isinstance(now, str) and json.loads(now) == value


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--djr", default="target/debug/djr")
    given = parser.parse_args()
    djr = os.path.abspath(given.djr)
    files = [os.path.abspath(path) for path in given.files]
    failures = 0
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for path in files:
            wrong = (lines if ".json" in path else columns)(djr, path)
            failures += bool(wrong)
            print("differs" if wrong else "same", os.path.basename(path), *wrong, sep="\t")
    print(f"{len(files) - failures} of {len(files)} files are the same")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
