#!/usr/bin/env python3
"""What document_minhash_deduplicator finds of near-duplicates, beside exact Jaccard similarities.

    tests/differential/minhash_recall.py [ROWS.jsonl] [--rows 40000] [--djr PATH]

Takes the texts of ROWS, or makes texts: families of one text of 30 to 60 words and three copies with
1 to 12 words changed. A row should go if an earlier row that stays has a Jaccard similarity of at least
0.7 (sets of 5 words, spaces apart, lower case; every pair that shares a window is compared). For each
`verify` it prints how many rows go, the share of them that are that near to the row they went for
(precision), and the share of those that should go that do (recall).
"""

import argparse
import collections
import json
import pathlib
import random
import subprocess
import tempfile

THRESHOLD, WINDOW, SEED = 0.7, 5, 17


def made(count):
    draw = random.Random(SEED)
    word = lambda: f"w{draw.randrange(20000)}"
    for number in range(count // 4):
        base = [word() for _ in range(draw.randint(30, 60))]
        yield " ".join(base)
        for _ in range(3):
            copy = list(base)
            for _ in range(draw.randint(1, 12)):
                copy[draw.randrange(len(copy))] = word()
            yield " ".join(copy)


def windows(text):
    words = text.lower().split(" ")
    return frozenset(tuple(words[at:at + WINDOW]) for at in range(len(words) - WINDOW + 1))


def similarity(a, b):
    return len(a & b) / len(a | b) if a or b else 1.0


def exact(sets):
    """The rows that should go."""
    holders, gone = collections.defaultdict(list), set()
    for row, own in enumerate(sets):
        seen = {other for window in own for other in holders[window]}
        if any(similarity(own, sets[other]) >= THRESHOLD for other in seen):
            gone.add(row)
            continue
        for window in own:
            holders[window].append(row)
    return gone


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="?", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=40000)
    parser.add_argument("--djr", type=lambda text: pathlib.Path(text).resolve(), default=pathlib.Path(__file__).parents[2] / "target/release/djr")
    args = parser.parse_args()
    if args.texts:
        lines = args.texts.read_text(encoding="utf-8").splitlines()[:args.rows]
        texts = [text for text in (json.loads(line)["text"] for line in lines) if windows(text)]
    else:
        texts = list(made(args.rows))
    sets = [windows(text) for text in texts]
    should = exact(sets)
    print(f"{len(texts)} rows, {len(should)} should go\n\n| verify | go | precision | recall |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        home = pathlib.Path(scratch)
        (home / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        for verify in ("none", "estimated", "exact"):
            step = {"document_minhash_deduplicator": {"jaccard_threshold": THRESHOLD, "window_size": WINDOW, "verify": verify}}
            (home / "r.yaml").write_text(json.dumps({"dataset_path": "in.jsonl", "export_path": "out.jsonl", "process": [step]}))
            subprocess.run([args.djr, "run", "r.yaml", "--force", "--quiet"], cwd=home, check=True)
            told = subprocess.run([args.djr, "why", "out.jsonl", "--dropped", "--limit", str(len(texts)), "--json"], cwd=home, check=True, capture_output=True)
            gone = {row["line"] - 1: row["duplicate_of"]["line"] - 1 for row in json.loads(told.stdout)["result"]["rows"]}
            near = sum(similarity(sets[row], sets[by]) >= THRESHOLD for row, by in gone.items())
            print(f"| {verify} | {len(gone)} | {near / max(1, len(gone)):.4f} | {len(should & gone.keys()) / max(1, len(should)):.4f} |", flush=True)


if __name__ == "__main__":
    main()
