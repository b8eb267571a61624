#!/usr/bin/env python3
"""Write the reference results of MHIM-MIL that the tests compare bagrad with.

Students, teachers, masks and training steps in plain PyTorch and float64, our own code, one bag at a time; random
masks are drawn from the same counter-based numbers, written out here once more. Format and precision are those
of make_fixtures.py, whose functions this script uses, and the transformer's parts those of
make_fixtures_transmil.py.

A file of kind `masked` holds beside x, offsets, labels, weights and param/NAME (the student):

    teacher/NAME, kept [N] i64 (1 where the student sees the instance)
    logits [B,C], scores [rows kept, C or 1], loss [1], grad/x [rows kept, D], grad/NAME: f64

One of kind `masked-train` holds losses [steps], final/NAME (the student) and followed/NAME (its teacher). Step t
uses bag t mod B alone. Metadata: `seed` of the masks; `settings` as the method takes them.

    .venv/bin/python tools/make_fixtures_mhim.py --out tests/fixtures
"""

import json
import math
import zlib

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear, log_softmax, relu

import make_fixtures as base
import make_fixtures_dtfd as double
import make_fixtures_transmil as transformer

SEED = 7
MASK_STREAM = 1 << 41
WORD = 0xFFFFFFFF


# ---------------------------------------------------------------- random numbers

class Random:
    """Philox4x32-10; words are taken in order, a double word low half first."""

    def __init__(self, seed, stream):
        self.key, self.stream, self.block, self.words = seed, stream, 0, []

    def word(self):
        if not self.words:
            c = [self.block & WORD, self.block >> 32, self.stream & WORD, self.stream >> 32]
            k = [self.key & WORD, self.key >> 32]
            for _ in range(10):
                a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
                c = [b >> 32 ^ c[1] ^ k[0], b & WORD, a >> 32 ^ c[3] ^ k[1], a & WORD]
                k = [k[0] + 0x9E3779B9 & WORD, k[1] + 0xBB67AE85 & WORD]
            self.words, self.block = c, self.block + 1
        return self.words.pop(0)

    def below(self, n):
        while True:
            low = self.word()
            product = (self.word() << 32 | low) * n
            if product & (1 << 64) - 1 >= (1 << 64) % n:
                return product >> 64

    def sample(self, n, k):
        order = list(range(n))
        for i in range(k):
            j = i + self.below(n - i)
            order[i], order[j] = order[j], order[i]
        return order[:k]


# ---------------------------------------------------------------- masks

def part(share, n):
    return min(n, math.ceil(share * n * (1 - 1e-12)))


def top(scores, k, vote, sign):
    """The k rows of [n, K] with the largest (sign 1) or smallest (-1) scores, ascending."""
    n, heads = scores.shape
    if not vote or heads == 1:
        keys = [(-sign * v, i) for i, v in enumerate(scores.max(1).values.tolist())]
    else:
        votes = [0] * n
        for head in scores.T:
            for _, i in sorted((-sign * v, i) for i, v in enumerate(head.tolist()))[:k]:
                votes[i] += 1
        keys = [(-votes[i], -sign * v, i) for i, v in enumerate(scores.sum(1).tolist())]
    return sorted(key[-1] for key in sorted(keys)[:k])


def kept(spec, scores, high, rng):
    n, strategy = len(scores), spec["strategy"]
    # Columns are heads, which vote, or classes, of which the largest counts.
    vote = spec["method"] == "mhim-transmil" or spec.get("base") == "gated-attention"
    masked = set()
    if strategy in ("random", "r-ham", "lr-ham"):
        masked |= set(rng.sample(n, part(spec["random"], n)))
    if strategy in ("l-ham", "lr-ham"):
        masked |= set(top(scores, part(spec["low"], n), vote, -1))
    if strategy.endswith("ham"):
        largest = top(scores, part(high / spec["high_ratio"], n), vote, 1)
        masked |= {largest[i] for i in rng.sample(len(largest), part(spec["high_ratio"], len(largest)))}
    rows = [i for i in range(n) if i not in masked]
    return rows or (rng.sample(n, 1) if strategy == "random" else top(scores, 1, vote, 1))


