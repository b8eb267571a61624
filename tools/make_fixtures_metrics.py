#!/usr/bin/env python3
"""Write the reference values that the tests compare bagrad's metrics with, from scikit-learn.

    python -m venv .venv && .venv/bin/pip install numpy scikit-learn
    .venv/bin/python tools/make_fixtures_metrics.py

Each case has probabilities `[bags, classes]` (float32 numbers), labels, and what scikit-learn says of them: as bagrad, at the
threshold 0.5 for two classes and by the largest probability beyond; the log loss, the reliability table of ten ranges and its
error (of the largest probability beyond two classes); AUC and average precision of class 1 of two classes, else
means over the classes, each against the rest. What is not defined is null: the AUC of one class, and where scikit-learn answers 0
or nan for a fraction without a denominator.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
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
    return {
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
    args.out.write_text(json.dumps({"scikit-learn": sklearn.__version__, "cases": cases}) + "\n")
    print(f"{args.out.stat().st_size} bytes, {len(cases)} cases, scikit-learn {sklearn.__version__}")


if __name__ == "__main__":
    main()
