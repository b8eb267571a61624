"""What the comparisons with other programs share: shapes, our side, rounds in turn, tables.

Programs take turns within each round, so a slow spell of the machine hits all of them; the figure kept is the median
over rounds of each round's median.
"""

import json
import os
import platform
import statistics
import subprocess

SHAPES = ["10000,1024,512,256", "1000,512,256,128", "64,166,128,64", "12x32,166,128,64"]


def time_bagrad(command, shape, device, repeats, environment=None, more=()):
    """The row of `bagrad bench --steps` for one shape; `command` is the program and what starts it, `more` its options."""
    command = [*command, "bench", "--steps", shape, "--device", device, "--json", "--repeats", str(repeats), *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}")
    rows = json.loads(done.stdout)
    if len(rows) != 1:
        raise SystemExit(f"asked bagrad for one shape, got {len(rows)} rows: {done.stdout}")
    return rows[0]


def cores():
    """The cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(r.split(":", 1)[1].strip() for r in info if r.startswith("model name"))
    except (OSError, StopIteration):
        pass
    # Other work on the machine hurts programs with many threads most: say if there is any.
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {"cpu": model, "cores": cores(), "load": load}


class Rounds:
    """What the rounds of one shape measured, program by program."""

    def __init__(self, shape):
        self.shape = shape
        self.medians, self.lowest, self.extra = {}, {}, {}

    def add(self, name, median_us, min_us, **extra):
        self.medians.setdefault(name, []).append(median_us)
        self.lowest[name] = min(self.lowest.get(name, float("inf")), min_us)
        self.extra[name] = extra

    def rows(self):
        """Rows {shape, program, median_us, min_us, rounds: [..], ratio: time / bagrad's}."""
        rows = [{"shape": self.shape, "program": name, "median_us": statistics.median(values),
                 "min_us": self.lowest[name], "rounds": values, **self.extra[name]}
                for name, values in self.medians.items()]
        if "bagrad" in self.medians:
            ours = statistics.median(self.medians["bagrad"])
            for row in rows:
                row["ratio"] = row["median_us"] / ours
        return rows


def arguments(parser):
    """The options that all comparisons have."""
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 for a figure to quote")
    parser.add_argument("--seconds", type=float, default=1.0,
                        help="time per program and round (default: %(default)s)")
    parser.add_argument("--steps", "--shapes", dest="shapes", nargs="+", default=SHAPES, metavar="SHAPE")
    parser.add_argument("--json", metavar="FILE", help="write every round's figure here")


def measure_all(args, about, measure):
    """Measures every shape, prints the table as it grows, writes the file; `measure` makes the Rounds of a shape."""
    print("| shape | program | median (us) | min (us) | spread of rounds | time / bagrad's |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    rows = []
    for shape in args.shapes:
        for row in measure(shape).rows():
            rows.append(row)
            ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
            low, high = min(row["rounds"]), max(row["rounds"])
            print(f"| {row['shape']} | {row['program']} | {row['median_us']:.0f} | "
                  f"{row['min_us']:.0f} | {low:.0f} to {high:.0f} | {ratio} |", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            options = {k: v for k, v in vars(args).items() if k not in ("json", "shapes")}
            json.dump({"machine": about, "options": options, "rows": rows}, file, indent=1)
            file.write("\n")
