#!/usr/bin/env python3
"""Write the reference results that the tests compare bagrad with.

The models are our own twins in plain PyTorch, in float64. Inputs and parameters
are stored as float32 (in the `-paper` files parameters as bfloat16) and widened
without loss before the computation; results are stored as float64.

    python -m venv .venv && .venv/bin/pip install torch numpy safetensors
    .venv/bin/python tools/make_fixtures.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures.py --out /tmp/f --check    # verify the twins too

The output is seeded by the fixture's name and does not change from run to run,
up to the last bits of a result on another CPU or version of PyTorch. `--check` runs
gradcheck on every small fixture, compares the twins with the float32 version of
themselves (what an exact implementation can be expected to reach) and, if
`torchmil` is installed, compares the attention pooling with torchmil's.

A forward file holds, for B packed bags with N instances in all:

    x [N,D] f32, offsets [B+1] i64, labels [B] i64, weights [B] f32, param/NAME
    logits [B,C], scores [N,C], loss [1], grad/x [N,D], grad/NAME: f64
    attention only: scores [N,K] (before the softmax), attention [N,K] (after it)

loss = sum_b weights_b * loss_b, dropout off, without L2 penalties. C = 1 is binary.
The `-paper` files replace the gradient of a large matrix by `gradrow/NAME` (sum
over each row) and `gradcol/NAME` (sum over each column), to stay small.

A training file holds x, offsets, labels, weights (ones), param/NAME (the start),
losses [steps] (of the bag used in a step, before its update, without penalties) and
final/NAME. Step t uses bag t mod B alone. The gradient of attention.w.bias is zero;
where an optimiser divides by its size, float32 rounding alone can move that one by
up to the learning rate per step, without any effect on the outputs.

Metadata, all strings: kind (`forward` or `train`), method, classes (= C), settings
(JSON: embed widths, pool, attention width L, heads K), optimizer (JSON, training).
"""

import argparse
import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy, linear, log_softmax, relu

torch.set_default_dtype(torch.float64)

SMALL = {"inputs": 7, "embed": [6, 5, 4], "attention": 3}
PAPER = {"inputs": 20, "embed": [256, 128, 64], "attention": 64}
PAPER_RC = {"inputs": 20, "embed": [128, 128, 128]}
SIZES = [5, 1, 9, 2, 17]


# ---------------------------------------------------------------- the twins

def layer(params, name, x):
    return linear(x, params[name + ".weight"], params[name + ".bias"])


def embed(spec, params, x, kinks):
    """The outputs of all embedding layers; only the input if there are none."""
    layers = [x]
    for i in range(len(spec["embed"])):
        pre = layer(params, f"embed.{i}", layers[-1])
        kinks.append(pre.detach().abs().min())
        layers.append(relu(pre))
    return layers[1:] or layers


def pool(kind, x, kinks, params=None):
    """One bag [n,F] -> [F]."""
    if kind == "lme":
        r = torch.nn.functional.softplus(params["pool.sharpness"])
        return torch.logsumexp(r * x, 0).sub(math.log(len(x))) / r
    if kind == "mean":
        return x.mean(0)
    if kind == "lse":
        return x.exp().mean(0).log()
    if len(x) > 1:
        first, second = x.detach().topk(2, dim=0).values
        # Equal zeros behind a ReLU carry no gradient, so they are no ties.
        gaps = (first - second)[first != 0]
        if len(gaps):
            kinks.append(gaps.min())
    return x.max(0).values


def bernoulli(p, y, eps):
    p = p.clamp(eps, 1 - eps)
    return -(y * p.log() + (1 - y) * (1 - p).log())


def logit(p):
    return p.log() - (1 - p).log()


def bag_loss(z, label, eps):
    """Loss on one bag's logits [C]: binary if C = 1, else softmax cross-entropy."""
    if len(z) == 1:
        return bernoulli(z.sigmoid(), label, eps).sum()
    return cross_entropy(z, label)


def mi_net(spec, params, x, label, kinks):
    s = layer(params, "score", embed(spec, params, x, kinks)[-1])
    if spec["pool"] == "max":
        z = pool("max", s, kinks)
        p = z.sigmoid()
    else:
        p = pool(spec["pool"], s.sigmoid(), kinks)
        z = logit(p)
    target = torch.arange(len(z)) == label if len(z) > 1 else label.reshape(1)
    return z, bernoulli(p, target.to(p.dtype), 1e-7).mean(), {"scores": s}


