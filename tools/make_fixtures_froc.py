#!/usr/bin/env python3
"""Write the reference values that the tests compare bagrad's FROC curves with.

    python -m venv .venv && .venv/bin/pip install numpy
    .venv/bin/python tools/make_fixtures_froc.py

Written from the definition of the Camelyon16 challenge (Ehteshami Bejnordi and others, JAMA 318, 2017): a detection in a lesion
counts the largest score of that lesion, every other detection is a false positive; at each score as a threshold the share of
lesions found over the mean number of false positives of all slides; the sensitivity at 1/4, 1/2, 1, 2, 4 and 8, by linear
interpolation, and their mean. Every threshold counts the whole list anew.

Slides of tiles have lesions and detections by brute force over all pairs of tiles: neighbours are less than 1.5 steps apart along x
and y, lesions are connected key tiles, detections the connected tiles of one score none of which has a neighbour of a larger one,
at the first of them. `detections` are pairs of score and lesion (null: none). `froc` is null without a lesion.
"""

import argparse
import json
from pathlib import Path

import numpy as np

POINTS = [0.25, 0.5, 1, 2, 4, 8]


def froc(slides):
    lesions = sum(slide["lesions"] for slide in slides)
    if lesions == 0:
        return None
    wrong = [score for slide in slides for score, lesion in slide["detections"] if lesion is None]
    right = []
    for slide in slides:
        for lesion in range(slide["lesions"]):
            inside = [score for score, of in slide["detections"] if of == lesion]
            right += [max(inside)] if inside else []
    curve = [[0.0, 0.0]]
    for threshold in sorted(set(wrong + right), reverse=True):
        curve.append([sum(s >= threshold for s in wrong) / len(slides), sum(s >= threshold for s in right) / lesions])
    x, y = zip(*curve)
    sensitivity = [float(np.interp(point, x, y)) for point in POINTS]
    return {"score": sum(sensitivity) / len(POINTS), "sensitivity": sensitivity, "curve": curve, "lesions": lesions}


def sets(count, together):
    """The number of the connected set of each, in order of their first; -1 for what is with nobody, itself included."""
    of = [i if together(i, i) else None for i in range(count)]
    changed = True
    while changed:
        changed = False
        for i in range(count):
            for j in range(count):
                if of[i] is not None and of[j] is not None and of[i] != of[j] and together(i, j):
                    of[i] = of[j] = min(of[i], of[j])
                    changed = True
    firsts = sorted(set(v for v in of if v is not None))
    return [-1 if v is None else firsts.index(v) for v in of]


def tiles(places, key, scores, side=None):
    n = len(places)
    apart = lambda i, j: max(abs(places[i][0] - places[j][0]), abs(places[i][1] - places[j][1]))
    distances = [apart(i, j) for i in range(n) for j in range(n) if apart(i, j) > 0]
    step = min(distances + ([side] if side else [])) if distances or side else 1.0
    near = lambda i, j: apart(i, j) < 1.5 * step
    lesions = sets(n, lambda i, j: key[i] and key[j] and near(i, j))
    levels = sets(n, lambda i, j: scores[i] == scores[j] and near(i, j))
    detections = []
    for level in range(max(levels) + 1):
        members = [i for i in range(n) if levels[i] == level]
        if not any(near(i, j) and scores[j] > scores[i] for i in members for j in range(n)):
            detections.append([scores[members[0]], None if lesions[members[0]] < 0 else lesions[members[0]]])
    flat = [c for place in places for c in place]
    return {"places": flat, "key": [int(k) for k in key], "scores": scores, "side": side, "detections": detections,
            "lesions": max(lesions) + 1}


def slide(rng, kind):
    single = lambda values: np.asarray(values, np.float32).astype(float).tolist()
    side = None
    if kind == "grid":
        # Of a grid of 256 some tiles, in any order.
        places = [[256.0 * x, 256.0 * y] for x in range(9) for y in range(7) if rng.random() < 0.8]
    elif kind == "contours":
        # Two grids that do not fit each other.
        places = [[224.0 * x, 224.0 * y] for x in range(5) for y in range(5)]
        places += [[1100.0 + 224.0 * x, 75.0 + 224.0 * y] for x in range(4) for y in range(4)]
    elif kind == "sparse":
        # Hardly two side by side; the side of a tile is known.
        places, side = [[512.0 * int(x), 512.0 * int(y)] for x, y in rng.integers(0, 12, (20, 2))], 512.0
    else:
        places = single(rng.random((25, 2)) * 1000)
    rng.shuffle(places)
    centre = np.array(places[0])
    key = [bool(np.abs(np.array(p) - centre).max() < 500 or rng.random() < 0.08) for p in places]
    if rng.random() < 0.3:
        key = [False] * len(places)
    # Few values, so that many are tied.
    scores = single(np.round(np.array(key) * 0.4 + rng.random(len(places)), 1))
    return tiles(places, key, scores, side)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/metrics/froc.json"))
    args = parser.parse_args()
    cases = []
    for seed, (slides, levels, misses) in enumerate([(12, 0, 0.2), (12, 6, 0.2), (3, 0, 0.9), (40, 20, 0.4), (5, 1, 0.0)]):
        rng = np.random.default_rng(seed)
        case = []
        for _ in range(slides):
            lesions = int(rng.integers(0, 4))
            detections = []
            for _ in range(int(rng.integers(0, 14))):
                lesion = int(rng.integers(lesions)) if lesions and rng.random() > misses else None
                score = rng.random() + (0.2 if lesion is not None else 0)
                detections.append([float(np.float32(np.round(score * levels) / levels if levels else score)), lesion])
            case.append({"lesions": lesions, "detections": detections})
        cases.append(case)
    for seed, kinds in enumerate([["grid"] * 4, ["contours"] * 3, ["sparse"] * 4, ["scattered"] * 3, ["grid", "contours", "sparse"]]):
        rng = np.random.default_rng(50 + seed)
        cases.append([slide(rng, kind) for kind in kinds])
    cases.append([{"lesions": 0, "detections": [[0.5, None]]}])
    all_cases = [{"slides": case, "froc": froc(case)} for case in cases]
    args.out.write_text(json.dumps({"numpy": np.__version__, "cases": all_cases}) + "\n")
    for case in all_cases:
        print(len(case["slides"]), case["froc"] and {k: case["froc"][k] for k in ("score", "lesions")})


if __name__ == "__main__":
    main()
