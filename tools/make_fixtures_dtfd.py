#!/usr/bin/env python3
"""Write the reference results of DTFD-MIL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twin is new. Our own code, in plain PyTorch and float64.

In a forward file the rows of each bag are dealt out to its pseudo-bags like cards; in a training file they are shuffled
anew in each step by bagrad's counter-based numbers, which are spelt out here, with the seed 0 unless the
spec has another. Gradients are clipped for
each of four parts before an update (optimizer.clip).

Finite differences would not agree with these gradients, since the second tier's loss stops at what was distilled.

    .venv/bin/python tools/make_fixtures_dtfd.py --out tests/fixtures
"""

import json
import zlib

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear, relu

import make_fixtures as base
from make_fixtures_pooling import philox

PARTS = ["reduce", "tier1.attention", "tier1.head", "tier2"]


def bag_loss(z, label):
    if len(z) == 1:
        return binary_cross_entropy_with_logits(z[0], label.to(z.dtype))
    return cross_entropy(z, label)


def attend(spec, params, name, h):
    """(attention, pooled)"""
    u = base.layer(params, name + ".v", h).tanh()
    if spec["gated"]:
        u = u * base.layer(params, name + ".u", h).sigmoid()
    a = base.layer(params, name + ".w", u).softmax(0)
    return a, (a * h).sum(0)


def picked(spec, signals, attention, kinks):
    """The rows of a pseudo-bag that are distilled."""
    by = {"mas": attention[:, 0], "max-s": signals.softmax(1)[:, -1] if signals.shape[1] > 1 else signals[:, 0]}
    by = by["mas" if spec["distil"] == "mas" else "max-s"].detach()
    order = by.argsort(descending=True)
    # float32 must not see another order.
    kinks += [(by[order][:-1] - by[order][1:]).min() * 10] if len(order) > 1 else []
    first = order[:spec["instances"]]
    return torch.cat([first, order.flip(0)[:spec["instances"]]]) if spec["distil"] == "max-min-s" else first


def dtfd(spec, params, x, label, kinks, step=None):
    """One bag: (logits, loss, instance outputs)."""
    pre = linear(x, params["reduce.weight"])
    kinks.append(pre.detach().abs().min())
    r = relu(pre)
    m = min(spec["pseudo_bags"], len(x))
    if step is None:
        parts = [np.arange(p, len(x), m) for p in range(m)]
    else:
        row = np.arange(len(x))
        counters = np.stack([row, 0 * row, 0 * row + step, 0 * row + 1], 1)
        parts = np.array_split(np.argsort(philox(counters, [spec.get("seed", 0), 0])[:, 0], kind="stable"), m)
    losses, distilled = [], []
    signals, attention = r.new_zeros(len(x), spec["classes"]), r.new_zeros(len(x), 1)
    for part in parts:
        h = r[part]
        a, f = attend(spec, params, "tier1.attention", h)
        losses.append(bag_loss(base.layer(params, "tier1.head", f), label))
        cam = linear(a * h, params["tier1.head.weight"])
        signals[part], attention[part] = cam.detach(), a.detach()
        distilled.append(f[None] if spec["distil"] == "afs" else h[picked(spec, cam, a, kinks)])
    # The distilled features are constants of the second tier.
    _, z = attend(spec, params, "tier2.attention", torch.cat(distilled).detach())
    logits = base.layer(params, "tier2.head", z)
    loss = bag_loss(logits, label) + spec["first_tier"] * torch.stack(losses).mean()
    return logits, loss, {"scores": signals, "pseudo-bag-attention": attention}


def steps(data, lo, hi):
    """The number of the training step, by which pseudo-bags are drawn."""
    return {"step": data["step"]} if "step" in data else {}