def mi_net_bag(spec, params, x, label, kinks):
    h = embed(spec, params, x, kinks)[-1]
    z = layer(params, "head", pool(spec["pool"], h, kinks, params))
    return z, bag_loss(z, label, 1e-7), {"scores": layer(params, "head", h)}


def mi_net_rc(spec, params, x, label, kinks):
    hs = embed(spec, params, x, kinks)
    z = layer(params, "head", sum(pool(spec["pool"], h, kinks, params) for h in hs))
    return z, bag_loss(z, label, 1e-7), {"scores": layer(params, "head", sum(hs))}


def mi_net_ds(spec, params, x, label, kinks):
    hs = embed(spec, params, x, kinks)
    zs = [layer(params, f"head.{k}", pool(spec["pool"], h, kinks, params)) for k, h in enumerate(hs)]
    loss = sum(bag_loss(z, label, 1e-7) for z in zs)
    scores = sum(layer(params, f"head.{k}", h) for k, h in enumerate(hs)) / len(hs)
    if len(zs[0]) == 1:
        z = logit(sum(z.sigmoid() for z in zs) / len(zs))
    else:
        z = (sum(log_softmax(z, 0).exp() for z in zs) / len(zs)).log()
    return z, loss, {"scores": scores}


def attention(spec, params, x, label, kinks):
    h = embed(spec, params, x, kinks)[-1]
    u = layer(params, "attention.v", h).tanh()
    if spec["method"] == "gated-attention":
        u = u * layer(params, "attention.u", h).sigmoid()
    e = layer(params, "attention.w", u)
    a = e.softmax(0)
    z = layer(params, "head", (a.T @ h).flatten())  # [K,M] row by row: K*M
    return z, bag_loss(z, label, 1e-5), {"scores": e, "attention": a}


TWINS = {"mi-net": mi_net, "mi-net-bag": mi_net_bag, "mi-net-ds": mi_net_ds,
         "mi-net-rc": mi_net_rc, "attention": attention, "gated-attention": attention}


def places(data, lo, hi):
    """Where the instances lie, for methods that look at it."""
    return {"places": data["places"][lo:hi]} if "places" in data else {}


def forward(spec, params, data, kinks=None):
    """(loss, {logits, scores, ..}) of the packed batch; `kinks` collects the distance
    of each ReLU and maximum to the point where its gradient jumps."""
    kinks = [] if kinks is None else kinks
    losses, outputs = [], []
    ends = data["offsets"].tolist()
    for b, (lo, hi) in enumerate(zip(ends, ends[1:])):
        z, loss, extra = TWINS[spec["method"]](
            spec, params, data["x"][lo:hi], data["labels"][b], kinks, **places(data, lo, hi))
        losses.append(loss)
        outputs.append({"logits": z.unsqueeze(0), **extra})
    loss = (data["weights"].to(data["x"].dtype) * torch.stack(losses)).sum()
    return loss, {k: torch.cat([o[k] for o in outputs]) for k in outputs[0]}


# ---------------------------------------------------------------- the data

def shapes(spec):
    """{parameter: shape}."""
    widths = [spec["inputs"], *spec["embed"]]
    heads, c, m = spec.get("heads", 1), spec["classes"], widths[-1]
    layers = {f"embed.{i}": (o, n) for i, (n, o) in enumerate(zip(widths, widths[1:]))}
    if spec["method"] == "mi-net":
        layers["score"] = (c, m)
    elif spec["method"] == "mi-net-ds":
        layers.update({f"head.{k}": (c, w) for k, w in enumerate(widths[1:])})
    else:
        if "attention" in spec["method"]:
            layers["attention.v"] = (spec["attention"], m)
            if spec["method"] == "gated-attention":
                layers["attention.u"] = (spec["attention"], m)
            layers["attention.w"] = (heads, spec["attention"])
        layers["head"] = (c, heads * m)
    named = {}
    if spec["pool"] == "lme":
        named["pool.sharpness"] = (1,)
    for name, (out, fan_in) in layers.items():
        named[name + ".weight"] = (out, fan_in)
        named[name + ".bias"] = (out,)
    return named


