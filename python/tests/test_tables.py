"""Tables in memory."""

import json
import math
import os
import pickle
import unittest

import djr
from support import Scratch, needs

TEXTS = ["a red kite", "hm", "two boats", "a red kite"]
STEPS = "process: [text_length_filter: {min_len: 5}, document_deduplicator: {}]"


def table(**columns):
    import pyarrow

    return pyarrow.table({"text": TEXTS, "id": [0, 1, 2, 3], **columns})


def ids(rows):
    return rows.to_arrow().column("id").to_pylist()


class Without(Scratch):
    """What needs no package."""

    def test_what_is_no_table_is_refused(self):
        for wrong in [[1], {"text": TEXTS}, None]:
            with self.assertRaisesRegex(TypeError, "a table is asked for"):
                djr.filter(wrong, STEPS)

    def test_a_stage_takes_rows_one_by_one_only(self):
        with self.assertRaises(djr.RecipeError) as caught:
            djr.Stage(STEPS)
        [problem] = caught.exception.problems
        self.assertEqual((problem.code, problem.line), ("stage_unfit", 1))
        with self.assertRaises(djr.RecipeError) as caught:
            djr.Stage({"process": [{"command_filter": {"command": ["true"]}}]})
        self.assertIn("worker", caught.exception.problems[0].message)
        with self.assertRaises(djr.RecipeError) as caught:
            djr.Stage("nowhere.yaml")
        self.assertEqual(caught.exception.problems[0].code, "recipe_unreadable")


