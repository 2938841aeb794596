#!/usr/bin/env python3
"""Makes writes, syncs, renames and reads of djr fail, one after the other, and looks at what it leaves.

    cargo build --release
    tests/crash/faults.py --djr target/release/djr

For each recipe of campaign.py and each kind of system call, the call fails at several points of
the run (a full disk for writes, an I/O error for the rest), or kills it there. A run must never
leave anything under a final name but complete, right files, nor end well on a failed call; then
--resume (or, where nothing was durable yet, a new run) must end with the bytes of an undisturbed
run. Needs Python 3.9 and a C compiler.
"""

import argparse
import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from campaign import RECIPES, ROOT, command, make_rows, results

FAULTS = [
    *[("write", errno.ENOSPC), ("fsync", errno.EIO), ("rename", errno.EIO), ("read", errno.EIO)],
    *[(call, "kill") for call in ("write", "fsync", "rename", "read")],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default=str(ROOT / "target/release/djr"))
    parser.add_argument("--points", type=int, default=8, help="points of failure a recipe and call")
    parser.add_argument("--rows", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    djr = str(Path(args.djr).resolve())
    rng = random.Random(args.seed)
    scratch = Path(tempfile.mkdtemp(prefix="djr-faults-"))
    library = scratch / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    rows = scratch / "data/rows.jsonl"
    rows.parent.mkdir()
    make_rows(rows, args.rows, args.seed)
    out = scratch / "data/out"
    tried = bad = 0
    for name, text in RECIPES.items():
        recipe = scratch / f"{name}.yaml"
        head = f"dataset_path: {rows}\n" + ("" if "outputs:" in text else f"export_path: {out}/clean.jsonl\n")
        recipe.write_text(head + text.replace("OUT", str(out)))
        subprocess.run(command(djr, scratch, recipe, []), check=False)
        expected = results(out)
        for call, fault in FAULTS:
            shutil.rmtree(out)
            env = {**os.environ, "LD_PRELOAD": str(library), "FAULT_DIR": str(scratch / "data"), "FAULT_CALL": call}
            count = scratch / "count"
            subprocess.run(command(djr, scratch, recipe, []), env={**env, "FAULT_COUNT": str(count)}, check=False)
            calls = int(count.read_text())
            points = sorted(rng.sample(range(1, calls + 1), min(args.points, calls)))
            for at in points:
                shutil.rmtree(out, ignore_errors=True)
                broken = {**env, "FAULT_AT": str(at), "FAULT_ERRNO": str(fault)}
                run = subprocess.run(command(djr, scratch, recipe, []), env=broken, stderr=subprocess.PIPE, check=False)
                left = {k: v for k, v in results(out).items() if "checkpoint/" not in k and "/." not in k and not k.startswith(".")}
                wrong = [k for k, v in left.items() if expected.get(k) != v]
                again = subprocess.run(command(djr, scratch, recipe, ["--resume"]), stderr=subprocess.PIPE, check=False)
                after = results(out)
                tried += 1
                # A call that fails behind the last rename does not matter any more.
                silent = run.returncode in (0, 1) and left != expected
                if wrong or silent or after != expected:
                    bad += 1
                    print(f"{name}: {call} {fault} {at} of {calls}: exit {run.returncode}, wrong {wrong}, silent {silent}, "
                          f"then exit {again.returncode}, equal {after == expected}: {run.stderr.decode()[-300:]} {again.stderr.decode()[-300:]}")
            print(f"{name}: {call} {fault}: {len(points)} points of {calls} calls", flush=True)
        shutil.rmtree(out, ignore_errors=True)
    print(f"{tried} faults, {tried - bad} without a wrong file and equal after going on")
    shutil.rmtree(scratch)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
