#!/usr/bin/env python3
"""Operators that djr lacks, run by `djr run` in Data-Juicer, beside Data-Juicer alone on the same rows.

    cargo build
    tests/differential/peer_operators.py --python PYTHON [--models DIR] [--kills 50] [NAME...]

PYTHON has py-data-juicer with ray, and what its operators ask for: av, opencv-python-headless (4), soundfile,
librosa, torchcodec, transformers, dlib, ffmpeg-python, scenedetect, audiomentations, nlpaug, nlpcda,
resampy, simple-aesthetics-predictor,
openai, tiktoken (TIKTOKEN_CACHE_DIR names its files where the hub is out of reach); the programs ffmpeg and
ffprobe are beside it, or in PATH. DIR has tiny models (those of golden_models/models), for the operators
over the frames of videos, which are left out without it. The videos, sounds and pictures are made here, and
so are the other models, with random weights. Operators that ask a language model ask a server on loopback,
which answers each prompt in its own way, the same for the same prompt; what is downloaded comes from it, too.

For each operator it prints whether the rows agree, numbers to the ten digits that Data-Juicer writes. Files that operators make are compared by content,
since Data-Juicer names them by process and time. Of operators that draw at random only the fields and
the number of rows are compared. What Data-Juicer alone does not run here is named and not counted.

With --kills, a recipe over videos is run while djr and its workers are killed at random moments, and
resumed, until so many kills are through; the bytes are compared with those of a run left alone.
"""

import argparse
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VIDEO, AUDIO, IMAGE, EOC = "<__dj__video>", "<__dj__audio>", "<__dj__image>", "<|__dj__eoc|>"

