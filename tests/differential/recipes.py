#!/usr/bin/env python3
"""Checks recipes of other projects: which of them djr runs, and what it says is missing of the rest.

    cargo build
    tests/differential/recipes.py DIR... [--models DIR] [--python PYTHON] [--table]

Good folders are `configs` and `demos` of Data-Juicer's repository, and its hub of recipes. Every file
with a `process` is given rows of its own in the place of its dataset (`--set`), and `djr check` is
asked. What it says is told apart: nothing (clean), something to fetch, each with the command that does
(missing), and what it refuses (refused; read them).

Word lists, tables and language models of the repository's fixtures are put where Data-Juicer has
them. --models names a folder of tiny models (`tiny-clip`, `tiny-vit-nsfw`, …), which are put in the
places of the public ones; without it they are missing. PYTHON has py-data-juicer, for steps that djr
lacks. The exit code is 1 if a problem has no hint.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = {
    "openai/clip-vit-base-patch32": "tiny-clip",
    "Salesforce/blip-itm-base-coco": "tiny-blip-itm",
    "Falconsai/nsfw_image_detection": "tiny-vit-nsfw",
    "amrul-hzz/watermark_detector": "tiny-vit-watermark",
    "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE": "tiny-aesthetics-predictor-v2-linear",
    "google/owlvit-base-patch32": "tiny-owlvit",
}
# What is wrong with the file's surroundings, not with the recipe.
ELSEWHERE = {"input_not_found", "inputs_empty"}


def home(work, models):
    """Data-Juicer's cache, and models under their public names."""
    cache = work / "cache"
    (cache / "assets").mkdir(parents=True)
    (cache / "models").mkdir()
    for name in ["flagged_words.json", "stopwords.json"]:
        (cache / "assets" / name).symlink_to(ROOT / "fixtures/assets" / name)
    for kind in ["arpa.bin", "sp.model"]:
        for language in ["en", "zh", "fr", "es"]:
            (cache / f"models/{language}.{kind}").symlink_to(ROOT / "fixtures/cache/models" / f"en.{kind}")
    (cache / "models/lid.176.bin").symlink_to(ROOT / "fixtures/cache/models/lid.176.bin")
    hub = work / "hub"
    for name, tiny in MODELS.items():
        if models and (models / tiny).is_dir():
            (hub / name).parent.mkdir(parents=True, exist_ok=True)
            (hub / name).symlink_to((models / tiny).resolve())
    for name in ["EleutherAI/pythia-6.9b-deduped"]:
        (hub / name).parent.mkdir(parents=True, exist_ok=True)
        (hub / name).symlink_to(ROOT / "fixtures/models/bytes")
    return {
        "DATA_JUICER_CACHE_HOME": str(cache), "DATA_JUICER_EXTERNAL_MODELS_HOME": str(hub),
        "NLTK_DATA": str(ROOT / "fixtures/nltk_data"), "HF_HUB_CACHE": str(work / "nothing"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--djr", default=str(ROOT / "target/debug/djr"))
    parser.add_argument("--models", type=pathlib.Path)
    parser.add_argument("--python", default="/nonexistent/python")
    parser.add_argument("--table", action="store_true", help="print a table for a page")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    djr = str(pathlib.Path(options.djr).resolve())
    files = sorted(path for folder in options.folders for end in ("yaml", "yml") for path in folder.rglob(f"*.{end}"))
    counts, found, silent = collections.Counter(), [], 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        env = {**os.environ, **home(work, options.models), "DJR_PYTHON": options.python, "OPENAI_API_KEY": "none"}
        rows = work / "rows.jsonl"
        rows.write_text(json.dumps({"text": "a", "images": [], "videos": [], "audios": [], "query": "q", "response": "r"}) + "\n")
        for path in files:
            if not re.search(r"^process:", path.read_text(encoding="utf-8"), re.M):
                continue
            command = [djr, "check", "--json", path, "--set", f"dataset_path={rows}", "--set", f"export_path={work}/out.jsonl"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
                problems = json.loads(done.stdout).get("problems", [])
            except (ValueError, subprocess.TimeoutExpired) as error:
                problems = [{"code": "no_answer", "message": repr(error)[:100]}]
            problems = [problem for problem in problems if problem["code"] not in ELSEWHERE]
            silent += sum(not problem.get("hint") for problem in problems)
            fetch = re.compile(r"get it with|pip install|download |put it|hf download")
            refused = [problem for problem in problems if not fetch.search(problem.get("hint") or "")]
            kind = "refused" if refused else "missing" if problems else "clean"
            counts[kind] += 1
            name = str(path)
            for folder in options.folders:
                if path.is_relative_to(folder):
                    name = str(path.relative_to(folder.parent))
            found.append((name, kind, [f"{it['message'].split(': tried')[0]} → {it.get('hint')}" for it in problems]))
    for name, kind, said in found:
        if options.table:
            print(f"| {name} | {kind} | {'; '.join(said)} |")
        else:
            print(f"{kind:8} {name}", *(f"\n         {line[:220]}" for line in said))
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())), f"of {len(found)}; {silent} problems without a hint")
    sys.exit(bool(silent))


if __name__ == "__main__":
    main()
