"""Time and memory of training steps, against PyTorch eager with its fused optimizer.

    python benchmarks/training.py [--quick] [--json FILE] [--only NAME]

Both sides do the whole step: forward, backward, Adam, and reading the loss. Rounds are
interleaved; each is some tens of steps on the same data. Needs PyTorch and Keras: ``make
oracles``, and for TF.js ``npm install --prefix benchmarks/tfjs``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _training_footprint
import _training_lite0
import _training_openvino
import _training_profile
import numpy as np
import torch
from _report import Report, compare, main
from _training_models import CASES, CLASSES, Case
from torch import nn

import edgeml
from edgeml.platform import cores

Array = np.ndarray[Any, Any]
HERE = Path(__file__).resolve().parent
LOSS = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)


def data_for(case: Case, count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, count)
    if case.integers:
        return rng.integers(0, case.integers, (count, *case.shape)), y
    return rng.standard_normal((count, *case.shape)).astype(np.float32), y


def our_steps(model: edgeml.Model, x: Array, y: Array, batch: int) -> Callable[[], None]:
    model.compile(edgeml.optimizers.Adam(1e-3), LOSS)
    model.fit(x, y, batch_size=batch, verbose=0, shuffle=False)  # compiles the step
    return lambda: model.fit(x, y, batch_size=batch, verbose=0, shuffle=False) and None


def torch_steps(
    model: nn.Module, x: Array, y: Array, batch: int, channels: bool
) -> Callable[[], None]:
    if channels:
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 1e-3, eps=1e-7, fused=True)

    def run() -> None:
        total = 0.0
        for at in range(0, len(tx), batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(tx[at : at + batch]), ty[at : at + batch])
            loss.backward()
            optimizer.step()
            total += loss.item()

    run()
    return run


def timed(run: Callable[[], None], steps: int) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) / steps * 1e3


def pair(
    report: Report, name: str, ours: Callable[[], None], theirs: Callable[[], None], steps: int,
    rounds: int, batch: int, target: float | None, peer_name: str = "PyTorch eager",
) -> None:  # fmt: skip
    mine, peer = [], []
    for _ in range(rounds):
        mine.append(timed(ours, steps))
        peer.append(timed(theirs, steps))
    compare(
        report, f"{name}, batch {batch}", "training step", "ms", mine, peer, peer_name,
        better="lower", target=target, threads=cores(), batch=batch,
    )  # fmt: skip


def step_times(report: Report, args: argparse.Namespace) -> None:
    rounds = 5 if args.quick else 15
    for case in CASES:
        if args.only and args.only.lower() not in case.name.lower():
            continue
        for batch in (1, 8, 32):
            model = case.theirs()
            x, y = data_for(case, batch)
            once = timed(torch_steps(model, x, y, batch, case.channels), 1)
            steps = max(4, min(200, int((40 if args.quick else 200) / max(once, 0.05))))
            x, y = data_for(case, batch * steps)
            pair(
                report, case.name, our_steps(case.ours(), x, y, batch),
                torch_steps(case.theirs(), x, y, batch, case.channels), steps, rounds, batch,
                case.targets.get(batch),
            )  # fmt: skip


def keras_steps(x: Array, y: Array) -> Callable[[], None]:
    """Return the MLP's epoch in Keras 3, on PyTorch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    model = keras.Sequential([
        keras.Input((64,)), keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(128, activation="relu"), keras.layers.Dense(CLASSES),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)

    def run() -> None:
        model.fit(x, y, batch_size=32, verbose=0, shuffle=False)

    run()
    return run


def others(report: Report, args: argparse.Namespace) -> None:
    """The MLP against Keras 3 and TF.js on WebAssembly, batch 32."""
    case = CASES[0]
    if args.only and args.only.lower() not in case.name.lower():
        return
    steps, rounds = 100, 5 if args.quick else 15
    x, y = data_for(case, 32 * steps)
    ours = our_steps(case.ours(), x, y, 32)
    pair(report, case.name, ours, keras_steps(x, y), steps, rounds, 32, None,
         peer_name="Keras 3 on PyTorch")  # fmt: skip
    if not (HERE / "tfjs" / "node_modules").is_dir():
        print("no TF.js: npm install --prefix benchmarks/tfjs", file=sys.stderr)
        return
    script = ["node", str(HERE / "tfjs" / "training.mjs"), str(steps), str(rounds)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    mine = [timed(ours, steps) for _ in range(rounds)]
    compare(
        report, f"{case.name}, batch 32", "training step", "ms", mine,
        json.loads(done.stdout.splitlines()[-1]), "TF.js wasm", better="lower", target=20.0,
        threads=cores(), batch=32, note="a process of its own, before our rounds",
    )  # fmt: skip


def run(report: Report, args: argparse.Namespace) -> None:
    torch.set_num_threads(cores())
    step_times(report, args)
    others(report, args)
    if not args.only or "efficientnet" in args.only.lower():
        _training_lite0.run(report, args, lambda m, x, y: torch_steps(m, x, y, 32, False))
    if not args.only or "openvino" in args.only.lower():
        _training_openvino.run(report)
    if not args.only or "profile" in args.only.lower():
        _training_profile.run(report)
    if not args.only or "memory" in args.only.lower():
        _training_footprint.run(report)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", help="cases whose name holds this")


if __name__ == "__main__":
    main("training", ("onnxruntime", "onnx", "torch", "numpy"), run, add_arguments)