# Name, parameters, rows, and what is peculiar: "random" draws, "rows" makes or drops rows.
CASES = [
    ("video_duration_filter", {"min_duration": 2, "max_duration": 3}, "videos"),
    ("video_duration_filter", {"max_duration": 2, "any_or_all": "all"}, "videos"),
    ("video_aspect_ratio_filter", {"min_ratio": "1/1", "max_ratio": "3/2"}, "videos"),
    ("video_resolution_filter", {"min_width": 70}, "videos"),
    ("video_motion_score_filter", {"min_score": 0.5}, "videos"),
    ("video_split_by_duration_mapper", {"split_duration": 1, "save_dir": "made"}, "videos", "rows"),
    ("video_split_by_key_frame_mapper", {"keep_original_sample": False, "save_dir": "made"}, "videos", "rows"),
    ("video_split_by_scene_mapper", {}, "videos"),
    ("video_extract_frames_mapper", {"frame_sampling_method": "uniform", "frame_num": 2, "frame_dir": "frames"}, "filled"),
    ("video_resize_resolution_mapper", {"max_width": 48}, "videos"),
    ("video_resize_aspect_ratio_mapper", {"max_ratio": "1/1"}, "videos"),
    ("video_ffmpeg_wrapped_mapper", {"filter_name": "hflip", "filter_kwargs": {}}, "videos"),
    ("video_remove_watermark_mapper", {"roi_strings": ["0,0,0.2,0.2"]}, "videos"),
    ("video_face_blur_mapper", {}, "videos"),
    ("video_nsfw_filter", {"hf_nsfw_model": "{models}/tiny-vit-nsfw", "frame_sampling_method": "uniform", "frame_num": 2}, "videos"),
    ("video_watermark_filter", {"hf_watermark_model": "{models}/tiny-vit-watermark", "prob_threshold": 0.5}, "videos"),
    ("video_aesthetics_filter", {"hf_scorer_model": "{models}/tiny-aesthetics-predictor-v2-linear", "min_score": 0.3}, "videos"),
    ("video_frames_text_similarity_filter", {"hf_clip": "{models}/tiny-clip", "min_score": 0.0}, "videos"),
    ("video_deduplicator", {}, "videos", "rows"),
    ("video_deduplicator", {"consider_text": True}, "videos", "rows"),
    ("audio_duration_filter", {"min_duration": 1}, "audios"),
    ("audio_size_filter", {"min_size": "10kb"}, "audios"),
    ("audio_nmf_snr_filter", {"min_snr": 5, "nmf_iter_num": 20}, "audios", "random"),
    ("audio_ffmpeg_wrapped_mapper", {"filter_name": "atrim", "filter_kwargs": {"end": 0.5}}, "audios"),
    ("audio_add_gaussian_noise_mapper", {}, "audios", "random"),
    ("video_face_ratio_filter", {"threshold": 0.0}, "videos"),
    ("video_tagging_from_audio_mapper", {"hf_ast": "{made}/sounds"}, "sounding"),
    ("image_face_count_filter", {"max_face_count": 0, "min_face_count": 0}, "images"),
    ("image_face_ratio_filter", {}, "images"),
    ("image_face_blur_mapper", {}, "images"),
    ("image_tagging_vlm_mapper", {"api_or_hf_model": "m", "is_api_model": True}, "images"),
    ("nlpaug_en_mapper", {"delete_random_word": True, "aug_num": 2}, "texts", "random rows"),
    ("nlpcda_zh_mapper", {"delete_random_char": True, "aug_num": 2}, "texts", "random rows"),
    ("python_lambda_mapper", {"lambda_str": "lambda d: {'text': d['text'][::-1], 'n': len(d['text'])}"}, "texts"),
    (
        "python_lambda_mapper",
        {"lambda_str": "lambda b: {k: [v for v in c for _ in range(len(b['text'][0]) % 3)] for k, c in b.items()}", "batched": True, "batch_size": 1},
        "texts",
        "rows",
    ),
    ("python_file_mapper", {"file_path": "functions.py", "function_name": "shout"}, "texts"),
    ("reverse_text_mapper", {"twice": False}, "texts"),
    ("vowels_filter", {"min_vowels": 7}, "texts"),
    ("sentences_mapper", {}, "texts", "rows"),
    ("calibrate_qa_mapper", {}, "texts"),
    ("calibrate_query_mapper", {}, "texts"),
    ("calibrate_response_mapper", {}, "texts"),
    ("optimize_qa_mapper", {"api_or_hf_model": "m", "is_hf_model": False}, "texts"),
    ("optimize_query_mapper", {"api_or_hf_model": "m", "is_hf_model": False}, "texts"),
    ("optimize_response_mapper", {"api_or_hf_model": "m", "is_hf_model": False}, "texts"),
    ("pair_preference_mapper", {}, "texts"),
    ("extract_keyword_mapper", {}, "texts"),
    ("extract_event_mapper", {}, "texts", "rows"),
    ("extract_nickname_mapper", {}, "texts"),
    ("extract_entity_relation_mapper", {}, "texts"),
    ("extract_entity_attribute_mapper", {"query_entities": ["Ada"], "query_attributes": ["trade"]}, "texts"),
    ("extract_support_text_mapper", {}, "events"),
    ("relation_identity_mapper", {"source_entity": "Ada", "target_entity": "Bo"}, "texts"),
    ("llm_extract_mapper", {"input_keys": ["text"], "output_schema": {"who": "a name"}}, "texts"),
    ("pii_llm_suspect_mapper", {"spacy_auto_download": False, "gate_mode": "always"}, "texts"),
    ("dialog_intent_detection_mapper", {}, "dialogs"),
    ("dialog_sentiment_detection_mapper", {}, "dialogs"),
    ("dialog_sentiment_intensity_mapper", {}, "dialogs"),
    ("dialog_topic_detection_mapper", {}, "dialogs"),
    ("dialog_coreference_mapper", {}, "dialogs"),
    ("dialog_proactivity_mapper", {}, "dialogs"),
    ("dialog_topic_shift_mapper", {}, "dialogs"),
    ("dialog_error_recovery_mapper", {}, "dialogs"),
    ("dialog_memory_consistency_mapper", {}, "dialogs"),
    ("dialog_non_repetition_mapper", {}, "dialogs"),
    ("dialog_clarification_quality_mapper", {}, "dialogs"),
    ("agent_insight_llm_mapper", {}, "dialogs"),
    ("agent_trace_coherence_mapper", {}, "dialogs"),
    ("agent_tool_relevance_mapper", {}, "dialogs"),
    ("agent_skill_insight_mapper", {}, "dialogs"),
    ("optimize_prompt_mapper", {"api_or_hf_model": "m"}, "texts", "random rows"),
    ("video_hand_motion_smooth_mapper", {}, "videos"),
    ("video_hand_action_compute_mapper", {}, "videos"),
    ("video_atomic_action_segment_mapper", {}, "videos"),
    ("video_trajectory_overlay_mapper", {}, "videos"),
    ("video_clip_reassembly_mapper", {}, "videos"),
    ("download_file_mapper", {"download_field": "from", "save_dir": "fetched"}, "links"),
    ("llm_perplexity_filter", {"hf_model": "{made}/words", "max_score": 300}, "texts"),
    ("instruction_following_difficulty_filter", {"hf_model": "{made}/words", "query_template": "{query}", "min_score": 0.5, "max_score": 1.0}, "texts"),
    ("in_context_influence_filter", {"hf_model": "{made}/words", "valid_dataset": [{"text": "The kite rose."}], "min_score": 0.5, "max_score": 1.0}, "texts"),
    ("query_intent_detection_mapper", {"hf_model": "{made}/classes", "zh_to_en_hf_model": None}, "texts"),
    ("query_sentiment_detection_mapper", {"hf_model": "{made}/classes", "zh_to_en_hf_model": None}, "texts"),
    ("query_topic_detection_mapper", {"hf_model": "{made}/classes", "zh_to_en_hf_model": None}, "texts"),
    ("sentence_augmentation_mapper", {"hf_model": "{made}/words", "task_sentence": "Say it again.", "max_new_tokens": 6, "text_key_second": "again"}, "texts"),
    ("text_tagging_by_prompt_mapper", {"hf_model": "{made}/words", "enable_vllm": False, "sampling_params": {"max_new_tokens": 6, "do_sample": False}}, "texts"),
    ("llm_quality_score_filter", {"min_score": 0.5}, "texts"),
    ("llm_difficulty_score_filter", {"min_score": 0.5}, "texts"),
    ("llm_condition_filter", {"condition": "it speaks of a harbour"}, "texts"),
    ("nested_aggregator", {"output_key": "told"}, "grouped"),
    ("meta_tags_aggregator", {"meta_tag_key": "event_description"}, "grouped"),
    ("entity_attribute_aggregator", {"entity": "Ada", "attribute": "trade"}, "grouped"),
    ("most_relevant_entities_aggregator", {"entity": "Ada", "query_entity_type": "person"}, "grouped"),
]

