"""Operators of a user's own, which go wrong as the text of a row tells them to."""

import os
import random
import signal
import time
import uuid

from data_juicer.ops.base_op import OPERATORS, TAGGING_OPS, Mapper
from data_juicer.utils.lazy_loader import LazyLoader


def first_time(what):
    """Whether this was not done before, in any process."""
    try:
        os.close(os.open(f"done-{what}", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


@TAGGING_OPS.register_module("wild_mapper")
@OPERATORS.register_module("wild_mapper")
class WildMapper(Mapper):
    def __init__(self, tag: str = "seen", **kwargs):
        self.level = kwargs.pop("level", 1)
        super().__init__(**kwargs)
        self.tag = tag

    def process_single(self, row):
        text = row[self.text_key]
        print("to standard output, which must not disturb", text)
        if "raise at length" in text:
            raise RuntimeError("told to.\nIn many words:\n  [the end]")
        if "raise" in text:
            raise KeyError("told to")
        if "exit" in text:
            os._exit(7)
        if "hang" in text:
            time.sleep(600)
        if "once" in text and first_time(text):
            os.kill(os.getpid(), signal.SIGKILL)
        if "parent" in text and first_time(text):
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(0)
        row[self.text_key] = text.upper()
        row["drawn"] = [random.random(), str(uuid.uuid4())]
        row["__dj__meta__"]["tag"] = self.tag
        return row


@OPERATORS.register_module("needy_mapper")
class NeedyMapper(Mapper):
    def __init__(self, packages: list = ("absent-by-default",), **kwargs):
        super().__init__(**kwargs)
        LazyLoader.check_packages(packages or [])

    def process_single(self, row):
        return row
