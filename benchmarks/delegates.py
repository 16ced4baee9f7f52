"""Delegates: does `measure` find the fastest one, and are its outputs the CPU's?

python benchmarks/delegates.py [--quick] [--json FILE] [--only models|swaps|worker]
    [--efficientnet FILE] [--nanodet FILE]

Models on the CPU, on OpenVINO, on LiteRT's XNNPACK and, for their outputs alone, on the simulator
of Qualcomm's NPU, each in a venv of its own that is made when it is missing. The regret is how
much slower than the fastest the one is that `measure` chose, by a longer measurement that takes
turns with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _delegates_models
from _delegates_swap import swaps
from _delegates_worker import worker
from _report import Report, main

CACHE = Path(__file__).resolve().parent.parent / ".cache/shrink"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to measure, and where the large models are."""
    parser.add_argument("--only", choices=("models", "swaps", "worker"), help="one part alone")
    for name, file in (("efficientnet", "efficientnet_lite0"), ("nanodet", "nanodet_g_416")):
        parser.add_argument(
            f"--{name}", type=Path, default=CACHE / f"{file}.onnx", metavar="FILE",
            help=f"the fp32 model (default: {CACHE.name}/{file}.onnx in .cache)",
        )  # fmt: skip


def run(report: Report, args: argparse.Namespace) -> None:
    """Add all rows."""
    if args.only in (None, "models"):
        _delegates_models.run(report, args)
    if args.only in (None, "swaps"):
        swaps(report, 10 if args.quick else 100)
    if args.only in (None, "worker"):
        worker(report, args.quick)


if __name__ == "__main__":
    main("delegates", ["numpy", "onnxruntime", "ai-edge-litert"], run, arguments)
