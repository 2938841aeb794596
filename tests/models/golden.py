#!/usr/bin/env python3
"""Holds djr's model operators to recorded answers of Data-Juicer's own classes.

    tests/models/golden.py --djr target/release/djr --cases DIR [--python PYTHON] [--only OPERATOR]

DIR holds `models/`, `images/` and `cases/OPERATOR/*.json`, made by Data-Juicer 1.6.1 on tiny models:
`input` are rows, `params` the operator's parameters (`{models}` and `{images}` stand for the
folders), `stats_exact` what it measured (null where the row failed), `kept_exact` which rows it
kept, `tolerance` how far numbers may differ. Each case is one run of `djr run` with the user's own
torch. What is measured and decided is read from what the run left: the stats, the ledger and the
quarantine. Rows of damaged JPEG files, which Data-Juicer scores with a grey rest, are set aside here
and counted apart; cases that differ on purpose are listed with their reason. Where a case gives the
`phrases` of its texts, a tagger of NLTK is written that finds just those.

PYTHON needs torch and transformers. It is started once and imports them; each case's worker is a
fork of it that runs the worker's own code, as loading torch takes longer than a case. Standard
library only, and `zstd`.
"""

import argparse
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# Rows that Data-Juicer scores and djr sets aside, by their image.
DAMAGED = "truncated.jpg"

# Cases that differ on purpose.
NAMED = {
    "text_pair_similarity_filter/no_second_key": "a filter that would keep every row is refused",
}

PUNKT = Path(__file__).resolve().parents[2] / "fixtures/nltk_data/tokenizers/punkt_tab/english"


# What djr starts in the place of Python: hands its pipes and arguments to the one that waits.
STUB = """#!{python} -SI
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({place!r})
    said = json.dumps(sys.argv).encode()
    socket.send_fds(server, [len(said).to_bytes(4, "little")], [0, 1, 2])
    server.sendall(said)
    for file in (0, 1, 2):
        os.close(file)
    server.recv(1)
"""


def serve(place):
    """Imports torch and transformers, then forks for each stub and runs what it was given."""
    import torch
    from transformers import (  # noqa: F401
        AutoModel, BlipForImageTextRetrieval, CLIPModel, CLIPVisionModelWithProjection,
        OwlViTForObjectDetection, ViTForImageClassification,
    )

    torch.set_num_threads(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(place)
    server.listen()
    print("ready", flush=True)
    while True:
        client, _ = server.accept()
        head, files, _, _ = socket.recv_fds(client, 4, 3)
        length = int.from_bytes(head, "little")
        said = b""
        while len(said) < length:
            said += client.recv(length - len(said))
        arguments = json.loads(said)
        if os.fork() == 0:
            server.close()
            for number, file in enumerate(files):
                os.dup2(file, number)
                os.close(file)
            code = arguments[arguments.index("-c") + 1]
            exec(compile(code, "worker", "exec"), {"__name__": "__main__"})
            os._exit(0)
        for file in files:
            os.close(file)
        client.close()


def lines(path):
    """The records of a packed file of a run."""
    packed = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True)
    return [json.loads(line) for line in packed.stdout.splitlines()]


def same(want, got, tolerance):
    if isinstance(want, dict) and want == {"__float__": "nan"}:
        want = math.nan
    if isinstance(got, dict) and got == {"__float__": "nan"}:
        got = math.nan
    numbers = (int, float)
    if isinstance(want, bool) or isinstance(got, bool):
        return want is got
    if isinstance(want, numbers):
        # A number that is none stands as null in a run's own files.
        if math.isnan(want):
            return got is None or (isinstance(got, numbers) and math.isnan(got))
        return isinstance(got, numbers) and abs(want - got) <= tolerance
    if isinstance(want, list):
        return isinstance(got, list) and len(want) == len(got) and all(same(a, b, tolerance) for a, b in zip(want, got))
    return want == got


def nltk_data(phrases, folder):
    """NLTK's data by which the texts have these phrases."""
    known = {word: "IN" for text in phrases for word in text.split()}
    for phrase in sum(phrases.values(), []):
        for word in phrase.split():
            known[word] = "DT" if word in ("a", "an", "the") else "NN"
    name = "averaged_perceptron_tagger_eng"
    (folder / "taggers" / name).mkdir(parents=True)
    for part, value in [("weights", {}), ("tagdict", known), ("classes", ["DT", "IN", "NN"])]:
        (folder / "taggers" / name / f"{name}.{part}.json").write_text(json.dumps(value))
    (folder / "tokenizers/punkt_tab").mkdir(parents=True)
    (folder / "tokenizers/punkt_tab/english").symlink_to(PUNKT.resolve())


