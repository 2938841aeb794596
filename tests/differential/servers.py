#!/usr/bin/env python3
"""Operators that ask a server, in djr and in Data-Juicer's own classes, before one that answers at random.

    cargo build
    tests/differential/servers.py --python PYTHON [--rounds 20] [--seed 1] [NAME...]

PYTHON has py-data-juicer 1.6.1, openai and torch. In each round an operator gets parameters drawn from
those that it takes, and rows of odd texts, lists, numbers, nulls and fields that are missing. The server
answers a body by its digest and by how often it has seen it: sound answers of the operator, pieces of
them in any order, and nothing. Compared are the bodies byte for byte, and of each row what became of it.
Rows that djr sets aside are counted and compared with nothing: Data-Juicer keeps, drops or empties them
when none of its tries can be used.
"""

import argparse
import collections
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Data-Juicer's side: one row at a time through the class itself.
PEER = """
import copy, json, sys
from loguru import logger
logger.remove()
from data_juicer.ops.base_op import OPERATORS
from data_juicer.ops import load_ops
def plain(value):
    if hasattr(value, 'tolist'):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
out = sys.stdout
sys.stdout = sys.stderr
operator = None
for line in sys.stdin:
    asked = json.loads(line)
    answer = {}
    try:
        if 'op' in asked:
            operator = OPERATORS.modules[asked['op']](**asked['params'])
        else:
            row = copy.deepcopy(asked['row'])
            if hasattr(operator, 'compute_stats_single') and 'filter' in asked['name']:
                row.setdefault('__dj__stats__', {})
                row = operator.compute_stats_single(row)
                answer = {'stats': row['__dj__stats__'], 'keep': bool(operator.process_single(row))}
            else:
                row.setdefault('__dj__meta__', {})
                if getattr(operator, '_batched_op', False):
                    made = operator.process_batched({key: [value] for key, value in row.items()})
                    count = len(next(iter(made.values())))
                    answer = {'rows': [{key: column[at] for key, column in made.items()} for at in range(count)]}
                else:
                    answer = {'rows': [operator.process_single(row)]}
        text = json.dumps(plain(answer))
    except BaseException as error:
        text = json.dumps({'error': f'{type(error).__name__}: {error}'[:200]})
    print(text, file=out, flush=True)
"""

TEXTS = [
    "Ada walks to the harbour.", "  spaced out \t", "风筝在天上飞，é 😀", 'a "quoted" \\ back\\slash', "{text} {0} {}", "",
    "line one\nline two\r\n\n### three", "x" * 90 + " end", "\u2028odd\u0085\x0bseparators\x7f", "1", "Tom 叫 Jerry “船长”", "%s ' ` ``` '''",
]
VALUES = [None, 7, 2.5, True, ["a", None, 1.0], {"k": "v", "n": [1, "é"]}, 1e22, -0.0]


def words_of(draw):
    return "".join(draw.choice(TEXTS) for _ in range(draw.choice([1, 1, 2, 3])))


def text_rows(draw, number):
    row = {"text": f"⟦{number}⟧{words_of(draw)}", "id": number}
    if draw.random() < 0.4:
        row["kg"] = draw.choice([*TEXTS, *VALUES])
    return row


def field_rows(draw, number):
    row = text_rows(draw, number)
    for name in ("query", "response", "more"):
        if draw.random() < 0.7:
            row[name] = draw.choice([*TEXTS, *VALUES])
    return row


def pair_rows(draw, number):
    row = {"text": f"⟦{number}⟧{words_of(draw)}", "id": number}
    return {**row, "query": f"⟦{number}⟧{words_of(draw)}", "response": words_of(draw)}


