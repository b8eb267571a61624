#!/usr/bin/env python3
"""Write the reference values that the tests compare bagrad's metrics with, from scikit-learn, SciPy and NumPy.

    python -m venv .venv && .venv/bin/pip install numpy scikit-learn scipy
    .venv/bin/python tools/make_fixtures_metrics.py

Each case has probabilities `[bags, classes]` (float32 numbers), labels, and what scikit-learn says of them: as bagrad, at the
threshold 0.5 for two classes and by the largest probability beyond; the log loss, the reliability table of ten ranges and its
error (of the largest probability beyond two classes); AUC and average precision of class 1 of two classes, else
means over the classes, each against the rest. What is not defined is null: the AUC of one class, and where scikit-learn answers 0
or nan for a fraction without a denominator.

Besides: several labels a bag, some of them unknown (null); instances of bags; NDCG of different scores; the area over a perturbation
curve, by a loop over its definition; Wilson's interval of a share; percentiles of resampled values.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.calibration import calibration_curve

warnings.filterwarnings("ignore")
# bagrad clips probabilities by the resolution that they come with.
EDGE = float(np.finfo(np.float32).eps)


def measure(p, labels):
    classes = p.shape[1]
    binary = classes == 2
    said = (p[:, 1] >= 0.5).astype(int) if binary else p.argmax(1)
    there = sorted(set(labels.tolist()))
    of = [1] if binary else [c for c in range(classes)]
    mixed = [c for c in of if 0 < (labels == c).sum() < len(labels)]
    some = [c for c in of if (labels == c).any()]
    mean = lambda values: float(np.mean(values)) if len(values) else None
    one_hot = np.eye(classes)[labels]
    squares = (p.astype(float) - one_hot) ** 2
    kappa = lambda w: metrics.cohen_kappa_score(labels, said, weights=w, labels=list(range(classes)))
    known = lambda v: None if v is None or np.isnan(v) else float(v)
    told, came_true = (p[:, 1], labels == 1) if binary else (p.max(1), said == labels)
    told = told.astype(float)
    found, mean_told = calibration_curve(came_true, told, n_bins=10)
    inside = np.histogram(np.searchsorted(np.linspace(0, 1, 11)[1:-1], told), np.arange(11))[0]
    inside = inside[inside > 0]
    constant = len(there) == 1 or len(set(said.tolist())) == 1
    every = list(range(classes))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, said, labels=every, zero_division=np.nan)
    # No F1 where a class neither is there nor was said.
    f1 = [v if c in there or c in said else np.nan for c, v in enumerate(f1)]
    clipped = np.clip(p.astype(float), EDGE, 1 - EDGE)
    each = [float(metrics.log_loss(labels == c, clipped[:, c], labels=[False, True])) for c in every]
    roc = metrics.roc_curve(labels == 1, p[:, 1], drop_intermediate=False)[:2] if binary and len(there) == 2 else None
    return {
        "precision": [known(v) for v in precision],
        "recall": [known(v) for v in recall],
        "f1_of_classes": [known(v) for v in f1],
        "independent_log_loss": float(np.mean(each)),
        "independent_log_loss_without_first": float(np.mean(each[1:])),
        "roc": roc and [[float(a), float(b)] for a, b in zip(*roc)],
        "auc": mean([metrics.roc_auc_score(labels == c, p[:, c]) for c in mixed]),
        "average_precision": mean([metrics.average_precision_score(labels == c, p[:, c]) for c in some]),
        "accuracy": float(metrics.accuracy_score(labels, said)),
        "balanced_accuracy": float(np.mean([(said[labels == c] == c).mean() for c in there])),
        "f1": known(metrics.f1_score(labels, said, average="binary" if binary else "macro",
                                     labels=None if binary else sorted(set(labels) | set(said)))),
        "mcc": None if constant else float(metrics.matthews_corrcoef(labels, said)),
        "kappa": known(kappa(None)),
        "kappa_linear": known(kappa("linear")),
        "kappa_quadratic": known(kappa("quadratic")),
        "brier": float(squares[:, 1].mean() if binary else squares.sum(1).mean()),
        "log_loss": float(metrics.log_loss(labels, np.clip(p.astype(float), EDGE, 1 - EDGE), labels=list(range(classes)))),
        "auc_micro": (mean([metrics.roc_auc_score(labels == 1, p[:, 1])] if mixed else []) if binary
                      else float(metrics.roc_auc_score(one_hot.ravel(), p.ravel()))),
        "auc_of_classes": [float(metrics.roc_auc_score(labels == c, p[:, c])) if 0 < (labels == c).sum() < len(labels) else None
                           for c in range(classes)],
        "reliability": [[float(a), float(b)] for a, b in zip(mean_told, found)],
        "ece": float((inside * np.abs(mean_told - found)).sum() / len(labels)),
    }


def of_labels(rng, bags, labels, unknown):
    """Several labels a bag; -1 is not known. What is not known counts nowhere."""
    has = np.where(rng.random((bags, labels)) < unknown, -1, rng.integers(0, 2, (bags, labels)))
    p = np.clip(np.round(0.3 * has + rng.random((bags, labels)) * 0.7, 2), 0, 1).astype(np.float32)
    if labels > 2:
        has[:, 1] = np.minimum(has[:, 1], 0)  # a label that no bag has
    each, right = [], []
    for label in range(labels):
        known = has[:, label] >= 0
        truth, score = has[known, label], p[known, label]
        said = score >= 0.5
        mixed = 0 < truth.sum() < len(truth)
        each.append({
            "bags": int(known.sum()), "prevalence": float(truth.mean()),
            "auc": float(metrics.roc_auc_score(truth, score)) if mixed else None,
            "average_precision": float(metrics.average_precision_score(truth, score)) if truth.any() else None,
            "f1": float(metrics.f1_score(truth, said)) if truth.any() or said.any() else None,
        })
    known = has >= 0
    wrong = known & ((p >= 0.5) != (has == 1))
    clipped = np.clip(p.astype(float), EDGE, 1 - EDGE)
    mean = lambda name: float(np.mean([of[name] for of in each if of[name] is not None]))
    return {
        "probabilities": p.flatten().tolist(), "has": has.flatten().tolist(), "labels": each,
        "auc": mean("auc"), "average_precision": mean("average_precision"), "f1": mean("f1"),
        "hamming_loss": float(wrong.sum() / known.sum()),
        "subset_accuracy": float((~wrong.any(1))[known.any(1)].mean()),
        "log_loss": float(metrics.log_loss((has == 1)[known], clipped[known], labels=[False, True])),
    }


def of_instances(rng, bags):
    """Scores and key instances of bags; the AUC of all together, and the mean of those of bags with both kinds."""
    sizes = rng.integers(1, 9, bags)
    key = rng.random(sizes.sum()) < 0.3
    scores = np.round(0.4 * key + rng.random(len(key)), 1).astype(np.float32)
    ends = np.cumsum(sizes)
    each = [(scores[e - s:e], key[e - s:e]) for s, e in zip(sizes, ends)]
    each = [metrics.roc_auc_score(k, s) for s, k in each if 0 < k.sum() < len(k)]
    return {"offsets": [0, *ends.tolist()], "key": key.astype(int).tolist(), "scores": scores.tolist(),
            "pooled": float(metrics.roc_auc_score(key, scores)), "per_bag": float(np.mean(each)), "bags": len(each)}


def of_order(rng, count):
    """Different scores; the logit of a perturbed bag is a product of its rows' weights, which is no sum."""
    scores = rng.permutation(count).astype(np.float32)
    key = rng.random(count) < 0.3
    key[0] = True
    weights = rng.uniform(0.8, 1.3, count)
    order = np.argsort(-scores, kind="stable")
    logit = lambda rows: float(np.prod(weights[rows]))
    lost = [logit(np.arange(count)) - logit(np.sort(order[int(count * tenth / 20):])) for tenth in range(11)]
    return {"scores": scores.tolist(), "key": key.astype(int).tolist(), "weights": weights.tolist(), "aopc": float(np.mean(lost)),
            "ndcg": float(metrics.ndcg_score([key], [scores], k=int(key.sum()), ignore_ties=True))}


