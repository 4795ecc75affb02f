"""Verifies annulus on one GPU: runs every step, and writes results.json and results.md.

A step that fails does not keep the next ones from running. steps.py has them, tables.py what is written.
"""

import argparse
import datetime
import os
import pathlib
import subprocess
import time

import tables
from steps import HERE, ROOT, query_gpu, steps_of


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=pathlib.Path, default=ROOT / "build/gpu-pack",
                        help="what pack.sh made, unpacked from PACK.tar.gz or built where it is missing")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/gpu-results",
                        help="directory of the results")
    parser.add_argument("--only", nargs="+", default=[], help="names of the steps to run")
    parser.add_argument("--quick", action="store_true", help="fewer cases beside PyTorch")
    parser.add_argument("--smoke", action="store_true",
                        help="sizes that an emulated GPU runs: tries this script, measures nothing")
    options = parser.parse_args()
    options.pack, options.out = options.pack.absolute(), options.out.absolute()
    return options


def provide(pack):
    """Unpacks what was carried here, or builds it."""
    archive = pack.with_name(pack.name + ".tar.gz")
    if not (pack / "annulus").exists() and archive.exists():
        subprocess.run(["tar", "-xzf", archive, "-C", pack.parent], check=True)
    if not (pack / "annulus").exists():
        subprocess.run(["bash", HERE / "pack.sh", pack], check=True)


def choose(steps, names):
    """All of them, or those that are named."""
    known = [step.name for step in steps]
    for name in names:
        if name not in known:
            raise SystemExit(f"there is no step \"{name}\"; steps are: {', '.join(known)}")
    return [step for step in steps if not names or step.name in names]


def execute(step, log):
    """The exit status, or what it has none of."""
    with open(log, "wb") as file:
        try:
            return subprocess.run([str(word) for word in step.command], stdout=file,
                                  stderr=subprocess.STDOUT, timeout=step.limit_s,
                                  check=False).returncode
        except subprocess.TimeoutExpired:
            return "timeout"
        except OSError as error:
            file.write(str(error).encode())
            return "not started"


def run(step, out):
    """Neither passed nor failed is what is skipped."""
    result = {"step": step.name, "passed": None, "status": "skipped", "skipped": step.skip, "seconds": 0,
              "command": " ".join(str(word) for word in step.command), "tail": ""}
    if step.writes:
        step.writes.unlink(missing_ok=True)
    if step.skip:
        return result
    start = time.monotonic()
    log = out / (step.name.replace(" ", "-").replace(",", "") + ".log")
    status = execute(step, log)
    text = log.read_text(errors="replace")
    passed = status == 0 and step.says in text
    return {**result, "passed": passed, "status": status,
            "seconds": round(time.monotonic() - start, 1), "tail": "" if passed else text[-2000:]}


def main():
    options = parse_arguments()
    provide(options.pack)
    options.out.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    heading = {"device": query_gpu("name,driver_version,memory.total")
                         or "no GPU that nvidia-smi knows of",
               "date": datetime.date.today().isoformat()}
    if options.smoke:
        heading["device"] += ", smallest sizes: no figure means anything"
    results = []
    for step in choose(list(steps_of(options)), options.only):
        results.append(run(step, options.out))
        last = results[-1]
        print(f"{tables.outcome(last).split(':')[0]:7} {last['seconds']:7.1f} s  {step.name}", flush=True)
        if last["tail"]:
            print(last["tail"], flush=True)
        tables.write(options.out, heading, results)  # what is there survives a machine taken away
    print((options.out / "results.md").read_text())
    raise SystemExit(any(result["passed"] is False for result in results))


if __name__ == "__main__":
    main()
