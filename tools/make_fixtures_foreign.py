#!/usr/bin/env python3
"""Write state dicts with the keys of other people's programs, and what their models say of bags.

The modules are ours, with the authors' key names and formulas and small widths; none of their code is used. Weights are
saved in float32, outputs are computed from these in float64. Of each model there is NAME.pt or NAME.safetensors with its
weights and NAME.out.safetensors with bags (`x`, `offsets`) and outputs: `logits`, `attention` `[instances, columns]`, and of
DSMIL the `mean` of both streams' logits.

    python3 tools/make_fixtures_foreign.py --out tests/foreign/fixtures
"""

import argparse
import math
import pathlib
from collections import OrderedDict

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import conv1d, relu

SIZES = [7, 1, 12]


class Gated(nn.Module):
    """`attention_a`, `attention_b`, `attention_c`."""

    def __init__(self, inputs, hidden, columns, dropout):
        super().__init__()
        more = [nn.Dropout(0.25)] if dropout else []
        self.attention_a = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), *more)
        self.attention_b = nn.Sequential(nn.Linear(inputs, hidden), nn.Sigmoid(), *more)
        self.attention_c = nn.Linear(hidden, columns)

    def forward(self, h):
        return self.attention_c(self.attention_a(h) * self.attention_b(h))


class Plain(nn.Module):
    """`module.0` and `module.3`, without dropout `module.2`."""

    def __init__(self, inputs, hidden, columns, dropout):
        super().__init__()
        more = [nn.Dropout(0.25)] if dropout else []
        self.module = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), *more, nn.Linear(hidden, columns))

    def forward(self, h):
        return self.module(h)


