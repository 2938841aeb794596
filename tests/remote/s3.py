#!/usr/bin/env python3
"""Reads from and writes to an S3 server on this machine: moto's, which a package brings.

    pip install 'moto[server]'
    cargo build --features remote
    tests/remote/s3.py [--djr target/debug/djr] [--rows 60000]

The Python that runs this has moto; nothing but this machine is talked to. Between djr and the server
stands a proxy of this script, which lets some answers break off in the middle, swaps an object while
it is read, and notes who asks for what.

What is shown, each against the same rows from local files: lines, packed lines, tables and archives
are read by ranges, from keys, folders and patterns; answers that break off are asked for again; an
object that changes under the run ends it and leaves nothing; an output is seen only when it is whole
(also one of many parts), a run that was killed goes on and ends with the same bytes; digests of what
was uploaded are those of the manifest; who has no right is told so. A plan of tasks that is there, with
its input, is done from two scratch directories by processes that are killed and race, and finished from a
third, with the bytes of one run.
"""

import argparse
import contextlib
import hashlib
import http.client
import http.server
import io
import json
import logging
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

try:
    import boto3
    from botocore.config import Config
    from moto.server import ThreadedMotoServer
except ImportError as error:
    print(f"skipped: {error} (pip install 'moto[server]')")
    sys.exit(0)

BUCKET = "rows"


