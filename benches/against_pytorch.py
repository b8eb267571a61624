#!/usr/bin/env python3
"""Time one training step in PyTorch (eager, f32, CPU) and in bagrad, side by side.

The step is the same on both sides, for a bag of N instances with D features:

    h = relu(X Wf + bf)                     X [N,D], no gradient to X;  h [N,H]
    e = w . (tanh(h V + b) * sigmoid(h U + c)) + w0      hidden width L
    z = sum_n softmax(e)_n h_n              then one logit from a linear head
    BCE with logits, backward to every parameter, one Adam update

A shape is `N,D,H,L`, or `SIZExBAGS,D,H,L` for a packed batch of equal bags with
the mean loss. PyTorch runs a packed batch in two ways: `loop` (a forward pass per
bag, one backward, one update) and `segment` (all instances at once, the softmax
and the pooling done with scatter_reduce / index_add).

The two programs take turns within each round, so a slow spell of the machine hits
both; the figure kept is the median over rounds of each round's median.

    python -m venv .venv && .venv/bin/pip install torch numpy
    cargo build --release
    .venv/bin/python benches/against_pytorch.py --rounds 7 --json result.json

Without a bagrad binary (`--bagrad none`) only PyTorch is timed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

SHAPES = ["10000,1024,512,256", "1000,512,256,128", "64,166,128,64", "12x32,166,128,64"]


def parse_shape(text):
    """`N,D,H,L` -> (N, 1, D, H, L); `SIZExBAGS,D,H,L` -> (SIZE, BAGS, D, H, L)."""
    first, *widths = text.split(",")
    size, _, bags = first.partition("x")
    if len(widths) != 3:
        raise SystemExit(f"bad shape {text!r}: want N,D,H,L or SIZExBAGS,D,H,L")
    return (int(size), int(bags or 1), *map(int, widths))


class Net(torch.nn.Module):
    def __init__(self, d, h, l):
        super().__init__()
        self.embed = torch.nn.Linear(d, h)
        self.v = torch.nn.Linear(h, l)
        self.u = torch.nn.Linear(h, l)
        self.w = torch.nn.Linear(l, 1)
        self.head = torch.nn.Linear(h, 1)

    def scores(self, x):
        h = F.relu(self.embed(x))
        return h, self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h)))

    def one_bag(self, x):
        h, e = self.scores(x)
        return self.head(torch.softmax(e, 0).T @ h)

    def packed(self, x, segment, bags):
        h, e = self.scores(x)
        # The shift by the bag's maximum cancels in the softmax: no gradient through it.
        top = torch.full((bags,), -torch.inf)
        top = top.scatter_reduce(0, segment, e.detach().squeeze(1), "amax")
        num = torch.exp(e.squeeze(1) - top[segment])
        den = torch.zeros(bags).index_add(0, segment, num)
        a = num / den[segment]
        z = torch.zeros(bags, h.shape[1]).index_add(0, segment, a.unsqueeze(1) * h)
        return self.head(z)


def torch_steps(shape, fused):
    """{program name: function that does one training step} for a shape."""
    size, bags, d, h, l = shape
    torch.manual_seed(0)
    x = torch.randn(size * bags, d)
    y = (torch.arange(bags) % 2).float().unsqueeze(1)
    segment = torch.arange(bags).repeat_interleave(size)
    pieces = list(x.split(size))

    def build(logits):
        net = Net(d, h, l)
        adam = torch.optim.Adam(net.parameters(), lr=5e-4, fused=fused)

        def step():
            adam.zero_grad()
            loss = F.binary_cross_entropy_with_logits(logits(net), y)
            loss.backward()
            adam.step()
            return loss

        return step

    if bags == 1:
        return {"pytorch": build(lambda net: net.one_bag(x))}
    return {
        "pytorch loop": build(lambda net: torch.cat([net.one_bag(p) for p in pieces])),
        "pytorch segment": build(lambda net: net.packed(x, segment, bags)),
    }


def time_torch(step, seconds):
    """Microseconds of each step run within a time budget (three at least)."""
    step()  # the caches and the worker threads went cold while the other program ran
    times = []
    stop = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < stop:
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e6)
    return times


def time_bagrad(binary, shape, device, repeats):
    command = [binary, "bench", "--steps", shape, "--device", device, "--json",
               "--repeats", str(repeats)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}")
    rows = json.loads(done.stdout)
    if len(rows) != 1:
        raise SystemExit(f"asked bagrad for one shape, got {len(rows)} rows: {done.stdout}")
    return rows[0]


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(r.split(":", 1)[1].strip() for r in info if r.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "cores": cores(), "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            # Other work on the machine hurts threaded PyTorch most: say if there is any.
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")}


def cores():
    """The cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def measure(shape_text, args):
    """Rows {shape, program, median_us, min_us, rounds: [..]} of one shape."""
    steps = torch_steps(parse_shape(shape_text), args.fused)
    rounds = {name: [] for name in steps}
    lowest = {name: float("inf") for name in steps}
    extra = {}
    for step in steps.values():
        for _ in range(3):
            step()
    for _ in range(args.rounds):
        for name, step in steps.items():
            times = time_torch(step, args.seconds)
            rounds[name].append(statistics.median(times))
            lowest[name] = min(lowest[name], min(times))
        if args.bagrad != "none":
            # Idle OpenMP workers spin for a while before they sleep; let them.
            time.sleep(0.2)
            # About the same time for both, judged by what PyTorch needs.
            guess = args.seconds * 1e6 / min(r[-1] for r in rounds.values())
            row = time_bagrad(args.bagrad, shape_text, args.device, max(3, min(2000, int(guess))))
            rounds.setdefault("bagrad", []).append(row["median_us"])
            lowest["bagrad"] = min(lowest.get("bagrad", float("inf")), row["min_us"])
            extra["bagrad"] = {k: row[k] for k in ("device", "peak_bytes") if k in row}
    rows = [
        {"shape": shape_text, "program": name, "median_us": statistics.median(values),
         "min_us": lowest[name], "rounds": values, **extra.get(name, {})}
        for name, values in rounds.items()
    ]
    if "bagrad" in rounds:
        ours = statistics.median(rounds["bagrad"])
        for row in rows:
            row["ratio"] = row["median_us"] / ours
    return rows


