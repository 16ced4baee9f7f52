"""What the longer examples reach, and how long they take: each with three seeds.

    python benchmarks/examples.py [--quick] [--json FILE] [--only NAME]

Each runs as a user runs it, with its defaults. The figure is that of the worst seed. Needs
scikit-learn, OpenCV, gymnasium and Babel.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _report import Report, Row, main

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SECONDS = 180.0  # of one run, on two cores
GOALS = {
    "dqn": (r"([\d.]+) points, mean", "mean of 100 episodes", "points", 475.0),
    "seq2seq": (r"right ([\d.]+) of", "exact match, days never seen", "", 0.99),
    "super_resolution": (r"gain ([\d.]+) dB", "PSNR over bicubic", "dB", 0.8),
    "vae": (r"recognised ([\d.]+) of", "drawings recognised", "", 0.9),
    "gan": (r"recognised ([\d.]+) of", "drawings recognised", "", 0.9),
    "diffusion": (r"recognised ([\d.]+) of", "drawings recognised", "", 0.9),
}


def once(name: str, seed: int) -> tuple[float, float]:
    """Run an example; return its figure and the seconds that it took."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), f"--seed={seed}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    found = re.search(GOALS[name][0], done.stdout)
    if found is None:
        raise RuntimeError(f"examples/{name}.py printed no figure:\n{done.stdout}")
    return float(found.group(1)), seconds


def run(report: Report, args: argparse.Namespace) -> None:
    """Run all examples, or the one that was asked for."""
    for name, (_, metric, unit, goal) in GOALS.items():
        if args.only not in (None, name):
            continue
        seeds = range(1 if args.quick else 3)
        values, seconds = zip(*(once(name, seed) for seed in seeds), strict=True)
        each = ", ".join(f"{value:g}" for value in values)
        report.add(
            Row(
                f"examples/{name}.py", f"{metric}, worst seed", unit, "higher", ours=min(values),
                target=goal, target_on="ours", n=len(values), note=f"seeds 0 to 2: {each}",
            )
        )  # fmt: skip
        report.add(
            Row(
                f"examples/{name}.py", "time of a run, slowest seed", "s", "lower",
                ours=max(seconds), target=SECONDS, target_on="ours", n=len(seconds),
                note=f"median {statistics.median(seconds):.0f} s",
            )
        )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=GOALS, help="one example alone")


if __name__ == "__main__":
    main("examples", ("onnxruntime", "gymnasium", "scikit-learn", "numpy"), run, options)
