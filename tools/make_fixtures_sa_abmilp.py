#!/usr/bin/env python3
"""Write the reference results of SA-AbMILP that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twin is new. Our own code, in plain PyTorch and float64, with the whole matrix of every bag.

    .venv/bin/python tools/make_fixtures_sa_abmilp.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_sa_abmilp.py --out /tmp/f --check
"""

import json
import zlib

import numpy as np
import torch

import make_fixtures as base

LEARNT = ("rbf", "inverse-quadratic")
CLAMP = 1e-5


def power(x, alpha):
    """|x|^alpha, 0 with derivatives of 0 at 0."""
    zero = x == 0
    return torch.where(zero, torch.zeros_like(x), torch.where(zero, torch.ones_like(x), x).abs() ** alpha)


def energies(spec, params, q, k, kinks):
    """[n, n]: a row for each query."""
    if spec["kernel"] == "dot":
        return q @ k.T
    apart = q[:, None] - k[None]
    if spec["kernel"] in LEARNT:
        squares = params["self.alpha"].relu() * (apart ** 2).sum(2)
        return (-squares).exp() if spec["kernel"] == "rbf" else 1 / (squares + 1)
    # Absolute values have a kink at 0; equal rows are 0 apart on both sides.
    sizes = apart.detach().abs()
    kinks += [sizes[sizes > 0].min(), q.detach().abs().min(), k.detach().abs().min()]
    if spec["kernel"] == "laplace":
        return -apart.abs().sum(2)
    size = (lambda x: power(x, params["self.alpha"].relu())) if spec["exponent"] else torch.abs
    return (size(apart) - size(q)[:, None] - size(k)[None]).sum(2)


def sa_abmilp(spec, params, x, label, kinks):
    """One bag: (logits, loss, instance outputs)."""
    h = base.embed(spec, params, x, kinks)[-1]
    q, k, v = (base.layer(params, f"self.{name}", h) for name in ["query", "key", "value"])
    h = h + params["self.gamma"] * (energies(spec, params, q, k, kinks).softmax(1) @ v)
    e = base.layer(params, "attention.w", base.layer(params, "attention.v", h).tanh())
    a = e.softmax(0)
    z = base.layer(params, "head", (a * h).sum(0))
    return z, base.bag_loss(z, label, CLAMP), {"scores": e, "attention": a}