def print_table(rows):
    print("| shape | program | median (us) | min (us) | spread of rounds | time / bagrad's |")
    print("|---|---|---:|---:|---:|---:|")
    for row in rows:
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        low, high = min(row["rounds"]), max(row["rounds"])
        print(f"| {row['shape']} | {row['program']} | {row['median_us']:.0f} | "
              f"{row['min_us']:.0f} | {low:.0f} to {high:.0f} | {ratio} |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bagrad", default="target/release/bagrad", metavar="PATH",
                        help="our binary, or `none` (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 for a figure to quote")
    parser.add_argument("--seconds", type=float, default=1.0,
                        help="time per program and round (default: %(default)s)")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="SHAPE")
    parser.add_argument("--device", default="host", help="bagrad's device (default: host)")
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused Adam kernel")
    parser.add_argument("--json", metavar="FILE", help="write every round's figure here")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be positive")

    torch.set_num_threads(cores())
    about = machine()
    print("machine: {cpu}, {cores} cores; torch {torch}, {threads} threads; "
          "load {load:.1f} at the start".format(**about))
    rows = []
    for shape in args.shapes:
        rows += measure(shape, args)
        print(f"measured {shape}", file=sys.stderr)
    print_table(rows)
    if args.json:
        with open(args.json, "w") as file:
            options = {k: getattr(args, k) for k in ("rounds", "seconds", "device", "fused")}
            json.dump({"machine": about, "options": options, "rows": rows}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
