#!/usr/bin/env python3
"""Captions by a tiny BLIP-2 of random weights: djr's own worker beside Data-Juicer's operator.

    pip install py-data-juicer==1.6.1 torch transformers==4.57.1 datasets==4.4.1
    cargo build
    tests/models/captions.py --python PYTHON [--djr target/debug/djr]

PYTHON has the packages above. A BLIP-2 with OPT's vocabulary is made (7 MB; nothing is downloaded),
and shown are:

- greedy: with `top_k: 1` for its language model nothing is left to chance, so both must write
  the same rows: several images and chunks, prompts, every keep_candidate_mode;
- drawn: with the usual 50, djr's captions are the same bytes for any threads, batch size of the
  executor, cut of the input and after a kill, other ones for another seed, and nearly all different;
- fair: the first words that many rows of one image draw have the frequencies that the model's softmax
  gives them (a chi-square test whose seed is fixed).
"""

import argparse
import collections
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = [ROOT / "fixtures/golden/_images/scene.jpg", ROOT / "fixtures/images/turn_exif.png",
          ROOT / "fixtures/images/apng_sound.png"]

MAKE = """
import sys
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor,
                          PreTrainedTokenizerFast)

torch.manual_seed(0)
special = ["<s>", "<pad>", "</s>", "<unk>"]
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
words = special + alphabet
words += ["\\u0120w%d" % n for n in range(50265 - len(words))]
tokenizer = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate(words)}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>",
                               unk_token="<unk>", pad_token="<pad>")
images = BlipImageProcessor(size={"height": 224, "width": 224})
processor = Blip2Processor(images, fast, num_query_tokens=4)
processor.save_pretrained(sys.argv[1])
small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
config = Blip2Config(
    vision_config=dict(small, image_size=224, patch_size=28),
    qformer_config=dict(small, encoder_hidden_size=32, vocab_size=50),
    text_config=dict(model_type="opt", hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
                     vocab_size=50272, word_embed_proj_dim=32, max_position_embeddings=2048, bos_token_id=2,
                     eos_token_id=2, pad_token_id=1, top_k=int(sys.argv[2])),
    num_query_tokens=4, image_token_index=50265,
)
model = Blip2ForConditionalGeneration(config)
with torch.no_grad():
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "embed_tokens" not in name:
            weight.normal_(std=0.6 / weight.shape[-1] ** 0.5 * 2)
    model.query_tokens.normal_()
    model.language_model.model.decoder.embed_tokens.weight.normal_(std=1.0)
    # An end that is likely enough: captions differ in length.
    model.language_model.model.decoder.embed_tokens.weight[2] *= 0.6
# Which transformers wants said where it is.
model.generation_config.do_sample = True
model.save_pretrained(sys.argv[1])
"""

PEER = """
import copy, json, sys
from data_juicer.ops.mapper.image_captioning_mapper import ImageCaptioningMapper

for line in sys.stdin:
    case = json.loads(line)
    operator = ImageCaptioningMapper(hf_img2seq=sys.argv[1], accelerator="cpu", **case["params"])
    made = []
    for row in case["rows"]:
        left = operator.process_batched({key: [copy.deepcopy(value)] for key, value in row.items()})
        made += [dict(zip(left, values)) for values in zip(*left.values())]
    print(json.dumps(made), flush=True)
"""