# Kinds of rows with videos or sounds.
MEDIA_ROWS = {"videos", "filled", "sounding", "audios"}

# Those that CUSTOM registers.
OWN = {"reverse_text_mapper", "vowels_filter", "sentences_mapper"}

FUNCTIONS = """def shout(sample):
    sample['text'] = sample['text'].upper()
    sample['loud'] = True
    return sample
"""

CUSTOM = """import re
from data_juicer.ops.base_op import OPERATORS, Filter, Mapper


@OPERATORS.register_module('reverse_text_mapper')
class ReverseText(Mapper):
    def __init__(self, twice: bool = True, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.twice = twice

    def process_single(self, sample):
        text = sample[self.text_key]
        sample[self.text_key] = text if self.twice else text[::-1]
        return sample


@OPERATORS.register_module('vowels_filter')
class Vowels(Filter):
    _batched_op = True

    def __init__(self, min_vowels: int = 0, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.least = min_vowels

    def compute_stats_batched(self, samples, *args, **kwargs):
        for text, stats in zip(samples[self.text_key], samples['__dj__stats__']):
            stats['vowels'] = len(re.findall('[aeiou]', text))
        return samples

    def process_batched(self, samples):
        return (stats['vowels'] >= self.least for stats in samples['__dj__stats__'])


@OPERATORS.register_module('sentences_mapper')
class Sentences(Mapper):
    _batched_op = True

    def process_batched(self, samples):
        out = {key: [] for key in samples}
        for at, text in enumerate(samples[self.text_key]):
            for sentence in text.split('. '):
                for key in samples:
                    out[key].append(sentence if key == self.text_key else samples[key][at])
        return out
"""

