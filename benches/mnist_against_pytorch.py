#!/usr/bin/env python3
"""Attention MIL on MNIST-bags, end to end from pixels: a run of bagrad against the same run in PyTorch, on the CPU.

Both train the same network (LeNet, attention 128, 490,828 parameters) with Adam, 200 bags of about 10 pictures, one bag an
update, 20 epochs, in float32 with the same number of threads. They run alternately, each in a process of its own; wall
time and CPU time are those of the training alone (of bagrad's CPU time, what a run of one epoch costs beside it is taken
off). On a machine that is busy with other work PyTorch's threads wait long for each other: use --threads 1 there.

    python -m venv .venv && .venv/bin/pip install torch numpy
    tools/fetch_data mnist && cargo build --release
    .venv/bin/python benches/mnist_against_pytorch.py --bagrad target/release/bagrad --data data/mnist --repeats 5
"""

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def idx(folder, name, skip):
    """The bytes of one of the four files, packed or not."""
    plain = Path(folder) / name
    data = plain.read_bytes() if plain.exists() else gzip.open(f"{plain}.gz").read()
    return np.frombuffer(data, np.uint8, offset=skip)


def draw(folder, count, seed):
    """Positive and negative bags in turn, as the paper draws them."""
    images = idx(folder, "train-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    labels = idx(folder, "train-labels-idx1-ubyte", 8)
    rng, bags = np.random.default_rng(seed), []
    while len(bags) < count:
        positive = len(bags) % 2 == 0
        size = max(int(rng.normal(10, 2)), 1)
        if positive:
            picked = rng.integers(len(labels), size=size)
            if not (labels[picked] == 9).any():
                continue
        else:
            picked = rng.choice(np.flatnonzero(labels != 9), size=size)
        bags.append(((images[picked] / np.float32(255) - np.float32(0.1307)) / np.float32(0.3081), float(positive)))
    return bags


def torch_run(args):
    """One training in PyTorch: prints wall and CPU seconds."""
    import torch
    from torch import nn

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    bags = [(torch.from_numpy(x.astype(np.float32)), torch.tensor([y])) for x, y in draw(args.data, args.bags, args.seed)]
    encoder = nn.Sequential(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(),
                            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 500), nn.ReLU())
    score = nn.Sequential(nn.Linear(500, 128), nn.Tanh(), nn.Linear(128, 1))
    head = nn.Linear(500, 1)
    model = nn.ModuleList([encoder, score, head])
    assert sum(p.numel() for p in model.parameters()) == 490_828
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=1e-4)

    def step(x, y):
        optimiser.zero_grad()
        h = encoder(x)
        attention = score(h).softmax(0)
        p = head((attention.T @ h)[0]).sigmoid().clamp(1e-5, 1 - 1e-5)
        loss = -(y * p.log() + (1 - y) * (1 - p).log()).sum()
        loss.backward()
        optimiser.step()
        return loss.detach()

    spent = lambda: resource.getrusage(resource.RUSAGE_SELF)
    start, before = time.perf_counter(), spent()
    for _ in range(args.epochs):
        total = torch.zeros(())
        for at in torch.randperm(len(bags)).tolist():
            total += step(*bags[at])
        loss = float(total) / len(bags)
    wall, after = time.perf_counter() - start, spent()
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "loss": loss}))


def child_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bagrad_run(args, epochs):
    """One training in bagrad. The CPU time is that of the whole process."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    command = [args.bagrad, "train", "--data", f"mnist-bags:{args.data},train={args.bags},test=2", "--method",
               "attention", "--set", "embedder=lenet", "--epochs", str(epochs), "--device", "host", "--quiet", "--json"]
    before = child_seconds()
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    told = json.loads(out.stdout.splitlines()[-1])
    assert told["parameters"] == 490_828 and told["steps"] == args.bags * epochs, told
    return {"wall": told["training_seconds"], "cpu": child_seconds() - before}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bagrad", default="target/release/bagrad", help="the program")
    parser.add_argument("--data", default="data/mnist", help="folder of the four MNIST files")
    parser.add_argument("--bags", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--torch-run", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_run:
        return torch_run(args)
    runs = {"bagrad": [], "pytorch": []}
    for repeat in range(args.repeats):
        # Reading, drawing and the predictions at the end, which are not training: what a run of one epoch has too.
        short = bagrad_run(args, 1)
        full = bagrad_run(args, args.epochs)
        share = args.epochs / (args.epochs - 1)
        full["cpu"] = (full["cpu"] - short["cpu"]) * share
        runs["bagrad"].append(full)
        out = subprocess.run([sys.executable, *sys.argv, "--torch-run"], check=True, capture_output=True, text=True)
        runs["pytorch"].append(json.loads(out.stdout))
        print(f"{repeat + 1}/{args.repeats}", *(f"{name} {r[-1]['wall']:.2f} s, CPU {r[-1]['cpu']:.2f} s"
                                                for name, r in runs.items()), sep="  ", flush=True)
    for what in ("wall", "cpu"):
        ours, theirs = (statistics.median(r[what] for r in runs[name]) for name in ("bagrad", "pytorch"))
        ratios = sorted(t[what] / o[what] for o, t in zip(runs["bagrad"], runs["pytorch"]))
        print(f"{what:4}  bagrad {ours:.2f} s  pytorch {theirs:.2f} s  pytorch / bagrad: median "
              f"{statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
