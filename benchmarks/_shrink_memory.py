"""Memory of calibrating, in processes of their own: 10,000 pictures against 100.

    python _shrink_memory.py MODEL SOURCES COUNT

prints the greatest resident memory in bytes. Pictures are made as they are asked for: random
squares of a few photos, so that none of them is kept.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report, Row
from _shrink_pictures import LITE0

Array = np.ndarray[Any, Any]
FEW, MANY = 100, 10_000
WITHIN = 1.05


def run(report: Report, args: argparse.Namespace) -> None:
    """Add the row."""
    case = f"calibration of {LITE0.name}"
    source = args.networks[LITE0.file]
    if (args.only and args.only.lower() not in case.lower()) or not source.is_file():
        return
    few, many = (20, 100) if args.quick else (FEW, MANY)
    script = [sys.executable, __file__, source, args.sources]
    peaks = [
        int(subprocess.run([*script, str(count)], capture_output=True, check=True).stdout)
        for count in (few, many)
    ]
    report.add(Row(
        case, f"peak resident memory, {many} pictures for {few}'s", "x", "lower",
        peaks[1] / peaks[0], target=WITHIN, target_on="ours",
        note=f"{peaks[1] / 1e6:.0f} MB for {peaks[0] / 1e6:.0f}; each in a process of its own",
    ))  # fmt: skip


def squares(sources: Path, count: int) -> Iterator[Array]:
    """Yield random squares of three photos, of the network's size."""
    import cv2

    folder = sources / "scikit-image" / "skimage" / "data"
    photos = [
        cv2.imread(str(folder / f"{name}.png")) for name in ("astronaut", "coffee", "chelsea")
    ]
    rng = np.random.default_rng(0)
    for i in range(count):
        photo = photos[i % len(photos)]
        side = int(min(photo.shape[:2]) * rng.uniform(0.4, 1))
        top, left = (rng.integers(0, n - side + 1) for n in photo.shape[:2])
        yield cv2.resize(photo[top : top + side, left : left + side], (LITE0.size, LITE0.size))


def main() -> None:
    """Calibrate with so many pictures, print the memory."""
    from edgeml.quantize import simplify
    from edgeml.quantize._blocks import find_blocks
    from edgeml.quantize._calibrate import calibrate
    from edgeml.quantize._index import Index
    from edgeml.quantize._plan import tensors_of
    from edgeml.quantize._targets import TARGETS

    source, sources, count = sys.argv[1:]
    model = simplify(source)
    index = Index(model)
    tensors = tensors_of(index, find_blocks(index, TARGETS["x86-vnni"].kernels))
    calibrate(model, map(LITE0.feed, squares(Path(sources), int(count))), tensors)
    # Of this program alone: what getrusage says is not less than of the process that forked it.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak) * 1024)


if __name__ == "__main__":
    main()
