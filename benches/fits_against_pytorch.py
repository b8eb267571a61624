#!/usr/bin/env python3
"""Time a whole cross-validation in PyTorch (eager, f32, CPU) and in bagrad, in turns.

Gated attention on the bags of a classic collection (Musk1 by default), as `bagrad cross-validate` fits it: in each fit a tenth
of the bags is tested and a tenth of the others chooses the epoch; features are z-scored by the training bags; one bag a step,
Adam, the recipe and the layers of `gated-attention`, `--epochs` times over the bags, the validation bags after each. Folds
times seeds fits in all.

PyTorch does so twice: in one process that may use every core, as a script does, and with the fits dealt out to as many
processes as there are cores, each with one thread.

    tools/fetch_data classic && cargo build --release
    python -m venv .venv && .venv/bin/pip install torch numpy
    .venv/bin/python benches/fits_against_pytorch.py --rounds 3
"""

import argparse
import copy
import csv
import json
import multiprocessing
import statistics
import subprocess
import tempfile
import time

import beside
import torch
import torch.nn as nn
import torch.nn.functional as F


class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        widths = [width, 256, 128, 64]
        layers = [[nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.5)] for a, b in zip(widths, widths[1:])]
        self.embed = nn.Sequential(*[layer for group in layers for layer in group])
        self.v, self.u, self.w, self.head = nn.Linear(64, 128), nn.Linear(64, 128), nn.Linear(128, 1), nn.Linear(64, 1)

    def forward(self, x):
        h = self.embed(x)
        weights = torch.softmax(self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h))), 0)
        return self.head(weights.T @ h).view(())


def read(path):
    """Bags of a table label,bag,features without a header."""
    bags = {}
    with open(path) as file:
        for row in csv.reader(file):
            bags.setdefault((row[1], float(row[0])), []).append([float(v) for v in row[2:]])
    return [(torch.tensor(rows), torch.tensor(label)) for (_, label), rows in bags.items()]


def fit(bags, fold, folds, seed, epochs, rate):
    """Trains on the bags outside of a fold and returns the answers for those inside."""
    torch.manual_seed(seed)
    order = torch.randperm(len(bags), generator=torch.Generator().manual_seed(7)).tolist()
    tested = order[fold::folds]
    rest = [bag for bag in order if bag not in tested]
    held = rest[::10]
    train = [bag for bag in rest if bag not in held]
    rows = torch.cat([bags[bag][0] for bag in train])
    mean, deviation = rows.mean(0), rows.std(0, unbiased=False).clamp_min(1e-6)
    scaled = [((x - mean) / deviation, y) for x, y in bags]
    net = Gated(rows.shape[1])
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    best, kept = float("inf"), None
    for _ in range(epochs):
        net.train()
        for at in torch.randperm(len(train)).tolist():
            x, y = scaled[train[at]]
            adam.zero_grad()
            F.binary_cross_entropy_with_logits(net(x), y).backward()
            adam.step()
        net.eval()
        with torch.no_grad():
            loss = sum(F.binary_cross_entropy_with_logits(net(scaled[bag][0]), scaled[bag][1]).item() for bag in held)
        if loss < best:
            best, kept = loss, copy.deepcopy(net.state_dict())
    net.load_state_dict(kept)
    with torch.no_grad():
        return [net(scaled[bag][0]).item() for bag in tested]


def fits(bags, tasks, options):
    return [fit(bags, fold, options.folds, seed, options.epochs, options.rate) for fold, seed in tasks]


def worker(path, tasks, options):
    torch.set_num_threads(1)
    fits(read(path), tasks, options)


def one_process(path, tasks, options):
    fits(read(path), tasks, options)


def a_process_a_core(path, tasks, options):
    count = beside.cores()
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=worker, args=(path, tasks[i::count], options)) for i in range(count)]
    for process in running:
        process.start()
    for process in running:
        process.join()
        if process.exitcode:
            raise SystemExit("a process of PyTorch's fits failed")


def bagrad(options, jobs):
    with tempfile.TemporaryDirectory() as folder:
        command = [options.bagrad, "cross-validate", "--data", options.data, "--method", "gated-attention", "--folds",
                   str(options.folds), "--seeds", str(options.seeds), "--epochs", str(options.epochs), "--lr", str(options.rate),
                   "--validation", "0.1", "--no-baselines", "--device", "host", "--quiet", "--out", f"{folder}/study", *jobs]
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bagrad", default="target/release/bagrad", metavar="PATH")
    parser.add_argument("--data", default="data/classic/musk1.csv", metavar="FILE")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write every round's figure here")
    options = parser.parse_args()
    tasks = [(fold, seed) for fold in range(options.folds) for seed in range(options.seeds)]
    programs = {
        "bagrad": lambda: bagrad(options, []),
        "bagrad, one fit after the other": lambda: bagrad(options, ["--jobs", "1"]),
        "PyTorch, one process": lambda: one_process(options.data, tasks, options),
        "PyTorch, a process a core": lambda: a_process_a_core(options.data, tasks, options),
    }
    seconds = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, run in programs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
            print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    about = {**beside.machine(), "torch": torch.__version__}
    print(f"\n{len(tasks)} fits; {about['cpu']}, {about['cores']} cores, PyTorch {torch.__version__}, load {about['load']:.1f}\n")
    print("| program | seconds, median | lowest to highest | time / bagrad's |\n|---|---:|---:|---:|")
    ours = statistics.median(seconds["bagrad"])
    for name, all_of in seconds.items():
        middle = statistics.median(all_of)
        print(f"| {name} | {middle:.1f} | {min(all_of):.1f} to {max(all_of):.1f} | {middle / ours:.2f} |")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": about, "options": vars(options), "seconds": seconds}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
