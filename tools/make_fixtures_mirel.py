#!/usr/bin/env python3
"""Write the reference results of MIREL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twin is new. Our own code, in plain PyTorch and float64, with PyTorch's polygamma and lgamma.

The logits are ln alpha of the two classes, the scores the probability of the second class of each instance. Metadata
`epoch` is that of all steps, from 0; without it the divergence counts whole, as at the end.

    .venv/bin/python tools/make_fixtures_mirel.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_mirel.py --out /tmp/f --check
"""

import json

import torch
from torch.nn.functional import softplus

import make_fixtures as base

LIMIT = 10.0


def divergence(alpha, truth):
    """KL(Dir(alpha') || Dir(1)), alpha' being alpha with 1 for the true class."""
    alpha = torch.where(torch.arange(alpha.shape[-1]) == truth, torch.ones_like(alpha), alpha)
    total, k = alpha.sum(-1), alpha.new_tensor(float(alpha.shape[-1]))
    share = (torch.digamma(alpha) - torch.digamma(total).unsqueeze(-1)) * (alpha - 1)
    return torch.lgamma(total) - torch.lgamma(alpha).sum(-1) - torch.lgamma(k) + share.sum(-1)


def evidential(spec, evidence, truth):
    """The loss of each row of evidence [R,2], all of whose classes are `truth`."""
    alpha = evidence + 1
    total = alpha.sum(-1, keepdim=True)
    p = alpha / total
    y = (torch.arange(2) == truth).to(p.dtype)
    psi = torch.polygamma(1, alpha)
    weights = psi if spec["fisher"] >= 0 else torch.ones_like(psi)
    loss = (weights * ((y - p) ** 2 + p * (1 - p) / (total + 1))).sum(-1)
    if spec["fisher"] > 0:
        inner = 1 - (torch.polygamma(1, total) / psi).sum(-1)
        loss = loss - spec["fisher"] * (psi.log().sum(-1) + inner.log())
    coefficient = min(1, (spec["epoch"] + 1) / spec["divergence_epochs"]) if "epoch" in spec else 1
    loss = loss + coefficient * divergence(alpha, truth)
    return loss - 2 / total.squeeze(-1) * (evidence[..., truth] + 1e-16).log()


def clamp(u, kinks):
    kinks.append((u.detach().abs() - LIMIT).abs().min())
    return u.clamp(-LIMIT, LIMIT)


def mirel(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    f, extra = base.embed(spec, params, x, kinks)[-1], {}
    if spec["pool"] in ("mean", "max"):
        pooled = base.pool(spec["pool"], f, kinks)
    else:
        u = base.layer(params, "attention.v", f).tanh()
        if spec["pool"] == "gated":
            u = u * base.layer(params, "attention.u", f).sigmoid()
        extra["attention"] = base.layer(params, "attention.w", u).softmax(0)
        pooled = (extra["attention"] * f).sum(0)
    bag = clamp(base.layer(params, "head", pooled), kinks)
    prior = clamp(base.layer(params, "head", f).detach(), kinks)
    source = f.detach() if spec["frozen_features"] else f
    r = base.layer(params, "residual.1", base.layer(params, "residual.0", source).tanh()).tanh()
    log_evidence = prior * (1 + r)
    evidence = log_evidence.exp()
    if label == 0:
        of_instances = evidential(spec, evidence, 0).mean()
    else:
        alpha = prior.exp() + 1
        likely = alpha[:, 1] / alpha.sum(1)
        of_instances = evidential(spec, ((likely / likely.sum()).unsqueeze(1) * evidence).sum(0), 1)
    alpha = evidence + 1
    loss = evidential(spec, bag.exp(), int(label)) + spec["instances"] * of_instances
    return softplus(bag), loss, {"scores": alpha[:, 1:] / alpha.sum(1, keepdim=True), **extra}


def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    m, h = widths[-1], spec["hidden"]
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    if spec["pool"] in ("attention", "gated"):
        layers["attention.v"] = (h, m)
        if spec["pool"] == "gated":
            layers["attention.u"] = (h, m)
        layers["attention.w"] = (1, h)
    layers |= {"head": (2, m), "residual.0": (h, m), "residual.1": (2, h)}
    return {f"{name}.{kind}": shape for name, (out, fan_in) in layers.items()
            for kind, shape in [("weight", (out, fan_in)), ("bias", (out,))]}


draw_plain = base.draw


def draw(spec, rng):
    """As of the other methods; with a gain the head's evidence reaches both clamps, and with `repeats` some instances
    are those before them and some are zero."""
    params, data = draw_plain(spec, rng)
    if "gain" in spec:
        params["head.weight"] *= spec["gain"]
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


def metadata(spec):
    keys = ["embed", "pool", "hidden", "fisher", "divergence_epochs", "instances", "frozen_features"]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": "mirel", "classes": "2",
           "settings": json.dumps({k: spec[k] for k in keys}), "generator": "tools/make_fixtures_mirel.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    if "epoch" in spec:
        out["epoch"] = str(spec["epoch"])
    return out


def catalogue():
    """{file name: spec}."""
    small = {"method": "mirel", "inputs": 7, "embed": [6, 5], "pool": "attention", "hidden": 4, "fisher": 0.0,
             "divergence_epochs": 10, "instances": 1.0, "frozen_features": False, "classes": 2, "sizes": base.SIZES,
             "paper": False}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}
    specs = {f"mirel-{pool}": {**small, "pool": pool} for pool in ["attention", "gated", "mean", "max"]}
    specs["mirel-fisher"] = {**small, "fisher": 0.05}
    specs["mirel-plain-error"] = {**small, "fisher": -1.0, "instances": 0.5}
    specs["mirel-frozen"] = {**small, "fisher": 0.01, "frozen_features": True}
    specs["mirel-epoch"] = {**small, "epoch": 2, "embed": []}
    specs["mirel-clamped"] = {**small, "embed": [], "gain": 12, "fisher": 0.05}
    specs["mirel-repeats"] = {**small, "repeats": True, "sizes": [9, 1, 6, 4]}
    # Bags of several tiles.
    specs["mirel-long"] = {**small, "inputs": 4, "embed": [], "hidden": 8, "sizes": [130, 3, 300, 1]}
    specs["train-mirel-adam"] = {**small, "fisher": 0.01, "epoch": 3, "optimizer": adam}
    return specs


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS["mirel"] = mirel
    base.shapes = shapes
    base.draw = draw
    for name, spec in catalogue().items():
        params, data = base.well_posed(spec, name)
        tensors = (base.train_fixture if "optimizer" in spec else base.forward_fixture)(spec, params, data)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        if "gain" in spec:
            logits = tensors["logits"].detach()
            # ln alpha is 10 at the upper clamp, and next to nothing at the lower one.
            assert (logits > 9.99).any() and (logits < 1e-4).any(), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}")
        if args.check:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
