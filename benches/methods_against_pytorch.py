#!/usr/bin/env python3
"""Time training steps of methods with their defaults in PyTorch (eager, f32, CPU) and in bagrad, side by side.

One bag of N instances with D features; forward, loss, backward to every parameter, one update with the optimiser of
the method's recipe. The PyTorch side is written for speed, not for reading: one matrix product where there can be
one, and for DAS-MIL the form without an N x N x d tensor.

The two programs take turns within each round, so a slow spell of the machine hits both; the figure kept is the
median over rounds of each round's median.

    python -m venv .venv && .venv/bin/pip install torch numpy
    cargo build --release
    .venv/bin/python benches/methods_against_pytorch.py --rounds 5 --json result.json
"""

import argparse
import json
import math
import os
import statistics
import sys
import time

import beside
import torch
import torch.nn as nn
import torch.nn.functional as F

CASES = ["dsmil 2000,512", "dsmil 10000,512", "transmil 2000,512", "transmil 10000,512", "das-mil 2000,512",
         "das-mil 10000,512", "clam-sb 2000,1024", "clam-sb 10000,1024", "dtfd 2000,1024", "dtfd 10000,1024",
         "transformer 2000,512", "sa-abmilp 2000,512", "loss-attention 10000,512", "dp-minn 10000,512"]


class Dsmil(nn.Module):
    """Variant P with one output."""

    def __init__(self, d):
        super().__init__()
        self.score, self.query, self.value = nn.Linear(d, 1), nn.Linear(d, 128), nn.Linear(d, d)
        self.head = nn.Linear(d, 1)

    def loss(self, x, places):
        s = self.score(x)
        top = s.argmax(0)
        q = self.query(x)
        a = (q @ q[top].T / math.sqrt(128)).softmax(0)
        bag, best = self.head(a.T @ self.value(x)), s[top]
        one = torch.ones(1, 1)
        return 0.5 * (F.binary_cross_entropy_with_logits(bag, one) + F.binary_cross_entropy_with_logits(best, one))

    def optimiser(self):
        return torch.optim.Adam(self.parameters(), 1e-4, (0.5, 0.9), weight_decay=5e-3)


