#!/usr/bin/env python3
"""Write the reference results of Additive MIL and MILLET that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twins are new. Our own code, in plain PyTorch and float64.

With batch norm a forward file has the running statistics as param/NAME, which predictions normalise by and which have no
gradient; a training file normalises by the bag of each step, and final/NAME has where the statistics came to.

    .venv/bin/python tools/make_fixtures_additive.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_additive.py --out /tmp/f --check
"""

import json
import zlib

import numpy as np
import torch
from torch.nn.functional import leaky_relu, linear, relu

import make_fixtures as base

EPS, MOMENTUM = 1e-5, 0.1


def bag_loss(z, label):
    """Without a clamp: binary if there is one logit, else softmax cross-entropy."""
    if len(z) == 1:
        return torch.nn.functional.binary_cross_entropy_with_logits(z[0], label.to(z.dtype))
    return torch.nn.functional.cross_entropy(z, label)


def kinked(x, kinks):
    kinks.append(x.detach().abs().min())
    return x


def batch_norm(spec, params, name, x):
    """By the running statistics, or in training by those of x, which the running ones follow."""
    mean, variance = params[name + ".mean"], params[name + ".variance"]
    if "optimizer" in spec:
        running = [mean, variance]
        mean, variance = x.mean(0), x.var(0, unbiased=False)
        with torch.no_grad():
            running[0] += MOMENTUM * (mean - running[0])
            if len(x) > 1:
                running[1] += MOMENTUM * (variance * len(x) / (len(x) - 1) - running[1])
    return (x - mean) / (variance + EPS).sqrt() * params[name + ".gain"] + params[name + ".bias"]


def additive(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    h = base.embed(spec, params, x, kinks)[-1]
    t = h
    for i in range(len(spec["pointer"])):
        if spec["batch_norm"]:
            t = linear(t, params[f"attention.{i}.weight"])
            t = batch_norm(spec, params, f"attention.{i}.norm", t)
        else:
            t = base.layer(params, f"attention.{i}", t)
        t = leaky_relu(kinked(t, kinks), 0.2)
    a = base.layer(params, "attention.w", t).softmax(0)
    g = a * h
    for i in range(len(spec["psi"]) + 1):
        g = base.layer(params, f"psi.{i}", g) if spec["bias"] else linear(g, params[f"psi.{i}.weight"])
        if i < len(spec["psi"]):
            # Without biases an instance of zeros is zero throughout, and carries no gradient.
            sizes = g.detach()[g.detach() != 0].abs()
            kinks += [sizes.min()] if len(sizes) else []
            g = relu(g)
    z = g.sum(0) if spec["pool"] == "sum" else g.mean(0)
    return z, bag_loss(z, label), {"scores": g, "attention": a}


def positions(n, d):
    angle = torch.arange(n).double().unsqueeze(1) * 10000.0 ** (-torch.arange(0, d, 2).double() / d)
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)


