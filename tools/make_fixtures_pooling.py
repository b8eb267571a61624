#!/usr/bin/env python3
"""Write the reference results of Adaptive, Power and Certainty Pooling that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py, whose functions this script
uses; only the twins are new. Our own code, in plain PyTorch and float64. No code of the papers' authors was found: the
twins are the equations of docs/methods/pooling.md, differentiated by PyTorch.

Certainty Pooling draws masks. The twin draws them by the same counters, Philox4x32-10: of column c of a layer's input in
pass t word c mod 4 of the block (c / 4, site, step, 0) under the seed, all passes and layers having sites one after the
other. So no mask is stored, and nothing of a training is left to chance either.

In the files `-labels` a bag has any subset of the C labels, as in make_fixtures_dsmil.py. `-repeats` have equal instances
and some that are all zeros, `-saturated` have logits up to 30 in size, `-long` have bags of many tiles.

    .venv/bin/python tools/make_fixtures_pooling.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_pooling.py --out /tmp/f --check
"""

import json
import math

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, relu, softplus

import make_fixtures as base
from make_fixtures_dsmil import with_weights

CLIP = 1e-7


# ---------------------------------------------------------------- the twins

def per_class(spec, losses, label):
    """The mean over the classes of losses (of a positive, of a negative) bag [C]."""
    positive, negative = losses
    if "counts" in spec:
        counts = positive.new_tensor(spec["counts"])
        each = torch.where(label == 1, positive * counts, negative)
        return torch.where(label < 0, 0, each).mean()
    c = len(positive)
    target = torch.arange(c) == label if c > 1 else label.reshape(1) > 0
    return torch.where(target, positive, negative).mean()


def scored(spec, params, x, kinks):
    return base.layer(params, "score", base.embed(spec, params, x, kinks)[-1])


def log1mexp(a):
    """ln(1 - e^a), a kept below -1e-7, where the derivative stays what it is there."""
    a = a + (a.clamp(max=-1e-7) - a).detach()
    return (-torch.expm1(a)).log()


def adaptive_pooling(spec, params, x, label, kinks):
    s = scored(spec, params, x, kinks)
    r = (softplus(params["pool.exponent"][0]) + 0.01).clamp(max=64)
    log_p = (torch.logsumexp(r * logsigmoid(s), 0) - math.log(len(x))) / r
    log_rest = log1mexp(log_p)
    positive = -log_p
    if spec["joint"]:
        # Where a label would change, so does the gradient.
        kinks.append(s.detach().abs().min())
        own = (s >= 0).detach().to(s.dtype)
        of_instances = -(own * logsigmoid(s) + (1 - own) * logsigmoid(-s)).mean(0)
        positive = positive + spec["lambda"] * (positive - of_instances) ** 2
    negative = -log_rest if spec["negative"] == "bag" else -logsigmoid(-s).mean(0)
    return log_p - log_rest, per_class(spec, (positive, negative), label), {"scores": s}


def power_pooling(spec, params, x, label, kinks):
    s = scored(spec, params, x, kinks)
    weights = (params["pool.exponent"] * logsigmoid(s)).softmax(0)
    p = (weights * s.sigmoid()).sum(0).clamp(CLIP, 1 - CLIP)
    return base.logit(p), per_class(spec, (-p.log(), -(1 - p).log()), label), {"scores": s}


def philox(counters, key):
    """[n,4] blocks of four words for counters [n,4], as the generator's authors published it."""
    c = [counters[:, i].astype(np.uint64) for i in range(4)]
    low = np.uint64(0xffffffff)
    for i in range(10):
        k = [np.uint64((key[j] + i * w) & 0xffffffff) for j, w in enumerate([0x9E3779B9, 0xBB67AE85])]
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        shift = np.uint64(32)
        c = [(b >> shift) ^ c[1] ^ k[0], b & low, (a >> shift) ^ c[3] ^ k[1], a & low]
    return np.stack(c, 1)


