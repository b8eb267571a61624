#!/usr/bin/env python3
"""Write the reference results of GNN-MIL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twin is new. Our own code, in plain PyTorch and float64, with the whole matrix of every bag's graph.

Batch norm is over all nodes of a batch, so the twin goes through bags together. A forward file has the running statistics
as param/NAME, which predictions normalise by and which have no gradient; a training file normalises by the bags of each
step (metadata `bags`), and final/NAME has where the statistics came to.

    .venv/bin/python tools/make_fixtures_gnn.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_gnn.py --out /tmp/f --check
"""

import json
import zlib

import numpy as np
import torch
from torch.nn.functional import leaky_relu

import make_fixtures as base
from make_fixtures_additive import batch_norm, is_statistic

SLOPE = 0.01


def alone(spec):
    return spec["clusters"] == 1 and spec["over"] == "clusters"


def leaky(x, kinks):
    kinks.append(x.detach().abs().min())
    return leaky_relu(x, SLOPE)


def largest(x, kinks):
    """Over the rows; equal ones carry the same gradient."""
    if len(x) > 1:
        first, second = x.detach().topk(2, dim=0).values
        gaps = (first - second)[first - second > 1e-12]
        kinks += [gaps.min()] if len(gaps) else []
    return x.max(0).values


def edges(spec, x, kinks):
    """A [n, n], a constant."""
    x = x.detach()
    if spec["eta"] == "infinite":
        return torch.ones(len(x), len(x), dtype=x.dtype)
    apart = (x[:, None] - x[None]).pow(2).sum(2).sqrt()
    if spec["eta"] > 0:
        kinks.append((apart - spec["eta"]).abs().min())
    return (apart < spec["eta"]).to(x.dtype)


def means(weights, v):
    """Over a node with weight 1 and its neighbours."""
    weights = weights - torch.diag(weights.diagonal()) + torch.eye(len(v), dtype=v.dtype)
    return weights @ v / weights.sum(1, keepdim=True).clamp_min(1)


def sage(spec, params, name, rows, kinks):
    """A layer over means, of all nodes of a batch."""
    sizes = [len(r) for r in rows]
    h = leaky(base.layer(params, name, torch.cat(rows)), kinks)
    if spec["batch_norm"]:
        h = batch_norm(spec, params, name + ".norm", h)
    return list(h.split(sizes))


def classify(params, name, x, kinks):
    return base.layer(params, name + ".1", leaky(base.layer(params, name + ".0", x), kinks))


def cross_entropy(z, label):
    if len(z) == 1:
        return torch.nn.functional.binary_cross_entropy_with_logits(z[0], label.to(z.dtype))
    return torch.nn.functional.cross_entropy(z, label)


def forward(spec, params, data, kinks=None):
    """(loss, {logits, scores, ..}) of the packed batch."""
    kinks = [] if kinks is None else kinks
    ends = data["offsets"].tolist()
    bags = [data["x"][lo:hi] for lo, hi in zip(ends, ends[1:])]
    labels, count = data["labels"], len(bags)
    graphs = [edges(spec, x, kinks) for x in bags]
    v = [base.embed(spec, params, x, kinks)[-1] for x in bags]
    around = [means(a, v) for a, v in zip(graphs, v)]
    if spec["eta"] == "infinite":
        # One row for all, so that what is equal is equal to the last bit.
        around = [v.mean(0, keepdim=True).expand(len(v), -1) for v in v]
    z = sage(spec, params, "embedding", around, kinks)
    losses = [0] * count
    if spec["supervision"][0]:
        for b in range(count):
            logits = classify(params, "nodes", largest(z[b], kinks), kinks)
            losses[b] = losses[b] + spec["supervision"][0] * cross_entropy(logits, labels[b])
    logits, outputs = [], {}
    if spec["coarsen"] == "attention":
        scores = [base.layer(params, "attention.w", base.layer(params, "attention.v", z).tanh()) for z in z]
        weights = [e.softmax(0) for e in scores]
        logits = [classify(params, "head", (a * z).sum(0), kinks) for a, z in zip(weights, z)]
        outputs = {"scores": torch.cat(scores), "attention": torch.cat(weights)}
    else:
        if spec["reading"] == "embedding":
            around = [means(a, z) for a, z in zip(graphs, z)]
        assign = [leaky(base.layer(params, "assign", h), kinks)
                  for h in sage(spec, params, "cluster", around, kinks)]
        s = [e.softmax(1 if spec["over"] == "clusters" else 0) for e in assign]
        nodes = [s.T @ z for s, z in zip(s, z)]
        coarse = [means(s.T @ a @ s, v) for s, a, v in zip(s, graphs, nodes)]
        coarse = sage(spec, params, "coarse", coarse, kinks)
        for b in range(count):
            joined = coarse[b].flatten() if spec["pool"] == "concat" else largest(coarse[b], kinks)
            logits.append(classify(params, "head", joined, kinks))
            if spec["supervision"][1]:
                own = classify(params, "clusters", largest(nodes[b], kinks), kinks)
                losses[b] = losses[b] + spec["supervision"][1] * cross_entropy(own, labels[b])
            if spec["link"] and not (alone(spec) and spec["eta"] == "infinite"):
                losses[b] = losses[b] + spec["link"] * (graphs[b] - s[b] @ s[b].T).norm() / len(s[b]) ** 2
            losses[b] = losses[b] - spec["entropy"] * (s[b] * (s[b] + 1e-15).log()).sum(1).mean()
        outputs["scores"] = torch.cat(s)[:, :1]
    losses = [loss + cross_entropy(z, label) for loss, z, label in zip(losses, logits, labels)]
    outputs["logits"] = torch.stack(logits)
    loss = (data["weights"].to(data["x"].dtype) * torch.stack(losses)).sum()
    return loss, outputs


