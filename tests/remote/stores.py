#!/usr/bin/env python3
"""Reads from and writes to stores on this machine: servers that packages bring.

    pip install 'moto[server]'                      # S3, and what Google's store has in common with it
    pip install azure-storage-blob; npm install azurite   # Azure's
    cargo build --features remote
    tests/remote/stores.py [s3] [az] [gs] [--djr target/debug/djr] [--rows 60000]
                           [--azurite node_modules/.bin/azurite-blob]

The Python that runs this has the packages; nothing but this machine is talked to. Between djr and the
server stands a proxy of this script, which lets some answers break off in the middle, swaps an object
while it is read, and notes who asks for what. There is no server of Google's protocol to be had that
knows of conditions: moto's S3 server stands behind a proxy that gives the conditions and versions of
requests and answers the names that Google gives them.

What is shown, each against the same rows from local files: lines, packed lines, tables and archives
are read by ranges, from keys, folders and patterns; answers that break off are asked for again; an
object that changes under the run ends it and leaves nothing; an output is seen only when it is whole
(also one of many parts), a run that was killed goes on and ends with the same bytes; digests of what
was uploaded are those of the manifest; who has no right is told so. A plan of tasks that is there, with
its input, with and without partitions, is done from two scratch directories by processes that are killed
and race, and finished from a third, with the bytes of one run.
"""

import argparse
import contextlib
import hashlib
import http.client
import http.server
import importlib.util
import io
import json
import logging
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

BUCKET = "rows"


class S3:
    """moto's server."""

    scheme = "s3"

    def __init__(self, args):
        import boto3
        from botocore.config import Config
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self.port = server.get_host_and_port()[1]
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="who",
            aws_secret_access_key="asks",
            config=Config(retries={"max_attempts": 1}),
        )
        self.client.create_bucket(Bucket=BUCKET)

    def env(self, proxy):
        return {
            "AWS_ENDPOINT": proxy,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": "asks",
        }

    def asked(self, headers):
        """What the server hears of a request."""
        return headers

    def answered(self, headers):
        """What the client hears of an answer."""
        return headers

    def put(self, name, content):
        self.client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def get(self, name):
        return self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def remove(self, name):
        self.client.delete_object(Bucket=BUCKET, Key=name)

    def names(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(object["Key"] for page in pages for object in page.get("Contents", []))

    def begun(self):
        """Uploads that were begun and neither finished nor given up."""
        return self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])

    def give_up(self):
        for upload in self.begun():
            self.client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])


class Google(S3):
    """moto's server behind Google's names: a generation for each version of an object."""

    scheme = "gs"

    def env(self, proxy):
        # As emulators are named; nobody is asked for a token.
        account = {"gcs_base_url": proxy, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account), "GOOGLE_ALLOW_HTTP": "true"}

    def asked(self, headers):
        headers = {name.lower(): value for name, value in headers.items()}
        if headers.pop("x-goog-if-generation-match", None) == "0":
            headers["if-none-match"] = "*"
        # Who asks without a name is refused there; nobody looks at the signature.
        credential = "AWS4-HMAC-SHA256 Credential=who/20200101/us-east-1/s3/aws4_request"
        headers["authorization"] = f"{credential}, SignedHeaders=host, Signature=none"
        return headers

    def answered(self, headers):
        tag = next((value for name, value in headers if name.lower() == "etag"), None)
        digits = re.sub("[^0-9a-f]", "", tag or "")[:12]
        return headers + ([("x-goog-generation", str(int(digits, 16)))] if digits else [])


