#!/usr/bin/env python3
"""Asks a real server that speaks OpenAI's protocol: `transformers serve`, with a tiny model of
random weights, on this machine.

    pip install 'transformers[serving]' torch
    cargo build
    tests/models/server.py --python PYTHON [--djr target/debug/djr] [--rows 20]

PYTHON has transformers with its server. A model of a few hundred kilobytes is made, with a
tokenizer of bytes and a template for messages; what it says is noise, so the answers mean nothing:
what is shown is that djr and a server that neither of us wrote understand each other, that every row
has an answer, and that a second run asks nothing. Nothing is downloaded.
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

MAKE = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
import torch

torch.manual_seed(0)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *alphabet])}
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>",
                               pad_token="</s>", model_input_names=["input_ids", "attention_mask"])
fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\\n{% endfor %}assistant:"
fast.save_pretrained(sys.argv[1])
config = LlamaConfig(vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64,
                     num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=2048,
                     bos_token_id=0, eos_token_id=1, pad_token_id=1)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
"""


def wait_for(url, process, seconds):
    end = time.time() + seconds
    while time.time() < end:
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError as error:
            if getattr(error, "code", None):
                return
            time.sleep(0.5)
    sys.exit("the server does not answer")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--djr", default="target/debug/djr")
    parser.add_argument("--rows", type=int, default=20)
    args = parser.parse_args()
    djr = pathlib.Path(args.djr).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = folder / "tiny-model"
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        subprocess.run([args.python, "-c", MAKE, model], check=True, env=environment)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        program = pathlib.Path(args.python).parent / "transformers"
        server = subprocess.Popen(
            [program, "serve", "--host", "127.0.0.1", "--port", str(port)],
            env=environment, stdout=subprocess.DEVNULL, stderr=open(folder / "log", "w"))
        try:
            wait_for(f"http://127.0.0.1:{port}/v1/models", server, 180)
            rows = [{"id": n, "text": f"row {n}"} for n in range(args.rows)]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "rows.jsonl").write_text(lines)
            (folder / "r.yaml").write_text(f"""
dataset_path: rows.jsonl
export_path: out.jsonl
process:
  - llm_mapper:
      api_model: {model}
      input_template: 'say something of {{text}}'
      output_key: said
      sampling_params: {{max_tokens: 8, temperature: 0.7}}
      model_params: {{base_url: 'http://127.0.0.1:{port}/v1', max_concurrency: 4}}
""")
            for run in ("first", "second"):
                start = time.time()
                subprocess.run([djr, "run", "r.yaml", "-q"], cwd=folder, check=True)
                manifest = json.loads((folder / "out.jsonl.djr/manifest.json").read_text())
                service = manifest["services"][0]
                print(f"{run} run: {service.get('sent', 0)} requests,"
                      f" {service.get('reused', 0)} answers known,"
                      f" {service.get('tokens_in', 0)} tokens sent,"
                      f" {service.get('tokens_out', 0)} answered, {time.time() - start:.1f} s")
            left = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
            assert [row["id"] for row in left] == [row["id"] for row in rows], left
            assert all(row["said"] for row in left), left
            assert service.get("sent", 0) == 0, service
            print(f"{len(left)} rows, each with an answer; the second run asked nothing")
        finally:
            server.terminate()
            if server.wait(30) not in (0, -15):
                print((folder / "log").read_text()[-2000:], file=sys.stderr)


if __name__ == "__main__":
    main()
