#!/usr/bin/env python3
"""Write the reference values that the tests compare bagrad's metrics of survival and of numbers with, from scikit-survival,
lifelines, SciPy and scikit-learn.

    python -m venv .venv && .venv/bin/pip install scikit-survival lifelines scikit-learn scipy
    .venv/bin/python tools/make_fixtures_survival.py

Values are float32 numbers. What is not defined is null.
"""

import argparse
import json
import warnings
from pathlib import Path

import lifelines
import numpy as np
import sksurv
from lifelines.statistics import logrank_test
from scipy import stats
from sklearn import metrics
from sksurv.linear_model.coxph import CoxPHOptimizer
from sksurv.metrics import (
    brier_score,
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)
from sksurv.util import Surv

warnings.filterwarnings("ignore")


def known(call):
    try:
        value = float(call())
        return value if np.isfinite(value) else None
    except Exception:
        return None


def cox(risks, times, events, ties):
    """scikit-survival's likelihood, which divides by bags, over events; with one feature, the risk, of weight 1."""
    if not events.any():
        return 0.0
    order = CoxPHOptimizer(risks[:, None], events, times, np.zeros(1), ties)
    return float(order.nlog_likelihood(np.ones(1)) * len(times) / events.sum())


def survival(risks, times, events):
    out = Surv.from_arrays(events, times)
    at = float(np.quantile(times, 0.5))
    # lifelines wants a score that is higher for later events.
    harrell = known(lambda: concordance_index_censored(events, times, risks, tied_tol=0)[0])
    if harrell is not None:
        lifelines_says = lifelines.utils.concordance_index(times, -risks, events)
        assert abs(harrell - lifelines_says) < 1e-12, (harrell, lifelines_says)
    high = risks >= np.median(risks)
    curve = lifelines.KaplanMeierFitter().fit(times, events)
    at_events = sorted(set(times[events].tolist()))
    low_high = curve.confidence_interval_
    table = curve.event_table
    steps = [[t, int(table.loc[t, "at_risk"]), int(table.loc[t, "observed"]), float(curve.survival_function_.loc[t].iloc[0]),
              *[None if not np.isfinite(v) or v in (0.0, 1.0) else float(v) for v in low_high.loc[t]]] for t in at_events]
    apart = events.any() and high.any() and not high.all()
    test = logrank_test(times[~high], times[high], events[~high], events[high]) if apart else None
    return {
        "c_index": harrell,
        "c_index_uno": known(lambda: concordance_index_ipcw(out, out, risks, tied_tol=0)[0]),
        "c_index_uno_until": known(lambda: concordance_index_ipcw(out, out, risks, tau=at, tied_tol=0)[0]),
        "until": at,
        "auc_at": known(lambda: cumulative_dynamic_auc(out, out, risks, [at])[0][0]),
        "kaplan_meier": steps,
        "log_rank": known(lambda: test.test_statistic),
        "log_rank_p": known(lambda: test.p_value),
        "efron": cox(risks, times, events, "efron"),
        "breslow": cox(risks, times, events, "breslow"),
    }


def probabilities(risks, times, events, seed):
    """Brier scores of made-up probabilities of no event until some times, weighted by the censoring of these bags and by that of
    others. Times are floats with which scikit-survival has events until them, inclusive, as bagrad does."""
    rng = np.random.default_rng(1000 + seed)
    low, high = times.min(), times.max()
    at = np.unique(np.quantile(times, [0.15, 0.4, 0.6, 0.85]).astype(np.float32)).astype(float)
    at = at[(at >= low) & (at < high)]
    said = np.exp(-at[None, :] / 20 * np.exp(0.7 * risks[:, None] + 0.2 * rng.standard_normal((len(times), 1))))
    said = said.astype(np.float32).astype(float)
    out = Surv.from_arrays(events, times)
    # Others are followed for longer, as scikit-survival wants of training bags.
    more = max(30, len(times))
    others = rng.exponential(25, more).astype(np.float32).astype(float)
    others[0] = np.float32(high + 100)
    came = rng.uniform(size=more) < 0.7
    came[0] = True
    training = {"times": others.tolist(), "events": came.astype(int).tolist()}
    found = {"at": at.tolist(), "said": said.ravel().tolist(), "training": training}
    for name, of in [("own", out), ("others", Surv.from_arrays(came, others))]:
        # Of each time by itself; the integral needs two.
        found[name] = [known(lambda: brier_score(of, out, said[:, [t]], [at[t]])[1][0]) for t in range(len(at))]
        found[name + "_integrated"] = known(lambda: integrated_brier_score(of, out, said, at)) if len(at) > 1 else None
    return found


def numbers(predicted, truth):
    varies = lambda v: len(set(v.tolist())) > 1
    both = varies(truth) and varies(predicted)
    return {
        "r2": float(metrics.r2_score(truth, predicted)) if varies(truth) else None,
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "rmse": float(metrics.mean_squared_error(truth, predicted) ** 0.5),
        "pearson": float(stats.pearsonr(predicted, truth)[0]) if both else None,
        "spearman": float(stats.spearmanr(predicted, truth)[0]) if both else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/metrics/survival.json"))
    args = parser.parse_args()
    all_survival = []
    for seed, (bags, whole, share, ties) in enumerate([
        (40, False, 0.6, False), (40, True, 0.6, False), (40, True, 0.6, True), (9, True, 0.5, True), (200, True, 0.2, False),
        (30, False, 1.0, False), (12, True, 0.0, False), (2, False, 1.0, False), (60, True, 0.9, True),
    ]):
        rng = np.random.default_rng(seed)
        risks = rng.standard_normal(bags)
        times = rng.exponential(np.exp(-0.7 * risks)) * 20 + 0.5
        times = np.ceil(times) if whole else times
        events = rng.uniform(size=bags) < share
        risks = np.round(risks) if ties else risks
        # The last ones are seen to the end, so that nobody is censored for sure before an event.
        risks, times = risks.astype(np.float32).astype(float), times.astype(np.float32).astype(float)
        all_survival.append({"risks": risks.tolist(), "times": times.tolist(), "events": events.astype(int).tolist(),
                             "scores": survival(risks, times, events), "brier": probabilities(risks, times, events, seed)})
    all_numbers = []
    for seed, (bags, noise, whole) in enumerate([(40, 0.5, False), (40, 0.5, True), (7, 3.0, True), (3, 0.1, False), (5, 0.0, False)]):
        rng = np.random.default_rng(100 + seed)
        truth = 60 + 10 * rng.standard_normal(bags)
        predicted = truth + 10 * noise * rng.standard_normal(bags)
        if seed == 4:
            truth[:] = 3
        truth, predicted = [np.round(v / 5) * 5 if whole else v for v in (truth, predicted)]
        truth, predicted = [v.astype(np.float32).astype(float) for v in (truth, predicted)]
        all_numbers.append({"truth": truth.tolist(), "predicted": predicted.tolist(), "scores": numbers(predicted, truth)})
    made_by = f"scikit-survival {sksurv.__version__}, lifelines {lifelines.__version__}"
    args.out.write_text(json.dumps({"made by": made_by, "survival": all_survival, "numbers": all_numbers}) + "\n")


if __name__ == "__main__":
    main()
