#!/usr/bin/env python3
"""As many rows as one likes, each with a photograph of its own, out of a folder of some: in minutes.

    benches/collage.py --pictures DIR --captions ROWS.jsonl --out DIR [--rows 405000] [--seed 1] [--processes N]

Each of the pictures is cut to a few sizes (448 × 336, 336 × 448 and 400 × 368 pixels) and encoded
with a restart behind every row of blocks. A picture of the corpus is three bands of three of them, one
above the other, put together as they are encoded: no two are alike, each decodes at full cost and
without a warning, and to make one costs no more than to write its file. Captions are words of those
in ROWS, 4 to 13 of them. `rows.jsonl` has the rows. They are the same for any number of processes.

Needs Python 3.9 and Pillow 10.2.
"""

import argparse
import functools
import io
import json
import multiprocessing
import os
import random
import re
from pathlib import Path

from PIL import Image, ImageOps

SIZES = [(448, 336), (336, 448), (400, 368)]
# A mark that restarts the decoder; in a scan nothing else looks like it.
RESTART = re.compile(rb"\xff[\xd0-\xd7]")


def encoded(picture, size, quality):
    """What stands before the scan, and the scan's rows of blocks."""
    out = io.BytesIO()
    ImageOps.fit(picture, size).save(out, "JPEG", quality=quality, subsampling=2, restart_marker_rows=1)
    data = out.getvalue()
    scan = data.index(b"\xff\xda")
    scan += 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    return data[:scan], RESTART.split(data[scan:-2])


def together(head, rows):
    parts = [head, rows[0]]
    for number, row in enumerate(rows[1:]):
        parts += [bytes([0xFF, 0xD0 + number % 8]), row]
    return b"".join([*parts, b"\xff\xd9"])


# What pictures and captions are made of; processes inherit it.
MATERIAL = {}


def folder_of(args, folder):
    """Makes the pictures of a thousand rows: the rows, and the bytes of the pictures."""
    heads, of_size, words = (MATERIAL[part] for part in ("heads", "of_size", "words"))
    draw = random.Random(f"{args.seed}/{folder}")
    (args.out / f"images/{folder:05}").mkdir(parents=True, exist_ok=True)
    lines, size_of_all = [], 0
    for number in range(folder * 1000, min(args.rows, folder * 1000 + 1000)):
        size = draw.choice(SIZES)
        first, second, third = (draw.choice(of_size[size]) for _ in range(3))
        high = len(first)
        upper, lower = sorted((draw.randrange(3, high - 3), draw.randrange(3, high - 3)))
        data = together(heads[size], first[:upper] + second[upper:lower] + third[lower:])
        size_of_all += len(data)
        name = f"images/{folder:05}/{number:08}.jpg"
        (args.out / name).write_bytes(data)
        caption = " ".join(draw.choice(words) for _ in range(draw.randrange(4, 14)))
        row = {"id": f"{number:09}", "text": f"<__dj__image>\n{caption} <|__dj__eoc|>", "images": [name]}
        lines.append(json.dumps(row) + "\n")
    return "".join(lines), size_of_all


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=405_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quality", type=int, default=88)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    heads, of_size = {}, {size: [] for size in SIZES}
    for path in sorted(args.pictures.rglob("*.jp*g")):
        picture = Image.open(path).convert("RGB")
        for size in SIZES:
            head, rows = encoded(picture, size, args.quality)
            assert heads.setdefault(size, head) == head
            of_size[size].append(rows)
    words = []
    for line in args.captions.read_text().splitlines():
        text = re.sub(r"<[^>]*>", " ", json.loads(line)["text"])
        words += [word for word in text.split() if word.isascii()]
    args.out.mkdir(parents=True, exist_ok=True)
    MATERIAL.update(heads=heads, of_size=of_size, words=words)
    make = functools.partial(folder_of, args)
    processes = multiprocessing.get_context("fork").Pool(args.processes)
    with open(args.out / "rows.jsonl.part", "w") as out, processes as pool:
        size_of_all = 0
        for lines, size in pool.imap(make, range(-(-args.rows // 1000))):
            out.write(lines)
            size_of_all += size
    (args.out / "rows.jsonl.part").rename(args.out / "rows.jsonl")
    print(f"{args.rows} rows, {size_of_all / args.rows:.0f} bytes a picture")


if __name__ == "__main__":
    main()
