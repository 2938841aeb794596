#!/usr/bin/env python3
"""Comparing vectors on a device beside comparing them on processors: seconds, and the same bytes.

    cargo build --release
    benches/vectors.py [--djr PATH] [--work DIR] [--rows 200000] [--dims 256] [--take 5000]
        [--devices cuda:0] [--json FILE]

Makes rows whose vectors are directions of their own, one in four a little off one before it, and runs
`semantic_deduplicator` (every pair) and `diversity_selector` over them, by processors alone and with the
device; what they leave must be the same bytes. Needs numpy and a Python with torch and transformers,
which runs this script.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
CHUNK = 2000


def chunk(about):
    """The lines of so many rows."""
    import numpy

    number, rows, dims = about
    draws = numpy.random.default_rng(number)
    vectors = draws.standard_normal((rows, dims), dtype=numpy.float32)
    near = numpy.arange(4, rows, 4)
    # Cosines from 0.99 down to 0.9, about the threshold.
    off = draws.uniform(0.1, 0.5, (near.size, 1)).astype(numpy.float32)
    vectors[near] = vectors[near - 3] + off * draws.standard_normal((near.size, dims), dtype=numpy.float32)
    lines = []
    for row, vector in enumerate(numpy.round(vectors, 3).tolist()):
        lines.append(json.dumps({"id": number * CHUNK + row, "text": "a", "v": vector}, separators=(",", ":")))
    return "\n".join(lines) + "\n"


def digest(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()[:16]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default=str(REPO / "target/release/djr"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/djr-vectors"))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--take", type=int, default=5_000)
    parser.add_argument("--devices", default="cuda:0")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    options.work.mkdir(parents=True, exist_ok=True)
    rows = options.work / "rows.jsonl"
    parts = [
        (number, min(CHUNK, options.rows - number * CHUNK), options.dims)
        for number in range(-(-options.rows // CHUNK))
    ]
    with multiprocessing.Pool() as pool, open(rows, "w") as file:
        for lines in pool.imap(chunk, parts):
            file.write(lines)
    vector = {"field": "v", "dims": options.dims}
    steps = {
        "every row kept (reading, writing)": {"text_length_filter": {"min_len": 0}},
        "semantic_deduplicator": {"semantic_deduplicator": {**vector, "threshold": 0.95}},
        "diversity_selector": {"diversity_selector": {**vector, "select_num": options.take}},
    }
    found = []
    for name, step in steps.items():
        recipe = options.work / "recipe.yaml"
        recipe.write_text(json.dumps({"process": [step]}))
        digests = set()
        for devices in ["cpu", options.devices]:
            out = options.work / "out.jsonl"
            command = [options.djr, "run", recipe, "--input", rows, "--output", out, "-q", "--force"]
            start, before = time.monotonic(), os.times()
            # Where nothing is compared, nothing is asked of a device.
            asked = [] if "kept" in name else ["--devices", devices]
            subprocess.run([*command, *asked, "--python", sys.executable], check=True)
            wall, after = time.monotonic() - start, os.times()
            cpu = sum(after[2:4]) - sum(before[2:4])
            left = sum(1 for _ in open(out, "rb"))
            digests.add(digest(out))
            found.append({"step": name, "on": devices, "seconds": wall, "cpu": cpu, "rows": left})
            print(f"{name:40} {devices:8} {wall:8.1f} s {cpu:8.1f} CPU s  {left} rows left")
        assert len(digests) == 1, f"{name}: other bytes"
    print("the same bytes in every case")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
