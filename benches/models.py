#!/usr/bin/env python3
"""Recipes that end in a model, beside Data-Juicer's way and beside the two bounds of any program.

    cargo build --release && cargo build --release --example corpus
    benches/models.py [--djr PATH] [--corpus PATH] [--work DIR] [--rows 160000] [--pictures 40000]
        [--runs 2] [--only clip,l14,blip] [--devices cuda:0] [--seconds 540] [--json FILE]

Needs a GPU and a Python with torch and transformers, which runs this script. Models have random
weights and the shapes of the public ones; pictures and captions are those of benches/corpus. For
each model and precision it prints rows a second of

- djr, end to end from JPEG files: the difference between runs over all rows and over few (medians of
  so many), so that loading torch and the model does not count; more rows than pictures show the
  pictures again, which is no less work;
- feeding alone: the same, with a worker that answers at once;
- the GPU alone: the model on batches that are on the device already;

and once those of Data-Juicer's way: one picture at a time through transformers' processor and the
model in 32 bits, in one process and in as many as there are processors.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
TOKENIZER = REPO / "fixtures" / "transformers"
CLIP_PIXELS = {
    "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_convert_rgb": True,
    "do_normalize": True, "do_rescale": True, "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3,
    "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224},
}
# A worker that answers at once, for the rate of everything but the model.
NULL = """#!{python}
import json, sys
read, write = sys.stdin.buffer, sys.stdout.buffer
while len(head := read.read(4)) == 4:
    message = json.loads(read.read(int.from_bytes(head, "little")))
    reply = {{"ok": True, "seq": message.get("seq"), "python": "", "torch": "none", "transformers": "none",
             "devices": [{{"name": "null:0", "title": "nothing", "memory": 0}}]}}
    body = json.dumps(reply).encode()
    write.write(len(body).to_bytes(4, "little") + body)
    write.flush()
"""


def save(model, folder, pixels, files):
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    for file in files.iterdir():
        if "token" in file.name or file.name in ("vocab.json", "merges.txt", "vocab.txt"):
            shutil.copy(file, folder / file.name)


def learn_words(folder, rows):
    """Gives the tokenizer, which knows letters, the words of captions: most become a token or two, as
    CLIP's own vocabulary has them, so that texts have as many tokens as there."""
    vocabulary = json.loads((folder / "vocab.json").read_text())
    merges = (folder / "merges.txt").read_text().splitlines()
    ends = list(vocabulary)[-2:]
    texts = (json.loads(row)["text"].replace("<__dj__image>", "").replace("<|__dj__eoc|>", "") for row in rows)
    for word in sorted({word for text in texts for word in re.findall("[a-z]+", text.lower())}):
        parts = [*word[:-1], word[-1] + "</w>"]
        for end in range(1, len(parts)):
            merge = "".join(parts[:end]) + " " + parts[end]
            if merge not in merges:
                merges.append(merge)
                vocabulary.setdefault(merge.replace(" ", ""), 0)
    tokens = [token for token in vocabulary if token not in ends] + ends
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")