def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    m = widths[-1]
    h = spec["hidden"] or m
    c, k = spec["classes"], spec["clusters"]
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    norms = ["embedding"]
    layers["embedding"] = (h, m)

    def head(name, width):
        half = max(width // 2, 1)
        layers.update({name + ".0": (half, width), name + ".1": (c, half)})

    if spec["supervision"][0]:
        head("nodes", h)
    if spec["coarsen"] == "attention":
        layers |= {"attention.v": (spec["attention"], h), "attention.w": (1, spec["attention"])}
        head("head", h)
    else:
        layers |= {"cluster": (h, m if spec["reading"] == "inputs" else h), "assign": (k, h), "coarse": (h, h)}
        norms += ["cluster", "coarse"]
        if spec["supervision"][1]:
            head("clusters", h)
        head("head", h * (k if spec["pool"] == "concat" else 1))
    named = {}
    for name, (out, fan_in) in layers.items():
        named |= {name + ".weight": (out, fan_in), name + ".bias": (out,)}
    for name in norms if spec["batch_norm"] else []:
        named |= {f"{name}.norm.{part}": (h,) for part in ["gain", "bias", "mean", "variance"]}
    return named


draw_plain = base.draw


def draw(spec, rng):
    """As of the other methods; variances are positive and gains near 1; with a gain logits saturate, and with `repeats`
    some instances are those before them and some are zero."""
    params, data = draw_plain(spec, rng)
    for name, value in params.items():
        if name.endswith(".variance"):
            params[name] = (0.5 + value.abs()).to(value.dtype)
        if name.endswith(".gain"):
            params[name] = (1 + value).to(value.dtype)
    params["head.1.weight"] = params["head.1.weight"] * spec.get("gain", 1)
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


def dead(spec, name):
    """Parameters without a gradient: statistics, and what assigns all nodes to the one cluster."""
    return (is_statistic(name) or name == "attention.w.bias"
            or (alone(spec) and name.startswith(("cluster.", "assign."))))


def train(spec, params, data, dtype=torch.float64):
    """(losses, final parameters), some bags a step."""
    opt, count = spec["optimizer"], spec["bags"]
    p, d = base.widen({k: v.clone() for k, v in params.items()}, data, dtype)
    d["x"] = d["x"].detach()
    update = torch.optim.Adam([v for k, v in p.items() if not is_statistic(k)], lr=opt["lr"], betas=tuple(opt["betas"]),
                              eps=opt["eps"], weight_decay=opt["weight_decay"])
    losses = []
    for step in range(opt["steps"]):
        of = [(step * count + k) % len(d["labels"]) for k in range(count)]
        rows = [d["x"][d["offsets"][b]:d["offsets"][b + 1]] for b in of]
        batch = {"x": torch.cat(rows), "offsets": torch.tensor([0, *np.cumsum([len(r) for r in rows]).tolist()]),
                 "labels": d["labels"][of], "weights": torch.full((count,), 1 / count)}
        update.zero_grad()
        loss, _ = forward(spec, p, batch)
        loss.backward()
        losses.append(loss.detach())
        update.step()
    return torch.stack(losses), p


def well_posed(spec, name):
    """Draw until no leaky ReLU, maximum or distance is so near its kink that float32 might take the other side, the
    gradient of every parameter is alive, what is to saturate does, and training has work to do that float32 can follow."""
    for attempt in range(5000):
        params, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
        p, d = base.widen({k: v.clone() for k, v in params.items()}, data)
        kinks = []
        # Statistics are those of the batch where there is an optimiser, which is no place to start from.
        plain = {k: v for k, v in spec.items() if k != "optimizer"}
        loss, outputs = forward(plain, p, d, kinks)
        if min(kinks) < spec.get("least", 5e-4):
            continue
        if "gain" in spec and not (outputs["logits"].detach().abs() > 30).any():
            continue
        loss.backward()
        # A sum over hundreds of nodes of which next to nothing is left is rounding noise in float32.
        alive = 2e-3 if sum(spec["sizes"]) > 100 else 1e-4
        if not all(v.grad is not None and v.grad.abs().max() > alive for k, v in p.items() if not dead(spec, k)):
            continue
        if "optimizer" not in spec:
            tensors = base.forward_fixture(spec, params, data)
            return params, data, {k: v for k, v in tensors.items() if not (k.startswith("grad/") and is_statistic(k))}
        losses, final = train(spec, params, data)
        tensors = {**data, "weights": torch.ones_like(data["weights"]), "losses": losses,
                   **{f"param/{k}": v for k, v in params.items()}, **{f"final/{k}": v for k, v in final.items()}}
        losses, final = train(spec, params, data, torch.float32)
        errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach()) for k, v in final.items()]
        if tensors["losses"].min() > 0.02 and max(errors + [base.relative(losses, tensors["losses"])]) < 2e-5:
            return params, data, tensors
    raise SystemExit(f"{name}: no well-posed draw")