def dialog_rows(draw, number):
    turns = [
        [draw.choice([words_of(draw), words_of(draw), None]), draw.choice([words_of(draw), words_of(draw), None])]
        for _ in range(draw.choice([0, 1, 1, 2, 3]))
    ]
    if turns and draw.random() < 0.2:
        turns[-1] = turns[-1][:1]
    # The same words twice are asked once.
    row = {"id": number, "history": [[f"⟦{number}⟧{turn}{q or ''}", *rest] for turn, (q, *rest) in enumerate(turns)]}
    if draw.random() < 0.8:
        row["query"] = f"⟦{number}⟧{words_of(draw)}"
        if draw.random() < 0.3 and row["history"]:
            row["query"] = row["history"][-1][0]
        row["response"] = draw.choice([words_of(draw), words_of(draw), None, ""])
    return row


def event_rows(draw, number):
    row = text_rows(draw, number)
    meta = draw.choice([{"event_description": words_of(draw)}, {"event_description": words_of(draw)}, {}, {"event_description": 5}, {"event_description": "e", "support_text": "there"}])
    return {**row, "__dj__meta__": meta}


def prompt_rows(draw, number):
    return {"id": number, "prompt": f"⟦{number}⟧{words_of(draw)}", "text": "t"}


def message_rows(draw, number):
    row = field_rows(draw, number)
    row = {key: value for key, value in row.items() if key in ("id", "text", "more") or isinstance(value, str)}
    row["text"] += draw.choice(["", " call 555-010-9912", " 老王 18812345678", " Dr. Ada Lovelace", " a@b.cd", " 名字叫李雷"])
    if draw.random() < 0.6:
        pieces = [words_of(draw) + " 555010099", [{"text": "noted 555010099"}, "and 1"], [{"type": "text", "text": words_of(draw)}], None, 5]
        row["messages"] = [{"role": draw.choice(["user", "assistant", "system"]), "content": draw.choice(pieces)} for _ in range(draw.choice([1, 2, 6]))]
    return row


def image_rows(draw, number):
    images = [f"p{draw.randrange(4)}.{end}" for end in draw.choice([["png"], ["jpg"], ["png", "jpg"], ["png", "png"], []])]
    return {"id": number, "text": f"⟦{number}⟧{words_of(draw)}", "images": images}


def scores(keys):
    """Answers of the scoring filters."""

    def answer(draw):
        value = lambda: draw.choice([1, 2, 3, 4, 5, 5, 4, 3.5, 0, True, "4", None, 1e3])
        likely = draw.random() < 0.7
        said = {key: draw.randrange(1, 6) if likely else value() for key in keys if likely or draw.random() < 0.9}
        whole = {"dimension_scores": said}
        extra = {
            "tags": [{"topic": "鸟", "n": [1, None]}, ["a", 1], "x, y", None, 3, {}, {"deep": {"a": {"b": 1}}}],
            "flags": [["a"], [], "none", None],
            "rationale": [words_of(draw), None, 5],
            "recommendation": ["keep", ["review", None, " discard "], None, 3, "", [], {"a": 1}, float("nan")],
        }
        for key, choices in extra.items():
            if draw.random() < 0.6:
                whole[key] = draw.choice(choices)
        if draw.random() < 0.1:
            whole["dimension_scores"] = draw.choice([{}, None, [], "5", 0, [3]])
        text = json.dumps(whole, ensure_ascii=draw.random() < 0.5, indent=draw.choice([None, 2]))
        return around(draw, text)

    return answer


def around(draw, text):
    """JSON as models give it."""
    if draw.random() < 0.15:
        text = draw.choice([text[:-1], text.replace('"', "'"), text[:-1] + ",}", text + text, "[" + text + "]"])
    return draw.choice(["", "", "Here it is:\n", "```json\n", "{x} ", " \n"]) + text + draw.choice(["", "", "\n```", " ok", "}"])


def pieces(*sound):
    """Sound answers, their pieces in any order, and other texts."""
    cut = [part for answer in sound for part in split(answer)]

    def answer(draw):
        if draw.random() < 0.5:
            return draw.choice(sound)
        return "".join(draw.choice([*cut, *cut, *TEXTS, "\n", " "]) for _ in range(draw.randrange(1, 9)))

    return answer


def split(text):
    part, parts = "", []
    for character in text:
        if character in "：:【】*\n（(<\"" and part:
            parts.append(part)
            part = ""
        part += character
    return [*parts, part]


