"""The worker: runs operators of Data-Juicer for djr, in the user's own Python.

djr writes lines of JSON to standard input and reads as many from standard output: `hello`, `build`,
and then rows. An operator gets one row at a time, as a batch of one, so that no answer depends on
which rows came together and an error belongs to its row. What is printed goes to standard error.
"""

import sys

# Modules of the working directory are not meant.
sys.path[:] = [path for path in sys.path if path]

import copy
import importlib
import importlib.util
import inspect
import json
import linecache
import os
import random
import re
import threading
import time
import traceback
import uuid

INPUT = os.fdopen(os.dup(0), "rb")
OUTPUT = os.fdopen(os.dup(1), "wb")
# Whatever prints must not end up between answers, and no program that an operator starts reads rows.
os.dup2(2, 1)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
sys.stdout = sys.stderr

STATS, META, BATCH_META = "__dj__stats__", "__dj__meta__", "__dj__batch_meta__"

# Parameters of every operator, for versions of Data-Juicer that do not list them.
BASE = """text_key image_key audio_key video_key image_bytes_key system_key instruction_key prompt_key
query_key response_key history_key index_key work_dir skip_op_error batch_mode accelerator batch_size
num_proc cpu_required gpu_required mem_required num_cpus num_gpus memory runtime_env ray_execution_mode
turbo auto_op_parallelism""".split()
OF_FILTERS = "stats_export_path min_closed_interval max_closed_interval reversed_range".split()


class Refusal(Exception):
    """An answer that is no: a code, what is wrong, and what there is instead."""

    def __init__(self, code, message, **more):
        super().__init__(message)
        self.said = {"code": code, "message": message, **more}


class Draws:
    """Where the randomness of a row comes from: its number, whatever rows came before it."""

    generator = None
    number = 0
    names = 0
    any_uuid = uuid.uuid4

    @classmethod
    def begin(cls, number):
        cls.number, cls.names = number, 0
        cls.generator = random.Random(number)
        random.seed(number)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(number & 0xFFFFFFFF)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(number & 0x7FFFFFFFFFFFFFFF)

    @classmethod
    def end(cls):
        cls.generator = None

    @classmethod
    def uuid4(cls):
        if cls.generator is None:
            return cls.any_uuid()
        return uuid.UUID(int=cls.generator.getrandbits(128), version=4)


def settle_names():
    """Has files that operators make named after the row and not after clock and process, so that a
    row that is processed again makes the same files again, whole."""
    try:
        from data_juicer.utils import file_utils
    except ImportError:
        return
    to_hash = getattr(file_utils, "dict_to_hash", None)
    transfer = getattr(file_utils, "transfer_filename", None)
    if to_hash is None or transfer is None:
        return

    def dict_to_hash(parameters, *args, **kwargs):
        Draws.names += 1
        own = {k: v for k, v in parameters.items() if k not in ("__dj__pid", "__dj__timestamp")}
        return to_hash({**own, "__dj__row": Draws.number, "__dj__name": Draws.names}, *args, **kwargs)

    def transfer_filename(original_filepath, *args, **kwargs):
        name = transfer(original_filepath, *args, **kwargs)
        # What an interrupted try left there may be half a file.
        if str(name) != str(original_filepath) and os.path.isfile(name):
            os.remove(name)
        return name

    file_utils.dict_to_hash = dict_to_hash
    file_utils.transfer_filename = transfer_filename


def settle_packages():
    """Has a package that is missing named instead of installed.

    Data-Juicer asks to install whatever does not import under the name that it gives, `torchcodec==0.7`,
    too. One that is there in any version is left as it is.
    """
    try:
        from data_juicer.utils.lazy_loader import LazyLoader
    except ImportError:
        return
    from importlib import metadata

    def refuse(cls, package, pip_args=None):
        try:
            metadata.distribution(re.split(r"[^\w.-]", package, maxsplit=1)[0])
            return
        except (metadata.PackageNotFoundError, ValueError):
            pass
        raise ImportError(f"the package {package} is missing: {sys.executable} -m pip install '{package}'")

    LazyLoader._install_package = classmethod(refuse)


