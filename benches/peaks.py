#!/usr/bin/env python3
"""Peak memory of commands over rows of 50 MB where 64 MB are given.

    benches/peaks.py [--djr target/release/djr] [--rows 3] [--bytes 50000000] [--budget 64MB]
                     [--text words] [WORD...]

Every operator that runs without parameters, alone in a recipe; every format that is converted to;
analyze, recut, check of rows, subset, verify, why and decontaminate; those with a WORD in their name if there are any.
The text is of random words in lines, or of another kind that is dearer for some: words or lines of
one letter, one long word, Chinese characters, markup. Printed is for each command its exit code, the peak of its
resident set (that of wait4) and what became of the rows; at the end what the aim is: the budget and
twice a row. Exit code 1 if a command went beyond it.
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def lines_of(kind, draw):
    """Draws lines of a kind without end."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(5000)]
    chinese = [chr(point) for point in range(0x4E00, 0x5E00)]
    draws = {
        "words": lambda: " ".join(draw.choices(words, k=12)).capitalize() + ".\n",
        "letters": lambda: " ".join(draw.choices(letters, k=40)) + " ",
        "lines": lambda: "\n".join(draw.choices(letters, k=40)) + "\n",
        "one": lambda: "".join(draw.choices(letters, k=60)),
        "chinese": lambda: "".join(draw.choices(chinese, k=40)) + "\u3002\n",
        "markup": lambda: "<b>" + "</i><p>".join(draw.choices(letters, k=10)),
    }
    while True:
        yield draws[kind]()


def corpus(path, rows, size, kind):
    draw = random.Random(1)
    with open(path, "w") as out:
        for number in range(rows):
            lines, have = [], 0
            for line in lines_of(kind, draw):
                have += len(json.dumps(line, ensure_ascii=False).encode()) - 2
                if have > size - 100:
                    break
                lines.append(line)
            out.write(json.dumps({"id": number, "text": "".join(lines)}, ensure_ascii=False) + "\n")


def peak(commands, cwd, patience):
    """Exit code and peak of the last of some commands in a directory."""
    for command in commands:
        with open(cwd / "said", "w") as said:
            child = subprocess.Popen(["timeout", str(patience), *command], cwd=cwd, stdout=subprocess.DEVNULL, stderr=said)
            _, status, usage = os.wait4(child.pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024


def codes_of(cwd):
    """Why rows were set aside; this process does not read them, which would make it large."""
    files = [str(path) for path in cwd.glob("*.djr/quarantine.jsonl")]
    found = subprocess.run(["grep", "-aoh", '"code": *"[a-z_0-9]*"', "/dev/null", *files], capture_output=True, text=True)
    codes = collections.Counter(line.split('"')[3] for line in found.stdout.splitlines())
    return "".join(f", {code} {count}" for code, count in sorted(codes.items()))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--djr", default="target/release/djr")
    arguments.add_argument("--rows", type=int, default=3)
    arguments.add_argument("--bytes", type=int, default=50_000_000)
    arguments.add_argument("--budget", default="64MB")
    arguments.add_argument("--text", default="words", help="words, letters, lines, one, chinese or markup")
    arguments.add_argument("--patience", type=int, default=300, help="seconds for a command")
    arguments.add_argument("--jobs", type=int, default=1, help="commands at a time")
    arguments.add_argument("words", nargs="*")
    known = arguments.parse_args()
    djr = str(Path(known.djr).resolve())
    told = json.loads(subprocess.run([djr, "ops", "--json"], capture_output=True).stdout)
    aim = int(known.budget.removesuffix("MB")) * 10**6 + 2 * known.bytes
    base = "dataset_path: ../rows.jsonl\nexport_path: o.jsonl\nmax_quarantine: none\nprocess:\n"
    length = "text_length_filter"
    commands = {operator["name"]: ["run r.yaml"] for operator in told["result"]["operators"]}
    for kind, ending in {
        "jsonl": "jsonl", "json": "json", "parquet": "parquet", "webdataset": "tar", "llava": "json",
        "llava_jsonl": "jsonl", "internvl": "jsonl", "messages": "jsonl", "openai": "jsonl", "trl": "jsonl",
    }.items():
        question = "" if kind in ("jsonl", "json", "parquet", "webdataset") else " --question What?"
        to = f"convert ../rows.jsonl --to {kind} -o c.{ending} --max-quarantine none{question}"
        commands[f"convert to {kind}"] = [to]
    commands["analyze"] = ["analyze ../rows.jsonl -o a"]
    commands["analyze a recipe"] = ["analyze -r r.yaml -o a"]
    commands["recut"] = ["analyze -r r.yaml -o a", "recut a --set text_length_filter.min_len=5 -o s.jsonl"]
    commands["check rows"] = ["check ../rows.jsonl --for llava"]
    commands["subset"] = ["subset ../rows.jsonl --n 2 -o s.jsonl"]
    commands["subset of rows that are checked"] = ["subset ../rows.jsonl --n 2 --validate decode -o s.jsonl"]
    written = "convert ../rows.jsonl --to jsonl -o c.jsonl --max-quarantine none"
    commands["verify"] = [written, "verify c.jsonl"]
    commands["why"] = [written, "why c.jsonl ../rows.jsonl:1"]
    commands["decontaminate"] = ["decontaminate ../rows.jsonl --against ../rows.jsonl -o d.jsonl"]

    with tempfile.TemporaryDirectory() as folder:
        # What a process is started by counts at its peak, too: this one stays small.
        made = os.fork()
        if made == 0:
            corpus(Path(folder) / "rows.jsonl", known.rows, known.bytes, known.text)
            os._exit(0)
        os.waitpid(made, 0)

        def measure(name):
            cwd = Path(folder) / name.replace(" ", "-")
            cwd.mkdir()
            step = name if commands[name] == ["run r.yaml"] else length
            (cwd / "r.yaml").write_text(f"{base}  - {step}: {{}}\n")
            lines = [[djr, *command.split(), "-q"] for command in commands[name]]
            for line in lines:
                # What copies lines and what reads records takes no bound.
                if line[1] not in ("verify", "why") and (line[1] != "subset" or "--validate" in line):
                    line += ["--max-memory", known.budget]
            code, bytes_ = peak(lines, cwd, known.patience)
            said = (cwd / "said").read_text().splitlines()[:1]
            codes = codes_of(cwd)
            shutil.rmtree(cwd)
            return name, code, bytes_, codes, said

        over = 0
        chosen = [name for name in commands if not known.words or any(word in name for word in known.words)]
        with ThreadPoolExecutor(known.jobs) as pool:
            for name, code, bytes_, codes, said in pool.map(measure, chosen):
                if code == 2:
                    print(f"| {name} | – | not run: {' '.join(said)[:100]} |", flush=True)
                    continue
                over += bytes_ > aim
                mark = " **over**" if bytes_ > aim else ""
                print(f"| {name} | {bytes_ / 1e6:.0f} MB{mark} | exit {code}{codes} |", flush=True)
    print(f"{over} beyond {aim / 1e6:.0f} MB")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
