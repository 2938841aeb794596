from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol

from . import ray as ray

__version__: str

_Path = str | bytes | PathLike[str]
_Paths = _Path | Sequence[_Path]
_Recipe = str | PathLike[str] | dict[str, Any]
_Sets = Mapping[str, Any] | Iterable[tuple[str, Any]]
_Progress = bool | Callable[[str], Any] | None

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class Problem:
    code: str
    message: str
    hint: str | None
    file: str | None
    line: int | None
    column: int | None
    named: str | None
    def __init__(
        self,
        code: str,
        message: str,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        named: str | None = None,
    ) -> None: ...

class Error(Exception):
    problems: list[Problem]
    def __init__(self, problems: Iterable[Problem]) -> None: ...

class RecipeError(Error): ...
class RunError(Error): ...

class RunReport:
    exit: Literal[0, 1]
    state: Literal["done", "up_to_date", "planned"]
    rows_in: int
    rows_out: int
    dropped: int
    quarantined: int
    repeated: int
    merged: int
    by_step: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    reasons: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    run_dir: str | None
    quarantine: str | None
    seconds: float
    peak_memory_bytes: int
    @property
    def manifest(self) -> dict[str, Any] | None: ...

class AnalysisReport:
    exit: Literal[0, 1]
    rows: int
    unreadable: int
    images: int
    images_missing: int
    images_broken: int
    same_text: int
    same_image: int
    stats: list[dict[str, Any]]
    analysis_json: str
    stats_jsonl: str
    stats_parquet: str
    suggested: str | None
    notes: list[dict[str, Any]]
    @property
    def analysis(self) -> dict[str, Any]: ...

class Op:
    name: str
    family: Literal["mapper", "filter", "deduplicator", "selector", "grouper"]
    summary: str
    version: int
    page: str | None
    parameters: dict[str, Any] | None
    defaults: dict[str, Any] | None

class Rows:
    report: RunReport
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...
    def __len__(self) -> int: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def to_arrow(self) -> Any: ...
    def to_pandas(self) -> Any: ...
    def to_polars(self) -> Any: ...

class Stage:
    def __init__(
        self,
        recipe: _Recipe,
        *,
        set: _Sets | None = None,
        threads: int | None = 1,
        max_memory: str | int | None = None,
        max_quarantine: str | int | None = "none",
    ) -> None: ...
    def map_batch(self, batch: Any) -> Any: ...
    def __call__(self, batch: Any) -> Any: ...

def run(
    recipe: _Recipe,
    *,
    input: _Paths | None = None,
    output: _Path | None = None,
    set: _Sets | None = None,
    resume: bool = False,
    progress: _Progress = None,
    **options: Any,
) -> RunReport: ...
def check(
    recipe: _Recipe,
    *,
    input: _Paths | None = None,
    output: _Path | None = None,
    set: _Sets | None = None,
) -> list[Problem]: ...
def ops(name: str | None = None) -> list[Op]: ...
def schema(of: str = "recipe") -> dict[str, Any]: ...
def subset(
    input: _Paths, output: _Path, *, n: int | str, progress: _Progress = None, **options: Any
) -> RunReport: ...
def convert(
    input: _Paths, output: _Path, *, to: str, progress: _Progress = None, **options: Any
) -> RunReport: ...
def analyze(
    input: _Paths | None,
    output: _Path,
    *,
    recipe: _Recipe | None = None,
    set: _Sets | None = None,
    progress: _Progress = None,
    **options: Any,
) -> AnalysisReport: ...
def filter(
    table: _ArrowStream | Any,
    recipe: _Recipe,
    *,
    with_fate: bool = False,
    set: _Sets | None = None,
    threads: int | None = None,
    max_memory: str | int | None = None,
    max_quarantine: str | int | None = None,
    python: str | PathLike[str] | None = None,
    devices: str | Sequence[str] | None = None,
    progress: _Progress = None,
) -> Rows: ...
