#!/usr/bin/env python3
"""Write the reference values that the tests compare bagrad's DeLong intervals and tests with.

    python -m venv .venv && .venv/bin/pip install numpy
    .venv/bin/python tools/make_fixtures_delong.py

Written from the definition of DeLong, DeLong and Clarke-Pearson (1988), every pair of a positive and a negative bag by itself in
float64, and not from the way by mid-ranks that bagrad takes. Two scores `a` and `b` of the same bags; `found` is null where one
class alone occurs, and what needs two bags of a class is null where it has one.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

QUANTILE = 1.959963984540054


def components(scores, labels):
    x, y = scores[labels == 1], scores[labels == 0]
    psi = (x[:, None] > y[None, :]).astype(float) + 0.5 * (x[:, None] == y[None, :])
    return psi.mean(1), psi.mean(0)


def covariance(a, b):
    """Of the two AUCs: that of the components over the positive bags, and over the negative ones."""
    if any(len(part) < 2 for part in a):
        return None
    return sum(np.cov(p, q, ddof=1)[0, 1] / len(p) for p, q in zip(a, b))


def measure(a, b, labels):
    if len(set(labels.tolist())) < 2:
        return None
    a, b = components(a, labels), components(b, labels)
    auc, other = a[0].mean(), b[0].mean()
    found = {"auc": auc}
    names = ["difference", "variance", "low", "high", "difference_low", "difference_high", "p", "mean_variance"]
    found.update({name: None for name in names})
    variance = covariance(a, a)
    if variance is None:
        return found
    both, second = covariance(a, b), covariance(b, b)
    width = QUANTILE * math.sqrt(max(variance, 0))
    apart = math.sqrt(max(variance + second - 2 * both, 0))
    z = abs(auc - other) / apart if apart > 1e-12 else (0 if abs(auc - other) < 1e-12 else math.inf)
    found.update({
        "difference": auc - other, "variance": variance, "low": max(auc - width, 0), "high": min(auc + width, 1),
        "difference_low": auc - other - QUANTILE * apart, "difference_high": auc - other + QUANTILE * apart,
        "p": math.erfc(z / math.sqrt(2)), "mean_variance": (variance + second + 2 * both) / 4,
    })
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/metrics/delong.json"))
    args = parser.parse_args()
    cases = []
    for seed, (bags, share, levels, gap, shared) in enumerate([
        (40, 0.5, 0, 1.0, 0.5), (40, 0.5, 4, 1.0, 0.5), (200, 0.1, 0, 0.5, 0.9), (15, 0.3, 3, 2.0, 0.0), (30, 1.0, 0, 1.0, 0.5),
        (30, 0.0, 0, 1.0, 0.5), (8, 0.0, 0, 1.0, 0.5), (300, 0.5, 10, 0.3, 0.7), (24, 0.5, 0, 9.0, 0.5), (24, 0.5, 0, 0.0, 1.0),
    ]):
        rng = np.random.default_rng(seed)
        labels = (rng.random(bags) < share).astype(int)
        if seed == 6:
            labels[3] = 1  # one bag of a class
        base = rng.normal(size=bags)
        a, b = (gap * labels + shared * base + (1 - shared) * rng.normal(size=bags) for _ in range(2))
        if levels:
            a, b = (np.round(s * levels) / 4 for s in (a, b))
        a, b = a.astype(np.float32), b.astype(np.float32)
        found = measure(a.astype(float), b.astype(float), labels)
        cases.append({"labels": labels.tolist(), "a": a.tolist(), "b": b.tolist(), "found": found})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"numpy": np.__version__, "cases": cases}) + "\n")
    print(f"{args.out.stat().st_size} bytes, {len(cases)} cases")


if __name__ == "__main__":
    main()
