"""One recipe over the machines of a Ray cluster: `djr.ray.run`, a loop over `djr next` whose tasks Ray
places, starts again where a machine is lost, and hands to whichever is free."""

import os
import time
from collections import Counter

from ._errors import FAILED, sound
from ._files import RunReport, _answer, _options, _paths, _sets, _with_python
from ._progress import Shown
from ._recipes import written

#: What a task may fail for that another machine, or a later time, may not know.
_PASSING = {"cannot_read", "cannot_write"}

#: How often a task is tried that fails so.
_TRIES = 3

#: For a Ray of this machine alone, which is to be heard by nobody else: what counts unless the
#: environment says otherwise. Slow machines take longer to start than Ray waits by itself.
_OWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # so Ray calls listening on the loopback alone
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_worker_register_timeout_seconds": "300",
}


class RayReport(RunReport):
    """What became of a run, and `nodes`: how many tasks each node of Ray did, by its id."""

    def __init__(self, answer, said, nodes):
        super().__init__(answer, said)
        self.nodes = nodes


def run(
    recipe,
    *,
    work,
    input=None,
    output=None,
    set=None,
    task_bytes=None,
    num_cpus=1,
    num_gpus=0,
    max_memory=None,
    address=None,
    progress=None,
    **options,
):
    """Runs a recipe on a Ray cluster, with the bytes of one `djr.run`, and gives a `RayReport`.

    recipe, input, output, set, progress: as of `djr.run`
    work:       the directory of the plan, which all machines see under this path, as they do the inputs
                and the outputs, or a folder of a store. A driver that was killed goes on when it is run
                again
    task_bytes: about how many bytes of rows a task reads: "256MiB"
    num_cpus:   processors a task takes, which are its threads
    num_gpus:   GPUs a task takes: 1 where steps ask models
    max_memory: memory a task stays within; else the share of its machine's that `num_cpus` are
    address:    the cluster; else the one that `ray.init` was called for, that of RAY_ADDRESS, or a Ray
                that is started on this machine alone and ended behind the run
    options:    every other option of `djr plan`, with `_` for `-`, such as max_quarantine="5%"

    Every machine needs this djr. Raises what `djr.run` raises; what tasks did until then is kept.
    """
    ray, is_own = _connected(address)
    try:
        path, text = written(recipe)
        words = ["plan", *_paths("--input", input), *_paths("--output", output), *_sets(set)]
        words += [f"--work={os.fsdecode(work)}", *_options({"task_bytes": task_bytes})]
        planned, _ = _answer([*words, *_options(_with_python(options)), "--", path], text)
        plan = sound(planned)["result"]
        task = ["task", *_options({"threads": num_cpus, "max_memory": max_memory})]
        task += _options({name: options.get(name) for name in ("python", "devices")})
        place = ray.remote(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            scheduling_strategy="SPREAD",
            max_retries=-1,
            retry_exceptions=False,
        )(_do)
        start = lambda id: place.remote(plan["working_dir"], [*task, "--", plan["work"], id])  # noqa: E731
        nodes = Counter()
        with Shown(progress) as hearer:
            show = (lambda line: None) if hearer is None else hearer[1]
            while True:
                standing = sound(_answer(["next", "--all", "--", plan["work"]])[0])["result"]
                if standing["complete"]:
                    break
                if not standing["ready"]:
                    # Somebody else has just done what this one would have named.
                    time.sleep(1)
                for done, node in enumerate(_each(ray, start, standing["ready"]), 1):
                    nodes[node] += 1
                    show(f"{standing['done'] + done} of {standing['known']} known tasks are done")
            answer, said = _answer(["finish", "--", plan["work"]], None, hearer)
        return RayReport(sound(answer), said, dict(nodes))
    finally:
        if is_own:
            ray.shutdown()


def _connected(address):
    """Ray, connected, and whether it is ours alone."""
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        for name, value in _OWN.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ImportError("djr.ray needs Ray: pip install 'djr[ray]'") from error
    if ray.is_initialized():
        return ray, False
    ray.init(address or "local", include_dashboard=False, log_to_driver=False)
    return ray, True


def _each(ray, start, ids):
    """Does tasks, and gives the node of each that is done, as they end.

    One that fails ends it: those that have not begun are taken back, the others asked to stop.
    """
    tries = Counter()
    of = {start(id): id for id in ids}
    try:
        while of:
            # Whatever ends within a second, not one at a time: there may be many.
            ended, _ = ray.wait(list(of), num_returns=len(of), timeout=1)
            for ref in ended:
                id = of.pop(ref)
                node, answer = ray.get(ref)
                tries[id] += 1
                passes = {problem["code"] for problem in answer["problems"]} <= _PASSING
                if answer["exit"] == FAILED and passes and tries[id] < _TRIES:
                    of[start(id)] = id
                    continue
                sound(answer)
                yield node
    finally:
        for ref in of:
            ray.cancel(ref)


def _do(home, words):
    """Does a task in this process of Ray's: the node, and what djr answered."""
    import ray

    before = os.getcwd()
    # Relative paths of the recipe begin there.
    os.chdir(home)
    try:
        command, *rest = words
        chosen = [] if any(word.startswith("--python=") for word in rest) else _options(_with_python({}))
        answer, _ = _answer([command, *chosen, *rest])
    finally:
        os.chdir(before)
    return ray.get_runtime_context().get_node_id(), answer
