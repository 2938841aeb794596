#!/usr/bin/env python3
"""Values of recipes as djr reads them, against Data-Juicer 1.6.1's own loader.

    tests/differential/recipe_values.py [DIR...] [--djr target/debug/djr] [--cases N] [--seed 1]
                                        [--only OP.PARAM,...] [--show 40]

Run it from the repository's root with the Python of an environment that holds py-data-juicer 1.6.1.
A case is a recipe over nine rows. Data-Juicer's `init_configs` reads it, its preflight checks it,
its operators are built and applied to the rows in this process; djr runs the same file. Both must
leave the same rows, or both must refuse. Cases are put together from parameters of operators and
ways to write a value (numbers of all kinds, booleans, nulls, dates, text, lists), N of them drawn at
random, and from shapes of a recipe: keys written twice, merged mappings, the same operator again.
Every `process` of the YAML files below the directories is a case, too: Data-Juicer's own
`configs` (github.com/datajuicer/data-juicer) are a good source. None is shipped here.

What is left are refusals of djr's that are meant: bounds between which no row can lie, and values of
another type than the parameter's that Data-Juicer carries to where they happen to do nothing.

Prints how many cases agree and the first that do not, by kind. Where Data-Juicer gets as far as its
operators and fails in them, it has no answer: such cases are counted apart. Exit code 1 if an answer
differs.
"""

import argparse
import collections
import contextlib
import copy
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

ROWS = [
    {"i": 0, "text": "", "n": 0, "tag": "a"},
    {"i": 1, "text": "a", "n": 1, "tag": "b"},
    {"i": 2, "text": "a b c", "n": 1.5, "tag": "a"},
    {"i": 3, "text": "one two three four five six seven", "n": 2, "tag": "a"},
    {"i": 4, "text": "One two three, four five six seven.", "n": -3, "tag": "b"},
    {"i": 5, "text": "row row row your boat row row row your boat", "n": 1000, "tag": "c"},
    {"i": 6, "text": "no header\n\nbut two paragraphs\n\nand a third one", "n": 2.5, "tag": "a"},
    {"i": 7, "text": "<p>x</p> 12 34 \u4e2d\u6587 ---", "n": 3, "tag": "d"},
    {"i": 8, "text": "a b c", "n": 4, "tag": "a"},
]

PARAMETERS = [
    ("text_length_filter", "min_len"), ("text_length_filter", "max_len"), ("text_length_filter", "reversed_range"), ("text_length_filter", "min_closed_interval"),
    ("words_num_filter", "min_num"), ("words_num_filter", "max_num"), ("average_line_length_filter", "max_len"), ("maximum_line_length_filter", "min_len"),
    ("alphanumeric_filter", "min_ratio"), ("alphanumeric_filter", "max_ratio"), ("special_characters_filter", "max_ratio"),
    ("character_repetition_filter", "rep_len"), ("character_repetition_filter", "max_ratio"), ("word_repetition_filter", "rep_len"), ("word_repetition_filter", "max_ratio"),
    ("specified_numeric_field_filter", "min_value"), ("specified_numeric_field_filter", "max_value"), ("specified_field_filter", "target_value"),
    ("remove_long_words_mapper", "min_len"), ("remove_long_words_mapper", "max_len"), ("remove_header_mapper", "drop_no_head"), ("remove_specific_chars_mapper", "chars_to_remove"),
    ("remove_table_text_mapper", "min_col"), ("remove_repeat_sentences_mapper", "lowercase"), ("remove_repeat_sentences_mapper", "min_repeat_sentence_length"),
    ("replace_content_mapper", "pattern"), ("replace_content_mapper", "repl"), ("clean_email_mapper", "repl"), ("text_chunk_mapper", "max_len"), ("text_chunk_mapper", "split_pattern"),
    ("document_deduplicator", "lowercase"), ("topk_specified_field_selector", "topk"), ("topk_specified_field_selector", "top_ratio"), ("topk_specified_field_selector", "reverse"),
    ("frequency_specified_field_selector", "topk"), ("range_specified_field_selector", "lower_rank"), ("range_specified_field_selector", "upper_percentile"),
]
# What the parameter under test needs beside it.
BESIDE = {
    "specified_numeric_field_filter": {"field_key": "n"}, "specified_field_filter": {"field_key": "tag"}, "topk_specified_field_selector": {"field_key": "n"},
    "frequency_specified_field_selector": {"field_key": "tag"}, "replace_content_mapper": {"pattern": "a", "repl": "X"}, "text_chunk_mapper": {"split_pattern": None},
    "range_specified_field_selector": {"field_key": "n", "upper_rank": 6, "lower_rank": 2}, "text_length_filter": {"max_len": 20},
}
VALUES = """0 1 2 3 5 -1 10 +3 007 017 08 0x10 0b11 0o7 1_000 1__0 12:30 1:30.5 99999999999999999999 -99999999999999999999 1.0 2.0 3. 1.5 2.5 -2.5 .5 -.5 1e0 1e1 1e3 1E3 1e+1 2.5e0 1e-1 1e400 -1e400
.inf -.inf +.inf .Inf .nan .NaN inf nan true false True FALSE yes no on off y n null ~ Null None '' '3' "2" '1.5' 'a' a abc [] [1] [a] [a,b] ['1',2] {} {a:1} 2020-01-01 !!str 3 !!int 3 !!float 3 "a|b" 'r''a''' '[ab]' '(?i)A' 0.3 0.30000000001 0.2999999999 50% 1,000 1kb""".split()

