"""Commands over files, and the program in process."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import unittest
from pathlib import Path

import djr
from support import ROOT, Scratch

TEXTS = ["a red kite", "hm", "two boats", "a red kite", "three  green frogs"]
ROWS = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
STEPS = [{"text_length_filter": {"min_len": 5}}, {"document_deduplicator": {}}]
PROGRAM = os.path.join(sysconfig.get_path("scripts"), "djr")


class Runs(Scratch):
    def setUp(self):
        super().setUp()
        self.write("data.jsonl", ROWS)
        Path("recipe.yaml").write_text(json.dumps({"process": STEPS}))

    def test_a_recipe_is_a_path_text_or_a_dict(self):
        outputs = []
        for number, recipe in enumerate(
            [
                "recipe.yaml",
                Path("recipe.yaml"),
                Path("recipe.yaml").read_text(),
                {"process": STEPS},
                "process:\n- text_length_filter:\n    min_len: 5\n- document_deduplicator:\n",
                {"process": [{"text_length_filter": {"min_len": 5, "max_len": float("inf")}}, STEPS[1]]},
            ]
        ):
            output = f"out-{number}.jsonl"
            report = djr.run(recipe, input="data.jsonl", output=output)
            self.assertEqual((report.rows_in, report.rows_out, report.dropped), (5, 3, 2))
            outputs.append(Path(output).read_bytes())
        self.assertEqual(len(set(outputs)), 1)
        with self.assertRaises(TypeError):
            djr.run(3, input="data.jsonl", output="x.jsonl")

    def test_a_report_tells_what_the_manifest_tells(self):
        self.write("broken.jsonl", [*ROWS, {"text": 3}])
        report = djr.run(
            "recipe.yaml", input=["broken.jsonl"], output="out.jsonl", max_quarantine="none", threads=2
        )
        self.assertEqual((report.exit, report.quarantined), (1, 1))
        self.assertEqual([step["op"] for step in report.by_step], [*STEPS[0], *STEPS[1]])
        self.assertEqual([step["dropped"] for step in report.by_step], [1, 1])
        self.assertEqual(report.reasons[0]["code"], "wrong_type")
        self.assertEqual(report.manifest["rows"]["out"], report.rows_out)
        self.assertIn("wrong_type", Path(report.quarantine).read_text())
        self.assertIn("rows out", str(report))
        self.assertIn("text_length_filter", report._repr_html_())
        self.assertEqual(report.manifest["command"][:2], ["djr", "run"])

    def test_keys_are_set(self):
        report = djr.run(
            {"process": STEPS},
            input="data.jsonl",
            output="out.jsonl",
            set={"text_length_filter.min_len": 10, "np": 1},
        )
        self.assertEqual(report.rows_out, 2)

    def test_all_problems_come_at_once_with_their_places(self):
        text = "process:\n  - text_length_filtre: {}\n  - words_num_filter: {min_nam: 3}\n"
        with self.assertRaises(djr.RecipeError) as caught:
            djr.run(text, input="data.jsonl", output="out.jsonl")
        problems = caught.exception.problems
        self.assertEqual([(it.line, it.column) for it in problems], [(2, 5), (3, 24)])
        self.assertEqual(problems[0].code, "operator_unknown")
        self.assertIn("text_length_filter", problems[0].hint)
        self.assertIn("2:5", str(caught.exception))
        self.assertEqual(djr.check(text, input="data.jsonl"), problems)
        self.assertEqual(djr.check("recipe.yaml", input="data.jsonl"), [])
        copy = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual(copy.problems, problems)

    def test_wrong_options_are_problems_too(self):
        for options in [{"no_such": 1}, {"threads": "many"}, {"input": "nothing.jsonl"}]:
            options = {"input": "data.jsonl", "output": "out.jsonl", **options}
            with self.assertRaises(djr.RecipeError, msg=str(options)) as caught:
                djr.run("recipe.yaml", **options)
            self.assertTrue(caught.exception.problems, options)
        with self.assertRaises(djr.RecipeError) as caught:
            djr.run("nowhere.yaml", input="data.jsonl", output="out.jsonl")
        self.assertEqual(caught.exception.problems[0].code, "recipe_unreadable")
        self.assertFalse(Path("out.jsonl").exists())

    def test_a_failure_is_a_run_error(self):
        self.write("bad.jsonl", [{"text": number} for number in range(2000)])
        with self.assertRaises(djr.RunError) as caught:
            djr.run({"process": STEPS, "max_quarantine": 3}, input="bad.jsonl", output="out.jsonl")
        self.assertEqual(caught.exception.problems[0].code, "too_many_bad")

    def test_the_other_commands(self):
        self.assertEqual(djr.subset("data.jsonl", "few.jsonl", n=2).rows_out, 2)
        self.assertEqual(len(self.rows("few.jsonl")), 2)
        converted = djr.convert("few.jsonl", "few.json", to="json")
        self.assertEqual(converted.rows_out, 2)
        look = djr.analyze(["data.jsonl"], "look", recipe="recipe.yaml", suggest="new.yaml")
        self.assertEqual(look.rows, 5)
        self.assertEqual(look.stats[0]["name"], "text_len")
        self.assertEqual(look.analysis["rows"]["in"], 5)
        self.assertTrue(Path("new.yaml").exists())
        names = [op.name for op in djr.ops()]
        self.assertIn("text_length_filter", names)
        [op] = djr.ops("text_length_filter")
        self.assertEqual((op.family, op.defaults["min_len"]), ("filter", 10))
        with self.assertRaises(djr.RecipeError):
            djr.ops("text_length_filtre")
        self.assertIn("process", djr.schema()["properties"])
        with self.assertRaises(ValueError):
            djr.schema("nothing")

    def test_ctrl_c_makes_a_checkpoint(self):
        rows = [{"text": f"row {number} has a text"} for number in range(20_000)]
        self.write("many.jsonl", rows)
        recipe = {"process": STEPS}
        named = {"input": "many.jsonl", "output": "out.jsonl"}
        seen = []

        def show(line):
            if not seen:
                # A signal as Ctrl-C sends it, while the run goes on.
                threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
            seen.append(line)

        # What a shell starts in the background ignores the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with self.assertRaises(KeyboardInterrupt):
            djr.run(recipe, progress=show, checkpoint_every=0, batch_rows=1, **named)
        self.assertFalse(Path("out.jsonl").exists())
        self.assertTrue(Path("out.jsonl.djr/checkpoint/state.json").exists())
        with self.assertRaises(djr.RecipeError) as caught:
            djr.run(recipe, **named)
        self.assertIn("resume", caught.exception.problems[0].hint)
        self.assertEqual(djr.run(recipe, resume=True, **named).rows_in, 20_000)
        self.assertEqual(self.rows("out.jsonl"), rows)

    def test_ctrl_c_does_not_wait_for_what_waits_for_a_program(self):
        self.write("many.jsonl", [{"text": f"row {number}"} for number in range(4000)])
        slow = "import sys, time\nfor line in sys.stdin:\n time.sleep(0.05)\n print('true', flush=True)\n"
        recipe = {"process": [{"command_filter": {"command": [sys.executable, "-c", slow]}}]}
        served = []

        def show(line):
            served.append(line)
            raise ZeroDivisionError(line)

        # What a listener raises ends the run, too.
        with self.assertRaises(ZeroDivisionError):
            djr.run(recipe, input="many.jsonl", output="out.jsonl", progress=show)
        self.assertEqual(len(served), 1)
        self.assertFalse(Path("out.jsonl").exists())
        self.assertTrue(Path("out.jsonl.djr/checkpoint/state.json").exists())


class Program(Scratch):
    def run_program(self, *words, **named):
        named = {"capture_output": True, **named}
        return subprocess.run([PROGRAM, *words], check=False, **named)

    def test_it_is_the_command_line(self):
        version = self.run_program("--version")
        self.assertEqual((version.returncode, version.stdout), (0, b"djr " + djr.__version__.encode() + b"\n"))
        self.assertEqual(self.run_program("rnu").returncode, 2)
        module = subprocess.run([sys.executable, "-m", "djr", "ops"], capture_output=True, check=True)
        self.assertEqual(module.stdout, self.run_program("ops").stdout)

    def test_a_pipe_that_is_closed_early_is_no_error(self):
        shell = subprocess.run(
            ["sh", "-c", f'"{PROGRAM}" ops | head -n 1; "{PROGRAM}" schema | true'],
            capture_output=True,
            check=True,
        )
        self.assertEqual((len(shell.stdout.splitlines()), shell.stderr), (1, b""))

    def test_the_demo_gives_the_same_bytes_as_the_binary(self):
        binary = os.environ.get("DJR_BINARY")
        if not binary:
            self.skipTest("DJR_BINARY names no binary to compare with")
        (self.dir / "fixtures").symlink_to(ROOT / "fixtures")
        found = {}
        for program in [PROGRAM, binary]:
            done = subprocess.run(
                [program, "run", "fixtures/demo.yaml"], capture_output=True, check=False, text=True
            )
            self.assertEqual(done.returncode, 1, done.stderr)
            files = {path.name: path.read_bytes() for path in Path("out/demo").iterdir() if path.is_file()}
            ledger = Path("out/demo/clean.jsonl.djr/ledger.jsonl.zst").read_bytes()
            table = re.sub(r",? +[\d.]+ s cpu|^time .*$", "", done.stderr, flags=re.MULTILINE)
            found[program] = (files, ledger, table)
        self.assertEqual(found[PROGRAM], found[binary])
        self.assertGreater(len(found[binary][0]), 3)

    def test_ctrl_c_is_130(self):
        self.write("rows.jsonl", [{"text": f"row {number}"} for number in range(20_000)])
        running = subprocess.Popen(
            [PROGRAM, "run", "-", "--input=rows.jsonl", "--output=out.jsonl"]
            + ["--checkpoint-every=0", "--batch-rows=1"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.stdin.write(json.dumps({"process": STEPS}).encode())
        running.stdin.close()
        while not Path("out.jsonl.djr/checkpoint/state.json").exists() and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        said = running.stderr.read().decode()
        self.assertEqual(running.wait(), 130, said)
        self.assertNotIn("Traceback", said)
        running.stderr.close()


class Module(unittest.TestCase):
    def test_importing_it_takes_little(self):
        code = "import sys; before = set(sys.modules); import djr; print(*set(sys.modules) - before)"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
        heavy = {"json", "re", "inspect", "typing", "dataclasses", "pyarrow", "numpy", "subprocess"}
        self.assertEqual(heavy & set(found.stdout.split()), set())

    def test_everything_has_a_docstring_and_a_type(self):
        import ast
        import inspect

        typed = {}
        stubs = Path(djr.__file__).with_name("__init__.pyi").read_text()
        for node in ast.parse(stubs).body:
            if isinstance(node, ast.FunctionDef):
                args = node.args
                names = [arg.arg for arg in [*args.args, *args.kwonlyargs]]
                typed[node.name] = names + ([args.kwarg.arg] if args.kwarg else [])
            elif isinstance(node, ast.ClassDef):
                members = [it.name for it in node.body if isinstance(it, ast.FunctionDef)]
                typed[node.name] = {name for name in members if not name.startswith("_")}
        for name in djr.__all__:
            if name == "__version__":
                continue
            thing = getattr(djr, name)
            self.assertTrue(inspect.getdoc(thing), name)
            if inspect.ismodule(thing):
                self.assertTrue(Path(thing.__file__).with_suffix(".pyi").exists(), name)
                continue
            self.assertIn(name, typed)
            if inspect.isfunction(thing):
                self.assertEqual(list(inspect.signature(thing).parameters), typed[name], name)
            else:
                own = {it for it, value in vars(thing).items() if callable(value) or isinstance(value, property)}
                self.assertEqual({it for it in own if not it.startswith("_")}, typed[name], name)
        self.assertTrue(Path(djr.__file__).with_name("py.typed").exists())


if __name__ == "__main__":
    unittest.main()