def extracted(draw):
    value = lambda: draw.choice([words_of(draw), 1, None, ["a", "b"], {"k": 1.5}, True])
    whole = draw.choice([{"who": value(), "what": value()}, {"who": value()}, {"x": value()}, [value(), value()], {"who": {"a": [1]}}, "t", 4])
    return around(draw, json.dumps(whole, ensure_ascii=False))


def tagged(draw):
    tags = draw.choice([["Red Kite", "sky", "Sky"], "a, b ,c", [1, "two"], [], ["x" * 40], "", None, [f"t{n}" for n in range(9)]])
    whole = draw.choice([{"tags": tags}, {"tag": tags}, {"other": tags}, tags])
    text = draw.choice([json.dumps(whole), repr(whole), json.dumps(whole, ensure_ascii=False)])
    return draw.choice(["", "```json\n", "JSON: ", "Response: ", " "]) + text + draw.choice(["", "\n```", " "])


def suspected(draw):
    item = lambda: draw.choice([
        {"field": "text", "category": "phone", "evidence": "555"}, {"field": "messages_excerpt", "category": "key", "evidence": "555010099"},
        {"field": "query", "evidence": draw.choice(["Ada", "", 5, None])}, {"field": None, "category": ["x"], "evidence": "a" * 90}, "text", 3,
    ])
    whole = {"suspected": draw.choice([[item() for _ in range(draw.randrange(4))], [item()], "none", None])}
    if draw.random() < 0.6:
        whole["likely_clean"] = draw.choice([True, False, 0, "yes", None])
    return around(draw, json.dumps(whole, ensure_ascii=False))


QUALITY = ["accuracy", "grammar", "informativeness", "coherence"]
ANALYSIS = ["clarity", "relevance", "usefulness", "fluency"]
DIFFICULTY = ["linguistic_complexity", "conceptual_depth", "prior_knowledge", "step_complexity", "ambiguity"]
RELEVANCE = ["topical_relevance", "linguistic_style_match", "task_match", "knowledge_alignment", "potential_utility"]

SCORED = {
    "min_score": [0.2, 0.6, 1.0], "max_score": [0.4, 0.8, 1.0], "input_keys": [["text"], ["text", "query"], ["more", "text"], ["gone", "text"]],
    "system_prompt": ["", "Judge {this}."], "input_template": ["<{data}>", "{data}{data} {{x}}", ""], "field_template": ["{field_name}={field_data};", "{field_data}"],
    "dim_required_keys": [["clarity"], [], ["accuracy", "grammar"]], "preferred_output_lang": ["zh", "en", "zh-CN", "fr", " ", "English", "中文"],
}
DIALOG = {
    "max_round": [0, 1, 2], "query_template": ["Q<{query}>"], "response_template": ["R<{response}>"], "analysis_template": ["A<{analysis}>"],
    "system_prompt": ["S", ""], "max_query_chars_for_prompt": [5, 30, 60], "max_response_chars_for_prompt": [5, 20, 40],
    "preferred_output_lang": ["zh", "en", "fr", ""], "analysis_key": ["why"], "analysis_pattern": ["分析：(.*)"],
}
LABELS = {**DIALOG, "labels_key": ["what"], "labels_template": ["L<{labels}>"], "labels_pattern": ["类别：(.*)"], "candidate_template": ["C<{candidate_str}>"]}
EXTRACT = {"drop_text": [True], "system_prompt": ["S", ""], "input_template": ["<{text}>"]}
QA = {"system_prompt": ["S"], "input_template": ["<{reference}|{qa_pair}>", "{qa_pair}"], "reference_template": ["R {}"], "qa_pair_template": ["{} -> {}"], "output_pattern": ["【(.*)】(.*)", "(.*)回答】(.*)"]}
OPTIMIZE = {"system_prompt": ["S"], "input_template": ["<{}>"], "qa_pair_template": ["{} -> {}"], "output_pattern": ["【(.*)】(.*)"]}
SEMANTIC = {"knowledge_grounding_key": ["kg"], "knowledge_grounding_fixed": ["known: {x}", ""], "strategy": ["direct", "cot", "few_shot", "cot_shot"], "examples": ["E1: yes\nE2: {no}"]}