def draw(spec, rng):
    """Random parameters and bags, as stored."""
    params = {}
    for name, shape in shapes(spec).items():
        scale = 1.5 / shape[-1] ** 0.5 if name.endswith("weight") else 0.3
        if name in ("head.weight", "score.weight"):
            scale *= spec.get("head_gain", 1)
        value = torch.from_numpy(scale * rng.standard_normal(shape))
        params[name] = value.to(torch.bfloat16 if spec["paper"] else torch.float32)
    sizes = spec["sizes"]
    kinds = max(spec["classes"], 2)
    weights = rng.uniform(0.5, 1.5, len(sizes)) / len(sizes)
    data = {
        "x": torch.from_numpy(rng.standard_normal((sum(sizes), spec["inputs"]))).float(),
        "offsets": torch.tensor([0, *np.cumsum(sizes).tolist()]),
        "labels": (torch.arange(len(sizes)) + int(rng.integers(kinds))) % kinds,
        "weights": torch.from_numpy(weights).float(),
    }
    return params, data


# Parameters that nothing trains, for methods that have some.
FROZEN = ()


def widen(params, data, dtype=torch.float64):
    """Leaves for differentiation, in another precision; what is frozen has no gradient."""
    leaf = lambda t, name=None: t.to(dtype).requires_grad_(name not in FROZEN)
    return {k: leaf(v, k) for k, v in params.items()}, {**data, "x": leaf(data["x"])}


def half_clamped(spec, data, logits):
    """Whether some bags are clearly beyond the clamp of the loss, at least one of them
    on the wrong side, and the others far inside (near it float32 cannot resolve 1 - p)."""
    z = logits.squeeze(1)
    beyond = z.abs() > (12 if "attention" in spec["method"] else 17)
    wrong = beyond & ((z > 0) != (data["labels"] > 0))
    return bool(wrong.any() and not beyond.all() and (beyond | (z.abs() < 6)).all())


def well_posed(spec, name):
    """Draw until no ReLU or maximum is so near its kink that float32 might take the
    other side, the gradient of every parameter is alive, and training has work to do."""
    for attempt in range(5000):
        rng = np.random.default_rng([zlib.crc32(name.encode()), attempt])
        params, data = draw(spec, rng)
        p, d = widen(params, data)
        kinks = []
        loss, outputs = forward(spec, p, d, kinks)
        if "head_gain" in spec and not half_clamped(spec, data, outputs["logits"]):
            continue
        if "optimizer" in spec and train(spec, params, data)[0].min() < 0.05:
            continue
        if kinks and min(kinks) < (2e-5 if spec["paper"] else 1e-3):
            continue
        loss.backward()
        # The softmax ignores a shift of the scores: this one gradient is zero.
        alive = (v.grad.abs().max() > 1e-4
                 for k, v in p.items() if k != "attention.w.bias" and v.requires_grad)
        if all(alive):
            return params, data
    raise SystemExit(f"{name}: no well-posed draw")


# ---------------------------------------------------------------- the files

def save(path, tensors, metadata):
    """A safetensors file. The library's writer puts the metadata in random order; this
    one is reproducible, and puts wide types first so that all are aligned."""
    codes = {torch.float64: "F64", torch.int64: "I64", torch.float32: "F32",
             torch.bfloat16: "BF16"}
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors, key=lambda n: (-tensors[n].element_size(), n)):
        value = tensors[name].detach().contiguous()
        blob = value.reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": codes[value.dtype], "shape": list(value.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def metadata(spec, kind):
    keys = ["embed", "pool", "attention", "heads"]
    if "attention" in spec["method"]:
        keys.remove("pool")
    else:
        keys = keys[:2]
    out = {"kind": kind, "method": spec["method"], "classes": str(spec["classes"]),
           "settings": json.dumps({k: spec[k] for k in keys}),
           "generator": "tools/make_fixtures.py"}
    if kind == "train":
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def forward_fixture(spec, params, data):
    p, d = widen(params, data)
    loss, outputs = forward(spec, p, d)
    loss.backward()
    tensors = {**data, **{f"param/{k}": v for k, v in params.items()},
               **outputs, "loss": loss.reshape(1), "grad/x": d["x"].grad}
    for name, value in p.items():
        if not value.requires_grad:
            continue
        if value.grad.numel() > 2048:
            tensors["gradrow/" + name] = value.grad.sum(1)
            tensors["gradcol/" + name] = value.grad.sum(0)
        else:
            tensors["grad/" + name] = value.grad
    return tensors


