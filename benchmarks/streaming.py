"""Streams against the loops that people write by hand, and what the streams cost.

python benchmarks/streaming.py [--quick] [--json FILE] [--only CASE]
"""

from __future__ import annotations

import argparse

from _report import Report, main
from _streaming_costs import fused, hops, loop_lag, many_cameras, overload
from _streaming_video import pinned, uploads, videos

SMALL_MODEL = "edgeml:activity_watch_int8.onnx"
BUSY_MODEL = "edgeml:efficientnet_lite0_int8.onnx"

CASES = {
    "videos": videos,
    "pinned": pinned,
    "uploads": uploads,
    "hops": hops,
    "fused": fused,
    "lag": lambda report, quick: loop_lag(report, BUSY_MODEL, quick=quick),
    "overload": overload,
    "cameras": lambda report, quick: many_cameras(report, SMALL_MODEL, quick=quick),
}


def run(report: Report, args: argparse.Namespace) -> None:
    """Run the cases that were asked for."""
    for name, case in CASES.items():
        if not args.only or name in args.only:
            case(report, quick=args.quick)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of cases."""
    parser.add_argument("--only", action="append", choices=CASES, help="run this case; repeatable")


if __name__ == "__main__":
    main("streaming", ["numpy", "onnxruntime", "opencv-python-headless", "av"], run, add_arguments)