def steady(spec, scores, high, rng_of):
    """The rows kept; None when scores that differ by what float32 makes of them would keep others."""
    rows = kept(spec, scores, high, rng_of())
    noise = np.random.default_rng(1)
    size = (scores.max() - scores.min()).clamp_min(1e-9) * spec.get("noise", 1e-4)
    for _ in range(4):
        moved = scores + size * torch.from_numpy(noise.uniform(-1, 1, scores.shape))
        if kept(spec, moved, high, rng_of()) != rows:
            return None
    return rows


# ---------------------------------------------------------------- the networks

def entropy(z, label):
    if len(z) == 1:
        return binary_cross_entropy_with_logits(z, label.reshape(1).to(z.dtype))
    return cross_entropy(z, label)


def rectified(x, kinks):
    kinks.append(x.detach().abs().min())
    return relu(x)


def attention(spec, p, x, label, kinks):
    """logits, loss, scores, features [parts, W], what a teacher scores by [n, K]."""
    h = base.embed(spec, p, x, kinks)[-1]
    u = rectified(linear(h, p["attention.v.weight"]), kinks)
    if spec["gated"]:
        u = u * linear(h, p["attention.u.weight"]).sigmoid()
    e = linear(u, p["attention.w.weight"])
    f = (e.softmax(0) * h).sum(0, keepdim=True)
    z = base.layer(p, "head", f[0])
    return z, entropy(z, label), e, f, e


def dsmil(spec, p, x, label, kinks):
    h = base.embed(spec, p, x, kinks)[-1]
    s = base.layer(p, "score", h)
    largest = base.pool("max", s, kinks)
    q = base.layer(p, "query.1", rectified(base.layer(p, "query.0", h), kinks)).tanh()
    v = rectified(base.layer(p, "value", h), kinks)
    a = (q @ q[s.argmax(0)].T / q.shape[1] ** 0.5).softmax(0)
    f = a.T @ v
    z = base.layer(p, "head", f.flatten())
    target = (torch.arange(len(z)) == label if len(z) > 1 else label.reshape(1)).to(z.dtype)
    losses = [binary_cross_entropy_with_logits(logits, target) for logits in (largest, z)]
    return (largest + z) / 2, sum(losses) / 2, s, f, s


def transmil(spec, p, x, label, kinks):
    h = rectified(base.layer(p, "fc", x), kinks)
    side = math.isqrt(len(h) - 1) + 1
    t = torch.cat([p["class_token.weight"], h, h[:side * side - len(h)]])
    y, first = transformer.attention(spec, p, "layer1", transformer.norm(p, "layer1.norm", t), kinks)
    t = transformer.positions(p, t + y)
    y, second = transformer.attention(spec, p, "layer2", transformer.norm(p, "layer2.norm", t), kinks)
    f = transformer.norm(p, "norm", (t + y)[:1])
    z = base.layer(p, "head", f[0])
    rows = lambda received: received[:, 1:1 + len(x)].T
    return z, entropy(z, label), rows(second).mean(1, keepdim=True), f, rows(first)


def heads(spec, p, x, label, kinks):
    """Gated attention as it is alone."""
    seen = Seen()
    z, loss, extra = seen(base.attention, {**spec, "method": "gated-attention"}, p, x, label, kinks)
    return z, loss, extra["scores"], seen.of["head"].unsqueeze(0), extra["scores"]


def tiers(spec, p, x, label, kinks, step=None):
    """DTFD-MIL. Its instances are ranked by the attention of the first tier before the softmax."""
    seen = Seen()
    z, loss, extra = seen(double.dtfd, spec, p, x, label, kinks, step)
    r = relu(linear(x, p["reduce.weight"]))
    u = base.layer(p, "tier1.attention.v", r).tanh() * base.layer(p, "tier1.attention.u", r).sigmoid()
    return z, loss, extra["scores"], seen.of["tier2.head"].unsqueeze(0), base.layer(p, "tier1.attention.w", u)