class Proxy(http.server.ThreadingHTTPServer):
    """Hands requests on, and is a nuisance where it is told to be."""

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = port
        self.lock = threading.Lock()
        self.once = threading.Lock()  # moto looks for an object and makes it in two steps
        self.calm()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Who goes away in the middle of an answer is no news."""

    def puts(self):
        """How many objects and parts of objects have begun to arrive."""
        with self.lock:
            return sum(1 for seen in self.seen if seen[0] == "PUT")

    def calm(self):
        """Forgets what was asked and misbehaves no more."""
        with self.lock:
            self.breaks = 0  # every so many ranges break off
            self.swap = None  # after so many ranges, what is done
            self.slow = 0.0  # seconds a part takes to arrive
            self.seen = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_any(self):
        server = self.server
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        wanted = self.headers.get("range")
        with server.lock:
            server.seen.append((self.command, self.path, wanted, len(body), self.headers.get("if-match")))
            ranges = sum(1 for seen in server.seen if seen[2] and seen[0] == "GET")
            breaks = wanted and server.breaks and ranges % server.breaks == 0
            swap = server.swap if server.swap and wanted and ranges > server.swap[0] else None
            if swap:
                server.swap = None
            slow = server.slow
        if swap:
            swap[1]()
        if slow and self.command == "PUT":
            time.sleep(slow)
        with server.once if self.headers.get("if-none-match") else contextlib.nullcontext():
            upstream = http.client.HTTPConnection("127.0.0.1", server.upstream, timeout=60)
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        said = answer.getheader("content-length")
        self.send_header("Content-Length", said if self.command == "HEAD" and said else len(content))
        self.end_headers()
        if self.command == "HEAD":
            return
        if breaks and len(content) > 1:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any


class World:
    """A bucket, a directory, and djr between them."""

    def __init__(self, djr, directory):
        self.djr = djr
        self.directory = pathlib.Path(directory)
        self.moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.moto.start()
        host, port = self.moto.get_host_and_port()
        self.proxy = Proxy(port)
        self.s3 = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="who",
            aws_secret_access_key="asks",
            config=Config(retries={"max_attempts": 1}),
        )
        self.s3.create_bucket(Bucket=BUCKET)
        self.env = dict(
            os.environ,
            AWS_ENDPOINT=f"http://127.0.0.1:{self.proxy.server_port}",
            AWS_ALLOW_HTTP="true",
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="who",
            AWS_SECRET_ACCESS_KEY="asks",
            NO_PROXY="127.0.0.1",
        )

    def run(self, *args, code=0, **more):
        ran = subprocess.run(
            [self.djr, *map(str, args)],
            cwd=self.directory,
            env={**self.env, **more},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ran.returncode == code, f"{args}: exit {ran.returncode}\n{ran.stderr}"
        return ran

    def start(self, machine, *args):
        """Starts djr with a scratch directory of its own."""
        scratch = self.directory / machine
        scratch.mkdir(exist_ok=True)
        env = {**self.env, "TMPDIR": str(scratch)}
        return subprocess.Popen([self.djr, *args], cwd=self.directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def on(self, machine, *args, codes=(0,)):
        """Runs djr so, and gives what it wrote."""
        process = self.start(machine, *args)
        out, err = process.communicate(timeout=600)
        assert process.returncode in codes, f"{args}: exit {process.returncode}\n{err}"
        return out

    def put(self, name, content):
        self.s3.put_object(Bucket=BUCKET, Key=name, Body=content)

    def get(self, name):
        return self.s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def names(self, prefix=""):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(object["Key"] for page in pages for object in page.get("Contents", []))

    def local(self, name):
        return (self.directory / name).read_bytes()

    def parts_left(self):
        """Uploads that were begun and neither finished nor given up."""
        return self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def rows(count):
    out = io.StringIO()
    for number in range(count):
        text = f"row {number} " * 24
        out.write(json.dumps({"id": number, "text": text, "n": number % 7}) + "\n")
    return out.getvalue().encode()


def archive(count):
    """Samples of a caption and a picture that differs by its width."""
    import struct
    import zlib

    def png(width):
        def chunk(kind, body):
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        head = struct.pack(">IIBBBBB", width, 4, 8, 2, 0, 0, 0)
        pixels = zlib.compress((b"\0" + bytes(3 * width)) * 4)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(count):
            for suffix, content in (("png", png(1 + number % 40)), ("txt", f"caption {number}".encode())):
                info = tarfile.TarInfo(f"{number:06}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


TEXT = "process: [{text_length_filter: {min_len: 8}}, {document_deduplicator: {}}]\nstats_files: false\n"
IMAGES = "stats_files: false\nprocess: [{image_shape_filter: {min_width: 9}}]\n"


def reading(world):
    """Every kind of input, as from a file, whatever breaks off."""
    for breaks in (0, 3):
        for recipe, name, outputs in (
            ("t.yaml", "in.jsonl", ("jsonl", "parquet")),
            ("t.yaml", "in.jsonl.gz", ("jsonl",)),
            ("t.yaml", "in.parquet", ("jsonl", "parquet")),
            ("i.yaml", "in.tar", ("jsonl", "parquet", "tar")),
        ):
            for ending in outputs:
                world.run("run", recipe, "--input", name, "-o", f"l.{ending}", "--force")
                world.proxy.calm()
                world.proxy.breaks = breaks
                url = f"s3://{BUCKET}/a/{name}"
                world.run("run", recipe, "--input", url, "-o", f"r.{ending}", "--force")
                assert world.local(f"l.{ending}") == world.local(f"r.{ending}"), (name, ending)
                asked = [seen for seen in world.proxy.seen if seen[2]]
                assert asked and all(seen[4] for seen in asked), "every range names its version"
                longest = max(int(seen[2][6:].split("-")[1]) - int(seen[2][6:].split("-")[0]) for seen in asked)
                assert longest < 8 << 20, longest
    world.proxy.calm()
    return "lines, packed lines, tables, archives: as from files, also where every third range breaks off"


def columns(world):
    """Of a table only the columns that are asked for come over the network."""
    world.proxy.calm()
    (world.directory / "only.yaml").write_text("input: {columns: [text]}\n" + TEXT)
    world.run("run", "only.yaml", "--input", f"s3://{BUCKET}/a/wide.parquet", "-o", "c.jsonl", "--force")
    asked = [seen for seen in world.proxy.seen if seen[2] and seen[0] == "GET"]
    came = sum(int(seen[2][6:].split("-")[1]) - int(seen[2][6:].split("-")[0]) + 1 for seen in asked)
    size = len(world.local("wide.parquet"))
    assert came < size / 2, (came, size)
    return f"of a table of {size:,} bytes, {came:,} were asked for"


def naming(world):
    """Folders and patterns."""
    for name in ("f/1.jsonl", "f/sub/2.jsonl", "f/_SUCCESS", "f/.hidden.jsonl", "f/x.djr/ledger.jsonl", "f/README.md"):
        world.put(name, json.dumps({"text": name + " and more"}) + "\n")

    def texts(url):
        world.run("run", "t.yaml", "--input", url, "-o", "n.jsonl", "--force")
        return [json.loads(line)["text"].split()[0] for line in world.local("n.jsonl").splitlines()]

    base = f"s3://{BUCKET}"
    both = ["f/1.jsonl", "f/sub/2.jsonl"]
    for url, expected in (
        ("f/", both),
        ("f", both),
        ("f/**/*.jsonl", both),
        ("f/*.jsonl", both[:1]),
        ("f/{1,sub/2}.jsonl", both),
    ):
        found = texts(f"{base}/{url}")
        assert found == expected, (url, found)
    for url, says in ((f"{base}/none.jsonl", "not found"), (f"{base}/f/*.csv", "no object matches"), ("s3://nobucket/x.jsonl", "")):
        ran = world.run("run", "t.yaml", "--input", url, "-o", "n.jsonl", "--force", code=2)
        assert says in ran.stderr, ran.stderr
    return "keys, folders, patterns and braces name what they should"


def changing(world):
    """An object that is another one in the middle."""
    before = world.local("in.jsonl")
    for policy in ("fail", "quarantine"):
        (world.directory / "c.yaml").write_text(TEXT + f"input: {{on_broken_input: {policy}}}\n")
        world.put("c/in.jsonl", before)
        world.proxy.calm()
        world.proxy.swap = (4, lambda: world.put("c/in.jsonl", before.replace(b"row", b"ROW")))
        url = f"s3://{BUCKET}/c/in.jsonl"
        ran = world.run("run", "c.yaml", "--input", url, "-o", "changed.jsonl", code=3)
        assert "changed" in ran.stderr, ran.stderr
        assert not (world.directory / "changed.jsonl").exists()
        shutil.rmtree(world.directory / "changed.jsonl.djr", ignore_errors=True)
        for left in world.directory.glob(".changed*"):
            left.unlink()
    world.proxy.calm()
    return "an object that changes under the run ends it, and nothing has a name"


def writing(world):
    """Outputs that are objects: small, of many parts, in shards, packed, tables."""
    for name, more in (
        ("small.jsonl", ["--input", "few.jsonl"]),
        ("large.jsonl", ["--input", "in.jsonl"]),
        ("large.jsonl.zst", ["--input", "in.jsonl"]),
        ("large.parquet", ["--input", "in.parquet"]),
        ("s.tar", ["--input", "in.tar"]),
    ):
        world.run("run", "t.yaml", *more, "-o", f"w-{name}", "--force")
        world.proxy.calm()
        url = f"s3://{BUCKET}/out/{name}"
        world.run("run", "t.yaml", *more, "-o", url, "--force")
        content = world.get(f"out/{name}")
        assert content == world.local(f"w-{name}"), name
        puts = [seen for seen in world.proxy.seen if seen[0] == "PUT"]
        assert len(puts) == 1 if len(content) <= 8 << 20 else len(puts) >= 2, (name, len(puts))
        manifest = json.loads(world.local(f"{name}.djr/manifest.json"))
        assert manifest["outputs"][0]["files"][0]["path"] == url, manifest["outputs"]
        world.run("verify", url)
        if name.endswith(".jsonl"):
            assert json.loads(world.run("why", url, "1", "--json").stdout)["result"]["rows"]
    recipe = TEXT + f"outputs: [{{path: 's3://{BUCKET}/shards/part-{{shard:03}}.jsonl', shard_size: 2MB}}]\n"
    (world.directory / "s.yaml").write_text(recipe)
    world.run("run", "s.yaml", "--input", "in.jsonl")
    shards = world.names("shards/")
    assert len(shards) > 2 and b"".join(map(world.get, shards)) == world.local("w-large.jsonl"), shards
    ran = world.run("subset", "--n", "5", "in.jsonl", "-o", f"s3://{BUCKET}/out/five.jsonl")
    assert len(world.get("out/five.jsonl").splitlines()) == 5, ran.stderr
    # What was altered since is noticed.
    world.put("out/small.jsonl", b"{}\n")
    world.run("verify", f"s3://{BUCKET}/out/small.jsonl", code=1)
    left = [path.name for path in world.directory.iterdir() if "djr-part" in path.name or "djr-lock" in path.name]
    assert not left and not world.parts_left(), left
    return "objects of one part and of many, shards, tables and archives: the bytes of local outputs"


def killing(world):
    """Killed while it uploads: nobody sees a half, and the run goes on."""
    url = f"s3://{BUCKET}/k/out.jsonl"
    world.proxy.calm()
    world.proxy.slow = 1.5
    command = [world.djr, "run", "t.yaml", "--input", "in.jsonl", "-o", url]
    process = subprocess.Popen(command, cwd=world.directory, env=world.env, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not any(seen[0] == "PUT" for seen in world.proxy.seen) and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert world.names("k/") == [], "nothing is seen before it is whole"
    world.proxy.calm()
    world.run("run", "t.yaml", "--input", "in.jsonl", "-o", url, "--resume")
    assert world.get("k/out.jsonl") == world.local("w-large.jsonl")
    return "killed while it uploads, a run leaves nothing to see, and goes on to the same bytes"


TASKS = """
stats_files: false
process:
  - text_length_filter: {min_len: 8}
  - document_deduplicator: {}
  - document_minhash_deduplicator: {num_permutations: 32}
  - words_num_filter: {min_num: 2}
