"""djr: Data-Juicer recipes over files and over tables in memory, with the same answers.

    import djr

    report = djr.run("recipe.yaml", input="data.jsonl", output="clean.jsonl")
    print(report.rows_in, report.rows_out)

    kept = djr.filter(table, {"process": [{"text_length_filter": {"min_len": 10}}]})

docs/PYTHON.md shows the rest.
"""

from . import ray
from ._djr import VERSION as __version__
from ._errors import Error, Problem, RecipeError, RunError
from ._files import (
    AnalysisReport,
    Op,
    RunReport,
    analyze,
    check,
    convert,
    ops,
    run,
    schema,
    subset,
)
from ._tables import Rows, Stage, filter

__all__ = [
    "AnalysisReport",
    "Error",
    "Op",
    "Problem",
    "RecipeError",
    "Rows",
    "RunError",
    "RunReport",
    "Stage",
    "__version__",
    "analyze",
    "check",
    "convert",
    "filter",
    "ops",
    "ray",
    "run",
    "schema",
    "subset",
]
