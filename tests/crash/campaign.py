#!/usr/bin/env python3
"""Kills runs of djr at random times, resumes them, and compares every byte with an undisturbed run.

    cargo build --release
    tests/crash/campaign.py --djr target/release/djr --kills 200 [--recipes archives columns]

Each trial starts a recipe, kills it (SIGKILL) after a random delay, resumes it with other threads,
batches and memory, perhaps kills it again, and so on until it ends. Then its outputs, stats,
quarantine and ledger must equal those of a run that nobody touched. The recipes mix every kind of
exchange, output, shard and sample, and read lines, packed lines, an array, several files, archives
with their images, and column files; one keeps a cache, which other trials left (column files need
pyarrow to be made; without it that recipe is left out, and a line says so).

Then, for each recipe, a killed run is taken, and in each file of its checkpoint and each unfinished
output one byte is changed: to go on must be refused by the name of the file, or give the same bytes
(the byte stood behind what was committed). Needs Python 3.9; exit code 1 if anything differs.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

try:
    import pyarrow
    from pyarrow import parquet
except ImportError:
    pyarrow = None

ROOT = Path(__file__).resolve().parents[2]
WORDS = "a red blue small large dog cat house river road under over with and the of on near sky".split()

RECIPES = {
    # Row by row: filters, a mapper, an exact deduplicator, stats and broken rows.
    "streaming": """
process:
  - whitespace_normalization_mapper:
  - text_length_filter: {min_len: 12, max_len: 180}
  - words_num_filter: {min_num: 3}
  - document_deduplicator: {lowercase: true}
""",
    # An exchange of two operators, then a mapper behind it, then another exchange.
    "exchanges": """
process:
  - document_minhash_deduplicator: {jaccard_threshold: 0.6, num_permutations: 64}
  - document_deduplicator:
  - punctuation_normalization_mapper:
  - random_selector: {select_ratio: 0.7}
  - text_length_filter: {min_len: 12}
""",
    # Several outputs of one pass, shards and samples, images decoded.
    "outputs": """
process:
  - text_length_filter: {min_len: 10}
  - image_size_filter: {min_size: "0kb"}
outputs:
  - {format: jsonl, path: OUT/clean.jsonl, shard_size: 60KB}
  - {format: llava, path: OUT/clean.json, validate: exists, paths: keep}
  - {format: llava, path: OUT/sample.json, sample: 900, seed: 7, validate: decode, paths: keep}
  - {format: jsonl, path: OUT/python.jsonl, sample: 500, seed: 1024, sampler: python, validate: header, paths: keep}
""",
    # Everything that can spill does.
    "spill": """
max_memory: 4MiB
process:
  - document_deduplicator:
  - document_minhash_deduplicator: {num_permutations: 64}
  - topk_specified_field_selector: {field_key: score, top_ratio: 0.8}
  - text_length_filter: {min_len: 10}
""",
    # Bounds from the data, a census, groups taken apart again, images made.
    "whole": """
max_memory: 4MiB
image_special_token: "<__dj__image>"
process:
  - text_length_filter: {max_len: p95}
  - document_line_deduplicator: {frequency_threshold: 200}
  - key_value_grouper: {group_by_keys: [score]}
  - naive_reverse_grouper: {batch_meta_export_path: OUT/groups.jsonl}
  - image_blur_mapper: {p: 0.2, save_dir: OUT/blurred}
""",
    # Near-duplicates of two kinds, a bound and a window of the best, samples of shards.
    "near": """
process:
  - document_simhash_deduplicator: {hamming_distance: 4}
  - document_minhash_deduplicator: {num_permutations: 64, jaccard_threshold: 0.7}
  - words_num_filter: {keep: best 80%}
  - range_specified_field_selector: {field_key: score, lower_percentile: 0.05, upper_percentile: 0.9}
outputs:
  - {format: jsonl, path: OUT/clean.jsonl, shard_size: 40KB}
  - {format: jsonl, path: OUT/sample.jsonl, sample: 700, seed: 3, shuffle: true, shard_size: 20KB}
