#!/usr/bin/env python3
"""What an eager training step costs the processor in PyTorch when the work is taken out of it.

The step W(N,D,H,L) of against_pytorch.py and those of methods_against_pytorch.py, on PyTorch's device `meta`, which
has shapes and no numbers: what is left is Python, dispatch, autograd and the optimiser, as a program pays it that feeds a
GPU. Beside it what bagrad pays is told by

    cargo build --release --example step_overhead
    tests/drivers run navi31 -- target/release/examples/step_overhead gpu:0

    python benches/eager_overhead.py
"""

import argparse
import statistics
import time

import beside
import torch
import torch.nn.functional as F
from against_pytorch import Net


def gated(d, h, l):
    net = Net(d, h, l).to("meta")
    optimiser = torch.optim.Adam(net.parameters(), 5e-4)
    one = torch.ones(1, 1, device="meta")
    return lambda x: F.binary_cross_entropy_with_logits(net.one_bag(x), one), optimiser


def attention(d, gates, h=(256, 128, 64), l=128):
    """bagrad's `attention` and `gated-attention` with their default layers."""
    widths = [d, *h]
    layers = [torch.nn.Linear(a, b, device="meta") for a, b in zip(widths, widths[1:])]
    heads = [torch.nn.Linear(h[-1], l, device="meta") for _ in range(gates)]
    score, last = torch.nn.Linear(l, 1, device="meta"), torch.nn.Linear(h[-1], 1, device="meta")
    one = torch.ones(1, 1, device="meta")
    parameters = [p for m in (*layers, *heads, score, last) for p in m.parameters()]

    def loss(x):
        for layer in layers:
            x = F.dropout(F.relu(layer(x)), 0.5)
        e = torch.tanh(heads[0](x))
        if gates > 1:
            e = e * torch.sigmoid(heads[1](x))
        return F.binary_cross_entropy_with_logits(last(torch.softmax(score(e), 0).T @ x), one)

    return loss, torch.optim.Adam(parameters, 5e-4, weight_decay=1e-4)


def timed(loss, optimiser, x, seconds):
    """Microseconds of a step: the median."""
    times, start = [], time.perf_counter()
    while len(times) < 20 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        optimiser.zero_grad()
        loss(x).backward()
        optimiser.step()
        times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times[5:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("{cpu}, {cores} cores, load {load:.1f}; PyTorch {torch}, device meta\n".format(
        **beside.machine(), torch=torch.__version__))
    print("| step | us |\n|---|---:|")
    steps = {"64,1024 gated attention, H 512, L 256": gated(1024, 512, 256),
             "attention 64,1024": attention(1024, 1), "gated-attention 64,1024": attention(1024, 2)}
    x = torch.empty(64, 1024, device="meta")
    for name, (loss, optimiser) in steps.items():
        print(f"| {name} | {timed(loss, optimiser, x, args.seconds):.0f} |", flush=True)


if __name__ == "__main__":
    main()
