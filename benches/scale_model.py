#!/usr/bin/env python3
"""What 10^9 images and 10^10 documents would cost: core-hours, bytes and rounds on a given cluster,
computed from measured rates. It shows every rate that it uses and where it is from.

    benches/scale_model.py                                # 16 nodes of 64 cores
    benches/scale_model.py --nodes 100 --cores 32 --disk-mb 2000 --network-mb 1200
    benches/scale_model.py --measure                      # the rate of long documents anew, by DJR

Rates of kernels and operators are read from benches/RESULTS.md; the others are said below and by
options. What is computed is processor time that cannot be avoided, and what disks and network must
carry; stragglers, retries and what a scheduler costs are not in it.
"""
import argparse
import json
import math
import os
import pathlib
import random
import re
import resource
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "RESULTS.md"
HOUR = 3600.0
#: Bytes of a record of an exchange: a key of 8 bytes and the number of a row.
RECORD = 16
#: Bands of a minhash deduplicator by default (256 permutations, threshold 0.7).
BANDS = 25
#: Words of a shingle by default.
WINDOW = 5
#: Words of the captions that the kernels are measured on.
CAPTION_WORDS = 8.8
#: Bytes of a word with its blank, in English.
WORD_BYTES = 6.0
#: Forests that are merged at a time.
MERGED = 8
#: Bytes of a vertex of an edge in memory.
VERTEX = 16


class Rates:
    """Rates by their names, each with its unit and its source."""

    def __init__(self):
        self.text = RESULTS.read_text(encoding="utf-8")
        self.used = {}

    def of_table(self, name, unit="µs a row"):
        """What RESULTS.md has for a kernel or an operator."""
        found = re.search(rf"\| `?{re.escape(name)}`? \| ([\d.,]+) \|", self.text)
        if not found:
            raise SystemExit(f"benches/RESULTS.md has no rate called {name}")
        return self.said(name, float(found[1].replace(",", "")), unit, "measured: RESULTS.md")

    def of_sentence(self, name, pattern, unit):
        """What a sentence of RESULTS.md says."""
        found = re.search(pattern, self.text)
        if not found:
            raise SystemExit(f"benches/RESULTS.md does not say {name}: {pattern}")
        return self.said(name, float(found[1].replace(",", "")), unit, "measured: RESULTS.md")

    def said(self, name, value, unit, source):
        """A rate from elsewhere."""
        self.used[name] = (value, unit, source)
        return value


class Bill:
    """What the parts of a job cost."""

    def __init__(self, title, cluster):
        self.title = title
        self.cluster = cluster
        self.parts = []
        self.alone = set()
        self.rounds = 1

    def add_alone(self, name, seconds):
        """A part that one process does, however many nodes there are."""
        self.alone.add(name)
        self.add(name, seconds)

    def add(self, name, seconds, read=0.0, written=0.0, moved=0.0):
        """A part: processor seconds, and bytes from disks, to disks, and between nodes."""
        self.parts.append((name, seconds, read, written, moved))

    def totals(self):
        """The sums of all parts."""
        return [sum(part[at] for part in self.parts) for at in range(1, 5)]

    def hours(self, part):
        """How long a part takes on the cluster: what is slowest of processors, disks and network."""
        name, seconds, read, written, moved = part
        cluster = self.cluster
        cores = seconds if name in self.alone else seconds / (cluster.nodes * cluster.cores)
        disk = (read + written) / (cluster.nodes * cluster.disk_mb * 1e6)
        network = moved / (cluster.nodes * cluster.network_mb * 1e6)
        return max(cores, disk, network) / HOUR

    def show(self):
        """As a table."""
        lines = [
            f"### {self.title}",
            "",
            "| part | core-hours | read TB | written TB | between nodes TB | hours on the cluster |",
            "|---|---|---|---|---|---|",
        ]

        def line(name, numbers, hours):
            seconds, *many = numbers
            cells = [f"{seconds / HOUR:,.1f}", *(f"{number / 1e12:,.2f}" for number in many), f"{hours:,.2f}"]
            return f"| {name} | {' | '.join(cells)} |"

        lines += [line(part[0], part[1:], self.hours(part)) for part in self.parts]
        lines.append(line("**together**", self.totals(), sum(map(self.hours, self.parts))))
        lines += ["", f"Rounds over the rows or what is left of them: {self.rounds}."]
        return "\n".join(lines)