class Nystrom(nn.Module):
    def __init__(self, w=512, heads=8, landmarks=256):
        super().__init__()
        self.heads, self.landmarks = heads, landmarks
        self.qkv, self.out = nn.Linear(w, 3 * w, bias=False), nn.Linear(w, w)
        self.residual = nn.Conv2d(heads, heads, (33, 1), padding=(16, 0), groups=heads, bias=False)

    def forward(self, x):
        n, w = x.shape[1:]
        pad = -n % self.landmarks
        x = F.pad(x, (0, 0, pad, 0))
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        q = q * (w // self.heads) ** -0.5
        ql, kl = (t.unflatten(2, (self.landmarks, -1)).mean(3) for t in (q, k))
        a1, a2, a3 = ((a @ b.transpose(-1, -2)).softmax(-1) for a, b in ((q, kl), (ql, kl), (ql, k)))
        z = a2.transpose(-1, -2) / (a2.abs().sum(-1).max() * a2.abs().sum(-2).max())
        eye = torch.eye(self.landmarks)
        for _ in range(6):
            y = a2 @ z
            z = 0.25 * z @ (13 * eye - y @ (15 * eye - y @ (7 * eye - y)))
        o = (a1 @ z) @ (a3 @ v) + self.residual(v)
        return F.dropout(self.out(o.transpose(1, 2).flatten(2)), 0.1)[:, -n:]


class Transmil(nn.Module):
    def __init__(self, d, w=512):
        super().__init__()
        self.fc, self.token = nn.Linear(d, w), nn.Parameter(torch.randn(1, 1, w))
        self.first, self.second = Nystrom(), Nystrom()
        self.norms, self.head = nn.ModuleList(nn.LayerNorm(w) for _ in range(3)), nn.Linear(w, 1)
        self.grids = nn.ModuleList(nn.Conv2d(w, w, k, padding=k // 2, groups=w) for k in (7, 5, 3))

    def loss(self, x, places):
        h = self.fc(x[None]).relu()
        n = h.shape[1]
        side = math.isqrt(n - 1) + 1
        t = torch.cat([self.token, h, h[:, : side * side - n]], 1)
        t = t + self.first(self.norms[0](t))
        g = t[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        g = g + sum(conv(g) for conv in self.grids)
        t = torch.cat([t[:, :1], g.flatten(2).transpose(1, 2)], 1)
        t = t + self.second(self.norms[1](t))
        logit = self.head(self.norms[2](t)[:, 0])
        return F.binary_cross_entropy_with_logits(logit, torch.ones(1, 1))

    def optimiser(self):
        return torch.optim.RAdam(self.parameters(), 2e-4, weight_decay=1e-5)


class DasMil(nn.Module):
    def __init__(self, d, width=32, key=10, value=32):
        super().__init__()
        self.embed, self.head = nn.Linear(d, width), nn.Linear(value, 1)
        self.q, self.k, self.v = (nn.Linear(width, o, bias=False) for o in (key, key, value))
        self.far, self.near = (nn.ParameterList(torch.randn(o) for o in (key, key, value)) for _ in range(2))
        self.beta, self.theta = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(0.5))

    def loss(self, x, places):
        h = self.embed(x).relu()
        q, k, v = self.q(h), self.k(h), self.v(h)
        far = torch.sigmoid(self.beta * (torch.cdist(places, places) / (256 * math.sqrt(2)) - self.theta))
        off = 1 - torch.eye(len(x))
        far, near = far * off, (1 - far) * off
        e = q @ k.T + far * ((q @ self.far[1])[:, None] + k @ self.far[0])
        e = (e + near * ((q @ self.near[1])[:, None] + k @ self.near[0])) / math.sqrt(h.shape[1])
        a = F.dropout(e.softmax(1), 0.1)
        o = a @ v + (a * far).sum(1, keepdim=True) * self.far[2] + (a * near).sum(1, keepdim=True) * self.near[2]
        return F.binary_cross_entropy_with_logits(self.head(o.amax(0)), torch.ones(1))

    def optimiser(self):
        return torch.optim.AdamW(self.parameters(), 1e-3, weight_decay=0.01)


class Gated(nn.Module):
    """Attention before its softmax."""

    def __init__(self, d, hidden, dropout=0.0, gated=True):
        super().__init__()
        self.v, self.u, self.w = nn.Linear(d, hidden), nn.Linear(d, hidden) if gated else None, nn.Linear(hidden, 1)
        self.rate = dropout

    def forward(self, h):
        a = F.dropout(self.v(h).tanh(), self.rate)
        if self.u is not None:
            a = a * F.dropout(self.u(h).sigmoid(), self.rate)
        return self.w(a)


class Clam(nn.Module):
    """One branch, both losses cross-entropy, for a bag of class 1."""

    def __init__(self, d, k=8):
        super().__init__()
        self.fc, self.attention, self.head = nn.Linear(d, 512), Gated(512, 256, 0.25), nn.Linear(512, 2)
        self.instances, self.k = nn.ModuleList(nn.Linear(512, 2) for _ in range(2)), k

    def loss(self, x, places):
        h = F.dropout(self.fc(x).relu(), 0.25)
        e = self.attention(h)
        logits = self.head(e.softmax(0).T @ h)
        ends = torch.cat([e[:, 0].topk(self.k).indices, (-e[:, 0]).topk(self.k).indices])
        wanted = torch.cat([torch.ones(self.k), torch.zeros(self.k)]).long()
        of_instances = F.cross_entropy(self.instances[1](h[ends]), wanted)
        return 0.7 * F.cross_entropy(logits, torch.tensor([1])) + 0.3 * of_instances

    def optimiser(self):
        return torch.optim.Adam(self.parameters(), 1e-4, weight_decay=1e-5)


class Dtfd(nn.Module):
    """Features of pseudo-bags are distilled, with one logit; gradients of four parts are clipped."""

    def __init__(self, d, parts=4):
        super().__init__()
        self.reduce, self.parts = nn.Linear(d, 512, bias=False), parts
        self.first, self.head1 = Gated(512, 128), nn.Linear(512, 1)
        self.second, self.head2 = Gated(512, 128), nn.Linear(512, 1)

    def loss(self, x, places):
        r, losses, features = self.reduce(x).relu(), [], []
        for part in torch.randperm(len(x)).chunk(self.parts):
            h = r[part]
            features.append(self.first(h).softmax(0).T @ h)
            losses.append(F.binary_cross_entropy_with_logits(self.head1(features[-1]), torch.ones(1, 1)))
        h = torch.cat(features).detach()
        logit = self.head2(self.second(h).softmax(0).T @ h)
        return F.binary_cross_entropy_with_logits(logit, torch.ones(1, 1)) + torch.stack(losses).mean()

    def optimiser(self):
        return torch.optim.Adam(self.parameters(), 1e-4, weight_decay=1e-4)

    def clip(self):
        for part in [[self.reduce], [self.first], [self.head1], [self.second, self.head2]]:
            nn.utils.clip_grad_norm_([p for module in part for p in module.parameters()], 5.0)


class Transformer(nn.Module):
    """One layer; the features are as wide as it is."""

    def __init__(self, d, heads=8):
        super().__init__()
        self.norms, self.qkv = nn.ModuleList(nn.LayerNorm(d) for _ in range(3)), nn.Linear(d, 3 * d, bias=False)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.v, self.w, self.head, self.heads = nn.Linear(d, 128), nn.Linear(128, 1, bias=False), nn.Linear(d, 1), heads

    def loss(self, x, places):
        q, k, v = (t.unflatten(1, (self.heads, -1)).transpose(0, 1) for t in self.qkv(self.norms[0](x)).chunk(3, -1))
        if hasattr(F, "scaled_dot_product_attention"):
            o = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        else:
            o = (q @ k.transpose(1, 2) / math.sqrt(q.shape[2])).softmax(2) @ v
        z = x + o.transpose(0, 1).flatten(1)
        h = self.norms[2](z + self.mlp(self.norms[1](z)) + x)
        logit = self.head(self.w(self.v(h).tanh()).softmax(0).T @ h)
        return F.binary_cross_entropy_with_logits(logit, torch.ones(1, 1))

    def optimiser(self):
        return torch.optim.Adam(self.parameters(), 5e-5)


class SaAbmilp(nn.Module):
    """The energy is the inner product."""

    def __init__(self, d, width=512):
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(i, width) for i in (d, width))
        self.q, self.k, self.v = (nn.Linear(width, o) for o in (width // 8, width // 8, width))
        self.gamma, self.attention, self.head = nn.Parameter(torch.zeros(1)), Gated(width, 128, gated=False), nn.Linear(width, 1)

    def loss(self, x, places):
        h = x
        for layer in self.embed:
            h = F.dropout(layer(h).relu(), 0.2)
        h = h + self.gamma * ((self.q(h) @ self.k(h).T).softmax(1) @ self.v(h))
        p = self.head(self.attention(h).softmax(0).T @ h).sigmoid().clamp(1e-5, 1 - 1e-5)
        return -p.log().sum()

    def optimiser(self):
        return torch.optim.Adam(self.parameters(), 1e-5, weight_decay=1e-4)


class Dense(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(i, o) for i, o in [(d, 256), (256, 128), (128, 64)])

    def rows(self, h):
        for layer in self.embed:
            h = layer(h).relu()
        return F.dropout(h, 0.5)

    def optimiser(self):
        return torch.optim.Adam(self.parameters(), 1e-4, weight_decay=5e-4)


class LossAttention(Dense):
    def __init__(self, d):
        super().__init__(d)
        self.head = nn.Linear(64, 2)

    def loss(self, x, places):
        z = self.head(self.rows(x))
        a = z.logsumexp(1).softmax(0)
        label = torch.ones(len(x), dtype=torch.long)
        bag = F.cross_entropy((a[:, None] * z).sum(0, keepdim=True), label[:1])
        return bag + 0.1 * (a * F.cross_entropy(z, label, reduction="none")).sum()


class DpMinn(Dense):
    """Three rounds of routing to one capsule."""

    def loss(self, x, places):
        f = self.rows(x)
        b = torch.zeros(len(f))
        for _ in range(3):
            s = b.softmax(0) @ f
            n = s.norm()
            v = n / (1 + n * n) * s
            b = b + f @ v
        return F.relu(0.9 - v.norm()) ** 2


MODELS = {"dsmil": Dsmil, "transmil": Transmil, "das-mil": DasMil, "clam-sb": Clam, "dtfd": Dtfd,
          "transformer": Transformer, "sa-abmilp": SaAbmilp, "loss-attention": LossAttention, "dp-minn": DpMinn}


def torch_step(method, n, d):
    torch.manual_seed(0)
    x, places = torch.randn(n, d), torch.rand(n, 2) * 256
    net = MODELS[method](d)
    optimiser = net.optimiser()

    def step():
        optimiser.zero_grad()
        loss = net.loss(x, places)
        loss.backward()
        if hasattr(net, "clip"):
            net.clip()
        optimiser.step()
        return loss.item()

    return step


def timed(step, seconds):
    step()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        step()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="'METHOD N,D'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of PyTorch in each round, at least three steps")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bagrad", default="target/release/bagrad")
    parser.add_argument("--device", default="host")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)
    rows = []
    for case in args.cases:
        method, shape = case.split()
        n, d = map(int, shape.split(","))
        step, ours, theirs = torch_step(method, n, d), [], []
        for _ in range(args.rounds):
            theirs.append(timed(step, args.seconds))
            repeats = max(3, min(50, int(args.seconds * 1e3 / theirs[-1])))
            ours_now = beside.time_bagrad([args.bagrad], shape, args.device, repeats, more=["--method", method])
            ours.append(ours_now["median_us"] / 1e3)
        row = {"step": case, "pytorch_ms": statistics.median(theirs), "bagrad_ms": statistics.median(ours)}
        row["ratio"] = row["pytorch_ms"] / row["bagrad_ms"]
        rows.append(row)
        print("{step:22} PyTorch {pytorch_ms:9.2f} ms   bagrad {bagrad_ms:9.2f} ms   {ratio:5.2f} x".format(**row), flush=True)
    about = {**beside.machine(), "threads": args.threads, "torch": torch.__version__}
    about["python"] = sys.version.split()[0]
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"machine": about, "rounds": args.rounds, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