SHAPES = """
- text_length_filter: {min_len: 1}
- text_length_filter: {max_len: 20}
====
- text_length_filter: {min_len: 1, max_len: 3}
- text_length_filter:
====
- text_length_filter: {max_len: 3}
- text_length_filter: {max_len: null}
- text_length_filter: {min_len: 2}
====
- replace_content_mapper: {pattern: a, repl: X}
- replace_content_mapper: {pattern: b}
- replace_content_mapper: {repl: Z}
====
- replace_content_mapper: {pattern: [a, b], repl: [c, d]}
- replace_content_mapper: {pattern: [X, o]}
====
- text_length_filter: {min_len: 2, reversed_range: true}
- text_length_filter: {max_len: 30}
====
- text_length_filter: {min_len: 2, text_key: tag}
- text_length_filter: {max_len: 30}
====
- text_length_filter: &a {min_len: 1, max_len: 5}
- text_length_filter: &b {min_len: 2, max_len: 40}
- text_length_filter: {<<: [*a, *b]}
====
- text_length_filter: &a {min_len: 1, max_len: 5}
- text_length_filter: &b {min_len: 0, max_len: 40}
- text_length_filter: {<<: [*b, *a], max_len: 9}
====
- text_length_filter: &a {min_len: 1, max_len: 40}
- text_length_filter: {max_len: 9, <<: *a}
====
- text_length_filter: &a {min_len: 1, max_len: 40}
- text_length_filter: &b {min_len: 2}
- text_length_filter: {<<: *a, <<: *b}
====
- text_length_filter: {min_len: 1, min_len: 2}
====
- text_length_filter: {min_len: 1}
  text_length_filter: {max_len: 2}
====
- general_fused_op: {fused_op_list: [{text_length_filter: {max_len: 20}}, {text_length_filter: {min_len: 1}}]}
- text_length_filter: {min_len: 3}
====
- text_length_filter: {min_length: 3}
====
- text_lenght_filter: {min_len: 3}
====
- text_length_filter: 5
====
- text_length_filter
====
- {}
====
- text_length_filter: [min_len, 3]
""".strip().split("\n====\n")


def drawn(count, seed):
    draw = random.Random(seed)
    pairs = [(parameter, value) for parameter in PARAMETERS for value in VALUES]
    for (op, param), value in pairs if count >= len(pairs) else draw.sample(pairs, count):
        beside = {key: given for key, given in BESIDE.get(op, {}).items() if key != param}
        written = "".join(f"{key}: {json.dumps(given)}, " for key, given in beside.items())
        yield f"{op}.{param}", f"- {op}: {{{written}{param}: {value}}}"


def files_below(dirs):
    import yaml

    for path in dirs:
        for file in sorted(Path(path).rglob("*.yaml")):
            try:
                process = yaml.safe_load(file.read_text())["process"]
            except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
                continue
            yield str(file), yaml.safe_dump(process)


class Refused(str):
    """The recipe is not accepted."""


class Broken(str):
    """It is accepted, and an operator fails."""