def metadata(spec):
    keys = ["embed", "eta", "hidden", "coarsen", "clusters", "reading", "over", "pool", "attention", "supervision", "link",
            "entropy", "batch_norm"]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in keys}),
           "generator": "tools/make_fixtures_gnn.py"}
    if "optimizer" in spec:
        out |= {"optimizer": json.dumps(spec["optimizer"]), "bags": str(spec["bags"])}
    return out


def catalogue():
    """{file name: spec}."""
    small = {"method": "gnn-mil", "inputs": 4, "embed": [], "eta": 2.5, "hidden": 5, "coarsen": "diff-pool", "clusters": 2,
             "reading": "inputs", "over": "clusters", "pool": "max", "attention": 3, "supervision": [0.75, 0.5],
             "link": 0.5, "entropy": 0.0, "batch_norm": True, "sizes": base.SIZES, "paper": False, "classes": 1}
    tasks = {"binary": 1, "multi": 3}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}
    specs = {}
    for task, c in tasks.items():
        specs[f"gnn-mil-near-{task}"] = {**small, "classes": c}
        specs[f"gnn-mil-complete-{task}"] = {**small, "classes": c, "eta": "infinite", "clusters": 3}
        specs[f"gnn-mil-messidor-{task}"] = {
            **small, "classes": c, "eta": "infinite", "clusters": 1, "hidden": 0, "supervision": [1, 1]}
        specs[f"gnn-mil-attention-{task}"] = {**small, "classes": c, "coarsen": "attention"}
        specs[f"gnn-mil-long-{task}"] = {
            **small, "classes": c, "sizes": [130, 3, 200, 1], "inputs": 3, "hidden": 3, "eta": 1.5, "least": 1e-5,
            "batch_norm": False, "over": "nodes"}
    specs["gnn-mil-apart"] = {**small, "eta": 0.0, "clusters": 3}
    specs["gnn-mil-embedding"] = {**small, "reading": "embedding", "pool": "concat"}
    specs["gnn-mil-nodes"] = {**small, "over": "nodes", "clusters": 1, "embed": [6], "hidden": 0}
    specs["gnn-mil-one"] = {**small, "clusters": 1}
    specs["gnn-mil-entropy"] = {**small, "entropy": 0.3, "link": 0.0, "supervision": [0, 0], "clusters": 3}
    specs["gnn-mil-repeats"] = {**small, "repeats": True, "sizes": [9, 1, 6, 4]}
    specs["gnn-mil-saturated"] = {**small, "gain": 60}
    specs["train-gnn-mil-adam"] = {**small, "optimizer": adam, "bags": 3}
    return specs


def main():
    args = base.arguments(__doc__, base.CHECK)
    base.forward, base.shapes = forward, shapes
    for name, spec in catalogue().items():
        params, data, tensors = well_posed(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}", flush=True)
        if args.check and not any(is_statistic(k) for k in params):
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
