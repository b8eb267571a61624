#!/usr/bin/env python3
"""Write the reference results of CLAM that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twin is new. Our own code, in plain PyTorch and float64, with PyTorch's Adam, which leaves alone what has
no gradient in a step.

Training files with metadata `bags` take that many bags a step, weighed alike, in turn.

    .venv/bin/python tools/make_fixtures_clam.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_clam.py --out /tmp/f --check
"""

import json
import math

import torch
from torch.nn.functional import cross_entropy

import make_fixtures as base

SWITCH = math.log(1000)


def hinge(scores, labels, kinks):
    """The smooth top-1 hinge loss of each row of scores [R,C]."""
    losses = []
    for row, label in zip(scores, labels):
        two = row.detach().topk(2).values
        gap = two[0] - two[1]
        kinks.append((gap - SWITCH).abs())
        margin = row - row[label] + (torch.arange(len(row)) != label)
        losses.append(margin.max() if gap >= SWITCH else margin.logsumexp(0))
    return torch.stack(losses)


def loss_of(kind, scores, labels, kinks):
    labels = torch.as_tensor(labels)
    return hinge(scores, labels, kinks) if kind == "svm" else cross_entropy(scores, labels, reduction="none")


def ends(spec, e, kinks):
    """Rows with the highest and the lowest of e [N], the first of equals first."""
    n, k = len(e), spec["k"]
    k = min(k, n // 2) if spec["disjoint"] else min(k, n)
    picked = []
    for sign in (-1, 1):
        order = torch.sort(sign * e.detach(), stable=True)
        if 0 < k < n:
            gap = order.values[k] - order.values[k - 1]
            if gap > 0:
                kinks.append(gap)
        picked.append(order.indices[:k])
    return picked


def clam(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    classes, multi = max(spec["classes"], 2), spec["method"] == "clam-mb"
    h = base.embed(spec, params, x, kinks)[-1]
    u = base.layer(params, "attention.v", h).tanh()
    if spec["gated"]:
        u = u * base.layer(params, "attention.u", h).sigmoid()
    e = base.layer(params, "attention.w", u)
    a = e.softmax(0)
    z = a.T @ h
    if multi:
        logits = torch.cat([base.layer(params, f"head.{c}", z[c]) for c in range(classes)])
    else:
        logits = base.layer(params, "head", z[0])
    bag = loss_of(spec["bag_loss"], logits.unsqueeze(0), [int(label)], kinks)[0]
    out = {"scores": e, "attention": a}
    if not spec["cluster"]:
        return logits, bag, out
    instances, evidence = 0, []
    for c in range(classes):
        classify = lambda rows: base.layer(params, f"instances.{c}", rows)
        evidence.append(classify(h).softmax(1)[:, 1])
        if not spec["subtyping"] and c != label:
            continue
        high, low = ends(spec, e[:, c if multi else 0], kinks)
        if len(high) == 0:
            continue
        if c == label:
            rows, labels = torch.cat([high, low]), [1] * len(high) + [0] * len(low)
        else:
            rows, labels = high, [0] * len(high)
        of_class = loss_of(spec["inst_loss"], classify(h[rows]), labels, kinks).mean()
        instances = instances + (of_class / classes if spec["subtyping"] else of_class)
    out["evidence"] = torch.stack(evidence, 1)
    return logits, spec["bag_weight"] * bag + (1 - spec["bag_weight"]) * instances, out


def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    m, l, classes = widths[-1], spec["attention"], max(spec["classes"], 2)
    multi = spec["method"] == "clam-mb"
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    layers["attention.v"] = (l, m)
    if spec["gated"]:
        layers["attention.u"] = (l, m)
    layers["attention.w"] = (classes if multi else 1, l)
    if multi:
        layers |= {f"head.{c}": (1, m) for c in range(classes)}
    else:
        layers["head"] = (classes, m)
    if spec["cluster"]:
        layers |= {f"instances.{c}": (2, m) for c in range(classes)}
    return {f"{name}.{kind}": shape for name, (out, fan_in) in layers.items()
            for kind, shape in [("weight", (out, fan_in)), ("bias", (out,))]}


draw_plain = base.draw


def draw(spec, rng):
    """As of the other methods; with a gain scores of classes are far apart, and with `repeats` some instances are those
    before them and some are zero."""
    params, data = draw_plain(spec, rng)
    for name in params:
        if name.startswith(("head", "instances")) and name.endswith("weight"):
            params[name] *= spec.get("gain", 1)
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


train_one = base.train


def train(spec, params, data, dtype=torch.float64):
    """Adam on several bags a step, in turn."""
    count = spec.get("bags", 1)
    if count == 1:
        return train_one(spec, params, data, dtype)
    p, d = base.widen(params, data, dtype)
    opt = spec["optimizer"]
    rule = torch.optim.Adam(p.values(), lr=opt["lr"], betas=tuple(opt["betas"]), eps=opt["eps"],
                            weight_decay=opt["weight_decay"])
    cuts, losses = d["offsets"].tolist(), []
    for step in range(opt["steps"]):
        chosen = [(step * count + k) % len(d["labels"]) for k in range(count)]
        sizes = [cuts[b + 1] - cuts[b] for b in chosen]
        batch = {"x": torch.cat([d["x"][cuts[b]:cuts[b + 1]] for b in chosen]),
                 "offsets": torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()]),
                 "labels": d["labels"][chosen], "weights": torch.full((count,), 1 / count)}
        for value in p.values():
            value.grad = None
        loss, _ = base.forward(spec, p, batch)
        loss.backward()
        losses.append(loss.detach())
        rule.step()
    return torch.stack(losses), p


