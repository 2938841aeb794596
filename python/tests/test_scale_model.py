"""benches/scale_model.py: its rates are in benches/RESULTS.md, and its sums are right."""

import importlib.util
import unittest

from support import ROOT


def loaded():
    path = ROOT / "benches" / "scale_model.py"
    spec = importlib.util.spec_from_file_location("scale_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Model(unittest.TestCase):
    def parts(self, bill):
        return {name.split(":")[0]: rest for name, *rest in bill.parts}

    def test_the_bill_follows_from_the_rates(self):
        model = loaded()
        cluster = model.arguments(["--images", "1e6", "--documents", "1e6", "--minhash-us-kb", "20"])
        [images, documents], rates = model.model(cluster)
        decode = rates.used["image_deduplicator"][0]
        seconds, read, written, moved = self.parts(images)["pictures decoded once"]
        self.assertAlmostEqual(seconds, decode)
        self.assertEqual((read, written, moved), (1e6 * 44_000, 0, 0))
        seconds, read, written, moved = self.parts(documents)["25 bands"]
        self.assertAlmostEqual(seconds, 25e6 / 14e6)
        self.assertEqual((read, written), (25e6 * 16, 25e6 * 16))
        self.assertAlmostEqual(moved, 25e6 * 16 * 15 / 16)
        self.assertAlmostEqual(self.parts(documents)["minhash of all texts"][0], 1e6 * 5 * 20 / 1e6)
        for bill in (images, documents):
            self.assertAlmostEqual(bill.totals()[0], sum(part[1] for part in bill.parts))
            self.assertIn("together", bill.show())
        self.assertTrue(all("RESULTS.md" in rates.used[name][2] for name in ["row/parse", "image_shape_filter"]))

    def test_more_nodes_take_less_time_and_the_same_work(self):
        model = loaded()
        few, many = (model.model(model.arguments(["--nodes", str(nodes)]))[0][0] for nodes in (10, 20))
        self.assertAlmostEqual(few.totals()[0], many.totals()[0], delta=few.totals()[0] / 1000)
        part = "pictures decoded once: validation and perceptual hash"
        [slow], [fast] = ([it for it in bill.parts if it[0] == part] for bill in (few, many))
        self.assertAlmostEqual(few.hours(slow), 2 * many.hours(fast))
        # But for what one process does.
        [name] = few.alone
        [slow], [fast] = ([it for it in bill.parts if it[0] == name] for bill in (few, many))
        self.assertGreater(few.hours(slow), 0)
        self.assertEqual(few.hours(slow), many.hours(fast))

    def test_clusters_beyond_a_node_take_rounds(self):
        model = loaded()
        small = model.model(model.arguments(["--memory-gb", "256"]))[0][1]
        large = model.model(model.arguments(["--memory-gb", "16"]))[0][1]
        self.assertEqual((small.rounds, large.rounds), (5, 13))

    def test_a_rate_that_is_not_there_is_said(self):
        with self.assertRaisesRegex(SystemExit, "no rate called"):
            loaded().Rates().of_table("image/nothing")


if __name__ == "__main__":
    unittest.main()
