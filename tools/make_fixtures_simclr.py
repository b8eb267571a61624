#!/usr/bin/env python3
"""Write the reference results of encoders of patches that the tests compare bagrad with.

Our own code, in plain PyTorch and float64, after the papers: a residual network with instance norms, two layers
of projection and NT-Xent over all pairs of views; and the same network under cross-entropy. Rows of `x` are
pictures, one channel after the other; rows 2k and 2k + 1 are the views of patch k.

    .venv/bin/python tools/make_fixtures_simclr.py --out tests/fixtures

A file holds x [N, values] f32, param/NAME, loss [1], embedding [N, width], grad/x, grad/NAME and, after `steps` updates
of Adam on the same batch, losses [steps] (each before its update) and final/NAME; labels [N] and weights [N] where
the objective is classes. Metadata, all strings: kind `encoder`, settings (JSON), classes, optimizer (JSON).
"""

import json
import zlib

import torch
from torch.nn.functional import conv2d, cross_entropy, instance_norm, max_pool2d, relu

import make_fixtures as base

torch.set_default_dtype(torch.float64)

STEPS, RATE, DECAY = 4, 1e-3, 1e-2


def encode(spec, p, x):
    height, width, channels = spec["image"]
    size, stride = spec["stem"]

    def conv(name, h, stride):
        weight = p[name + ".weight"]
        area = weight.shape[1] // h.shape[1]
        size = round(area ** 0.5)
        kernel = weight.reshape(len(weight), h.shape[1], size, size)
        return instance_norm(conv2d(h, kernel, stride=stride, padding=size // 2), eps=1e-5)

    h = relu(conv("conv1", x.reshape(-1, channels, height, width), stride))
    if spec["stem_pool"]:
        h = max_pool2d(h, 3, 2, 1)
    for stage, blocks in enumerate(spec["blocks"]):
        for b in range(blocks):
            name, stride = f"layer{stage + 1}.{b}", 2 if stage and not b else 1
            past = conv(name + ".downsample.0", h, stride) if name + ".downsample.0.weight" in p else h
            h = relu(conv(name + ".conv2", relu(conv(name + ".conv1", h, stride)), 1) + past)
    return h.mean((2, 3))


def nt_xent(z, temperature):
    """Written out pair by pair."""
    z = z / z.norm(dim=1, keepdim=True)
    total = 0
    for a in range(len(z)):
        others = torch.stack([z[a] @ z[b] / temperature for b in range(len(z)) if b != a])
        total = total - z[a] @ z[a ^ 1] / temperature + others.logsumexp(0)
    return total / len(z)


def loss_of(spec, p, data):
    h = encode(spec, p, data["x"])
    if spec["objective"] == "contrast":
        z = base.layer(p, "l2", relu(base.layer(p, "l1", h)))
        return nt_xent(z, spec["temperature"]), h
    logits = base.layer(p, "head", h)
    losses = cross_entropy(logits, data["labels"], reduction="none")
    return (losses * data["weights"]).sum(), h


def shapes(spec):
    """{parameter: shape}."""
    channels, widths = spec["image"][2], spec["widths"]
    named = {"conv1.weight": (widths[0], channels * spec["stem"][0] ** 2)}
    before = widths[0]
    for stage, (width, blocks) in enumerate(zip(widths, spec["blocks"])):
        for b in range(blocks):
            name = f"layer{stage + 1}.{b}"
            named[name + ".conv1.weight"] = (width, before * 9)
            named[name + ".conv2.weight"] = (width, width * 9)
            if before != width or (stage and not b):
                named[name + ".downsample.0.weight"] = (width, before)
            before = width
    layers = {"head": (spec["classes"], before)}
    if spec["objective"] == "contrast":
        hidden, out = spec["projection"]
        layers = {"l1": (hidden, before), "l2": (out, hidden)}
    for name, shape in layers.items():
        named[name + ".weight"], named[name + ".bias"] = shape, shape[:1]
    return named


def catalogue():
    small = {"image": [9, 7, 3], "stem": [3, 2], "stem_pool": False, "widths": [4, 5], "blocks": [1, 1],
             "projection": [6, 4], "temperature": 0.5, "objective": "contrast", "classes": 2, "rows": 6}
    return {
        "encoder-contrast": small,
        "encoder-deep": {**small, "image": [16, 18, 1], "stem": [5, 1], "stem_pool": True, "blocks": [2, 1],
                         "temperature": 0.1, "rows": 10},
        "encoder-classes": {**small, "objective": "classes", "classes": 3, "rows": 5},
    }


def fixture(spec, name):
    draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    normal = lambda *shape: torch.randn(*shape, generator=draw).float().double()
    height, width, channels = spec["image"]
    data = {"x": normal(spec["rows"], height * width * channels)}
    if spec["objective"] == "classes":
        data["labels"] = torch.arange(spec["rows"]) * 2 % spec["classes"]
        data["weights"] = torch.rand(spec["rows"], generator=draw).float().double()
    start = {k: (normal(*s) / s[-1] ** 0.5).float().double() for k, s in shapes(spec).items()}
    tensors = {k: v.float() if k != "labels" else v for k, v in data.items()}
    tensors |= {f"param/{k}": v.float() for k, v in start.items()}
    data["x"].requires_grad_()
    params = {k: v.clone().requires_grad_() for k, v in start.items()}
    loss, h = loss_of(spec, params, data)
    loss.backward()
    tensors |= {"loss": loss.detach().reshape(1), "embedding": h.detach(), "grad/x": data["x"].grad.clone()}
    tensors |= {f"grad/{k}": v.grad.clone() for k, v in params.items()}
    optimizer, losses = torch.optim.Adam(params.values(), lr=RATE, weight_decay=DECAY), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(spec, params, data)[0]
        losses.append(loss.detach())
        loss.backward()
        optimizer.step()
    tensors |= {"losses": torch.stack(losses)} | {f"final/{k}": v.detach() for k, v in params.items()}
    return tensors


def main():
    args = base.arguments(__doc__)
    for name, spec in catalogue().items():
        settings = {k: v for k, v in spec.items() if k not in ("classes", "rows")}
        metadata = {"kind": "encoder", "classes": str(spec["classes"]), "settings": json.dumps(settings),
                    "optimizer": json.dumps({"lr": RATE, "weight_decay": DECAY}),
                    "generator": "tools/make_fixtures_simclr.py"}
        path = args.out / f"{name}.safetensors"
        base.save(path, fixture(spec, name), metadata)
        print(f"{path.stat().st_size:8} {path.name}")


if __name__ == "__main__":
    main()
