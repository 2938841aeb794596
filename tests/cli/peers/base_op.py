"""So much of Data-Juicer's `ops/base_op.py` as djr's worker and the operators below use."""

import hashlib
import os


class Registry:
    def __init__(self):
        self.modules = {}

    def register_module(self, name):
        def register(cls):
            self.modules[name] = cls
            cls._name = name
            return cls

        return register


OPERATORS, TAGGING_OPS, NON_STATS_FILTERS = Registry(), Registry(), Registry()


def alone(method, returns_row=True):
    def process(batch):
        row = method({key: column[0] for key, column in batch.items()})
        return {key: [value] for key, value in row.items()} if returns_row else [row]

    return process


class OP:
    _batched_op = False
    _BASE_PARAMS = dict.fromkeys("text_key image_key video_key audio_key skip_op_error num_proc".split())

    def __init__(self, **kwargs):
        self.text_key = kwargs.get("text_key", "text")
        self.video_key = kwargs.get("video_key", "videos")
        assert kwargs["skip_op_error"] is False

    def is_batched_op(self):
        return self._batched_op


class Mapper(OP):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.process = self.process_batched if self.is_batched_op() else alone(self.process_single)


class Filter(OP):
    _BASE_PARAMS = {**OP._BASE_PARAMS, "min_closed_interval": True, "max_closed_interval": True, "reversed_range": False}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.compute_stats = alone(self.compute_stats_single)
        self.process = alone(self.process_single, returns_row=False)


class Deduplicator(OP):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.compute_hash = alone(self.compute_hash)


class Aggregator(OP):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.process = alone(self.process_single)


class Selector(OP):
    pass


@OPERATORS.register_module("video_duration_filter")
class VideoDurationFilter(Filter):
    """Seconds are bytes here."""

    def __init__(self, min_duration: float = 0, max_duration: float = 99, **kwargs):
        super().__init__(**kwargs)
        if min_duration > max_duration:
            raise ValueError(f"min_duration {min_duration} is above {max_duration}")
        self.range = min_duration, max_duration

    def compute_stats_single(self, row):
        sizes = [os.path.getsize(path) for path in row[self.video_key]]
        row["__dj__stats__"]["video_duration"] = sizes
        return row

    def process_single(self, row):
        low, high = self.range
        return all(low <= size <= high for size in row["__dj__stats__"]["video_duration"])


@OPERATORS.register_module("video_split_by_duration_mapper")
class VideoSplitByDurationMapper(Mapper):
    _batched_op = True

    def __init__(self, split_duration: int = 10, **kwargs):
        super().__init__(**kwargs)
        self.step = split_duration

    def process_batched(self, batch):
        rows = []
        for at in range(len(batch["id"])):
            row = {key: column[at] for key, column in batch.items()}
            size = sum(os.path.getsize(path) for path in row[self.video_key])
            rows += [{**row, "from": start} for start in range(0, size, self.step)]
        # As Data-Juicer's own have it, which fails where no row was made.
        keys = rows[0].keys()
        return {key: [row[key] for row in rows] for key in keys}


@OPERATORS.register_module("video_deduplicator")
class VideoDeduplicator(Deduplicator):
    consider_text = False

    def compute_hash(self, row):
        md5 = hashlib.md5()
        for path in row[self.video_key]:
            md5.update(open(path, "rb").read())
        row["__dj__videohash"] = md5.hexdigest() if row[self.video_key] else ""
        return row


@OPERATORS.register_module("nested_aggregator")
class NestedAggregator(Aggregator):
    def process_single(self, row):
        row["__dj__batch_meta__"]["all"] = "+".join(row[self.text_key])
        return row


@OPERATORS.register_module("image_ohem_selector")
class ImageOhemSelector(Selector):
    pass


@OPERATORS.register_module("python_lambda_mapper")
class PythonLambdaMapper(Mapper):
    def __init__(self, lambda_str: str = "", batched: bool = False, **kwargs):
        self._batched_op = batched
        super().__init__(**kwargs)
        self.function = eval(lambda_str)

    def process_single(self, row):
        return self.function(row)

    def process_batched(self, batch):
        return self.function(batch)