class Peer:
    def __init__(self):
        for name in ("HF_HUB_OFFLINE", "UV_OFFLINE", "PIP_NO_INDEX"):
            os.environ[name] = "1"
        from data_juicer.config import init_configs
        from data_juicer.core.preflight import PipelineConfigError, pre_instantiation_check
        from data_juicer.ops.load import load_ops
        from data_juicer.utils.constant import Fields
        from datasets import Dataset, disable_progress_bars

        from loguru import logger

        logger.remove()
        disable_progress_bars()
        self.init_configs, self.check, self.load_ops, self.refusal = init_configs, pre_instantiation_check, load_ops, PipelineConfigError
        self.stats, self.dataset = Fields.stats, Dataset

    def answer(self, recipe):
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                process = self.init_configs(["--config", str(recipe)], load_configs_only=True).process
                with contextlib.suppress(OverflowError, ValueError):
                    # A number that is none breaks the check itself, and `strict_preflight: false` goes on.
                    self.check(process)
                ops = self.load_ops(process)
        except SystemExit:
            return Refused("its loader exits")
        except Exception as error:
            return Refused(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")
        rows = copy.deepcopy(ROWS)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                for op in ops:
                    for inner in getattr(op, "fused_ops", [op]):
                        rows = self.applied(inner, rows)
        except Exception as error:
            return Broken(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")
        return [(row["i"], row["text"]) for row in rows]

    def applied(self, op, rows):
        if not rows:
            return rows
        name = op._name
        if name.endswith("_mapper"):
            if not op.is_batched_op():
                return [op.process_single(row) for row in rows]
            batch = op.process_batched({key: [row[key] for row in rows] for key in rows[0]})
            return [dict(zip(batch, values)) for values in zip(*batch.values())]
        if name.endswith("_filter"):
            batch = {key: [row.get(key) for row in rows] for key in ROWS[0]}
            batch[self.stats] = [row.get(self.stats, {}) for row in rows]
            batch = op.compute_stats_batched(batch)
            kept = list(op.process_batched(batch))
            rows = [dict(zip(batch, values)) for values in zip(*batch.values())]
            return [row for row, keep in zip(rows, kept) if keep]
        plain = [{key: row[key] for key in ("i", "text", "tag")} | {"n": float(row["n"])} for row in rows]
        if name.endswith("_deduplicator"):
            hashed = [op.compute_hash(row) for row in plain]
            kept, _ = op.process(self.dataset.from_list(hashed))
        else:
            kept = op.process(self.dataset.from_list(plain))
        return list(kept)


def ours(djr, recipe):
    ran = subprocess.run([djr, "run", "-q", recipe.name], cwd=recipe.parent, capture_output=True, text=True)
    if ran.returncode == 2:
        return Refused(ran.stderr.strip().split("\n")[0])
    if ran.returncode != 0:
        return Broken(ran.stderr.strip())
    with open(recipe.parent / "out.jsonl", encoding="utf-8") as rows:
        return [(row["i"], row["text"]) for row in map(json.loads, rows)]


def kind(theirs, mine):
    if isinstance(theirs, Broken):
        return "no answer of Data-Juicer's to compare with"
    if isinstance(theirs, Refused) and isinstance(mine, Refused):
        return "agree"
    if isinstance(theirs, Refused):
        return "Data-Juicer refuses, djr goes on"
    if isinstance(mine, Refused):
        return "djr refuses, Data-Juicer goes on"
    return "agree" if theirs == mine else "other rows"


MEANT = {
    "djr refuses, Data-Juicer goes on": "meant are bounds between which no row can lie, numbers out of a parameter's range, and values of another type than it has",
    "Data-Juicer refuses, djr goes on": "meant is a step that is the bare name of an operator",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dirs", nargs="*")
    parser.add_argument("--djr", default=str(REPO / "target" / "debug" / "djr"))
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", type=int, default=40)
    args = parser.parse_args()
    djr = str(Path(args.djr).resolve())
    cases = [("shape", shape) for shape in SHAPES] + list(drawn(args.cases, args.seed)) + list(files_below(args.dirs))
    wanted = set(filter(None, args.only.split(",")))
    cases = [case for case in cases if not wanted or case[0] in wanted]
    peer, found = Peer(), collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, process) in enumerate(cases):
            here = Path(scratch, str(number))
            here.mkdir()
            os.chdir(here)
            Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
            recipe = here / "recipe.yaml"
            indented = "".join(f"  {line}\n" for line in process.split("\n"))
            recipe.write_text(f"dataset_path: in.jsonl\nexport_path: out.jsonl\nprocess:\n{indented}")
            mine = ours(djr, recipe)
            theirs = peer.answer(recipe)
            found[kind(theirs, mine)].append((process, theirs, mine))
    for what, which in sorted(found.items()):
        print(f"{what}: {len(which)}" + (f" ({MEANT[what]})" if what in MEANT else ""))
        for process, theirs, mine in sorted(which, key=lambda case: len(case[0]))[: args.show if what != "agree" else 0]:
            print("    " + process.replace("\n", "\n    "))
            print(f"        peer {theirs}\n        djr  {mine}")
    agree, apart = len(found["agree"]), len(found["no answer of Data-Juicer's to compare with"])
    print(f"{agree} of {len(cases) - apart} cases agree")
    sys.exit(agree + apart != len(cases))


if __name__ == "__main__":
    main()
