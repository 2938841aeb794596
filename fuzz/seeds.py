#!/usr/bin/env python3
"""Makes the seeds that fuzzing starts from: `fuzz/seeds/<target>/`.

    python fuzz/seeds.py

Pictures of 20 by 12 pixels of every kind that Pillow 13.0.0 writes, rows, recipes, patterns and
the tiny models of `fixtures/cache`. Nothing is random: a second run changes nothing.
"""

import base64
import gzip
import io
import json
import shutil
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
SEEDS = HERE / "seeds"
FIXTURES = HERE.parent / "fixtures"


def put(target: str, name: str, content: bytes | str) -> None:
    path = SEEDS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def picture(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (20, 12))
    image.putdata([(x * 12, y * 20, (x * y) % 256) for y in range(12) for x in range(20)])
    return image.convert(mode)


def encoded(mode: str, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture(mode).save(out, kind, **options)
    return out.getvalue()


def pictures() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    put("jpeg", "rgb", encoded("RGB", "JPEG", quality=60))
    put("jpeg", "progressive", encoded("RGB", "JPEG", quality=60, progressive=True))
    put("jpeg", "restarts", encoded("RGB", "JPEG", quality=60, restart_marker_blocks=1))
    put("jpeg", "grey", encoded("L", "JPEG", quality=60))
    put("jpeg", "cmyk", encoded("CMYK", "JPEG", quality=60))
    put("jpeg", "turned", encoded("RGB", "JPEG", quality=60, exif=exif.tobytes()))
    for mode in ["1", "L", "LA", "P", "RGB", "RGBA"]:
        put("png", mode, encoded(mode, "PNG"))
    deep = io.BytesIO()
    Image.new("I;16", (20, 12)).save(deep, "PNG")
    put("png", "deep", deep.getvalue())
    put("png", "turned", encoded("RGB", "PNG", exif=exif.tobytes()))
    put("gif", "palette", encoded("P", "GIF"))
    put("gif", "transparent", encoded("P", "GIF", transparency=3))
    frames = io.BytesIO()
    picture("P").save(frames, "GIF", save_all=True, append_images=[picture("L").convert("P")])
    put("gif", "frames", frames.getvalue())
    put("webp", "lossy", encoded("RGB", "WEBP", quality=50))
    put("webp", "lossless", encoded("RGBA", "WEBP", lossless=True))
    put("webp", "turned", encoded("RGB", "WEBP", quality=50, exif=exif.tobytes()))
    frames = io.BytesIO()
    picture().save(frames, "WEBP", save_all=True, append_images=[picture("L").convert("RGB")])
    put("webp", "frames", frames.getvalue())
    for compression in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]:
        put("tiff", compression, encoded("RGB", "TIFF", compression=compression))
    put("tiff", "grey", encoded("L", "TIFF"))
    put("tiff", "two_colours", encoded("1", "TIFF", compression="group4"))
    for mode in ["1", "L", "P", "RGB"]:
        put("bitmaps", f"bmp_{mode}", encoded(mode, "BMP"))
    put("bitmaps", "ico", encoded("RGBA", "ICO", sizes=[(12, 12)]))
    put("bitmaps", "ico_bmp", encoded("RGBA", "ICO", sizes=[(12, 12)], bitmap_format="bmp"))
    for mode in ["1", "L", "RGB"]:
        put("bitmaps", f"ppm_{mode}", encoded(mode, "PPM"))
    put("bitmaps", "ppm_text", b"P3\n# a comment\n2 2\n255\n1 2 3 4 5 6 7 8 9 10 11 12\n")
    put("bitmaps", "qoi", encoded("RGB", "QOI"))
    put("bitmaps", "jpeg2000", encoded("RGB", "JPEG2000"))
    put("bitmaps", "avif", encoded("RGB", "AVIF"))


ROWS = [
    '{"id": "000003", "text": "<__dj__image>\\na rustic train <|__dj__eoc|>", "images": ["a/b.jpg"]}',
    '{"id": 7, "text": "[[human]]: what? [[gpt]]: that. <|__dj__eoc|>", "images": "a.jpg"}',
    '{"id": "000007", "conversations": [{"from": "human", "value": "<image>\\nwhat?"}, {"from": "gpt", "value": "that"}], "image": "x.jpg"}',
    '{"a": {"b": {"c": 1}}, "text": "esc \\ud83d\\ude00 \\u00e9 \\/", "n": -1.5e-7, "t": [true, null], "text": "again"}',
    '  {"x": 123456789012345678901234567890, "__dj__stats__": {"text_len": 3}} ',
    "{}",
]


