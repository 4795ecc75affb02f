"""What run.py writes: results.json, and the same as tables in results.md."""

import configparser
import json


def cell(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def table(title, columns, rows):
    """Markdown; nothing where there are no rows."""
    if not rows:
        return ""
    lines = ["", title, "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def read_json(file):
    return json.loads(file.read_text()) if file.exists() else None


def read_machine(file):
    """Sections of a machine file; none where it was not written."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(file)
    return {name: dict(parser[name]) for name in parser.sections()}


def read_results(out):
    """What the steps wrote, by name."""
    found = {"sdpa": read_json(out / "sdpa.json"), "wall": read_json(out / "wall.json"),
             "ring": read_json(out / "ring-1.json"), "ring_staged": read_json(out / "ring-2.json"),
             "machine": read_machine(out / "machine.ini")}
    if found["ring"] is not None:
        found["ring_over_kernel"] = [
            {key: row[key] for key in ("n", "head_dim", "dtype", "mask", "pass", "over_kernel",
                                       "over_kernel_min", "over_kernel_max")}
            for row in found["ring"]["rows"]]
    return {name: value for name, value in found.items() if value}


def outcome(result):
    if result["skipped"]:
        return "skipped: " + result["skipped"]
    return "passed" if result["passed"] else f"FAILED: {result['status']}"


def over_kernel_table(results):
    return table("Ring attention of one rank over the same attention called straight through the kernel "
                 "table: what the ring's driver costs",
                 ["n", "D", "dtype", "mask", "pass", "ring / kernel", "from-to"],
                 [[f"{row['n']:,}", row["head_dim"], row["dtype"], row["mask"], row["pass"],
                   cell(row["over_kernel"], 3),
                   f"{cell(row['over_kernel_min'], 3)}-{cell(row['over_kernel_max'], 3)}"]
                  for row in results.get("ring_over_kernel", [])])


def ring_table(title, report):
    return table(title, ["n", "D", "dtype", "ranks", "devices", "pass", "kernel alone, ms", "ring, ms",
                         "efficiency", "of roof", "exposed, ms", "sent, bytes"],
                 [[f"{row['n']:,}", row["head_dim"], row["dtype"], row["ranks"], row["devices"],
                   row["pass"], cell(row["baseline_ms"], 3), cell(row["ms"], 3),
                   cell(row["efficiency"], 3), cell(row["roof_ratio"], 3),
                   cell(row["exposed_comm_ms"], 3), f"{row['bytes_sent']:,}"]
                  for row in report["rows"]]) if report else ""


def wall_table(report):
    if not report:
        return ""
    first = report["rows"][0]
    crossover = ", ".join(f"{part} at n = {cell(n, 0)}" for part, n in report["crossover"].items())
    return table(f"Attention beside an MLP, {first['heads']} heads of {first['head_dim']}, "
                 f"{first['dtype']}; attention overtakes the MLP: {crossover} (-: not among these n)",
                 ["n", "part", "forward, ms", "backward, ms", "TFLOP/s", "of roof"],
                 [[f"{row['n']:,}", row["part"], cell(row["forward_ms"], 3),
                   cell(row["backward_ms"], 3), cell(row["gflops"] / 1e3, 1),
                   cell(row["roof_ratio"], 3)] for row in report["rows"]])


def machine_table(machine):
    rates = {name: section for name, section in machine.items() if name != "machine"}
    return table("Rates of this machine (bench calibrate); -: nothing that the samples show",
                 ["section", "overhead or latency, us", "GFLOP/s", "GB/s"],
                 [[name, section.get("overhead_us", section.get("latency_us", "-")),
                   section.get("gflops", "-"), section.get("gbytes_per_s", "-")]
                  for name, section in rates.items()])


def pytorch_row(row):
    if "failed" in row:
        return [row["n"], row["head_dim"], row["mask"], row["failed"][:80], *["-"] * 6]
    return [f"{row['n']:,}", row["head_dim"], row["mask"], row["pass"],
            *[cell(row[f"{who}_tflops"], 0) for who in ("annulus", "flash", "cudnn", "roof")],
            cell(row["over_roof"], 2), cell(row["over_best_peer"], 2)]


def pytorch_table(report):
    return table("bf16, TFLOP/s, medians; the roof is a product of 8192^3 in the same round",
                 ["n", "D", "mask", "pass", "annulus", "flash", "cuDNN", "roof", "of roof",
                  "of best peer"], [pytorch_row(row) for row in report["rows"]]) if report else ""


def write(out, heading, steps):
    """`heading` has the keys device and date; `steps` what run() returned."""
    results = read_results(out)
    report = {**heading, "steps": steps, **results}
    (out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    text = f"{heading['date']}, {heading['device']}, `bash tests/gpu/run.sh`\n"
    text += table("Steps", ["step", "result", "s"],
                  [[step["step"], outcome(step), step["seconds"]] for step in steps])
    text += over_kernel_table(results)
    text += ring_table("Ring attention, 1 rank", results.get("ring"))
    text += ring_table("Ring attention, 2 ranks, messages through the host",
                       results.get("ring_staged"))
    text += machine_table(results.get("machine", {}))
    text += wall_table(results.get("wall"))
    text += pytorch_table(results.get("sdpa"))
    (out / "results.md").write_text(text)