""",
    # Images by hash and by distance, behind a step that fails on some rows.
    "images": """
image_special_token: "<__dj__image>"
process:
  - image_aspect_ratio_filter: {min_ratio: 0.1}
  - image_deduplicator: {method: phash, consider_text: true}
  - frequency_specified_field_selector: {field_key: id, topk: 9000}
outputs:
  - {format: llava, path: OUT/clean.json, validate: decode, paths: keep, shard_size: 30KB}
  - {format: jsonl, path: OUT/rows.jsonl}
""",
    # Rows made of rows between two exchanges.
    "parts": """
process:
  - text_chunk_mapper: {max_len: 60}
  - document_deduplicator:
  - text_length_filter: {min_len: p10}
  - document_minhash_deduplicator: {num_permutations: 64}
  - random_selector: {select_num: 4000}
""",
    # Images that lie in archives, asked for before and behind an exchange, and put into others.
    "archives": """
image_special_token: "<__dj__image>"
process:
  - image_aspect_ratio_filter: {min_ratio: 0.1}
  - document_deduplicator:
  - topk_specified_field_selector: {field_key: score, top_ratio: 0.6}
  - image_shape_filter: {min_width: 8}
outputs:
  - {format: jsonl, path: OUT/rows.jsonl}
  - {format: webdataset, path: "OUT/{shard:05}.tar", shard_size: 2MB, validate: decode}
""",
    # Columns, with a bound from the data.
    "columns": """
process:
  - text_length_filter: {min_len: p10}
  - document_minhash_deduplicator: {num_permutations: 64}
  - words_num_filter: {min_num: 3}
outputs:
  - {format: jsonl, path: OUT/clean.jsonl, shard_size: 60KB}
  - {format: llava, path: OUT/clean.json, validate: exists, paths: keep}
""",
    # What is measured of images is kept in a cache, which lives on from trial to trial, killed or not.
    "cached": """
cache: KEPT
process:
  - image_shape_filter: {min_width: 8}
  - image_deduplicator: {method: phash}
outputs:
  - {format: jsonl, path: OUT/rows.jsonl}
  - {format: llava, path: OUT/clean.json, validate: decode, paths: keep}
""",
}

# How the rows lie for each recipe: (name, how many files, how they are packed or framed).
INPUTS = {
    "streaming": ("rows.jsonl", 1),
    "exchanges": ("rows.jsonl.gz", 1),
    "outputs": ("rows.jsonl", 3),
    "spill": ("rows.json", 1),
    "whole": ("rows.jsonl", 1),
    "near": ("rows.jsonl.gz", 4),
    "images": ("rows.jsonl", 2),
    "parts": ("rows.json", 2),
    "archives": ("rows.tar", 3),
    "columns": ("rows.parquet", 2),
    "cached": ("rows.jsonl", 2),
}


def sound(lines):
    """The rows of lines that hold one."""
    return [json.loads(line) for line in lines if line.endswith("}")]


def write_tar(path, lines):
    """An archive of every eighth row with its image; some rows have lost theirs."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, row in enumerate(sound(lines[::8])):
            row.pop("__dj__batch_meta__")
            (image,) = row.pop("images")
            members = [("json", json.dumps(row).encode())]
            if os.path.exists(image):
                members.append((image.rsplit(".", 1)[1], Path(image).read_bytes()))
            for suffix, content in members:
                member = tarfile.TarInfo(f"{number:06}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def write_parquet(path, lines):
    """A table of many row groups; the images are a list of paths."""
    rows = [{key: row[key] for key in ("id", "text", "score", "images")} for row in sound(lines)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=500)


def place_rows(scratch, name, lines):
    """The rows of a recipe as its inputs; what its `dataset_path` says of them."""
    kind, files = INPUTS[name]
    folder = scratch / f"in-{name}"
    folder.mkdir()
    size = len(lines) // files + 1
    for number in range(files):
        part = lines[number * size : (number + 1) * size]
        path = folder / f"{number}-{kind}"
        if kind == "rows.json":
            # An array has no broken rows: nothing behind one could be read.
            path.write_text("[" + ",\n".join(line for line in part if line.endswith("}")) + "]")
        elif kind == "rows.tar":
            write_tar(path, part)
        elif kind == "rows.parquet":
            write_parquet(path, part)
        elif kind.endswith(".gz"):
            path.write_bytes(gzip.compress("\n".join(part).encode() + b"\n", 1))
        else:
            path.write_text("\n".join(part) + "\n")
    return str(folder) if files > 1 else str(next(folder.iterdir()))


def make_rows(rows, seed):
    """Lines of rows, with planted duplicates, broken lines and missing images."""
    rng = random.Random(seed)
    images = sorted(str(p) for p in (ROOT / "fixtures/dataset").rglob("*.jpg"))
    lines = []
    for number in range(rows):
        kind = rng.random()
        if kind < 0.01:
            lines.append('{"text": "cut')
            continue
        if kind < 0.1 and lines:
            lines.append(rng.choice(lines))
            continue
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 25)))
        row = {"id": f"{number:06}", "text": f"[[human]]: <__dj__image>\nwhat is it?\n[[gpt]]: {text} <|__dj__eoc|>", "score": rng.random()}
        row["__dj__batch_meta__"] = {"n": number}
        row["images"] = [rng.choice(images) if kind < 0.97 else "missing.jpg"]
        lines.append(json.dumps(row))
    return lines


