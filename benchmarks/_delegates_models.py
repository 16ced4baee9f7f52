"""Models on delegates, in venvs that hold them: run as a script there, it prints rows.

OpenVINO's build replaces the stock runtime, and Qualcomm's simulator is a plugin of it, so each
has a venv of its own; what is compared lies within one process, in turns.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _training_openvino
import numpy as np

if TYPE_CHECKING:
    from _report import Report

ROOT = Path(__file__).resolve().parent.parent
OPENVINO = (_training_openvino.FOLDER.name, _training_openvino.NEEDS)
SIMULATOR = ("qnn", ("onnxruntime", "onnxruntime-qnn", "onnx", "numpy"))
REGRET = 5.0  # per cent, in 19 of 20 trials
_QUICK = ("EfficientNet-Lite0 int8", "Transformer", "activity int8", "BlazeFace TFLite")
SEED = 1000  # of inputs to check winners with, which `measure` has not seen


def run(report: Report, args: argparse.Namespace) -> None:
    """Add the rows of each venv."""
    from _report import Row
    from _venv import python_with

    with tempfile.TemporaryDirectory() as folder:
        models = _models(Path(folder), args)
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "EDGEML_CACHE_DIR": f"{folder}/cache"
        }  # fmt: skip
        for name, packages in (OPENVINO, SIMULATOR):
            try:
                python = python_with(ROOT / ".cache" / name, packages)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{name} left out: {error}", file=sys.stderr)
                continue
            command = [python, __file__, name, json.dumps(models), *["--quick"] * args.quick]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=environment
            ) as process:
                for line in process.stdout or ():
                    if line.startswith("{"):
                        report.add(Row(**json.loads(line)))
            if process.returncode:
                print(f"{name}: ended with code {process.returncode}", file=sys.stderr)
        _training_openvino.run(report)


def _models(folder: Path, args: argparse.Namespace) -> dict[str, str]:
    """Return the models by name."""
    found = {
        "EfficientNet-Lite0 fp32": str(args.efficientnet),
        "EfficientNet-Lite0 int8": "edgeml:efficientnet_lite0_int8.onnx",
        "NanoDet fp32": str(args.nanodet),
        "NanoDet int8": "edgeml:nanodet_g_416_int8.onnx",
        "Transformer": str(_transformer(folder)),
        "silero": "edgeml:silero_vad.onnx",
        "activity int8": "edgeml:activity_watch_int8.onnx",
        "BlazeFace TFLite": "edgeml:blazeface.tflite",
    }
    if args.quick:
        found = {case: found[case] for case in _QUICK}
    for case, path in list(found.items()):
        if not path.startswith("edgeml:") and not Path(path).exists():
            print(f"{case} left out: there is no {path}", file=sys.stderr)
            del found[case]
    return found


def _transformer(folder: Path) -> Path:
    """Write a Transformer of two layers over 64 tokens, with random weights."""
    import edgeml
    from edgeml import layers

    model = edgeml.Sequential([
        edgeml.Input((64,), dtype="int64"), layers.TokenAndPositionEmbedding(256, 64, 128),
        layers.TransformerEncoder(256, 4), layers.TransformerEncoder(256, 4),
        layers.GlobalAveragePooling1D(), layers.Dense(10),
    ])  # fmt: skip
    path = folder / "transformer.onnx"
    model.save(path)
    return path


def _inputs(case: str) -> Any:
    """Return what a model needs that does not make sense of random numbers; else None."""
    if case != "silero":
        return None
    rng = np.random.default_rng(0)
    return {
        "input": rng.standard_normal((1, 576)).astype(np.float32) * 0.1,
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000),
    }


def on_openvino(models: dict[str, str], quick: bool) -> Iterator[dict[str, Any]]:
    """Yield each delegate's time for each model, and the regret of `measure`."""
    trials, seconds = (3, 0.2) if quick else (20, 0.5)
    regrets: list[float] = []
    off = 0
    for case, model in models.items():
        lost, found, wrong, chosen = _trials(case, model, trials, seconds)
        yield from _times(case, found)
        regrets += lost
        off += wrong
        reference = found[-1]
        yield {
            "case": case, "metric": "regret of measure, worst of 19 of 20", "unit": "%",
            "better": "lower", "ours": sorted(lost)[-1 - trials // 20], "target": REGRET,
            "target_on": "ours", "n": trials, "threads": reference.threads,
            "spread": statistics.quantiles(lost, n=4)[::2],
            "note": f"chosen: {chosen}",
        }  # fmt: skip
    yield {
        "case": "all models", "metric": "trials whose regret is at most 5%", "unit": "%",
        "better": "higher", "ours": 100 * sum(one <= REGRET for one in regrets) / len(regrets),
        "target": 95.0, "target_on": "ours", "n": len(regrets),
        "note": f"half of them are {statistics.median(regrets):.1f}% or less",
    }  # fmt: skip
    yield {
        "case": "all models", "metric": "winners whose outputs are off", "unit": "trials",
        "better": "lower", "ours": off, "target": 0, "target_on": "ours", "n": len(regrets),
        "note": "by inputs that measure has not seen",
    }  # fmt: skip


def _trials(
    case: str, model: str, trials: int, seconds: float
) -> tuple[list[float], list[Any], int, str]:
    """Return regrets in per cent, the reference's measurements, how many winners were off, and who.

    The reference is measured between the trials, with the models loaded anew each time: what
    the machine does besides meets both.
    """
    from edgeml.runtime import measure

    inputs = _inputs(case)
    chosen, reference = [], []
    for trial in range(trials):
        chosen.append(measure(model, inputs=inputs, seconds=seconds, remember=False).winner)
        if trial % 4 == 0:
            reference.append(measure(model, inputs=inputs, seconds=2 * seconds, remember=False))
    speedups = _speedups(reference)
    best = max(speedups.values())
    wrong = sum(chosen.count(one) for one in set(chosen) if _is_off(model, one, inputs))
    lost = [(best / speedups[str(one)] - 1) * 100 for one in chosen]
    who = ", ".join(f"{one} {n} times" for one, n in Counter(map(str, chosen)).most_common())
    return lost, reference, wrong, who


def _speedups(reference: list[Any]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for one in reference:
        for row in one.rows:
            if row.speedup is not None:
                found.setdefault(str(row.delegate), []).append(row.speedup)
    return {delegate: statistics.median(speedups) for delegate, speedups in found.items()}


def _is_off(model: str, delegate: Any, inputs: Any) -> bool:
    """Return whether a winner's outputs are off, by inputs that `measure` has not seen."""
    import edgeml
    from edgeml.runtime import Delegate
    from edgeml.runtime._agreement import TOLERANCES, disagreement
    from edgeml.runtime._random import random_inputs

    plain = Delegate("cpu", xnnpack=False) if model.endswith(".tflite") else Delegate("cpu")
    with edgeml.load(model, plain) as expected, edgeml.load(model, delegate) as received:
        sets = [inputs or random_inputs(expected.inputs, {}, SEED + i) for i in range(4)]
        error, _ = disagreement(*[[s.run(x) for x in sets] for s in (expected, received)])
    return not error <= TOLERANCES["int8" if "int8" in model else "fp32"]


def _times(case: str, reference: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield each delegate's time beside the CPU's."""
    for k, row in enumerate(reference[0].rows):
        rows = [one.rows[k] for one in reference]
        if row.median_ms is None:
            print(f"{case}: {row.delegate}: {row.problem}", file=sys.stderr)
        if k == 0 or None in [one.median_ms for one in rows]:
            continue
        ratios = [one.speedup for one in rows]
        low, ratio, high = np.percentile(ratios, [25, 50, 75]).tolist()
        yield {
            "case": f"{case}, {row.delegate}", "metric": "time", "unit": "ms", "better": "lower",
            "ours": statistics.median(one.median_ms for one in rows),
            "peer": statistics.median(one.rows[0].median_ms for one in reference),
            "peer_name": "the CPU's own kernels", "ratio": ratio, "spread": (low, high),
            "n": sum(one.calls for one in rows), "threads": reference[0].threads,
            "note": f"outputs off by {row.error:.2g}, {row.tolerance:.2g} allowed; "
            f"{row.on_cpu} nodes on the CPU; load {row.load_ms:.0f} ms, "
            f"{row.memory / 2**20:.0f} MiB (CPU: {reference[0].rows[0].memory / 2**20:.0f})",
        }  # fmt: skip


def on_simulator(models: dict[str, str], quick: bool) -> Iterator[dict[str, Any]]:
    """Yield how far the outputs of Qualcomm's simulator are off: its time says nothing."""
    from edgeml.runtime import Delegate

    simulated = Delegate("qnn", dims={"N": 1, "batch": 1, "sequence": 576})
    for case, model in models.items():
        if not model.endswith(".tflite") and case != "NanoDet fp32":  # which takes minutes
            yield from _simulated(case, model, simulated)
    yield _gradients()
    yield _loads("edgeml:efficientnet_lite0_int8.onnx", simulated, 3 if quick else 7)


def _simulated(case: str, model: str, delegate: Any) -> Iterator[dict[str, Any]]:
    """Yield the row of one model: one run, as `measure`'s four take long there."""
    import edgeml
    from edgeml.errors import DelegateError
    from edgeml.platform import resident
    from edgeml.runtime._agreement import TOLERANCES, disagreement
    from edgeml.runtime._random import random_inputs

    before = resident()
    try:
        session = edgeml.load(model, delegate)
    except DelegateError as error:
        print(f"{case}, qnn (simulator): {error}", file=sys.stderr)
        return
    with session, edgeml.load(model, "cpu") as reference:
        inputs = _inputs(case) or random_inputs(session.inputs, {})
        received = session.run(inputs)
        memory = max(resident() - before, 0)
        error, output = disagreement([reference.run(inputs)], [received])
        allowed = TOLERANCES["int8" if "int8" in case else "fp16"]
        left = sum(node.delegate == "CPUExecutionProvider" for node in session.placement())
        yield {
            "case": f"{case}, qnn (simulator)", "metric": "outputs off", "unit": "of the CPU's",
            "better": "lower", "ours": error,
            "note": f"{'right' if error <= allowed else 'not taken by measure'}: {allowed} is "
            f"allowed; most in {output!r}; {left} of {len(session.placement())} nodes on the CPU; "
            f"{memory / 2**20:.0f} MiB",
        }  # fmt: skip


def _gradients() -> dict[str, Any]:
    """Return how far the gradients of a small CNN are off."""
    import edgeml
    from edgeml import layers
    from edgeml.training import Trainer

    model = edgeml.Sequential([
        edgeml.Input((28, 28, 1)),
        layers.Conv2D(8, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10),
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 28, 28, 1)).astype(np.float32), rng.integers(0, 10, 8)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/cnn.onnx")
        ours, theirs = (
            Trainer(
                f"{folder}/cnn.onnx", loss="sparse_categorical_crossentropy", from_logits=True,
                delegate=delegate,
            ).gradients(x, y)
            for delegate in ("cpu", "qnn")
        )  # fmt: skip
    gap = max(float(np.abs(ours[n] - theirs[n]).max() / np.abs(ours[n]).max()) for n in ours)
    return {
        "case": "training step of a small CNN, qnn (simulator)", "metric": "gradients off",
        "unit": "of the CPU's", "better": "lower", "ours": gap, "target": 0.02,
        "target_on": "ours", "batch": 8, "note": "calculated in float16 where QNN takes the node",
    }  # fmt: skip


def _loads(model: str, delegate: Any, rounds: int) -> dict[str, Any]:
    """Return how long loading takes with the engine that is kept, and without."""
    import edgeml
    from edgeml.runtime import Delegate

    plain = Delegate(delegate.name, cache=False, **delegate.options)
    times: dict[str, list[float]] = {"kept": [], "compiled": []}
    edgeml.load(model, delegate).close()
    for _ in range(rounds):
        for name, entry in (("kept", delegate), ("compiled", plain)):
            began = time.perf_counter()
            edgeml.load(model, entry).close()
            times[name].append((time.perf_counter() - began) * 1e3)
    ratios = [c / k for c, k in zip(times["compiled"], times["kept"], strict=True)]
    low, ratio, high = np.percentile(ratios, [25, 50, 75]).tolist()
    return {
        "case": "EfficientNet-Lite0 int8, load for Qualcomm's NPU", "metric": "time", "unit": "ms",
        "better": "lower", "ours": statistics.median(times["kept"]),
        "peer": statistics.median(times["compiled"]), "peer_name": "compiled anew", "ratio": ratio,
        "spread": (low, high), "n": rounds, "target": 1.0,
        "note": "compiling is done by the CPU, here as on a device",
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("venv", choices=[OPENVINO[0], SIMULATOR[0]])
    parser.add_argument("models", type=json.loads)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    logging.getLogger("edgeml").setLevel(logging.ERROR)  # what is left to the CPU is in the rows
    part = on_openvino if given.venv == OPENVINO[0] else on_simulator
    for made in part(given.models, given.quick):
        print(json.dumps(made), flush=True)
