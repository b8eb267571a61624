#!/usr/bin/env python3
"""Write the reference results of targets that are no plain classes: numbers, survival, classes in an order or softened.

The format, the precision and the way random cases are drawn are those of make_fixtures.py. The networks are the twins of
the other scripts; in the place of their loss stands that of the target, of all bags of a batch. Our own code, in plain
PyTorch and float64, each loss by its definition. In place of labels a file may hold numbers, or times and events, and
its metadata has the target as model files have it, and the smoothing and the focusing of classes. A step of a training uses as many bags as `bags` says.

    .venv/bin/python tools/make_fixtures_targets.py --out tests/fixtures
"""

import json
import zlib

import numpy as np
import torch
from torch.nn.functional import (binary_cross_entropy_with_logits, cross_entropy, huber_loss, l1_loss, log_softmax,
                                 logsigmoid, mse_loss, one_hot)

import make_fixtures as base
import make_fixtures_mhim as masked

SIZES = [5, 1, 9, 2, 17, 3, 4, 7]


def number(target, z, data, kinks):
    y = (data["numbers"].double() - target["center"]) / target["scale"]
    x, y = z[:, 0], y.to(z.dtype)
    kind = target["loss"]
    if kind == "squared":
        each = mse_loss(x, y, reduction="none")
    elif kind == "absolute":
        kinks += (x - y).abs().tolist()
        each = l1_loss(x, y, reduction="none")
    else:
        kinks += ((x - y).abs() - kind["huber"]).abs().tolist()
        each = huber_loss(x, y, reduction="none", delta=kind["huber"])
    return (data["weights"].to(z.dtype) * each).sum()


def ordered(target, z, data, kinks):
    later = data["labels"][:, None] > torch.arange(z.shape[1])
    each = binary_cross_entropy_with_logits(z, later.to(z.dtype), reduction="none").mean(1)
    return (data["weights"].to(z.dtype) * each).sum()


def softened(target, z, data, kinks):
    """Label smoothing (Szegedy et al. 2016) and the focal loss (Lin et al. 2017), and both: each class by its own focus."""
    smoothing, focusing = target["smoothing"], target["focusing"]
    alone, labels = target["alone"], data["labels"]
    if alone:
        y = labels[:, None].to(z.dtype) if z.shape[1] == 1 else one_hot(labels, z.shape[1]).to(z.dtype)
        y = y * (1 - smoothing) + smoothing / 2
        p = z.sigmoid()
        each = -(y * (1 - p) ** focusing * logsigmoid(z) + (1 - y) * p ** focusing * logsigmoid(-z)).mean(1)
    elif focusing == 0:
        each = cross_entropy(z, labels, reduction="none", label_smoothing=smoothing)
    else:
        y = one_hot(labels, z.shape[1]).to(z.dtype) * (1 - smoothing) + smoothing / z.shape[1]
        ln_p = log_softmax(z, 1)
        each = -(y * (1 - ln_p.exp()) ** focusing * ln_p).sum(1)
    return (data["weights"].to(z.dtype) * each).sum()


def hazards(target, z, data, kinks):
    edges = torch.tensor(target["edges"], dtype=torch.float64)
    total = 0
    for x, t, e, w in zip(z, data["times"].double(), data["events"], data["weights"].to(z.dtype)):
        y = int((t >= edges).sum())
        hazard = x.sigmoid()
        survival = torch.cat([torch.ones(1, dtype=z.dtype), (1 - hazard).cumprod(0)])
        if e > 0:
            loss = -survival[y].log() - hazard[y].log()
        else:
            loss = -(1 - target["alpha"]) * survival[y + 1].log()
        total = total + w * loss
    return total


def cox(target, z, data, kinks):
    x, t, e = z[:, 0], data["times"], data["events"] > 0
    total, count = 0, 0
    for time in t[e].unique():
        tied, risk = e & (t == time), t >= time
        d = int(tied.sum())
        for place in range(d):
            share = place / d if target["ties"] == "efron" else 0
            total = total + (x[risk].exp().sum() - share * x[tied].exp().sum()).log()
        total, count = total - x[tied].sum(), count + d
    return total / max(count, 1) if count else x.sum() * 0


