#!/usr/bin/env python3
"""Texts of other projects' test files through every text operator, djr against Data-Juicer 1.6.1.

    tests/differential/texts.py DIR... [--djr target/debug/djr] [--only OP,...] [--generated N]
                                [--limit N] [--show 3]

Run it from the repository's root with the Python of an environment that holds py-data-juicer 1.6.1
and what its text operators ask for (ftfy, selectolax, emoji, regex, nltk, opencc 1.1.9). Nothing is
downloaded; an operator whose package is absent is passed over by name. Every text found below the
directories is used once:

    *.dat           html5lib's tests: what follows each `#data`
    *.json          all strings, and all keys, that stand in the file
    *.txt           lines; where a line of Unicode's test files lists code points, their text, too
    anything else that is UTF-8: lines

Good ones, none of which is shipped here: html5lib-tests (github.com/html5lib/html5lib-tests,
`tree-construction` and `tokenizer`), ftfy's `tests/test-cases`, OpenCC's `test/testcases`, and
`NormalizationTest.txt`, `GraphemeBreakTest.txt` and the like of unicode.org/Public. `--generated N`
adds N texts that are put together from characters where the two are likely to part.

Mappers are compared by the text they leave, filters by their stats before any rounding. Prints for
each operator how many answers agree, and the smallest texts that do not; exit code 1 if one differs.
"""

import argparse
import copy
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
ASSETS = REPO / "fixtures" / "assets"

# Text operators and parameters; bounds are opened, so that a filter measures and drops nothing.
OPERATORS = [
    ("chinese_convert_mapper", {"mode": "s2t"}),
    ("chinese_convert_mapper", {"mode": "tw2sp"}),
    ("clean_copyright_mapper", {}),
    ("clean_email_mapper", {}),
    ("clean_html_mapper", {}),
    ("clean_ip_mapper", {}),
    ("clean_links_mapper", {}),
    ("expand_macro_mapper", {}),
    ("fix_unicode_mapper", {}),
    ("fix_unicode_mapper", {"normalization": "NFKC"}),
    ("punctuation_normalization_mapper", {}),
    ("remove_bibliography_mapper", {}),
    ("remove_comments_mapper", {}),
    ("remove_header_mapper", {"drop_no_head": False}),
    ("remove_long_words_mapper", {"max_len": 12}),
    ("remove_non_chinese_character_mapper", {"keep_punc": True}),
    ("remove_repeat_sentences_mapper", {}),
    ("remove_specific_chars_mapper", {}),
    ("remove_table_text_mapper", {}),
    ("remove_words_with_incorrect_substrings_mapper", {}),
    ("replace_content_mapper", {"pattern": r"(?i)[a-z]+", "repl": "_"}),
    ("replace_content_mapper", {"pattern": r"\s+\w|\b", "repl": r"<\g<0>>"}),
    ("sentence_split_mapper", {}),
    ("whitespace_normalization_mapper", {}),
    ("alphanumeric_filter", {"min_ratio": None, "max_ratio": None}),
    ("average_line_length_filter", {"min_len": None, "max_len": None}),
    ("character_repetition_filter", {"rep_len": 5, "min_ratio": None, "max_ratio": None}),
    ("flagged_words_filter", {"flagged_words_dir": str(ASSETS), "max_ratio": None}),
    ("maximum_line_length_filter", {"min_len": None, "max_len": None}),
    ("special_characters_filter", {"min_ratio": None, "max_ratio": None}),
    ("stopwords_filter", {"stopwords_dir": str(ASSETS), "min_ratio": None}),
    ("text_length_filter", {"min_len": None, "max_len": None}),
    ("word_repetition_filter", {"rep_len": 3, "min_ratio": None, "max_ratio": None}),
    ("words_num_filter", {"min_num": None, "max_num": None}),
]

# Characters near the rules of some operator: case, white space, marks, markup, scripts, joiners.
PIECES = (
    list("aAiIkKsS zZ09.,;:!?-_'\"()[]{}<>&%$#@*/\\|~^`+=\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x00\x7f\x85\xa0\xad")
    + list("İıſKÅßẞŉǅΣςσθϑϴﬁﬀ²½Ⅷ٣१๓《》「」。，！？：；（）【】—…“”‘’„«»·•◆●►▼　‎‏‪‬​‌‍⁠﻿￼  ゙́̈ः")
    + list("中国國后後台臺万发發髮里裡面麵干乾幹只隻日本語ひらカタ한글ไทยहिंدیעבД") + ["👩‍👧", "👍🏽", "❤️", "🇫🇮", "5️⃣", "é", "Ã©", "â€™", "&amp;", "&#233;", "&lt"]
    + ["<p>", "</p>", "<br>", "<li>", "</li>", "<select>", "<option>", "<selectedcontent>", "<table>", "<td>", "<svg>", "<b>", "</b>", "<!--", "-->", "<script>", "</script>", "<title>"]
    + ["http://a.bc/d", "www.x.org", "a@b.cd", "1.2.3.4", "\\section{x}", "\\newcommand{\\f}{g}", "\\f", "% c", "/* copyright */", "// x", "word ", "word ", "the ", "The end. ", "Dr. ", "e.g. "]
)


