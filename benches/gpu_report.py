#!/usr/bin/env python3
"""Everything worth knowing about the speed of one GPU, in one run of a few minutes, as a table in Markdown.

    cargo build --release
    python benches/gpu_report.py --device gpu:0 > report.md

What it runs, in turns of `--rounds`:

* bagrad's kernels at the sizes of a slide, each against the device's copy bandwidth and best product;
* its product of 4096^3 in f32 and in f16 with sums in f32, against PyTorch's;
* training steps W(N,D,H,L) with their launches: time per dispatch, submissions of a step, idle share;
* with a PyTorch that sees the same card (CUDA, ROCm or MPS): a product of 4096^3 in f16 and f32, a copy, and the same
  steps eager in f32 and, where torch.compile works, in bf16 autocast.

Without such a PyTorch its columns stay empty. To try the script on a software driver: `--quick` takes sizes for one,
`--torch cpu` PyTorch on the CPU, and `--kernels NAME` only kernels with this in their names, as such a driver takes ten
minutes and more to compile all of them. To try it on the real driver of a GPU that is not here, which computes nothing, so
that every figure but "host us" is meaningless:

    python benches/gpu_report.py --device gpu:0 --quick --torch none --rounds 1 \\
        --bagrad "tests/drivers run navi31 -- target/release/bagrad"
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

STEPS = ["10000,1024,512,256", "1000,512,256,128", "64,166,128,64", "12x32,166,128,64"]


def bagrad(args, *more):
    command = [*shlex.split(args.bagrad), "bench", "--json", "--device", args.device, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def number(value, form):
    """A dash for what JSON cannot hold: rates where the device's time stamps stand still."""
    return "–" if value is None else format(value, form)


def torch_device(wanted):
    if wanted == "none":
        return None, None
    try:
        import torch
    except ImportError:
        if wanted != "auto":
            raise SystemExit(f"--torch {wanted}: there is no PyTorch here")
        return None, None
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": wanted == "cpu"}
    places = [place for place, is_there in there.items() if is_there and wanted in ("auto", place)]
    if not places and wanted != "auto":
        raise SystemExit(f"--torch {wanted}: PyTorch sees no such device")
    return (torch, places[0]) if places else (None, None)


def timed(torch, place, step, least=0.3):
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize, "cpu": lambda: None}[place]
    step(), step(), wait()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < least:
        begin = time.perf_counter()
        for _ in range(5):
            step()
        wait()
        times.append((time.perf_counter() - begin) / 5)
    return statistics.median(times)


def ceilings(torch, place, side, copied):
    """GFLOP/s of the vendor's product in f16 and f32, and GB/s of its copy of so many values."""
    found = {}
    for name, kind in (("f16", torch.float16), ("f32", torch.float32)):
        a, b = (torch.randn(side, side, device=place, dtype=kind) for _ in range(2))
        found[name] = 2 * side**3 / timed(torch, place, lambda: a @ b) / 1e9
    x = torch.empty(copied, device=place)
    y = torch.empty_like(x)
    found["copy"] = 2 * x.numel() * 4 / timed(torch, place, lambda: y.copy_(x)) / 1e9
    return found


def torch_steps(torch, place, shape):
    """Functions that do one step of a shape, by name."""
    from against_pytorch import Net, parse_shape

    size, bags, d, h, l = parse_shape(shape)
    if bags > 1:
        return {}
    x = torch.randn(size, d, device=place)
    one = torch.ones(1, 1, device=place)

    def stepper(forward, autocast):
        net = Net(d, h, l).to(place)
        optimiser = torch.optim.Adam(net.parameters(), 5e-4)
        run = forward(net)

        def step():
            optimiser.zero_grad()
            with torch.autocast(place, torch.bfloat16, enabled=autocast):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(run(x), one)
            loss.backward()
            optimiser.step()

        return step

    steps = {"eager f32": stepper(lambda net: net.one_bag, False)}
    try:
        compiled = stepper(lambda net: torch.compile(net.one_bag), True)
        compiled()
        steps["compiled bf16"] = compiled
    except Exception as error:  # A missing compiler is no reason to lose the rest.
        print(f"torch.compile: {error}".splitlines()[0], file=sys.stderr)
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bagrad", default="target/release/bagrad", metavar="COMMAND", help="the program, or what starts it")
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch", choices=["auto", "cuda", "mps", "cpu", "none"], default="auto")
    parser.add_argument("--kernels", metavar="NAME", default="")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    shapes = STEPS[1:] if args.quick else STEPS
    torch, place = torch_device(args.torch)
    print(f"# {time.strftime('%Y-%m-%d')}\n")

    side = 512 if args.quick else 4096
    theirs = ceilings(torch, place, side, 1 << (22 if args.quick else 28)) if torch else {}
    if theirs:
        print(f"PyTorch {torch.__version__} ({place}); its copy: {theirs['copy']:.0f} GB/s\n")
    print(f"| product of {side}^3 | kernel | GFLOP/s | PyTorch | share |")
    print("|---|---|---:|---:|---:|")
    for name, ours in zip(("f32", "f16"), bagrad(args, "--product", f"{side},{side},{side}")):
        peer = theirs.get(name)
        share = None if ours["gflops"] is None or not peer else 100 * ours["gflops"] / peer
        cells = [f"{peer:.0f}", number(share, ".0f") + " %"] if peer else ["", ""]
        print("| " + " | ".join([name, f"`{ours['kernel']}`", number(ours["gflops"], ".0f"), *cells]) + " |")
    print()

    rows = {shape: {"ours": [], "theirs": {}} for shape in shapes}
    peers = {shape: torch_steps(torch, place, shape) if torch else {} for shape in shapes}
    for _ in range(args.rounds):
        for shape in shapes:
            profile = bagrad(args, "--steps", shape, "--repeats", "10", "--profile")[0]
            rows[shape]["ours"].append(profile)
            for name, step in peers[shape].items():
                rows[shape]["theirs"].setdefault(name, []).append(timed(torch, place, step) * 1e6)
    first = rows[shapes[0]]["ours"][0]
    print(f"{first['device']}\n")
    print("| step | us | dispatches | us a dispatch | submissions | idle | host us | PyTorch eager f32 | compiled bf16 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for shape, row in rows.items():
        of = lambda key: statistics.median(r[key] for r in row["ours"])
        us, peer = of("median_us"), lambda name: row["theirs"].get(name)
        times = ["" if not peer(n) else f"{(t := statistics.median(peer(n))):.0f} ({t / us:.1f} x)"
                 for n in ("eager f32", "compiled bf16")]
        cells = [shape, f"{us:.0f}", f"{of('dispatches'):.0f}", f"{us / of('dispatches'):.1f}",
                 f"{of('submissions'):.1f}", f"{100 * of('idle'):.0f} %", f"{of('host_us'):.0f}", *times]
        print("| " + " | ".join(cells) + " |")

    sizes = ["--sizes", "small" if args.quick else "large", "--repeats", "3" if args.quick else "10"]
    sizes += ["--filter", args.kernels] if args.kernels else []
    kernels = bagrad(args, *sizes)
    print("\n| kernel | shape | us | GFLOP/s | GB/s | of the ceiling |")
    print("|---|---|---:|---:|---:|---:|")
    for k in kernels:
        numbers = [number(k[key], ".1f") for key in ("median_us", "gflops", "gbps")]
        share = k["share_of_ceiling"]
        share = number(None if share is None else 100 * share, ".0f") + " %"
        cells = [f"`{k['kernel']}`", k["shape"], *numbers, share]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