# Data-Juicer alone: one process, operator after operator, the way its executor runs them.
BASELINE = """
import json, sys
sys.path.insert(0, sys.argv[2])
from datasets import disable_caching
disable_caching()
from data_juicer.utils.lazy_loader import LazyLoader
# Nothing is installed while operators are compared.
LazyLoader._install_package = classmethod(lambda *_: None)
import data_juicer.config.config as config
from data_juicer.core.data import NestedDataset
from data_juicer.ops import load_ops
if sys.argv[3] == 'custom':
    config.load_custom_operators(['custom.py'])
for line in sys.stdin:
    case = json.loads(line)
    try:
        dataset = NestedDataset.from_list(case['rows'])
        for op in load_ops(case['process']):
            dataset = op.run(dataset)
        answer = {'rows': dataset.to_list()}
    except BaseException as error:
        answer = {'error': f'{type(error).__name__}: {error}'[:300]}
    print(json.dumps(answer, default=str), file=open(case['answer'], 'w'), flush=True)
    print('done', flush=True)
"""


class Server(BaseHTTPRequestHandler):
    """Answers a prompt by its digest, in many forms at once."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = json.dumps(asked.get("messages"), sort_keys=True, ensure_ascii=False)
        # Temporary names of files are not of the prompt.
        digest = int(hashlib.sha256(prompt.encode()).hexdigest(), 16)
        word = "harbour kite lantern river orchard bridge".split()[digest % 6]
        score = digest % 5 + 1
        yes = digest % 2 == 0
        scores = dict.fromkeys(["clarity", "relevance", "usefulness", "fluency", "linguistic_complexity"], score)
        content = (
            f"# Analysis: of the {word}\n## Label: {word}\n[[{score}]] {word}\n"
            f"Question: What of the {word}? Answer: It is number {score}.\n"
            f"【问题】\n{word}？\n【回答】\n{score}。\n### 1\n- **Event Description**: Ada sees the {word}\n"
            f"{'Yes' if yes else 'No'}\n"
            + json.dumps({"dimension_scores": scores, "score": score, "flag": "x", "who": word, "rationale": word, "result": yes, "tags": [word]})
        )
        if "json" in prompt.lower() or "JSON" in prompt:
            content = content[content.index("{") :]
        body = json.dumps(
            {
                "id": "1", "object": "chat.completion", "created": 0, "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        """A file whose content is its name."""
        found = "missing" not in self.path
        body = f"the file {self.path}".encode() if found else b"no such file"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# Run by PYTHON, which has av and numpy.
MEDIA = """
import sys, wave
import av
import numpy as np

def video(path, width, height, seconds, shift, scenes):
    with av.open(path, 'w') as out:
        stream = out.add_stream('mpeg4', rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        stream.gop_size = 8
        y, x = np.mgrid[0:height, 0:width]
        for at in range(int(seconds * 10)):
            scene = at * scenes // int(seconds * 10)
            moved = (x + at * shift + scene * 37) % 64 * 4
            frame = np.stack([moved, (y * 3 + scene * 90) % 256, np.full_like(x, scene * 80)], -1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame.astype('uint8'), format='rgb24')):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)