@needs("pyarrow")
class Arrow(Scratch):
    def test_kept_rows_keep_every_column_bit_for_bit(self):
        import datetime
        import decimal

        import pyarrow as pa

        odd = table(
            number=pa.array([1, None, 3, 4], pa.uint64()),
            nan=[math.nan, math.inf, -0.0, 1.5],
            half=pa.array([0.1, None, 2, 3], pa.float32()),
            word=pa.array(["a", None, "b", "a"]).dictionary_encode(),
            wide=pa.array(["x", "y", None, "z"], pa.large_string()),
            view=pa.array(["x", "y" * 40, None, "z"], pa.string_view()),
            blob=[b"\0\xff", None, b"", b"\1"],
            fixed=pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)),
            money=[decimal.Decimal("1.10"), None, decimal.Decimal("99999999999999999999.99"), None],
            day=pa.array([datetime.date(2026, 1, 1)] * 4),
            time=pa.array([1, 2, None, 4], pa.timestamp("us", "Europe/Paris")),
            span=pa.array([1, 2, None, 4], pa.duration("ms")),
            months=pa.array([(1, 2, 3), None, (4, 5, 6), None], pa.month_day_nano_interval()),
            items=[[1, None], [], None, [4]],
            large=pa.array([[1.5], [], None, [4]], pa.large_list(pa.float64())),
            pair=pa.array([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int8(), 2)),
            parts=[{"a": 1, "b": "x"}, None, {"a": None, "b": "z"}, {"a": 4, "b": None}],
            map=pa.array([[("k", 1)], [], None, [("l", None)]], pa.map_(pa.string(), pa.int32())),
            nothing=pa.nulls(4),
            yes=[True, None, False, True],
        ).replace_schema_metadata({"k": "v"})
        chunked = pa.concat_tables([odd.slice(0, 1), odd.slice(1, 2), odd.slice(3)])
        for whole in [odd, chunked]:
            kept = djr.filter(whole, STEPS)
            back = pa.table(kept)
            # pyarrow cannot take rows of views.
            expected = pa.concat_tables([odd.slice(0, 1), odd.slice(2, 1)])
            self.assertEqual(back.schema, odd.schema)
            self.assertEqual(back.schema.metadata, odd.schema.metadata)
            self.assertEqual(back.drop_columns("nan").to_pylist(), expected.drop_columns("nan").to_pylist())
            self.assertEqual(str(back["nan"].to_pylist()), "[nan, -0.0]")
            self.assertEqual(kept.report.dropped, 2)
            self.assertEqual(len(kept), 2)
            self.assertEqual(kept.column_names, odd.column_names)
            # As often as it is read.
            self.assertEqual(pa.table(kept).drop_columns("nan"), back.drop_columns("nan"))

    def test_large_values_are_not_copied(self):
        import pyarrow as pa

        blobs = pa.array([bytes([n]) * 50_000 for n in range(4)])
        whole = table(blob=blobs)
        for rows in [djr.filter(whole, STEPS), djr.filter(whole, STEPS, with_fate=True)]:
            chunks = pa.table(rows)["blob"].chunks
            self.assertTrue(all(chunk.buffers()[2].address == blobs.buffers()[2].address for chunk in chunks))

    def test_changed_and_new_columns(self):
        import pyarrow as pa

        whole = table(word=pa.array(["a  b", "c", "d  e", "f"]).dictionary_encode())
        recipe = {
            "keep_stats_in_res_ds": True,
            "process": [
                {"whitespace_normalization_mapper": {"text_key": "word"}},
                {"text_length_filter": {"min_len": 5}},
            ],
        }
        back = pa.table(djr.filter(whole, recipe))
        self.assertEqual(back.schema.field("word"), whole.schema.field("word"))
        self.assertEqual(back["__dj__stats__"].to_pylist()[0], {"text_len": 10})
        self.assertEqual(back.num_rows, 3)

    def test_every_row_gets_its_fate(self):
        import pyarrow as pa

        whole = table()
        back = pa.table(djr.filter(whole, STEPS, with_fate=True))
        self.assertEqual(back.select(whole.column_names), whole)
        self.assertEqual(back["__djr_fate"].to_pylist(), ["kept", "dropped", "kept", "dropped"])
        by = [None, "text_length_filter", None, "document_deduplicator"]
        self.assertEqual(back["__djr_by"].to_pylist(), by)
        self.assertEqual(back["__djr_value"].to_pylist(), [None, 2.0, None, None])
        self.assertEqual(back["__djr_limit"].to_pylist(), [None, "min_len: 5", None, None])
        wrong = pa.table({"text": ["fine text", None]})
        back = pa.table(djr.filter(wrong, STEPS, with_fate=True, max_quarantine="none"))
        self.assertEqual(back["__djr_code"].to_pylist(), [None, "missing_field"])

    def test_operators_that_see_all_rows(self):
        import pyarrow as pa

        whole = table()
        best = {"process": [{"topk_specified_field_selector": {"field_key": "id", "topk": 2}}]}
        self.assertEqual(sorted(ids(djr.filter(whole, best))), [2, 3])
        groups = djr.filter(whole, {"process": [{"key_value_grouper": {"group_by_keys": ["text"]}}]})
        self.assertEqual(pa.table(groups)["id"].to_pylist(), [[0, 3], [1], [2]])
        self.assertEqual(groups.report.merged, 1)
        parts = {"process": [{"text_chunk_mapper": {"max_len": 5}}]}
        self.assertGreater(len(djr.filter(whole, parts)), 4)

    def test_a_stream_is_read_once(self):
        import pyarrow as pa

        batches = [table().slice(n, 1).to_batches()[0] for n in range(4)]
        made = []

        def several():
            for batch in batches:
                made.append(batch)
                yield batch

        reader = pa.RecordBatchReader.from_batches(batches[0].schema, several())
        self.assertEqual(ids(djr.filter(reader, STEPS)), [0, 2])
        self.assertEqual(len(made), 4)

        def broken():
            yield batches[0]
            raise RuntimeError("the disk is gone")

        reader = pa.RecordBatchReader.from_batches(batches[0].schema, broken())
        with self.assertRaisesRegex(ValueError, "the disk is gone"):
            djr.filter(reader, STEPS)

    def test_an_empty_table_and_one_without_the_field(self):
        import pyarrow as pa

        empty = djr.filter(table().slice(0, 0), STEPS)
        self.assertEqual(pa.table(empty).schema, table().schema)
        with self.assertRaises(djr.RecipeError) as caught:
            djr.filter(pa.table({"caption": TEXTS}), STEPS)
        self.assertEqual(caught.exception.problems[0].code, "field_of_no_row")
        with self.assertRaises(djr.RecipeError) as caught:
            djr.filter(table(), {"process": [{"no_such_filter": {}}]})
        self.assertEqual(caught.exception.problems[0].code, "operator_unknown")

    def test_images_are_bytes_of_the_table(self):
        import struct
        import zlib

        import pyarrow as pa

        def png(width, height):
            def chunk(kind, data):
                return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

            rows = b"".join(b"\0" + bytes([n % 251 for n in range(3 * width)]) for _ in range(height))
            head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
            return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

        pictures = [{"bytes": png(20, 20), "path": None}, {"bytes": png(80, 20), "path": "b.png"}, None]
        whole = pa.table({"image": pa.array(pictures), "id": [0, 1, 2]})
        recipe = {"process": [{"image_aspect_ratio_filter": {"max_ratio": 2}}, {"image_deduplicator": {}}]}
        kept = djr.filter(whole, recipe)
        self.assertEqual(ids(kept), [0, 2])
        self.assertEqual(pa.table(kept)["image"].to_pylist(), [pictures[0], None])

    def test_batches_through_a_stage(self):
        import pyarrow as pa

        with open("recipe.yaml", "w") as file:
            json.dump({"process": [{"text_length_filter": {"min_len": 5}}]}, file)
        stage = djr.Stage("recipe.yaml")
        os.remove("recipe.yaml")
        stage = pickle.loads(pickle.dumps(stage))
        found = stage.map_batch(table())
        self.assertIsInstance(found, pa.Table)
        self.assertEqual(found["id"].to_pylist(), [0, 2, 3])
        again = stage(table().to_batches()[0])
        self.assertEqual(again, found)
        self.assertEqual(stage(found.slice(0, 0)).num_rows, 0)

    def test_a_process_may_fork(self):
        stage = djr.Stage("process: [text_length_filter: {min_len: 5}]", threads=2)
        before = stage.map_batch(table())
        child = os.fork()
        if child == 0:
            os._exit(0 if stage.map_batch(table()) == before else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)

    def test_ctrl_c_ends_it(self):
        import signal
        import sys
        import threading

        slow = "import sys, time\nfor line in sys.stdin:\n time.sleep(0.05)\n print('true', flush=True)\n"
        recipe = {"process": [{"command_filter": {"command": [sys.executable, "-c", slow]}}]}
        seen = []

        def show(line):
            if not seen:
                threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
            seen.append(line)

        import pyarrow as pa

        # What a shell starts in the background ignores the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with self.assertRaises(KeyboardInterrupt):
            djr.filter(pa.table({"text": ["a text"] * 4000}), recipe, progress=show)