def hello():
    try:
        import data_juicer
    except ImportError as error:
        raise Refusal("no_data_juicer", f"{type(error).__name__}: {error}") from error
    uuid.uuid4 = Draws.uuid4
    settle_packages()
    settle_names()
    try:
        from loguru import logger

        logger.remove()
        logger.add(sys.stderr, level="ERROR")
    except ImportError:
        pass
    return {
        "version": getattr(data_juicer, "__version__", "of no version"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
    }


LOADED = set()


def load_custom(path):
    """Imports a file or package of the user's, which registers its operators."""
    if path in LOADED:
        return
    name = os.path.splitext(os.path.basename(path))[0]
    try:
        if os.path.isdir(path):
            sys.path.insert(0, os.path.dirname(path))
            importlib.import_module(name)
        else:
            spec = importlib.util.spec_from_file_location(name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
    except Exception as error:
        raise Refusal("custom", f"{path}: {said_by(error)}") from error
    LOADED.add(path)


def parameters_of(cls, base_op):
    """Names of the parameters that a class takes: its own, and those of every operator."""
    bases = [getattr(base_op, kind, None) for kind in ("OP", *KINDS)]
    own = []
    for one in cls.__mro__:
        init = one.__dict__.get("__init__")
        if init is None or one is object or one in bases:
            continue
        for parameter in list(inspect.signature(init).parameters.values())[1:]:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                own.append(parameter.name)
        try:
            # Those that it takes out of what it passes on.
            own += re.findall(r"kwargs(?:\.get\(|\.pop\(|\[)\s*['\"](\w+)", inspect.getsource(init))
        except (OSError, TypeError):
            pass
    common = getattr(cls, "_BASE_PARAMS", None) or BASE + OF_FILTERS
    return list(dict.fromkeys(own)), set(common)


# Classes that say what an operator is for.
KINDS = "Mapper Filter Deduplicator Aggregator Selector Grouper Pipeline".split()


class Built:
    """An operator that is ready."""

    def __init__(self, message):
        from data_juicer.ops import base_op

        for path in message["custom"]:
            load_custom(path)
        name, params = message["name"], dict(message["params"])
        cls = base_op.OPERATORS.modules.get(name)
        if cls is None:
            raise Refusal("unknown_operator", f"it has no operator {name}")
        own, common = parameters_of(cls, base_op)
        unknown = [key for key in params if key not in common and key not in own]
        if unknown:
            raise Refusal("unknown_parameter", ", ".join(unknown), unknown=unknown, known=own)
        # An error is the row's, and is told.
        params["skip_op_error"] = False
        try:
            self.op = cls(**params)
        except Exception as error:
            traceback.print_exc()
            raise Refusal("refused", said_by(error)) from error
        self.name = name
        self.cls = cls
        self.kind = self.kind_of(base_op)
        self.added = self.fields_added(base_op)
        self.wrap = wrapper()
        use_cuda = getattr(self.op, "use_cuda", None)
        self.rank = (message["rank"],) if use_cuda is not None and use_cuda() else ()

    def kind_of(self, base_op):
        def is_one(kind):
            base = getattr(base_op, kind, None)
            return base is not None and isinstance(self.op, base)

        if is_one("Mapper"):
            return "expander" if self.op.is_batched_op() else "mapper"
        if is_one("Filter"):
            return "filter"
        if is_one("Aggregator"):
            return "aggregator"
        if is_one("Deduplicator"):
            if self.name in KEYS:
                return "deduplicator"
            why = "its duplicates are found by its own code over all rows"
        elif is_one("Selector"):
            why = "it selects among all rows"
        elif is_one("Grouper"):
            why = "it groups all rows"
        elif is_one("Pipeline"):
            why = "it is a pipeline over a whole dataset"
        else:
            why = f"its class {self.cls.__name__} is none of Data-Juicer's kinds that work row by row"
        raise Refusal("whole", why)

    def fields_added(self, base_op):
        """The fields that Data-Juicer adds before such an operator runs."""
        name = getattr(self.op, "_name", self.name)
        added = {}
        if name in modules(base_op, "TAGGING_OPS"):
            added[META] = {}
        if self.kind == "filter" and name not in modules(base_op, "NON_STATS_FILTERS"):
            added[STATS] = {}
        if self.kind == "aggregator":
            added[BATCH_META] = {}
        return added

    def facts(self):
        return {"kind": self.kind, "class": f"{self.cls.__module__}.{self.cls.__qualname__}"}

    def run(self, number, row):
        Draws.begin(number)
        for key, value in self.added.items():
            if row.get(key) is None:
                row[key] = copy.deepcopy(value)
        before = copy.deepcopy(row)
        batch = self.wrap({key: [value] for key, value in row.items()})
        work = {"filter": "compute_stats", "deduplicator": "compute_hash"}.get(self.kind, "process")
        try:
            result = getattr(self.op, work)(batch, *self.rank)
        except IndexError as error:
            if self.kind == "expander" and made_none(error):
                return {"rows": []}
            raise
        rows = rows_of(batch, result, before)
        if self.kind == "expander":
            return {"rows": [self.change(before, row) for row in rows]}
        if len(rows) != 1:
            raise ValueError(f"{len(rows)} rows came out of one")
        (row,) = rows
        if self.kind == "deduplicator":
            return {"key": KEYS[self.name](self.op, row)}
        answer = self.change(before, row)
        if self.kind == "filter":
            kept = list(self.op.process(self.wrap({key: [value] for key, value in row.items()})))
            answer["keep"] = bool(kept[0])
        return answer

    def change(self, before, row):
        """What is another than before."""
        changed = {}
        for key, value in row.items():
            text = dumps(value)
            if key not in before or text != dumps(before[key]):
                changed[key] = json.loads(text)
        gone = [key for key in before if key not in row and key not in self.added]
        return {"set": changed, "gone": gone}


def made_none(error):
    """Whether an operator failed only because no row came out of its batch: several of Data-Juicer's
    take the names of columns from the first row that they made, `rows[0].keys()`."""
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    line = linecache.getline(last.tb_frame.f_code.co_filename, last.tb_lineno)
    asked = re.search(r"(\w+)\[0\]\.keys\(\)", line)
    return asked is not None and last.tb_frame.f_locals.get(asked[1]) == []


def video_key(op, row):
    """What video_deduplicator compares; rows without are all kept."""
    if op.consider_text:
        return dumps([row["__dj__videohash"], row["__dj__hash"]])
    return row["__dj__videohash"] or None


# Deduplicators that do nothing but compare a hash of each row.
KEYS = {"video_deduplicator": video_key}


def modules(base_op, registry):
    found = getattr(base_op, registry, None)
    return getattr(found, "modules", {})


def wrapper():
    """What Data-Juicer wraps a batch in, so that a key may name a field within a field."""
    try:
        from data_juicer.core.data.dj_dataset import nested_obj_factory
    except ImportError:
        return lambda batch: batch
    return nested_obj_factory


def rows_of(batch, result, before):
    """The rows of what came out of a batch of one. As with `datasets`, a new batch that lacks a
    column has it from the old one; to delete it the old batch itself must lose it."""
    if not isinstance(result, dict):
        raise TypeError(f"{type(result).__name__} came out where a batch of rows is expected")
    columns = dict(result)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError("columns of different lengths came out")
    count = lengths.pop() if lengths else 0
    if result is not batch:
        left_out = [key for key in before if key not in columns]
        if left_out and columns and count != 1:
            raise ValueError(f"{count} rows came out without {', '.join(left_out)}")
        columns.update((key, [before[key]]) for key in left_out)
    return [{key: columns[key][at] for key in columns} for at in range(count)]


def plain(value):
    """Values of numpy and torch as Python has them."""
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be written as JSON")


def dumps(value):
    return json.dumps(value, default=plain)


def said_by(error):
    """What an error says, in one line."""
    lines = "".join(traceback.format_exception_only(type(error), error)).split("\n")
    if isinstance(error, SyntaxError):
        # Where it is stands before it.
        lines = lines[-2:] + lines[:-2]
    return " ".join(line.strip() for line in lines if line.strip())[:500]


def end_with(parent):
    """Ends when djr does, however that ends: what goes on with the run makes the same files."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def main():
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    built = {}
    for line in INPUT:
        message = json.loads(line)
        try:
            if "row" in message:
                answer = built[message["id"]].run(message["number"], message["row"])
            elif message["op"] == "hello":
                answer = {"ok": True, **hello()}
            else:
                built[message["id"]] = Built(message)
                answer = {"ok": True, **built[message["id"]].facts()}
            text = dumps(answer)
        except Refusal as error:
            text = dumps({"ok": False, **error.said})
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            code = {} if "row" in message else {"ok": False, "code": "refused", "message": said_by(error)}
            text = dumps({"error": said_by(error), **code})
        Draws.end()
        OUTPUT.write(text.encode() + b"\n")
        OUTPUT.flush()


main()