class Seen:
    """Calls a twin and keeps what each layer was last given."""

    def __init__(self):
        self.of = {}

    def __call__(self, twin, *args):
        plain = base.layer

        def layer(params, name, x):
            self.of[name] = x
            return plain(params, name, x)

        base.layer = layer
        try:
            return twin(*args)
        finally:
            base.layer = plain


NETWORKS = {"mhim-attention": attention, "mhim-dsmil": dsmil, "mhim-transmil": transmil, "gated-attention": heads,
            "dtfd": tiers}


plain_shapes = base.shapes


def shapes(spec):
    if spec["method"] == "mhim-transmil":
        return transformer.shapes(spec)
    if "base" in spec:
        of = double.shapes if spec["base"] == "dtfd" else plain_shapes
        return of({**spec, "method": spec["base"], "pool": "max"})
    widths = [spec["inputs"], *spec["embed"]]
    c, m = spec["classes"], widths[-1]
    named = {}

    def layer(name, out, fan_in, bias=True):
        named[name + ".weight"] = (out, fan_in)
        if bias:
            named[name + ".bias"] = (out,)

    for i, (n, o) in enumerate(zip(widths, widths[1:])):
        layer(f"embed.{i}", o, n)
    if spec["method"] == "mhim-attention":
        for name in ["attention.v"] + ["attention.u"] * spec["gated"]:
            layer(name, spec["attention"], m, False)
        layer("attention.w", 1, spec["attention"], False)
        layer("head", c, m)
    else:
        layer("score", c, m)
        layer("query.0", spec["query"], m)
        layer("query.1", spec["query"], spec["query"])
        layer("value", m, m)
        layer("head", c, c * m)
    return named


# ---------------------------------------------------------------- steps

def step(spec, p, teacher, bags, high, rng, kinks, number=None):
    """(loss, outputs, rows kept of each bag) of bags [(x, label, weight)]; None where masks are not steady."""
    network, losses, outputs, masks = NETWORKS[spec.get("base", spec["method"])], [], [], []
    # Pseudo-bags of a training step are drawn by its number.
    drawn = {"step": number} if spec.get("base") == "dtfd" else {}
    position = Counted(rng)
    for x, label, weight in bags:
        with torch.no_grad():
            *_, f_teacher, scores = network(spec, teacher, x, label, [])
        at = position.drawn
        rows = steady(spec, scores, high, lambda: Counted(rng, at))
        if rows is None:
            return None
        position = Counted(rng, at)
        kept(spec, scores, high, position)
        z, loss, s, f, _ = network(spec, p, x[rows], label, kinks, **drawn)
        wanted = (f_teacher / spec["temperature"]).softmax(1)
        same = -(wanted * log_softmax(f, 1)).sum(1).mean()
        losses.append(weight * (loss + spec["consistency"] * same))
        outputs.append((z, s))
        masks.append(rows)
    logits = torch.stack([z for z, _ in outputs])
    return sum(losses), {"logits": logits, "scores": torch.cat([s for _, s in outputs])}, masks


class Counted(Random):
    """The numbers of a stream from the `drawn`-th word on."""

    def __init__(self, key, drawn=0):
        super().__init__(*key)
        self.drawn = 0
        for _ in range(drawn):
            self.word()

    def word(self):
        self.drawn += 1
        return super().word()


def bags_of(data):
    ends = data["offsets"].tolist()
    return [(data["x"][lo:hi], data["labels"][b], data["weights"][b].double())
            for b, (lo, hi) in enumerate(zip(ends, ends[1:]))]


