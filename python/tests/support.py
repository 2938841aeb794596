"""What the tests share."""

import importlib.util
import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path

#: The checkout that the tests lie in.
ROOT = Path(__file__).resolve().parents[2]


def has(*packages):
    """Whether all of these packages are installed."""
    return all(importlib.util.find_spec(package) for package in packages)


def needs(*packages):
    """Skips a test, with a word, where one of these packages is missing."""
    missing = [package for package in packages if not has(package)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class Scratch(unittest.TestCase):
    """Tests in a directory of their own, which is the working directory."""

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="djr-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.dir)

    def write(self, name, rows):
        """A file of rows."""
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return name

    def rows(self, name):
        """The rows of a file."""
        return [json.loads(line) for line in Path(name).read_text().splitlines()]
