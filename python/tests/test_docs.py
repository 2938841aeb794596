"""The examples of docs/PYTHON.md, one behind the other, as a reader would run them."""

import contextlib
import io
import json
import os
import re
import unittest
from pathlib import Path

from support import ROOT, Scratch, has

#: What examples may need that is not installed everywhere.
OPTIONAL = ["datasets", "duckdb", "matplotlib", "pandas", "polars", "pyarrow", "ray"]


class Examples(Scratch):
    def test_every_example_runs(self):
        os.environ["MPLBACKEND"] = "agg"
        texts = [f"{n} red kites {'fly ' * (n % 7)}" for n in range(40)]
        rows = [{"id": n, "text": text} for n, text in enumerate([*texts, *texts[:5], "hm"])]
        self.write("data.jsonl", rows)
        self.write("more.jsonl", rows[:7])
        steps = [{"text_length_filter": {"min_len": 5}}, {"document_deduplicator": {}}]
        Path("recipe.yaml").write_text(json.dumps({"process": steps}))
        page = (ROOT / "docs" / "PYTHON.md").read_text()
        examples = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        self.assertGreater(len(examples), 8)
        known, skipped = {}, []
        for example in examples:
            code = re.sub(r"#.*", "", example)
            uses = [package for package in OPTIONAL if re.search(rf"\b{package}\b|to_{package}", code)]
            if re.search(r"djr\.(filter|Stage)\(", code):
                uses.append("pyarrow")
            if not has(*uses):
                skipped.append(" ".join(uses))
                continue
            line = page[: page.index(example)].count("\n")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("\n" * line + example, "docs/PYTHON.md", "exec"), known)
        if has(*OPTIONAL):
            self.assertGreater(Path("text_len.png").stat().st_size, 1000)
        if skipped:
            self.skipTest(f"{len(skipped)} of {len(examples)} examples: {', '.join(skipped)} not installed")


if __name__ == "__main__":
    unittest.main()
