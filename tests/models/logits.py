#!/usr/bin/env python3
"""Holds djr's worker to recorded outputs of models, as djr speaks to it.

    tests/models/logits.py --cases DIR [--python PYTHON]

DIR holds `models/`, `images/` and `logits.jsonl`, as `tests/models/golden.py` says. Pictures and texts
are made ready by transformers' own processors, whose tensors `crates/transformers` is held to; the
worker gets them through its protocol and answers in the shared file. Prints the greatest difference
of each model. Run it with a Python that has torch, transformers 4.57.1, Pillow and numpy; PYTHON runs
the worker, and may have another version of transformers.
"""

import argparse
import copy
import json
import sys
from pathlib import Path

import numpy
import transformers
from PIL import Image, ImageFile, ImageOps
from transformers import AutoTokenizer, BlipImageProcessor, CLIPImageProcessor, OwlViTImageProcessor, ViTImageProcessor
from worker import Worker

ImageFile.LOAD_TRUNCATED_IMAGES = True
transformers.logging.set_verbosity_error()


def table(processor):
    shades = (numpy.arange(256).astype(numpy.uint8).astype(numpy.float64) * processor.rescale_factor).astype(numpy.float32)
    return [
        ((shades - numpy.float32(mean)) / numpy.float32(std)).tolist()
        for mean, std in zip(processor.image_mean, processor.image_std)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", required=True, type=Path)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    root = options.cases
    cases = {}
    for line in open(root / "logits.jsonl", encoding="utf-8"):
        row = json.loads(line)
        cases.setdefault(row["model"], []).append(row)
    worker, wrong = Worker(options.python), []
    print(worker.hello, flush=True)

    def say(model, what, found, wanted, most):
        off = float(numpy.abs(numpy.asarray(found, dtype=float) - numpy.asarray(wanted, dtype=float)).max())
        print(f"{model:36} {what:18} {len(wanted):4} cases, off by at most {off:.1e}", flush=True)
        if off > most:
            wrong.append(model)

    def image(name):
        return ImageOps.exif_transpose(Image.open(root / "images" / name)).convert("RGB")

    def pixels(processor, name):
        raw = copy.copy(processor)
        raw.do_rescale = raw.do_normalize = False
        return numpy.array(raw(image(name))["pixel_values"][0]).transpose(1, 2, 0)

    def filled(tokenizer, text, length):
        ids = tokenizer(text, truncation=True, max_length=length)["input_ids"]
        return ids + [0] * (length - len(ids)), [1] * len(ids) + [0] * (length - len(ids))

    def picture(side):
        return ("pixels", "u8", [side, side, 3])

    def texts(*shape):
        return [("ids", "i32", list(shape)), ("mask", "i32", list(shape))]

    for model, rows in cases.items():
        folder = root / "models" / model
        if model.startswith("tiny-clip"):
            processor, tokenizer = CLIPImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
            images = [row for row in rows if "image_embeds" in row]
            width = len(images[0]["image_embeds"])
            heads = [("image", [picture(224)], [width]), ("text", texts(77)[:1], [width + 1])]
            worker.load(folder, "CLIPModel", heads, {"table": table(processor)})
            seen = worker.run("image", [(pixels(processor, row["image"]),) for row in images])
            say(model, "image features", seen, [row["image_embeds"] for row in images], 1e-5)
            read = [row for row in rows if "text_embeds" in row and "padded_with_longest_of" not in row]
            said = worker.run("text", [(filled(tokenizer, row["text"], 77)[0],) for row in read])
            say(model, "text features", said[:, :width], [row["text_embeds"] for row in read], 1e-5)
            seen = {row["image"]: vector / numpy.linalg.norm(vector) for row, vector in zip(images, seen.astype(float))}
            said = {row["text"]: vector for row, vector in zip(read, said.astype(float))}
            pairs = [row for row in rows if "logits_per_text" in row]
            logits = [
                seen[row["image"]] @ said[row["text"]][:width] / numpy.linalg.norm(said[row["text"]][:width]) * said[row["text"]][width]
                for row in pairs
            ]
            say(model, "logits", logits, [row["logits_per_text"] for row in pairs], 1e-4)
        elif "itm_score" in rows[0]:
            processor, tokenizer = BlipImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
            worker.load(folder, "BlipForImageTextRetrieval", [("match_a", [picture(384), *texts(128)], [2])], {"table": table(processor)})
            short = [row for row in rows if len(tokenizer(row["text"])["input_ids"]) <= 128]
            found = worker.run("match_a", [(pixels(processor, row["image"]), *filled(tokenizer, row["text"], 128)) for row in short])
            say(model, "logits", found, [row["itm_score"] for row in short], 1e-4)
        elif "embedding" in rows[0]:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            for pooling in (None, "mean", "weighted_mean"):
                part = [row for row in rows if row["pooling"] == pooling]
                worker.load(folder, "TextEmbedding", [("embed_a", texts(512), [32])], {"pooling": pooling})
                found = worker.run("embed_a", [filled(tokenizer, row["text"], 512) for row in part])
                say(model, f"pooling {pooling}", found, [row["embedding"] for row in part], 1e-5)
        elif "top6" in rows[0]:
            processor, tokenizer = OwlViTImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
            boxes = rows[0]["boxes_above_0"]
            worker.load(folder, "OwlViTForObjectDetection", [("detect_a", [picture(768), *texts(8, 16)], [boxes * 12])], {"table": table(processor)})

            def phrases(row):
                both = [filled(tokenizer, phrase, 16) for phrase in row["phrases"]]
                both += [([0] * 16, [0] * 16)] * (8 - len(both))
                return [ids for ids, _ in both], [mask for _, mask in both]

            found = worker.run("detect_a", [(pixels(processor, row["image"]), *phrases(row)) for row in rows])
            scores, wanted = [], []
            for row, numbers in zip(rows, found.astype(float)):
                logits = numbers[: boxes * 8].reshape(boxes, 8)[:, : len(row["phrases"])]
                scores += [1 / (1 + numpy.exp(-logits[top["index"]].max())) for top in row["top6"]]
                wanted += [top["score"] for top in row["top6"]]
            say(model, "scores", scores, wanted, 1e-5)
        else:
            aesthetics = "aesthetics" in model
            kind = CLIPImageProcessor if aesthetics else ViTImageProcessor
            processor = kind.from_pretrained(folder)
            head = next((k for k in ("v1", "linear", "relu") if k in model), "")
            given = {"table": table(processor), "head": {"v1": "v1", "linear": "v2_linear", "relu": "v2_relu"}.get(head)}
            name = "AestheticsPredictor" if aesthetics else "ViTForImageClassification"
            worker.load(folder, name, [("image", [picture(224)], [len(rows[0]["logits"])])], given)
            found = worker.run("image", [(pixels(processor, row["image"]),) for row in rows])
            say(model, "logits", found, [row["logits"] for row in rows], 1e-4)
    sys.exit(f"differ: {', '.join(wrong)}" if wrong else 0)


main()
