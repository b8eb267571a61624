#!/usr/bin/env python3
"""Time how the features of slides are read: bagrad beside h5py, torch.load and a plain read of the same bytes.

    cargo build --release --example read_speed
    python3 -m venv .venv && .venv/bin/pip install h5py numpy torch
    .venv/bin/python benches/reading.py --cohort /tmp/cohort --rounds 5

Makes slides in the layouts of TRIDENT (chunks of one row), CLAM (chunks of 32 rows), STAMP (contiguous) and as PyTorch
files, packs them (`--bagrad` names the program), and reads each layout in turn: bagrad, the program that a PyTorch training
would read with, and the bytes alone. All of a layout are read within each round, so a slow spell of the machine hits all;
figures are medians over rounds, of wall time and of processor time, which tells more where others use the machine. `cold` drops the pages of the files from the system's cache before (posix_fadvise, which
needs no rights and hits no other file).

Each read has a process of its own, and the clock runs while it reads: a process that read before has memory that the system need not
clear for it, which makes the next read two to three times as fast, and a training reads once. bagrad reads slides on as many threads
as there are cores (`--threads`), h5py and torch.load on one, as the loop of a script does; all keep what they read. bagrad's time has the check that all values are finite; that of a packed file is the pass over
all values for checksums and finiteness (`open`), and the copy of all bags into memory for a step (`copy`).
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch

LAYOUTS = {
    "trident-f16": ("float16", "h5", (1, None)),
    "trident-f32": ("float32", "h5", (1, None)),
    "clam-f32": ("float32", "h5", (32, None)),
    "stamp-f16": ("float16", "h5", None),
    "contiguous-f32": ("float32", "h5", None),
    "pt-f16": ("float16", "pt", None),
    "pt-f32": ("float32", "pt", None),
}


def make(folder, layout, slides, rows, width):
    """The files of a layout; those that are there stay."""
    kind, ending, chunk = LAYOUTS[layout]
    folder.mkdir(parents=True, exist_ok=True)
    for slide in range(slides):
        path = folder / f"slide-{slide:03}.{ending}"
        if path.exists():
            continue
        values = np.random.default_rng(slide).standard_normal((rows, width), np.float32).astype(kind)
        if ending == "pt":
            torch.save(torch.from_numpy(values), path)
            continue
        with h5py.File(path, "w") as file:
            name = "feats" if layout == "stamp-f16" else "features"
            if chunk is None:
                file.create_dataset(name, data=values)
            else:
                shape = (None, width)
                data = file.create_dataset(name, (0, width), kind, maxshape=shape, chunks=(chunk[0], width))
                data.resize((rows, width))
                data[:] = values
            file.create_dataset("coords", data=np.arange(2 * rows).reshape(rows, 2) * 256)


def drop(path):
    """Takes the pages of files out of the system's cache."""
    for file in files(path):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def files(path):
    return sorted(path.iterdir()) if path.is_dir() else [path]


def with_h5py(path):
    kept = []
    for file in files(path):
        with h5py.File(file, "r") as opened:
            name = "feats" if "feats" in opened else "features"
            kept.append((opened[name][:], opened["coords"][:]))
    return kept


def with_torch(path):
    return [torch.load(file) for file in files(path)]


def ours(args, what, path):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(args.threads))
    command = [args.program, what, str(path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout)["seconds"][0], busy


READERS = {"h5py": with_h5py, "torch.load": with_torch}


def clocked(reader, path):
    """Seconds of wall time and of the processor, in this process."""
    start, busy = time.perf_counter(), time.process_time()
    kept = READERS[reader](path)
    took = time.perf_counter() - start, time.process_time() - busy
    del kept
    return took


def alone(reader, path):
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--read", reader, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return tuple(json.loads(done.stdout))


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True, help="folder for the slides that are made")
    parser.add_argument("--program", default="target/release/examples/read_speed")
    parser.add_argument("--bagrad", default="target/release/bagrad")
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--layouts", nargs="*", default=[*LAYOUTS, "packed-f16", "packed-f32"])
    parser.add_argument("--warm-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{processor()}, {args.threads} threads; {args.slides} slides of {args.rows} x {args.width}")
    print("| layout | pages | MB | bagrad, ms | other | other, ms | plain, ms | other / bagrad | plain / bagrad | "
          "processor: bagrad, other, plain |")
    print("|---|---|---:|---:|---|---:|---:|---:|---:|---|")
    for layout in args.layouts:
        path = args.cohort / layout
        if layout.startswith("packed"):
            path = path.with_suffix(".bags")
            source = args.cohort / layout.replace("packed", "trident")
            if not path.exists():
                make(source, source.name, args.slides, args.rows, args.width)
                subprocess.run([args.bagrad, "pack", str(source), "--out", str(path), "--quiet"], check=True,
                               stdout=subprocess.DEVNULL)
            programs = {"open": lambda p: ours(args, "open", p), "copy": lambda p: ours(args, "copy", p)}
        else:
            make(path, layout, args.slides, args.rows, args.width)
            other = "torch.load" if LAYOUTS[layout][1] == "pt" else "h5py"
            programs = {"open": lambda p: ours(args, "open", p), other: lambda p, w=other: alone(w, p)}
        programs["plain"] = lambda p: ours(args, "plain", p)
        size = sum(file.stat().st_size for file in files(path)) / 1e6
        for cold in [False] if args.warm_only else [True, False]:
            seconds = {name: [] for name in programs}
            for number in range(args.rounds + (not cold)):
                for name, program in programs.items():
                    if cold:
                        drop(path)
                    took = program(path)
                    # The first round of warm reads warms.
                    if cold or number > 0:
                        seconds[name].append(took)
            median = {name: 1e3 * statistics.median(wall for wall, _ in of) for name, of in seconds.items()}
            busy = {name: 1e3 * statistics.median(busy for _, busy in of) for name, of in seconds.items()}
            beside = next(name for name in programs if name not in ("open", "plain"))
            print(f"| {layout} | {'cold' if cold else 'warm'} | {size:.0f} | {median['open']:.0f} | {beside} "
                  f"| {median[beside]:.0f} | {median['plain']:.0f} | {median[beside] / median['open']:.2f} "
                  f"| {median['plain'] / median['open']:.2f} | {busy['open']:.0f}, {busy[beside]:.0f}, {busy['plain']:.0f} |",
                  flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(clocked(sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
