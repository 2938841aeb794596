#!/usr/bin/env python3
"""Images as djr sees them beside Pillow: verdict, size, pixels and perceptual hash of every file.

    cargo build --release -p djr-image --example look
    tests/differential/images.py FOLDER... --look target/release/examples/look [--list 20]
                                 [--peer ANSWERS.json] [--json OUT.json]

Pillow's answer is that of Data-Juicer's loader with a strict load: `Image.open`, `load()` (without
LOAD_TRUNCATED_IMAGES), the orientation of `getexif()` applied, converted to RGB. Every file of the
folders is looked at, whatever its name. Printed are the numbers of files on which both agree, by
format, and of the rest the smallest. `--peer` keeps Pillow's answers for the next time. Exit code 1
if any answer differs.

Files to try, none of which is part of this repository: `Tests/images` of python-pillow/Pillow,
`tests/images` and `fuzz` of image-rs/image, the tests and corpora of image-rs/jpeg-decoder,
image-rs/image-png, image-rs/image-tiff, image-rs/image-webp and etemesi254/zune-image, `testimages`
of libjpeg-turbo, and what `--damage N` makes of any of them: N copies of each file in a folder of
its own (`--damaged FOLDER`) with a few bytes flipped, zeroed, dropped or cut off.

Needs Python 3.9 with Pillow 13.0.0 and numpy.
"""

import argparse
import collections
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

# Seconds that Pillow may take for a file.
PATIENCE = 20


def dct(values):
    """The unnormalised DCT-II of the columns, as scipy's."""
    import numpy

    n = values.shape[0]
    k = numpy.arange(n)
    return 2 * numpy.cos(numpy.pi * numpy.outer(k, 2 * k + 1) / (2 * n)) @ values


def phash(image):
    """imagededup's perceptual hash; a bit whose coefficient is the median may come out otherwise."""
    import numpy
    from PIL import Image

    grey = numpy.asarray(image.resize((32, 32), Image.Resampling.LANCZOS).convert("L")).astype("float64")
    low = dct(dct(grey).T).T[:8, :8]
    bits = (low >= numpy.median(low.flatten()[1:])).flatten()
    return f"{int(''.join('1' if b else '0' for b in bits), 2):016x}"


def pixels_of(path):
    """The picture as Data-Juicer's loader gives it."""
    from PIL import ExifTags, Image, ImageOps

    with Image.open(path) as image:
        kind = image.format
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation) is not None:
            image = ImageOps.exif_transpose(image)
        return kind, image.convert("RGB")


def look(path):
    """Pillow's answer for a file."""

    def late(*_):
        raise TimeoutError(f"more than {PATIENCE} seconds")

    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff talks
    signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        kind, image = pixels_of(path)
        return {
            "ok": True,
            "format": kind,
            "size": list(image.size),
            "sum": f"{zlib.crc32(image.tobytes()):08x}",
            "hash": phash(image),
        }
    except Exception as error:  # whatever Pillow raises is its verdict
        return {"ok": False, "why": re.sub(r"/\S+/", "", f"{type(error).__name__}: {error}")[:200]}
    finally:
        signal.alarm(0)


def ask_pillow(paths, kept):
    """Pillow's answers, each file in a process of its own pool, so that a crash costs one answer."""
    known = {}
    if kept and kept.exists():
        known = json.loads(kept.read_text())
    key = {p: f"{p}:{os.path.getsize(p)}:{int(os.path.getmtime(p))}" for p in paths}
    todo = [p for p in paths if key[p] not in known]
    with multiprocessing.Pool(max(1, (os.cpu_count() or 2) - 1), maxtasksperchild=200) as pool:
        waiting = [(path, pool.apply_async(look, (path,))) for path in todo]
        for path, answer in waiting:
            try:
                known[key[path]] = answer.get(PATIENCE * 3)
            except multiprocessing.TimeoutError:
                known[key[path]] = {"ok": False, "why": "Pillow's process died"}
        pool.terminate()
    if kept:
        kept.write_text(json.dumps(known))
    return [known[key[p]] for p in paths]


def ask_djr(program, paths, pixels=None):
    command = [str(program)] + ([str(pixels)] if pixels else [])
    listed = "".join(f"{p}\n" for p in paths)
    done = subprocess.run(command, input=listed.encode(), stdout=subprocess.PIPE, check=True)
    answers = []
    for line in done.stdout.decode().splitlines():
        code, width, height, hashed, sum_, message = line.split("\t", 5)
        answers.append(
            {"ok": code == "ok", "code": code, "size": [int(width), int(height)], "hash": hashed, "sum": sum_, "why": message}
        )
    if len(answers) != len(paths):
        sys.exit(f"{program} gave {len(answers)} answers for {len(paths)} files")
    return answers


