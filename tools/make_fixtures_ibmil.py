#!/usr/bin/env python3
"""Write the reference results of IBMIL that the tests compare bagrad with.

The format, the precision and the way random cases are drawn are those of make_fixtures.py. The networks are the twins of
the other scripts, with one thing between them and their last layer: the features of a bag beside their context. Our own
code, in plain PyTorch and float64. The dictionary is drawn at random: what K-means makes of a first training is tested by
itself.

    .venv/bin/python tools/make_fixtures_ibmil.py --out tests/fixtures
"""

import json
import zlib

import numpy as np
import torch

import make_fixtures as base
import make_fixtures_dtfd as double
import make_fixtures_mhim as masked
import make_fixtures_transmil as transformer

# The last layer of each network, and what names of parameters of its part begin with.
LAST = {"head": "", "tier2.head": "tier2."}
plain_layer = base.layer
shares = []


def layer(params, name, x):
    """A layer; the last one sees the features beside their context."""
    prefix = LAST.get(name)
    if prefix is None or prefix + "context.dictionary" not in params:
        return plain_layer(params, name, x)
    dictionary = params[prefix + "context.dictionary"]
    z = x.reshape(-1, dictionary.shape[1])
    keys = plain_layer(params, prefix + "context.key", dictionary)
    queries = plain_layer(params, prefix + "context.query", z)
    alpha = (queries @ keys.T / keys.shape[1] ** 0.5).softmax(1)
    context = alpha @ dictionary
    shares.append(alpha.flatten())
    combine = {"cat": lambda: torch.cat([z, context], 1), "add": lambda: z + context, "sub": lambda: z - context}
    return plain_layer(params, name, combine[spec_now["combine"]]().flatten())


spec_now = {}


def streams(spec, params, x, label, kinks):
    z, loss, s, *_ = masked.dsmil(spec, params, x, label, kinks)
    return z, loss, {"scores": s}


TWINS = {"attention": base.attention, "gated-attention": base.attention, "dsmil": streams,
         "transmil": transformer.transmil, "dtfd": double.dtfd}


def twin(spec, params, x, label, kinks, step=None):
    """One bag: (logits, loss, instance outputs)."""
    inner = {**spec, "method": spec["base"]}
    spec_now.update(inner)
    shares.clear()
    more = {"step": step} if spec["base"] == "dtfd" else {}
    z, loss, extra = TWINS[spec["base"]](inner, params, x, label, kinks, **more)
    return z, loss, {**extra, "context": shares[-1].unsqueeze(0)}


plain_shapes = base.shapes


def shapes(spec):
    inner = {k: v for k, v in spec.items() if k != "base"} | {"method": spec["base"], "pool": "max"}
    own = {"dsmil": lambda s: masked.shapes({**s, "method": "mhim-dsmil"}), "transmil": transformer.shapes,
           "dtfd": double.shapes}.get(spec["base"], plain_shapes)(inner)
    head = "tier2.head" if spec["base"] == "dtfd" else "head"
    parts = spec["classes"] if spec["base"] == "dsmil" else 1
    out, fan_in = own[head + ".weight"]
    width, prefix = fan_in // parts, LAST[head]
    own[head + ".weight"] = (out, fan_in * (2 if spec["combine"] == "cat" else 1))
    own[prefix + "context.dictionary"] = (spec["clusters"], width)
    for name in ("context.key", "context.query"):
        own[f"{prefix}{name}.weight"], own[f"{prefix}{name}.bias"] = (spec["hidden"], width), (spec["hidden"],)
    return own


def draw(spec, rng):
    params, data = base_draw(spec, rng)
    for name in params:
        if name.endswith("dictionary"):
            params[name] = 2 * torch.from_numpy(rng.standard_normal(params[name].shape)).float()
        if name.endswith("gain"):
            params[name] = params[name] + 1
    if spec.get("repeats"):
        x = data["x"]
        x[1::4], x[2::4] = x[0::4][:len(x[1::4])].clone(), 0
    return params, data


base_draw = base.draw

# The softmax over contexts ignores what all queries have of the keys' bias, and that over instances a shift.
SHIFTS = ("attention.w.bias", "context.key.bias")


def clip(named, opt):
    if "clip" in opt:
        double.clip(named, opt)