# The logits of the first word, as the model alone gives them for an image.
FIRST = """
import json, sys
import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

processor = Blip2Processor.from_pretrained(sys.argv[1])
model = Blip2ForConditionalGeneration.from_pretrained(sys.argv[1]).eval()
inputs = processor(images=[Image.open(sys.argv[2]).convert("RGB")], return_tensors="pt")
with torch.inference_mode():
    out = model.generate(**inputs, max_new_tokens=1, do_sample=False, output_logits=True,
                         return_dict_in_generate=True)
logits = out.logits[0][0].double()
top = torch.topk(logits, 50)
shares = torch.softmax(top.values, 0).tolist()
words = [processor.tokenizer.decode([n], skip_special_tokens=True) for n in top.indices.tolist()]
print(json.dumps(list(zip(words, shares))))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default="target/debug/djr")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--draws", type=int, default=400)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    options.djr = str(pathlib.Path(options.djr).resolve())
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for name, top_k in [("greedy", 1), ("drawn", 50)]:
            subprocess.run([options.python, "-c", MAKE, work / name, str(top_k)], check=True, env=quiet())
        failed = [greedy(options, work), drawn(options, work), fair(options, work)]
    print("captions:", "all as they should be" if not any(failed) else "NOT as they should be")
    sys.exit(any(failed))


def quiet():
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def djr(options, folder, rows, params, *args, check=True, **more):
    folder.mkdir(exist_ok=True)
    write(folder / "rows.jsonl", rows)
    recipe = {"dataset_path": str(folder / "rows.jsonl"), "export_path": str(folder / "out.jsonl"),
              "process": [{"image_captioning_mapper": params}], **more}
    (folder / "r.yaml").write_text(json.dumps(recipe))
    command = [options.djr, "run", folder / "r.yaml", "--quiet", "--python", options.python, "--devices", "cpu", *args]
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"djr: {done.stderr}")
    return (folder / "out.jsonl").read_bytes()


def greedy(options, work):
    a, b, c = map(str, IMAGES)
    token, end = "<__dj__image>", "<|__dj__eoc|>"
    rows = [
        {"text": f"{token} a red kite", "images": [a]},
        {"text": f"{token}{token} two {end} \n{end} none <__dj__video>{end}{token} three", "images": [a, b, c]},
        {"text": f"{token} and {token}", "images": [b, b], "told": "a photo of"},
        {"text": "no images", "images": []},
        {"text": f"{token} é", "images": [c], "told": "Question: what is it? Answer:"},
    ]
    cases = [
        {}, {"prompt": "w7 a photo of"}, {"prompt": "x", "prompt_key": "told"}, {"keep_original_sample": False},
        {"caption_num": 2, "keep_candidate_mode": "all"}, {"caption_num": 2, "keep_candidate_mode": "similar_one_simhash"},
    ]
    wrong = 0
    told = "".join(json.dumps({"params": params, "rows": rows}) + "\n" for params in cases)
    theirs = subprocess.run([options.python, "-c", PEER, str(work / "greedy")], input=told, capture_output=True,
                            text=True, env=quiet())
    if theirs.returncode:
        sys.exit(theirs.stderr[-3000:])
    for params, made in zip(cases, theirs.stdout.splitlines()):
        made = json.loads(made)
        ours = djr(options, work / "g", rows, {"hf_img2seq": str(work / "greedy"), **params}, "--force")
        ours = [json.loads(line) for line in ours.splitlines()]
        same = ours == made
        wrong += not same
        print("equal  " if same else "DIFFERS", params, f"{len(made)} rows, the first caption {made[-1]['text'][:60]!r}")
        if not same:
            for one, other in zip(made, ours):
                if one != other:
                    print("  there", one, "\n  here ", other)
    return wrong


def drawn(options, work):
    token = "<__dj__image>"
    rows = [{"id": n, "text": token * (1 + n % 2), "images": [str(IMAGES[n % 3])] * (1 + n % 2)} for n in range(24)]
    params = {"hf_img2seq": str(work / "drawn"), "caption_num": 2, "keep_candidate_mode": "all"}
    first = djr(options, work / "d", rows, params, "--threads", "1", "--force")
    texts = [json.loads(line)["text"] for line in first.splitlines()]
    made = [text for text in texts if "eoc" in text]
    # Of so few first words two draws may be one, and then the model goes on in one way.
    wrong = len(set(made)) < 0.9 * len(made)
    print("rows", len(texts), "different captions", len(set(made)), "of", len(made))
    for args in [("--threads", "2", "--batch-rows", "5"), ("--threads", "3", "--batch-rows", "1")]:
        same = djr(options, work / "d", rows, params, *args, "--force") == first
        print("equal  " if same else "DIFFERS", *args)
        wrong += not same
    same = djr(options, work / "d", rows, params, "--force", seed=7) != first
    print("another seed gives", "other captions" if same else "THE SAME captions")
    wrong += not same
    # Killed in the middle, and resumed.
    (work / "d/r.yaml").unlink()
    write(work / "d/rows.jsonl", rows)
    recipe = {"dataset_path": str(work / "d/rows.jsonl"), "export_path": str(work / "d/killed.jsonl"), "model_batch": 64,
              "process": [{"image_captioning_mapper": params}]}
    (work / "d/r.yaml").write_text(json.dumps(recipe))
    command = [options.djr, "run", work / "d/r.yaml", "--quiet", "--python", options.python, "--devices", "cpu",
               "--checkpoint-every", "0", "--batch-rows", "2"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    kept = work / "d/killed.jsonl.djr/checkpoint/state.json"
    end = time.time() + 120
    while running.poll() is None and not kept.exists() and time.time() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    alive = running.poll() is None
    running.kill()
    running.wait()
    subprocess.run([*command, "--resume"] if alive else command, check=True)
    same = (work / "d/killed.jsonl").read_bytes() == first
    print("equal  " if same else "DIFFERS", "after a kill" if alive else "(it ended before the kill)")
    return wrong + (not same)


def fair(options, work):
    rows = [{"text": "<__dj__image>", "images": [str(IMAGES[0])]} for _ in range(options.draws)]
    params = {"hf_img2seq": str(work / "drawn"), "keep_original_sample": False}
    out = djr(options, work / "f", rows, params, "--force", "--threads", "2")
    expected = json.loads(subprocess.run([options.python, "-c", FIRST, str(work / "drawn"), str(IMAGES[0])],
                                         capture_output=True, text=True, check=True, env=quiet()).stdout)
    words = sorted(expected, key=lambda pair: -len(pair[0]))
    seen = collections.Counter()
    for line in out.splitlines():
        caption = json.loads(line)["text"].removeprefix("<__dj__image> ").removesuffix(" <|__dj__eoc|>")
        # What begins with nothing ended at once.
        seen[next(word for word, _ in words if caption.startswith(word))] += 1
    shares = collections.Counter()
    for word, share in expected:
        shares[word] += share
    # Rare ones together.
    square, rare, rare_seen, classes = 0.0, 0.0, 0, 0
    for word, share in shares.items():
        if share * options.draws < 5:
            rare, rare_seen = rare + share, rare_seen + seen[word]
            continue
        square += (seen[word] - share * options.draws) ** 2 / (share * options.draws)
        classes += 1
    if rare * options.draws >= 5:
        square += (rare_seen - rare * options.draws) ** 2 / (rare * options.draws)
        classes += 1
    freedom = classes - 1
    # Wilson and Hilferty's approximation: how many standard deviations above what is expected.
    far = ((square / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom)) if freedom else 0
    print(f"{options.draws} first words: chi-square {square:.1f} of {freedom} degrees of freedom, {far:+.1f} deviations")
    return far > 4


if __name__ == "__main__":
    main()