video('a.mp4', 64, 48, 2, 2, 1)
video('b.mp4', 96, 48, 3, 1, 2)
video('c.mp4', 48, 64, 1, 0, 1)
video('d.mp4', 80, 80, 4, 3, 3)
with av.open('e.mov', 'w') as out:
    stream = out.add_stream('mpeg4', rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
    voice = out.add_stream('pcm_s16le', rate=16000, layout='mono')
    for at in range(10):
        for packet in stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), at * 20, 'uint8'), format='rgb24')):
            out.mux(packet)
        wave = (np.sin(np.arange(1600) * (at + 1) * .1) * 8000).astype('int16').reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(wave, format='s16', layout='mono')
        frame.sample_rate, frame.pts = 16000, at * 1600
        for packet in voice.encode(frame):
            out.mux(packet)
    for which in (stream, voice):
        for packet in which.encode():
            out.mux(packet)
from PIL import Image
for number, name in enumerate('pqr'):
    y, x = np.mgrid[0:60, 0:80]
    pixels = np.stack([(x * (number + 1)) % 256, (y * 4) % 256, (x + y) % 256], -1).astype('uint8')
    Image.fromarray(pixels).save(name + '.png')
"""

# Run by PYTHON, which has transformers: models with random weights, the same each time.
MODELS = """
import os, sys
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedTokenizerFast
spelling = ByteLevelBPETokenizer()
spelling.train_from_iterator(['the kite rose over the river'] * 9, vocab_size=280, special_tokens=['<end>'])
words = PreTrainedTokenizerFast(tokenizer_object=spelling._tokenizer, eos_token='<end>', pad_token='<end>')
words.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
size = dict(vocab_size=300, n_positions=4096, n_embd=32, n_layer=2, n_head=2, eos_token_id=0, pad_token_id=0)
torch.manual_seed(3)
for name, kind, more in [('words', GPT2LMHeadModel, {}), ('classes', GPT2ForSequenceClassification, {'num_labels': 4})]:
    words.save_pretrained(name)
    kind(GPT2Config(**size, **more)).save_pretrained(name)