def metadata(spec):
    keys = ["embed", "attention", "gated", "cluster", "k", "disjoint", "subtyping", "bag_weight", "bag_loss", "inst_loss"]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in keys}),
           "generator": "tools/make_fixtures_clam.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    if "bags" in spec:
        out["bags"] = str(spec["bags"])
    return out


def catalogue():
    """{file name: spec}."""
    small = {"inputs": 7, "embed": [6], "attention": 4, "gated": True, "cluster": True, "k": 3, "disjoint": False,
             "subtyping": False, "bag_weight": 0.7, "bag_loss": "ce", "inst_loss": "ce", "classes": 2,
             "sizes": [7, 1, 9, 2, 17, 5], "paper": False}
    adam = {"name": "adam", "steps": 100, "lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-3}
    specs = {}
    for method in ["clam-sb", "clam-mb"]:
        of = {**small, "method": method}
        for task, classes in {"binary": 2, "multi": 3}.items():
            for loss in ["ce", "svm"]:
                specs[f"{method}-{loss}-{task}"] = {**of, "classes": classes, "bag_loss": loss, "inst_loss": loss}
        specs[f"{method}-subtyping"] = {**of, "classes": 3, "subtyping": True, "inst_loss": "svm"}
        specs[f"{method}-plain"] = {**of, "gated": False, "embed": [6, 5], "bag_weight": 0.4}
        specs[f"{method}-raw"] = {**of, "classes": 3, "embed": []}
        specs[f"{method}-bags-alone"] = {**of, "classes": 3, "cluster": False}
        specs[f"{method}-disjoint"] = {**of, "disjoint": True, "subtyping": True}
        specs[f"{method}-repeats"] = {**of, "repeats": True, "sizes": [9, 1, 6, 13]}
        specs[f"{method}-saturated"] = {**of, "bag_loss": "svm", "inst_loss": "svm", "gain": 9}
        # Bags of several tiles.
        specs[f"{method}-long"] = {**of, "inputs": 4, "embed": [5], "k": 8, "inst_loss": "svm", "subtyping": True,
                                   "sizes": [130, 3, 200, 1]}
        specs[f"train-{method}-adam"] = {**of, "classes": 3, "inst_loss": "svm", "optimizer": adam}
    # Bags of one class alone are seldom in a step, and one class has a part in more of them than another.
    specs["train-clam-sb-several-adam"] = {**small, "method": "clam-sb", "classes": 3, "bags": 2,
                                           "sizes": [7, 1, 9, 2, 17, 5, 4], "optimizer": adam}
    return specs


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS |= {"clam-sb": clam, "clam-mb": clam}
    base.shapes, base.draw, base.train = shapes, draw, train
    for name, spec in catalogue().items():
        params, data = base.well_posed(spec, name)
        tensors = (base.train_fixture if "optimizer" in spec else base.forward_fixture)(spec, params, data)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        if "gain" in spec:
            two = tensors["logits"].detach().topk(2).values
            hard = two[:, 0] - two[:, 1] >= SWITCH
            assert hard.any() and not hard.all(), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}")
        # Differences would part instances that are equal.
        if args.check and not spec.get("repeats"):
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
