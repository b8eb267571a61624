#!/usr/bin/env python3
"""Write the reference results of DSMIL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions
this script uses; only the twin is new. Our own code, in plain PyTorch and float64.

In the files `-labels` a bag has any subset of the C labels: `labels` is [B,C], 1 or 0, or -1 where it is not known, and
`weights` is [B,C]: 0 where the label is not known, else the weight of the bag, where the bag has the label times that of
the label (`pos_weight`). C = 2 is two labels, not two classes.

    .venv/bin/python tools/make_fixtures_dsmil.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_dsmil.py --out /tmp/f --check
"""

import json

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, conv1d, relu

import make_fixtures as base


def neither(spec):
    """Classes that have no logit."""
    return int(spec.get("negative", False))


def labels_loss(spec, z, label):
    """PyTorch's loss of several labels a bag; one that is not known adds nothing to the mean over all C."""
    counts = z.new_tensor(spec["counts"])
    each = binary_cross_entropy_with_logits(z, (label == 1).to(z.dtype), pos_weight=counts, reduction="none")
    return torch.where(label < 0, 0, each).mean()


def dsmil(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    h = base.embed(spec, params, x, kinks)[-1]
    s = base.layer(params, "score", h)
    top = base.pool("max", s, kinks)
    critical = s.argmax(0)
    if spec["variant"] == "lin":
        pre = base.layer(params, "front", h)
        kinks.append(pre.detach().abs().min())
        q = base.layer(params, "query", relu(pre)).tanh()
        v = base.layer(params, "value", relu(pre))
    elif spec["variant"] == "p":
        q = base.layer(params, "query", h)
        v = base.layer(params, "value", h)
    else:
        pre = base.layer(params, "query.0", h)
        kinks.append(pre.detach().abs().min())
        q = base.layer(params, "query.1", relu(pre)).tanh()
        v = h
        if spec["value_layer"]:
            pre = base.layer(params, "value", h)
            kinks.append(pre.detach().abs().min())
            v = relu(pre)
    a = (q @ q[critical].T / q.shape[1] ** 0.5).softmax(0)
    e = a.T @ v
    # The convolution of the paper's code: C filters over C channels of length H, each of full length.
    c = len(top)
    kernel = params["head.weight"].reshape(c, c, -1)
    z = conv1d(e.unsqueeze(0), kernel, params["head.bias"]).flatten()
    if "counts" in spec:
        loss = (labels_loss(spec, top, label) + labels_loss(spec, z, label)) / 2
        return (top + z) / 2, loss, {"scores": s, "attention": a}
    # Without a logit of its own the first class is where all targets are 0.
    target = torch.arange(c) + neither(spec) == label if c > 1 else label.reshape(1)
    target = target.to(z.dtype)
    loss = (binary_cross_entropy_with_logits(top, target) + binary_cross_entropy_with_logits(z, target)) / 2
    return (top + z) / 2, loss, {"scores": s, "attention": a}


def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    c, m, q = spec["classes"] - neither(spec), widths[-1], spec["query"]
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    layers["score"] = (c, m)
    if spec["variant"] == "lin":
        layers["front"] = (m, m)
    if spec["variant"] in ["p", "lin"]:
        layers["query"] = (q, m)
    else:
        layers |= {"query.0": (q, m), "query.1": (q, q)}
    if spec["variant"] in ["p", "lin"] or spec["value_layer"]:
        layers["value"] = (m, m)
    layers["head"] = (c, c * m)
    named = {}
    for name, (out, fan_in) in layers.items():
        named[name + ".weight"] = (out, fan_in)
        named[name + ".bias"] = (out,)
    return named


def metadata(spec):
    keys = ["variant", "embed", "query", "value_layer", "negative"]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": "dsmil", "classes": str(spec["classes"]),
           "settings": json.dumps({k: spec[k] for k in keys if k in spec}),
           "generator": "tools/make_fixtures_dsmil.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    if "counts" in spec:
        out["multi_label"] = "true"
    return out


draw_classes = base.draw


def draw(spec, rng):
    """As of the other methods; then subsets of the labels in the place of classes."""
    params, data = draw_classes(spec, rng)
    if "counts" in spec:
        sizes = (len(spec["sizes"]), spec["classes"])
        data["labels"] = torch.from_numpy(rng.choice([1, 0, -1], sizes, p=[0.4, 0.4, 0.2]))
    return params, data


def with_weights(spec, data):
    """The data as stored: of several labels a bag, the weight of each label of each bag."""
    if "counts" not in spec:
        return data
    of_label = torch.where(data["labels"] == 1, torch.tensor(spec["counts"]), 1.0) * (data["labels"] >= 0)
    return {**data, "weights": (data["weights"].double().unsqueeze(1) * of_label).float()}


def catalogue():
    """{file name: spec}."""
    small = {"method": "dsmil", "inputs": 7, "embed": [], "query": 5, "value_layer": False,
             "sizes": base.SIZES, "paper": False}
    specs = {}
    for task, c in {"binary": 1, "multi": 3}.items():
        for variant in ["p", "h"]:
            specs[f"dsmil-{variant}-{task}"] = {**small, "variant": variant, "classes": c}
        specs[f"dsmil-h-value-{task}"] = {
            **small, "variant": "h", "classes": c, "value_layer": True, "embed": [6]}
        specs[f"dsmil-lin-{task}"] = {**small, "variant": "lin", "classes": c}
        # Bags of several tiles.
        specs[f"dsmil-p-long-{task}"] = {
            **small, "variant": "p", "classes": c, "query": 8, "inputs": 4, "sizes": [130, 3, 64]}
    # Two subtypes, and bags of neither.
    for variant in ["p", "h"]:
        specs[f"dsmil-{variant}-neither"] = {**small, "variant": variant, "classes": 3, "negative": True}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4}
    # Several labels a bag, some of them not known, one counting more where a bag has it.
    for variant, counts in {"p": [1.0, 4.0, 0.5], "h": [2.0, 1.0]}.items():
        specs[f"dsmil-{variant}-labels"] = {**small, "variant": variant, "classes": len(counts), "counts": counts}
    specs["train-dsmil-adam"] = {**small, "variant": "p", "classes": 1, "optimizer": adam}
    return specs


