"""Delegates: does `measure` find the fastest one, and are its outputs the CPU's?

python benchmarks/delegates.py [--quick] [--json FILE]

Each model is measured on every delegate that can be had, against a long interleaved reference;
the regret is how much slower than the reference's fastest the one is that `measure` chose. Run
it in an environment with onnxruntime-openvino for more than one delegate of ONNX models.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile

from _delegates_swap import swaps
from _report import Report, Row, main

from edgeml.runtime import Measurement, delegates, measure

MODELS = {
    "EfficientNet-Lite0 int8": "edgeml:efficientnet_lite0_int8.onnx",
    "NanoDet int8": "edgeml:nanodet_g_416_int8.onnx",
    "activity int8": "edgeml:activity_watch_int8.onnx",
    "BlazeFace TFLite": "edgeml:blazeface.tflite",
}
REGRET = 5.0  # per cent, in 19 of 20 trials


def run(report: Report, args: argparse.Namespace) -> None:
    """Measure each model."""
    there = [name for name, found in delegates().items() if found]
    print("delegates:", ", ".join(there))
    trials, long, short = (3, 3.0, 0.3) if args.quick else (20, 20.0, 2.0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EDGEML_CACHE_DIR"] = folder
        for case, model in MODELS.items():
            reference = measure(model, seconds=long, remember=False)
            tables(report, case, reference)
            regrets(report, case, model, reference, trials, short)
    swaps(report, 10 if args.quick else 100)


def tables(report: Report, case: str, found: Measurement) -> None:
    """Add each delegate's time and how far its outputs are off."""
    cpu = found.rows[0].median_ms
    for row in found.rows[1:]:
        if row.median_ms is None or cpu is None:
            print(f"{case}: {row.delegate}: {row.problem}")
            continue
        report.add(
            Row(
                f"{case}, {row.delegate}", "time", "ms", "lower", row.median_ms, cpu,
                "CPU without delegate", row.speedup, n=row.calls, spread=row.spread_ms,
                threads=found.threads,
                note=f"outputs off by {row.error:.2g}, {row.tolerance:.2g} allowed",
            )
        )  # fmt: skip


def regrets(
    report: Report, case: str, model: str, reference: Measurement, trials: int, seconds: float
) -> None:
    """Add how much slower the winner of a short measurement is than that of the long one."""
    speedups = {str(row.delegate): row.speedup for row in reference.rows if row.problem is None}
    best = max(speedup for speedup in speedups.values() if speedup is not None)
    lost = []
    for _ in range(trials):
        chosen = measure(model, seconds=seconds, remember=False).winner
        lost.append((best / (speedups[str(chosen)] or 1e-9) - 1) * 100)
    report.add(
        Row(
            case, "regret of measure, worst of 19 of 20", "%", "lower",
            sorted(lost)[-1 - trials // 20], target=REGRET, target_on="ours", n=trials,
            spread=tuple(statistics.quantiles(lost, n=4)[::2]), threads=reference.threads,
            note=f"fastest: {reference.winner} of {', '.join(speedups)}",
        )
    )  # fmt: skip


if __name__ == "__main__":
    main("delegates", ["numpy", "onnxruntime", "onnxruntime-openvino", "ai-edge-litert"], run)
