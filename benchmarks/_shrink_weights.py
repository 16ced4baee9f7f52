"""Weights of matrices alone in integers: a Transformer for one token, and for many at once."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report, Row

import edgeml
from edgeml import layers
from edgeml.quantize import quantize_weights, simplify
from edgeml.quantize._measure import side_by_side
from edgeml.quantize._quality import relative_error
from edgeml.quantize._session import open_model

WIDTH = 256


def run(report: Report, args: argparse.Namespace) -> None:
    """Add a row for each number of bits and of tokens."""
    case = "Transformer encoder"
    if args.only and args.only.lower() not in f"{case}, weights".lower():
        return
    for tokens in (1, 64):
        model = _model(tokens)
        small = {bits: quantize_weights(model, bits=bits) for bits in (8, 4)}
        sessions = [open_model(m) for m in (model, *small.values())]
        x = np.random.default_rng(0).standard_normal((1, tokens, WIDTH)).astype(np.float32)
        feed = {sessions[0].get_inputs()[0].name: x}
        names = [output.name for output in sessions[0].get_outputs()]
        outputs = [dict(zip(names, s.run(names, feed), strict=True)) for s in sessions]
        rounds = 5 if args.quick else 25
        first, *others = side_by_side(sessions, [feed], rounds=rounds)
        for (bits, made), timing, found in zip(small.items(), others, outputs[1:], strict=True):
            report.add(Row(
                f"{case}, weights in {bits} bits, tokens: {tokens}", "latency", "ms", "lower",
                timing.median, first.median, "float32", timing.ratio, n=rounds,
                spread=(timing.low, timing.high),
                note=f"{made.ByteSize() / model.ByteSize():.2f} of the size; outputs off by "
                f"{relative_error(found, outputs[0]):.2g}",
            ))  # fmt: skip


def _model(tokens: int) -> Any:
    layers.set_random_seed(0)
    blocks = [layers.TransformerEncoder(4 * WIDTH, 8) for _ in range(4)]
    net = edgeml.Sequential([edgeml.Input((tokens, WIDTH)), *blocks, layers.Dense(10)])
    with tempfile.TemporaryDirectory() as folder:
        net.save(Path(folder) / "net.onnx")
        return simplify(Path(folder) / "net.onnx")
