#!/usr/bin/env python3
"""Write the reference results of DAS-MIL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions
this script uses; only the twin is new. Our own code, in plain PyTorch and float64: every pair of a bag has its
own vectors of bias, written out as the paper defines them. Files also hold places [N, 2] f32.

    .venv/bin/python tools/make_fixtures_das_mil.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_das_mil.py --out /tmp/f --check
"""

import json
import math

import torch
from torch.nn.functional import (
    binary_cross_entropy_with_logits, conv2d, cross_entropy, linear, max_pool2d, relu)

import make_fixtures as base

SIDE = 40.0


def bias(spec, params, part, columns, delta, head, kinks):
    """[n, n, d]: the vector of each pair, zero on the diagonal; delta from 0 to 1 is how far two instances lie apart."""
    if spec["position"] == "discrete":
        index = delta * (spec["bins"] - 1)
        pairs = ~torch.eye(len(delta), dtype=torch.bool)
        if pairs.any():
            kinks.append((index - index.floor() - 0.5)[pairs].abs().min())
        each = params[f"attention.{part}_bins.weight"][:, columns][index.round().long()]
    else:
        phi = (params["attention.beta"][0, head] * (delta - params["attention.theta"][0, head])).sigmoid()
        ends = [params[f"attention.{part}_{end}.weight"][0, columns] for end in ("far", "near")]
        each = phi.unsqueeze(2) * ends[0] + (1 - phi.unsqueeze(2)) * ends[1]
    return each * (1 - torch.eye(len(delta), dtype=delta.dtype)).unsqueeze(2)


def lenet_small(spec, params, x, kinks):
    """The authors' encoder of pictures, without its dropout; features one channel after the other."""
    height, width, channels = spec["image"]
    h = x.reshape(-1, channels, height, width)
    for i in range(2):
        weight = params[f"embed.conv{i}.weight"]
        pre = conv2d(h, weight.reshape(len(weight), -1, 5, 5), params[f"embed.conv{i}.bias"])
        windows = pre.detach().unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
        first, second = windows.topk(2, dim=4).values.unbind(4)
        kinks += [first.abs().min(), (first - second)[first > 0].min()]
        h = relu(max_pool2d(pre, 2))
    pre = base.layer(params, "embed.fc", h.flatten(1))
    kinks.append(pre.detach().abs().min())
    return relu(pre)


def das_mil(spec, params, x, label, kinks, places):
    """One bag: (logits, loss, instance outputs)."""
    small = spec.get("embedder") == "lenet-small"
    h = lenet_small(spec, params, x, kinks) if small else base.embed(spec, params, x, kinks)[-1]
    places = places.to(h.dtype)
    if spec["position"] == "absolute":
        pre = base.layer(params, "position.0", places / SIDE)
        kinks.append(pre.detach().abs().min())
        h = h + base.layer(params, "position.1", relu(pre))
    delta = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist") / (SIDE * math.sqrt(2))
    rows, received = [], []
    for head in range(spec["heads"]):
        keys = slice(head * spec["key"], (head + 1) * spec["key"])
        values = slice(head * spec["value"], (head + 1) * spec["value"])
        q, k, v = [linear(h, params[f"attention.{part}.weight"][columns])
                   for part, columns in [("query", keys), ("key", keys), ("value", values)]]
        energies = torch.einsum("id,jd->ij", q, k)
        each = v.expand(len(h), -1, -1)
        if spec["position"] in ("distance", "discrete"):
            of = lambda part, columns: bias(spec, params, part, columns, delta, head, kinks)
            energies = energies + torch.einsum("id,ijd->ij", q, of("key", keys))
            energies = energies + torch.einsum("jd,ijd->ij", k, of("query", keys))
            each = each + of("value", values)
        a = (energies / h.shape[1] ** 0.5).softmax(1)
        rows.append(torch.einsum("ij,ijd->id", a, each))
        received.append(a.mean(0))
    o = torch.cat(rows, 1)
    if spec["pool"] == "sum":
        pooled = o.sum(0)
    else:
        pooled = base.pool(spec["pool"], o, kinks)
    z = base.layer(params, "head", pooled)
    if len(z) == 1:
        loss = binary_cross_entropy_with_logits(z, label.reshape(1).to(z.dtype))
    else:
        loss = cross_entropy(z, label)
    return z, loss, {"scores": base.layer(params, "head", o), "attention": torch.stack(received, 1)}