def kept(rate, count, site, step, seed):
    """Factors of `count` values: 0 or 1 / (1 - rate)."""
    blocks = np.arange((count + 3) // 4)
    fixed = np.ones_like(blocks)
    counters = np.stack([blocks, site * fixed, step * fixed, 0 * fixed], 1)
    words = philox(counters, [seed & 0xffffffff, seed >> 32]).reshape(-1)[:count]
    return torch.from_numpy(np.where(words < int(rate * 2**32), 0.0, 1 / (1 - rate)))


def head(spec, params, h, dropped, kinks=None):
    """Logits [n,C]; `dropped` is what dropout leaves of the input of layer number i."""
    names = [f"head.{i}" for i in range(len(spec["head"]))] + ["score"]
    for i, name in enumerate(names):
        h = base.layer(params, name, dropped(h, i))
        if name != "score":
            if kinks is not None:
                kinks.append(h.detach().abs().min())
            h = relu(h)
    return h


def certainty_pooling(spec, params, x, label, kinks):
    h = base.embed(spec, params, x, kinks)[-1]
    learning, layers, rate = "step" in spec, len(spec["head"]) + 1, spec["dropout"]
    # A run's seed is 0 in the tests; its masks follow the step.
    step, seed = (spec["step"], 0) if learning else (0, spec["seed"])
    with torch.no_grad():
        def masked(h, i):
            return h * kept(rate, h.shape[1], t * layers + i, step, seed).to(h.dtype)

        passes = []
        for t in range(spec["passes"]):
            passes.append(head(spec, params, h, masked).sigmoid())
        passes = torch.stack(passes)
        deviation = passes.var(0, unbiased=False).sqrt()
    plain = head(spec, params, h, lambda h, i: h, kinks)
    scores, probabilities = plain, plain.sigmoid()
    if spec["score"] == "mean":
        probabilities = passes.mean(0)
        scores = base.logit(probabilities.clamp(CLIP, 1 - CLIP))
    certain = (probabilities / (deviation + spec["epsilon"])).detach()
    top = certain.max(0).values
    if len(x) > 1:
        # Of equal instances the first is chosen, so a tie of those is none.
        behind = torch.where(certain == top, -math.inf, certain).max(0).values
        kinks.append(((top - behind) / top).min())
    chosen = (certain == top).to(torch.int8).argmax(0)
    trained = plain
    if spec["fresh"] and learning:
        def fresh(h, i):
            site = spec["passes"] * layers + i
            return h * kept(rate, h.numel(), site, step, seed).reshape(h.shape).to(h.dtype)

        trained = head(spec, params, h, fresh, kinks)
    of_chosen = lambda values: values.gather(0, chosen.unsqueeze(0))[0]
    z = of_chosen(trained)
    losses = [binary_cross_entropy_with_logits(z, torch.full_like(z, y), reduction="none") for y in (1, 0)]
    outputs = {"scores": scores, "deviation": deviation, "selection": certain}
    return of_chosen(scores), per_class(spec, losses, label), outputs


TWINS = {"adaptive-pooling": adaptive_pooling, "power-pooling": power_pooling, "certainty-pooling": certainty_pooling}


# ---------------------------------------------------------------- the batch, the parameters, the data

forward_of_bags = base.forward


def forward(spec, params, data, kinks=None):
    """As of the other methods; the penalty of exponents has the weights of the bags."""
    if "step" in data:
        spec = {**spec, "step": data["step"]}
    loss, outputs = forward_of_bags(spec, params, data, kinks)
    if spec["method"] == "power-pooling":
        weights = with_weights(spec, data)["weights"].to(loss.dtype).sum(0)
        loss = loss + spec["lambda"] * (weights * params["pool.exponent"] ** 2).sum()
    return loss, outputs


def settle(named):
    """Exponents of Power Pooling stay at 0 or above."""
    if PROJECTED in named:
        with torch.no_grad():
            named[PROJECTED].clamp_(min=0)


PROJECTED = None


def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    behind = [widths[-1], *spec.get("head", [])]
    layers.update({f"head.{i}": (o, n) for i, (n, o) in enumerate(zip(behind, behind[1:]))})
    layers["score"] = (spec["classes"], behind[-1])
    named = {}
    for name, (out, fan_in) in layers.items():
        named[name + ".weight"] = (out, fan_in)
        named[name + ".bias"] = (out,)
    if spec["method"] != "certainty-pooling":
        named["pool.exponent"] = (1, spec["classes"])
    return named


draw_classes = base.draw


def draw(spec, rng):
    """As of the other methods; then exponents, what is special about the instances, and subsets of the labels."""
    params, data = draw_classes(spec, rng)
    if "exponent" in spec:
        params["pool.exponent"] = torch.tensor([spec["exponent"]], dtype=torch.float32)
    x, offsets = data["x"], data["offsets"].tolist()
    if "repeats" in spec:
        for lo, hi in zip(offsets, offsets[1:]):
            x[lo + 1:hi:4] = x[lo]
            x[lo + 2:hi:5] = 0
    if "largest" in spec:
        s = scored(spec, {k: v.double() for k, v in params.items()}, x.double(), [])
        params["score.weight"] *= (spec["largest"] / s.abs().max()).float()
    if "counts" in spec:
        sizes = (len(spec["sizes"]), spec["classes"])
        data["labels"] = torch.from_numpy(rng.choice([1, 0, -1], sizes, p=[0.4, 0.4, 0.2]))
    return params, data


SETTINGS = {"adaptive-pooling": ["joint", "lambda", "negative"], "power-pooling": ["lambda"],
            "certainty-pooling": ["head", "dropout", "passes", "epsilon", "score", "fresh", "seed"]}


def metadata(spec):
    keys = ["embed", *SETTINGS[spec["method"]]]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in keys}),
           "generator": "tools/make_fixtures_pooling.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    if "counts" in spec:
        out["multi_label"] = "true"
    return out