QA_ANSWERS = pieces("【问题】where do kites nest?【回答】in trees", "so: 【问题】 where? \n【回答】\n in tall\n trees\n", "【问题】【回答】")
EVENTS = pieces(
    "### 情节1：\n- **情节描述**： 飞\n- **相关人物**：A，B\n### 情节2：\n- **情节描述**：x y\n- **相关人物**：C、D and E",
    "### 情节1\n- **情节描述**：\n- **相关人物**：\n",
)

# Operator: what its rows and answers are, what it needs, and what it may be given.
OPERATORS = {
    "llm_quality_score_filter": (field_rows, scores(QUALITY), {}, SCORED),
    "llm_analysis_filter": (field_rows, scores(ANALYSIS), {}, SCORED),
    "llm_difficulty_score_filter": (field_rows, scores(DIFFICULTY), {}, SCORED),
    "llm_task_relevance_filter": (
        field_rows, scores(RELEVANCE), {"valid_dataset": [{"text": "valid {one}"}, {"text": "valid two", "query": 5}]},
        {**{key: value for key, value in SCORED.items() if key != "max_score"}, "task_desc": ["describe {cats}", ""], "n_shot": [1, 2, 5, 0], "valid_dataset": [[{"text": "v"}], [{"query": "q"}, {"text": None}]]},
    ),
    "llm_condition_filter": (
        text_rows, lambda draw: draw.choice(["yes", "no", "Yes.", " y ", "Y", "yesterday", "", "No, yes", "ＹＥＳ", "yé", "\n yes\n"]),
        {"condition": "it is {about} birds"}, {**SEMANTIC, "condition": ["", "{}"]},
    ),
    "llm_extract_mapper": (
        field_rows, extracted, {"input_keys": ["text"], "output_schema": {"who": "the {who}", "what": "it"}},
        {**SEMANTIC, "input_keys": [["more"], ["text", "query", "more"]], "output_schema": [{"who": "only"}], "meta_output_key": ["", "found", None], "system_prompt": ["S", ""]},
    ),
    "image_tagging_vlm_mapper": (
        image_rows, tagged, {"is_api_model": True},
        {"system_prompt": ["S"], "input_template": ["<{text}>", "tags?"], "tag_field_name": ["tags"]},
    ),
    "extract_keyword_mapper": (
        text_rows, pieces('("content_keywords" "kites, prey")<|COMPLETE|>', '("content_keywords" 风筝，天；c. d|e)', '("content_keywords""a")("content_keywords"b)'), {},
        {"drop_text": [True], "keyword_key": ["k"], "prompt_template": ["{input_text}|{completion_delimiter}"], "completion_delimiter": ["END", ""], "output_pattern": ["<(.*?)>", "content_keywords(.*)"]},
    ),
    "extract_entity_attribute_mapper": (
        text_rows, pieces("## 颜色：\nred\n### 代表性示例摘录1：\n```\na red kite\n```\n### 代表性示例摘录2：\n```\n\n```", "# Ada\n## 颜色：\n blue \n", "## size：\nbig\n### 代表性示例摘录1：\n```x```"),
        {"query_entities": ["Ada", "鸟"], "query_attributes": ["颜色"]},
        {
            "query_attributes": [["size"], ["颜色", "size"], []], "drop_text": [True], "require_support_demos": [False], "entity_key": ["e"], "attribute_key": ["a"],
            "attribute_desc_key": ["d"], "support_text_key": ["s"], "system_prompt_template": ["{entity}/{attribute}"], "input_template": ["<{text}>"],
            "attr_pattern_template": [r"\#\#\s*{attribute}(.*?)(?=\#\#\#|\Z)"], "demo_pattern": [r"(示例)(.*)"],
        },
    ),
    "extract_entity_relation_mapper": (
        text_rows,
        pieces(
            '("entity"<|>"Kite"<|>"bird"<|>"it soars")##("relationship"<|>"Kite"<|>"Tree"<|>"nests in"<|>"nest、home"<|>8)<|COMPLETE|>', "yes", "no", ' "Yes" ', "none",
            "('entity'<|>'A'<|>b<|>c)##(\"relationship\"<|>a<|>b<|>c<|>d, e<|>1.5e0)", '("entity"<|>"Kite"<|>"bird")', '("relationship"<|>a<|>b<|>c<|>d<|>x)',
        ),
        {}, {
            "entity_types": [["person", "geo"], []], "max_gleaning": [0, 2, 3], "drop_text": [True], "entity_key": ["e"], "relation_key": ["r"], "tuple_delimiter": ["<|>", "|"],
            "record_delimiter": ["||"], "completion_delimiter": ["END"], "continue_prompt": ["MORE?"], "if_loop_prompt": ["AGAIN?"],
            "prompt_template": ["{entity_types}|{input_text}|{tuple_delimiter}|{record_delimiter}|{completion_delimiter}"], "entity_pattern": [r'\("entity"(.*?)\)'],
        },
    ),
    "extract_event_mapper": (text_rows, EVENTS, {}, {**EXTRACT, "event_desc_key": ["d"], "relevant_char_key": ["c"]}),
    "extract_nickname_mapper": (
        text_rows, pieces("### 称呼方式1\n- **说话人**：A\n- **被称呼人**：B\n- **A对B的昵称**：bee\n### 称呼方式2\n- **说话人**：B\n- **被称呼人**：A\n- **B对A的昵称**：A\n", "### 称呼方式1 - **说话人**： A - **被称呼人**：B - **A对C的昵称**：x"),
        {}, {**EXTRACT, "nickname_key": ["n"]},
    ),
    "extract_support_text_mapper": (event_rows, pieces(" b ", "", "the text"), {}, {**EXTRACT, "input_template": ["{text}|{summary}"], "support_text_key": ["s"], "summary_key": ["event_description"]}),
    "relation_identity_mapper": (
        text_rows, pieces("分析推理：they meet\n所以B是A的：friend", "x\n因此 B 是: \"rival\"。\n", "分析推理：a\n所以B是A的：\n", "可见：'x'."), {"source_entity": "A", "target_entity": "B"},
        {"drop_text": [True], "output_key": ["o"], "system_prompt_template": ["{entity1}/{entity2}"], "input_template": ["{entity1}{entity2}{text}"], "output_pattern_template": ["({entity1}).*?(x.*)"], "source_entity": [None]},
    ),
    "pair_preference_mapper": (
        pair_rows, pieces("【回答】 in the sea 【原因】 it is false ", "x【回答】a【原因】b", "【回答】【原因】"), {},
        {"system_prompt": ["S"], "input_template": ["{query}|{response}|{reference}"], "output_pattern": ["(.*)原因】(.*)"], "rejected_key": ["r"], "reason_key": ["why"]},
    ),
    "optimize_prompt_mapper": (
        prompt_rows, pieces("【提示词】draw a red kite", "【提示词】\ndraw two kites\n", "【提示词】"), {"max_example_num": 1},
        {"gen_num": [1, 2], "max_example_num": [1, 2], "keep_original_sample": [False], "retry_num": [1, 2, 5], "system_prompt": ["S"], "input_template": ["<{}>"], "example_template": ["[{}]"], "prompt_template": ["({})"], "output_pattern": ["】(.*)"]},
    ),
    "optimize_qa_mapper": (pair_rows, QA_ANSWERS, {"is_hf_model": False}, OPTIMIZE),
    "optimize_query_mapper": (pair_rows, QA_ANSWERS, {"is_hf_model": False}, OPTIMIZE),
    "optimize_response_mapper": (pair_rows, QA_ANSWERS, {"is_hf_model": False}, OPTIMIZE),
    "calibrate_qa_mapper": (pair_rows, QA_ANSWERS, {}, QA),
    "calibrate_query_mapper": (pair_rows, QA_ANSWERS, {}, QA),
    "calibrate_response_mapper": (pair_rows, QA_ANSWERS, {}, QA),
    "dialog_intent_detection_mapper": (
        dialog_rows, pieces("意图分析：wants to know\n意图类别：ask", "意图类别：a\n意图分析：b\n", "意图分析：\n意图类别："), {}, {**LABELS, "intent_candidates": [["ask", "谢"], []]},
    ),
    "dialog_topic_detection_mapper": (dialog_rows, pieces("话题分析：birds\n话题类别：nature", "话题分析：\n"), {}, {**LABELS, "topic_candidates": [["a", "b"]]}),
    "dialog_sentiment_detection_mapper": (dialog_rows, pieces("情感分析：calm\n情感类别：calm", "情感分析：\n"), {}, {**LABELS, "sentiment_candidates": [["a", "b"]]}),
    "dialog_sentiment_intensity_mapper": (
        dialog_rows, pieces("情绪分析：calm\n情绪值： 2 \n", "情绪分析：x\n情绪值：-1", "情绪分析：y\n", "情绪值：3"), {},
        {**DIALOG, "intensities_key": ["what"], "intensity_template": ["I<{intensity}>"], "intensity_pattern": ["值：(.*)"]},
    ),
    "pii_llm_suspect_mapper": (
        message_rows, suspected, {"spacy_auto_download": False},
        {
            "gate_mode": ["always", "heuristic"], "inspect_keys": [["query"], ["text", "more"]], "messages_key": [None, "messages"], "max_messages_for_prompt": [1, 2],
            "max_chars_per_field": [30, 60], "max_chars_messages_excerpt": [40], "result_key": ["r"], "raw_key": ["raw"], "overwrite": [True], "system_prompt": ["S"],
            "preferred_output_lang": ["en", "zh"], "heuristic_name_rules": [False], "redaction_mode": ["evidence", "whole_field", "none"], "redaction_placeholder": ["[X]"],
        },
    ),
}
# Lists whose order a set decides there.
UNORDERED = {"extract_nickname_mapper", "extract_entity_relation_mapper", "image_tagging_vlm_mapper"}
# What they cannot read they take for nothing at once, and djr asks again as `try_num` says.
ONE_TRY = {"llm_extract_mapper", "image_tagging_vlm_mapper", "llm_condition_filter"}
OLD_NAMES = ("extract_", "calibrate", "dialog", "pair", "relation", "pii")