def partitions(nbytes, cluster):
    """How many parts so many bytes of records are cut into, so that one fits a quarter of a core's
    memory."""
    share = cluster.memory_gb * 1e9 / cluster.cores / 4
    return max(1, math.ceil(nbytes / share))


def exchange(bill, rates, name, records, cluster):
    """Records are written, go to the node that has their partition, and are sorted there."""
    nbytes = records * RECORD
    sort = rates.said("sort", cluster.sort_millions * 1e6, "records of 16 bytes a second and core", "measured apart; --sort-millions")
    away = nbytes * (cluster.nodes - 1) / cluster.nodes
    bill.add(f"{name}: {records:.3g} records in {partitions(nbytes, cluster):,} partitions",
             records / sort, read=nbytes, written=nbytes, moved=away)


def components(bill, rates, vertices, cluster):
    """Clusters of rows from edges: merged forests while they fit a node, else rounds over all edges."""
    need = vertices * VERTEX
    fits = need <= cluster.memory_gb * 1e9
    nodes = max(cluster.nodes, 2)
    rounds = math.ceil(math.log(nodes, MERGED)) if fits else 2 * math.ceil(math.log2(cluster.longest_chain))
    way = "forests merged 8 at a time" if fits else "large and small stars in turn"
    edges = vertices * RECORD
    seconds = rounds * vertices / rates.said("sort", cluster.sort_millions * 1e6,
        "records of 16 bytes a second and core", "measured apart; --sort-millions")
    bill.add(f"clusters of {vertices:.3g} rows: {way}, {rounds} rounds", seconds,
             read=rounds * edges, written=rounds * edges, moved=rounds * edges)
    bill.rounds += rounds


def in_order(bill, rates, rows):
    """What is done of all rows in their order: by what decides, once, and by what finishes."""
    decide = rates.of_sentence("decide", r"what decides took ([\d.]+) µs", "µs of the clock a row")
    finish = rates.of_sentence("finish", r"and what finishes ([\d.]+) µs", "µs of the clock a row")
    bill.add_alone("decided and finished, by one process each", rows * (decide + finish) / 1e6)


def images(rates, cluster):
    """Pairs of a picture and a caption: texts, headers, validation, near pictures, near texts."""
    rows = cluster.images
    bill = Bill(f"{rows:.0e} images with captions".replace("e+0", "e").replace("e+", "e"), cluster)
    text = rates.of_sentence("8 text operators, whole program",
                             r"whole program takes ([\d.]+) µs of CPU a row", "µs of CPU a row")
    header = rates.of_table("image_shape_filter")
    phash = rates.of_table("image_deduplicator")
    caption = sum(rates.of_table(name) for name in
                  ["row/parse", "hash/shingles", "hash/sha1 of shingles", "hash/minhash signature", "hash/25 band keys"])
    rows_bytes = rates.said("a row", cluster.row_bytes, "bytes", "--row-bytes")
    picture = rates.said("a picture", cluster.picture_bytes, "bytes", "--picture-bytes")
    bill.add("texts: read, 8 operators", rows * text / 1e6, read=rows * rows_bytes)
    bill.add("headers of pictures", rows * header / 1e6)
    bill.add("pictures decoded once: validation and perceptual hash", rows * phash / 1e6, read=rows * picture)
    exchange(bill, rates, "pictures: four blocks of 16 bits each", rows * 4, cluster)
    pairs = rows * 4 * (rows / 2**16) / 2
    compare = rates.said("comparison of two hashes", cluster.compare_ns, "ns", "estimated; --compare-ns")
    bill.add(f"pictures at most 3 bits apart: {pairs:.2g} comparisons", pairs * compare / 1e9)
    bill.add("minhash of captions", rows * caption / 1e6)
    exchange(bill, rates, "captions: 25 bands", rows * BANDS, cluster)
    components(bill, rates, rows * cluster.near_share, cluster)
    bill.add("rows that stay: written", 0.0, read=rows * rows_bytes, written=rows * rows_bytes)
    in_order(bill, rates, rows)
    bill.rounds += 2
    return bill