class Wrapped(nn.Module):
    """What `DataParallel` does to keys."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


class Both(nn.Sequential):
    """What comes in front of the last layer, and that of it."""

    def forward(self, x):
        for layer in self[:-1]:
            x = layer(x)
        return x, self[-1](x)


class Clam(nn.Module):
    def __init__(self, width, embed, hidden, classes, multi=False, gated=True, dropout=True, wrapped=False, svm=False):
        super().__init__()
        more = [nn.Dropout(0.25)] if dropout else []
        kind = Gated if gated else Plain
        attention = kind(embed, hidden, classes if multi else 1, dropout)
        net = Both(nn.Linear(width, embed), nn.ReLU(), *more, attention)
        self.attention_net = Wrapped(net) if wrapped else net
        heads = nn.ModuleList(nn.Linear(embed, 1) for _ in range(classes))
        self.classifiers = heads if multi else nn.Linear(embed, classes)
        self.instance_classifiers = nn.ModuleList(nn.Linear(embed, 2) for _ in range(classes))
        if svm:
            self.instance_loss_fn = nn.Module()
            self.instance_loss_fn.register_buffer("labels", torch.arange(2))

    def forward(self, x):
        h, e = self.attention_net(x)
        a = e.softmax(0)
        z = a.T @ h
        if isinstance(self.classifiers, nn.ModuleList):
            logits = torch.cat([head(row) for head, row in zip(self.classifiers, z)])
        else:
            logits = self.classifiers(z)[0]
        return logits, a


class Dsmil(nn.Module):
    """`variant`: p (linear queries and values), h (two layers of queries), l (linear queries, features as values), lin (a layer
    in front of both)."""

    def __init__(self, width, query, outputs, variant, value=False):
        super().__init__()
        self.i_classifier, self.b_classifier = nn.Module(), nn.Module()
        self.i_classifier.fc = nn.Sequential(nn.Linear(width, outputs))
        b = self.b_classifier
        b.q = nn.Linear(width, query)
        if variant == "h":
            b.q = nn.Sequential(nn.Linear(width, query), nn.ReLU(), nn.Linear(query, query), nn.Tanh())
        if variant == "lin":
            b.lin = nn.Sequential(nn.Linear(width, width), nn.ReLU())
            b.q = nn.Sequential(nn.Linear(width, query), nn.Tanh())
        if variant in ["p", "lin"]:
            b.v = nn.Sequential(nn.Dropout(0.0), nn.Linear(width, width))
        elif value:
            b.v = nn.Sequential(nn.Dropout(0.0), nn.Linear(width, width), nn.ReLU())
        b.fcc = nn.Conv1d(outputs, outputs, kernel_size=width)

    def forward(self, x):
        b = self.b_classifier
        scores = self.i_classifier.fc(x)
        x = b.lin(x) if hasattr(b, "lin") else x
        q = b.q(x)
        v = b.v(x) if hasattr(b, "v") else x
        critical = q[scores.argmax(0)]
        a = (q @ critical.T / math.sqrt(q.shape[1])).softmax(0)
        bag = b.fcc((a.T @ v).unsqueeze(0)).flatten()
        return bag, a, (scores.amax(0) + bag) / 2


class Nystrom(nn.Module):
    """`to_qkv`, `to_out.0`, `res_conv`; landmarks are half of the width."""

    def __init__(self, width, heads, taps):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1))
        self.res_conv = nn.Conv2d(heads, heads, (taps, 1), padding=(taps // 2, 0), groups=heads, bias=False)

    def forward(self, x):
        n, m = len(x), x.shape[1] // 2
        x = torch.cat([torch.zeros(-n % m, x.shape[1], dtype=x.dtype), x])
        q, k, v = (part.unflatten(1, (self.heads, -1)).transpose(0, 1) for part in self.to_qkv(x).chunk(3, 1))
        q = q / q.shape[-1] ** 0.5
        means = lambda t: t.unflatten(1, (m, -1)).mean(2)
        few_q, few_k = means(q), means(k)
        first = (q @ few_k.transpose(1, 2)).softmax(-1)
        middle = (few_q @ few_k.transpose(1, 2)).softmax(-1)
        last = (few_q @ k.transpose(1, 2)).softmax(-1)
        z = middle.transpose(1, 2) / (middle.abs().sum(-1).max() * middle.abs().sum(-2).max())
        eye = torch.eye(m, dtype=x.dtype)
        for _ in range(6):
            y = middle @ z
            z = 0.25 * z @ (13 * eye - y @ (15 * eye - y @ (7 * eye - y)))
        out = (first @ z) @ (last @ v)
        taps = self.res_conv.weight
        convolved = conv1d(v.permute(2, 0, 1), taps.flatten(1).unsqueeze(1), padding=taps.shape[2] // 2, groups=self.heads)
        out = out + convolved.permute(1, 2, 0)
        return self.to_out(out.transpose(0, 1).flatten(1))[-n:]


class Layer(nn.Module):
    def __init__(self, width, heads, taps):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attn = Nystrom(width, heads, taps)

    def forward(self, x):
        return x + self.attn(self.norm(x))


class Positions(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj, self.proj1, self.proj2 = (nn.Conv2d(width, width, s, 1, s // 2, groups=width) for s in (7, 5, 3))

    def forward(self, t):
        side = math.isqrt(len(t) - 1)
        image = t[1:].T.unflatten(1, (side, side)).unsqueeze(0)
        image = image + self.proj(image) + self.proj1(image) + self.proj2(image)
        return torch.cat([t[:1], image[0].flatten(1).T])


class TransMil(nn.Module):
    def __init__(self, features, width, heads, taps, classes):
        super().__init__()
        self.pos_layer = Positions(width)
        self._fc1 = nn.Sequential(nn.Linear(features, width), nn.ReLU())
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.layer1, self.layer2 = Layer(width, heads, taps), Layer(width, heads, taps)
        self.norm = nn.LayerNorm(width)
        self._fc2 = nn.Linear(width, classes)

    def forward(self, x):
        h = self._fc1(x)
        side = math.isqrt(len(h) - 1) + 1
        t = torch.cat([self.cls_token[0], h, h[:side * side - len(h)]])
        t = self.layer2(self.pos_layer(self.layer1(t)))
        return self._fc2(self.norm(t)[0]), None


class MilLab(nn.Module):
    def __init__(self, width, embed, layers, hidden, heads, classes, gated=True):
        super().__init__()
        parts, inputs = [], width
        for at in range(layers):
            parts += [nn.Linear(inputs, embed), nn.ReLU()] + ([nn.Dropout(0.25)] if at + 1 < layers else [])
            inputs = embed
        self.patch_embed = nn.Sequential(*parts)
        self.global_attn = (Gated if gated else Plain)(embed, hidden, heads, True)
        self.classifier = nn.Linear(embed * heads, classes)

    def forward(self, x):
        h = self.patch_embed(x)
        a = self.global_attn(h).softmax(0)
        return self.classifier((a.T @ h).flatten()), a


class MilLabClam(MilLab):
    def __init__(self, width, embed, layers, hidden, classes, gated=True, svm=False):
        super().__init__(width, embed, layers, hidden, 1, classes, gated)
        self.instance_classifiers = nn.ModuleList(nn.Linear(embed, 2) for _ in range(classes))
        if svm:
            self.instance_loss_fn = nn.Module()
            self.instance_loss_fn.register_buffer("labels", torch.arange(2))


class MilLabLayer(nn.Module):
    def __init__(self, width, heads, taps):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Nystrom(width, heads, taps)

    def forward(self, x):
        return x + self.attention(self.norm(x))


class MilLabTransMil(nn.Module):
    def __init__(self, features, width, heads, taps, classes):
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Dropout(0.25))
        self.pos_layer = Positions(width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(MilLabLayer(width, heads, taps) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        h = self.patch_embed(x)
        side = math.isqrt(len(h) - 1) + 1
        t = torch.cat([self.cls_token[0], h, h[:side * side - len(h)]])
        t = self.blocks[1](self.pos_layer(self.blocks[0](t)))
        return self.classifier(self.norm(t)[0]), None


class ClamMil(nn.Module):
    """Of CLAM's baseline, as it was (`classifier.0`, `.3`) and as it is (`fc.0`, `classifier`)."""

    def __init__(self, width, embed, old):
        super().__init__()
        front = [nn.Linear(width, embed), nn.ReLU(), nn.Dropout(0.25)]
        if old:
            self.classifier = nn.Sequential(*front, nn.Linear(embed, 2))
        else:
            self.fc, self.classifier = nn.Sequential(*front), nn.Linear(embed, 2)

    def forward(self, x):
        logits = self.classifier(self.fc(x) if hasattr(self, "fc") else x)
        return logits[logits.softmax(1)[:, 1].argmax()], None