def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    m = widths[-1]
    key = spec["key"] or max(m // 8, 1)
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    layers |= {"self.query": (key, m), "self.key": (key, m), "self.value": (m, m),
               "attention.v": (spec["attention"], m), "attention.w": (1, spec["attention"]), "head": (spec["classes"], m)}
    named = {"self.gamma": (1,)}
    if spec["kernel"] in LEARNT or spec["exponent"]:
        named["self.alpha"] = (1,)
    for name, (out, fan_in) in layers.items():
        named |= {name + ".weight": (out, fan_in), name + ".bias": (out,)}
    return named


draw_plain = base.draw


def draw(spec, rng):
    """As of the other methods; gamma and alpha are near 1, or alpha is below 0 and clamped; with `repeats` some instances
    are those before them and some are zero."""
    params, data = draw_plain(spec, rng)
    for name in ["self.gamma", "self.alpha"]:
        if name in params:
            params[name] = params[name] + 1
    if spec.get("start") is not None:
        params["self.gamma"][:] = spec["start"]
    if spec.get("negative"):
        params["self.alpha"][:] = -0.5
    if spec["exponent"]:
        # Below 1 derivatives near equal values are as large as one likes.
        params["self.alpha"] = params["self.alpha"].abs() + 1
    if "gain" in spec:
        params["self.query.weight"] *= spec["gain"]
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


def dead(spec, name):
    """Parameters whose gradient is zero: a softmax ignores what all of its energies have, and what is multiplied by a
    gamma of 0 does not count."""
    taken = name.startswith("self.") and name != "self.gamma"
    return (name == "attention.w.bias" or (name == "self.key.bias" and spec["kernel"] == "dot")
            or (taken and spec.get("start") == 0) or (name == "self.alpha" and bool(spec.get("negative")))
            or (name.startswith(("self.query", "self.key")) and bool(spec.get("negative"))))


def followed(spec, params, data, tensors):
    """Whether the twin in float32 comes near what the one in float64 says: powers nearly cancel, and so do gradients of
    energies that saturate."""
    if not spec["exponent"] and "gain" not in spec:
        return True
    p, d = base.widen({k: v.clone() for k, v in params.items()}, {**data, "x": data["x"].clone()}, torch.float32)
    base.forward(spec, p, d)[0].backward()
    return all(base.relative(v.grad, tensors[f"grad/{k}"]) < 4e-6 for k, v in p.items() if not dead(spec, k))


def well_posed(spec, name):
    """Draw until no ReLU and no absolute value is so near its kink that float32 might take the other side, the gradient
    of every parameter is alive, and training has work to do that float32 can follow."""
    for attempt in range(5000):
        params, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
        p, d = base.widen(params, data)
        kinks = []
        loss, outputs = base.forward(spec, p, d, kinks)
        if kinks and min(kinks) < spec.get("least", 1e-3):
            continue
        if "head_gain" in spec and not base.half_clamped(spec, data, outputs["logits"]):
            continue
        loss.backward()
        alive = 1e-6 if "gain" in spec else 1e-4
        if not all(v.grad.abs().max() > alive for k, v in p.items() if not dead(spec, k)):
            continue
        if "optimizer" not in spec:
            tensors = base.forward_fixture(spec, params, data)
            if followed(spec, params, data, tensors):
                return params, data, tensors
            continue
        # Training in float32 would move the parameters themselves.
        tensors = base.train_fixture(spec, params, data)
        losses, final = base.train(spec, {k: v.clone() for k, v in params.items()}, data, torch.float32)
        errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach()) for k, v in final.items() if not dead(spec, k)]
        if tensors["losses"].min() > 0.02 and max(errors + [base.relative(losses, tensors["losses"])]) < 2e-5:
            return params, data, tensors
    raise SystemExit(f"{name}: no well-posed draw")


def metadata(spec):
    keys = ["embed", "kernel", "exponent", "key", "attention"]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in keys}),
           "generator": "tools/make_fixtures_sa_abmilp.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def catalogue():
    """{file name: spec}."""
    small = {"method": "sa-abmilp", "inputs": 7, "embed": [6, 8], "kernel": "dot", "exponent": False, "key": 3,
             "attention": 3, "sizes": base.SIZES, "paper": False, "pool": "max", "classes": 1}
    tasks = {"binary": 1, "multi": 3}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}
    specs = {}
    for task, c in tasks.items():
        for kernel in ["dot", "rbf", "inverse-quadratic", "laplace", "module"]:
            specs[f"sa-abmilp-{kernel}-{task}"] = {**small, "kernel": kernel, "classes": c}
        specs[f"sa-abmilp-exponent-{task}"] = {**small, "kernel": "module", "exponent": True, "classes": c}
        specs[f"sa-abmilp-long-{task}"] = {
            **small, "inputs": 4, "embed": [], "sizes": [130, 3, 300, 1], "classes": c, "kernel": "inverse-quadratic"}
    specs["sa-abmilp-eighth"] = {**small, "embed": [17], "key": 0}
    specs["sa-abmilp-raw"] = {**small, "embed": [], "kernel": "rbf"}
    specs["sa-abmilp-start"] = {**small, "start": 0}
    specs["sa-abmilp-negative"] = {**small, "kernel": "rbf", "negative": True}
    specs["sa-abmilp-clamped"] = {**small, "head_gain": 20, "method": "sa-abmilp"}
    specs["sa-abmilp-saturated"] = {**small, "gain": 12}
    for kernel in ["dot", "laplace", "module"]:
        # Without layers in front, whose ReLU would have its kink at the zeros.
        specs[f"sa-abmilp-{kernel}-repeats"] = {
            **small, "repeats": True, "sizes": [9, 1, 6, 4], "embed": [], "kernel": kernel}
    specs["train-sa-abmilp-adam"] = {**small, "kernel": "rbf", "optimizer": adam}
    return specs


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS |= {"sa-abmilp": sa_abmilp}
    base.shapes = shapes
    for name, spec in catalogue().items():
        params, data, tensors = well_posed(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}", flush=True)
        if args.check:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