"""


def planning(world):
    """A plan of tasks in the store: killed, raced for, finished elsewhere."""
    (world.directory / "p.yaml").write_text(TASKS)
    source = f"s3://{BUCKET}/a/in.jsonl"
    draw = random.Random(5)
    told = []
    for size in ("2MB", "12MB"):
        work = f"s3://{BUCKET}/work-{size}"
        out = f"s3://{BUCKET}/out/p-{size}.jsonl"
        world.proxy.calm()
        world.run("run", "p.yaml", "--input", source, "-o", out, "--force")
        record = world.directory / f"p-{size}.jsonl.djr"
        expected = world.get(f"out/p-{size}.jsonl"), (record / "ledger.jsonl.zst").read_bytes()
        world.s3.delete_object(Bucket=BUCKET, Key=f"out/p-{size}.jsonl")
        shutil.rmtree(record)
        world.on("m1", "plan", "p.yaml", "--input", source, "-o", out, "--work", work, "--task-bytes", size)
        world.proxy.breaks = 7
        world.proxy.slow = 0.05
        tasks = killed = races = 0
        while True:
            ready = world.on("m1", "next", work, "--all", codes=(0, 11)).split()
            if not ready:
                break
            id = draw.choice(ready)
            tasks += 1
            for number in range(2):
                process = world.start(f"m{1 + number % 2}", "task", work, id)
                # In its work, or while it uploads: what has been sent then may still arrive.
                arrived = world.proxy.puts() + draw.randint(1, 3)
                end = time.time() + (draw.uniform(0, 0.5) if draw.random() < 0.3 else 60)
                while process.poll() is None and time.time() < end and world.proxy.puts() < arrived:
                    time.sleep(0.005)
                time.sleep(draw.uniform(0, 0.04))
                if process.poll() is None:
                    process.kill()
                    killed += 1
                process.communicate()
            if draw.random() < 0.3:
                both = [world.start(machine, "task", work, id) for machine in ("m1", "m2")]
                said = [process.communicate(timeout=600)[1] for process in both]
                assert all(process.returncode == 0 for process in both), said
                assert any("already" in text for text in said), said
                races += 1
            else:
                world.on(draw.choice(("m1", "m2")), "task", work, id)
        seen = list(world.proxy.seen)
        parts = sum(1 for it in seen if it[0] == "PUT" and "partNumber" in it[1])
        left = len(world.names(f"work-{size}/t/"))
        # Elsewhere: nothing of what those left that decided.
        shutil.rmtree(record, ignore_errors=True)
        world.on("m3", "finish", work)
        assert (world.get(f"out/p-{size}.jsonl"), (record / "ledger.jsonl.zst").read_bytes()) == expected, size
        world.run("verify", out)
        names = world.names(f"work-{size}/t/")
        done = [name for name in names if name.endswith(".done")]
        attempts = {tuple(name.split("/")[2:4]) for name in names if not name.endswith(".done")}
        assert len(done) == tasks and len(attempts) == len({id for id, _ in attempts}), (len(done), tasks, attempts)
        unfinished = len(world.parts_left())
        for upload in world.parts_left():
            world.s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
        told.append(
            f"{tasks} tasks of {size}, {killed} kills, {races} races, {parts} parts of uploads, "
            f"{left - len(names)} objects of attempts that did not count removed, {unfinished} uploads left begun"
        )
    world.proxy.calm()
    return "; ".join(told) + ": the bytes of one run"


def refusing(world):
    """What cannot be."""
    for args, says in (
        (["run", "t.yaml", "--input", "few.jsonl", "-o", "s3://nobucket/o.jsonl"], None),
        (["run", "t.yaml", "--input", "few.jsonl", "-o", f"s3://{BUCKET}/o.csv"], "csv"),
        (["convert", "--to", "llava", "few.jsonl", "-o", f"s3://{BUCKET}/o.json", "--paths", "relative"], "no path of an image starts"),
        (["run", "t.yaml", "--input", f"s3://{BUCKET}/f/1.jsonl", "-o", f"s3://{BUCKET}/f/1.jsonl"], "is an input"),
    ):
        ran = world.run(*args, code=2 if says else 3)
        assert says is None or says in ran.stderr, ran.stderr
        shutil.rmtree(world.directory / "o.jsonl.djr", ignore_errors=True)
    return "outputs over inputs, into no bucket, of no format: refused by name"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default="target/debug/djr")
    parser.add_argument("--rows", type=int, default=60000)
    args = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    djr = str(pathlib.Path(args.djr).resolve())
    with tempfile.TemporaryDirectory() as directory:
        world = World(djr, directory)
        put = lambda name, content: (world.directory / name).write_bytes(content)
        put("t.yaml", TEXT.encode())
        put("i.yaml", IMAGES.encode())
        put("in.jsonl", rows(args.rows))
        put("few.jsonl", rows(20))
        put("in.tar", archive(300))
        subprocess.run(["gzip", "-k", "in.jsonl"], cwd=directory, check=True)
        world.run("convert", "--to", "parquet", "in.jsonl", "-o", "in.parquet")
        # A text, and noise that no operator asks for.
        noise = lambda number: hashlib.shake_256(str(number).encode()).hexdigest(2000)
        lines = [json.dumps({"text": f"a text of row {n}", "noise": noise(n)}) for n in range(6000)]
        put("wide.jsonl", "\n".join(lines).encode())
        world.run("convert", "--to", "parquet", "wide.jsonl", "-o", "wide.parquet")
        for name in ("in.jsonl", "in.jsonl.gz", "in.parquet", "in.tar", "wide.parquet"):
            world.put(f"a/{name}", world.local(name))
        failed = 0
        for check in (reading, columns, naming, changing, writing, killing, planning, refusing):
            try:
                print(f"ok    {check.__name__}: {check(world)}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAILED {check.__name__}: {error!s:.2000}", flush=True)
        sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
