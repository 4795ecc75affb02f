"""Runs run.py from end to end with the emulator in a GPU's place: its steps, and what it writes.

Usage: run_test.py ANNULUS TEST: the emulated program, and a test of devices on the emulator.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent


def make_pack(pack, annulus, test):
    """As pack.sh leaves it, with a test that fails among the others."""
    pack.mkdir()
    (pack / "annulus").symlink_to(annulus)
    scripts = {"device_gpu_test": f'unset ANNULUS_EMULATOR\nexec "{test}" "$@"\n',  # needs two devices
               "broken_gpu_test": "echo the device fell off\nexit 7\n"}
    for name, script in scripts.items():
        (pack / name).write_text("#!/bin/sh\n" + script)
        (pack / name).chmod(0o755)


class RunTest(unittest.TestCase):
    annulus = test = None

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        root = pathlib.Path(cls.directory.name)
        make_pack(root / "pack", cls.annulus, cls.test)
        cls.out = root / "out"
        cls.out.mkdir()
        (cls.out / "sdpa.json").write_text('{"rows": []}')  # of an earlier run
        cls.outcome = subprocess.run(
            [sys.executable, HERE / "run.py", "--pack", root / "pack", "--out", cls.out, "--smoke"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "ANNULUS_EMULATOR": "devices=1", "OMP_NUM_THREADS": "1"})
        cls.report = json.loads((cls.out / "results.json").read_text())
        cls.steps = {step["step"]: step for step in cls.report["steps"]}
        cls.page = (cls.out / "results.md").read_text()

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def test_every_step_but_the_broken_one_passes(self):
        failed = [step for step in self.report["steps"] if step["passed"] is False]
        self.assertEqual([step["step"] for step in failed], ["broken_gpu_test"],
                         "\n".join(step["step"] + ": " + step["tail"] for step in failed))
        self.assertEqual(self.outcome.returncode, 1, self.outcome.stderr)
        for name in ("info", "device_gpu_test", "check bf16, 4 ranks", "train over NCCL, 1 rank",
                     "quickstart", "recall", "bench ring, 1 rank", "bench ring, 2 ranks staged",
                     "bench calibrate", "bench wall"):
            self.assertTrue(self.steps[name]["passed"], name)

    def test_a_failure_is_told_and_the_next_steps_run(self):
        self.assertEqual(self.steps["broken_gpu_test"]["status"], 7)
        self.assertIn("the device fell off", self.steps["broken_gpu_test"]["tail"])
        self.assertIn("| broken_gpu_test | FAILED: 7 |", self.page)
        self.assertIn("the device fell off", self.outcome.stdout)
        names = list(self.steps)
        self.assertLess(names.index("broken_gpu_test"), names.index("bench wall"))

    def test_what_cannot_run_is_skipped_with_its_reason(self):
        step = self.steps["attention beside PyTorch"]
        self.assertIsNone(step["passed"])
        self.assertEqual(step["status"], "skipped")
        self.assertIn("PyTorch", step["skipped"])
        self.assertIn(f"| attention beside PyTorch | skipped: {step['skipped']} |", self.page)
        self.assertNotIn("sdpa", self.report)  # what was there is not this run's

    def test_a_step_that_does_not_exist_is_refused(self):
        outcome = subprocess.run(
            [sys.executable, HERE / "run.py", "--pack", self.out.parent / "pack", "--out", self.out,
             "--only", "info", "quikstart"], capture_output=True, text=True, check=False)
        self.assertEqual(outcome.returncode, 1)
        self.assertIn('there is no step "quikstart"; steps are: info, ', outcome.stderr)

    def test_rings_are_reported(self):
        rows = self.report["ring_over_kernel"]
        self.assertEqual([row["pass"] for row in rows], ["forward", "backward"])
        for row in rows:
            self.assertGreater(row["over_kernel"], 0)
        self.assertIn("| n | D | dtype | mask | pass | ring / kernel | from-to |", self.page)
        for row in self.report["ring_staged"]["rows"]:
            self.assertEqual((row["ranks"], row["devices"]), (2, 1))
            self.assertEqual(row["bytes_sent"], row["predicted_bytes_sent"])
            self.assertGreater(row["bytes_sent"], 0)

    def test_rates_and_the_wall_are_reported(self):
        self.assertIn("matmul f32", self.report["machine"])
        self.assertIn("| attention_forward f32 16 |", self.page)
        self.assertEqual({row["part"] for row in self.report["wall"]["rows"]},
                         {"mlp", "fused", "naive"})
        self.assertIn("attention overtakes the MLP", self.page)

    def test_the_page_says_that_figures_mean_nothing(self):
        self.assertIn("no figure means anything", self.page)


if __name__ == "__main__":
    RunTest.annulus, RunTest.test = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
