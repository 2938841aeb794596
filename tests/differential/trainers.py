#!/usr/bin/env python3
"""What djr writes for trainers, read by the trainers' own code.

    tests/differential/trainers.py [--djr target/debug/djr] [--trainers DIR]

Run it from the repository's root with the Python of an environment that holds datasets, pandas and
Pillow. DIR has the unpacked wheels of llamafactory, ms-swift and trl, without what they depend on:

    python -m venv venv && venv/bin/pip install datasets pandas pillow json_repair
    venv/bin/pip download --no-deps -d wheels llamafactory ms-swift trl
    for wheel in wheels/*.whl; do unzip -qo "$wheel" -d unpacked; done
    venv/bin/python tests/differential/trainers.py --trainers unpacked

djr converts the rows of fixtures/dataset to every format; then

- datasets and pandas load each file, and give the records that its text holds, row for row; images
  of an image folder come back bit for bit;
- LLaMA-Factory's parser reads dataset_info.json, its converter every record: as many as there are,
  each with the words and the images of the row it was made of;
- ms-swift's preprocessor, and TRL's preparation of messages, likewise;
- rows with one mistake each go through LLaMA-Factory's and TRL's code: what it refuses or drops,
  `djr check --for` names, and what it takes, it does not.

Of the trainers only the code that reads files runs. torch, transformers and the like are not
there; modules of no content stand in for them. Without DIR the trainers' part is left out, and the
last line says so. Exit code 1 if anything differs.
"""

import argparse
import importlib.abc
import importlib.machinery
import json
import subprocess
import sys
import tempfile
import types
import unittest.mock
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
DATA = REPO / "fixtures/dataset"
ABSENT = ("torch", "torchaudio", "transformers", "peft", "modelscope", "accelerate", "json_repair")

differences = []
checked = 0


def same(what, found, expected):
    global checked
    checked += 1
    if found != expected:
        differences.append(f"{what}\n  found    {str(found)[:300]}\n  expected {str(expected)[:300]}")


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules of no content in place of those that are not there."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = lambda name: type(name, (), {}) if name[:1].isupper() else unittest.mock.MagicMock()
        return module

    def exec_module(self, module):
        pass


def package(name, directory):
    """A package whose modules can be imported, and whose own code does not run."""
    module = types.ModuleType(name)
    module.__path__ = [str(directory)]
    sys.modules[name] = module
    return module


def djr(args, *command):
    done = subprocess.run([args.djr, *map(str, command)], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{command}\n{done.stderr}")
    return done


def turns(row):
    """The turns of a row of the fixtures, which are captions with questions or conversations."""
    return row["messages"]


def read(path):
    text = Path(path).read_text(encoding="utf-8")
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def loaded(args, out):
    """datasets and pandas."""
    import datasets
    import pandas
    from PIL import Image

    datasets.disable_progress_bars()
    for name in ["messages.jsonl", "openai.jsonl", "trl.jsonl", "llava.json", "llava_jsonl.jsonl", "internvl.jsonl"]:
        records = read(out / name)
        same(f"{name} has records", len(records) > 100, True)
        found = datasets.load_dataset("json", data_files=str(out / name), split="train", cache_dir=str(out / "cache"))
        same(f"datasets: rows of {name}", found.num_rows, len(records))
        for got, record in zip(found, records):
            # A column that a record lacks is null there, and so is a member of a list of structs.
            same(f"datasets: {name}", without_nulls(got), without_nulls(record))
        frame = pandas.read_json(out / name, lines=name.endswith("l"), dtype=False)
        same(f"pandas: rows of {name}", len(frame), len(records))
        key = "messages" if "messages" in frame else "conversations"
        same(f"pandas: {name}", frame[key].tolist(), [record[key] for record in records])
    trl = datasets.load_dataset("json", data_files=str(out / "trl.jsonl"), split="train", cache_dir=str(out / "cache"))
    trl = trl.cast_column("images", datasets.List(datasets.Image()))
    for got, record in list(zip(trl, read(out / "trl.jsonl")))[:20]:
        with_pixels(f"trl.jsonl {record['id']}", got["images"], record["images"])
    folder = datasets.load_dataset("imagefolder", data_dir=str(out / "folder"), split="train", cache_dir=str(out / "cache"))
    records = read(out / "folder/metadata.jsonl")
    same("imagefolder: rows", folder.num_rows, len(records))
    for got, record in zip(folder, records):
        same("imagefolder: text", got["text"], record["text"])
        with_pixels(record["file_name"], [got["image"]], [out / "folder" / record["file_name"]])


def with_pixels(what, pictures, paths):
    from PIL import Image

    same(f"{what}: pictures", len(pictures), len(paths))
    for picture, path in zip(pictures, paths):
        with Image.open(path) as original:
            same(f"{what}: pixels", picture.convert("RGB").tobytes(), upright(original).tobytes())


def upright(picture):
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture).convert("RGB")


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


