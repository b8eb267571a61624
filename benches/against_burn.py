#!/usr/bin/env python3
"""Time the training step of against_pytorch.py in burn and in bagrad, side by side: on the host or on one GPU.

burn's side is benches/burn_peer, a package of its own. On the host it is burn's flex, on a GPU its wgpu with
autotune, warmed up; on both sides short steps on a GPU are waited for every 20 milliseconds, as in training. A packed
batch runs in burn in two ways: `masked` (padded bags with a mask) and `loop` (a forward pass for each bag).

The two programs take turns within each round; the figure kept is the median over rounds of each round's median.
burn's process stays between rounds, so its kernels are chosen once.

    python benches/against_burn.py --device host --rounds 5
    python benches/against_burn.py --device gpu --driver lavapipe
    python benches/against_burn.py --device gpu --driver mesa --json mesa.json

Builds both programs where they are missing (`--build` where they may be old, or for other `--features`); burn takes a
quarter of an hour on two cores. On lavapipe of Mesa 22.3 burn ends in the driver when its shaders are SPIR-V: build it
with `--features fusion`.
"""

import argparse
import glob
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import beside

ROOT = Path(__file__).resolve().parent.parent


def target(folder):
    """Where cargo builds a package of this repository; each has its own folder."""
    named = os.environ.get("CARGO_TARGET_DIR")
    if named is None:
        return ROOT / folder / "target"
    return Path(named) / "burn_peer" if folder else Path(named)


def build(folder, program, features, again):
    path = target(folder) / "release" / program
    if again or not path.exists():
        environment = {**os.environ, "CARGO_TARGET_DIR": str(target(folder))}
        command = ["cargo", "build", "--release", "--manifest-path", str(ROOT / folder / "Cargo.toml"), *features]
        print(" ".join(command), file=sys.stderr)
        subprocess.run(command, check=True, env=environment)
    return str(path)


def first(pattern):
    found = sorted(glob.glob(os.path.expanduser(pattern)))
    if not found:
        raise SystemExit(f"nothing is at {pattern}; for --driver mesa, run `tests/drivers mesa` first")
    return found[0]


def driver(name):
    """What starts a program on a driver, and its environment."""
    # Bounds checks are for tests.
    environment = {k: v for k, v in os.environ.items() if k != "BAGRAD_CHECKED"}
    if name == "any":
        return [], environment
    if name == "lavapipe":
        return [], {**environment, "VK_DRIVER_FILES": first("/usr/share/vulkan/icd.d/lvp_icd*.json")}
    # As tests/drivers does it: the loader and the libraries of another Debian, unpacked.
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    root = os.environ.get("BAGRAD_DRIVERS", f"{caches}/bagrad/drivers") + "/unstable/root/usr"
    start = [first(f"{root}/lib*/ld-linux*.so.[0-9]"), "--library-path", first(f"{root}/lib/*-linux-gnu*")]
    return start, {**environment, "VK_DRIVER_FILES": first(f"{root}/share/vulkan/icd.d/lvp_icd*.json")}


class Burn:
    """burn's process; it answers a line of JSON for each line `SHAPE SECONDS`, and is stopped in between: even waiting, it
    takes a fifth of a core."""

    def __init__(self, command, device, environment):
        self.process = subprocess.Popen([*command, "--device", device, "--serve"], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def time(self, shape, seconds):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{shape} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"burn's program ended with status {self.process.wait()}")
        time.sleep(0.2)
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        # A process that is stopped would stay for ever.
        self.process.kill()
        self.process.wait()


def measure(shape, args, ours, theirs, environment):
    rounds = beside.Rounds(shape)
    # A process for each shape, so that no buffers of others are held.
    with Burn(theirs, args.device, environment) as burn:
        burn.time(shape, 0)
        for _ in range(args.rounds):
            rows = burn.time(shape, args.seconds)
            for row in rows:
                name = "burn" if row["form"] == "single" else f"burn {row['form']}"
                extra = {k: row[k] for k in ("steps_each", "first_step_ms", "warm_ms")}
                rounds.add(name, row["median_us"], row["min_us"], **extra)
            device = "gpu:0" if args.device == "gpu" else "host"
            # About the same time for both, judged by what burn needs.
            guess = args.seconds * 1e6 / min(row["median_us"] * row["steps_each"] for row in rows)
            repeats = max(3, min(2000, int(guess)))
            row = beside.time_bagrad(ours, shape, device, repeats, environment)
            extra = {k: row[k] for k in ("device", "steps_each", "first_step_ms", "peak_bytes") if k in row}
            rounds.add("bagrad", row["median_us"], row["min_us"], **extra)
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside.arguments(parser)
    parser.add_argument("--device", choices=["host", "gpu"], default="host")
    parser.add_argument("--driver", choices=["any", "lavapipe", "mesa"], default="any",
                        help="with --device gpu: what the system has, its lavapipe, or the Mesa of `tests/drivers`")
    parser.add_argument("--features", default="vulkan,fusion",
                        help="what burn is built with; without vulkan its shaders are WGSL (default: %(default)s)")
    parser.add_argument("--build", action="store_true", help="build both programs although they are there")
    parser.add_argument("--bagrad", metavar="PATH", help="our binary (default: built)")
    parser.add_argument("--peer", metavar="PATH", help="burn's binary (default: built)")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be positive")
    ours = args.bagrad or build("", "bagrad", [], args.build)
    features = ["--no-default-features", "--features", args.features]
    theirs = args.peer or build("benches/burn_peer", "burn-peer", features, args.build)
    start, environment = driver(args.driver if args.device == "gpu" else "any")
    # So that burn's process ends with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    about = beside.machine()
    print("machine: {cpu}, {cores} cores; load {load:.1f} at the start".format(**about))
    both = [[*start, program] for program in (ours, theirs)]
    beside.measure_all(args, about, lambda shape: measure(shape, args, *both, environment))


if __name__ == "__main__":
    main()