def tables() -> None:
    """Archives of samples, tables in text, and (with pyarrow) column files."""
    import tarfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    png = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    )
    for kind, name in ((tarfile.USTAR_FORMAT, "ustar"), (tarfile.PAX_FORMAT, "pax"), (tarfile.GNU_FORMAT, "gnu")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
            for n in range(3):
                key = f"a/{n:03}" if name == "ustar" else "long/" * 24 + f"{n:03}"
                for field, content in (("json", b'{"id": %d}' % n), ("png", png), ("txt", b"a text")):
                    member = tarfile.TarInfo(f"{key}.{field}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        put("tar_rows", name, out.getvalue())
    put("csv_rows", "plain", b"\0id,text\n1,a\n2,\"b\n\"\"c\"\"\"\r\n\n003,\n")
    put("csv_rows", "tabs", b"\1id\ttext\n1\ta\n2\t\"b\"\n")
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "id": pa.array([1, 2, None]),
            "text": pa.array(["a", None, "c"]).dictionary_encode(),
            "image": pa.array([{"bytes": png, "path": None}, None, {"bytes": None, "path": "x.png"}], image),
            "more": pa.array([[1.5], [], None], pa.list_(pa.float32())),
        }
    )
    for codec in ("none", "snappy", "zstd"):
        out = io.BytesIO()
        pq.write_table(table, out, compression=codec, row_group_size=2)
        put("parquet_rows", codec, out.getvalue())
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    put("parquet_rows", "stream", out.getvalue())


def rows() -> None:
    for number, row in enumerate(ROWS):
        put("row", str(number), row)
        put("llava", str(number), row)
    ids = json.loads((FIXTURES / "dataset/stage_1.json").read_bytes())[0]["id"]
    put("llava", "known", json.dumps({"id": ids, "text": "<__dj__image>\na train <|__dj__eoc|>", "images": ["a.jpg"]}))
    lines = "\n".join(ROWS) + "\r\n\n"
    put("rows", "lines", b"\0" + lines.encode())
    put("rows", "bom", b"\0\xef\xbb\xbf" + lines.encode())
    put("rows", "array", b"\1[" + ",\n".join(ROWS).encode() + b"]")
    put("rows", "gz", b"\2" + gzip.compress(lines.encode(), mtime=0))
    questions = json.loads((FIXTURES / "dataset/stage_1.json").read_bytes())[:4]
    put("questions", "records", json.dumps(questions))


RECIPES = {
    "plain": "dataset_path: a.jsonl\nexport_path: b.jsonl\nprocess:\n  - text_length_filter: {min_len: 5, max_len: 1e3}\n  - clean_html_mapper:\n",
    "outputs": "dataset_path: ${HOME}/a.jsonl\nimage_root: x\noutputs:\n  - {format: llava, path: o.json, questions: q.json, sample: 10, seed: 1}\n  - {format: jsonl, path: o.jsonl}\nprocess: [document_deduplicator: {lowercase: true}]\n",
    "anchors": "np: &n 4\nprocess:\n  - words_num_filter: &w\n      min_num: 3\n  - words_num_filter: *w\n  - text_length_filter: {<<: *w}\n",
    "dataset": "dataset:\n  configs:\n    - type: local\n      path: a.jsonl\n      weight: 1.0\nexport_path: 'x'\nprocess:\n  - document_minhash_deduplicator:\n      num_permutations: 64\n      ignore_pattern: \"\\\\p{P}\"\n",
}

PATTERNS = [
    "(?P<a>b+)c\0[\\g<a>]\0xbbc abc",
    "r'\\d{2,4}(?=x)'\0<\\1>\0 12x 345",
    "(?i)[^\\W_]+\\b|\\u4e2d\0-",
    "text_len > 3 and (a.b == 'x' or not c in [1, 2.5])",
    "10 <= text_len < 20",
]


def main() -> None:
    shutil.rmtree(SEEDS, ignore_errors=True)
    pictures()
    rows()
    tables()
    for name, text in RECIPES.items():
        put("recipe", name, text)
    for number, text in enumerate(PATTERNS):
        put("patterns", str(number), text)
    put("operators", "english", "The quick <b>brown</b> fox&amp; jumps. See http://a.example/x?y, mail bob@a.example or 10.0.0.1!\n\n\\section{One} % note\n\\begin{thebibliography}")
    put("operators", "chinese", "今天天气很好，我们去公园。Ｆｕｌｌ　ｗｉｄｔｈ “quotes” … caf\u00c3\u00a9")
    put("operators", "macros", "\\newcommand{\\x}[1]{y} \\x \\def\\z{w} \\z | a | b |\n|---|---|\n| 1 | 2 |\n/* copyright */ 123-45-6789 4111 1111 1111 1111")
    for path in sorted((FIXTURES / "golden/_archives").iterdir()):
        put("archives", path.name, path.read_bytes())
    models = FIXTURES / "cache/models"
    put("sentencepiece", "model", (models / "en.sp.model").read_bytes())
    put("kenlm", "en", (models / "en.arpa.bin").read_bytes())
    for path in sorted((FIXTURES / "models/kenlm").iterdir()):
        if path.is_file() and path.stat().st_size < 20_000:
            put("kenlm", path.name, path.read_bytes())
    put("fasttext", "lid", (models / "lid.176.bin").read_bytes())
    for path in sorted((FIXTURES / "models").glob("lid_*.*")):
        if path.suffix in {".bin", ".ftz"} and path.stat().st_size < 20_000:
            put("fasttext", path.name, path.read_bytes())


if __name__ == "__main__":
    main()