def make_models(work, only, rows):
    import torch
    from transformers import BlipConfig, BlipForImageTextRetrieval, CLIPConfig, CLIPModel

    torch.manual_seed(0)
    if "clip" in only:
        config = CLIPConfig()
        config.text_config.eos_token_id = 2
        save(CLIPModel(config), work / "clip-b32", CLIP_PIXELS, TOKENIZER / "clip")
        learn_words(work / "clip-b32", rows)
    if "l14" in only:
        config = CLIPConfig(
            projection_dim=768,
            text_config={"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "eos_token_id": 2},
            vision_config={"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
                           "num_hidden_layers": 24, "patch_size": 14, "image_size": 336},
        )
        pixels = {**CLIP_PIXELS, "crop_size": {"height": 336, "width": 336}, "size": {"shortest_edge": 336}}
        save(CLIPModel(config), work / "clip-l14", pixels, TOKENIZER / "clip")
        learn_words(work / "clip-l14", rows)
    if "blip" in only:
        pixels = {k: v for k, v in CLIP_PIXELS.items() if "crop" not in k}
        pixels |= {"image_processor_type": "BlipImageProcessor", "size": {"height": 384, "width": 384}}
        save(BlipForImageTextRetrieval(BlipConfig()), work / "blip", pixels, TOKENIZER / "blip")


STEPS = {
    "clip": ("clip-b32", "image_text_similarity_filter", {"hf_clip": "{}", "min_score": None, "max_score": None}),
    "l14": ("clip-l14", "image_text_similarity_filter", {"hf_clip": "{}", "min_score": None, "max_score": None}),
    "blip": ("blip", "image_text_matching_filter", {"hf_blip": "{}", "min_score": None, "max_score": None}),
}


def run_djr(args, name, dtype, batch, rows, python):
    """Seconds, fill of batches, and the output's digest of a run over so many rows."""
    folder, op, params = STEPS[name]
    params = {k: v.replace("{}", str(args.work / folder)) if isinstance(v, str) else v for k, v in params.items()}
    recipe = {
        "dataset_path": f"corpus/rows-{rows}.jsonl", "export_path": "out.jsonl", "model_dtype": dtype,
        "model_batch": batch, "process": [{op: params}],
    }
    (args.work / "r.yaml").write_text(json.dumps(recipe))
    for left in ("out.jsonl", "out.jsonl.djr"):
        path = args.work / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    command = [args.djr, "run", "r.yaml", "-q", "--python", python, "--max-quarantine", "none"]
    if args.devices and python == sys.executable:
        command += ["--devices", args.devices]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=args.work, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr[-2000:])
    manifest = json.loads((args.work / "out.jsonl.djr/manifest.json").read_text())
    service = manifest["services"][0]
    return seconds, service["requests"] / service["room"], manifest["rows"], service["runs_on"]


def rate(args, name, dtype, batch, python):
    few, many = args.few, args.rows
    runs = [[run_djr(args, name, dtype, batch, rows, python) for rows in (few, many)] for _ in range(args.runs)]
    first, last = (statistics.median(pair[n][0] for pair in runs) for n in (0, 1))
    return (many - few) / (last - first), runs[-1][1]


def gpu_alone(name, dtype, batch, folder):
    import torch
    from transformers import BlipForImageTextRetrieval, CLIPModel

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = dtype == "tf32"
    kind = torch.float16 if dtype == "fp16" else torch.float32
    cls = BlipForImageTextRetrieval if name == "blip" else CLIPModel
    model = cls.from_pretrained(folder).to("cuda", kind).eval()
    side = model.config.vision_config.image_size
    pixels = torch.randn(batch, 3, side, side, device="cuda", dtype=kind)
    # Captions of the corpus are short: djr's batches of them have 32 tokens.
    length = 32
    ids = torch.randint(3, 200, (batch, length), device="cuda")
    mask = torch.ones_like(ids)

    def once():
        if name == "blip":
            return model(pixel_values=pixels, input_ids=ids, attention_mask=mask).itm_score
        image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
        return image.float().cpu(), text.float().cpu()

    with torch.inference_mode():
        for _ in range(3):
            once()
        torch.cuda.synchronize()
        began, rounds = time.perf_counter(), 0
        while time.perf_counter() - began < 4:
            once()
            torch.cuda.synchronize()
            rounds += 1
    found = rounds * batch / (time.perf_counter() - began)
    del model
    torch.cuda.empty_cache()
    return found


