"""Commands over files, in this process: what the program `djr` does, with Python's types."""

import os

from . import _djr
from ._errors import problems_of, sound
from ._progress import Shown
from ._recipes import settings, written


class RunReport:
    """What became of a run: every row is counted once, rows_in + repeated = rows_out + dropped +
    quarantined + merged."""

    def __init__(self, answer, said=()):
        result = answer["result"]
        rows = result["rows"] or {}
        #: 0, or 1 where rows were set aside or a sample fell short.
        self.exit = answer["exit"]
        #: `done`, or `up_to_date` where nothing had to be done.
        self.state = result["state"]
        self.rows_in = rows.get("in", 0)
        self.rows_out = rows.get("out", 0)
        self.dropped = rows.get("dropped", 0)
        #: Rows that could not be processed; `reasons` says why.
        self.quarantined = rows.get("quarantined", 0)
        self.repeated = rows.get("repeated", 0)
        self.merged = rows.get("merged", 0)
        #: A dict a step: `op`, `in`, `out`, `dropped`, `quarantined`, `changed`, `seconds`, …
        self.by_step = result["steps"]
        #: A dict an output: `name`, `format`, `written`, `refused`, `files`, …
        self.outputs = result["outputs"]
        #: A dict a reason: `by`, `code`, `rows`.
        self.reasons = result["reasons"]
        #: What should be known of the run: a dict a note with its `code` and `message`.
        self.notes = answer["notes"]
        #: The directory of manifest, ledger and quarantine; None without one.
        self.run_dir = result["run_dir"]
        #: The file of the rows that were set aside, verbatim; None if there are none.
        self.quarantine = result["quarantine"]
        self.seconds = result["seconds"]
        self.peak_memory_bytes = result["peak_memory_bytes"]
        self._said = "\n".join(said)
        self._manifest = None

    @property
    def manifest(self):
        """The record of the run as a dict (docs/SCHEMAS.md); None where it kept none."""
        if self._manifest is None and self.run_dir is not None:
            self._manifest = _json(os.path.join(self.run_dir, "manifest.json"))
        return self._manifest

    def __str__(self):
        return self._said or repr(self)

    def __repr__(self):
        return (
            f"RunReport(rows_in={self.rows_in}, rows_out={self.rows_out}, "
            f"dropped={self.dropped}, quarantined={self.quarantined})"
        )

    def _repr_html_(self):
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


class AnalysisReport:
    """What an analysis found."""

    def __init__(self, answer, said=()):
        result = answer["result"]
        self.exit = answer["exit"]
        self.rows = result["rows"]
        self.unreadable = result["unreadable"]
        self.images = result["images"]
        self.images_missing = result["images_missing"]
        self.images_broken = result["images_broken"]
        self.same_text = result["same_text"]
        self.same_image = result["same_image"]
        #: A dict a stat: `name`, `op`, `unit`, `rows`, `min`, `median`, `p99`, `max`, `would_drop`.
        self.stats = result["stats"]
        #: The files: everything that was found, and the stats of every row.
        self.analysis_json = result["analysis"]
        self.stats_jsonl = result["stats_jsonl"]
        self.stats_parquet = result["stats_parquet"]
        #: The recipe with bounds from the data, if one was asked for.
        self.suggested = result["suggested"]
        self.notes = answer["notes"]
        self._said = "\n".join(said)
        self._analysis = None

    @property
    def analysis(self):
        """Everything that was found, as a dict (docs/ANALYSIS.md)."""
        if self._analysis is None:
            self._analysis = _json(self.analysis_json)
        return self._analysis

    def __str__(self):
        return self._said or repr(self)

    def __repr__(self):
        return f"AnalysisReport(rows={self.rows}, images={self.images}, stats={len(self.stats)})"

    def _repr_html_(self):
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


class Op:
    """An operator."""

    __slots__ = ("defaults", "family", "name", "page", "parameters", "summary", "version")

    def __init__(self, record):
        self.name = record["name"]
        #: `mapper`, `filter`, `deduplicator`, `selector` or `grouper`.
        self.family = record["family"]
        self.summary = record["summary"]
        #: Raised when its answers change.
        self.version = record["version"]
        #: Its page in Markdown, the JSON Schema of its parameters and their defaults, where it was
        #: asked for by its name.
        self.page = record.get("page")
        self.parameters = record.get("parameters")
        self.defaults = record.get("defaults")

    def __repr__(self):
        return f"Op({self.name!r}, {self.family!r}, {self.summary!r})"


