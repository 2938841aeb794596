#!/usr/bin/env python3
"""Kills runs of djr at random times, resumes them, and compares every byte with an undisturbed run.

    cargo build --release
    tests/crash/campaign.py --djr target/release/djr --kills 200

Each trial starts a recipe, kills it (SIGKILL) after a random delay, resumes it, perhaps kills it
again, and so on until it ends. Then its outputs, stats, quarantine and ledger must equal those of
a run that nobody touched. Needs Python 3.9 and nothing else; exit code 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    # A barrier of two operators, then a mapper behind it, then another barrier.
    "barriers": """
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
}


def make_rows(path, rows, seed):
    """Rows with planted duplicates, broken lines and missing images."""
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
    path.write_text("\n".join(lines) + "\n")


def command(djr, directory, recipe, extra):
    return [djr, "run", str(recipe), "--quiet", "--max-quarantine", "none", "--checkpoint-every", "0.02", "--batch-rows", "64", *extra]


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
            for key in ("seconds", "peak_memory_bytes", "threads"):
                manifest.pop(key)
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
    rows = scratch / "rows.jsonl"
    make_rows(rows, args.rows, args.seed)
    cases = {}
    out = scratch / "out"
    for name in args.recipes:
        text = RECIPES[name]
        recipe = scratch / f"{name}.yaml"
        head = f"dataset_path: {rows}\n"
        if "outputs:" not in text:
            head += f"export_path: {out}/clean.jsonl\n"
        recipe.write_text(head + text.replace("OUT", str(out)))
        began = time.monotonic()
        run = subprocess.run(command(djr, scratch, recipe, []), check=False, stderr=subprocess.PIPE)
        took = time.monotonic() - began
        cases[name] = (recipe, took, results(out))
        assert run.returncode in (0, 1), f"{name}: {run.stderr.decode()}"
        empty = [p.name for p in out.glob("*.json*") if p.stat().st_size < 1000]
        assert not empty, f"{name}: {empty} would prove nothing"
        print(f"{name}: undisturbed in {took:.2f} s, {len(cases[name][2])} files", flush=True)
        shutil.rmtree(out)
    kills = early = trials = resumed = bad = 0
    per = {name: [0, 0] for name in cases}
    while kills < args.kills:
        name = list(cases)[trials % len(cases)]
        recipe, took, expected = cases[name]
        trials += 1
        extra = []
        while True:
            run = subprocess.Popen(command(djr, scratch, recipe, extra), stderr=subprocess.PIPE)
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
                    resumed += (out / "clean.jsonl.djr/checkpoint/state.json").exists()
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
    if bad:
        sys.exit(f"kept: {scratch}")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
