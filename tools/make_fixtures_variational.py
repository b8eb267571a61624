#!/usr/bin/env python3
"""Write the reference results of FocusMIL, CausalMIL and MIVAE that the tests compare bagrad with.

The format and the precision are those of make_fixtures.py, whose functions this script uses; twins, training and the
drawing of cases are new. Our own code, in plain PyTorch and float64. A batch is packed: these losses have means over all
instances of a batch, and batch norms see all of them.

Forward files are without noise, as evaluation is, and with the running statistics of batch norms; those of methods that
decode have `reconstruction` [N,D] or [B,D]. Bags hold a duplicated instance and one of zeros. In training files the noise
of a step is drawn from the same counter-based numbers, written out here once more, and batch norms take the batch's
statistics; step t trains on the `bags` bags (metadata) from number t * bags on, round and round, each with weight 1/bags.

    .venv/bin/python tools/make_fixtures_variational.py --out tests/fixtures
    .venv/bin/python tools/make_fixtures_variational.py --out /tmp/f --check
"""

import json
import zlib

import numpy as np
import torch
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    conv2d,
    conv_transpose2d,
    interpolate,
    max_pool2d,
    one_hot,
    relu,
)

import make_fixtures as base

SEED = 0
BUFFERS = ("norm.mean", "norm.variance")


# ---------------------------------------------------------------- noise