def command(djr, recipe, extra, rng=None):
    """Runs a recipe; with `rng`, in a way that must not matter."""
    settings = ["--batch-rows", "64"]
    if rng:
        settings = ["--batch-rows", str(rng.choice([1, 17, 64, 500])), "--threads", str(rng.randint(1, 4))]
        settings += rng.choice([[], ["--max-memory", "4MiB"], ["--max-memory", "64MiB"]])
    return [djr, "run", str(recipe), "--quiet", "--max-quarantine", "none", "--checkpoint-every", "0.02", *settings, *extra]


def flip(djr, recipe, took, expected, out, scratch, rng):
    """Changes one byte in each working file of a killed run; how many were refused, and what went wrong."""
    kept = scratch / "killed"
    for _ in range(50):
        shutil.rmtree(out, ignore_errors=True)
        run = subprocess.Popen(command(djr, recipe, [], rng), stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.2, 0.8) * took)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        if list(out.rglob("state.json")):
            break
    else:
        return 0, 0, ["no kill left a checkpoint"]
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(out, kept)
    refused, same, wrong = 0, 0, []
    for path in sorted(p for p in kept.rglob("*") if p.is_file() and p.stat().st_size and "blurred" not in p.parts):
        name = path.relative_to(kept)
        shutil.rmtree(out)
        shutil.copytree(kept, out)
        data = bytearray(path.read_bytes())
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        (out / name).write_bytes(data)
        run = subprocess.run(command(djr, recipe, ["--resume"], rng), check=False, stderr=subprocess.PIPE)
        message = run.stderr.decode()
        if run.returncode == 3 and path.name in message:
            refused += 1
        elif run.returncode in (0, 1) and results(out) == expected:
            same += 1
        else:
            wrong.append(f"{name}, byte {at} of {len(data)}: exit {run.returncode}: {message[-300:]}")
    shutil.rmtree(kept)
    return refused, same, wrong


