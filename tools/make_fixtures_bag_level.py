#!/usr/bin/env python3
"""Write the reference results of Loss-Attention, DP-MINN and Extreme MIL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twins are new. Our own code, in plain PyTorch and float64.

Loss-Attention has a logit for each of two classes, too (metadata classes = 2). In the files `-labels` a bag has any subset
of the C labels, as in make_fixtures_dsmil.py.

`-repeats` have equal instances and some that are all zeros, `-saturated` have logits up to 30 in size, `-long` have bags
of many tiles.

    .venv/bin/python tools/make_fixtures_bag_level.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_bag_level.py --out /tmp/f --check
"""

import json

import torch
from torch.nn.functional import cross_entropy, relu

import make_fixtures as base
from make_fixtures_dsmil import with_weights


# ---------------------------------------------------------------- the twins

def loss_attention(spec, params, x, label, kinks):
    """As the authors write it: weights from the exponentials of all logits, one classifier for instances and bag."""
    h = base.embed(spec, params, x, kinks)[-1]
    z = base.layer(params, "head", h)
    e = (z - z.max().detach()).exp().sum(1, keepdim=True)
    a = e / e.sum()
    bag = base.layer(params, "head", (a * h).sum(0))
    of_instances = a[:, 0] * cross_entropy(z, label.expand(len(x)), reduction="none")
    of_instances = of_instances.mean() if spec["mean_over_instances"] else of_instances.sum()
    return bag, cross_entropy(bag, label) + spec["lambda"] * of_instances, {"scores": a, "attention": a}


def route(f, rounds):
    """(what is squashed to the capsule, the weights [n] of the last round)."""
    b = torch.zeros(len(f), dtype=f.dtype)
    for _ in range(rounds):
        c = b.softmax(0)
        s = c @ f
        square = (s * s).sum()
        # At 0, where a root has no slope, a squashed row has the slope 0.
        length = torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0)
        b = b + f @ (length / (1 + square) * s)
    return s, c


def dp_minn(spec, params, x, label, kinks):
    f = base.embed(spec, params, x, kinks)[-1]
    outputs = spec["classes"]
    capsules = [f] if outputs == 1 else [f @ params[f"capsule.{k}.weight"].T for k in range(outputs)]
    routed = [route(u, spec["rounds"]) for u in capsules]
    squares = torch.stack([(s * s).sum() for s, _ in routed])
    lengths = squares / (1 + squares)
    kinks.extend([(lengths.detach() - spec[margin]).abs().min() for margin in ("above", "below")])
    positive = (spec["above"] - lengths).clamp(min=0) ** 2
    negative = spec["lambda"] * (lengths - spec["below"]).clamp(min=0) ** 2
    if "counts" in spec:
        each = torch.where(label == 1, positive * positive.new_tensor(spec["counts"]), negative)
        loss = torch.where(label < 0, 0, each).mean()
    else:
        target = torch.arange(outputs) == label if outputs > 1 else label.reshape(1) > 0
        loss = torch.where(target, positive, negative).mean()
    weights = torch.stack([c for _, c in routed], 1)
    return (squares + 1e-12).log(), loss, {"scores": weights, "attention": weights}


def extreme(spec, params, x, label, kinks):
    u = (x @ params["projection.weight"].T).tanh()
    e = u @ params["attention.w.weight"].T
    a = e.softmax(0)
    z = (a * u).sum(0)
    for i in range(len(spec["head"])):
        z = base.layer(params, f"head.{i}", z)
        kinks.append(z.detach().abs().min())
        z = relu(z)
    z = base.layer(params, f"head.{len(spec['head'])}", z)
    loss = base.bernoulli(z.sigmoid(), label, 0).sum() if len(z) == 1 else cross_entropy(z, label)
    return z, loss, {"scores": e, "attention": a}


TWINS = {"loss-attention": loss_attention, "dp-minn": dp_minn, "extreme": extreme}


# ---------------------------------------------------------------- the parameters, the data

def shapes(spec):
    """{parameter: shape}."""
    if spec["method"] == "extreme":
        widths = [spec["projection"], *spec["head"], spec["classes"]]
        named = {"projection.weight": (widths[0], spec["inputs"]), "attention.w.weight": (1, widths[0])}
        for i, (n, o) in enumerate(zip(widths, widths[1:])):
            named |= {f"head.{i}.weight": (o, n), f"head.{i}.bias": (o,)}
        return named
    widths = [spec["inputs"], *spec["embed"]]
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    if spec["method"] == "dp-minn":
        maps = range(spec["classes"]) if spec["classes"] > 1 else []
        named = {f"capsule.{k}.weight": (spec["capsule"], widths[-1]) for k in maps}
    else:
        layers["head"] = (spec["classes"], widths[-1])
        named = {}
    for name, (out, fan_in) in layers.items():
        named[name + ".weight"] = (out, fan_in)
        named[name + ".bias"] = (out,)
    return named


draw_plain = base.draw


def draw(spec, rng):
    """As of the other methods; then what is special about the instances."""
    params, data = draw_plain(spec, rng)
    x, offsets = data["x"], data["offsets"].tolist()
    if "repeats" in spec:
        for lo, hi in zip(offsets, offsets[1:]):
            x[lo + 1:hi:4] = x[lo]
            x[lo + 2:hi:5] = 0
    if spec["method"] == "extreme":
        # Numbers on a tanh are half of what they would be elsewhere; `gain` saturates it.
        params["projection.weight"] *= spec.get("gain", 0.5)
    if "longer" in spec:
        last = max(k for k in params if k.endswith("weight"))
        for name in params if spec["classes"] > 1 else [last]:
            if name.startswith("capsule") or name == last:
                params[name] *= spec["longer"]
    if "counts" in spec:
        sizes = (len(spec["sizes"]), spec["classes"])
        data["labels"] = torch.from_numpy(rng.choice([1, 0, -1], sizes, p=[0.4, 0.4, 0.2]))
    if "largest" in spec:
        wide = {k: v.double() for k, v in params.items()}
        z = base.layer(wide, "head", base.embed(spec, wide, x.double(), [])[-1])
        params["head.weight"] *= (spec["largest"] / z.abs().max()).float()
    return params, data