LOSSES = {"number": number, "ordered": ordered, "hazards": hazards, "cox": cox, "classes": softened}
ALSO_DSMIL = ("huber", "ordered", "hazards", "efron", "focal-alone")
SHARES = {"gated-attention": [1.0], "dsmil": [0.5, 0.5]}
streams = []


def bag_loss(z, *_):
    """Not the loss of a class: what its logits are is kept."""
    streams.append(z)
    return z.sum() * 0


def streams_of(spec, params, x, label, kinks):
    z, loss, s, *_ = masked.dsmil(spec, params, x, label, kinks)
    return z, loss, {"scores": s}


def forward(spec, params, data, kinks=None):
    kinks = [] if kinks is None else kinks
    outputs, of_bags = [], []
    ends = data["offsets"].tolist()
    for lo, hi in zip(ends, ends[1:]):
        streams.clear()
        z, _, extra = base.TWINS[spec["method"]](spec, params, data["x"][lo:hi], torch.tensor(0), kinks)
        of_bags.append(list(streams))
        outputs.append({"logits": z.unsqueeze(0), **extra})
    (name, target), = spec["target"].items()
    parts = [share * LOSSES[name](target, torch.stack(z), data, kinks)
             for share, z in zip(SHARES[spec["method"]], zip(*of_bags))]
    return sum(parts), {k: torch.cat([o[k] for o in outputs]) for k in outputs[0]}


def draw(spec, rng):
    params, data = base_draw(spec, rng)
    bags = len(spec["sizes"])
    (name, target), = spec["target"].items()
    if name == "number":
        data["numbers"] = torch.from_numpy(target["center"] + target["scale"] * rng.standard_normal(bags)).float()
    elif name == "ordered":
        data["labels"] = (torch.arange(bags) + int(rng.integers(9))) % (spec["classes"] + 1)
    elif name != "classes":
        # Whole times, so that some are the same; an event at the least and the largest interval.
        data["times"] = torch.from_numpy(rng.integers(1, 6, bags)).float()
        data["events"] = torch.from_numpy((rng.uniform(size=bags) < 0.7).astype(np.int64))
        data["events"][:2] = torch.tensor([1, 0])
        data["times"][:3] = torch.tensor([3.0, 3.0, 3.0])
        data["events"][2] = 1
    return params, data


base_draw = base.draw


def train(spec, params, data, dtype=torch.float64):
    """(losses, final parameters), some bags a step."""
    opt, bags, count = spec["optimizer"], len(spec["sizes"]), spec["bags"]
    p, d = base.widen(params, data, dtype)
    d["x"].requires_grad_(False)
    update = torch.optim.Adam(p.values(), lr=opt["lr"], betas=tuple(opt["betas"]), eps=opt["eps"],
                              weight_decay=opt["weight_decay"])
    losses, ends = [], d["offsets"].tolist()
    for step in range(opt["steps"]):
        batch = [(step * count + k) % bags for k in range(count)]
        rows = [d["x"][ends[b]:ends[b + 1]] for b in batch]
        some = {k: d[k][batch] for k in ("labels", "numbers", "times", "events") if k in d}
        some.update(x=torch.cat(rows), offsets=torch.tensor([0, *np.cumsum([len(r) for r in rows]).tolist()]),
                    weights=torch.full((count,), 1 / count))
        update.zero_grad()
        loss, _ = forward(spec, p, some)
        loss.backward()
        losses.append(loss.detach())
        update.step()
    return torch.stack(losses), p


# A softmax ignores a shift of its scores, and the likelihood of Cox one of the log-risks.
def dead(spec, name):
    return name == "attention.w.bias" or "cox" in spec["target"] and name in ("head.bias", "score.bias")


def fixture(spec, name):
    for attempt in range(3000):
        params, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
        p, d = base.widen(params, data)
        kinks = []
        loss, _ = forward(spec, p, d, kinks)
        if kinks and min(kinks) < 1e-3:
            continue
        loss.backward()
        if not all(v.grad.abs().max() > 1e-4 for k, v in p.items() if not dead(spec, k)):
            continue
        if "optimizer" not in spec:
            return base.forward_fixture(spec, params, data)
        losses, final = train(spec, params, data)
        narrow, _ = train(spec, {k: v.clone() for k, v in params.items()}, data, torch.float32)
        if base.relative(narrow, losses) > 2e-5 or min(losses) < 0.01:
            continue
        return {**data, "weights": torch.ones_like(data["weights"]), "losses": losses,
                **{f"param/{k}": v for k, v in params.items()}, **{f"final/{k}": v for k, v in final.items()}}
    raise SystemExit(f"{name}: no well-posed draw")


