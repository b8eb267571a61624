#!/usr/bin/env python3
"""Hold exported ONNX files against bagrad itself: every method, computed by onnxruntime.

    pip install --target /tmp/onnx onnx onnxruntime numpy
    PYTHONPATH=/tmp/onnx tools/check_onnx.py --bagrad target/release/bagrad

Each method is trained for an epoch on small random bags and exported; bags of 1, 2, 3, 65 and 1000 instances, and one with
every instance twice, are predicted by both.
Logits are held by what is made of them: probabilities, numbers, risks; so is every column that `bagrad predict` tells of
instances. The error is |a - b| / |b| over all bags. Files pass onnx.checker with its full check, which infers shapes
strictly. tests/runtimes runs it.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

SIZES = [1, 2, 3, 65, 1000, 64, 7, 30]
SMALL = [9, 1, 12, 5, 20, 3, 14, 8] * 2
WIDTH = 24
MOST = 1e-5
TARGETS = {
    "ordered": ["--target", "ordered"],
    "number": ["--target", "squared"],
    "hazards": ["--target", "hazards:3"],
    "cox": ["--target", "cox"],
}


def bags(folder, target, classes, sizes):
    """A folder of npy files; of the sixth bag every second instance is the one before again."""
    random = np.random.default_rng(sum(sizes))
    x = random.normal(0.3, 1.7, (sum(sizes), WIDTH)).astype(np.float32)
    ends = np.cumsum(sizes)
    twice = x[ends[4] : ends[5]]
    twice[1::2] = twice[: len(twice) // 2 * 2 : 2]
    folder.mkdir()
    np.save(folder / "features.npy", x)
    np.save(folder / "bag_ids.npy", np.repeat(np.arange(len(sizes)), sizes))
    np.save(folder / "coords.npy", random.uniform(0, 500, (len(x), 2)).astype(np.float32))
    count = len(sizes)
    if target == "number":
        np.save(folder / "numbers.npy", random.normal(10, 3, count).astype(np.float32))
    elif target in ("hazards", "cox"):
        np.save(folder / "times.npy", random.uniform(1, 60, count).astype(np.float32))
        np.save(folder / "events.npy", (np.arange(count) % 4 != 3).astype(np.uint8))
    else:
        np.save(folder / "labels.npy", np.arange(count) % classes)
    return np.split(x, ends[:-1]), np.split(np.load(folder / "coords.npy"), ends[:-1])


def told(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def name_of(output, column, count):
    """What `bagrad predict` calls a column of what a model tells besides."""
    if count == 1:
        return output["name"]
    return f"{output['name']}({output['columns'][column] if output['columns'] else column})"


def joined(values, output, logits):
    """One column of several: the mean of heads, else that of the largest logit."""
    if values.shape[1] == 1 or output["columns"][0].startswith("head "):
        return values.mean(axis=1)
    return values[:, int(np.argmax(logits))]


def compare(model, data, predicted):
    """The largest error of all columns, and its name."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    outputs = json.loads(meta["outputs"])
    wanted = [i.name for i in session.get_inputs()]
    names = [o["name"] for o in outputs]
    of_bags, of_instances = told(predicted / "predictions.csv"), told(predicted / "attention.csv")
    found, known = {}, {}

    def pair(name, values, rows):
        found.setdefault(name, []).extend(np.asarray(values, np.float64).ravel())
        known.setdefault(name, []).extend(float(row[name]) for row in rows)

    first, sums = 0, meta["link"] in ("ordered", "hazards")
    for number, (x, places) in enumerate(zip(*data)):
        given = {name: value for name, value in (("features", x), ("coordinates", places)) if name in wanted}
        results = dict(zip(names, session.run(names, given)))
        bag, rows = of_bags[number], of_instances[first : first + len(x)]
        first += len(x)
        for output in outputs:
            name, values = output["name"], results[output["name"]]
            if not np.isfinite(values).all():
                raise SystemExit(f"{model.stem}: {name} of bag {number} is not finite")
            assert values.shape[0] == (1 if output["of"] == "bag" else len(x)), (name, values.shape)
            if name == "probabilities":
                for column, value in zip(output["columns"], values[0]):
                    pair(f"p({column})", value, [bag])
            elif name == "survival":
                for column, value in list(zip(output["columns"], values[0]))[:-1]:
                    pair(f"survival({column})", value, [bag])
            elif name in ("predicted", "risk"):
                pair(name, values[0], [bag])
            elif name in ("scores", "attention"):
                one = values.mean(axis=1) if sums else joined(values, output, results["logits"][0])
                pair(name.removesuffix("s"), one, rows)
            elif output["meaning"] not in ("logit", "features"):
                for column in range(values.shape[1]):
                    pair(name_of(output, column, values.shape[1]), values[:, column], [bag] if output["of"] == "bag" else rows)
    error = {}
    for name in found:
        a, b = np.array(found[name]), np.array(known[name])
        error[name] = np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)
    worst = max(error, key=error.get)
    return error[worst], worst, len(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bagrad", default="target/release/bagrad", help="the program")
    parser.add_argument("--only", help="one method")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the files, which are left there")
    args = parser.parse_args()
    place = args.keep or pathlib.Path(tempfile.mkdtemp(prefix="onnx-"))
    place.mkdir(exist_ok=True)

    def bagrad(*command, fails=False):
        done = subprocess.run([args.bagrad, *map(str, command)], capture_output=True, text=True)
        if done.returncode and not fails:
            raise SystemExit(f"bagrad {' '.join(map(str, command))}\n{done.stderr}")
        return done

    methods = [m["name"] for m in json.loads(bagrad("methods", "--json").stdout)]
    methods = [m for m in methods if args.only in (None, m)]
    kinds = {"classes": 2, "three": 3, **dict.fromkeys(TARGETS, 4)}
    data = {target: bags(place / target, target, classes, SIZES) for target, classes in kinds.items()}
    for target, classes in kinds.items():
        bags(place / f"{target}-train", target, classes, SMALL)
    cases = [(m, "classes") for m in methods] + [(m, "three") for m in methods if m != "mirel"]
    cases += [("gated-attention", target) for target in TARGETS]
    failed = 0
    for method, target in cases:
        at = place / f"{method}-{target}"
        run, model, predicted = f"{at}-run", pathlib.Path(f"{at}.onnx"), pathlib.Path(f"{at}-predicted")
        train = ["train", "--data", place / f"{target}-train", "--method", method, "--epochs", "1", "--out", run, "--quiet"]
        train += ["--device", "host", "--standardise", *TARGETS.get(target, [])]
        bagrad(*train)
        bagrad("export", run, "--format", "onnx", "--out", model, "--quiet")
        bagrad("predict", "--model", run, "--data", place / target, "--out", predicted, "--device", "host", "--quiet")
        onnx.checker.check_model(str(model), full_check=True)
        onnx.shape_inference.infer_shapes(onnx.load(model), strict_mode=True, data_prop=True)
        error, worst, count = compare(model, data[target], predicted)
        failed += error > MOST
        mark = "" if error <= MOST else "   <-- too far"
        print(f"{method:20} {target:8} {count:3} columns, error at most {error:.1e} ({worst}){mark}", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {len(cases)} graphs are off by more than {MOST}")
    print(f"{len(cases)} graphs agree within {MOST} on onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}")


if __name__ == "__main__":
    sys.exit(main())