# ---------------------------------------------------------------- training

def keras_sgd(named, opt):
    """Nesterov momentum as in Keras: the rate, decayed per update, is inside the
    velocity, and L2 without a half falls on weight matrices only."""
    velocity = {k: torch.zeros_like(v) for k, v in named.items()}

    def update(step):
        rate = opt["lr"] / (1 + opt["decay"] * step)
        with torch.no_grad():
            for name, p in named.items():
                g = p.grad
                if name.endswith("weight"):
                    g = g + 2 * opt["l2"] * p
                velocity[name] = opt["momentum"] * velocity[name] - rate * g
                p += opt["momentum"] * velocity[name] - rate * g

    return update


def clip(named, opt):
    """What is done with the gradients before an update: here, nothing."""


def settle(named):
    """What an update leaves of the parameters, for methods whose parameters have bounds: here, all."""


def train(spec, params, data, dtype=torch.float64):
    """(losses, final parameters), one bag per step."""
    opt = spec["optimizer"]
    p, d = widen(params, data, dtype)
    d["x"].requires_grad_(False)
    if opt["name"] == "sgd-keras":
        update = keras_sgd(p, opt)
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[opt["name"]]
        torch_opt = kind([v for v in p.values() if v.requires_grad], lr=opt["lr"], betas=tuple(opt["betas"]),
                         eps=opt["eps"], weight_decay=opt["weight_decay"])
        update = lambda step: torch_opt.step()
    losses = []
    for step in range(opt["steps"]):
        b = step % len(d["labels"])
        lo, hi = d["offsets"][b:b + 2].tolist()
        bag = {"x": d["x"][lo:hi], "offsets": torch.tensor([0, hi - lo]),
               "labels": d["labels"][b:b + 1], "weights": torch.ones(1), "step": step, **places(d, lo, hi)}
        for value in p.values():
            value.grad = None
        loss, _ = forward(spec, p, bag)
        loss.backward()
        losses.append(loss.detach())
        clip(p, opt)
        update(step)
        settle(p)
    return torch.stack(losses), p


def train_fixture(spec, params, data):
    losses, final = train(spec, params, data)
    return {**data, "weights": torch.ones_like(data["weights"]), "losses": losses,
            **{f"param/{k}": v for k, v in params.items()},
            **{f"final/{k}": v for k, v in final.items()}}


# ---------------------------------------------------------------- the list

def catalogue():
    """{file name: spec}."""
    base = {"classes": 1, "pool": "max", "heads": 1, "sizes": SIZES, "paper": False}
    tasks = {"binary": 1, "multi": 3}
    specs = {}
    for method in ["mi-net", "mi-net-bag", "mi-net-ds", "mi-net-rc"]:
        # Residual sums need layers of one width.
        small = {**SMALL, "embed": [5, 5, 5]} if method == "mi-net-rc" else SMALL
        for kind in ["max", "mean", "lse"] + ["lme"] * (method != "mi-net"):
            for task, c in tasks.items():
                specs[f"{method}-{kind}-{task}"] = {
                    **base, **small, "method": method, "pool": kind, "classes": c}
        # Some bags so confident that the clamp of the loss stops their gradient.
        if method in ("mi-net", "mi-net-bag"):
            specs[f"{method}-clamped"] = {**base, **small, "method": method, "head_gain": 20}
        widths = PAPER_RC if method == "mi-net-rc" else PAPER
        specs[f"{method}-paper"] = {**base, **widths, "method": method, "paper": True}
    for method in ["attention", "gated-attention"]:
        for task, c in tasks.items():
            for k in [1, 2]:
                specs[f"{method}-k{k}-{task}"] = {
                    **base, **SMALL, "method": method, "heads": k, "classes": c}
            specs[f"{method}-raw-{task}"] = {
                **base, **SMALL, "method": method, "embed": [], "classes": c}
        specs[f"{method}-clamped"] = {**base, **SMALL, "method": method, "head_gain": 20}
        specs[f"{method}-paper"] = {**base, **PAPER, "method": method, "paper": True}
    adam = {"name": "adam", "steps": 100, "lr": 5e-4, "betas": [0.9, 0.999], "eps": 1e-8,
            "weight_decay": 1e-4}
    adamw = {**adam, "name": "adamw", "lr": 1e-3, "weight_decay": 0.01}
    sgd = {"name": "sgd-keras", "steps": 100, "lr": 0.05, "momentum": 0.9, "decay": 1e-4,
           "l2": 5e-3}
    for method, opt in [("gated-attention", adam), ("gated-attention", adamw),
                        ("mi-net-bag", sgd)]:
        specs[f"train-{method}-{opt['name']}"] = {
            **base, **SMALL, "method": method, "optimizer": opt}
    return specs


