"""Tables in memory through recipes. No package is needed: whoever has `__arrow_c_stream__` is a table."""

from . import _djr
from ._errors import sound
from ._files import RunReport, _with_python
from ._progress import Shown
from ._recipes import settings, written


class Rows:
    """Rows in Arrow's columns, with the `report` of the run that they come from.

    They are a table to whoever reads Arrow streams, as often as it is asked for and without a copy:
    `pyarrow.table(rows)`, `polars.DataFrame(rows)`, `duckdb.sql("FROM rows")`,
    `datasets.Dataset(pyarrow.table(rows))`.
    """

    def __init__(self, rows, report):
        self._rows = rows
        #: What became of the rows that went in.
        self.report = report

    def __arrow_c_stream__(self, requested_schema=None):
        return self._rows.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self):
        return self._rows.__arrow_c_schema__()

    def __len__(self):
        return self._rows.num_rows

    @property
    def num_rows(self):
        """How many rows there are."""
        return self._rows.num_rows

    @property
    def column_names(self):
        """The names of the columns, in order."""
        return self._rows.column_names

    def to_arrow(self):
        """A `pyarrow.Table`."""
        import pyarrow

        return pyarrow.table(self)

    def to_pandas(self):
        """A `pandas.DataFrame`."""
        return self.to_arrow().to_pandas()

    def to_polars(self):
        """A `polars.DataFrame`."""
        import polars

        return polars.DataFrame(self)

    def __repr__(self):
        return f"Rows({self.num_rows} rows: {', '.join(self.column_names)})"


def filter(
    table,
    recipe,
    *,
    with_fate=False,
    set=None,
    threads=None,
    max_memory=None,
    max_quarantine=None,
    python=None,
    devices=None,
    progress=None,
):
    """The rows of a table that a recipe keeps, changed as it says, as `Rows`.

    table:  a pyarrow Table or RecordBatchReader, a pandas or polars DataFrame, a DuckDB relation, a
            datasets.Dataset, or whatever else has `__arrow_c_stream__`
    recipe: a path, YAML text, or a dict; its own dataset and outputs do not count
    with_fate: all rows as they came, with the columns `__djr_fate` (kept, dropped, quarantined,
            merged), `__djr_by` (who decided), `__djr_value` and `__djr_limit` (of a filter), and
            `__djr_code` (why a row was set aside)

    Columns that no operator writes to come back bit for bit, and large values are not copied. All
    operators work, those that decide among all rows, too. Images are found as in Parquet files: by
    paths from the working directory or the recipe's `image_root`, or in a column of their bytes. Raises
    what `run` raises.
    """
    data, order = _parts(table)
    options = _options(set, threads, max_memory, max_quarantine, python, devices)
    with Shown(progress) as hearer:
        found = _djr.filter(data, order, _text(recipe), options, bool(with_fate), hearer)
    return _rows(*found)


class Stage:
    """A recipe for one batch of rows after the other: for `Dataset.map` of datasets, Ray Data, Daft.

        stage = djr.Stage("recipe.yaml")
        ds = ds.with_format("arrow").map(stage.map_batch, batched=True)
        ds = ray_ds.map_batches(stage.map_batch, batch_format="pyarrow")

    Operators that decide among all rows, and those that ask a model, are refused: `djr.filter` has
    them. A stage can be pickled; it uses one thread unless `threads` says more, since whoever calls it
    has several of it. What operators draw by chance, they draw anew in each batch.
    """

    def __init__(self, recipe, *, set=None, threads=1, max_memory=None, max_quarantine="none"):
        self._text = _text(recipe)
        self._options = _options(set, threads, max_memory, max_quarantine, None, None)
        self._open()

    def _open(self):
        import json

        answer, self._stage = _djr.Stage.of(self._text, self._options)
        sound(json.loads(answer))

    def __getstate__(self):
        return self._text, self._options

    def __setstate__(self, state):
        self._text, self._options = state
        self._open()

    def map_batch(self, batch):
        """The rows of a batch that are kept, as what the batch is: a pyarrow Table of a Table or
        RecordBatch, a DataFrame of a DataFrame, `Rows` of anything else."""
        data, order = _parts(batch)
        rows = _rows(*self._stage.map_batch(data, order))
        kind = type(batch).__module__.partition(".")[0]
        if kind == "pyarrow":
            return rows.to_arrow()
        if kind == "pandas":
            return rows.to_pandas()
        if kind == "polars":
            return rows.to_polars()
        return rows

    __call__ = map_batch


def _text(recipe):
    """The recipe with everything that is needed of it; a file is read."""
    return written(recipe, read=True)[1]


def _options(sets, threads, max_memory, max_quarantine, python, devices):
    text = (None if value is None else str(value) for value in (max_memory, max_quarantine))
    max_memory, max_quarantine = text
    named = _with_python({} if python is None else {"python": python})
    return {
        "sets": settings(sets),
        "threads": threads,
        "max_memory": max_memory,
        "max_quarantine": max_quarantine,
        "python": named.get("python"),
        "devices": [devices] if isinstance(devices, str) else list(devices or ()),
    }


def _parts(table):
    """What has the columns of a table, and what has the order of its rows if that is another one."""
    if hasattr(table, "__arrow_c_stream__"):
        return table, None
    # A datasets.Dataset: a table, and the rows of it that count.
    inner = getattr(getattr(table, "data", None), "table", None)
    if hasattr(inner, "__arrow_c_stream__"):
        order = getattr(table, "_indices", None)
        return inner, getattr(order, "table", order)
    kind = type(table)
    raise TypeError(
        "a table is asked for: of pyarrow, pandas, polars or DuckDB, a datasets.Dataset, or what has "
        f"__arrow_c_stream__; not a {kind.__module__}.{kind.__qualname__}"
    )


def _rows(answer, said, rows):
    import json

    return Rows(rows, RunReport(sound(json.loads(answer)), [said]))