def shapes(spec):
    r, l = spec["reduce"], spec["attention"]
    named = {"reduce.weight": (r, spec["inputs"])}
    for tier in ["tier1", "tier2"]:
        layers = {"attention.v": (l, r), **({"attention.u": (l, r)} if spec["gated"] else {}), "attention.w": (1, l),
                  "head": (spec["classes"], r)}
        for name, (out, fan_in) in layers.items():
            named[f"{tier}.{name}.weight"], named[f"{tier}.{name}.bias"] = (out, fan_in), (out,)
    return named


def draw(spec, rng):
    params, data = draw_plain(spec, rng)
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


draw_plain = base.draw


def clip(named, opt):
    for part in PARTS:
        own = [p for name, p in named.items() if name.startswith(part + ".")]
        torch.nn.utils.clip_grad_norm_(own, opt["clip"])


def well_posed(spec, name):
    """Draw until no ReLU and no rank is so near its kink that float32 might take the other side, and the gradient of every
    parameter is alive."""
    shifts = ("attention.w.bias",)
    for attempt in range(3000):
        params, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
        p, d = base.widen({k: v.clone() for k, v in params.items()}, data)
        kinks = []
        loss, outputs = base.forward(spec, p, d, kinks)
        # Rows of zeros have ReLUs at the kink on both sides of it alike.
        kinks = [k for k in kinks if k > 0] if spec.get("repeats") else kinks
        if kinks and min(kinks) < 1e-3 / (30 if "wide" in spec else 1):
            continue
        loss.backward()
        if not all(v.grad.abs().max() > 1e-4 for k, v in p.items() if not k.endswith(shifts)):
            continue
        if "optimizer" not in spec:
            return params, data, base.forward_fixture(spec, params, data)
        tensors = base.train_fixture(spec, {k: v.clone() for k, v in params.items()}, data)
        losses, final = base.train(spec, {k: v.clone() for k, v in params.items()}, data, torch.float32)
        errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach())
                  for k, v in final.items() if not k.endswith(shifts)]
        if max(errors + [base.relative(losses, tensors["losses"])]) < 2e-5:
            return params, data, tensors
    raise SystemExit(f"{name}: no well-posed draw")


def metadata(spec):
    keys = ["reduce", "attention", "gated", "pseudo_bags", "distil", "instances", "first_tier"]
    settings = {k: spec[k] for k in keys}
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": "dtfd", "classes": str(spec["classes"]),
           "generator": "tools/make_fixtures_dtfd.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
        settings["clip"] = spec["optimizer"]["clip"]
    return {**out, "settings": json.dumps(settings)}


def catalogue():
    """{file name: spec}."""
    small = {"inputs": 7, "sizes": [9, 1, 11, 3, 17], "paper": False, "classes": 1, "method": "dtfd", "reduce": 6,
             "attention": 3, "gated": True, "pseudo_bags": 4, "distil": "afs", "instances": 1, "first_tier": 1.0}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4,
            "clip": 0.1}
    specs = {}
    for task, c in {"binary": 1, "multi": 3}.items():
        for distil in ["afs", "max-s", "max-min-s", "mas"]:
            more = {} if distil == "afs" else {"instances": 2, "pseudo_bags": 3}
            specs[f"dtfd-{distil}-{task}"] = {**small, **more, "distil": distil, "classes": c}
        specs[f"dtfd-long-{task}"] = {**small, "inputs": 4, "sizes": [130, 3, 300, 1], "classes": c, "wide": True}
    specs["dtfd-plain"] = {**small, "gated": False, "first_tier": 0.5, "pseudo_bags": 2}
    specs["dtfd-repeats"] = {**small, "repeats": True, "sizes": [9, 1, 6, 4]}
    specs["train-dtfd-afs-adam"] = {**small, "optimizer": adam}
    specs["train-dtfd-max-min-s-adam"] = {**small, "distil": "max-min-s", "classes": 3, "optimizer": adam}
    return specs


def main():
    args = base.arguments(__doc__)
    base.places, base.shapes, base.clip = steps, shapes, clip
    base.TWINS["dtfd"] = dtfd
    for name, spec in catalogue().items():
        params, data, tensors = well_posed(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}")


if __name__ == "__main__":
    main()