def results(out):
    """Digests of everything that must be the same, the ledger decompressed, the manifest's counts."""
    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = str(path.relative_to(out))
        data = path.read_bytes()
        if name.endswith("manifest.json"):
            manifest = json.loads(data)
            for step in manifest["steps"]:
                step.pop("seconds")
            for key in ("seconds", "peak_memory_bytes", "threads", "command", "started", "ended"):
                manifest.pop(key)
            # Trials have other memory.
            manifest.pop("plan_digest")
            manifest["plan"]["recipe"].pop("max_memory")
            # What a cache knew differs from trial to trial, and so what was decoded.
            if manifest.pop("cache", None):
                manifest.pop("images")
            data = json.dumps(manifest, sort_keys=True).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default=str(ROOT / "target/release/djr"))
    parser.add_argument("--kills", type=int, default=200, help="how many SIGKILLs in all")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES))
    args = parser.parse_args()
    djr = str(Path(args.djr).resolve())
    rng = random.Random(args.seed)
    scratch = Path(tempfile.mkdtemp(prefix="djr-crash-"))
    lines = make_rows(args.rows, args.seed)
    cases = {}
    out = scratch / "out"
    for name in args.recipes:
        if name == "columns" and pyarrow is None:
            print("columns: left out, there is no pyarrow")
            continue
        text = RECIPES[name]
        recipe = scratch / f"{name}.yaml"
        head = f"dataset_path: {place_rows(scratch, name, lines)}\n"
        if "outputs:" not in text:
            head += f"export_path: {out}/clean.jsonl\n"
        recipe.write_text(head + text.replace("OUT", str(out)).replace("KEPT", str(scratch / "kept")))
        began = time.monotonic()
        run = subprocess.run(command(djr, recipe, []), check=False, stderr=subprocess.PIPE)
        took = time.monotonic() - began
        cases[name] = (recipe, took, results(out))
        assert run.returncode in (0, 1), f"{name}: {run.stderr.decode()}"
        empty = [p.name for p in (*out.glob("*.json*"), *out.glob("*.tar")) if p.is_file() and p.stat().st_size < 1000]
        assert not empty, f"{name}: {empty} would prove nothing"
        print(f"{name}: undisturbed in {took:.2f} s, {len(cases[name][2])} files", flush=True)
        shutil.rmtree(out)
    kills = early = trials = resumed = bad = 0
    per = {name: [0, 0] for name in cases}
    while kills < args.kills:
        name = list(cases)[trials % len(cases)]
        recipe, took, expected = cases[name]
        trials += 1
        if rng.random() < 1 / 3:
            # Now and then nothing is known.
            shutil.rmtree(scratch / "kept", ignore_errors=True)
        extra = []
        while True:
            run = subprocess.Popen(command(djr, recipe, extra, rng), stderr=subprocess.PIPE)
            extra = ["--resume"]
            # Every trial is killed once; a resumed run is killed again two times out of three.
            if kills < args.kills and rng.random() < 2 / 3:
                try:
                    run.wait(timeout=rng.uniform(0, took * 1.05))
                    early += 1
                except subprocess.TimeoutExpired:
                    os.kill(run.pid, signal.SIGKILL)
                    run.communicate()
                    kills += 1
                    per[name][0] += 1
                    resumed += any(out.rglob("state.json"))
                    continue
            _, stderr = run.communicate()
            if run.returncode not in (0, 1):
                print(f"{name}: exit {run.returncode}: {stderr.decode()}")
                bad += 1
            break
        found = results(out)
        if found == expected:
            per[name][1] += 1
        else:
            bad += 1
            for file in sorted(set(found) | set(expected)):
                if found.get(file) != expected.get(file):
                    print(f"{name}, trial {trials}: {file} differs", flush=True)
            shutil.copytree(out, scratch / f"bad-{trials}")
        shutil.rmtree(out)
    for name, (count, equal) in per.items():
        print(f"{name}: {count} kills, {equal} runs equal")
    print(f"{kills} kills in {trials} trials ({resumed} left a checkpoint, {early} runs ended before their kill): {trials - bad} of {trials} equal")
    for name, (recipe, took, expected) in cases.items():
        refused, same, wrong = flip(djr, recipe, took, expected, out, scratch, rng)
        print(f"{name}: of {refused + same + len(wrong)} files with a changed byte {refused} were refused by name, {same} changed nothing")
        for line in wrong:
            print(f"  {line}")
        bad += len(wrong)
    if bad:
        sys.exit(f"kept: {scratch}")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