SETTINGS = {"gated-attention": ["embed", "attention", "heads"], "dsmil": ["variant", "embed", "query", "value_layer"]}


def metadata(spec):
    settings = {k: spec[k] for k in SETTINGS[spec["method"]]}
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps(settings), "target": json.dumps(spec["target"]),
           "generator": "tools/make_fixtures_targets.py"}
    if "classes" in spec["target"]:
        out |= {name: str(spec["target"]["classes"][name]) for name in ("smoothing", "focusing")}
        out["target"] = json.dumps({"classes": True})
    if "optimizer" in spec:
        out |= {"optimizer": json.dumps(spec["optimizer"]), "bags": str(spec["bags"])}
    return out


def catalogue():
    """{file name: spec}; `classes` counts outputs."""
    small = {"inputs": 7, "sizes": SIZES, "paper": False, "pool": "max", "heads": 1}
    methods = {"gated-attention": {"embed": [6, 5, 4], "attention": 3},
               "dsmil": {"variant": "h", "embed": [6], "query": 4, "value_layer": True}}
    scaled = {"center": 60.25, "scale": 9.5}
    edges = [2.0, 3.0, 4.5]
    targets = {
        "squared": (1, {"number": {"loss": "squared", **scaled}}),
        "absolute": (1, {"number": {"loss": "absolute", **scaled}}),
        "huber": (1, {"number": {"loss": {"huber": 0.75}, **scaled}}),
        "ordered": (3, {"ordered": True}),
        "hazards": (4, {"hazards": {"edges": edges, "alpha": 0.0}}),
        "hazards-alpha": (4, {"hazards": {"edges": edges, "alpha": 0.25}}),
        "efron": (1, {"cox": {"ties": "efron"}}),
        "breslow": (1, {"cox": {"ties": "breslow"}}),
    }
    soft = {
        "smooth": (3, {"classes": {"smoothing": 0.1, "focusing": 0.0, "alone": False}}),
        "focal": (3, {"classes": {"smoothing": 0.0, "focusing": 2.0, "alone": False}}),
        "smooth-focal": (3, {"classes": {"smoothing": 0.2, "focusing": 0.5, "alone": False}}),
        "smooth-binary": (1, {"classes": {"smoothing": 0.1, "focusing": 0.0, "alone": True}}),
        "focal-binary": (1, {"classes": {"smoothing": 0.1, "focusing": 2.0, "alone": True}}),
        "focal-alone": (3, {"classes": {"smoothing": 0.1, "focusing": 1.5, "alone": True}}),
    }
    targets |= soft
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4}
    specs = {}
    for name, (outputs, target) in targets.items():
        own = {**small, "classes": outputs, "target": target}
        for method, settings in methods.items():
            # Classes that know nothing of each other are DSMIL's.
            theirs = [method] if name not in soft else ["dsmil" if name == "focal-alone" else "gated-attention"]
            if method in theirs and (method == "gated-attention" or name in ALSO_DSMIL):
                specs[f"target-{name}-{method}"] = {**own, "method": method, **settings}
    for name, bags in [("focal", 2), ("smooth-binary", 1), ("huber", 2), ("ordered", 1), ("hazards", 1), ("efron", 5)]:
        outputs, target = targets[name]
        specs[f"train-target-{name}-adam"] = {**small, "classes": outputs, "target": target, "bags": bags,
                                              "method": "gated-attention", **methods["gated-attention"],
                                              "optimizer": adam}
    return specs


def main():
    args = base.arguments(__doc__)
    base.bag_loss, base.forward, base.TWINS["dsmil"] = bag_loss, forward, streams_of
    masked.binary_cross_entropy_with_logits = bag_loss
    plain = base.shapes
    base.shapes = lambda s: masked.shapes({**s, "method": "mhim-dsmil"}) if s["method"] == "dsmil" else plain(s)
    for name, spec in catalogue().items():
        tensors = fixture(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}", flush=True)


if __name__ == "__main__":
    main()