MISTAKES = [
    ("roles", {"messages": [("assistant", "a"), ("user", "q")], "images": []}),
    ("odd", {"messages": [("user", "q"), ("assistant", "a"), ("user", "q")], "images": []}),
    ("somebody", {"messages": [("user", "q"), ("robot", "a")], "images": []}),
    ("system", {"messages": [("system", "s"), ("user", "q"), ("assistant", "a")], "images": []}),
    ("two systems", {"messages": [("system", "s"), ("system", "s"), ("user", "q"), ("assistant", "a")], "images": []}),
    ("sound", {"messages": [("user", "<image>q"), ("assistant", "a")], "images": ["A"]}),
    ("token in answer", {"messages": [("user", "q"), ("assistant", "<image>")], "images": ["A"]}),
    ("no token", {"messages": [("user", "q"), ("assistant", "a")], "images": ["A"]}),
    ("no image", {"messages": [("user", "<image>q"), ("assistant", "a")], "images": []}),
    ("two tokens", {"messages": [("user", "<image><image>q"), ("assistant", "a")], "images": ["A"]}),
    ("video", {"messages": [("user", "a <video> tag"), ("assistant", "a")], "images": []}),
    ("audio", {"messages": [("user", "q"), ("assistant", "an <audio> tag")], "images": []}),
]