def millet(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    z = base.embed(spec, params, x, kinks)[-1]
    if spec["positions"] and spec["pool"] != "gap":
        z = z + positions(*z.shape).to(z.dtype)
    classify = lambda v: base.layer(params, "head", v)
    if spec["pool"] in ("conjunctive", "additive", "attention"):
        a = base.layer(params, "attention.w", base.layer(params, "attention.v", z).tanh()).sigmoid()
    if spec["pool"] == "conjunctive":
        logits, scores = (a * classify(z)).mean(0), a * classify(z)
    elif spec["pool"] == "additive":
        logits, scores = classify(a * z).mean(0), a * classify(a * z)
    elif spec["pool"] == "instance":
        logits, scores = classify(z).mean(0), classify(z)
    elif spec["pool"] == "attention":
        logits, scores = classify((a * z).mean(0)), a
    else:
        logits, scores = classify(z.mean(0)), linear(z, params["head.weight"])
    return logits, bag_loss(logits, label), {"scores": scores}


def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    c, m = spec["classes"], widths[-1]
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    bare, named = [], {}
    if spec["method"] == "additive":
        inner = [m, *spec["pointer"]]
        for i, (n, o) in enumerate(zip(inner, inner[1:])):
            layers[f"attention.{i}"] = (o, n)
            if spec["batch_norm"]:
                bare.append(f"attention.{i}")
                named |= {f"attention.{i}.norm.{part}": (o,) for part in ["gain", "bias", "mean", "variance"]}
        layers["attention.w"] = (1, inner[-1])
        inner = [m, *spec["psi"], c]
        for i, (n, o) in enumerate(zip(inner, inner[1:])):
            layers[f"psi.{i}"] = (o, n)
            if not spec["bias"]:
                bare.append(f"psi.{i}")
    else:
        if spec["pool"] in ("conjunctive", "additive", "attention"):
            layers |= {"attention.v": (spec["attention"], m), "attention.w": (1, spec["attention"])}
        layers["head"] = (c, m)
    for name, (out, fan_in) in layers.items():
        named[name + ".weight"] = (out, fan_in)
        if name not in bare:
            named[name + ".bias"] = (out,)
    return named


def is_statistic(name):
    return name.endswith((".mean", ".variance"))


def draw(spec, rng):
    """As of the other methods; variances are positive and gains near 1; with a gain logits saturate, and with `repeats`
    some instances are those before them and some are zero."""
    params, data = draw_plain(spec, rng)
    for name, value in params.items():
        if name.endswith(".variance"):
            params[name] = (0.5 + value.abs()).to(value.dtype)
        if name.endswith(".gain"):
            params[name] = (1 + value).to(value.dtype)
    if "gain" in spec:
        last = "head" if spec["method"] == "millet" else f"psi.{len(spec['psi'])}"
        params[last + ".weight"] *= spec["gain"]
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


draw_plain = base.draw


def well_posed(spec, name):
    """Draw until no ReLU is so near its kink that float32 might take the other side, the gradient of every parameter is
    alive, what is to saturate does, and training has work to do that float32 can follow."""
    for attempt in range(3000):
        params, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
        p, d = base.widen({k: v.clone() for k, v in params.items()}, data)
        kinks = []
        loss, outputs = base.forward(spec, p, d, kinks)
        if kinks and min(kinks) < 1e-3 / (10 if "wide" in spec else 1):
            continue
        if "gain" in spec and not (outputs["logits"].detach().abs() > 30).any():
            continue
        loss.backward()
        shifts = "attention.w.bias" if spec["method"] == "additive" else None
        if not all(v.grad.abs().max() > 1e-4 for k, v in p.items() if k != shifts and not is_statistic(k)):
            continue
        if "optimizer" not in spec:
            tensors = base.forward_fixture(spec, params, data)
            return params, data, {k: v for k, v in tensors.items() if not (k.startswith("grad/") and is_statistic(k))}
        tensors = base.train_fixture(spec, {k: v.clone() for k, v in params.items()}, data)
        losses, final = base.train(spec, {k: v.clone() for k, v in params.items()}, data, torch.float32)
        errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach()) for k, v in final.items() if k != shifts]
        if tensors["losses"].min() > 0.02 and max(errors + [base.relative(losses, tensors["losses"])]) < 2e-5:
            return params, data, tensors
    raise SystemExit(f"{name}: no well-posed draw")


def metadata(spec):
    keys = {"additive": ["embed", "pointer", "psi", "pool", "bias", "batch_norm"],
            "millet": ["embed", "pool", "attention", "positions"]}[spec["method"]]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in keys}),
           "generator": "tools/make_fixtures_additive.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def catalogue():
    """{file name: spec}."""
    common = {"inputs": 7, "sizes": base.SIZES, "paper": False, "classes": 1}
    small = {**common, "method": "additive", "embed": [], "pointer": [5, 4], "psi": [6, 5], "pool": "sum", "bias": True,
             "batch_norm": True}
    series = {**common, "method": "millet", "embed": [6], "pool": "conjunctive", "attention": 3, "positions": True}
    tasks = {"binary": 1, "multi": 3}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}
    long = {"inputs": 4, "sizes": [130, 3, 300, 1]}
    repeats = {"repeats": True, "sizes": [9, 1, 6, 4]}
    specs = {}
    for task, c in tasks.items():
        specs[f"additive-{task}"] = {**small, "classes": c}
        specs[f"additive-mean-{task}"] = {**small, "classes": c, "pool": "mean", "embed": [6], "batch_norm": False}
        specs[f"additive-unbiased-{task}"] = {**small, "classes": c, "bias": False, "batch_norm": False}
        specs[f"additive-long-{task}"] = {**small, **long, "classes": c, "pointer": [3], "psi": [4], "wide": True}
        for pool in ["conjunctive", "additive", "instance", "attention", "gap"]:
            specs[f"millet-{pool}-{task}"] = {**series, "classes": c, "pool": pool}
        specs[f"millet-long-{task}"] = {**series, **long, "classes": c, "embed": []}
    specs["additive-flat"] = {**small, "pointer": [], "psi": []}
    specs["additive-repeats"] = {**small, **repeats, "bias": False}
    specs["additive-saturated"] = {**small, "gain": 40}
    specs["millet-no-positions"] = {**series, "positions": False, "inputs": 5, "embed": []}
    specs["millet-repeats"] = {**series, **repeats}
    specs["millet-saturated"] = {**series, "gain": 60}
    specs["train-additive-adam"] = {**small, "optimizer": adam}
    specs["train-millet-adam"] = {**series, "optimizer": adam}
    return specs


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS |= {"additive": additive, "millet": millet}
    base.shapes = shapes
    for name, spec in catalogue().items():
        params, data, tensors = well_posed(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}")
        if args.check and not any(is_statistic(k) for k in params):
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