SETTINGS = {"loss-attention": ["embed", "lambda", "mean_over_instances"],
            "dp-minn": ["embed", "rounds", "capsule", "above", "below", "lambda"],
            "extreme": ["projection", "head"]}


def metadata(spec):
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in SETTINGS[spec["method"]]}),
           "generator": "tools/make_fixtures_bag_level.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    if "counts" in spec:
        out["multi_label"] = "true"
    return out


def catalogue():
    """{file name: spec}."""
    small = {"inputs": 7, "embed": [6, 5], "sizes": base.SIZES, "paper": False}
    long = {"inputs": 3, "embed": [], "sizes": [1, 2, 7, 300, 900]}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 5e-4}
    specs = {}
    loss = {**small, "method": "loss-attention", "lambda": 0.1, "mean_over_instances": False}
    for task, c in {"binary": 2, "multi": 3}.items():
        specs[f"loss-attention-{task}"] = {**loss, "classes": c}
        specs[f"loss-attention-mean-{task}"] = {**loss, "classes": c, "lambda": 2.0, "mean_over_instances": True}
        specs[f"loss-attention-long-{task}"] = {**loss, **long, "classes": c, "lambda": 2.0}
        specs[f"loss-attention-saturated-{task}"] = {**loss, "classes": c, "lambda": 0.5, "largest": 30}
    specs["loss-attention-bags-alone"] = {**loss, "classes": 3, "lambda": 0.0}
    specs["loss-attention-repeats"] = {**loss, "classes": 3, "lambda": 1.0, "repeats": True}
    routed = {**small, "method": "dp-minn", "rounds": 3, "capsule": 4, "above": 0.9, "below": 0.1, "lambda": 1.0}
    for task, c in {"binary": 1, "multi": 3}.items():
        specs[f"dp-minn-{task}"] = {**routed, "classes": c}
        specs[f"dp-minn-mean-{task}"] = {**routed, "classes": c, "rounds": 1, "lambda": 0.5}
        specs[f"dp-minn-long-{task}"] = {**routed, **long, "embed": [5], "classes": c}
        # Lengths near 1, and weights near 0 and 1.
        specs[f"dp-minn-saturated-{task}"] = {**routed, "classes": c, "rounds": 4, "longer": 3}
    specs["dp-minn-margins"] = {**routed, "classes": 3, "embed": [], "above": 0.7, "below": 0.0, "lambda": 0.25}
    specs["dp-minn-repeats"] = {**routed, "classes": 3, "repeats": True}
    specs["dp-minn-labels"] = {**routed, "classes": 3, "counts": [1.0, 4.0, 0.5]}
    specs["train-dp-minn-adam"] = {**routed, "classes": 3, "optimizer": {**adam, "weight_decay": 0.0}}
    frozen = {"inputs": 7, "sizes": base.SIZES, "paper": False, "method": "extreme", "projection": 6, "head": []}
    for task, c in {"binary": 1, "multi": 3}.items():
        specs[f"extreme-{task}"] = {**frozen, "classes": c}
        specs[f"extreme-deep-{task}"] = {**frozen, "classes": c, "head": [5, 4]}
        specs[f"extreme-long-{task}"] = {**frozen, "classes": c, "inputs": 3, "sizes": long["sizes"]}
        specs[f"extreme-saturated-{task}"] = {**frozen, "classes": c, "gain": 8}
    specs["extreme-wide"] = {**frozen, "classes": 3, "projection": 70}
    specs["extreme-repeats"] = {**frozen, "classes": 3, "repeats": True}
    specs["train-extreme-adam"] = {**frozen, "classes": 3, "head": [5], "optimizer": {**adam, "weight_decay": 0.01}}
    specs["train-loss-attention-adam"] = {**loss, "classes": 3, "optimizer": adam}
    return specs


# ---------------------------------------------------------------- the files

def float32_error(spec, params, data, tensors):
    """Worst relative error of what the float32 twin finds: gradients, or a training's losses and parameters."""
    copies = {k: v.clone() for k, v in params.items()}
    data = {**data, "x": data["x"].clone()}
    if "optimizer" in spec:
        losses, final = base.train(spec, copies, data, torch.float32)
        errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach()) for k, v in final.items()
                  if v.requires_grad]
        return max(errors + [base.relative(losses, tensors["losses"])])
    p, d = base.widen(copies, data, torch.float32)
    base.forward(spec, p, d)[0].backward()
    return max(base.relative(v.grad, tensors[f"grad/{k}"]) for k, v in p.items() if v.requires_grad)


def made(spec, name):
    """A draw whose results float32 can resolve."""
    for attempt in range(400):
        params, data = base.well_posed(spec, f"{name} {attempt}")
        tensors = (base.train_fixture if "optimizer" in spec else base.forward_fixture)(spec, params, data)
        if float32_error(spec, params, data, tensors) < (2e-5 if "optimizer" in spec else 5e-6):
            return params, data, tensors
    raise SystemExit(f"{name}: no well-conditioned draw")


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS |= TWINS
    base.shapes, base.draw, base.FROZEN = shapes, draw, ("projection.weight",)
    for name, spec in catalogue().items():
        params, data, tensors = made(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, with_weights(spec, tensors), metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}")
        if args.check:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
