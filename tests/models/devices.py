#!/usr/bin/env python3
"""What a device and the rows of a batch change in the worker's answers.

    tests/models/devices.py [DEVICE ...]

For each of the small models of `fixtures/transformers`, random inputs on the processor in fp32 and on
each device (`cuda:0` by default) in fp32, tf32 and fp16: the greatest difference, and whether a row's
answer is the same to the bit when it is asked for again, beside other rows, and alone with zeros behind
it. Needs torch, transformers and numpy.
"""

import sys
from pathlib import Path

import numpy
from worker import Worker

MODELS = Path(__file__).resolve().parents[2] / "fixtures/transformers"
TABLE = (((numpy.arange(256) / 255.0) - 0.5) / 0.5).astype(numpy.float32).tolist()
OPTIONS = {"table": [TABLE] * 3}
PIXELS = ("pixels", "u8", [32, 32, 3])
RANDOM = numpy.random.default_rng(7)


def texts(*shape):
    return [("ids", "i32", list(shape)), ("mask", "i32", list(shape))]


CASES = [
    ("clip", "CLIPModel", [("image", [PIXELS], [6]), ("text", texts(77)[:1], [7])], OPTIONS),
    ("vit", "ViTForImageClassification", [("image", [PIXELS], [2])], OPTIONS),
    ("blip", "BlipForImageTextRetrieval", [("match_a", [PIXELS, *texts(32)], [2])], OPTIONS),
    ("aesthetics-predictor-v1", "AestheticsPredictor", [("image", [PIXELS], [1])], {**OPTIONS, "head": "v1"}),
    ("owlvit", "OwlViTForObjectDetection", [("detect_a", [PIXELS, *texts(8, 16)], [4 * 12])], OPTIONS),
    ("bert-fast", "TextEmbedding", [("embed_a", texts(32), [8])], {"pooling": "mean"}),
]


def row(inputs):
    length = RANDOM.integers(3, 16)
    values = []
    for name, _, shape in inputs:
        if name == "pixels":
            values.append(RANDOM.integers(0, 256, shape))
            continue
        inside = numpy.arange(shape[-1]) < length
        some = RANDOM.integers(5, 33, shape) if name == "ids" else numpy.ones(shape, int)
        values.append(some * inside)
    return values


def main():
    devices = sys.argv[1:] or ["cuda:0"]
    worker, wrong = Worker(sys.executable), False
    print(worker.hello, flush=True)
    for folder, name, heads, options in CASES:
        rows = {head: [row(inputs) for _ in range(8)] for head, inputs, _ in heads}
        worker.load(MODELS / folder, name, heads, options)
        wanted = {head: worker.run(head, rows[head]) for head in rows}
        for device in devices:
            for dtype in ("fp32", "tf32", "fp16"):
                worker.load(MODELS / folder, name, heads, options, device, dtype)
                for head, asked in rows.items():
                    found = worker.run(head, asked)
                    off = float(numpy.abs(found - wanted[head]).max())
                    again = bool((worker.run(head, asked) == found).all())
                    turned = worker.run(head, asked[3:] + asked[:3])
                    moved = bool((numpy.roll(turned, 3, axis=0) == found).all())
                    alone = bool(all((worker.run(head, [one])[0] == answer).all() for one, answer in zip(asked, found)))
                    wrong |= not (again and moved and alone)
                    print(f"{folder:24} {head:9} {device} {dtype} off {off:.1e} again {again} moved {moved} alone {alone}", flush=True)
    sys.exit(int(wrong))


main()