def fixture(spec, name):
    """Draw until float32 can follow, and the gradient of every parameter is alive."""
    for attempt in range(3000):
        params, data = draw(spec, np.random.default_rng([zlib.crc32(name.encode()), attempt]))
        p, d = base.widen({k: v.clone() for k, v in params.items()}, data)
        kinks = []
        loss, _ = base.forward(spec, p, d, kinks)
        kinks = [k for k in kinks if k > 0] if spec.get("repeats") else kinks
        if kinks and min(kinks) < 1e-3:
            continue
        loss.backward()
        one = spec["clusters"] == 1
        skip = lambda k: k.endswith(SHIFTS) or one and "context" in k
        if not all(v.grad.abs().max() > 1e-4 for k, v in p.items() if v.requires_grad and not skip(k)):
            continue
        if "optimizer" not in spec:
            tensors = base.forward_fixture(spec, params, data)
            q, e = base.widen({k: v.clone() for k, v in params.items()}, data, torch.float32)
            base.forward(spec, q, e)[0].backward()
            if max(base.relative(v.grad, p[k].grad) for k, v in q.items()
                   if v.requires_grad and not skip(k)) < 3e-6:
                return tensors
            continue
        tensors = base.train_fixture(spec, {k: v.clone() for k, v in params.items()}, data)
        losses, final = base.train(spec, {k: v.clone() for k, v in params.items()}, data, torch.float32)
        errors = [base.relative(v.detach(), tensors[f"final/{k}"].detach())
                  for k, v in final.items() if not k.endswith(SHIFTS)]
        if max(errors + [base.relative(losses, tensors["losses"])]) < 2e-5:
            return tensors
    raise SystemExit(f"{name}: no well-posed draw")


BASES = {"attention": ["embed", "attention", "heads"], "gated-attention": ["embed", "attention", "heads"],
         "dsmil": ["variant", "embed", "query", "value_layer"],
         "transmil": ["width", "heads", "landmarks", "iterations", "residual"],
         "dtfd": ["reduce", "attention", "gated", "pseudo_bags", "distil", "instances", "first_tier", "clip"]}


def metadata(spec):
    settings = {"method": spec["base"], **{k: spec[k] for k in BASES[spec["base"]] if k in spec}}
    if spec["base"] != "dtfd":
        settings["dropout"] = 0.0
    settings = {"base": settings, **{k: spec[k] for k in ["clusters", "hidden", "combine"]}}
    out = {"kind": "train" if "optimizer" in spec else "forward", "method": "ibmil", "classes": str(spec["classes"]),
           "settings": json.dumps(settings), "generator": "tools/make_fixtures_ibmil.py"}
    if "optimizer" in spec:
        out["optimizer"] = json.dumps(spec["optimizer"])
    return out


def catalogue():
    """{file name: spec}."""
    small = {"method": "ibmil", "inputs": 7, "sizes": base.SIZES, "paper": False, "classes": 1, "clusters": 4,
             "hidden": 3, "combine": "cat"}
    bases = {
        "attention": {"base": "attention", "embed": [], "attention": 3},
        "gated": {"base": "gated-attention", "embed": [6], "attention": 3, "heads": 2},
        "dsmil": {"base": "dsmil", "variant": "h", "embed": [6], "query": 4, "value_layer": True},
        "transmil": {"base": "transmil", "width": 6, "heads": 3, "landmarks": 4, "iterations": 6, "residual": 5},
        "dtfd": {"base": "dtfd", "reduce": 6, "attention": 3, "gated": True, "pseudo_bags": 4, "distil": "afs",
                 "instances": 1, "first_tier": 1.0, "sizes": [9, 1, 11, 3, 17]},
    }
    specs = {}
    for name, own in bases.items():
        for task, c in {"binary": 1, "multi": 3}.items():
            specs[f"ibmil-{name}-{task}"] = {**small, **own, "classes": c}
    specs["ibmil-add"] = {**small, **bases["attention"], "combine": "add", "embed": [5]}
    specs["ibmil-sub-dsmil"] = {**small, **bases["dsmil"], "combine": "sub", "classes": 3}
    specs["ibmil-one-context"] = {**small, **bases["attention"], "clusters": 1}
    specs["ibmil-repeats"] = {**small, **bases["attention"], "repeats": True, "sizes": [9, 1, 6, 4]}
    adam = {"name": "adam", "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4}
    specs["train-ibmil-attention-adam"] = {**small, **bases["attention"], "optimizer": adam}
    specs["train-ibmil-dtfd-adam"] = {**small, **bases["dtfd"], "clip": 0.1, "optimizer": {**adam, "clip": 0.1}}
    return specs


def main():
    args = base.arguments(__doc__)
    base.layer, base.places, base.shapes, base.clip = layer, double.steps, shapes, clip
    base.TWINS["ibmil"] = twin
    base.FROZEN = ("context.dictionary", "tier2.context.dictionary")
    for name, spec in catalogue().items():
        tensors = fixture(spec, name)
        if spec["clusters"] == 1:
            # One context has all of the share whatever the weights, which get no gradient.
            assert all(float(tensors[k].abs().max()) < 1e-12 for k in tensors if k.startswith("grad/context"))
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        path = args.out / f"{name}.safetensors"
        base.save(path, tensors, metadata(spec))
        print(f"{path.stat().st_size:8} {path.name}", flush=True)


if __name__ == "__main__":
    main()