heard = ASTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_length=128, num_labels=5)
ASTForAudioClassification(heard).save_pretrained('sounds')
ASTFeatureExtractor(max_length=128).save_pretrained('sounds')
"""


def sound(path, seconds, tone):
    rate = 8000
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        noise = random.Random(tone)
        samples = (int(9000 * math.sin(t * tone / rate * 6.28)) + noise.randrange(-500, 500) for t in range(int(seconds * rate)))
        out.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))


def rows_of(kind, folder, files):
    """Rows with absolute paths, as Data-Juicer has them when it has read them. FILES is where links lead."""
    here = lambda name: str(folder / name)
    texts = [
        "Ada walks to the harbour. She calls Bo, whom she calls Captain, at 555-1234.",
        "The kite rose over the river. Nobody saw it but the ferryman.",
        "老王和小李在港口相遇，老王叫小李“船长”。他们谈论了风筝和桥。",
        "A short one.",
        "Bridges are built by many hands. Lanterns are lit by one. Orchards are planted for others.",
    ]
    if kind == "filled":
        return rows_of("videos", folder, files)[:-1]
    if kind == "videos":
        lists = [["a.mp4"], ["b.mp4"], ["c.mp4", "a.mp4"], ["d.mp4"], ["a.mp4"], []]
        return [
            {"id": n, "text": f"{VIDEO * len(names)} {texts[n % 5]} {EOC}", "videos": [here(name) for name in names]}
            for n, names in enumerate(lists)
        ]
    if kind == "audios":
        lists = [["s.wav"], ["t.wav"], ["u.wav", "s.wav"], ["s.wav"]]
        return [
            {"id": n, "text": f"{AUDIO * len(names)} {texts[n]} {EOC}", "audios": [here(name) for name in names]}
            for n, names in enumerate(lists)
        ]
    if kind == "images":
        lists = [["p.png"], ["q.png", "r.png"], ["p.png"]]
        return [
            {"id": n, "text": f"{IMAGE * len(names)} {texts[n]} {EOC}", "images": [here(name) for name in names]}
            for n, names in enumerate(lists)
        ]
    if kind == "sounding":
        return [{"id": n, "text": texts[n], "videos": [here(name) for name in names]} for n, names in enumerate([["e.mov"], ["a.mp4", "e.mov"], []])]
    if kind == "links":
        lists = [["one.txt", "two.txt"], ["missing.txt"], ["three.txt"]]
        return [{"id": n, "text": texts[n], "from": [f"{files}/{name}" for name in names]} for n, names in enumerate(lists)]
    if kind == "dialogs":
        turns = [["Where is the harbour?", "Down the river."], ["And the kite?", "It rose."], ["Are you sure?", "I am sorry, no."]]
        return [
            {"id": n, "text": texts[n], "query": f"So, number {n}?", "response": "Indeed.", "history": turns[: n + 1]}
            for n in range(3)
        ]
    rows = [{"id": n, "text": text, "query": text[:20], "response": text[20:]} for n, text in enumerate(texts)]
    if kind == "events":
        rows = [{**row, "__dj__meta__": {"event_description": row["text"][:10]}} for row in rows]
    if kind == "grouped":
        rows = [{**row, "__dj__meta__": {"event_description": row["text"][:30]}} for row in rows]
    return rows


def plain(value):
    """A value without what Data-Juicer's tables add, and with files by their content."""
    if isinstance(value, dict):
        inner = {key: plain(one) for key, one in value.items()}
        return {key: one for key, one in inner.items() if one is not None and one != {}}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float):
        # So many digits Data-Juicer writes.
        return round(value, 10)
    if isinstance(value, str) and "/" in value and os.path.isfile(value):
        content = hashlib.sha256(Path(value).read_bytes()).hexdigest()[:16]
        name = re.sub(r"__dj_hash_#.*?#", "", os.path.basename(value))
        name = re.sub(r"[0-9a-f]{32}", "", name)
        return f"{name} {content}"
    return value


def loose(row):
    return {key: (value if key == "id" else type(value).__name__) for key, value in row.items()}


def cut(value, most=400):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[:most] + "…"


def steps_of(case):
    name, params, kind = case[:3]
    before = [{"naive_grouper": {}}] if kind == "grouped" else []
    return before + [{name: params}]