def texts_below(path):
    for file in sorted(Path(path).rglob("*") if Path(path).is_dir() else [Path(path)]):
        if not file.is_file():
            continue
        try:
            content = file.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        if file.suffix == ".dat":
            parts = re.split(r"^#data\n", content, flags=re.M)[1:]
            yield from (part.split("\n#errors", 1)[0] for part in parts)
        elif file.suffix in (".json", ".test"):
            try:
                yield from strings(json.loads(content))
            except ValueError:
                continue
        else:
            for line in content.split("\n"):
                yield line
                codes = re.findall(r"\b[0-9A-F]{4,6}\b", line.split("#")[0])
                if codes:
                    yield "".join(chr(int(code, 16)) for code in codes if int(code, 16) < 0x110000)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)


def generated(count):
    draw = random.Random(11)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 24))) for _ in range(count)]


def is_text(text):
    return not any("\ud800" <= c <= "\udfff" for c in text)


class Peer:
    """Data-Juicer's operators, called row by row, so that one that fails costs no other row."""

    def __init__(self):
        for name in ("HF_HUB_OFFLINE", "UV_OFFLINE", "PIP_NO_INDEX"):
            os.environ[name] = "1"
        os.environ["DATA_JUICER_CACHE_HOME"] = str(REPO / "fixtures" / "cache")
        data = tempfile.mkdtemp()
        os.makedirs(f"{data}/tokenizers")
        # NLTK follows no link that leads out of its directory.
        shutil.copytree(ASSETS / "punkt_tab", f"{data}/tokenizers/punkt_tab")
        os.environ["NLTK_DATA"] = data
        from data_juicer.ops.load import load_ops
        from data_juicer.utils.constant import Fields
        from loguru import logger

        logger.remove()
        self.load_ops, self.stats = load_ops, Fields.stats

    def answers(self, name, params, texts):
        op = self.load_ops([{name: copy.deepcopy(params)}])[0]
        one = self.measured if name.endswith("_filter") else self.mapped
        return [one(op, text) for text in texts]

    def mapped(self, op, text):
        try:
            if op.is_batched_op():
                return list(op.process_batched({"text": [text]})["text"])[0]
            return op.process_single({"text": text})["text"]
        except Exception as error:
            return failed(error)

    def measured(self, op, text):
        try:
            if op.is_batched_op():
                stats = op.compute_stats_batched({"text": [text], self.stats: [{}]})[self.stats][0]
            else:
                stats = op.compute_stats_single({"text": text, self.stats: {}})[self.stats]
        except Exception as error:
            return failed(error)
        return {key: value.item() if hasattr(value, "item") else value for key, value in stats.items()}


class Failed(str):
    """No answer; two of them agree, whatever they say."""


def failed(error):
    return Failed(f"{type(error).__name__}: {error}")


def ours(djr, name, params, texts):
    with tempfile.TemporaryDirectory() as scratch:
        recipe = {
            "dataset_path": "in.jsonl",
            "export_path": "out.jsonl",
            "compat_stats": "exact",
            "keep_stats_in_res_ds": True,
            "max_quarantine": "none",
            "process": [{name: params}],
        }
        Path(scratch, "recipe.yaml").write_text(json.dumps(recipe))
        with open(Path(scratch, "in.jsonl"), "w", encoding="utf-8") as rows:
            for i, text in enumerate(texts):
                rows.write(json.dumps({"i": i, "text": text}) + "\n")
        ran = subprocess.run([djr, "run", "-q", "recipe.yaml"], cwd=scratch, capture_output=True, text=True)
        if ran.returncode > 1:
            raise RuntimeError(ran.stderr.strip())
        answers = [Failed("set aside") for _ in texts]
        with open(Path(scratch, "out.jsonl"), encoding="utf-8") as rows:
            for row in map(json.loads, rows):
                answers[row["i"]] = row.get("__dj__stats__", {}) if name.endswith("_filter") else row["text"]
        return answers


def agree(a, b):
    return type(a) is type(b) and (isinstance(a, Failed) or a == b)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dirs", nargs="*")
    parser.add_argument("--djr", default=str(REPO / "target" / "debug" / "djr"))
    parser.add_argument("--only", default="")
    parser.add_argument("--generated", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--show", type=int, default=3)
    args = parser.parse_args()
    found = [text for path in args.dirs for text in texts_below(path)]
    texts = list(dict.fromkeys(filter(is_text, found + generated(args.generated))))
    if args.limit:
        random.Random(7).shuffle(texts)
        texts = texts[: args.limit]
    if not texts:
        sys.exit("no texts: name a directory, or give --generated N")
    peer, all_agree, total = Peer(), 0, 0
    wanted = set(filter(None, args.only.split(",")))
    for name, params in OPERATORS:
        if wanted and name not in wanted:
            continue
        try:
            theirs = peer.answers(name, params, texts)
        except Exception as error:
            print(f"{name}: passed over, {type(error).__name__}: {error}")
            continue
        mine = ours(args.djr, name, params, texts)
        wrong = [i for i, (a, b) in enumerate(zip(theirs, mine)) if not agree(a, b)]
        all_agree += len(texts) - len(wrong)
        total += len(texts)
        print(f"{name} {json.dumps(params)}: {len(texts) - len(wrong)} of {len(texts)} agree")
        for i in sorted(wrong, key=lambda i: (len(texts[i]), texts[i]))[: args.show]:
            print(f"    {ascii(texts[i])}\n        peer {ascii(theirs[i])}\n        djr  {ascii(mine[i])}")
        sys.stdout.flush()
    print(f"{all_agree} of {total} answers agree, over {len(texts)} texts")
    sys.exit(all_agree != total)


if __name__ == "__main__":
    main()
