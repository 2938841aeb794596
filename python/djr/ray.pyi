from os import PathLike
from typing import Any

from . import RunReport, _Path, _Paths, _Progress, _Recipe, _Sets

class RayReport(RunReport):
    nodes: dict[str, int]

def run(
    recipe: _Recipe,
    *,
    work: str | PathLike[str],
    input: _Paths | None = None,
    output: _Path | None = None,
    set: _Sets | None = None,
    task_bytes: str | int | None = None,
    num_cpus: int = 1,
    num_gpus: float = 0,
    max_memory: str | int | None = None,
    address: str | None = None,
    progress: _Progress = None,
    **options: Any,
) -> RayReport: ...