class Azure:
    """Azurite."""

    scheme = "az"

    def __init__(self, args):
        from azure.storage.blob import ContainerClient

        command = [args.azurite, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", "0"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.server.stdout:
            if found := re.search(r"listens on http://127.0.0.1:(\d+)", line):
                self.port = int(found[1])
                break
        threading.Thread(target=self.server.stdout.read, daemon=True).start()
        # The account that everybody knows.
        self.client = ContainerClient.from_connection_string(
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/devstoreaccount1;",
            BUCKET,
        )
        self.client.create_container()

    def env(self, proxy):
        return {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": proxy, "AZURE_ALLOW_HTTP": "true"}

    def asked(self, headers):
        return headers

    def answered(self, headers):
        return headers

    def put(self, name, content):
        self.client.upload_blob(name, content, overwrite=True)

    def get(self, name):
        return self.client.download_blob(name).readall()

    def remove(self, name):
        self.client.delete_blob(name)

    def names(self, prefix):
        return sorted(blob.name for blob in self.client.list_blobs(name_starts_with=prefix))

    def begun(self):
        """Objects that have blocks, and were never whole: Azure forgets them after a week."""
        return []

    def give_up(self):
        pass


STORES = {"s3": S3, "az": Azure, "gs": Google}


class Proxy(http.server.ThreadingHTTPServer):
    """Hands requests on, and is a nuisance where it is told to be."""

    daemon_threads = True

    def __init__(self, store):
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = store
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
        headers = server.store.asked(dict(self.headers.items()))
        first = any(name.lower() == "if-none-match" for name in headers)
        with server.once if first else contextlib.nullcontext():
            upstream = http.client.HTTPConnection("127.0.0.1", server.store.port, timeout=60)
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in server.store.answered(answer.getheaders()):
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

    def __init__(self, djr, directory, store):
        self.djr = djr
        self.directory = pathlib.Path(directory)
        self.store = store
        self.proxy = Proxy(store)
        proxy = f"http://127.0.0.1:{self.proxy.server_port}"
        self.env = dict(os.environ, **store.env(proxy), NO_PROXY="127.0.0.1")
        self.put, self.get = store.put, store.get

    def url(self, name, bucket=BUCKET):
        return f"{self.store.scheme}://{bucket}/{name}"

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

    def names(self, prefix=""):
        return self.store.names(prefix)

    def local(self, name):
        return (self.directory / name).read_bytes()


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
                url = world.url(f"a/{name}")
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
    world.run("run", "only.yaml", "--input", world.url("a/wide.parquet"), "-o", "c.jsonl", "--force")
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

    both = ["f/1.jsonl", "f/sub/2.jsonl"]
    for url, expected in (
        ("f/", both),
        ("f", both),
        ("f/**/*.jsonl", both),
        ("f/*.jsonl", both[:1]),
        ("f/{1,sub/2}.jsonl", both),
    ):
        found = texts(world.url(url))
        assert found == expected, (url, found)
    for url, says in ((world.url("none.jsonl"), "not found"), (world.url("f/*.csv"), "no object matches"), (world.url("x.jsonl", "nobucket"), "")):
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
        url = world.url("c/in.jsonl")
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
        url = world.url(f"out/{name}")
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
    recipe = TEXT + f"outputs: [{{path: '{world.url('shards/part-{shard:03}.jsonl')}', shard_size: 2MB}}]\n"
    (world.directory / "s.yaml").write_text(recipe)
    world.run("run", "s.yaml", "--input", "in.jsonl")
    shards = world.names("shards/")
    assert len(shards) > 2 and b"".join(map(world.get, shards)) == world.local("w-large.jsonl"), shards
    ran = world.run("subset", "--n", "5", "in.jsonl", "-o", world.url("out/five.jsonl"))
    assert len(world.get("out/five.jsonl").splitlines()) == 5, ran.stderr
    # What was altered since is noticed.
    world.put("out/small.jsonl", b"{}\n")
    world.run("verify", world.url("out/small.jsonl"), code=1)
    left = [path.name for path in world.directory.iterdir() if "djr-part" in path.name or "djr-lock" in path.name]
    assert not left and not world.store.begun(), left
    return "objects of one part and of many, shards, tables and archives: the bytes of local outputs"


def killing(world):
    """Killed while it uploads: nobody sees a half, and the run goes on."""
    url = world.url("k/out.jsonl")
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
    source = world.url("a/in.jsonl")
    draw = random.Random(5)
    told = []
    for size, partitions in (("2MB", None), ("12MB", None), ("4MB", 3)):
        work = world.url(f"work-{size}")
        out = world.url(f"out/p-{size}.jsonl")
        world.proxy.calm()
        world.run("run", "p.yaml", "--input", source, "-o", out, "--force")
        record = world.directory / f"p-{size}.jsonl.djr"
        expected = world.get(f"out/p-{size}.jsonl"), (record / "ledger.jsonl.zst").read_bytes()
        world.store.remove(f"out/p-{size}.jsonl")
        shutil.rmtree(record)
        world.on("m1", "plan", "p.yaml", "--input", source, "-o", out, "--work", work, "--task-bytes", size, *(["--partitions", str(partitions)] if partitions else []))
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
        parts = sum(1 for it in seen if it[0] == "PUT" and re.search("partNumber|comp=block&", it[1]))
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
        unfinished = len(world.store.begun())
        world.store.give_up()
        told.append(
            f"{tasks} tasks of {size}{f' and {partitions} partitions' if partitions else ''}, {killed} kills, {races} races, {parts} parts of uploads, "
            f"{left - len(names)} objects of attempts that did not count removed, {unfinished} uploads left begun"
        )
    world.proxy.calm()
    return "; ".join(told) + ": the bytes of one run"


RAY = """
import sys, djr
recipe, source, out, work = sys.argv[1:]
report = djr.ray.run(recipe, input=source, output=out, work=work, task_bytes="1MB", partitions=2, force=True)
print(report.rows_in, sum(report.nodes.values()))
"""


def raying(world):
    """Ray does the tasks of a plan in the store, if this Python has Ray and a wheel that knows stores."""
    if not all(importlib.util.find_spec(name) for name in ("ray", "djr")):
        return "not tried: this Python has no Ray, or no djr"
    source, out = world.url("a/in.jsonl"), world.url("out/ray.jsonl")
    world.run("run", "p.yaml", "--input", source, "-o", out, "--force")
    ledger = world.directory / "ray.jsonl.djr" / "ledger.jsonl.zst"
    expected = world.get("out/ray.jsonl"), ledger.read_bytes()
    world.store.remove("out/ray.jsonl")
    shutil.rmtree(ledger.parent)
    command = [sys.executable, "-c", RAY, "p.yaml", source, out, world.url("work-ray")]
    ran = subprocess.run(command, cwd=world.directory, env=world.env, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    assert (world.get("out/ray.jsonl"), ledger.read_bytes()) == expected
    rows, tasks = ran.stdout.split()
    return f"{rows} rows in {tasks} tasks of Ray: the bytes of one run"


def refusing(world):
    """What cannot be."""
    for args, says in (
        (["run", "t.yaml", "--input", "few.jsonl", "-o", world.url("o.jsonl", "nobucket")], None),
        (["run", "t.yaml", "--input", "few.jsonl", "-o", world.url("o.csv")], "csv"),
        (["convert", "--to", "llava", "few.jsonl", "-o", world.url("o.json"), "--paths", "relative"], "no path of an image starts"),
        (["run", "t.yaml", "--input", world.url("f/1.jsonl"), "-o", world.url("f/1.jsonl")], "is an input"),
    ):
        ran = world.run(*args, code=2 if says else 3)
        assert says is None or says in ran.stderr, ran.stderr
        shutil.rmtree(world.directory / "o.jsonl.djr", ignore_errors=True)
    return "outputs over inputs, into no bucket, of no format: refused by name"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", choices=[*STORES, []], help="all of them, unless some are named")
    parser.add_argument("--djr", default="target/debug/djr")
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--azurite", default="node_modules/.bin/azurite-blob")
    args = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    failed = 0
    for name in args.stores or STORES:
        try:
            store = STORES[name](args)
        except (ImportError, FileNotFoundError) as error:
            print(f"{name}: skipped: {error}")
            continue
        print(f"== {name}", flush=True)
        try:
            failed += all_of(store, args)
        finally:
            if name == "az":
                store.server.kill()
    sys.exit(1 if failed else 0)


def all_of(store, args):
    """Goes through one store; says how much failed."""
    djr = str(pathlib.Path(args.djr).resolve())
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        world = World(djr, directory, store)
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
        for check in (reading, columns, naming, changing, writing, killing, planning, raying, refusing):
            try:
                print(f"ok    {check.__name__}: {check(world)}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAILED {check.__name__}: {error!s:.2000}", flush=True)
    return failed


if __name__ == "__main__":
    main()