class Alone:
    """Data-Juicer alone: one process for all operators, and a new one where an operator ended it."""

    def __init__(self, args, folder, env):
        self.args, self.folder, self.env = args, folder, env
        self.process, self.ends = None, 0

    def start(self):
        self.log = open(self.folder / "baseline.log", "w+")
        self.process = subprocess.Popen(
            [self.args.python, "-X", "faulthandler", "-c", BASELINE, "", str(self.folder), "custom"],
            cwd=self.folder, env=self.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
        )

    def ask(self, rows, process):
        if self.process is None:
            self.start()
        answer = self.folder / "answer.json"
        answer.unlink(missing_ok=True)
        try:
            self.process.stdin.write(json.dumps({"rows": rows, "process": process, "answer": str(answer)}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        while (line := self.process.stdout.readline()) and line.strip() != "done":
            pass
        if answer.exists():
            return json.loads(answer.read_text())
        code = self.process.wait()
        self.log.seek(0)
        last = self.log.read()[-2000:]
        self.process, self.ends = None, self.ends + 1
        # One that dies in each place will not get better.
        if self.ends == 5:
            sys.exit(f"Data-Juicer alone ended five times, the last time with {code}:\n{last}")
        return {"error": f"nothing, its process ended with {code}: {' '.join(last.split())[-100:]}"}

    def end(self):
        if self.process is not None:
            self.process.stdin.close()


def compare(args, folder, env):
    cases = [case for case in CASES if not args.names or case[0] in args.names]
    needs = [case for case in cases if "{models}" in json.dumps(case[1])]
    for case in needs if args.models is None else []:
        print(f"{case[0]:42} left out: it needs --models")
        cases.remove(case)
    fill = lambda value: value.replace("{models}", str(args.models)).replace("{made}", str(folder)) if isinstance(value, str) else value
    cases = [(name, {key: fill(value) for key, value in params.items()}, *rest) for name, params, *rest in cases]
    native = subprocess.run([args.djr, "ops"], capture_output=True, text=True, check=True).stdout
    native = {line.split()[1] for line in native.splitlines() if len(line.split()) > 1}
    alone = Alone(args, folder, env)
    seen = {"agree": 0, "differ": 0, "not here": 0, "native": 0}
    operators = set()
    for case in cases:
        name, params, kind = case[:3]
        peculiar = case[3] if len(case) > 3 else ""
        if name in native:
            seen["native"] += 1
            print(f"{name:42} djr has it")
            continue
        rows = rows_of(kind, folder, env["OPENAI_BASE_URL"])
        process = [{op: {**p, "num_proc": 1}} for step in steps_of(case) for op, p in step.items()]
        expected = alone.ask(rows, process)
        if "error" in expected:
            seen["not here"] += 1
            print(f"{name:42} not compared: Data-Juicer alone says {expected['error'][:120]}")
            continue
        wanted = [plain(row) for row in expected["rows"]]
        # What Data-Juicer alone has made must not be found there.
        for made in ("made", "frames", "fetched"):
            shutil.rmtree(folder / made, ignore_errors=True)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        recipe = {
            "dataset_path": "rows.jsonl", "export_path": "out.jsonl", "paths": "keep", "custom_operator_paths": ["custom.py"],
            "keep_stats_in_res_ds": True, "process": steps_of(case), "max_quarantine": "none", "operator_processes": 1,
        }
        (folder / "r.yaml").write_text(json.dumps(recipe))
        command = [args.djr, "run", "r.yaml", "-q", "--restart", "--python", args.python]
        ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        found = None
        if ran.returncode == 0:
            found = [plain(json.loads(line)) for line in (folder / "out.jsonl").read_text().splitlines()]
        for row in wanted:
            row.pop("__dj__videohash", None), row.pop("__dj__hash", None)
        changed = "rows" in peculiar and len(wanted) != len(rows)
        if "random" in peculiar and found is not None:
            found, wanted = [loose(row) for row in found], [loose(row) for row in wanted]
        how = f"{len(rows)} rows in, {len(wanted)} out" + (", drawn at random: fields and rows" if "random" in peculiar else "")
        if found == wanted:
            seen["agree"] += 1
            operators.add((name, kind, changed))
            print(f"{name:42} agrees ({how})", flush=True)
            continue
        seen["differ"] += 1
        print(f"{name:42} DIFFERS ({how})")
        if found is None:
            print("    djr:", ran.returncode, ran.stderr.strip()[-600:])
        else:
            here, there = next((pair for pair in zip(found, wanted) if pair[0] != pair[1]), ({}, {}))
            other = [key for key in {**here, **there} if here.get(key) != there.get(key)]
            print("    djr:        ", cut({key: here.get(key) for key in other}), f"{len(found)} rows")
            print("    Data-Juicer:", cut({key: there.get(key) for key in other}), f"{len(wanted)} rows")
    alone.end()
    names = {name for name, _, _ in operators}
    media = {name for name, kind, _ in operators if kind in MEDIA_ROWS}
    changing = {name for name, _, changed in operators if changed}
    print(f"agree {seen['agree']} of {seen['agree'] + seen['differ']} cases: {len(names)} operators ({len(names & OWN)} of them a user's own), {len(media)} over video or audio, {len(changing)} that changed the number of rows; {seen['not here']} that Data-Juicer alone does not run here, {seen['native']} that djr has")
    return seen["differ"] == 0


def workers_of(pid):
    """The processes that djr started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def campaign(args, folder, env):
    """Kills djr and its workers, in turn, at random moments."""
    rows = [{**row, "id": n, "text": f"{row['text']} {n}"} for n in range(8) for row in rows_of("videos", folder, "")]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    process = [
        {"video_duration_filter": {"max_duration": 3}},
        {"text_length_filter": {"min_len": 20}},
        {"video_split_by_key_frame_mapper": {"keep_original_sample": False, "save_dir": "made"}},
        {"sentences_mapper": {}},
    ]
    # One worker, and operators that import little: what takes time is to start Data-Juicer again.
    recipe = {
        "dataset_path": "rows.jsonl", "paths": "keep", "custom_operator_paths": ["custom.py"], "process": process,
        "max_quarantine": "none", "operator_processes": 1,
    }
    (folder / "r.yaml").write_text(json.dumps(recipe))
    run = [args.djr, "run", "r.yaml", "-q", "--python", args.python, "--checkpoint-every", "0", "--batch-rows", "4", "-o"]
    started = time.time()
    subprocess.run([*run, "whole.jsonl"], cwd=folder, env=env, check=True)
    whole = time.time() - started
    reference = (folder / "whole.jsonl").read_bytes()
    draw = random.Random(7)
    kills = {"djr": 0, "worker": 0}
    runs = 0
    while sum(kills.values()) < args.kills:
        name = f"killed{runs}.jsonl"
        runs += 1
        while True:
            running = subprocess.Popen([*run, name, "--resume"], cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
            while sum(kills.values()) < args.kills:
                try:
                    running.wait(draw.uniform(0, whole / 2))
                    break
                except subprocess.TimeoutExpired:
                    pass
                workers = workers_of(running.pid)
                what = "worker" if workers and kills["worker"] <= kills["djr"] else "djr"
                kills[what] += 1
                try:
                    os.kill(draw.choice(workers) if what == "worker" else running.pid, signal.SIGKILL)
                except ProcessLookupError:
                    kills[what] -= 1
            said = running.communicate()[1]
            # A worker that is killed while the recipe is read leaves a recipe that is refused.
            if running.returncode not in (-signal.SIGKILL, 2):
                break
        if running.returncode != 0:
            print(f"ended with {running.returncode}: {said.strip()[-300:]}")
            return False
        if (folder / name).read_bytes() != reference:
            print(f"{name} has other bytes")
            return False
        print(f"{name}: the same bytes after {sum(kills.values())} kills", flush=True)
    print(f"kills: {kills['djr']} of djr and {kills['worker']} of workers in {runs} runs, {len(reference)} bytes each time the same")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True)
    parser.add_argument("--djr", default=str(Path(__file__).parents[2] / "target/debug/djr"))
    parser.add_argument("--models", type=Path)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "functions.py").write_text(FUNCTIONS)
        (folder / "custom.py").write_text(CUSTOM)
        for name, seconds, tone in [("s.wav", 2, 440), ("t.wav", 0.6, 200), ("u.wav", 1.5, 900)]:
            sound(folder / name, seconds, tone)
        subprocess.run([args.python, "-c", MEDIA], cwd=folder, check=True)
        if not args.kills:
            subprocess.run([args.python, "-c", MODELS], cwd=folder, check=True)
        env = {
            **os.environ,
            "PATH": f"{os.path.dirname(args.python)}:{os.environ['PATH']}",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}/v1",
            "OPENAI_API_KEY": "none",
            "HF_HUB_OFFLINE": "1",
            "UV_OFFLINE": "1",
            # Sums of one thread have one order.
            "OMP_NUM_THREADS": "1",
            "HF_DATASETS_CACHE": str(folder / "hf"),
        }
        sound_answer = campaign(args, folder, env) if args.kills else compare(args, folder, env)
    sys.exit(0 if sound_answer else 1)


if __name__ == "__main__":
    main()