def float32_error(spec, params, data, tensors):
    """Worst relative error of the float32 twin's gradients."""
    copies = {k: v.clone() for k, v in params.items()}
    p, d = base.widen(copies, {**data, "x": data["x"].clone()}, torch.float32)
    base.forward(spec, p, d)[0].backward()
    return max(base.relative(v.grad, tensors[f"grad/{k}"]) for k, v in p.items())


def trained(spec, name):
    """A draw whose training float32 can follow: Adam divides a gradient that is nearly zero by its own size."""
    for attempt in range(400):
        params, data = base.well_posed(spec, f"{name} {attempt}")
        tensors = base.train_fixture(spec, params, data)
        copies = {k: v.clone() for k, v in params.items()}
        losses, final = base.train(spec, copies, {**data, "x": data["x"].clone()}, torch.float32)
        errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach()) for k, v in final.items()]
        if max(errors + [base.relative(losses, tensors["losses"])]) < 2e-5:
            return params, data, tensors
    raise SystemExit(f"{name}: no well-conditioned draw")


def conditioned(spec, name):
    """A draw whose gradients float32 can resolve. That of the queries' bias is a sum in which one part
    cancels, so in long bags it may be as small as the rounding of what it is summed from."""
    for attempt in range(100):
        params, data = base.well_posed(spec, f"{name} {attempt}")
        tensors = base.forward_fixture(spec, params, data)
        if float32_error(spec, params, data, tensors) < 2e-6:
            return params, data, tensors
    raise SystemExit(f"{name}: no well-conditioned draw")


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS["dsmil"] = dsmil
    base.shapes = shapes
    base.draw = draw
    for name, spec in catalogue().items():
        params, data, tensors = (trained if "optimizer" in spec else conditioned)(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, with_weights(spec, tensors), metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}")
        if args.check:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
