#!/usr/bin/env python3
"""Time contrastive pretraining with bagrad's host and with PyTorch, in turn, on the same cores.

    cargo build --release
    .venv/bin/python benches/pretraining_against_pytorch.py --bagrad target/release/bagrad

Both train the same network on batches of the same size. bagrad's time is that of the program, drawing the textures
and making the views included; PyTorch is handed the same two random tensors in every step, so its time is that of
network, loss and update alone. Both count wall and processor time: where others use the machine, the second is
the one to compare.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, relu


class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.a = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        same = stride == 1 and before == width
        self.past = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(before, width, 1, stride, bias=False), nn.InstanceNorm2d(width))
        self.norms = nn.ModuleList([nn.InstanceNorm2d(width) for _ in range(2)])

    def forward(self, x):
        h = relu(self.norms[0](self.a(x)))
        return relu(self.norms[1](self.b(h)) + self.past(x))


class Network(nn.Module):
    def __init__(self, stem, pool, widths, blocks, projection):
        super().__init__()
        size, stride = stem
        layers = [nn.Conv2d(3, widths[0], size, stride, size // 2, bias=False), nn.InstanceNorm2d(widths[0]), nn.ReLU()]
        layers += [nn.MaxPool2d(3, 2, 1)] if pool else []
        before = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks)):
            for b in range(count):
                layers.append(Block(before, width, 2 if stage and not b else 1))
                before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(before, projection[0]), nn.ReLU(), nn.Linear(*projection))

    def forward(self, x):
        return normalize(self.head(self.body(x).mean((2, 3))))


def nt_xent(z, temperature=0.5):
    similar = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return cross_entropy(similar, torch.arange(len(z)) ^ 1)


def pytorch(spec, batch, side, steps):
    """(wall, processor) seconds of a step, after one to warm up."""
    network = Network(**spec)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    x = torch.rand(2 * batch, 3, side, side)
    for step in range(steps + 1):
        if step == 1:
            wall, processor = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        nt_xent(network(x)).backward()
        optimizer.step()
    return (time.perf_counter() - wall) / steps, (time.process_time() - processor) / steps


def bagrad(program, spec, batch, side, steps):
    """The same of the program, all its work over all its steps."""
    per_epoch = 4
    images = f"textures,side={side},mean=16,spread=0,train={per_epoch * batch // 16},test=0"
    settings = {"stem": spec["stem"], "stem_pool": spec["pool"], "widths": spec["widths"], "blocks": spec["blocks"],
                "projection": spec["projection"]}
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "pretrain", "--images", images, "--batch", str(batch), "--validation", "0", "--quiet",
                   "--epochs", str(steps // per_epoch), "--out", str(Path(folder) / "e.safetensors"), "--json"]
        for name, value in settings.items():
            command += ["--set", f"{name}={json.dumps(value)}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "BAGRAD_DEVICE": "host"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(result.stdout)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    done = told["epochs"] * per_epoch
    return told["seconds"] / done, processor / done


NETWORKS = {
    "small": (dict(stem=[3, 2], pool=False, widths=[16, 32, 64], blocks=[1, 1, 1], projection=[64, 64]), 128, 32, 40),
    "resnet18-64": (dict(stem=[7, 2], pool=True, widths=[64, 128, 256, 512], blocks=[2] * 4, projection=[512, 256]),
                    16, 64, 8),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bagrad", default="target/release/bagrad")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, {args.threads} threads", file=sys.stderr)
    for name, (spec, batch, side, steps) in NETWORKS.items():
        rounds = [(bagrad(args.bagrad, spec, batch, side, steps), pytorch(spec, batch, side, steps))
                  for _ in range(args.rounds)]
        for who, at in [("bagrad", 0), ("PyTorch", 1)]:
            wall, processor = (sorted(r[at][i] for r in rounds)[args.rounds // 2] for i in range(2))
            print(f"{name:12} {who:8} {batch / wall:8.0f} patches/s  {batch / processor:8.0f} patches a processor second")


if __name__ == "__main__":
    main()