# ---------------------------------------------------------------- checks

def relative(a, b):
    """Largest difference over the largest entry."""
    return float((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-12))


def check(name, spec, params, data, tensors):
    """gradcheck, and the distance of the float32 twin from the stored results."""
    p, d = widen(params, data)
    if "optimizer" not in spec and not spec["paper"]:
        names = list(p)

        def loss_of(x, *values):
            return forward(spec, dict(zip(names, values)), {**d, "x": x})[0]

        assert torch.autograd.gradcheck(loss_of, (d["x"], *p.values()), atol=1e-7, rtol=1e-5)
    if "optimizer" in spec:
        losses, final = train(spec, params, data, torch.float32)
        found = {"losses": losses, **{f"final/{k}": v for k, v in final.items()}}
    else:
        p, d = widen(params, data, torch.float32)
        loss, found = forward(spec, p, d)
        loss.backward()
        found = {**found, "loss": loss.reshape(1), "grad/x": d["x"].grad,
                 **{f"grad/{k}": v.grad for k, v in p.items()
                    if k != "attention.w.bias" and v.requires_grad}}
    errors = {k: relative(v.detach(), tensors[k].detach())
              for k, v in found.items() if k in tensors}
    worst = max(errors, key=errors.get)
    print(f"  float32 twin: worst relative error {errors[worst]:.1e} ({worst})")


def check_torchmil():
    """Our attention pooling against torchmil's, which has no bias in its last layer."""
    try:
        from torchmil.nn import AttentionPool
    except ImportError as error:
        print(f"torchmil not compared: {error}")
        return
    # Its layers may be wrapped to allow for an unknown input width.
    linear_of = lambda m: next(x for x in m.modules() if isinstance(x, torch.nn.Linear))
    for gated in [False, True]:
        torch.manual_seed(1)
        x = torch.randn(9, 7)
        theirs = AttentionPool(in_dim=7, att_dim=3, gated=gated).double()
        v = linear_of(theirs.fc1)
        params = {"attention.v.weight": v.weight, "attention.v.bias": v.bias,
                  "attention.w.weight": theirs.fc2.weight, "attention.w.bias": torch.ones(1),
                  "head.weight": torch.eye(7), "head.bias": torch.zeros(7)}
        if gated:
            u = linear_of(theirs.fc_gated)
            params |= {"attention.u.weight": u.weight, "attention.u.bias": u.bias}
        spec = {"method": "gated-attention" if gated else "attention", "embed": []}
        # With the identity for a head, the logits are the pooled vector.
        z, _, extra = attention(spec, params, x, torch.tensor(0), [])
        want, score = theirs(x.unsqueeze(0), return_att=True)
        print(f"torchmil AttentionPool, gated={gated}: pooled {(z - want[0]).abs().max():.1e}, "
              f"scores {(extra['scores'][:, 0] - 1 - score[0]).abs().max():.1e}")


def arguments(doc, *flags):
    """What all scripts of fixtures take, their folder made; `flags` are more of them, as (name, options)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures"), metavar="DIR")
    for name, options in flags:
        parser.add_argument(name, **options)
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums split over threads would depend on their number
    args.out.mkdir(parents=True, exist_ok=True)
    return args


CHECK = ("--check", {"action": "store_true", "help": "verify the twins as well"})


def main():
    args = arguments(__doc__, CHECK)
    total = 0
    for name, spec in catalogue().items():
        params, data = well_posed(spec, name)
        training = "optimizer" in spec
        tensors = (train_fixture if training else forward_fixture)(spec, params, data)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        save(path, tensors, metadata(spec, "train" if training else "forward"))
        size = path.stat().st_size
        assert size < 250_000, f"{name} is too large"
        total += size
        print(f"{size:8} {path.name}")
        if args.check:
            check(name, spec, params, data, tensors)
    print(f"{total:8} bytes in all")
    if args.check:
        check_torchmil()


if __name__ == "__main__":
    main()
