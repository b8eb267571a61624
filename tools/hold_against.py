#!/usr/bin/env python3
"""Compute in PyTorch what examples/hold_against.rs computed, and compare.

    cargo run --release --example hold_against -- /tmp/held host
    python tools/hold_against.py /tmp/held

Needs torch, numpy and safetensors. Prints ||ours - PyTorch's|| / ||PyTorch's|| of everything in float64 and
fails when one exceeds 3e-5 (f32 sums in another order differ by about 1e-6).
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

folder = Path(sys.argv[1])
batch = json.loads((folder / "batch.json").read_text())
found = json.loads((folder / "found.json").read_text())
p = {name: t.double().requires_grad_() for name, t in load_file(folder / "model.safetensors").items()}
x = torch.tensor(batch["features"], dtype=torch.float64).reshape(sum(batch["sizes"]), -1).requires_grad_()


def layer(name, x):
    return x @ p[name + ".weight"].T + p[name + ".bias"]


loss = 0
logits, scores, attention = [], [], []
for rows, label, weight in zip(x.split(batch["sizes"]), batch["labels"], batch["weights"]):
    h = torch.relu(layer("embed.1", torch.relu(layer("embed.0", rows))))
    e = layer("attention.w", torch.tanh(layer("attention.v", h)) * torch.sigmoid(layer("attention.u", h)))
    a = torch.softmax(e, dim=0)
    logit = layer("head", a.T @ h)
    # The authors' loss clamps the probability.
    q = torch.sigmoid(logit).clamp(1e-5, 1 - 1e-5)
    loss = loss - weight * (label * q.log() + (1 - label) * (1 - q).log()).sum()
    logits.append(logit)
    scores.append(e)
    attention.append(a)
loss.backward()

pairs = {"loss": (found["loss"], loss), "instances": (found["instances"], x.grad)}
for name, parts in [("bag_logits", logits), ("scores", scores), ("attention", attention)]:
    pairs[name] = (found["outputs"][name], torch.cat(parts))
for name, parameter in p.items():
    pairs["gradient of " + name] = (found["parameters"][name], parameter.grad)
worst = 0.0
for name, (ours, theirs) in pairs.items():
    ours = torch.tensor(ours, dtype=torch.float64).flatten()
    theirs = theirs.detach().flatten()
    # The gradient of attention.w.bias is zero: a shift of all scores leaves the softmax as it is.
    size = theirs.norm() if theirs.norm() > 1e-12 else torch.tensor(1.0)
    error = float((ours - theirs).norm() / size)
    worst = max(worst, error)
    print(f"{name:32} {error:.1e}")
sys.exit(f"error {worst:.1e}" if worst > 3e-5 else None)
