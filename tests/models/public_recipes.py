#!/usr/bin/env python3
"""Public recipes over images and texts, rebuilt from the operators that they list, with tiny models.

    cargo build
    tests/models/public_recipes.py --list TSV --models DIR --python PYTHON [--run NAME... --rows FILE --limit 60 --devices cpu]

TSV has a recipe on each line: its name, class, modality, and the names of its operators in order,
separated by commas. Of those of the modality `image-text`, each is written with default parameters
and given to `djr check`, with models of DIR (`tiny-clip`, …) and a tiny BLIP-2 that is made here in
the places of the public ones. Those that --run names are run whole over the first rows of FILE (PYTHON
has torch and transformers 4.57.1), twice and with other threads: what they leave must be the same
bytes. Exit code 1 if a problem comes without a hint, or a run fails.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "differential")]
import captions  # noqa: E402
import recipes as others  # noqa: E402

# What operators cannot be without.
SERVER = {"api_model": "m", "model_params": {"base_url": "http://127.0.0.1:9/v1"}}
NEEDED = {
    "generate_qa_from_text_mapper": SERVER, "extract_keyword_mapper": SERVER,
    "extract_entity_relation_mapper": SERVER,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default="target/debug/djr")
    parser.add_argument("--list", required=True, type=pathlib.Path)
    parser.add_argument("--models", required=True, type=pathlib.Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--run", nargs="*", default=[])
    parser.add_argument("--rows", type=pathlib.Path)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--devices", default="cpu")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    djr = str(pathlib.Path(options.djr).resolve())
    silent = failed = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        env = {**os.environ, **others.home(work, options.models), "DJR_PYTHON": "/nonexistent/python", "OPENAI_API_KEY": "none"}
        blip = work / "hub/Salesforce/blip2-opt-2.7b"
        subprocess.run([options.python, "-c", captions.MAKE, blip, "50"], check=True, env=captions.quiet())
        rows = work / "rows.jsonl"
        rows.write_text(json.dumps({"text": "<__dj__image> a", "images": []}) + "\n")
        for line in options.list.read_text(encoding="utf-8").splitlines()[1:]:
            name, _, modality, names = line.split("\t")[:4]
            if modality != "image-text":
                continue
            names = names.split(",")
            process = [{one: NEEDED.get(one, {})} for one in names]
            recipe = work / "r.yaml"
            recipe.write_text(json.dumps({"dataset_path": str(rows), "export_path": str(work / "out.jsonl"), "process": process}))
            done = subprocess.run([djr, "check", "--json", recipe], capture_output=True, text=True, env=env)
            problems = json.loads(done.stdout).get("problems", [])
            silent += sum(not problem.get("hint") for problem in problems)
            lacks = sorted({re.split(r"[ :]", problem["message"])[0] for problem in problems})
            print("clean  " if not problems else "missing", name, f"({len(names)} operators)", ", ".join(lacks))
            if name in options.run:
                failed += not whole(options, djr, work, name, process)
    sys.exit(bool(silent or failed))


def whole(options, djr, work, name, process):
    lines = options.rows.read_text(encoding="utf-8").splitlines()[: options.limit]
    (work / "real.jsonl").write_text("\n".join(lines) + "\n")
    env = {**os.environ, "DATA_JUICER_EXTERNAL_MODELS_HOME": str(work / "hub"), "DATA_JUICER_CACHE_HOME": str(work / "cache")}
    left = []
    for threads in ["2", "1"]:
        out = work / f"{name}-{threads}.jsonl"
        recipe = {"dataset_path": str(work / "real.jsonl"), "image_root": str(options.rows.resolve().parent),
                  "export_path": str(out), "process": process, "max_quarantine": "none"}
        (work / "real.yaml").write_text(json.dumps(recipe))
        began = time.time()
        command = [djr, "run", work / "real.yaml", "--quiet", "--python", options.python, "--devices", options.devices, "--threads", threads]
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode not in (0, 1):
            print(f"  {name}: exit {done.returncode}: {done.stderr[-600:]}")
            return False
        left.append(out.read_bytes())
    manifest = json.loads((work / f"{name}-1.jsonl.djr/manifest.json").read_text())
    services = [f"{it['service'].split('/')[-1]} {it['requests']} requests" for it in manifest.get("services", [])]
    rows = manifest["rows"]
    print(f"  {name}: {len(lines)} rows, left {len(left[0].splitlines())}, {json.dumps(rows)}, {', '.join(services)}, "
          f"{time.time() - began:.0f} s; {'the same bytes twice' if left[0] == left[1] else 'OTHER BYTES'}")
    return left[0] == left[1]


if __name__ == "__main__":
    main()
