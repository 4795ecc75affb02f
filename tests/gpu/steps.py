"""The steps of run.py as data: what is run, for how long at most, and what its output must say."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@dataclass
class Step:
    name: str
    command: list
    limit_s: int = 120
    says: str = ""  # what a success prints
    skip: str = ""  # why it is not run
    writes: pathlib.Path | None = None  # results, which one of an earlier run must not pass for


@dataclass
class Sizes:
    """Options of the steps, as on a command line."""
    model: str       # of check and train
    train: str       # of train over NCCL, beside the model's
    examples: str    # in place of what the files in examples/ say
    attention: str   # of bench ring
    wall: str
    calibrate: str
    dtypes: tuple    # of bench ring


def model_options(vocabulary, tokens, layers, hidden, intermediate):
    return (f"--model.vocab_size {vocabulary} --data.synthetic recall --train.sequence_length {tokens} "
            f"--model.hidden_size {hidden} --model.num_hidden_layers {layers} --model.num_attention_heads 2 "
            f"--model.num_key_value_heads 1 --model.intermediate_size {intermediate}")


# What says something of a GPU, and the least that runs every step: by the emulator in CUDA's place the
# script itself is tested, and no time means anything.
GPU = Sizes(
    model=model_options(256, 1024, 2, 128, 256),
    train="--train.steps 20",
    examples="",
    attention="--bench.n 4096,16384 --bench.head_dim 64,128 --bench.heads 16 --bench.repetitions 10",
    wall="--bench.head_dim 128 --bench.dtype bf16 --bench.time_s 90",
    calibrate="--bench.dtype f32,bf16 --bench.head_dim 64,128",
    dtypes=("bf16", "f32"))
SMOKE = Sizes(
    model=model_options(32, 16, 1, 16, 32),
    train="--train.steps 1 --train.eval_sequences 1",
    examples="--train.context_schedule 16:1 --train.sequence_length 16 --train.steps 1 "
             "--train.eval_sequences 1 --train.eval_every 0 --optimizer.warmup_steps 0 "
             "--model.hidden_size 16 --model.num_hidden_layers 1 --model.intermediate_size 32",
    attention="--bench.n 16 --bench.head_dim 16 --bench.heads 1 --bench.repetitions 1 "
              "--bench.roof_size 16",
    wall="--bench.n 16,32 --bench.head_dim 16 --bench.heads 1 --bench.repetitions 1 "
         "--bench.roof_size 16",
    calibrate="--bench.sizes least --bench.head_dim 16 --bench.repetitions 1",
    dtypes=("f32",))


def query_gpu(fields):
    """What nvidia-smi says of the GPUs; empty where there is none."""
    try:
        return subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],
                              capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def why_no_pytorch(options):
    if options.smoke:
        return "PyTorch has no emulator to run on"
    if importlib.util.find_spec("torch") is None:
        return f"{sys.executable} has no PyTorch"
    return ""


def tests_of(options):
    """The tests of the pack that the GPU can run, and their arguments."""
    tests = sorted(options.pack.glob("*_gpu_test"))
    if not tests:
        raise SystemExit(f"{options.pack} has no tests: make it by bash tests/gpu/pack.sh")
    # Tests that draw the kernels they try, and those of Hopper's, need a Hopper GPU.
    every = [] if query_gpu("compute_cap").startswith("9.0") else ["--gtest_filter=-*opper*:*Sweep*"]
    if every:
        tests = [test for test in tests if "hopper" not in test.stem]
    # What instructions do comes first: nothing else means anything where that is wrong.
    tests.sort(key=lambda test: "conformance" not in test.stem)
    return tests, every


def sanitizer_steps(tests):
    """compute-sanitizer on small sizes."""
    missing = "" if shutil.which("compute-sanitizer") else "compute-sanitizer is not installed"
    for tool in ("memcheck", "racecheck", "synccheck", "initcheck"):
        for test in tests:
            if "attention" in test.stem:
                yield Step(f"{tool} {test.stem}",
                           ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", test,
                            "--gtest_filter=*HeadGroups*:*StripedRing*"], 240, skip=missing)


def training_steps(annulus, options, sizes):
    """Ranks against one rank, NCCL, and the examples."""
    model = ["--device.kind", "cuda", *sizes.model.split()]
    for dtype in ("f32", "bf16"):
        for ranks in (1, 2, 4):
            yield Step(f"check {dtype}, {ranks} ranks",
                       [annulus, "check", "--ranks", str(ranks), "--model.dtype", dtype,
                        "--parallel.transport", "threads", *model])
    yield Step("train over NCCL, 1 rank",
               [annulus, "train", "--ranks", "1", "--parallel.transport", "nccl", *sizes.train.split(),
                "--output", options.out / "nccl", *model], says="trained on")
    for name in ("quickstart", "recall"):
        yield Step(name, [annulus, "train", "--config", ROOT / f"examples/{name}.ini", "--device.kind",
                          "cuda", *sizes.examples.split(), "--output", options.out / name],
                   says="trained on")


def bench_steps(annulus, options, sizes):
    """Benchmarks of one GPU. Two ranks share it, which says what staging costs and not what two GPUs do."""
    bench = lambda name, *arguments: [annulus, "bench", name, "--device.kind", "cuda", *arguments]
    for ranks, what, says in ((1, "bench ring, 1 rank", "over the bare kernel"),
                              (2, "bench ring, 2 ranks staged", "staged through the host")):
        file = options.out / f"ring-{ranks}.json"
        yield Step(what, bench("ring", "--ranks", str(ranks), "--parallel.transport", "threads",
                               "--bench.dtype", ",".join(sizes.dtypes), *sizes.attention.split(),
                               "--json", file), 300, says=says, writes=file)
    file = options.out / "machine.ini"
    yield Step("bench calibrate", bench("calibrate", *sizes.calibrate.split(), "--machine", file), 300,
               says="attention_backward", writes=file)
    file = options.out / "wall.json"
    yield Step("bench wall", bench("wall", *sizes.wall.split(), "--json", file), 300, says="ended: ",
               writes=file)


def steps_of(options):
    sizes = SMOKE if options.smoke else GPU
    annulus = options.pack / "annulus"
    tests, every = tests_of(options)
    yield Step("info", [annulus, "info"], says="cuda")
    for test in tests:
        yield Step(test.stem, [test, *every], 300, says="PASSED")
    yield from training_steps(annulus, options, sizes)
    yield from bench_steps(annulus, options, sizes)
    few = ["--n", "4096", "16384", "--rounds", "1"] if options.quick else []
    file = options.out / "sdpa.json"
    yield Step("attention beside PyTorch",
               [sys.executable, HERE / "sdpa.py", "--annulus", annulus, "--json", file, *few], 420,
               skip=why_no_pytorch(options), writes=file)
    yield from sanitizer_steps(tests)
