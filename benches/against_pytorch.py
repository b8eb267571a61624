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
import statistics
import time

import beside
import torch
import torch.nn.functional as F


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


def measure(shape_text, args):
    steps = torch_steps(parse_shape(shape_text), args.fused)
    rounds = beside.Rounds(shape_text)
    for step in steps.values():
        for _ in range(3):
            step()
    for _ in range(args.rounds):
        for name, step in steps.items():
            times = time_torch(step, args.seconds)
            rounds.add(name, statistics.median(times), min(times))
        if args.bagrad != "none":
            # Idle OpenMP workers spin for a while before they sleep; let them.
            time.sleep(0.2)
            # About the same time for both, judged by what PyTorch needs.
            guess = args.seconds * 1e6 / min(r[-1] for n, r in rounds.medians.items() if n != "bagrad")
            row = beside.time_bagrad([args.bagrad], shape_text, args.device, max(3, min(2000, int(guess))))
            rounds.add("bagrad", row["median_us"], row["min_us"],
                       **{k: row[k] for k in ("device", "peak_bytes") if k in row})
    return rounds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bagrad", default="target/release/bagrad", metavar="PATH",
                        help="our binary, or `none` (default: %(default)s)")
    beside.arguments(parser)
    parser.add_argument("--device", default="host", help="bagrad's device (default: host)")
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused Adam kernel")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be positive")

    torch.set_num_threads(beside.cores())
    about = {**beside.machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    print("machine: {cpu}, {cores} cores; torch {torch}, {threads} threads; "
          "load {load:.1f} at the start".format(**about))
    beside.measure_all(args, about, lambda shape: measure(shape, args))


if __name__ == "__main__":
    main()