def peer(work, seconds, number, of):
    """Rows a second of one process that scores one sample at a time, as Data-Juicer does."""
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    torch.set_num_threads(1)
    model = CLIPModel.from_pretrained(work / "clip-b32").to("cuda")
    processor = CLIPProcessor.from_pretrained(work / "clip-b32")
    began, done = None, 0
    for line in (work / "corpus/rows.jsonl").read_text().splitlines()[number::of]:
        row = json.loads(line)
        text = row["text"].replace("<__dj__image>", "").replace("<|__dj__eoc|>", "").strip()
        try:
            image = Image.open(work / "corpus" / row["images"][0]).convert("RGB")
        except OSError:
            continue
        given = processor(text=text, images=[image], return_tensors="pt", truncation=True, max_length=77, padding=True)
        output = model(**given.to("cuda"))
        _ = (output.logits_per_text / 100.0).detach().cpu().mean()
        done += 1
        if began is None and done == 10:
            began, done = time.perf_counter(), 0
        if began and time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began) if began else 0.0


def peers(args, processes):
    """The sum of what so many processes of `peer` do at once."""
    parts = [
        subprocess.Popen([sys.executable, __file__, "--work", args.work, "--peer", f"{n}/{processes}"], stdout=subprocess.PIPE, text=True)
        for n in range(processes)
    ]
    try:
        return sum(float(part.communicate(timeout=300)[0].split()[-1]) for part in parts)
    finally:
        for part in parts:
            part.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--djr", default=REPO / "target/release/djr", type=Path)
    parser.add_argument("--corpus", default=REPO / "target/release/examples/corpus", type=Path)
    parser.add_argument("--work", default=Path("/dev/shm/djr-models"), type=Path)
    parser.add_argument("--rows", default=160000, type=int)
    parser.add_argument("--pictures", default=40000, type=int)
    parser.add_argument("--runs", default=2, type=int)
    parser.add_argument("--few", default=2000, type=int)
    parser.add_argument("--only", default="clip,l14,blip")
    parser.add_argument("--devices", default="")
    parser.add_argument("--dtypes", default="fp16,tf32,fp32")
    parser.add_argument("--batch", default=256, type=int)
    parser.add_argument("--seconds", default=540, type=float)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.peer:
        print(peer(args.work, 12, *map(int, args.peer.split("/"))))
        return
    args.djr, args.corpus, args.work = args.djr.resolve(), args.corpus.resolve(), args.work.resolve()
    end = time.monotonic() + args.seconds
    args.work.mkdir(parents=True, exist_ok=True)
    corpus = args.work / "corpus"
    if not corpus.exists():
        subprocess.run([args.corpus, "--rows", str(args.pictures), "--out", corpus], check=True)
    rows = (corpus / "rows.jsonl").read_text().splitlines(keepends=True)
    for count in (args.few, args.rows):
        (corpus / f"rows-{count}.jsonl").write_text("".join(itertools.islice(itertools.cycle(rows), count)))
    only = args.only.split(",")
    make_models(args.work, only, rows)
    null = args.work / "null_worker"
    null.write_text(NULL.format(python=sys.executable))
    null.chmod(0o755)
    found = []

    def tell(what, value, more=""):
        print(f"{what:50} {value:10,.0f} {more}", flush=True)
        found.append([what, value, more])
        if args.json:
            args.json.write_text(json.dumps(found))

    for name in only:
        folder = args.work / STEPS[name][0]
        feeding, _ = rate(args, name, "fp32", args.batch, str(null))
        tell(f"{name}: feeding alone", feeding)
        for dtype in args.dtypes.split(","):
            if time.monotonic() > end:
                break
            alone = gpu_alone(name, dtype, args.batch, folder)
            tell(f"{name} {dtype}: the GPU alone", alone)
            whole, (_, fill, counts, runs_on) = rate(args, name, dtype, args.batch, sys.executable)
            share = whole / min(alone, feeding)
            tell(f"{name} {dtype}: djr, end to end", whole, f"{share:.2f} of the slower bound, fill {fill:.3f}, {counts}, {runs_on}")
    if "clip" in only and not args.no_peer:
        for processes in (1, os.cpu_count()):
            if time.monotonic() > end:
                break
            tell(f"clip: Data-Juicer's way, {processes} processes", peers(args, processes))


if __name__ == "__main__":
    main()