class Asked:
    """What the server was sent since it was last looked at, and how it answers."""

    lock = threading.Lock()
    bodies, counts, answers, seed = [], collections.Counter(), None, ""

    @classmethod
    def take(cls):
        with cls.lock:
            bodies, cls.bodies = cls.bodies, []
            cls.counts.clear()
            return bodies


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        with Asked.lock:
            Asked.bodies.append(body)
            number = Asked.counts[body]
            Asked.counts[body] += 1
        digest = hashlib.sha256(f"{Asked.seed}{number}{body}".encode()).hexdigest()
        draw = random.Random(digest)
        content = "" if draw.random() < 0.05 else Asked.answers(draw)
        # A prompt is what the next ones are made after: so they, too, say whose they are.
        if (mark := re.search("⟦[0-9]+⟧", body)) and "提示词" in content:
            content = content.replace("draw", f"draw {mark[0]}")
        data = json.dumps({
            "id": "c", "object": "chat.completion", "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def drawn(draw, need, may):
    params = dict(need)
    for name, choices in may.items():
        if draw.random() < 0.25:
            params[name] = draw.choice(choices)
    if params.get("min_score", 0) > params.get("max_score", 1):
        # No row could pass, which djr says at once.
        del params["min_score"]
    if "input_keys" in params and "output_schema" not in params:
        params["field_names"] = [f"Field {name}" for name in params["input_keys"]]
    if draw.random() < 0.3:
        params["sampling_params"] = draw.choice([{"temperature": 0.1, "top_p": 1.0}, {"stop": ["x", "é"], "n": None}, {"max_tokens": 5, "extra": {"a": [1.50]}}])
    if draw.random() < 0.4 and "retry_num" not in may:
        params["try_num"] = draw.choice([1, 2, 4])
    return params


def meta_of(row, name):
    """A row without what every row has, lists of sets sorted."""
    row = {key: value for key, value in row.items() if key != "__dj__stats__"}
    if row.get("__dj__meta__") == {}:
        del row["__dj__meta__"]
    if name in UNORDERED:
        for key, value in row.get("__dj__meta__", {}).items():
            if isinstance(value, list):
                value = [sorted(map(str, one)) if isinstance(one, list) else one for one in value]
                row["__dj__meta__"][key] = sorted(value, key=lambda one: json.dumps(one, sort_keys=True))
    return row


def near(a, b):
    if isinstance(a, float) and isinstance(b, (int, float)) and not isinstance(b, bool):
        return abs(a - b) <= 1e-9
    return a == b and type(a) is type(b) or (isinstance(b, float) and near(b, a) if not isinstance(a, float) else False)


def show(value, most=400):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[:most] + "…"


def made_nothing(wanted):
    """Whether there is an answer that could not be read there."""
    if "stats" in wanted:
        return not wanted["stats"]["llm_condition_filter_result"]
    meta = {key: value for key, value in wanted["rows"][0]["__dj__meta__"].items() if key != "llm_semantic_usage"}
    values = [list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value] for value in meta.values()]
    return any(item in (None, []) for value in values for item in value)


def lines_of(path):
    """Not `splitlines`: texts hold separators of other kinds."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


class Peer:
    """Data-Juicer in a process of its own."""

    def __init__(self, python, folder):
        self.process = subprocess.Popen(
            [python, "-c", PEER], cwd=folder, env={**os.environ, "PYTHONHASHSEED": "0", "OPENAI_API_KEY": "none"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(folder / "peer.log", "w"),
        )

    def ask(self, message):
        print(json.dumps(message), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit("Data-Juicer's process ended")
        return json.loads(line)


def one_round(args, peer, folder, url, name, number):
    draw = random.Random(f"{args.seed} {name} {number}")
    make, Asked.answers, need, may = OPERATORS[name]
    Asked.seed = f"{args.seed}{name}{number}"
    model = "api_model" if name.startswith(OLD_NAMES) else "api_or_hf_model"
    params = {model: "m", **drawn(draw, need, may), "model_params": {"base_url": url, "api_key": "sk-test", "max_retries": 0}}
    rows = [make(draw, at) for at in range(args.rows)]
    absolute = [{**row, "images": [str(folder / image) for image in row["images"]]} if "images" in row else row for row in rows]
    Asked.take()
    there = peer.ask({"op": name, "params": params})
    if "error" not in there:
        bodies, there = [], []
        for row in absolute:
            there.append(peer.ask({"row": row, "name": name}))
            bodies.append(Asked.take())
    recipe = {
        "dataset_path": "rows.jsonl", "export_path": "out.jsonl", "process": [{name: params}], "max_quarantine": "none",
        "compat_requests": True, "keep_stats_in_res_ds": True, "paths": "keep", "open_tracer": False,
    }
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in absolute))
    (folder / "r.yaml").write_text(json.dumps(recipe))
    # What servers have said stays there, and is not asked for again.
    shutil.rmtree(folder / "out.jsonl.djr", ignore_errors=True)
    ran = subprocess.run([args.djr, "run", "r.yaml", "-q", "--restart"], cwd=folder, capture_output=True, text=True)
    sent = Asked.take()
    what = {key: value for key, value in params.items() if key not in ("model_params", model)}
    if isinstance(there, dict):
        if ran.returncode == 2 or not any(lines_of(folder / "out.jsonl")):
            return {"refused by both": 1}
        print(f"{name} round {number} {show(what)}\n    is built, and Data-Juicer says {there['error']}")
        return {"other": 1}
    if ran.returncode > 1:
        print(f"{name} round {number} {show(what)}\n    djr ends with {ran.returncode}: {ran.stderr.strip()[-400:]}")
        return {"other": 1}
    out = collections.defaultdict(list)
    for line in lines_of(folder / "out.jsonl"):
        row = json.loads(line)
        out[row["id"]].append(row)
    aside = {}
    for line in lines_of(folder / "out.jsonl.djr/quarantine.jsonl"):
        record = json.loads(line)
        aside[record["line"] - 1] = record
    counts = collections.Counter()

    def other(at, why, here, wanted):
        counts["other"] += 1
        if counts["other"] <= args.show:
            print(f"{name} round {number} row {at} {show(what)}\n    {show(rows[at])}\n    {why}\n    djr:         {show(here)}\n    Data-Juicer: {show(wanted)}")

    by_row = collections.defaultdict(list)
    for body in sent:
        at = body.find("⟦")
        by_row[int(body[at + 1 : body.index("⟧", at)]) if at >= 0 else None].append(body)
    # What several rows ask in the same words is asked once.
    shared = set(by_row.pop(None, []))
    for at, (row, wanted, asked) in enumerate(zip(rows, there, bodies)):
        marked = [body for body in asked if "⟦" in body]
        unmarked = {body for body in asked if "⟦" not in body}
        if at in aside:
            counts["set aside"] += 1
            code = aside[at].get("code") or aside[at].get("reason")
            if code not in ("answer_unusable", "model_failed"):
                counts[f"({code})"] += 1
            if args.aside and counts["set aside"] <= args.show:
                print(f"{name} round {number} row {at} {show(what)}\n    {show(rows[at])}\n    set aside: {show(aside[at])}\n    Data-Juicer: {show(wanted)}")
            continue
        if "error" in wanted:
            other(at, "djr goes on", out.get(at), wanted)
            continue
        more = len(by_row[at]) > len(marked) or not marked
        if name in ONE_TRY and "error" not in wanted and more and set(marked) <= set(by_row[at]) and made_nothing(wanted):
            counts["asked again"] += 1
            continue
        if by_row[at] != marked:
            first = next(((a, b) for a, b in zip(by_row[at] + [None] * 9, marked + [None] * 9) if a != b), None)
            other(at, f"other bodies: {len(by_row[at])} and {len(marked)}", first[0], first[1])
            continue
        if unmarked - shared:
            other(at, "a body was not sent", None, min(unmarked - shared))
            continue
        if "keep" in wanted:
            kept = at in out
            found = out[at][0].get("__dj__stats__", {}) if kept else None
            if kept != wanted["keep"]:
                other(at, "another decision", found, wanted)
            elif kept and any(not near(found.get(key), wanted["stats"].get(key)) for key in {**found, **wanted["stats"]}):
                other(at, "other stats", found, wanted["stats"])
            else:
                counts["same"] += 1
            continue
        found = [meta_of(one, name) for one in out.get(at, [])]
        made = [meta_of(one, name) for one in wanted["rows"]]
        if found != made:
            other(at, "other rows", found, made)
        else:
            counts["same"] += 1
    return counts


def pictures(python, folder):
    subprocess.run([python, "-c", """
from PIL import Image
for number in range(4):
    image = Image.new('RGB', (20 + number, 16), (number * 60, 90, 200))
    image.save(f'p{number}.png'), image.save(f'p{number}.jpg')
"""], cwd=folder, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True)
    parser.add_argument("--djr", default=str(Path(__file__).parents[2] / "target/debug/djr"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--show", type=int, default=2, help="differences shown a round")
    parser.add_argument("--aside", action="store_true", help="shows rows that djr sets aside")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    total = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pictures(args.python, folder)
        peer = Peer(args.python, folder)
        for name in OPERATORS:
            if args.names and name not in args.names:
                continue
            counts = collections.Counter()
            for number in range(args.rounds):
                counts.update(one_round(args, peer, folder, url, name, number))
            total.update(counts)
            print(f"{name:36} " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())), flush=True)
    print("all: " + ", ".join(f"{count} {what}" for what, count in sorted(total.items())))
    sys.exit(1 if total["other"] else 0)


if __name__ == "__main__":
    main()
