"""`djr.ray.run` on three raylets of this machine: the bytes of one run, whoever dies on the way."""

import contextlib
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from support import ROOT, Scratch, has, needs

import djr

RECIPE = {
    "dataset_path": "rows.jsonl",
    "export_path": "out/clean.jsonl",
    "max_quarantine": "none",
    "process": [
        {"text_length_filter": {"min_len": 8}},
        {"document_deduplicator": {"lowercase": True}},
        {"document_minhash_deduplicator": {"num_permutations": 64}},
        {"average_line_length_filter": {"max_len": "3sigma"}},
    ],
    "outputs": [
        {"format": "llava", "path": "out/train.json", "question": "What is it?", "validate": "none", "paths": "keep"},
        {"format": "jsonl", "path": "out/sample.jsonl", "sample": 500, "seed": 7, "validate": "none"},
    ],
}

#: Runs the recipe on the cluster whose address it is told.
DRIVER = """
import json, sys
import djr
report = djr.ray.run("recipe.yaml", work=sys.argv[2], address=sys.argv[1], task_bytes="40KB", force=True)
print(json.dumps(report.nodes))
"""

ROWS = 12000
KILLS = 10


def results():
    """The digest of each file below `out`; of the manifest, that of what does not depend on time."""
    found = {}
    for path in sorted(Path("out").rglob("*")):
        if path.name == "manifest.json":
            manifest = json.loads(path.read_text())
            told = {key: manifest[key] for key in ("rows", "inputs", "reasons", "plan") if key in manifest}
            found[str(path)] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@needs("ray", "pyarrow")
