#!/usr/bin/env python3
"""Write the reference results of TransMIL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions
this script uses; the training run takes its rule from make_fixtures_optimisers.py. Only the twin is new. Our own
code, in plain PyTorch and float64, one bag at a time: zeros are padded, all tokens are computed, the three
convolutions stay apart, and products associate as in the published code.

    .venv/bin/python tools/make_fixtures_transmil.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_transmil.py --out /tmp/f --check
"""

import json
import math

import torch
from torch.nn.functional import (binary_cross_entropy_with_logits, conv1d, conv2d, cross_entropy, layer_norm, linear,
                                 pad, relu)

import make_fixtures as base
import make_fixtures_optimisers as optimisers


def norm(params, name, x):
    return layer_norm(x, x.shape[-1:], params[name + ".gain"], params[name + ".bias"])


def inverse(a, rounds, kinks):
    """The iteration, from [heads, m, m]."""
    rows, cols = a.abs().sum(-1), a.abs().sum(-2)
    # Equal sums belong to equal landmarks, which share whatever gradient they get.
    sums = cols.detach().flatten().sort(descending=True).values
    lower = sums[sums < sums[0] - 1e-9]
    if len(lower):
        kinks.append(sums[0] - lower[0])
    z = a.transpose(-1, -2) / (rows.max() * cols.max())
    eye = torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(rounds):
        y = a @ z
        z = 0.25 * z @ (13 * eye - y @ (15 * eye - y @ (7 * eye - y)))
    return z


