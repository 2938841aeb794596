#!/usr/bin/env python3
"""Near-duplicate images: what hashes of reduced pictures find of what hashes of all pixels find.

    benches/near_recall.py CORPUS [--djr PATH] [--threads 2]

CORPUS is a folder that benches/corpus made, with a row a picture. For several thresholds djr drops
near duplicates twice, with and without scaled_decode; the table has the rows dropped by both, by one
only, the share of the former found again (recall), and how many of the planted near duplicates
(another quality of an earlier picture) each dropped. Needs Python 3.9 and nothing else.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def survivors(args, folder, threshold, scaled):
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"dataset_path: {args.corpus / 'rows.jsonl'}\nexport_path: {folder / 'out.jsonl'}\nprocess:\n"
                      f"  - image_deduplicator: {{threshold: {threshold}, scaled_decode: {str(scaled).lower()}}}\n")
    subprocess.run([args.djr, "run", recipe, "--quiet", "--threads", str(args.threads)], check=False)
    with open(folder / "out.jsonl", encoding="utf-8") as file:
        return {json.loads(line)["id"] for line in file}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=lambda text: Path(text).resolve())
    parser.add_argument("--djr", type=lambda text: Path(text).resolve(), default=REPO / "target/release/djr")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--thresholds", default="2,4,6,8,10")
    args = parser.parse_args()
    with open(args.corpus / "rows.jsonl", encoding="utf-8") as file:
        ids = [json.loads(line)["id"] for line in file]
    ledger = json.loads((args.corpus / "ledger.json").read_text())
    planted = {ids[row] for row, _ in ledger["planted"]["image_near"]}
    print("| threshold | dropped by both | exact only | scaled only | recall | planted near, exact | scaled |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for threshold in args.thresholds.split(","):
            exact, scaled = (set(ids) - survivors(args, Path(folder), threshold, kind) for kind in (False, True))
            both = exact & scaled
            print(f"| {threshold} | {len(both):,} | {len(exact - scaled):,} | {len(scaled - exact):,} "
                  f"| {len(both) / max(len(exact), 1):.1%} | {len(exact & planted):,} of {len(planted):,} "
                  f"| {len(scaled & planted):,} |", flush=True)


if __name__ == "__main__":
    main()
