"""Speaks with djr's worker as djr does. Needs numpy."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy

WORKER = Path(__file__).resolve().parents[2] / "src/service/worker.py"
KINDS = {"u8": numpy.uint8, "i32": numpy.int32, "i64": numpy.int64}


class Worker:
    """The worker and one model at a time."""

    def __init__(self, python):
        command = [python, "-u", "-c", WORKER.read_text(encoding="utf-8")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.hello = self.ask({"op": "hello"})

    def ask(self, message):
        body = json.dumps(message).encode()
        self.process.stdin.write(len(body).to_bytes(4, "little") + body)
        self.process.stdin.flush()
        length = int.from_bytes(self.process.stdout.read(4), "little")
        reply = json.loads(self.process.stdout.read(length))
        if not reply["ok"]:
            sys.exit(f"the worker refuses: {reply['message']}")
        return reply

    def load(self, folder, name, heads, options, device="cpu", dtype="fp32"):
        """Heads are a name, inputs as (name, dtype, shape), and the output's shape."""
        end, said = 0, []

        def place(size):
            nonlocal end
            start, end = end, (end + size + 63) // 64 * 64
            return start

        for head, inputs, output in heads:
            tensors = [
                {"name": n, "dtype": d, "shape": s, "offset": place(4 * int(numpy.prod(s)) * KINDS[d]().itemsize)}
                for n, d, s in inputs
            ]
            place_out = {"shape": output, "offset": place(16 * int(numpy.prod(output)))}
            said.append({"name": head, "batch": 4, "inputs": tensors, "output": place_out})
        self.heads = {head["name"]: head for head in said}
        self.file = tempfile.NamedTemporaryFile()
        os.ftruncate(self.file.fileno(), end)
        self.memory = numpy.memmap(self.file.name, dtype=numpy.uint8, mode="r+")
        self.ask({
            "op": "load", "model": 0, "dir": str(folder), "class": name, "dtype": dtype, "device": device, "threads": 1,
            "shm": self.file.name, "bytes": end, "slots": 1, "slot_bytes": end, "heads": said, "options": options,
        })

    def run(self, name, rows):
        head, found = self.heads[name], []
        for start in range(0, len(rows), 4):
            part = rows[start : start + 4]
            for number, about in enumerate(head["inputs"]):
                batch = numpy.zeros((4, *about["shape"]), KINDS[about["dtype"]])
                for row, values in zip(batch, part):
                    row[...] = values[number]
                self.memory[about["offset"] : about["offset"] + batch.nbytes] = batch.reshape(-1).view(numpy.uint8)
            self.ask({"op": "run", "model": 0, "head": name, "slot": 0, "count": len(part), "seq": start})
            size, offset = int(numpy.prod(head["output"]["shape"])), head["output"]["offset"]
            out = self.memory[offset : offset + 16 * size].view(numpy.float32).reshape(4, size)
            found.append(out[: len(part)].copy())
        return numpy.concatenate(found)
