#!/usr/bin/env python3
"""Each format in and out, rows and megabytes a second, beside the readers and writers that Python
has for it, over the same rows in one run.

    cargo build --release && pip install pyarrow pandas webdataset pillow
    benches/formats.py [ROWS] [IMAGES]      # 200000 rows of text, 2000 rows with pictures

djr runs a recipe of one filter that keeps everything; rates are those of the fastest of three runs,
megabytes those of the file in the format measured. The table goes to standard output; the environment
variable DJR names another binary.
"""
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile
import time

import pandas
import pyarrow
import pyarrow.parquet
import webdataset
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
DJR = pathlib.Path(os.environ.get("DJR", ROOT / "target/release/djr")).resolve()
RECIPE = "process:\n  - text_length_filter: {min_len: 0, max_len: 1000000000}\n"


def fastest(work):
    """Seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def djr(source, target, *more):
    """A run of djr as something to be timed."""
    line = [DJR, "run", "noop.yaml", "--quiet", "--restart", "--input", source, "-o", target, *more]
    return lambda: subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def texts(count):
    """Rows of an id, a caption and a number, the same ones each time."""
    draw = random.Random(7)
    words = ["red", "kite", "over", "the", "grey", "harbour", "at", "noon", "with", "two", "boats"]
    for number in range(count):
        caption = " ".join(draw.choices(words, k=draw.randint(6, 40)))
        yield {"id": f"{number:09}", "text": caption, "score": draw.random()}


def pictures(count):
    """Rows with a JPEG of 256 pixels each."""
    draw = random.Random(7)
    for number, row in enumerate(texts(count)):
        small = Image.frombytes("RGB", (16, 16), draw.randbytes(768))
        out = io.BytesIO()
        small.resize((256, 256)).save(out, "JPEG")
        yield {"__key__": f"{number:09}", "json": row, "txt": row["text"], "jpg": out.getvalue()}


def report(name, rows, path, seconds, other, other_seconds):
    """One line of the table."""
    size = pathlib.Path(path).stat().st_size / 1e6
    print(
        f"| {name} | {rows / seconds:,.0f} | {size / seconds:,.0f} | {other}"
        f" | {rows / other_seconds:,.0f} | {other_seconds / seconds:.1f} |",
        flush=True,
    )


def write_lines(rows, path):
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_lines(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_archive(samples, path):
    with webdataset.TarWriter(path, mtime=0) as out:
        for sample in samples:
            out.write(sample)


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    images = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        pathlib.Path("noop.yaml").write_text(RECIPE, encoding="utf-8")
        made = list(texts(rows))
        table = pyarrow.Table.from_pylist(made)
        write_lines(made, "in.jsonl")
        pyarrow.parquet.write_table(table, "in.parquet", compression="zstd")
        table.to_pandas().to_csv("in.csv", index=False)
        with pyarrow.OSFile("in.arrow", "wb") as out, pyarrow.ipc.new_file(out, table.schema) as to:
            to.write_table(table)
        print("| | djr rows/s | djr MB/s | beside | rows/s | djr is so many times as fast |")
        print("|---|---:|---:|---|---:|---:|")
        for name, work, other, reads in [
            ("jsonl", "in.jsonl", "json.loads", lambda: read_lines("in.jsonl")),
            ("csv", "in.csv", "pandas.read_csv", lambda: pandas.read_csv("in.csv", dtype=str)),
            (
                "parquet",
                "in.parquet",
                "pyarrow to_pylist",
                lambda: pyarrow.parquet.read_table("in.parquet").to_pylist(),
            ),
            (
                "arrow",
                "in.arrow",
                "pyarrow to_pylist",
                lambda: pyarrow.ipc.open_file("in.arrow").read_all().to_pylist(),
            ),
        ]:
            seconds = fastest(djr(work, "out.jsonl"))
            report(f"{name} in, jsonl out", rows, work, seconds, other, fastest(reads))
        for name, source, target, other, writes in [
            ("jsonl", "in.jsonl", "lines.jsonl", "json.dumps", lambda: write_lines(made, "p.jsonl")),
            (
                "parquet",
                "in.jsonl",
                "made.parquet",
                "pyarrow from_pylist",
                lambda: pyarrow.parquet.write_table(
                    pyarrow.Table.from_pylist(made), "p.parquet", compression="zstd"
                ),
            ),
            (
                "parquet as it is",
                "in.parquet",
                "kept.parquet",
                "pyarrow read_table, write_table",
                lambda: pyarrow.parquet.write_table(
                    pyarrow.parquet.read_table("in.parquet"), "p.parquet", compression="zstd"
                ),
            ),
        ]:
            seconds = fastest(djr(source, target))
            report(f"{source[3:]} in, {name} out", rows, target, seconds, other, fastest(writes))
        del made, table
        samples = list(pictures(images))
        write_archive(samples, "in.tar")

        def read_archive():
            for _ in webdataset.WebDataset("in.tar", shardshuffle=False):
                pass

        seconds = fastest(djr("in.tar", "out.jsonl"))
        report("tar of JPEGs in, jsonl out", images, "in.tar", seconds, "webdataset", fastest(read_archive))
        seconds = fastest(djr("in.tar", "o.tar"))
        report(
            "tar of JPEGs in, tar out",
            images,
            "o.tar",
            seconds,
            "webdataset.TarWriter",
            fastest(lambda: write_archive(samples, "p.tar")),
        )
        pathlib.Path("embed.yaml").write_text(
            RECIPE + "outputs:\n  - {path: e.parquet, images: embed}\n", encoding="utf-8"
        )
        line = [DJR, "run", "embed.yaml", "--quiet", "--restart", "--input", "in.tar"]

        def embed():
            subprocess.run(line, check=True, stdout=subprocess.DEVNULL)

        def read_table():
            with tarfile.open("in.tar") as archive:
                images_read = [
                    archive.extractfile(member).read()
                    for member in archive
                    if member.name.endswith(".jpg")
                ]
            made = pyarrow.Table.from_pydict({"images": images_read})
            pyarrow.parquet.write_table(made, "p.parquet", compression="zstd")

        seconds = fastest(embed)
        report(
            "tar of JPEGs in, parquet with images out",
            images,
            "e.parquet",
            seconds,
            "tarfile, pyarrow write_table",
            fastest(read_table),
        )


if __name__ == "__main__":
    main()