def documents(rates, cluster):
    """Documents: texts, near duplicates."""
    rows = cluster.documents
    kilobytes = cluster.document_kb
    bill = Bill(f"{rows:.0e} documents of {kilobytes:g} KB".replace("e+", "e"), cluster)
    measured = cluster.minhash_us_kb
    if measured is None:
        kernels = ["hash/shingles", "hash/sha1 of shingles", "hash/minhash signature"]
        caption = sum(rates.of_table(name) for name in kernels)
        each = caption / (CAPTION_WORDS - WINDOW + 1)
        shingles = kilobytes * 1000 / WORD_BYTES - WINDOW + 1
        rates.said("minhash, a shingle", each, "µs", "computed of captions; an upper bound: --measure")
        signature = shingles * each
    else:
        source = "measured now" if cluster.measure else "--minhash-us-kb"
        signature = rates.said("minhash, whole program", measured, "µs of CPU a KB of text", source) * kilobytes
    nbytes = rows * kilobytes * 1000
    bill.add("minhash of all texts", rows * signature / 1e6, read=nbytes)
    exchange(bill, rates, "25 bands", rows * BANDS, cluster)
    components(bill, rates, rows * cluster.near_share, cluster)
    kept = 1 - cluster.near_share / 2
    bill.add("documents that stay: written", 0.0, read=nbytes, written=nbytes * kept)
    in_order(bill, rates, rows)
    bill.rounds += 2
    return bill


def measure(kilobytes, rows=2000):
    """µs of CPU that `djr run` takes for a KB of long texts with minhash alone."""
    program = os.environ.get("DJR", str(ROOT / "target/release/djr"))
    draw = random.Random(7)
    words = [f"{''.join(draw.choices('etaoinshrdlu', k=draw.randint(2, 8)))}" for _ in range(5000)]
    with tempfile.TemporaryDirectory() as place:
        data = pathlib.Path(place, "data.jsonl")
        count = int(kilobytes * 1000 / WORD_BYTES)
        with data.open("w", encoding="utf-8") as file:
            for _ in range(rows):
                file.write(json.dumps({"text": " ".join(draw.choices(words, k=count))}) + "\n")
        recipe = pathlib.Path(place, "recipe.yaml")
        recipe.write_text("process: [document_minhash_deduplicator: {}]", encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = [program, "run", recipe, "--input", data, "--output", pathlib.Path(place, "out.jsonl"), "--quiet"]
        subprocess.run(run, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return seconds * 1e6 / (data.stat().st_size / 1000)


def arguments(words=None):
    """The cluster, and what the data are like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, what in [
        ("nodes", 16, "nodes"),
        ("cores", 64, "cores of a node, each as fast as the machine of RESULTS.md"),
        ("memory-gb", 256.0, "memory of a node"),
        ("disk-mb", 1000.0, "megabytes a second that a node's disk reads or writes"),
        ("network-mb", 1200.0, "megabytes a second that a node sends"),
        ("images", 1e9, "images"),
        ("documents", 1e10, "documents"),
        ("document-kb", 5.0, "kilobytes of a document"),
        ("row-bytes", 300.0, "bytes of a row with a caption"),
        ("picture-bytes", 44_000.0, "bytes of a picture, as of the corpus of RESULTS.md"),
        ("near-share", 0.3, "rows that are near another one"),
        ("sort-millions", 14.0, "millions of records of 16 bytes that a core sorts in a second"),
        ("compare-ns", 0.25, "nanoseconds for a comparison of two hashes"),
        ("longest-chain", 32.0, "rows from one end of a cluster to the other"),
        ("minhash-us-kb", None, "µs of CPU a KB of long texts"),
    ]:
        kind = int if isinstance(default, int) else float
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{what} [default: {default}]")
    parser.add_argument("--measure", action="store_true", help="measure --minhash-us-kb now, by the program DJR")
    cluster = parser.parse_args(words)
    if min(cluster.nodes, cluster.cores) < 1:
        parser.error("a cluster has a node with a core at least")
    return cluster


def model(cluster):
    """Both bills and the rates that they use."""
    if cluster.measure:
        cluster.minhash_us_kb = measure(cluster.document_kb)
    rates = Rates()
    return [images(rates, cluster), documents(rates, cluster)], rates


def main():
    cluster = arguments()
    bills, rates = model(cluster)
    print(f"{cluster.nodes} nodes of {cluster.cores} cores, {cluster.memory_gb:g} GB, "
          f"disks of {cluster.disk_mb:g} MB/s, network of {cluster.network_mb:g} MB/s each.\n")
    for bill in bills:
        print(bill.show(), end="\n\n")
    print("### Rates\n\n| rate | value | unit | source |\n|---|---|---|---|")
    for name, (value, unit, source) in rates.used.items():
        print(f"| {name} | {value:,.4g} | {unit} | {source} |")


if __name__ == "__main__":
    main()
