"""Verifies annulus on one GPU: runs every step, and writes results.json and results.md.

The steps are data: what is run, for how long at most, and what its output must say. A step that fails
does not keep the next ones from running.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = ("--model.vocab_size 256 --data.synthetic recall --train.sequence_length 1024 --model.hidden_size 128 "
         "--model.num_hidden_layers 2 --model.num_attention_heads 2 --model.num_key_value_heads 1 "
         "--model.intermediate_size 256 --device.kind cuda").split()


@dataclass
class Step:
    name: str
    command: list
    limit_s: int = 120
    says: str = ""  # what a success prints


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=pathlib.Path, required=True, help="what pack.sh made")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="directory of the results")
    parser.add_argument("--only", nargs="+", default=[], help="names of the steps to run")
    parser.add_argument("--quick", action="store_true", help="fewer cases beside PyTorch")
    return parser.parse_args()


def sanitizer_steps(tests):
    """compute-sanitizer on small sizes, where it is installed."""
    if shutil.which("compute-sanitizer") is None:
        return []
    return [Step(f"{tool} {test.stem}",
                 ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", test,
                  "--gtest_filter=*HeadGroups*:*StripedRing*"], 240)
            for tool in ("memcheck", "racecheck", "synccheck", "initcheck") for test in tests
            if "attention" in test.stem]


def query_gpu(fields):
    """What nvidia-smi says of the GPUs; empty where there is none."""
    try:
        return subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],
                              capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def steps_of(options):
    annulus, out = options.pack / "annulus", options.out
    tests = sorted(options.pack.glob("*_gpu_test"))
    if not tests:
        raise SystemExit(f"{options.pack} has no tests: make it by bash tests/gpu/pack.sh")
    # Tests that draw the kernels they try, and those of Hopper's, need a Hopper GPU.
    every = [] if query_gpu("compute_cap").startswith("9.0") else ["--gtest_filter=-*opper*:*Sweep*"]
    if every:
        tests = [test for test in tests if "hopper" not in test.stem]
    # What instructions do comes first: nothing else means anything where that is wrong.
    tests.sort(key=lambda test: "conformance" not in test.stem)
    yield Step("info", [annulus, "info"], says="cuda")
    for test in tests:
        yield Step(test.stem, [test, *every], 300, says="PASSED")
    for dtype in ("f32", "bf16"):
        for ranks in (1, 2, 4):
            yield Step(f"check {dtype}, {ranks} ranks",
                       [annulus, "check", "--ranks", str(ranks), "--model.dtype", dtype,
                        "--parallel.transport", "threads", *MODEL])
    yield Step("train over NCCL, 1 rank",
               [annulus, "train", "--ranks", "1", "--parallel.transport", "nccl", "--train.steps", "20",
                "--output", out / "nccl", *MODEL], says="trained on")
    for name, steps in (("quickstart", 120), ("recall", 120)):
        yield Step(name, [annulus, "train", "--config", ROOT / f"examples/{name}.ini", "--device.kind",
                          "cuda", "--output", out / name], steps, says="trained on")
    few = ["--n", "4096", "16384", "--rounds", "1"] if options.quick else []
    yield Step("attention beside PyTorch",
               [sys.executable, HERE / "sdpa.py", "--annulus", annulus, "--json", out / "sdpa.json",
                *few], 420)
    yield from sanitizer_steps(tests)


def run(step, out):
    start = time.monotonic()
    log = out / (step.name.replace(" ", "-").replace(",", "") + ".log")
    with open(log, "wb") as file:
        try:
            status = subprocess.run([str(word) for word in step.command], stdout=file,
                                    stderr=subprocess.STDOUT, timeout=step.limit_s,
                                    check=False).returncode
        except subprocess.TimeoutExpired:
            status = "timeout"
        except OSError as error:
            file.write(str(error).encode())
            status = "not started"
    text = log.read_text(errors="replace")
    passed = status == 0 and step.says in text
    return {"step": step.name, "passed": passed, "status": status,
            "seconds": round(time.monotonic() - start, 1),
            "command": " ".join(str(word) for word in step.command),
            "tail": "" if passed else text[-2000:]}


def speed_table(file):
    """Of sdpa.json, where it was written."""
    if not file.exists():
        return ""
    cell = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
    lines = ["", "bf16, TFLOP/s, medians; the roof is a product of 8192^3 in the same round", "",
             "| n | D | mask | pass | annulus | flash | cuDNN | roof | of roof | of best peer |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for row in json.loads(file.read_text())["rows"]:
        if "failed" in row:
            lines.append(f"| {row['n']} | {row['head_dim']} | {row['mask']} | {row['failed'][:80]} |")
            continue
        speeds = [cell(row[f"{who}_tflops"], 0) for who in ("annulus", "flash", "cudnn", "roof")]
        lines.append(f"| {row['n']:,} | {row['head_dim']} | {row['mask']} | {row['pass']} | "
                     + " | ".join(speeds) + f" | {cell(row['over_roof'], 2)} | "
                     f"{cell(row['over_best_peer'], 2)} |")
    return "\n".join(lines) + "\n"


def write(options, device, results):
    report = {"device": device, "date": datetime.date.today().isoformat(), "steps": results}
    sdpa = options.out / "sdpa.json"
    if sdpa.exists():
        report["sdpa"] = json.loads(sdpa.read_text())
    (options.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = [f"{report['date']}, {device}, `bash tests/gpu/run.sh`", "", "| step | result | s |",
             "|---|---|---|"]
    lines += [f"| {r['step']} | {'passed' if r['passed'] else 'FAILED: ' + str(r['status'])} | "
              f"{r['seconds']} |" for r in results]
    (options.out / "results.md").write_text("\n".join(lines) + "\n" + speed_table(sdpa))


def main():
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    device = query_gpu("name,driver_version,memory.total") or "no GPU that nvidia-smi knows of"
    results = []
    for step in steps_of(options):
        if options.only and step.name not in options.only:
            continue
        results.append(run(step, options.out))
        last = results[-1]
        print(f"{'passed' if last['passed'] else 'FAILED'} {last['seconds']:7.1f} s  {step.name}",
              flush=True)
        if not last["passed"]:
            print(last["tail"], flush=True)
        write(options, device, results)  # what is there survives a machine that is taken away
    print((options.out / "results.md").read_text())
    raise SystemExit(not all(result["passed"] for result in results))


if __name__ == "__main__":
    main()