def catalogue():
    """{file name: spec}."""
    small = {"inputs": 7, "embed": [6, 5], "sizes": base.SIZES, "paper": False}
    long = {"inputs": 3, "embed": [], "sizes": [1, 2, 7, 300, 1500]}
    adaptive = {**small, "method": "adaptive-pooling", "joint": True, "lambda": 0.1, "negative": "instance"}
    power = {**small, "method": "power-pooling", "lambda": 1e-4}
    # Fewer columns than a block of random words has, and more.
    certainty = {**small, "method": "certainty-pooling", "head": [], "dropout": 0.5, "passes": 9, "epsilon": 1e-3,
                 "score": "deterministic", "fresh": True, "seed": 0}
    specs = {}
    for task, c in {"binary": 1, "multi": 3}.items():
        # From the flattest pool to the sharpest.
        rho, n = [[0.3], [-6.0, 0.5, 5.0]][c > 1], [[1.0], [0.0, 0.6, 7.0]][c > 1]
        flat = [[0.05], [0.0, 0.02, 0.05]][c > 1]
        specs[f"adaptive-pooling-{task}"] = {**adaptive, "classes": c, "exponent": rho}
        specs[f"adaptive-pooling-bag-{task}"] = {**adaptive, "classes": c, "exponent": rho, "negative": "bag"}
        specs[f"adaptive-pooling-bl-{task}"] = {
            **adaptive, "classes": c, "exponent": rho, "joint": False, "negative": "bag"}
        specs[f"adaptive-pooling-long-{task}"] = {**adaptive, **long, "classes": c, "exponent": rho}
        specs[f"adaptive-pooling-saturated-{task}"] = {**adaptive, "classes": c, "exponent": rho, "largest": 30}
        specs[f"power-pooling-{task}"] = {**power, "classes": c, "exponent": n}
        specs[f"power-pooling-long-{task}"] = {**power, **long, "classes": c, "exponent": n}
        # Where a probability of a bag comes near 1, float32 has no digits for the rest (see `made`).
        specs[f"power-pooling-saturated-{task}"] = {**power, "classes": c, "exponent": flat, "largest": 30}
        specs[f"certainty-pooling-{task}"] = {**certainty, "classes": c}
        specs[f"certainty-pooling-mean-{task}"] = {**certainty, "classes": c, "score": "mean", "seed": 5}
        specs[f"certainty-pooling-head-{task}"] = {
            **certainty, "classes": c, "embed": [6], "head": [9, 4], "dropout": 0.25}
        specs[f"certainty-pooling-long-{task}"] = {**certainty, **long, "classes": c}
        specs[f"certainty-pooling-saturated-{task}"] = {**certainty, "classes": c, "largest": 30}
    repeats = {"classes": 3, "repeats": True}
    specs["adaptive-pooling-repeats"] = {**adaptive, **repeats, "exponent": [-1.0, 0.5, 3.0]}
    specs["power-pooling-repeats"] = {**power, **repeats, "exponent": [0.3, 1.0, 4.0]}
    specs["certainty-pooling-repeats"] = {**certainty, **repeats}
    labels = {"classes": 3, "counts": [1.0, 4.0, 0.5]}
    specs["adaptive-pooling-labels"] = {**adaptive, **labels, "exponent": [0.0, 1.0, 2.0]}
    specs["power-pooling-labels"] = {**power, **labels, "exponent": [0.5, 1.0, 2.0]}
    specs["certainty-pooling-labels"] = {**certainty, **labels}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}
    train = {"classes": 1, "optimizer": adam}
    specs["train-adaptive-pooling-adam"] = {**adaptive, **train, "exponent": [0.5], "negative": "bag"}
    # From the start of the one exponent the penalty leads below 0, where the projection holds it.
    specs["train-power-pooling-adam"] = {
        **power, "classes": 3, "exponent": [0.01, 1.0, 2.0], "lambda": 0.05, "optimizer": adam}
    specs["train-certainty-pooling-adam"] = {**certainty, **train}
    return specs