class Porpoise(nn.Module):
    def __init__(self, width, embed, hidden, outputs):
        super().__init__()
        self.attention_net = Both(nn.Linear(width, embed), nn.ReLU(), nn.Dropout(0.25), Gated(embed, hidden, 1, True))
        self.classifier = nn.Linear(embed, outputs)

    def forward(self, x):
        h, e = self.attention_net(x)
        a = e.softmax(0)
        return self.classifier((a.T @ h)[0]), a


class DtfdAttention(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.attention_V = nn.Sequential(nn.Linear(width, hidden), nn.Tanh())
        self.attention_U = nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid())
        self.attention_weights = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.attention_weights(self.attention_V(x) * self.attention_U(x)).softmax(0).T @ x


class DtfdClassifier(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.fc = nn.Linear(width, classes)


class Dtfd(nn.Module):
    """Four modules; pseudo-bags are dealt out in turn, and their features are distilled."""

    def __init__(self, features, width, hidden, classes, parts=4):
        super().__init__()
        self.parts = parts
        self.dim_reduction, self.att_classifier = nn.Module(), nn.Module()
        self.dim_reduction.fc1 = nn.Linear(features, width, bias=False)
        self.attention = DtfdAttention(width, hidden)
        self.classifier = DtfdClassifier(width, classes)
        self.att_classifier.attention = DtfdAttention(width, hidden)
        self.att_classifier.classifier = DtfdClassifier(width, classes)

    def forward(self, x):
        r = relu(self.dim_reduction.fc1(x))
        distilled = torch.cat([self.attention(r[part::self.parts]) for part in range(min(self.parts, len(r)))])
        return self.att_classifier.classifier.fc(self.att_classifier.attention(distilled))[0], None


class Within(nn.Module):
    """A layer that is called `module` in what wraps it."""

    def __init__(self, *sizes):
        super().__init__()
        self.module = nn.Linear(*sizes)

    def forward(self, x):
        return self.module(x)


class TransformerLayer(nn.Module):
    def __init__(self, inputs, width, outputs, heads, mlp):
        super().__init__()
        self.heads, self.att_module = heads, nn.Module()
        self.att_module.qkv_nn = nn.Linear(inputs, 3 * width, bias=False)
        self.norm1 = nn.LayerNorm(inputs)
        if inputs != width:
            self.att_proj = nn.Linear(inputs, width)
        if mlp:
            self.norm2 = nn.LayerNorm(width)
            self.mlp_module = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.0),
                                            nn.Linear(4 * width, width), nn.Dropout(0.0))
        if outputs != width:
            self.out_proj = nn.Linear(width, outputs)

    def forward(self, y):
        parts = self.att_module.qkv_nn(self.norm1(y)).chunk(3, 1)
        q, k, v = (part.unflatten(1, (self.heads, -1)).transpose(0, 1) for part in parts)
        attended = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v
        z = (self.att_proj(y) if hasattr(self, "att_proj") else y) + attended.transpose(0, 1).flatten(1)
        if hasattr(self, "mlp_module"):
            z = z + self.mlp_module(self.norm2(z))
        return self.out_proj(z) if hasattr(self, "out_proj") else z


