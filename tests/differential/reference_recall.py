#!/usr/bin/env python3
"""What `reference:` of deduplicators finds of rows that were recompressed, rescaled and reworded.

    tests/differential/reference_recall.py ROWS.jsonl [--djr PATH] [--show DIR]

Draws 200 of the rows, makes a reference of changed copies of them, and runs image_deduplicator and
document_minhash_deduplicator over all rows against it, at several thresholds. Prints how many of
the 200 each finds, and how many other rows it drops because of the reference: what it drops
without one is taken off. --show writes the pairs that are not of one row, to be looked at. Needs
Pillow.
"""

import argparse
import io
import json
import pathlib
import random
import subprocess
import tempfile

from PIL import Image

ROWS, SEED = 200, 17
TOKENS = ("<__dj__image>\n", " <|__dj__eoc|>")


def bare(text):
    for token in TOKENS:
        text = text.replace(token.strip(), "")
    return text.strip()


def smaller(image, share):
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.LANCZOS)


def cropped(image, share):
    x, y = round(image.width * share), round(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


PICTURES = {
    "as it is": lambda image: image,
    "quality 50": lambda image: (image, 50),
    "quality 20": lambda image: (image, 20),
    "half the size": lambda image: smaller(image, 0.5),
    "a quarter, quality 50": lambda image: (smaller(image, 0.25), 50),
    "2% off each side": lambda image: cropped(image, 0.02),
    "5% off each side": lambda image: cropped(image, 0.05),
}


def swapped(words, draw):
    at = draw.randrange(max(1, len(words) - 1))
    return words[:at] + words[at + 1:at + 2] + words[at:at + 1] + words[at + 2:]


def without_one(words, draw):
    at = draw.randrange(len(words)) if len(words) > 1 else len(words)
    return words[:at] + words[at + 1:]


TEXTS = {
    "as it is": lambda words, draw: words,
    "other case and points": lambda words, draw: [word.upper() + ("." if at % 4 == 3 else "") for at, word in enumerate(words)],
    "two words swapped": swapped,
    "a word left out": without_one,
    "'a photo of' before it": lambda words, draw: ["a", "photo", "of", *words],
    "a word out, two swapped, two more": lambda words, draw: [*swapped(without_one(words, draw), draw), "on", "sale"],
}


def dropped(djr, home, rows, step):
    (home / "r.yaml").write_text(
        f"dataset_path: {rows}\nimage_root: {rows.parent}\nexport_path: out.jsonl\nstats_files: false\nprocess:\n  - {json.dumps(step)}\n")
    subprocess.run([djr, "run", "r.yaml", "--restart", "--quiet", "--cache", "cache"], cwd=home, check=False)
    with open(home / "out.jsonl", encoding="utf-8") as file:
        kept = {json.loads(line)["id"] for line in file}
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--djr", type=lambda text: pathlib.Path(text).resolve(), default=pathlib.Path(__file__).parents[2] / "target/release/djr")
    parser.add_argument("--show", type=pathlib.Path)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.rows.read_text(encoding="utf-8").splitlines()]
    ids = {row["id"] for row in rows}
    drawn = random.Random(SEED).sample([row for row in rows if row["images"] and bare(row["text"])], ROWS)
    chosen = {row["id"] for row in drawn}
    with tempfile.TemporaryDirectory() as scratch:
        home = pathlib.Path(scratch)

        def tell(kind, change, step, without):
            kept = dropped(args.djr, home, args.rows, step)
            gone = ids - kept
            found, others = gone & chosen, gone - chosen - (ids - without)
            print(f"| {kind} | {change} | {len(found)} of {ROWS} | {len(others)} |", flush=True)
            if args.show and others:
                args.show.mkdir(exist_ok=True)
                name = f"{kind} {change}".replace(" ", "_").replace("'", "").replace(",", "")
                (args.show / name).write_text("\n".join(sorted(others)) + "\n")

        print("| step | the reference's copies | found | other rows |\n|---|---|---|---|")
        plain = {t: dropped(args.djr, home, args.rows, {"image_deduplicator": {"threshold": t}}) for t in (0, 2, 4, 6, 8, 10)}
        for change, make in PICTURES.items():
            reference = []
            folder = home / "ref"
            folder.mkdir(exist_ok=True)
            for number, row in enumerate(drawn):
                with Image.open(args.rows.parent / row["images"][0]) as image:
                    made = make(image.convert("RGB"))
                picture, quality = made if isinstance(made, tuple) else (made, 90)
                data = io.BytesIO()
                picture.save(data, "JPEG", quality=quality)
                (folder / f"{number}.jpg").write_bytes(data.getvalue())
                reference.append(json.dumps({"id": number, "text": "", "images": [str(folder / f"{number}.jpg")]}))
            (home / "ref.jsonl").write_text("\n".join(reference) + "\n")
            for t, without in plain.items():
                tell(f"phash, threshold {t}", change, {"image_deduplicator": {"threshold": t, "reference": [str(home / "ref.jsonl")]}}, without)
        draw = random.Random(SEED)
        settings = {"tokenization": "space", "window_size": 1, "lowercase": True, "ignore_pattern": "<__dj__image>|<\\|__dj__eoc\\|>|\\p{P}", "verify": "exact"}
        plain = {t: dropped(args.djr, home, args.rows, {"document_minhash_deduplicator": {**settings, "jaccard_threshold": t}}) for t in (0.9, 0.8, 0.7, 0.6, 0.5)}
        for change, make in TEXTS.items():
            reference = [json.dumps({"id": number, "text": TOKENS[0] + " ".join(make(bare(row["text"]).split(), draw)) + TOKENS[1]}) for number, row in enumerate(drawn)]
            (home / "ref.jsonl").write_text("\n".join(reference) + "\n")
            for t, without in plain.items():
                tell(f"minhash of words, {t}", change, {"document_minhash_deduplicator": {**settings, "jaccard_threshold": t, "reference": [str(home / "ref.jsonl")]}}, without)


if __name__ == "__main__":
    main()
