#!/usr/bin/env python3
"""Write the reference values that the tests compare bagrad's DeLong and Obuchowski intervals and tests with.

    python -m venv .venv && .venv/bin/pip install numpy
    .venv/bin/python tools/make_fixtures_delong.py

DeLong is written from the definition of DeLong, DeLong and Clarke-Pearson (1988), every pair of a positive and a negative bag by
itself in float64, and not from the way by mid-ranks that bagrad takes. Obuchowski is written from the equations of Obuchowski (1997)
with a loop for every sum: clusters i, their positive bags j and negative bags k. Two scores `a` and `b` of the same bags; `found`
is null where one class alone occurs, and what needs two bags (two clusters) of a class is null where it has one.

Before it writes, the script checks the equations by themselves: that they are DeLong's with one bag a cluster, and that over
simulated samples of clustered bags the mean of the variance they give is the variance of the AUCs.
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


def clustered(a, b, labels, groups):
    """The covariance of two AUCs; of one with itself its variance."""
    clusters = sorted(set(groups.tolist()))
    x = [[bag for bag in range(len(labels)) if groups[bag] == of and labels[bag] == 1] for of in clusters]
    y = [[bag for bag in range(len(labels)) if groups[bag] == of and labels[bag] == 0] for of in clusters]
    m, n = sum(len(of) for of in x), sum(len(of) for of in y)
    i10, i01, i = sum(1 for of in x if of), sum(1 for of in y if of), len(clusters)
    if i10 < 2 or i01 < 2:
        return None

    def psi(s, j, k):
        return 1.0 if s[j] > s[k] else 0.5 if s[j] == s[k] else 0.0

    def sums(s):
        v10 = {j: sum(psi(s, j, k) for of in y for k in of) / n for at in x for j in at}
        v01 = {k: sum(psi(s, j, k) for of in x for j in of) / m for at in y for k in at}
        auc = sum(v10.values()) / m
        return [sum(v10[j] for j in at) - len(at) * auc for at in x], [sum(v01[k] for k in at) - len(at) * auc for at in y]

    (a10, a01), (b10, b01) = sums(a), sums(b)
    s10 = i10 / ((i10 - 1) * m) * sum(a10[c] * b10[c] for c in range(i) if x[c])
    s01 = i01 / ((i01 - 1) * n) * sum(a01[c] * b01[c] for c in range(i) if y[c])
    s11 = i / (i - 1) * sum(a10[c] * b01[c] for c in range(i))
    other = i / (i - 1) * sum(b10[c] * a01[c] for c in range(i))
    return s10 / m + s01 / n + (s11 + other) / (m * n)


def measure(a, b, labels, groups=None):
    if len(set(labels.tolist())) < 2:
        return None
    scores = a, b
    a, b = components(a, labels), components(b, labels)
    auc, other = a[0].mean(), b[0].mean()
    found = {"auc": auc}
    names = ["difference", "variance", "low", "high", "difference_low", "difference_high", "p", "mean_variance"]
    found.update({name: None for name in names})
    if groups is None:
        of = lambda p, q: covariance([a, b][p], [a, b][q])
    else:
        of = lambda p, q: clustered(scores[p], scores[q], labels, groups)
    variance = of(0, 0)
    if variance is None:
        return found
    both, second = of(0, 1), of(1, 1)
    width = QUANTILE * math.sqrt(max(variance, 0))
    apart = math.sqrt(max(variance + second - 2 * both, 0))
    z = abs(auc - other) / apart if apart > 1e-12 else (0 if abs(auc - other) < 1e-12 else math.inf)
    found.update({
        "difference": auc - other, "variance": variance, "low": max(auc - width, 0), "high": min(auc + width, 1),
        "difference_low": auc - other - QUANTILE * apart, "difference_high": auc - other + QUANTILE * apart,
        "p": math.erfc(z / math.sqrt(2)), "mean_variance": (variance + second + 2 * both) / 4,
    })
    return found


def in_clusters(rng, count, least, most, both, gap, levels):
    """Labels, two scores and clusters: a part of each score is that of the cluster, `both` of them have bags of both classes."""
    sizes = rng.integers(least, most + 1, size=count)
    groups = np.repeat(np.arange(count), sizes)
    of_cluster = rng.random(count) < 0.5
    labels = np.where(rng.random(len(groups)) < 0.5, 1 - of_cluster[groups], of_cluster[groups])
    labels = np.where((rng.random(count) < both)[groups], labels, of_cluster[groups]).astype(int)
    shared = rng.normal(size=count)
    a, b = (gap * labels + shared[groups] + 0.7 * rng.normal(size=len(groups)) + 0.5 * rng.normal(size=count)[groups]
            for _ in range(2))
    if levels:
        a, b = (np.round(s * levels) / 4 for s in (a, b))
    return labels, a.astype(np.float32), b.astype(np.float32), groups


def check():
    rng = np.random.default_rng(99)
    labels, a, b, _ = in_clusters(rng, 30, 1, 1, 0, 1.0, 4)
    alone = np.arange(len(labels))
    for p, q in [(a, a), (a, b)]:
        delong = covariance(components(p, labels), components(q, labels))
        assert abs(clustered(p, q, labels, alone) - delong) < 1e-15
    aucs, apart, variances, of_difference, delong = [], [], [], [], []
    for _ in range(300):
        labels, a, b, groups = in_clusters(rng, 40, 1, 5, 0.4, 1.0, 0)
        parts = [components(s, labels) for s in (a, b)]
        aucs.append(parts[0][0].mean())
        apart.append(parts[0][0].mean() - parts[1][0].mean())
        first, second, both = clustered(a, a, labels, groups), clustered(b, b, labels, groups), clustered(a, b, labels, groups)
        variances.append(first)
        of_difference.append(first + second - 2 * both)
        delong.append(covariance(parts[0], parts[0]))
    ratios = np.mean(variances) / np.var(aucs), np.mean(of_difference) / np.var(apart), np.mean(delong) / np.var(aucs)
    print("mean variance over variance of the AUCs: one %.2f, difference %.2f, DeLong's as if independent %.2f" % ratios)
    assert 0.8 < ratios[0] < 1.2 and 0.8 < ratios[1] < 1.2 and ratios[2] < 0.8, ratios


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
    check()
    for seed, (count, least, most, both, gap, levels) in enumerate([
        (20, 1, 4, 0.0, 1.0, 0), (20, 1, 4, 0.5, 1.0, 0), (20, 2, 5, 1.0, 0.5, 4), (12, 1, 1, 0.0, 1.0, 3), (40, 1, 6, 0.3, 0.3, 2),
        (1, 9, 9, 1.0, 1.0, 0), (6, 2, 3, 0.5, 9.0, 0), (8, 1, 3, 0.5, 1.0, 0), (8, 2, 4, 0.0, 1.0, 0), (15, 1, 3, 0.4, 1.0, 0),
    ]):
        rng = np.random.default_rng(100 + seed)
        labels, a, b, groups = in_clusters(rng, count, least, most, both, gap, levels)
        if seed == 7:
            labels = ((groups == 2) & (np.arange(len(groups)) % 2 == 0)).astype(int)  # positive bags of one patient, who has others
            labels[np.flatnonzero(groups == 2)[0]] = 1
        if seed == 8:
            labels[:] = 1  # one class
        if seed == 9:
            b = a.copy()
        order = rng.permutation(len(labels))
        labels, a, b, groups = (of[order] for of in (labels, a, b, groups))
        found = measure(a.astype(float), b.astype(float), labels, groups)
        cases.append({"labels": labels.tolist(), "a": a.tolist(), "b": b.tolist(), "groups": groups.tolist(), "found": found})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"numpy": np.__version__, "cases": cases}) + "\n")
    print(f"{args.out.stat().st_size} bytes, {len(cases)} cases")


if __name__ == "__main__":
    main()