class TransformerAbmil(nn.Module):
    def __init__(self, features, width, layers, heads, hidden, outputs, gated=False, mlp=True, add_self=True):
        super().__init__()
        self.add_self = add_self
        self.transformer_encoder, self.pool = nn.Module(), nn.Module()
        self.transformer_encoder.layers = nn.ModuleList(
            TransformerLayer(features if at == 0 else width, width, features if at + 1 == layers else width, heads, mlp)
            for at in range(layers))
        self.transformer_encoder.norm = nn.LayerNorm(features)
        self.pool.fc1, self.pool.fc2 = Within(features, hidden), nn.Linear(hidden, 1, bias=False)
        if gated:
            self.pool.fc_gated = Within(features, hidden)
        self.last_layer = nn.Linear(features, outputs)

    def forward(self, x):
        y = x
        for layer in self.transformer_encoder.layers:
            y = layer(y) + (x if self.add_self else 0)
        h = self.transformer_encoder.norm(y)
        u = self.pool.fc1(h).tanh()
        if hasattr(self.pool, "fc_gated"):
            u = u * self.pool.fc_gated(h).sigmoid()
        a = self.pool.fc2(u).softmax(0)
        return self.last_layer((a.T @ h)[0]), a


class Ilse(nn.Module):
    """LeNet, attention, a sigmoid (the logit is given out)."""

    def __init__(self, left, hidden, gated, last="attention_w"):
        super().__init__()
        pool = nn.MaxPool2d(2, stride=2)
        self.feature_extractor_part1 = nn.Sequential(nn.Conv2d(1, 20, 5), nn.ReLU(), pool, nn.Conv2d(20, 50, 5), nn.ReLU(),
                                                     pool)
        self.feature_extractor_part2 = nn.Sequential(nn.Linear(50 * left * left, 500), nn.ReLU())
        self.side, self.gated, self.last = 4 * left + 12, gated, last
        if gated:
            self.attention_V = nn.Sequential(nn.Linear(500, hidden), nn.Tanh())
            self.attention_U = nn.Sequential(nn.Linear(500, hidden), nn.Sigmoid())
            setattr(self, last, nn.Linear(hidden, 1))
        else:
            self.attention = nn.Sequential(nn.Linear(500, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.classifier = nn.Sequential(nn.Linear(500, 1), nn.Sigmoid())

    def forward(self, x):
        h = self.feature_extractor_part1(x.unflatten(1, (1, self.side, self.side))).flatten(1)
        h = self.feature_extractor_part2(h)
        e = getattr(self, self.last)(self.attention_V(h) * self.attention_U(h)) if self.gated else self.attention(h)
        a = e.softmax(0)
        return self.classifier[0](a.T @ h)[0], a


def by_formula(module):
    """Weights that a test can make for itself, for a model too large to be kept: of a multiplier on the index."""
    for number, (_, value) in enumerate(sorted(module.state_dict().items())):
        index = torch.arange(value.numel(), dtype=torch.int64)
        drawn = ((index + 1000 * (number + 1)) * 40503 % 65536).to(torch.float64) / 65536 - 0.5
        scale = 2 / math.sqrt(max(value[0].numel() if value.dim() > 1 else 1, 4))
        value.copy_((drawn * scale).reshape(value.shape))


def bags(width, generator, scale=1.0):
    x = torch.randn(sum(SIZES), width, generator=generator) * scale
    return x.to(torch.float32)


def outputs(module, x):
    """In float64, of the weights as float32 has them."""
    module = module.to(torch.float32).to(torch.float64).eval()
    logits, attention, mean = [], [], []
    for bag in x.to(torch.float64).split(SIZES):
        z, a, *both = module(bag)
        logits.append(z)
        attention.append(a)
        mean += both
    offsets = torch.tensor([0, *torch.tensor(SIZES).cumsum(0).tolist()])
    found = {"x": x, "offsets": offsets, "logits": torch.stack(logits).to(torch.float64)}
    if attention[0] is not None:
        found["attention"] = torch.cat(attention).to(torch.float64)
    if mean:
        found["mean"] = torch.stack(mean).to(torch.float64)
    module.to(torch.float32)
    return {key: value.detach().contiguous() for key, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(20)
    generator = torch.Generator().manual_seed(21)
    plain = lambda state: state
    under = lambda prefix: lambda state: OrderedDict((prefix + key, value) for key, value in state.items())
    # What Lightning keeps beside the weights, with objects that are not read.
    lightning = lambda state: {
        "epoch": 3, "global_step": 30, "pytorch-lightning_version": "1.2.3", "state_dict": under("model.")(state),
        "callbacks": {}, "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}],
        "hyper_parameters": {"args": argparse.Namespace(lr=0.1)},
    }
    trained = lambda state: {"epoch": 7, "model_state_dict": state, "loss": 0.5}

    def apart(state):
        """A dict for each part, as DTFD-MIL saves them."""
        parts = OrderedDict()
        for key, value in state.items():
            part, rest = key.split(".", 1)
            parts.setdefault(part, OrderedDict())[rest] = value
        return dict(parts)

    cases = {
        # name: (module, width, what is saved, how)
        "clam-sb": (Clam(9, 6, 5, 2), 9, plain, "pt"),
        "clam-sb-no-dropout": (Clam(9, 6, 5, 3, dropout=False), 9, plain, "pt"),
        "clam-sb-plain": (Clam(9, 6, 5, 2, gated=False), 9, plain, "safetensors"),
        "clam-sb-plain-no-dropout": (Clam(9, 6, 5, 2, gated=False, dropout=False), 9, plain, "safetensors"),
        "clam-mb": (Clam(9, 6, 5, 3, multi=True), 9, plain, "safetensors"),
        "clam-mb-old": (Clam(9, 6, 5, 2, multi=True, wrapped=True, svm=True), 9, plain, "legacy"),
        "clam-mb-plain": (Clam(9, 6, 5, 2, multi=True, gated=False, wrapped=True), 9, plain, "safetensors"),
        "dsmil-h": (Dsmil(8, 5, 1, "h"), 8, plain, "pt"),
        "dsmil-h-value": (Dsmil(8, 5, 2, "h", value=True), 8, trained, "pt"),
        "dsmil-h-multi": (Dsmil(8, 5, 3, "h"), 8, under("module."), "safetensors"),
        "dsmil-p": (Dsmil(8, 5, 2, "p"), 8, plain, "safetensors"),
        "dsmil-l": (Dsmil(8, 5, 1, "l"), 8, plain, "safetensors"),
        "dsmil-l-value": (Dsmil(8, 5, 1, "l", value=True), 8, plain, "safetensors"),
        "transmil": (TransMil(7, 8, 2, 5, 2), 7, lightning, "pt"),
        "transmil-multi": (TransMil(7, 12, 4, 33, 3), 7, plain, "safetensors"),
        "mil-lab": (MilLab(9, 6, 1, 5, 1, 2), 9, under("model."), "safetensors"),
        "mil-lab-deep": (MilLab(9, 6, 3, 5, 2, 4), 9, plain, "pt"),
        "mil-lab-plain": (MilLab(9, 6, 2, 5, 1, 3, gated=False), 9, plain, "pt"),
        # Of these the test makes the weights.
        "ilse": (Ilse(1, 6, False), 256, None, None),
        "ilse-gated": (Ilse(1, 6, True), 256, None, None),
        "dsmil-lin": (Dsmil(8, 5, 1, "lin"), 8, plain, "safetensors"),
        "mil-lab-clam": (MilLabClam(9, 6, 2, 5, 2), 9, under("model."), "safetensors"),
        "mil-lab-clam-plain": (MilLabClam(9, 6, 1, 5, 3, gated=False, svm=True), 9, plain, "pt"),
        "mil-lab-transmil": (MilLabTransMil(7, 8, 2, 5, 3), 7, under("model."), "pt"),
        "clam-mil": (ClamMil(9, 6, False), 9, plain, "safetensors"),
        "clam-mil-old": (ClamMil(9, 6, True), 9, plain, "pt"),
        "porpoise": (Porpoise(9, 6, 5, 4), 9, plain, "safetensors"),
        "dtfd": (Dtfd(9, 6, 5, 2), 9, apart, "pt"),
        "dtfd-multi": (Dtfd(9, 6, 5, 3, parts=2), 9, plain, "safetensors"),
        "torchmil": (TransformerAbmil(6, 8, 1, 2, 5, 1), 6, plain, "safetensors"),
        "torchmil-deep": (TransformerAbmil(7, 8, 2, 4, 5, 3, gated=True, mlp=False, add_self=False), 7, plain, "pt"),
    }
    total = 0
    for name, (module, width, wrap, how) in cases.items():
        with torch.no_grad():
            for key, value in module.state_dict().items():
                # Layer norms start at 1 and 0, which would hide them.
                if value.is_floating_point() and value.dim() == 1:
                    value += 0.3 * torch.randn(value.shape, generator=generator)
            if how is None:
                by_formula(module)
            # Few digits, so that pictures take no room; each is exact in float32.
            x = (bags(width, generator) * 8).round() / 8 if how is None else bags(width, generator)
            found = outputs(module, x)
        if how is None:
            found["x"] = found["x"].to(torch.float16)
        paths = [args.out / f"{name}.out.safetensors"]
        save_file(found, paths[0])
        if how == "safetensors":
            paths.append(args.out / f"{name}.safetensors")
            save_file({key: value.clone() for key, value in wrap(module.state_dict()).items()}, paths[1])
        elif how is not None:
            paths.append(args.out / f"{name}.pt")
            torch.save(wrap(module.state_dict()), paths[1], _use_new_zipfile_serialization=how == "pt")
        size = sum(path.stat().st_size for path in paths)
        total += size
        print(f"{size:8} {name}")
    print(f"{total:8} in all")


if __name__ == "__main__":
    main()