def distance(program, path):
    """How far the pixels of a file lie apart: the largest difference, and the share that differ."""
    import numpy

    with tempfile.TemporaryDirectory() as folder:
        ask_djr(program, [path], folder)
        ours = numpy.frombuffer((Path(folder) / "0.rgb").read_bytes(), "uint8").astype(int)
    warnings.simplefilter("ignore")
    theirs = numpy.frombuffer(pixels_of(path)[1].tobytes(), "uint8").astype(int)
    apart = abs(ours - theirs)
    return f"largest {apart.max()}, {100 * (apart > 0).mean():.2f}% of values"


def damage(paths, folder, count, seed):
    """`count` damaged copies of each file, the same ones for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path in paths:
        whole = Path(path).read_bytes()
        if not 64 < len(whole) < 1 << 20:
            continue
        for number in range(count):
            draw = random.Random(f"{seed} {os.path.basename(path)} {number}")
            data = bytearray(whole)
            kind = draw.choice(["flip", "zero", "drop", "cut", "byte", "repeat"])
            for _ in range(draw.choice([1, 1, 2, 5])):
                at = draw.randrange(min(16, len(data) - 1), len(data))
                length = draw.choice([1, 2, 8, 40])
                if kind == "flip":
                    data[at] ^= 1 << draw.randrange(8)
                elif kind == "byte":
                    data[at] = draw.randrange(256)
                elif kind == "zero":
                    data[at : at + length] = bytes(len(data[at : at + length]))
                elif kind == "drop":
                    del data[at : at + length]
                elif kind == "repeat":
                    data[at:at] = data[at : at + length]
                elif len(data) > 32:
                    del data[at:]
                    break
            target = folder / f"{kind}-{number}-{os.path.basename(path)}"
            target.write_bytes(data)
            made.append(str(target))
    return made


def verdict(ours, theirs):
    """What differs between two answers; None if nothing does."""
    if ours["ok"] != theirs["ok"]:
        return "accepted by djr alone" if ours["ok"] else "accepted by Pillow alone"
    if not ours["ok"]:
        return "two verdicts" if ours["code"] == "two_verdicts" else None
    if ours["size"] != theirs["size"]:
        return "size"
    if ours["sum"] != theirs["sum"]:
        return "pixels and hash" if ours["hash"] != theirs["hash"] else "pixels"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--look", required=True, type=Path)
    parser.add_argument("--list", type=int, default=20, help="differences shown of each kind")
    parser.add_argument("--peer", type=Path, help="file that keeps Pillow's answers")
    parser.add_argument("--json", type=Path, help="write all differences here")
    parser.add_argument("--damage", type=int, default=0, help="compare damaged copies, so many a file")
    parser.add_argument("--damaged", type=Path, help="folder of the damaged copies")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", help="regular expression that names must match")
    args = parser.parse_args()

    paths = sorted(str(p) for folder in args.folders for p in folder.rglob("*") if p.is_file())
    if args.only:
        paths = [p for p in paths if re.search(args.only, os.path.basename(p))]
    if args.damage:
        if not args.damaged:
            parser.error("--damage needs --damaged")
        paths = damage(paths, args.damaged, args.damage, args.seed)
    theirs = ask_pillow(paths, args.peer)
    ours = ask_djr(args.look, paths)

    table = collections.defaultdict(lambda: [0, 0])
    differ = collections.defaultdict(list)
    for path, mine, peer in zip(paths, ours, theirs):
        what = verdict(mine, peer)
        row = table[peer.get("format", "refused by Pillow")]
        row[1] += 1
        row[0] += what is None
        if what:
            differ[what].append((os.path.getsize(path), path, mine, peer))
    for name, (agree, total) in sorted(table.items(), key=lambda item: -item[1][1]):
        print(f"{name:20} {agree:6}/{total}")
    print(f"{'all':20} {sum(a for a, _ in table.values()):6}/{sum(t for _, t in table.values())}")
    for what, files in sorted(differ.items()):
        files.sort(key=lambda found: found[:2])
        print(f"\n{what}: {len(files)}")
        for size, path, mine, peer in files[: args.list]:
            if what.startswith("pixels"):
                why = distance(args.look, path)
            elif what == "size":
                why = f"djr {mine['size']}, Pillow {peer['size']}"
            else:
                why = peer.get("why") or f"{mine['code']} {mine['why']}"
            print(f"  {size:8} {os.path.basename(path)}: {peer.get('format', '')} {why}")
    if args.json:
        args.json.write_text(json.dumps([[w, p, m, t] for w, f in differ.items() for _, p, m, t in f], indent=1))
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