def philox(counter, key):
    """Philox4x32-10 of four arrays of words; uint64 holds the products."""
    c = [np.asarray(w, np.uint64) for w in counter]
    word, k = np.uint64(0xFFFFFFFF), list(key)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [b >> np.uint64(32) ^ c[1] ^ np.uint64(k[0]), b & word, a >> np.uint64(32) ^ c[3] ^ np.uint64(k[1]), a & word]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def normals(count, site, step):
    """`count` normal numbers of a place on the tape and a step: pairs of Box-Muller from pairs of words."""
    blocks = np.arange(-(-count // 4))
    full = lambda v: np.full(blocks.shape, v)
    words = philox([blocks, full(site), full(step), full(1)], [SEED & 0xFFFFFFFF, SEED >> 32])
    out = []
    for a, b in [words[:2], words[2:]]:
        radius = np.sqrt(-2 * np.log(((a >> np.uint64(9)) + 0.5) / 2**23))
        turn = (b >> np.uint64(30)) + ((b >> np.uint64(7)) & np.uint64(0x7FFFFF)) / 2**23 - 0.5
        out += [radius * np.cos(turn * np.pi / 2), radius * np.sin(turn * np.pi / 2)]
    return np.stack(out, 1).reshape(-1)[:count]


class Noise:
    """The samples of a step; without one, means."""

    def __init__(self, step=None):
        self.step, self.site = step, 0

    def sample(self, mean, log):
        if self.step is None:
            return mean
        eps = torch.from_numpy(normals(mean.numel(), self.site, self.step)).reshape(mean.shape)
        self.site += 1
        return mean + (log / 2).exp() * eps.to(mean.dtype)


# ---------------------------------------------------------------- layers

def rectified(x, kinks):
    kinks.append(x.detach().abs().min())
    return relu(x)


class Net:
    """What the parts of a twin share: parameters, kinks, and whether it trains."""

    def __init__(self, spec, params, kinks, training):
        self.spec, self.p, self.kinks, self.training = spec, params, kinks, training

    def linear(self, name, x):
        return base.layer(self.p, name, x)

    def gaussian(self, name, x):
        return self.linear(name + ".mean", x), self.linear(name + ".log", x).clamp(-20, 20)

    def norm(self, name, x):
        """Batch norm of pictures, and ReLU."""
        mean, variance = (self.p[f"{name}.{b}"] for b in BUFFERS)
        if self.training:
            now = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            count = x.numel() // x.shape[1]
            with torch.no_grad():
                mean += 0.1 * (now[0] - mean)
                if count > 1:
                    variance += 0.1 * (now[1] * count / (count - 1) - variance)
        else:
            now = mean.detach(), variance.detach()
        row = lambda v: v.reshape(1, -1, 1, 1)
        y = (x - row(now[0])) / (row(now[1]) + 1e-5).sqrt()
        gain, bias = self.p[name + ".norm.weight"], self.p[name + ".norm.bias"]
        return rectified(y * row(gain) + row(bias), self.kinks)

    def conv(self, name, x, size, stride=1, pad=0):
        w = self.p[name + ".weight"]
        return conv2d(x, w.reshape(len(w), x.shape[1], *size), self.p.get(name + ".bias"), stride, pad)

    def spread(self, name, x, size, stride=1, pad=0):
        w = self.p[name + ".weight"].reshape(x.shape[1], -1, *size)
        return conv_transpose2d(x, w, self.p.get(name + ".bias"), stride, pad)

    def encode(self, name, x):
        codec, (h, w, c) = self.spec["codec"], self.spec["image"]
        if codec == "dense":
            for n in range(len(self.spec["embed"])):
                x = rectified(self.linear(f"{name}.{n}", x), self.kinks)
            return x
        x = x.reshape(-1, c, h, w)
        if codec == "mnist":
            for n in range(2):
                x = self.norm(f"{name}.{n}", self.conv(f"{name}.{n}", x, (4, 4), 2, 1))
            x = self.norm(f"{name}.2", self.conv(f"{name}.2", x, (h // 4, w // 4)))
            return self.linear(f"{name}.3", x.flatten(1))
        if codec == "coloured-mnist":
            for n in range(3):
                x = rectified(self.conv(f"{name}.{n}", x, (3, 3), 2, 1), self.kinks)
            return x.flatten(1)
        for n, size in enumerate([first(self.spec), (3, 3)]):
            x = max_pool2d(rectified(self.conv(f"{name}.{n}", x, size), self.kinks), 2)
        return x.flatten(1)

    def decode(self, z, between):
        codec, (h, w, c) = self.spec["codec"], self.spec["image"]
        channels = self.spec["channels"]
        if codec == "dense":
            count = len(self.spec["embed"])
            for n in range(count):
                z = rectified(self.linear(f"decoder.{n}", z), self.kinks)
            return self.linear(f"decoder.{count}", z)
        if codec == "mnist":
            x = self.norm("decoder.0", self.spread("decoder.0", z[:, :, None, None], (1, 1)))
            x = self.norm("decoder.1", self.spread("decoder.1", x, (h // 4, w // 4)))
            x = self.norm("decoder.2", self.spread("decoder.2", x, (4, 4), 2, 1))
            return self.spread("decoder.3", x, (4, 4), 2, 1).sigmoid().flatten(1)
        if codec == "coloured-mnist":
            sides = halves(self.spec)
            x = rectified(self.linear("decoder.0", z), self.kinks).reshape(-1, channels[2], *sides[3])
            for n in range(3):
                size = [to + 4 - 2 * at for to, at in zip(sides[2 - n], sides[3 - n])]
                x = self.spread(f"decoder.{n + 1}", x, size, 2, 1)
                x = rectified(x, self.kinks) if n < 2 else x
            return x.sigmoid().flatten(1)
        n = len(between)
        for k in range(n):
            z = rectified(self.linear(f"decoder.{k}", z), self.kinks)
        z = self.linear(f"decoder.{n}", z)
        z = z if between else rectified(z, self.kinks)
        size = first(self.spec)
        sides = [((s - k + 1) // 2 - 2) // 2 for s, k in zip((h, w), size)]
        x = interpolate(z.reshape(-1, channels[1], *sides), scale_factor=2)
        x = rectified(self.spread(f"decoder.{n + 1}", x, (3, 3)), self.kinks)
        x = interpolate(x, scale_factor=2)
        x = rectified(self.spread(f"decoder.{n + 2}", x, size), self.kinks)
        return self.conv(f"decoder.{n + 3}", x, (1, 1)).flatten(1)


def first(spec):
    """The first kernel for patches."""
    return [4 if side % 4 == 3 else 5 for side in spec["image"][:2]]


def halves(spec):
    """Sides of coloured digits before and after each convolution."""
    sides = [spec["image"][:2]]
    for _ in range(3):
        sides.append([(s + 1) // 2 for s in sides[-1]])
    return sides


# ---------------------------------------------------------------- the twins

def largest(values, kinks):
    """Row of the largest of one column; the first of equals."""
    v = values.detach().numpy()
    k = int(v.argmax())
    if len(v) > 1:
        kinks.append(torch.tensor(float(v[k] - np.delete(v, k).max())))
    return k


def divergence(mean, log):
    """From the standard normal distribution, value by value."""
    return (mean * mean + torch.expm1(log) - log) / 2


def log_density(x, mean, log):
    return (-((x - mean) ** 2) / log.exp() - log - np.log(2 * np.pi)).sum(1) / 2


def forward(spec, params, data, kinks=None, step=None):
    """(loss, outputs) of a packed batch; with a step as training has it."""
    kinks = [] if kinks is None else kinks
    net, noise = Net(spec, params, kinks, step is not None), Noise(step)
    x, w = data["x"], data["weights"].to(data["x"].dtype)
    ends = data["offsets"].tolist()
    bags = [slice(lo, hi) for lo, hi in zip(ends, ends[1:])]
    of_row = torch.repeat_interleave(torch.arange(len(bags)), torch.diff(data["offsets"]))
    c = spec["classes"]
    target = one_hot(data["labels"], c) if c > 1 else data["labels"].reshape(-1, 1)
    target = target.to(x.dtype)

    def classified(scores, factor, twice=False):
        rows = [[b.start + largest(scores[b, k], kinks) for k in range(c)] for b in bags]
        z = torch.stack([torch.stack([scores[r, k] for k, r in enumerate(of_bag)]) for of_bag in rows])
        each = binary_cross_entropy_with_logits(z.sigmoid() if twice else z, target, reduction="none")
        return z, factor * (w * each.mean(1)).sum()

    if spec["method"] == "focus-mil":
        h = x
        for n in range(len(spec["embed"])):
            h = rectified(net.linear(f"embed.{n}", h), kinks)
        mean, log = net.gaussian("latent", net.linear("code", h))
        scores = net.linear("score", noise.sample(mean, log))
        z, loss = classified(scores, 1, spec["double_sigmoid"])
        loss = loss + spec["beta"] * w.sum() * divergence(mean, log).mean()
        return loss, {"logits": z, "scores": scores}
    if spec["method"] == "causal-mil":
        e = net.encode("encoder", x)
        mean, log = net.gaussian("latent", e)
        z = noise.sample(mean, log)
        scores = net.linear("score", z)
        logits, loss = classified(scores, spec["classification"])
        of_all = scores.max(1).values
        picked = [b.start + largest(of_all[b], kinks) for b in bags]
        z, mean, log = z[picked], mean[picked], log[picked]
        decoded = net.decode(z, [])
        loss = loss + spec["reconstruction"] * (w * ((decoded - x[picked]) ** 2).mean(1)).sum()
        prior = net.gaussian("prior", torch.stack([e[b].mean(0) for b in bags]))
        loss = loss + (w * (log_density(z, mean, log) - log_density(z, *prior))).sum()
        loss = loss + (w * divergence(*prior)[:, 0]).sum()
        return loss, {"logits": logits, "scores": scores, "reconstruction": decoded}
    mean, log = net.gaussian("instance", net.encode("instance", x))
    m, u = net.gaussian("bag", net.encode("bag", x))
    # As the paper has it: the mean of the means, the root of the mean of the variances.
    bag = [torch.stack([m[b].mean(0) for b in bags]), torch.stack([u[b].exp().mean(0).sqrt() for b in bags])]
    bag[1] = 2 * bag[1].log()
    zi = noise.sample(mean, log)
    zb = noise.sample(*bag)
    z = torch.cat([zi, zb[of_row]], 1)
    h = z
    for n in range(len(spec["classifier"])):
        h = rectified(net.linear(f"classifier.{n}", h), kinks)
    scores = net.linear("score", h)
    logits, loss = classified(scores, spec["classification"])
    decoded = net.decode(z, spec["decoder"])
    loss = loss + w.sum() * ((decoded - x) ** 2).mean() + w.sum() * divergence(mean, log).mean()
    classes = target if c > 1 else torch.cat([1 - target, target], 1)
    prior = net.gaussian("prior", rectified(net.linear("prior", classes), kinks))
    apart = (log_density(zb, *bag) - log_density(zb, *prior)) / spec["latent"]
    return loss + (w * apart).sum(), {"logits": logits, "scores": scores, "reconstruction": decoded}


# ---------------------------------------------------------------- parameters and data

def shapes(spec):
    """{parameter: shape}."""
    named, c = {}, spec["classes"]

    def linear(name, inputs, outputs):
        named[name + ".weight"], named[name + ".bias"] = (outputs, inputs), (outputs,)
        return outputs

    def gaussian(name, inputs, outputs):
        linear(name + ".mean", inputs, outputs)
        linear(name + ".log", inputs, outputs)

    def normed(name, rows, cols, channels):
        named[name + ".weight"] = (rows, cols)
        for part in ("norm.weight", "norm.bias", *BUFFERS):
            named[f"{name}.{part}"] = (channels,)

    def convolution(name, rows, cols, channels):
        named[name + ".weight"], named[name + ".bias"] = (rows, cols), (channels,)

    codec, (h, w, depth) = spec.get("codec"), spec.get("image", (0, 0, 0))
    k = spec.get("channels", [])

    def encoder(name):
        if codec == "dense":
            widths = [spec["inputs"], *spec["embed"]]
            for n, (a, b) in enumerate(zip(widths, widths[1:])):
                linear(f"{name}.{n}", a, b)
            return widths[-1]
        if codec == "mnist":
            normed(f"{name}.0", k[0], depth * 16, k[0])
            normed(f"{name}.1", k[1], k[0] * 16, k[1])
            normed(f"{name}.2", k[2], k[1] * (h // 4) * (w // 4), k[2])
            return linear(f"{name}.3", k[2], k[3])
        sizes = [(3, 3)] * 3 if codec == "coloured-mnist" else [first(spec), (3, 3)]
        before = depth
        for n, (a, b) in enumerate(sizes):
            convolution(f"{name}.{n}", k[n], before * a * b, k[n])
            before = k[n]
        if codec == "coloured-mnist":
            return k[2] * np.prod(halves(spec)[3])
        return k[1] * np.prod([((s - f + 1) // 2 - 2) // 2 for s, f in zip((h, w), first(spec))])

    def decoder(inputs, between):
        if codec == "dense":
            widths = [inputs, *reversed(spec["embed"]), spec["inputs"]]
            for n, (a, b) in enumerate(zip(widths, widths[1:])):
                linear(f"decoder.{n}", a, b)
        elif codec == "mnist":
            normed("decoder.0", inputs, k[2], k[2])
            normed("decoder.1", k[2], k[1] * (h // 4) * (w // 4), k[1])
            normed("decoder.2", k[1], k[0] * 16, k[0])
            convolution("decoder.3", k[0], depth * 16, depth)
        elif codec == "coloured-mnist":
            sides = halves(spec)
            linear("decoder.0", inputs, int(k[2] * np.prod(sides[3])))
            path = [k[2], k[1], k[0], depth]
            for n, (a, b) in enumerate(zip(path, path[1:])):
                area = np.prod([to + 4 - 2 * at for to, at in zip(sides[2 - n], sides[3 - n])])
                convolution(f"decoder.{n + 1}", a, int(b * area), b)
        else:
            size = first(spec)
            sides = [((s - f + 1) // 2 - 2) // 2 for s, f in zip((h, w), size)]
            widths = [inputs, *between, int(k[1] * np.prod(sides))]
            for n, (a, b) in enumerate(zip(widths, widths[1:])):
                linear(f"decoder.{n}", a, b)
            n = len(between)
            convolution(f"decoder.{n + 1}", k[1], k[0] * 9, k[0])
            convolution(f"decoder.{n + 2}", k[0], int(depth * np.prod(size)), depth)
            convolution(f"decoder.{n + 3}", depth, depth, depth)

    z = spec["latent"]
    if spec["method"] == "focus-mil":
        widths = [spec["inputs"], *spec["embed"]]
        for n, (a, b) in enumerate(zip(widths, widths[1:])):
            linear(f"embed.{n}", a, b)
        gaussian("latent", linear("code", widths[-1], spec["code"]), z)
        linear("score", z, c)
    elif spec["method"] == "causal-mil":
        e = int(encoder("encoder"))
        gaussian("latent", e, z)
        linear("score", z, c)
        decoder(z, [])
        gaussian("prior", e, 1)
    else:
        for name in ("instance", "bag"):
            gaussian(name, int(encoder(name)), z)
        before = 2 * z
        for n, width in enumerate(spec["classifier"]):
            before = linear(f"classifier.{n}", before, width)
        linear("score", before, c)
        decoder(2 * z, spec["decoder"])
        gaussian("prior", linear("prior", max(c, 2), spec["prior"]), z)
    return named


base_draw = base.draw


def draw(spec, rng):
    """As of the other methods; then gains and variances above 0, a duplicated instance and one of zeros."""
    params, data = base_draw(spec, rng)
    for name, value in params.items():
        if name.endswith(("norm.weight", "norm.variance")):
            params[name] = (1 + value).abs() + 0.2
    if not spec.get("distinct"):
        lo, hi = data["offsets"][2:4].tolist()
        data["x"][hi - 1] = data["x"][lo]
        data["x"][-2] = 0
    return params, data


def metadata(spec):
    keys = ["codec", "image", "embed", "channels", "decoder", "latent", "classifier", "prior", "classification",
            "reconstruction", "code", "beta", "double_sigmoid"]
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": spec["method"],
           "classes": str(spec["classes"]), "settings": json.dumps({k: spec[k] for k in keys if k in spec}),
           "generator": "tools/make_fixtures_variational.py"}
    if "optimizer" in spec:
        out |= {"optimizer": json.dumps(spec["optimizer"]), "bags": str(spec["bags"])}
    return out


def trainable(params):
    return {k: v for k, v in params.items() if not k.endswith(BUFFERS)}


# ---------------------------------------------------------------- fixtures

def train(spec, params, data, dtype=torch.float64):
    """(losses, final parameters)."""
    opt = spec["optimizer"]
    p, d = base.widen({k: v.clone() for k, v in params.items()}, {**data, "x": data["x"].clone()}, dtype)
    d["x"].requires_grad_(False)
    for name in p.keys() - trainable(p).keys():
        p[name].requires_grad_(False)
    rule = torch.optim.AdamW(trainable(p).values(), lr=opt["lr"], betas=tuple(opt["betas"]), eps=opt["eps"],
                             weight_decay=opt["weight_decay"])
    ends, losses, count = d["offsets"].tolist(), [], spec["bags"]
    for step in range(opt["steps"]):
        chosen = [(step * count + k) % len(d["labels"]) for k in range(count)]
        rows = [torch.arange(ends[b], ends[b + 1]) for b in chosen]
        batch = {"x": d["x"][torch.cat(rows)], "labels": d["labels"][chosen],
                 "offsets": torch.tensor([0, *np.cumsum([len(r) for r in rows]).tolist()]),
                 "weights": torch.full((count,), 1 / count).float()}
        rule.zero_grad(set_to_none=True)
        loss, _ = forward(spec, p, batch, step=step)
        loss.backward()
        losses.append(loss.detach())
        rule.step()
    return torch.stack(losses), p


def gradients(spec, params, data, dtype=torch.float64):
    p, d = base.widen({k: v.clone() for k, v in params.items()}, {**data, "x": data["x"].clone()}, dtype)
    kinks = []
    loss, outputs = forward(spec, p, d, kinks)
    loss.backward()
    grads = {f"grad/{k}": v.grad for k, v in trainable(p).items()}
    return min(kinks), {**outputs, "loss": loss.reshape(1), "grad/x": d["x"].grad, **grads}


def worst(found, wanted):
    return max(base.relative(found[k].detach(), v.detach()) for k, v in wanted.items())


def fixture(spec, name):
    """Tensors of a draw that float32 can follow: no ReLU or maximum near its kink, every gradient alive."""
    for attempt in range(3000):
        params, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
        stored = {**data, **{f"param/{k}": v for k, v in params.items()}}
        if "optimizer" in spec:
            found = []
            for dtype in (torch.float64, torch.float32):
                losses, final = train(spec, params, data, dtype)
                found.append({"losses": losses, **{f"final/{k}": v.detach() for k, v in final.items()}})
            if all(v.isfinite().all() for v in found[0].values()) and worst(found[1], found[0]) < 2e-5:
                return params, data, {**stored, "weights": torch.ones_like(data["weights"]), **found[0]}
            continue
        nearest, tensors = gradients(spec, params, data)
        alive = all(v.abs().max() > 1e-7 for k, v in tensors.items() if k.startswith("grad/"))
        near = 2e-5 if spec.get("codec", "dense") != "dense" else 2e-4
        if nearest > near and alive and worst(gradients(spec, params, data, torch.float32)[1], tensors) < 3e-6:
            return params, data, {**stored, **tensors}
    raise SystemExit(f"{name}: no well-conditioned draw")


def catalogue():
    """{file name: spec}."""
    common = {"inputs": 7, "sizes": base.SIZES, "paper": False, "pool": "max"}
    focus = {**common, "method": "focus-mil", "embed": [6], "code": 5, "latent": 3, "beta": 0.5, "double_sigmoid": False}
    dense = {"codec": "dense", "image": [1, 1, 1], "embed": [6, 5], "channels": []}
    causal = {**common, **dense, "method": "causal-mil", "latent": 3, "classification": 2.0, "reconstruction": 1.0}
    mivae = {**common, **dense, "method": "mivae", "latent": 3, "classification": 2.0, "decoder": [], "prior": 4,
             "classifier": [6, 5]}
    pictures = {
        "mnist": {"codec": "mnist", "image": [8, 12, 1], "channels": [3, 4, 5, 6]},
        "coloured": {"codec": "coloured-mnist", "image": [9, 10, 3], "channels": [3, 4, 5]},
        "colon": {"codec": "colon", "image": [11, 12, 2], "channels": [3, 4]},
    }
    for codec in pictures.values():
        codec |= {"embed": [], "inputs": int(np.prod(codec["image"])), "sizes": [3, 1, 4, 2]}
    long = {"inputs": 4, "sizes": [130, 3, 64]}
    specs = {}
    for task, c in {"binary": 1, "multi": 3}.items():
        for method in (focus, causal, mivae):
            name = method["method"]
            specs[f"{name}-{task}"] = {**method, "classes": c}
            specs[f"{name}-long-{task}"] = {**method, **long, "classes": c}
    specs["focus-mil-twice"] = {**focus, "classes": 1, "double_sigmoid": True, "embed": []}
    # The weights of the papers.
    specs["focus-mil-weights"] = {**focus, "classes": 1, "beta": 0.01}
    specs["causal-mil-weights"] = {**causal, "classes": 1, "classification": 1000.0, "reconstruction": 7.0}
    specs["mivae-weights"] = {**mivae, "classes": 1, "classification": 10000.0}
    for name, codec in pictures.items():
        specs[f"causal-mil-{name}"] = {**causal, **codec, "classes": 1}
        between = [6, 7] if name == "colon" else []
        specs[f"mivae-{name}"] = {**mivae, **codec, "classes": 1, "decoder": between}
    adam = {"name": "adamw", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}
    several = {"classes": 1, "bags": 3, "optimizer": adam, "distinct": True}
    for method in (focus, causal, mivae):
        specs[f"train-{method['method']}-adamw"] = {**method, **several}
    # Batch norms with the statistics of the batch, which also move the running ones.
    specs["train-causal-mil-mnist-adamw"] = {**causal, **pictures["mnist"], **several}
    return specs


def main():
    only = ("--only", {"default": "", "metavar": "NAME", "help": "fixtures whose name has this in it"})
    args = base.arguments(__doc__, base.CHECK, only)
    base.shapes = shapes
    for name, spec in catalogue().items():
        if args.only not in name:
            continue
        params, data, tensors = fixture(spec, name)
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        size = path.stat().st_size
        assert size < 250_000, f"{name} is too large"
        print(f"{size:8} {path.name}", flush=True)
        if args.check and "optimizer" not in spec:
            p, d = base.widen(params, data)
            names = list(trainable(p))
            rest = {k: v.detach() for k, v in p.items() if k not in names}
            loss = lambda x, *values: forward(spec, {**rest, **dict(zip(names, values))}, {**d, "x": x})[0]
            # A picture of zeros ties the maxima of its pools.
            x = d["x"].detach() if spec.get("codec") == "colon" else d["x"]
            given = (x, *(p[n] for n in names))
            assert torch.autograd.gradcheck(loss, given, atol=1e-6, rtol=1e-4, fast_mode=True), name


if __name__ == "__main__":
    main()