# ---------------------------------------------------------------- the files

def float32_error(spec, params, data, tensors):
    """Worst relative error of the float32 twin's gradients."""
    copies = {k: v.clone() for k, v in params.items()}
    p, d = base.widen(copies, {**data, "x": data["x"].clone()}, torch.float32)
    base.forward(spec, p, d)[0].backward()
    return max(base.relative(v.grad, tensors[f"grad/{k}"]) for k, v in p.items())


def made(spec, name):
    """A draw whose results, of a hundred updates or of one, float32 can resolve."""
    for attempt in range(400):
        params, data = base.well_posed(spec, f"{name} {attempt}")
        if "optimizer" in spec:
            tensors = base.train_fixture(spec, params, data)
            copies = {k: v.clone() for k, v in params.items()}
            losses, final = base.train(spec, copies, {**data, "x": data["x"].clone()}, torch.float32)
            errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach()) for k, v in final.items()]
            error = max(errors + [base.relative(losses, tensors["losses"])])
            if PROJECTED and not (tensors["final/pool.exponent"] == 0).any():
                continue
        else:
            tensors = base.forward_fixture(spec, params, data)
            error = float32_error(spec, params, data, tensors)
            if PROJECTED and tensors["logits"].max() > 6:
                continue
        if error < (2e-5 if "optimizer" in spec else 5e-6):
            return params, data, tensors
    raise SystemExit(f"{name}: no well-conditioned draw")


def main():
    global PROJECTED
    args = base.arguments(__doc__, base.CHECK)
    base.TWINS.update(TWINS)
    base.shapes, base.draw, base.forward, base.settle = shapes, draw, forward, settle
    for name, spec in catalogue().items():
        PROJECTED = "pool.exponent" if spec["method"] == "power-pooling" else None
        params, data, tensors = made(spec, name)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, with_weights(spec, tensors), metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}", flush=True)
        # gradcheck of thousands of instances takes an hour.
        if args.check and len(data["x"]) < 100:
            base.check(name, spec, params, data, tensors)


if __name__ == "__main__":
    main()