class OnRay(Scratch):
    def setUp(self):
        super().setUp()
        # Nobody else hears of it, and it may start slowly.
        for name, value in djr.ray._OWN.items():
            os.environ[name] = value
        number = random.Random(3)
        words = ["kite", "boat", "red", "old", "sea", "hill", "two", "small", "wind", "harbour"]
        rows = []
        for n in range(ROWS):
            text = " ".join(number.choice(words) + str(number.randrange(40)) for _ in range(number.randrange(30)))
            rows.append({"id": n, "text": "The one text of many rows." if number.randrange(5) == 0 else text})
        self.write("rows.jsonl", rows)
        Path("recipe.yaml").write_text(json.dumps(RECIPE))
        djr.run("recipe.yaml")
        self.expected = results()
        self.assertGreater(len(self.expected), 4)
        self.clear()

    def clear(self):
        """Takes away what a run left."""
        import shutil

        shutil.rmtree("out", ignore_errors=True)

    def cluster(self, raylets):
        """A cluster of its own on the loopback."""
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        self.addCleanup(cluster.shutdown)
        for _ in range(raylets):
            cluster.add_node(node_ip_address="127.0.0.1", num_cpus=1, include_dashboard=False)
        return cluster

    def driver(self, cluster, work):
        """A process that runs the recipe on the cluster."""
        words = [sys.executable, "-c", DRIVER, cluster.address, work]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def ended(self, driver):
        """The tasks of each node, of a driver that ends well and leaves what one run does."""
        said, errors = driver.communicate(timeout=600)
        self.assertEqual(driver.returncode, 0, errors[-3000:])
        self.assertEqual(results(), self.expected)
        self.clear()
        return json.loads(said.splitlines()[-1])

    def workers(self, cluster):
        """Processes of the cluster that are at a task."""
        nodes = cluster.list_all_nodes()
        raylets = {node.all_processes["raylet"][0].process.pid for node in nodes if "raylet" in node.all_processes}
        busy = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (path / "stat").read_text()
                parent = int(stat.rpartition(")")[2].split()[1])
                if parent in raylets and (path / "cmdline").read_bytes().startswith(b"ray::_do"):
                    busy.append(int(path.name))
        return sorted(busy)

    def done(self, work):
        """How many tasks are done."""
        return len(list(Path(work).glob("t/*.done")))

    def wait(self, until, what):
        """Waits for something that others do."""
        end = time.monotonic() + 600
        while not until():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.01)

    def test_any_of_them_may_die(self):
        cluster = self.cluster(3)
        driver = self.driver(cluster, "undisturbed")
        nodes = self.ended(driver)
        self.assertEqual(len(nodes), 3, nodes)
        tasks = sum(nodes.values())
        self.assertEqual(tasks, self.done("undisturbed"))

        # A worker is killed at ten moments: after so many further tasks, and a moment more.
        seed, killed, runs = random.Random(11), 0, 0
        while killed < KILLS:
            runs += 1
            work = f"killed-{runs}"
            driver = self.driver(cluster, work)
            at = 0
            while killed < KILLS and driver.poll() is None:
                at = max(at, self.done(work)) + seed.randrange(3)
                self.wait(lambda: self.done(work) >= at or driver.poll() is not None, "tasks go on")
                time.sleep(seed.random() / 10)
                busy = self.workers(cluster)
                if busy and driver.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(seed.choice(busy), signal.SIGKILL)
                        killed += 1
            self.ended(driver)
        print(f"{tasks} tasks on {sorted(nodes.values())}; {killed} workers killed in {runs} runs", file=sys.stderr)

        # A node goes, and the driver dies and is started again.
        work = "removed"
        driver = self.driver(cluster, work)
        self.wait(lambda: self.done(work) >= 3 or driver.poll() is not None, "tasks begin")
        cluster.remove_node(sorted(cluster.worker_nodes, key=lambda node: node.unique_id)[0], allow_graceful=False)
        self.wait(lambda: self.done(work) >= 6 or driver.poll() is not None, "tasks go on")
        self.assertIsNone(driver.poll(), "the driver is there to be killed")
        driver.kill()
        driver.wait()
        before = self.done(work)
        nodes = self.ended(self.driver(cluster, work))
        self.assertEqual(len(nodes), 2, nodes)
        self.assertLessEqual(sum(nodes.values()) + before, self.done(work) + 3)
        print(f"with two nodes {nodes} after {before} tasks of a driver that died", file=sys.stderr)

    def test_what_is_wrong_is_said_as_by_a_run(self):
        # A Ray of its own is started for it, and ended behind it.
        import ray

        told = []
        report = djr.ray.run("recipe.yaml", work="w", task_bytes="100KB", progress=told.append)
        self.assertFalse(ray.is_initialized())
        self.assertEqual(results(), self.expected)
        self.assertEqual(report.rows_in, ROWS)
        self.assertIn("tasks are done", told[0])
        again = djr.ray.run("recipe.yaml", work="w", task_bytes="100KB")
        self.assertEqual((again.state, again.nodes), ("up_to_date", {}))
        with self.assertRaises(djr.RecipeError) as caught:
            djr.ray.run({"process": [{"text_length_filtre": {}}]}, work="x", input="rows.jsonl", output="x.jsonl")
        self.assertEqual(caught.exception.problems[0].code, "operator_unknown")
        # A task that fails ends it, with the reason.
        self.clear()
        djr._files._answer(["plan", "recipe.yaml", "--work=changed", "--task-bytes=100KB", "--force"])
        self.write("rows.jsonl", [{"text": "other rows"}])
        with self.assertRaises(djr.RunError) as caught:
            djr.ray.run("recipe.yaml", work="changed", task_bytes="100KB")
        self.assertEqual(caught.exception.problems[0].code, "input_changed")

    def test_the_example_of_the_page_runs(self):
        page = (ROOT / "docs" / "CLUSTER.md").read_text()
        [example] = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(example, "docs/CLUSTER.md", "exec"), {})
        self.assertTrue(said.getvalue().startswith(f"{ROWS} "), said.getvalue())
        self.assertEqual(results(), self.expected)


class WithoutRay(unittest.TestCase):
    @unittest.skipIf(has("ray"), "Ray is installed")
    def test_it_is_said_what_is_lacking(self):
        with self.assertRaisesRegex(ImportError, r"djr\[ray\]"):
            djr.ray.run("recipe.yaml", work="w")


if __name__ == "__main__":
    unittest.main()