def shapes(spec):
    """{parameter: shape}."""
    small = spec.get("embedder") == "lenet-small"
    widths = [32] if small else [spec["inputs"], *spec["embed"]]
    c, m, heads = spec["classes"], widths[-1], spec["heads"]
    columns = {"query": heads * spec["key"], "key": heads * spec["key"], "value": heads * spec["value"]}
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    if small:
        height, width, channels = spec["image"]
        places = ((height - 12) // 4) * ((width - 12) // 4)
        layers |= {"embed.conv0": (10, channels * 25), "embed.conv1": (20, 250), "embed.fc": (32, 20 * places)}
    if spec["position"] == "absolute":
        layers |= {"position.0": (m, 2), "position.1": (m, m)}
    layers["head"] = (c, columns["value"])
    named = {f"attention.{part}.weight": (n, m) for part, n in columns.items()}
    if spec["position"] == "discrete":
        named |= {f"attention.{part}_bins.weight": (spec["bins"], n) for part, n in columns.items()}
    if spec["position"] == "distance":
        named |= {f"attention.{part}_{end}.weight": (1, n)
                  for part, n in columns.items() for end in ("far", "near")}
        named |= {f"attention.{part}": (1, heads) for part in ("beta", "theta")}
    for name, (out, fan_in) in layers.items():
        named |= {f"{name}.weight": (out, fan_in), f"{name}.bias": (out,)}
    return named


def draw(spec, rng):
    """As make_fixtures.py, with biases of the size of what they are added to, a curve that bends inside of the
    square, and two instances in one place."""
    params, data = plain_draw(spec, rng)
    for name in params:
        if name.endswith(("_far.weight", "_near.weight", "_bins.weight")):
            params[name] = params[name] * params[name].shape[1] ** 0.5 / 2
    if spec["position"] == "distance":
        params["attention.beta"] += 5
        params["attention.theta"] = 0.4 + params["attention.theta"] / 5
    data["places"] = torch.from_numpy(SIDE * rng.random((len(data["x"]), 2))).float()
    data["places"][1] = data["places"][0]
    return params, data


plain_draw = base.draw


def metadata(spec, kind):
    keys = ["embed", "key", "value", "heads", "position", "theta", "pool"]
    keys += [k for k in ("embedder", "image", "bins") if k in spec]
    out = {"kind": kind, "method": "das-mil", "classes": str(spec["classes"]),
           "settings": json.dumps({**{k: spec[k] for k in keys}, "side": SIDE, "attention_dropout": 0}),
           "generator": "tools/make_fixtures_das_mil.py"}
    if kind == "train":
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def catalogue():
    """{file name: spec}."""
    small = {"method": "das-mil", "inputs": 7, "embed": [6], "key": 3, "value": 5, "heads": 1, "classes": 1,
             "position": "distance", "theta": 0.375, "pool": "max", "sizes": base.SIZES, "paper": False}
    specs = {}
    for task, c in {"binary": 1, "multi": 3}.items():
        for position in ["distance", "discrete", "absolute", "none"]:
            specs[f"das-mil-{position}-{task}"] = {**small, "position": position, "classes": c}
        specs[f"das-mil-discrete-{task}"] |= {"bins": 5, "sizes": [7, 1, 5]}
        specs[f"das-mil-heads-{task}"] = {**small, "heads": 2, "pool": "mean", "classes": c}
        # Bags of several tiles, attention to the features themselves.
        specs[f"das-mil-long-{task}"] = {**small, "embed": [], "inputs": 4, "key": 8, "pool": "mean", "classes": c,
                                         "sizes": [130, 3, 64]}
    specs["das-mil-discrete-heads"] = {**small, "position": "discrete", "bins": 10, "heads": 2, "pool": "mean",
                                       "sizes": [9, 2]}
    # Few pictures: the more there are, the surer one of their maxima or ReLUs is at its kink.
    specs["das-mil-lenet-small"] = {**small, "embedder": "lenet-small", "image": [17, 16, 1], "inputs": 272,
                                    "sizes": [2, 1]}
    specs["das-mil-sum"] = {**small, "pool": "sum"}
    specs["das-mil-lse"] = {**small, "pool": "lse"}
    adamw = {"name": "adamw", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}
    specs["train-das-mil-adamw"] = {**small, "optimizer": adamw}
    return specs


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS["das-mil"] = das_mil
    base.shapes = shapes
    base.draw = draw
    for name, spec in catalogue().items():
        params, data = base.well_posed(spec, name)
        training = "optimizer" in spec
        tensors = (base.train_fixture if training else base.forward_fixture)(spec, params, data)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec, "train" if training else "forward"))
        print(f"{path.stat().st_size:8} {path.name}", flush=True)
        if args.check:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
