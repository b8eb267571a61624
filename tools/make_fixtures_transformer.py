#!/usr/bin/env python3
"""Write the reference results of the transformer with attention pooling that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twin is new. Our own code, in plain PyTorch and float64, with PyTorch's gelu and layer norm.

    .venv/bin/python tools/make_fixtures_transformer.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_transformer.py --out /tmp/f --check
"""

import json

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, gelu, layer_norm, linear

import make_fixtures as base


def norm(params, name, x):
    return layer_norm(x, x.shape[-1:], params[name + ".gain"], params[name + ".bias"], 1e-5)


def heads_of(spec, x):
    return x.reshape(len(x), spec["heads"], -1).transpose(0, 1)


def encode(spec, params, x, number, y):
    """A layer of rows y [N,i]; x are the features."""
    name = lambda part: f"layer.{number}.{part}"
    normed = norm(params, name("norm1"), y)
    q, k, v = (heads_of(spec, linear(normed, params[name(part) + ".weight"])) for part in ["query", "key", "value"])
    weights = (q @ k.transpose(1, 2) / (spec["width"] // spec["heads"]) ** 0.5).softmax(2)
    attended = (weights @ v).transpose(0, 1).reshape(len(x), -1)
    z = attended + (y if y.shape[1] == spec["width"] else base.layer(params, name("skip"), y))
    if spec["mlp"]:
        inner = gelu(base.layer(params, name("mlp.0"), norm(params, name("norm2"), z)))
        z = z + base.layer(params, name("mlp.1"), inner)
    if name("out.weight") in params:
        z = base.layer(params, name("out"), z)
    return z + x if spec["add_self"] else z


def transformer(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    y = x
    for number in range(spec["layers"]):
        y = encode(spec, params, x, number, y)
    h = norm(params, "norm", y)
    u = base.layer(params, "attention.v", h).tanh()
    if spec["gated"]:
        u = u * base.layer(params, "attention.u", h).sigmoid()
    f = linear(u, params["attention.w.weight"])
    a = f.softmax(0)
    logits = base.layer(params, "head", (a.T @ h)[0])
    if len(logits) == 1:
        loss = binary_cross_entropy_with_logits(logits, label.to(logits.dtype).reshape(1))
    else:
        loss = cross_entropy(logits, label)
    return logits, loss, {"scores": f, "attention": a}


def shapes(spec):
    """{parameter: shape}."""
    d, w, last = spec["inputs"], spec["width"], spec["layers"] - 1
    named = {}

    def dense(name, out, fan_in):
        named[name + ".weight"], named[name + ".bias"] = (out, fan_in), (out,)

    def normed(name, width):
        named[name + ".gain"], named[name + ".bias"] = (width,), (width,)

    for number in range(spec["layers"]):
        name, fan_in = f"layer.{number}.", d if number == 0 else w
        normed(name + "norm1", fan_in)
        for part in ["query", "key", "value"]:
            named[f"{name}{part}.weight"] = (w, fan_in)
        if fan_in != w:
            dense(name + "skip", w, fan_in)
        if spec["mlp"]:
            normed(name + "norm2", w)
            dense(name + "mlp.0", 4 * w, w)
            dense(name + "mlp.1", w, 4 * w)
        if number == last and d != w:
            dense(name + "out", d, w)
    normed("norm", d)
    dense("attention.v", spec["attention"], d)
    if spec["gated"]:
        dense("attention.u", spec["attention"], d)
    named["attention.w.weight"] = (1, spec["attention"])
    dense("head", spec["classes"], d)
    return named


draw_plain = base.draw


def draw(spec, rng):
    """As of the other methods; with a gain attention is sharp, and with `repeats` some instances are those before them
    and some are zero."""
    params, data = draw_plain(spec, rng)
    for name in params:
        if name.endswith(("query.weight", "key.weight")):
            params[name] *= spec.get("gain", 1)
        elif name.endswith("gain"):
            params[name] += 1
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


def metadata(spec):
    keys = ["width", "heads", "layers", "add_self", "mlp", "attention", "gated"]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": "transformer",
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in keys}),
           "generator": "tools/make_fixtures_transformer.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def catalogue():
    """{file name: spec}."""
    small = {"method": "transformer", "inputs": 6, "width": 8, "heads": 2, "layers": 1, "add_self": True, "mlp": True,
             "attention": 3, "gated": False, "classes": 1, "sizes": base.SIZES, "paper": False}
    square, tasks = {**small, "inputs": 8}, {"binary": 1, "multi": 3}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4}
    specs = {}
    for task, classes in tasks.items():
        specs[f"transformer-{task}"] = {**small, "classes": classes}
        specs[f"transformer-square-{task}"] = {**square, "classes": classes, "gated": True}
    specs["transformer-three-layers"] = {**square, "layers": 3, "heads": 4, "width": 8}
    specs["transformer-two-widths"] = {**small, "layers": 2, "add_self": False, "classes": 3}
    specs["transformer-no-mlp"] = {**small, "mlp": False, "heads": 1}
    specs["transformer-repeats"] = {**square, "repeats": True, "sizes": [9, 1, 6, 13]}
    specs["transformer-saturated"] = {**small, "gain": 2.5}
    # Bags of several tiles.
    specs["transformer-long"] = {**small, "inputs": 4, "width": 4, "sizes": [130, 3, 200, 1]}
    specs["train-transformer-adam"] = {**small, "optimizer": adam}
    return specs


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS["transformer"] = transformer
    base.shapes, base.draw = shapes, draw
    for name, spec in catalogue().items():
        params, data = base.well_posed(spec, name)
        tensors = (base.train_fixture if "optimizer" in spec else base.forward_fixture)(spec, params, data)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}")
        if args.check:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