def mistakes(out):
    picture = next(path for path in sorted((DATA / "images").rglob("*.jpg")))
    rows = []
    for name, row in MISTAKES:
        messages = [{"role": role, "content": content} for role, content in row["messages"]]
        images = [str(picture) for _ in row["images"]]
        rows.append({"name": name, "messages": messages, "images": images})
    (out / "mistakes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = json.loads((out / "dataset_info.json").read_text())
    info["mistakes"] = {**info["messages"], "file_name": "mistakes.jsonl"}
    (out / "dataset_info.json").write_text(json.dumps(info))
    return rows


def refused_by_djr(args, trainer, path):
    done = djr(args, "check", "--for", trainer, path, "--json", "--all", "--validate", "none", "--max-tokens", 10**9)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    # What is trained on as it stands, or depends on a version, is no refusal.
    return {f["line"] for f in findings if f["line"] and f["code"] not in ("answer_empty", "image_small")}


def llama_factory(args, out):
    root = Path(args.trainers) / "llamafactory"
    package("llamafactory", root)
    package("llamafactory.data", root / "data")
    package("llamafactory.extras", root / "extras")
    from llamafactory.data.converter import SharegptDatasetConverter
    from llamafactory.data.mm_plugin import BasePlugin
    from llamafactory.data.parser import get_dataset_list

    def convert(name):
        [attributes] = get_dataset_list([name], str(out))
        convert = SharegptDatasetConverter(attributes, types.SimpleNamespace(media_dir=str(out)))
        return [(record, convert(record)) for record in read(out / attributes.dataset_name)]

    for record, found in convert("messages"):
        said = [m for m in record["messages"] if m["role"] != "system"]
        same("llama_factory: words", [m["content"] for m in found["_prompt"] + found["_response"]], [m["content"] for m in said])
        same("llama_factory: roles", [m["role"] for m in found["_prompt"] + found["_response"]], [m["role"] for m in said])
        same("llama_factory: images", found["_images"] or [], record["images"])
    rows = mistakes(out)
    refused = refused_by_djr(args, "llama_factory", out / "mistakes.jsonl")
    plugin = BasePlugin("<image>", "<video>", "<audio>")
    for line, (record, found) in enumerate(convert("mistakes"), 1):
        bad = not found["_prompt"]
        try:
            plugin._validate_messages(found["_prompt"] + found["_response"], found["_images"] or [], [], [])
        except ValueError:
            bad = True
        same(f"llama_factory: {rows[line - 1]['name']} is refused", line in refused, bad)


def ms_swift(args, out):
    root = Path(args.trainers) / "swift"
    for name in ["swift", "swift.dataset", "swift.dataset.preprocessor", "swift.template"]:
        package(name, root.joinpath(*name.split(".")[1:]))
    import logging

    utils = types.ModuleType("swift.utils")
    utils.TOOL_KEYS = ["tools", "tool_calls", "function_call"]
    utils.get_logger = lambda *_, **__: logging.getLogger("swift")
    utils.is_dist = lambda: False
    utils.is_master = lambda: True
    utils.remove_arrow_padding = without_nulls
    utils.safe_ddp_context = unittest.mock.MagicMock()
    sys.modules["swift.utils"] = utils
    # Imported for samples, which nobody takes here.
    package("swift.dataset.utils", root).sample_dataset = None
    from swift.template.utils import history_to_messages

    sys.modules["swift.template"].history_to_messages = history_to_messages
    sys.modules["swift.template"].MaxLengthError = type("MaxLengthError", (ValueError,), {})
    from swift.dataset.preprocessor.core import AutoPreprocessor
    from swift.template.template_inputs import StdTemplateInputs
    import datasets

    # datasets looks whether torch is there.
    for name in [name for name in sys.modules if name.split(".")[0] in ABSENT]:
        del sys.modules[name]
    for name in ["messages.jsonl", "openai.jsonl", "llava.json"]:
        records = read(out / name)
        rows = datasets.load_dataset("json", data_files=str(out / name), split="train", cache_dir=str(out / "cache"))
        found = AutoPreprocessor()(rows, num_proc=None, load_from_cache_file=False, enable_auto_mapping=True)
        same(f"ms_swift: rows of {name}", len(found), len(records))
        for got, record in zip(found, read(out / "messages.jsonl") if name != "llava.json" else records):
            expected = record.get("messages") or [
                {"role": {"human": "user", "gpt": "assistant"}[turn["from"]], "content": turn["value"]}
                for turn in record["conversations"]
            ]
            # What a template does first with contents that are lists.
            media = StdTemplateInputs.remove_messages_media(got["messages"])["images"]
            images = record.get("images") or ([record["image"]] if "image" in record else [])
            words = lambda messages: [(m["role"], m["content"].replace("\n", "")) for m in messages]
            same(f"ms_swift: words of {name}", words(got["messages"]), words(expected))
            paths = [image["path"] if isinstance(image, dict) else image for image in media or got.get("images") or []]
            same(f"ms_swift: images of {name}", paths, images)


def trl(args, out):
    package("trl", Path(args.trainers) / "trl")
    from trl.data_utils import prepare_multimodal_messages

    for record in read(out / "trl.jsonl"):
        pictures = [object() for _ in record["images"]]
        found = prepare_multimodal_messages(record["messages"], images=pictures)
        blocks = [part for message in found for part in message["content"]]
        same("trl: images", [part["image"] for part in blocks if part["type"] == "image"], pictures)
        texts = [part["text"] for message in record["messages"] for part in message["content"] if part["type"] == "text"]
        same("trl: words", [part["text"] for part in blocks if part["type"] == "text"], texts)
    rows = [
        ("sound", [{"type": "image"}, {"type": "text", "text": "q"}], 1, "user"),
        ("two blocks", [{"type": "image"}, {"type": "image"}], 1, "user"),
        ("no block", [{"type": "text", "text": "q"}], 1, "user"),
        ("human", [{"type": "text", "text": "q"}], 0, "human"),
    ]
    picture = str(next(path for path in sorted((DATA / "images").rglob("*.jpg"))))
    answer = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    records = [{"messages": [{"role": role, "content": content}, answer], "images": [picture] * count} for _, content, count, role in rows]
    (out / "blocks.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    refused = refused_by_djr(args, "trl", out / "blocks.jsonl")
    for line, (name, *_), record in zip(range(1, 9), rows, records):
        try:
            prepare_multimodal_messages(record["messages"], images=[object() for _ in record["images"]])
            bad = False
        except ValueError:
            bad = True
        same(f"trl: {name} is refused", line in refused, bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default=str(REPO / "target/debug/djr"))
    parser.add_argument("--trainers")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        for format in ["messages", "openai", "trl", "llava_jsonl", "internvl", "llava"]:
            suffix = "json" if format == "llava" else "jsonl"
            more = ["--images", "list"] if format == "llava" else []
            djr(args, "convert", "--to", format, DATA / "rows.jsonl", "--question", "Describe it.", "--max-quarantine", "none",
                "-o", out / f"{format}.{suffix}", *more)
        folder = out / "folder"
        folder.mkdir()
        (folder / "images").symlink_to(DATA / "images")
        rows = [json.loads(line) for line in (out / "messages.jsonl").read_text().splitlines()]
        captions = [
            {"text": row["messages"][-1]["content"], "images": [str(Path(row["images"][0]).relative_to(DATA))]}
            for row in rows
            if len(row["images"]) == 1 and Path(row["images"][0]).is_relative_to(DATA)
        ]
        (out / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in captions))
        djr(args, "convert", "--to", "imagefolder", out / "captions.jsonl", "--image-root", folder, "-o", folder / "metadata.jsonl")
        loaded(args, out)
        if args.trainers:
            sys.path.insert(0, args.trainers)
            sys.meta_path.insert(0, Absent())
            llama_factory(args, out)
            ms_swift(args, out)
            trl(args, out)
    print(f"{checked - len(differences)} of {checked} comparisons agree")
    for difference in differences[:20]:
        print(difference)
    if not args.trainers:
        print("the trainers' own code was left out: give --trainers")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
