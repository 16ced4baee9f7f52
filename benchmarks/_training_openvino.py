"""The training step of the small CNN on the OpenVINO delegate, beside the CPU provider.

The stock runtime with OpenVINO's plugin serves Intel's processors only; the build of its own
runs on others, too, and needs a venv of its own, as both install the folder `onnxruntime`.
Run as a script there, it prints what it measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from _report import Report

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "openvino"
NEEDS = ("onnxruntime-openvino", "onnx", "numpy", "ai-edge-litert")
BATCH, STEPS, ROUNDS = 32, 40, 7


def run(report: Report) -> None:
    """Add the rows."""
    from _report import compare
    from _venv import python_with

    done = subprocess.run(
        [python_with(FOLDER, NEEDS), __file__], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        print(f"OpenVINO left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return
    found = json.loads(done.stdout.splitlines()[-1])
    compare(
        report, "CNN 28x28 on the OpenVINO delegate, batch 32", "training step", "ms",
        found["openvino"], found["cpu"], "the CPU provider of the same build", better="lower",
        batch=BATCH, note=f"gradients differ by {found['gap']:.1g} (relative) at most, float32",
    )  # fmt: skip


def measured() -> dict[str, Any]:
    """Return rounds of both, and the largest relative difference of their gradients."""
    import edgeml
    from edgeml import layers
    from edgeml.training import Trainer

    model = edgeml.Sequential([
        edgeml.Input((28, 28, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10),
    ])  # fmt: skip
    path = FOLDER / "cnn.onnx"
    model.save(path)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 28, 28, 1)).astype(np.float32)
    y = rng.integers(0, 10, BATCH)
    trainers = {
        delegate: Trainer(path, loss="sparse_categorical_crossentropy", from_logits=True,
                          delegate=delegate)
        for delegate in ("cpu", "openvino")
    }  # fmt: skip
    ours, theirs = (trainer.gradients(x, y) for trainer in trainers.values())
    gap = max(np.abs(ours[n] - theirs[n]).max() / np.abs(ours[n]).max() for n in ours)
    if not gap < 1e-4:
        raise SystemExit(f"OpenVINO's gradients differ from the CPU's by {gap:.2g}")
    times: dict[str, list[float]] = {delegate: [] for delegate in trainers}
    for _ in range(ROUNDS):
        for delegate, trainer in trainers.items():
            trainer.step(x, y)
            start = time.perf_counter()
            for _ in range(STEPS):
                trainer.step(x, y)
            times[delegate].append((time.perf_counter() - start) / STEPS * 1e3)
    return {**times, "gap": float(gap)}


if __name__ == "__main__":
    print(json.dumps(measured()))