def masked(spec, params, teacher, data):
    p, d = base.widen(params, data)
    t = {k: v.double() for k, v in teacher.items()}
    kinks = []
    done = step(spec, p, t, bags_of(d), spec["high"], (SEED, MASK_STREAM), kinks)
    if done is None or min(kinks) < 1e-3:
        return None
    loss, outputs, masks = done
    loss.backward()
    flags, grads, start = [], [], 0
    for (x, *_), rows in zip(bags_of(d), masks):
        flags += [int(i in rows) for i in range(len(x))]
        grads += [start + i for i in rows]
        start += len(x)
    alive = lambda k, v: v.grad is not None and (v.grad.abs().max() >= 1e-5 or k.endswith("attention.w.bias"))
    if not all(alive(k, v) for k, v in p.items()):
        return None
    return {**data, **{f"param/{k}": v for k, v in params.items()}, **{f"teacher/{k}": v for k, v in teacher.items()},
            "kept": torch.tensor(flags), "loss": loss.reshape(1), **outputs, "grad/x": d["x"].grad[grads],
            **{f"grad/{k}": v.grad for k, v in p.items()}}


def train(spec, params, teacher, data, dtype=torch.float64):
    opt, steps = spec["optimizer"], spec["optimizer"]["steps"]
    p, d = base.widen({k: v.clone() for k, v in params.items()}, data, dtype)
    t = {k: v.to(dtype) for k, v in teacher.items()}
    d["x"].requires_grad_(False)
    rule = torch.optim.Adam(p.values(), lr=opt["lr"], betas=tuple(opt["betas"]), eps=opt["eps"],
                            weight_decay=opt["weight_decay"])
    losses = []
    cosine = lambda at: 0.5 * (1 + math.cos(math.pi * at / steps))
    for at in range(steps):
        x, label, _ = bags_of(d)[at % len(d["labels"])]
        rule.zero_grad()
        key = (SEED, MASK_STREAM + at)
        done = step(spec, p, t, [(x, label, 1.0)], spec["high"] * cosine(at), key, [], at)
        if done is None:
            return None
        done[0].backward()
        losses.append(done[0].detach())
        rule.step()
        follows = (1 - spec["momentum"]) * (cosine(at) if spec["momentum_rises"] else 1)
        with torch.no_grad():
            t = {k: v + follows * (p[k] - v) for k, v in t.items()}
    return {**data, "weights": torch.ones_like(data["weights"]), "losses": torch.stack(losses),
            **{f"param/{k}": v for k, v in params.items()}, **{f"teacher/{k}": v for k, v in teacher.items()},
            **{f"final/{k}": v.detach() for k, v in p.items()}, **{f"followed/{k}": v for k, v in t.items()}}


# ---------------------------------------------------------------- the files

MASKS = {"strategy": "r-ham", "high": 0.1, "high_ratio": 0.5, "random": 0.5, "low": 0.4, "consistency": 0.5,
         "temperature": 0.3, "momentum": 0.95, "momentum_rises": False}