def of_shares():
    for found, of in [(0, 1), (1, 1), (3, 10), (50, 100), (7, 7), (1, 1000)]:
        interval = binomtest(found, of).proportion_ci(0.95, "wilson")
        yield [found, of, float(interval.low), float(interval.high)]


def of_samples(rng, count, shift):
    """Values of two measures on the same samples: percentiles, and twice the smaller share on either side of 0."""
    a = np.round(rng.normal(0.8, 0.05, count), 2)
    b = np.round(a - shift + rng.normal(0, 0.04, count), 2)
    apart = a - b
    share = min((apart <= 0).sum(), (apart >= 0).sum()) + 1
    percentiles = lambda v: np.percentile(v, [2.5, 97.5]).tolist()
    return {"a": a.tolist(), "b": b.tolist(), "interval": percentiles(a), "difference": percentiles(apart),
            "p": min(1.0, 2 * float(share) / (count + 1))}


def case(rng, bags, classes, present, ties, bias):
    p = rng.dirichlet(np.ones(classes), bags)
    labels = rng.choice(present, bags)
    p[np.arange(bags), labels] += bias
    p /= p.sum(1, keepdims=True)
    if ties:
        # Quarters, which float32 has exactly.
        p = np.round(p * 4) / 4
        p[:, 0] = 1 - p[:, 1:].sum(1)
    p = p.astype(np.float32)
    return p, labels


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/metrics/sklearn.json"))
    args = parser.parse_args()
    cases = []
    for seed, (bags, classes, present, ties, bias) in enumerate([
        (40, 2, [0, 1], False, 0.4), (40, 2, [0, 1], True, 0.3), (7, 2, [0, 1], False, 0.0), (12, 2, [1], False, 0.2),
        (60, 3, [0, 1, 2], False, 0.5), (60, 3, [0, 1, 2], True, 0.4), (30, 4, [0, 2, 3], False, 0.3),
        (80, 5, [0, 1, 2, 3, 4], False, 0.2), (25, 3, [2], False, 0.1), (200, 2, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1], False, 0.3),
    ]):
        rng = np.random.default_rng(seed)
        p, labels = case(rng, bags, classes, present, ties, bias)
        cases.append({"classes": classes, "labels": labels.tolist(), "probabilities": p.flatten().tolist(),
                      "scores": measure(p, labels)})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(500)
    more = {
        "label_sets": [of_labels(rng, *of) for of in [(30, 2, 0.0), (40, 4, 0.2), (12, 3, 0.4)]],
        "instances": [of_instances(rng, bags) for bags in (5, 30)],
        "orders": [of_order(rng, count) for count in (3, 20, 57)],
        "shares": list(of_shares()),
        "samples": [of_samples(rng, count, shift) for count, shift in [(99, 0.02), (400, 0.1), (200, 0.0)]],
    }
    args.out.write_text(json.dumps({"scikit-learn": sklearn.__version__, "cases": cases, **more}) + "\n")
    print(f"{args.out.stat().st_size} bytes, {len(cases)} cases, scikit-learn {sklearn.__version__}")


if __name__ == "__main__":
    main()