class Others(Scratch):
    @needs("pyarrow", "pandas")
    def test_pandas(self):
        import pandas

        frame = table().to_pandas().set_index(pandas.Index([7, 3, 9, 4], name="key"))
        kept = djr.filter(frame, STEPS).to_pandas()
        self.assertEqual(list(kept.index), [7, 9])
        self.assertEqual(list(kept["text"]), ["a red kite", "two boats"])
        stage = djr.Stage("process: [text_length_filter: {min_len: 5}]")
        self.assertEqual(type(stage(frame)), type(frame))

    @needs("pyarrow", "polars")
    def test_polars(self):
        import polars

        frame = polars.from_arrow(table())
        kept = djr.filter(frame, STEPS).to_polars()
        self.assertTrue(kept.equals(frame[[0, 2]]))
        stage = djr.Stage("process: [text_length_filter: {min_len: 5}]")
        self.assertEqual(type(stage(frame)), type(frame))

    @needs("pyarrow", "duckdb")
    def test_duckdb(self):
        import duckdb

        known = table()
        rows = djr.filter(duckdb.sql("FROM known ORDER BY id"), STEPS)
        self.assertEqual(duckdb.sql("SELECT id FROM rows").fetchall(), [(0,), (2,)])

    @needs("pyarrow", "datasets")
    def test_datasets(self):
        import datasets

        whole = datasets.Dataset(table())
        self.assertEqual(ids(djr.filter(whole, STEPS)), [0, 2])
        # In the order that the dataset has, not that of its table.
        self.assertEqual(ids(djr.filter(whole.select([3, 2, 1, 0]), STEPS)), [3, 2])
        back = datasets.Dataset(djr.filter(whole.select([2, 1, 2]), STEPS, with_fate=True).to_arrow())
        self.assertEqual(back["__djr_fate"][:], ["kept", "dropped", "dropped"])
        stage = djr.Stage("process: [text_length_filter: {min_len: 5}]")
        mapped = whole.with_format("arrow").map(stage.map_batch, batched=True, batch_size=3)
        self.assertEqual(mapped.num_rows, 3)


if __name__ == "__main__":
    unittest.main()