def catalogue():
    """{file name: spec}."""
    common = {**MASKS, "classes": 1, "sizes": [23, 1, 40, 7], "paper": False, "inputs": 5}
    pool = {**common, "method": "mhim-attention", "embed": [6], "attention": 4, "gated": False}
    streams = {**common, "method": "mhim-dsmil", "embed": [6], "query": 4, "strategy": "lr-ham", "random": 0.3}
    tokens = {**common, "method": "mhim-transmil", "width": 6, "heads": 3, "landmarks": 4, "iterations": 6,
              "residual": 5, "strategy": "l-ham", "noise": 1e-3}
    any_heads = {**common, "method": "mhim", "base": "gated-attention", "embed": [6], "attention": 4, "heads": 2,
                 "strategy": "lr-ham", "random": 0.3}
    any_tiers = {**common, "method": "mhim", "base": "dtfd", "reduce": 6, "attention": 3, "gated": True,
                 "pseudo_bags": 3, "distil": "afs", "instances": 1, "first_tier": 1.0, "clip": 0.0, "seed": SEED}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4}
    return {
        "mhim-attention-r-ham": pool,
        "mhim-attention-random": {**pool, "strategy": "random"},
        "mhim-attention-ham-multi": {**pool, "strategy": "ham", "high": 0.3, "gated": True, "classes": 3},
        "mhim-attention-none": {**pool, "strategy": "none"},
        "mhim-dsmil-lr-ham": streams,
        "mhim-dsmil-multi": {**streams, "classes": 3},
        "mhim-transmil-l-ham": tokens,
        "mhim-transmil-multi": {**tokens, "classes": 3, "strategy": "lr-ham", "random": 0.3, "sizes": [70, 3, 24]},
        "mhim-any-heads": any_heads,
        "mhim-any-dtfd": any_tiers,
        "mhim-any-dtfd-multi": {**any_tiers, "classes": 3, "distil": "max-min-s", "strategy": "l-ham"},
        # What the teacher compares in a step hangs on the pseudo-bags that it draws; what it ranks by does not.
        "train-mhim-any-dtfd-adam": {**any_tiers, "consistency": 0.0, "optimizer": adam},
        "train-mhim-attention-adam": {**pool, "optimizer": adam},
        "train-mhim-dsmil-adam": {**streams, "optimizer": adam, "momentum_rises": True},
        "train-mhim-transmil-adam": {**tokens, "optimizer": {**adam, "lr": 3e-4}, "momentum_rises": True, "heads": 2},
    }


def metadata(spec):
    own = {"gated-attention": ["embed", "attention", "heads"],
           "dtfd": ["reduce", "attention", "gated", "pseudo_bags", "distil", "instances", "first_tier", "clip"]}
    network = {"mhim": [], "mhim-attention": ["embed", "attention", "gated"], "mhim-dsmil": ["embed", "query"],
               "mhim-transmil": ["width", "heads", "landmarks", "iterations", "residual"]}[spec["method"]]
    settings = {k: spec[k] for k in [*network, *MASKS]}
    if spec["method"] == "mhim-transmil":
        settings["row_dropout"] = 0.0
    if "base" in spec:
        of_base = {k: spec[k] for k in own[spec["base"]]}
        more = {"dropout": 0.0} if spec["base"] == "gated-attention" else {}
        settings["base"] = {"method": spec["base"], **of_base, **more}
    out = {"kind": "masked-train" if "optimizer" in spec else "masked", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps(settings), "seed": str(SEED),
           "generator": "tools/make_fixtures_mhim.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def draw(spec, rng):
    draw_one = transformer.draw if spec["method"] == "mhim-transmil" else base.draw
    (params, data), (other, _) = draw_one(spec, rng), draw_one(spec, rng)
    # A teacher near its student, as a moving average is.
    return params, {k: v + (other[k] - v) / 4 for k, v in params.items()}, data


def close(a, b):
    return max(base.relative(a[k], b[k]) for k in b
               if k.startswith(("final", "followed", "losses")) and not k.endswith("attention.w.bias"))


def main():
    args = base.arguments(__doc__, ("--only", {"default": "", "metavar": "PART", "help": "files whose name has this part"}))
    base.shapes = shapes
    for name, spec in catalogue().items():
        if args.only not in name:
            continue
        make = train if "optimizer" in spec else masked
        for attempt in range(400):
            params, teacher, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
            tensors = make(spec, params, teacher, data)
            if tensors is None:
                continue
            if make is train:
                # What float32 can be expected to reach in as many steps.
                narrow = train(spec, params, teacher, data, torch.float32)
                if narrow is None or close(narrow, tensors) > 2e-5:
                    continue
            break
        else:
            raise SystemExit(f"{name}: no well-conditioned draw")
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        seen = f", {int(tensors['kept'].sum())} of {len(tensors['kept'])} kept" if "kept" in tensors else ""
        print(f"{path.stat().st_size:8} {path.name}{seen}, draw {attempt}", flush=True)


if __name__ == "__main__":
    main()