def run(djr, python, case, folder, work):
    """What djr says of the rows: stats (null if it failed) and whether it was kept; or the error."""
    text = json.dumps(case, ensure_ascii=False)
    for name in ["models", "images"]:
        text = text.replace("{%s}" % name, str(folder / name))
    case = json.loads(text)
    rows = work / "rows.jsonl"
    with open(rows, "w", encoding="utf-8") as out:
        for row in case["input"]:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    params = {key: value for key, value in case["params"].items() if key != "accelerator"}
    if "phrases" in case:
        nltk_data(case["phrases"], work / "nltk")
        params["nltk_dir"] = str(work / "nltk")
    recipe = {
        "dataset_path": str(rows),
        "export_path": str(work / "out.jsonl"),
        "on_error": "quarantine",
        "process": [{case["op"]: params}],
    }
    (work / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    command = [djr, "run", work / "recipe.yaml", "--quiet", "--threads", "1", "--python", python]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        return None, done.stderr.strip()
    left = work / "out.jsonl.djr"
    answers = {}
    for entry in lines(left / "ledger.jsonl.zst"):
        if "file" not in entry:
            continue
        answers[entry["line"] - 1] = {"stats": None, "kept": entry["fate"] == "kept", "entry": entry}
    for record in lines(left / "stats.jsonl.zst"):
        answer = answers[record["line"] - 1]
        if not record.get("errors"):
            answer["stats"] = record["stats"]
    return answers, None


def compare(case, answers):
    """What differs, and whether it is all of damaged files."""
    stats = case["stats_exact"]
    kept = set(case["kept_exact"])
    fragile = set(case.get("fragile_rows", []))
    differ, damaged = [], 0
    for number, want in enumerate(stats):
        got = answers.get(number)
        if got is None:
            differ.append(f"row {number}: no answer")
            continue
        if want is not None and got["stats"] is None and DAMAGED in json.dumps(case["input"][number]):
            damaged += 1
            continue
        if (want is None) != (got["stats"] is None):
            differ.append(f"row {number}: want {want}, got {got}")
            continue
        if want is None:
            continue
        for key, value in want.items():
            if not same(value, got["stats"].get(key), case.get("tolerance", 0)):
                differ.append(f"row {number}: {key}: want {value}, got {got['stats'].get(key)}")
        if (number in kept) != got["kept"] and number not in fragile:
            differ.append(f"row {number}: kept: want {number in kept}, got {got['kept']}")
    return differ, damaged


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default="target/debug/djr")
    parser.add_argument("--cases", required=True, type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    home = tempfile.TemporaryDirectory()
    place = str(Path(home.name) / "socket")
    stub = Path(home.name) / "python"
    stub.write_text(STUB.format(python=sys.executable, place=place))
    stub.chmod(0o755)
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import golden; golden.serve({place!r})"
    waits = subprocess.Popen([options.python, "-c", code], stdout=subprocess.PIPE)
    waits.stdout.readline()
    try:
        sys.exit(all_cases(options, stub))
    finally:
        waits.kill()
        home.cleanup()


def all_cases(options, python):
    counts = {}
    for path in sorted(options.cases.glob("cases/*/*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        if options.only and options.only != case["op"]:
            continue
        with tempfile.TemporaryDirectory() as work:
            answers, error = run(Path(options.djr).resolve(), python, case, options.cases.resolve(), Path(work))
        # What fails there on every row, or while it is built, is refused here before a row is read.
        fails = "error" in case or not any(case["stats_exact"])
        named = NAMED.get(f"{case['op']}/{path.stem}")
        said = ""
        if answers is None:
            ok = fails or named is not None
            said = named or " ".join(error.split())[:160]
        elif "error" in case:
            ok, said = False, "it should be refused: " + json.dumps(case["error"])[:160]
        else:
            differ, damaged = compare(case, answers)
            ok = not differ
            said = "; ".join(differ[:3])
            if damaged:
                said += f" ({damaged} rows of damaged JPEG files set aside)"
        word = "equal" if ok else "DIFFERS"
        if ok and answers is None:
            word = "named" if named else "refused"
        print(f"{word:8} {case['op']}/{path.stem} {said}".rstrip(), flush=True)
        whole = counts.setdefault(case["op"], [0, 0])
        whole[0] += ok
        whole[1] += 1
    for name, (good, whole) in counts.items():
        print(f"{name}: {good} of {whole}")
    good, whole = (sum(count[i] for count in counts.values()) for i in (0, 1))
    print(f"cases: {good} of {whole}")
    return int(good != whole)


if __name__ == "__main__":
    main()