def attention(spec, params, name, x, kinks):
    """(result for all tokens, [heads, tokens] of what the class token attends to)."""
    n, heads, m = len(x), spec["heads"], spec["landmarks"]
    zeros = -n % m
    x = pad(x, (0, 0, zeros, 0))

    def split(part):
        return linear(x, params[f"{name}.{part}.weight"]).unflatten(1, (heads, -1)).transpose(0, 1)

    q, k, v = split("query"), split("key"), split("value")
    q = q / q.shape[-1] ** 0.5
    means = lambda t: t.unflatten(1, (m, -1)).mean(2)
    q_few, k_few = means(q), means(k)
    first = (q @ k_few.transpose(1, 2)).softmax(-1)
    middle = inverse((q_few @ k_few.transpose(1, 2)).softmax(-1), spec["iterations"], kinks)
    last = (q_few @ k.transpose(1, 2)).softmax(-1)
    out = (first @ middle) @ (last @ v)
    taps = params[f"{name}.residual.weight"]
    # One kernel for all columns of a head: the columns are a batch of its channel.
    columns = v.permute(2, 0, 1)
    out = out + conv1d(columns, taps.unsqueeze(1), padding=taps.shape[1] // 2, groups=heads).permute(1, 2, 0)
    y = base.layer(params, f"{name}.out", out.transpose(0, 1).flatten(1))
    # nystrom-attention 0.0.9 returned the first rows of the padded result instead of the last.
    skip = 0 if spec.get("legacy_shift") else zeros
    return y[skip:skip + n], (first @ middle @ last)[:, skip, zeros:]


def positions(params, t):
    side = math.isqrt(len(t) - 1)
    image = t[1:].T.unflatten(1, (side, side)).unsqueeze(0)
    result = image
    for s in (7, 5, 3):
        kernel = params[f"position{s}.weight"].unflatten(1, (s, s)).unsqueeze(1)
        result = result + conv2d(image, kernel, params[f"position{s}.bias"], padding=s // 2, groups=len(kernel))
    return torch.cat([t[:1], result[0].flatten(1).T])


def transmil(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    pre = base.layer(params, "fc", x)
    kinks.append(pre.detach().abs().min())
    h = relu(pre)
    side = math.isqrt(len(h) - 1) + 1
    t = torch.cat([params["class_token.weight"], h, h[:side * side - len(h)]])
    t = t + attention(spec, params, "layer1", norm(params, "layer1.norm", t), kinks)[0]
    t = positions(params, t)
    y, row = attention(spec, params, "layer2", norm(params, "layer2.norm", t), kinks)
    z = base.layer(params, "head", norm(params, "norm", (t + y)[0]))
    if len(z) == 1:
        loss = binary_cross_entropy_with_logits(z, label.reshape(1).to(z.dtype))
    else:
        loss = cross_entropy(z, label)
    return z, loss, {"scores": row.mean(0)[1:1 + len(x)].unsqueeze(1)}


def shapes(spec):
    """{parameter: shape}."""
    c, w = spec["classes"], spec["width"]
    named = {"fc.weight": (w, spec["inputs"]), "fc.bias": (w,), "class_token.weight": (1, w)}
    for layer in ("layer1", "layer2"):
        named |= {f"{layer}.norm.gain": (w,), f"{layer}.norm.bias": (w,)}
        named |= {f"{layer}.{part}.weight": (w, w) for part in ("query", "key", "value", "out")}
        named |= {f"{layer}.out.bias": (w,), f"{layer}.residual.weight": (spec["heads"], spec["residual"])}
    for s in (7, 5, 3):
        named |= {f"position{s}.weight": (w, s * s), f"position{s}.bias": (w,)}
    return named | {"norm.gain": (w,), "norm.bias": (w,), "head.weight": (c, w), "head.bias": (c,)}


def metadata(spec, kind):
    keys = ["width", "heads", "landmarks", "iterations", "residual", "legacy_shift"]
    out = {"kind": kind, "method": "transmil", "classes": str(spec["classes"]),
           "settings": json.dumps({k: spec[k] for k in keys if k in spec}),
           "generator": "tools/make_fixtures_transmil.py"}
    if kind == "train":
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def catalogue():
    """{file name: spec}."""
    small = {"method": "transmil", "inputs": 5, "width": 6, "heads": 2, "landmarks": 4, "iterations": 6,
             "residual": 5, "classes": 1, "sizes": base.SIZES, "paper": False}
    # Bags of several tiles, runs of many tokens, and a square that grows with them.
    long = {**small, "landmarks": 7, "residual": 33, "sizes": [130, 3, 64]}
    opt = {"name": "radam", "steps": 100, "lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01,
           "every": 6, "alpha": 0.5}
    return {
        "transmil-binary": small,
        "transmil-multi": {**small, "classes": 3, "heads": 3},
        "transmil-legacy-binary": {**small, "legacy_shift": True},
        "transmil-legacy-multi": {**long, "classes": 3, "heads": 3, "legacy_shift": True},
        "transmil-long-binary": long,
        "transmil-long-multi": {**long, "classes": 3, "heads": 1},
        "train-transmil-radam-lookahead": {**small, "optimizer": opt},
    }


def draw(spec, rng):
    """As make_fixtures.py, with gains about 1."""
    params, data = plain_draw(spec, rng)
    return {k: v + 1 if k.endswith(".gain") else v for k, v in params.items()}, data


plain_draw = base.draw


def float32_error(spec, params, data):
    """Worst relative error of what the float32 twin computes."""
    results = []
    for dtype in (torch.float32, torch.float64):
        p, d = base.widen({k: v.clone() for k, v in params.items()}, {**data, "x": data["x"].clone()}, dtype)
        loss, outputs = base.forward(spec, p, d)
        loss.backward()
        results.append([loss, *outputs.values(), d["x"].grad, *(v.grad for v in p.values())])
    return max(base.relative(a.detach(), b.detach()) for a, b in zip(*results))


def conditioned(spec, name):
    """A draw whose results float32 can resolve: six rounds multiply what is near zero by a thousand."""
    for attempt in range(300):
        plain = {k: v for k, v in spec.items() if k != "optimizer"}
        params, data = base.well_posed(plain, f"{name} {attempt}")
        if float32_error(plain, params, data) < 5e-6:
            return params, data
    raise SystemExit(f"{name}: no well-conditioned draw")


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS["transmil"] = transmil
    base.shapes = shapes
    base.draw = draw
    for name, spec in catalogue().items():
        params, data = conditioned(spec, name)
        training = "optimizer" in spec
        tensors = optimisers.train(spec, params, data) if training else base.forward_fixture(spec, params, data)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec, "train" if training else "forward"))
        print(f"{path.stat().st_size:8} {path.name}", flush=True)
        if args.check and not training:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