def run(
    recipe,
    *,
    input=None,
    output=None,
    set=None,
    resume=False,
    progress=None,
    **options,
):
    """Runs a recipe over files and gives a `RunReport`.

    recipe:   a path, YAML text, or a dict
    input:    read rows from here instead of the recipe's dataset: a path, a pattern, or several
    output:   write rows here instead of the recipe's `export_path`
    set:      keys of the recipe, such as {"np": 4, "text_length_filter.max_len": 200}
    resume:   go on with an unfinished run of the same outputs
    progress: None shows a line on a terminal or in a notebook, False none; or a function that gets it
    options:  every other option of `djr run`, with `_` for `-`: threads=4, max_memory="2GB",
              max_quarantine="5%", tolerate="0.1%", on_error="drop", run_dir="…", restart=True,
              if_changed=True, force=True, checkpoint_every=10, python="…", devices=["cuda:0"]

    Rows that cannot be processed are set aside and counted, which is no exception. Raises
    `RecipeError` for what is wrong with recipe, options or inputs, `RunError` if the run fails, and
    KeyboardInterrupt on Ctrl-C: the run has made a checkpoint then, from which `resume=True` goes on.
    """
    path, text = written(recipe)
    words = [
        "run",
        *_paths("--input", input),
        *_paths("--output", output),
        *_sets(set),
        *_options({"resume": resume, **_with_python(options)}),
        "--",
        path,
    ]
    return RunReport(*_call(words, text, progress))


def check(recipe, *, input=None, output=None, set=None):
    """All problems of a recipe, each a `Problem` with its place and what to do; none if it is sound.

    Of the inputs the first 1,000 rows are looked at.
    """
    path, text = written(recipe)
    words = ["check", *_paths("--input", input), *_paths("--output", output), *_sets(set)]
    answer, _ = _answer([*words, "--", path], text)
    return problems_of(answer)


def ops(name=None):
    """The operators, each an `Op`; those that a word stands in; or, with its page and parameters, the
    one of that name."""
    answer, _ = _answer(["ops", *([] if name is None else ["--", name])])
    result = sound(answer)["result"] or {"operators": []}
    return [Op(record) for record in result["operators"]]


def schema(of="recipe"):
    """The JSON Schema of recipes, of a file that a run leaves, or of a command's answer, as a dict."""
    import json

    found, names = _djr.schema(of)
    if found is None:
        raise ValueError(f"there is no schema of {of!r}; there are {', '.join(names)}")
    return json.loads(found)


def subset(input, output, *, n, progress=None, **options):
    """Takes exactly `n` rows (a number, or a share such as "5%"), uniformly and without replacement.

    options: those of `djr subset`, such as seed=42, sampler="python", shuffle=True,
    validate="decode", paths="absolute", image_root="/data"
    """
    words = ["subset", *_paths("--input", input), *_paths("--output", output)]
    words += _options({"n": n, **options})
    return RunReport(*_call(words, None, progress))


def convert(input, output, *, to, progress=None, **options):
    """Converts rows to records for training, such records to rows, or one format to another.

    to:      llava, llava_jsonl, internvl, messages, openai, trl, imagefolder, webdataset, parquet,
             dj, jsonl, json
    options: those of `djr convert`, such as question="…", questions="stage_1.json", image_root="/data",
             validate="decode"; `for_="llava_next"` is --for, `from_="llava"` is --from
    """
    words = ["convert", *_paths("--input", input), *_paths("--output", output)]
    words += _options({"to": to, **options})
    return RunReport(*_call(words, None, progress))


def analyze(input, output, *, recipe=None, set=None, progress=None, **options):
    """Measures every row by every filter, drops nothing, and writes what was found into a directory.

    recipe:  measure by its filters, its mappers in their places
    options: those of `djr analyze`, such as image_root="/data", validate="header",
             suggest="new.yaml", bounds="sigma"
    """
    path, text = (None, None) if recipe is None else written(recipe)
    words = ["analyze", *_paths("--input", input), *_paths("--output", output), *_sets(set)]
    words += [] if path is None else [f"--recipe={path}"]
    words += _options(_with_python(options))
    return AnalysisReport(*_call(words, text, progress))


def _with_python(options):
    """Models run in this Python, unless somebody says another."""
    import sys

    named = options.get("python") or os.environ.get("DJR_PYTHON")
    return options if named or not sys.executable else {**options, "python": sys.executable}


def _call(words, text, progress):
    """The answer of a command that did what it should, and what it said."""
    with Shown(progress) as hearer:
        answer, said = _answer(words, text, hearer)
    return sound(answer), said


def _answer(words, text=None, hearer=None):
    import json

    answer, said = _djr.call(words, text, hearer)
    return json.loads(answer), said


def _paths(option, paths):
    if paths is None:
        return []
    if isinstance(paths, (str, bytes, os.PathLike)):
        paths = [paths]
    return [f"{option}={os.fsdecode(path)}" for path in paths]


def _sets(sets):
    return [f"--set={key}={value}" for key, value in settings(sets)]


def _options(options):
    """Arguments by name as options of the command line."""
    words = []
    for name, value in options.items():
        option = "--" + name.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(option)
        elif isinstance(value, (list, tuple)):
            words.append(f"{option}={','.join(str(item) for item in value)}")
        else:
            words.append(f"{option}={_text(value)}")
    return words


def _text(value):
    return os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)


def _json(path):
    import json

    with open(path, encoding="utf-8") as file:
        return json.load(file)
