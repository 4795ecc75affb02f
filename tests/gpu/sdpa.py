"""Times annulus's fused attention on a GPU and PyTorch's scaled_dot_product_attention by turns.

Each round times annulus in a process of its own, PyTorch's flash and cuDNN backends, and a large bf16
product, the roof; ratios are taken round by round. Every case has 16,384 tokens and 2,048 features in
all, whatever its length and head size, or one sequence where that is longer.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

TOKENS, FEATURES, ROOF = 16384, 2048, 8192
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
PASSES = ("forward", "backward")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annulus", required=True, help="the program")
    parser.add_argument("--json", required=True, help="where the rows go")
    parser.add_argument("--n", type=int, nargs="+", default=[4096, 8192, 16384, 32768])
    parser.add_argument("--head_dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--mask", choices=["causal", "full"], nargs="+", default=["causal", "full"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=10)
    return parser.parse_args()


class Case:
    """One attention and its FLOPs: 4 D per allowed pair forward, 10 D backward."""

    def __init__(self, n, head_dim, mask):
        self.n, self.head_dim, self.mask = n, head_dim, mask
        self.batch, self.heads = max(1, TOKENS // n), FEATURES // head_dim
        pairs = n * (n + 1) // 2 if mask == "causal" else n * n
        area = self.batch * self.heads * head_dim * pairs
        self.flops = {"forward": 4 * area, "backward": 10 * area}


def median_ms(repetitions, work):
    """Median of `repetitions` calls, by events on the device; a call before them is not counted."""
    work()
    times = []
    for _ in range(repetitions):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def time_annulus(options, case):
    """Milliseconds by pass."""
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "report.json")
        command = [options.annulus, "bench", "attention", "--device.kind", "cuda", "--json", file]
        for name, value in {"n": case.n, "head_dim": case.head_dim, "mask": case.mask,
                            "batch": case.batch, "heads": case.heads, "dtype": "bf16",
                            "implementation": "fused", "roof_size": ROOF,
                            "repetitions": options.repetitions}.items():
            command += [f"--bench.{name}", str(value)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise RuntimeError(run.stderr.strip() or f"annulus ended with {run.returncode}")
        with open(file, encoding="utf-8") as report:
            return {row["pass"]: row["ms"] for row in json.load(report)["rows"]}


class Peer:
    """PyTorch's attention on one case."""

    def __init__(self, case, backend):
        torch.manual_seed(1)
        shape = (case.batch, case.n, case.heads, case.head_dim)
        made = [torch.randn(shape, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
                for _ in range(4)]
        self.inputs = [tensor.requires_grad_() for tensor in made[:3]]
        self.gradient = made[3]
        self.causal, self.backend = case.mask == "causal", BACKENDS[backend]

    def attend(self):
        with sdpa_kernel([self.backend]):
            return torch.nn.functional.scaled_dot_product_attention(
                *self.inputs, is_causal=self.causal)

    def time(self, repetitions):
        """Milliseconds by pass."""
        with torch.no_grad():
            forward = median_ms(repetitions, self.attend)
        out = self.attend()
        backward = median_ms(repetitions, lambda: torch.autograd.grad(
            out, self.inputs, self.gradient, retain_graph=True))
        return {"forward": forward, "backward": backward}


def time_roof(repetitions):
    """FLOP/s of a large bf16 product of random matrices."""
    a, b = (torch.randn(ROOF, ROOF, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * ROOF**3 / (1e-3 * median_ms(repetitions, lambda: a @ b))


def measure_round(options, case):
    """TFLOP/s by who and pass, and of the roof."""
    by = {"annulus": time_annulus(options, case)}
    for backend in BACKENDS:
        try:
            by[backend] = Peer(case, backend).time(options.repetitions)
        except RuntimeError as error:  # the backend does not take this case
            print(f"  {backend}: {error}", flush=True)
    speeds = {who: {name: case.flops[name] / ms[name] / 1e9 for name in PASSES}
              for who, ms in by.items()}
    return speeds, time_roof(options.repetitions) / 1e12


def rows_of(options, case):
    rounds = [measure_round(options, case) for _ in range(options.rounds)]
    for name in PASSES:
        row = {"n": case.n, "head_dim": case.head_dim, "mask": case.mask, "pass": name,
               "batch": case.batch, "heads": case.heads, "dtype": "bf16"}
        for who in ("annulus", *BACKENDS):
            speeds = [speed[who][name] for speed, _ in rounds if who in speed]
            row[f"{who}_tflops"] = statistics.median(speeds) if speeds else None
        row["roof_tflops"] = statistics.median(roof for _, roof in rounds)
        row["over_roof"] = statistics.median(
            speed["annulus"][name] / roof for speed, roof in rounds)
        peers = [max(speed[who][name] for who in BACKENDS if who in speed)
                 for speed, _ in rounds if any(who in speed for who in BACKENDS)]
        row["over_best_peer"] = statistics.median(
            speed["annulus"][name] / peer for (speed, _), peer in zip(rounds, peers)
        ) if peers else None
        yield row


def main():
    options = parse_arguments()
    rows = []
    for n, head_dim, mask in itertools.product(options.n, options.head_dim, options.mask):
        case = Case(n, head_dim, mask)
        try:
            rows += rows_of(options, case)
        except RuntimeError as error:
            rows.append({"n": n, "head_dim": head_dim, "mask": mask, "failed": str(error)})
        print(rows[-1], flush=True)
        with open(options.json, "w", encoding="utf-8") as file:  # what is there survives a timeout
            json.dump({"pytorch": torch.__version__, "device": torch.cuda.get_device_name(),
                       "rounds": options.rounds, "rows": rows}, file, indent=1)
    raise SystemExit(any("failed" in row for row in rows))


if __name__ == "__main__":
    main()
