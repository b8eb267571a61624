"""Training runs with RAdam and Lookahead, for tests/fixtures.rs.

The update rules are written out from their equations (RAdam in the form that ships with TransMIL, with a step
size for each group of parameters; Lookahead whose slow copy is made at its first synchronisation). Models,
data and file format are those of make_fixtures.py; gradients are PyTorch's, in float64.

    python tools/make_fixtures_optimisers.py [--out DIR]
"""

import json
import math

import torch

import make_fixtures as base


def radam(params, opt):
    """update(step) of Lookahead around RAdam, over named parameters."""
    b1, b2 = opt["betas"]
    first = {k: torch.zeros_like(p) for k, p in params.items()}
    second = {k: torch.zeros_like(p) for k, p in params.items()}
    slow = {}
    longest = 2 / (1 - b2) - 1

    def factor(name):
        fitting = [f for prefix, f in opt.get("groups", {}).items() if name.startswith(prefix + ".")]
        return fitting[0] if fitting else 1.0

    def update(step):
        t = step + 1
        length = longest - 2 * t * b2**t / (1 - b2**t)
        with torch.no_grad():
            for name, p in params.items():
                rate = opt["lr"] * factor(name)
                m, v, g = first[name], second[name], p.grad
                m.mul_(b1).add_(g, alpha=1 - b1)
                v.mul_(b2).addcmul_(g, g, value=1 - b2)
                if name.endswith("weight"):
                    p -= rate * opt["weight_decay"] * p
                if length >= 5:
                    size = rate / (1 - b1**t) * math.sqrt(
                        (1 - b2**t) * (length - 4) / (longest - 4) * (length - 2) / length
                        * longest / (longest - 2))
                    p -= size * m / (v.sqrt() + opt["eps"])
                else:
                    p -= rate / (1 - b1**t) * m
            if opt.get("every") and t % opt["every"] == 0:
                for name, p in params.items():
                    if name not in slow:
                        slow[name] = p.clone()
                    slow[name] += opt["alpha"] * (p - slow[name])
                    p.copy_(slow[name])

    return update


def train(spec, params, data):
    opt = spec["optimizer"]
    p, d = base.widen(params, data)
    d["x"].requires_grad_(False)
    update = radam(p, opt)
    losses = []
    for step in range(opt["steps"]):
        b = step % len(d["labels"])
        lo, hi = d["offsets"][b:b + 2].tolist()
        bag = {"x": d["x"][lo:hi], "offsets": torch.tensor([0, hi - lo]),
               "labels": d["labels"][b:b + 1], "weights": torch.ones(1)}
        for value in p.values():
            value.grad = None
        loss, _ = base.forward(spec, p, bag)
        loss.backward()
        losses.append(loss.detach())
        update(step)
    return {**data, "weights": torch.ones_like(data["weights"]), "losses": torch.stack(losses),
            **{f"param/{k}": v for k, v in params.items()},
            **{f"final/{k}": v.detach() for k, v in p.items()}}


def catalogue():
    plain = {"classes": 1, "pool": "max", "heads": 1, "sizes": base.SIZES, "paper": False, **base.SMALL}
    opt = {"name": "radam", "steps": 20, "lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8,
           "weight_decay": 0.01}
    ahead = {**opt, "name": "lookahead", "every": 6, "alpha": 0.5, "groups": {"head": 4.0, "embed.0": 0.5}}
    runs = {("gated-attention", "radam"): opt, ("mi-net-bag", "radam"): {**opt, "weight_decay": 0.1},
            ("gated-attention", "radam-lookahead"): ahead}
    return {f"train-{method}-{name}": {**plain, "method": method, "optimizer": o}
            for (method, name), o in runs.items()}


def main():
    args = base.arguments(__doc__)
    for name, spec in catalogue().items():
        # Whether data suits a model does not depend on the rule that trains it.
        params, data = base.well_posed({k: v for k, v in spec.items() if k != "optimizer"}, name)
        tensors = train(spec, params, data)
        assert all(torch.isfinite(t).all() for t in tensors.values()), name
        info = {**base.metadata(spec, "train"), "generator": "tools/make_fixtures_optimisers.py",
                "optimizer": json.dumps(spec["optimizer"])}
        base.save(args.out / f"{name}.safetensors", tensors, info)
        print(name, tensors["losses"][[0, -1]].tolist())


if __name__ == "__main__":
    main()
