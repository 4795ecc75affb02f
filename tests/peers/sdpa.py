"""Times PyTorch's scaled_dot_product_attention and annulus's fused attention by turns.

Round after round: annulus in a process of its own (one pass that is not counted, one that is), then
PyTorch in another that lives as long as the case. Both get tensors in the layout [batch, n, heads,
head_dim], the same mask and as many threads. The table has medians of the rounds' times and of the
rounds' ratios. With one thread the time is CPU time, else wall time, as in `annulus bench attention`.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import tempfile
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annulus", required=True, help="the program")
    parser.add_argument("--n", type=int, nargs="+", default=[4096])
    parser.add_argument("--head_dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=list(DTYPES))
    parser.add_argument("--mask", choices=["causal", "full"], nargs="+", default=["causal"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


class Failed(Exception):
    """A case that cannot be measured, and why."""


def time_annulus(options, case, file):
    """Milliseconds of forward and of backward."""
    n, head_dim, dtype, mask, threads = case
    command = [options.annulus, "bench", "attention", "--json", file]
    for name, value in {"n": n, "head_dim": head_dim, "dtype": dtype, "mask": mask,
                        "threads": threads, "heads": options.heads, "batch": options.batch,
                        "implementation": "fused", "repetitions": 1, "roof_size": 64}.items():
        command += [f"--bench.{name}", str(value)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failed(run.stderr.strip().splitlines()[-1])
    with open(file, encoding="utf-8") as report:
        rows = json.load(report)["rows"]
    milliseconds = {row["pass"]: row["ms"] for row in rows}
    return milliseconds["forward"], milliseconds["backward"]


class Peer:
    """PyTorch's attention on one case."""

    def __init__(self, options, case):
        n, head_dim, dtype, mask, threads = case
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        shape = (options.batch, n, options.heads, head_dim)
        self.inputs = [torch.randn(shape).to(DTYPES[dtype]).transpose(1, 2).requires_grad_()
                       for _ in range(3)]
        self.gradient = torch.randn(shape).to(DTYPES[dtype]).transpose(1, 2)
        self.causal = mask == "causal"
        self.clock = time.process_time if threads == 1 else time.perf_counter
        self.time()  # the first pass is not counted

    def attend(self):
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            return torch.nn.functional.scaled_dot_product_attention(
                *self.inputs, is_causal=self.causal)

    def time(self):
        """Milliseconds of forward, and of forward and backward."""
        with torch.no_grad():
            start = self.clock()
            self.attend()
            forward = self.clock() - start
        for tensor in self.inputs:
            tensor.grad = None
        start = self.clock()
        self.attend().backward(self.gradient)
        return 1e3 * forward, 1e3 * (self.clock() - start)


def serve(options, case, pipe):
    """Answers each message with a measurement."""
    peer = Peer(options, case)
    while pipe.recv():
        pipe.send(peer.time())


@contextlib.contextmanager
def peer_process(options, case):
    """Gives a function that measures the peer, in a process that may die without harm to us."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(options, case, theirs))
    process.start()
    theirs.close()

    def measure():
        try:
            ours.send(True)
            return ours.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            process.join()
            code = process.exitcode
            name = signal.Signals(-code).name if code < 0 else f"status {code}"
            raise Failed(f"PyTorch died of {name}") from None

    try:
        yield measure
    finally:
        with contextlib.suppress(BrokenPipeError):
            ours.send(False)
        process.join()


def compare(options, case, file):
    """Medians: our forward and both passes, the peer's, and the ratios of the rounds."""
    rounds = []
    with peer_process(options, case) as measure:
        for _ in range(options.rounds):
            forward, backward = time_annulus(options, case, file)
            peer_forward, peer_both = measure()
            both = forward + backward
            rounds.append((forward, peer_forward, peer_forward / forward,
                           both, peer_both, peer_both / both))
    return [statistics.median(column) for column in zip(*rounds)]


def main():
    options = parse_arguments()
    print(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}; milliseconds, "
          f"medians of {options.rounds} rounds; the ratio is PyTorch's time over ours")
    print("      n    D  dtype  mask    threads |  forward  PyTorch  ratio |     both  PyTorch  ratio")
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "report.json")
        for case in itertools.product(options.n, options.head_dim, options.dtype, options.mask,
                                      options.threads):
            n, head_dim, dtype, mask, threads = case
            name = f"{n:7d} {head_dim:4d}  {dtype:5s}  {mask:6s}  {threads:7d}"
            try:
                m = compare(options, case, file)
            except Failed as failure:
                print(f"{name} | {failure}", flush=True)
                continue
            print(f"{name} | {m[0]:8.1f} {m[1]:8.1f} {m[2]:6.2f} | {m[3]:8.1f} {m[4]:8.1f} "
                  f"{m[5]:6.2f}", flush=True)


if __name__ == "__main__":
    main()
