"""What others make of a network: ONNX Runtime's tool, and NNCF in an environment of its own."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _shrink_pictures import ROOT, Network
from _venv import python_with
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod, QuantType

from edgeml.quantize import save, simplify

Array = np.ndarray[Any, Any]
HERE = Path(__file__).resolve().parent
NNCF = ("nncf==3.4.0", "onnx==1.23.2", "onnxruntime==1.31.1", "opencv-python-headless")
_HEAD = ("Split", "Sigmoid", "Reshape", "Transpose")  # of NanoDet, behind the last convolutions
_FEW = 24  # pictures for calibrators that keep all activations of all pictures in memory


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Gives pictures to ONNX Runtime's tool."""

    def __init__(self, network: Network, pictures: Array) -> None:
        self._feeds = (network.feed(picture) for picture in pictures)

    def get_next(self) -> dict[str, Array] | None:
        """Return the next input, or None."""
        return next(self._feeds, None)


def runtime_default(network: Network, source: Path, pictures: Array, target: Path) -> None:
    """Write what `quantize_static` makes with no options."""
    _silently(str(source), str(target), Reader(network, pictures))


def runtime_flags(
    network: Network, source: Path, pictures: Array, folder: Path, *, methods: int
) -> Iterator[tuple[str, Path]]:
    """Yield what `quantize_static` makes with the flags that suit x86, one method after another.

    That is uint8 activations, int8 weights by channel; for a detector also with its head in float.
    All that comes after edgeml's `simplify`: the tool's own preprocessing leaves NanoDet a padding
    of -3.4e38, whose range loses every box.
    """
    ready = folder / "simplified.onnx"
    save(simplify(source), ready)
    head = [n.name for n in onnx.load(str(ready)).graph.node if n.op_type in _HEAD]
    heads: dict[str, list[str]] = {"": []} | ({", head float": head} if head else {})
    choices: Mapping[str, tuple[Any, int, dict[str, Any]]] = {
        "minmax": (CalibrationMethod.MinMax, len(pictures), {}),
        "mean of minmax": (CalibrationMethod.MinMax, len(pictures), {"CalibMovingAverage": True}),
        "percentile": (CalibrationMethod.Percentile, _FEW, {"CalibPercentile": 99.99}),
        "entropy": (CalibrationMethod.Entropy, _FEW, {}),
    }
    for name, (method, count, options) in [*choices.items()][:methods]:
        for suffix, excluded in heads.items():
            target = folder / f"flags {name}{suffix}.onnx"
            some = pictures[
                np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(int)
            ]
            _silently(
                str(ready), str(target), Reader(network, some), per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                calibrate_method=method, nodes_to_exclude=excluded, extra_options=options,
            )  # fmt: skip
            yield f"U8S8 by channel, {name}{suffix}", target


def _silently(*arguments: Any, **more: Any) -> None:
    """Call `quantize_static`, which warns on the root logger."""
    logging.getLogger().setLevel(logging.ERROR)
    quantization.quantize_static(*arguments, **more)


def nncf(source: Path, pictures: Array, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what `quantize_with_accuracy_control` makes, for both of its presets."""
    given = folder / "pictures.npy"
    np.save(given, pictures)
    python = python_with(ROOT / ".cache" / "nncf", NNCF)
    for preset in ("mixed", "performance"):
        target = folder / f"nncf {preset}.onnx"
        command = [python, HERE / "_shrink_nncf.py", source, given, preset, target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"NNCF, {preset}: {done.stderr.splitlines()[-1:]}", file=sys.stderr, flush=True)
        else:
            yield f"NNCF accuracy control, {preset}", target
