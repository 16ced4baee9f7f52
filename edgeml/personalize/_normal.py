"""Features of a window of readings, and its distance to normal ones; as a graph."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml import ops

Array = np.ndarray[Any, Any]
_BANDS = 8
_FLOOR = 0.01  # of a channel's spread: what is less makes no difference
_NEAREST = 3
_ROWS = 1024  # windows at a time


@dataclass(frozen=True)
class Scale:
    """Levels and spreads of the channels, by which features are measured.

    Args:
        level: Mean of each channel, float32 (channels,).
        spread: Standard deviation.
    """

    level: Array
    spread: Array

    @classmethod
    def of(cls, readings: Array) -> Scale:
        """Return that of readings (…, channels)."""
        columns = readings.reshape(-1, readings.shape[-1]).T
        level = [column.mean(dtype=np.float64) for column in columns]
        spread = [column.std(dtype=np.float64) for column in columns]
        return cls(np.array(level, np.float32), np.array(spread, np.float32))

    def __call__(self, *windows: Array) -> Array:
        """Return features (n, channels, features) of arrays (n, readings, channels)."""
        from edgeml.graph import Function

        run = Function(self.trace)
        parts = [each[i : i + _ROWS] for each in windows for i in range(0, len(each), _ROWS)]
        return np.concatenate([run(np.ascontiguousarray(part)) for part in parts])

    def trace(self, x: Any) -> Any:
        """Return features (batch, channels, features) of a tensor (batch, readings, channels)."""
        floor = (_FLOOR * self.spread)[:, None]
        moved = ops.transpose(x, (0, 2, 1)) - self.level[:, None]
        mean = ops.mean(moved, axis=2, keepdims=True)
        d = moved - mean
        steps = ops.absolute(d[:, :, 1:] - d[:, :, :-1])
        sizes = [
            ops.sqrt(ops.mean(ops.square(d), axis=2, keepdims=True)),
            ops.max(-d, axis=2, keepdims=True), ops.max(d, axis=2, keepdims=True),
            ops.mean(steps, axis=2, keepdims=True), ops.max(steps, axis=2, keepdims=True),
        ]  # fmt: skip
        cosine, sine, bands = _spectrum(int(x.shape[1]))
        power = ops.square(ops.matmul(d, cosine)) + ops.square(ops.matmul(d, sine))
        spectrum = ops.log(ops.matmul(power, bands) + np.square(floor)) * np.float32(0.5)
        logs = [ops.log(size + floor) for size in sizes]
        return ops.concatenate([mean / self.spread[:, None], *logs, spectrum], axis=2)


def _spectrum(length: int) -> tuple[Array, Array, Array]:
    """Return a windowed Fourier basis, twice (readings, frequencies), and bands of it."""
    n, k = np.arange(length)[:, None], np.arange(length // 2 + 1)[None]
    angle = 2 * np.pi * n * k / length
    hann = np.hanning(length)[:, None]
    edges = np.unique(np.round(np.geomspace(1, k.size, _BANDS + 1)).astype(int))
    bands = np.stack([(k[0] >= a) & (k[0] < b) for a, b in itertools.pairwise(edges)], 1)
    norm = length**2 / 8  # a sine of amplitude 1 has about power 1
    made = (hann * np.cos(angle), hann * np.sin(angle), bands / norm)
    cosine, sine, pooled = (np.ascontiguousarray(part, np.float32) for part in made)
    return cosine, sine, pooled


@dataclass(frozen=True)
class Normal:
    """Normal windows, in units of how normal windows differ.

    Args:
        centre: Mean features, (channels, features).
        unit: Their standard deviations.
        windows: Those that are kept, (kept, channels * features).
    """

    centre: Array
    unit: Array
    windows: Array

    @classmethod
    def of(cls, features: Array, most: int) -> Normal:
        """Return that of features (n, channels, features), with `most` windows at most."""
        centre, unit = features.mean(0), features.std(0) + np.float32(_FLOOR)
        z = ((features - centre) / unit).reshape(len(features), -1)
        return cls(centre, unit, _spread_out(z, most))

    def score(self, features: Array) -> Array:
        """Return the distances of windows to the nearest normal ones, (n,)."""
        z = ((features - self.centre) / self.unit).reshape(len(features), -1)
        count = min(_NEAREST, len(self.windows))
        found = []
        for start in range(0, len(z), _ROWS):
            rows = z[start : start + _ROWS]
            near = 2 * rows @ self.windows.T - np.square(self.windows).sum(1)
            nearest = np.argpartition(near, -count, axis=1)[:, -count:]
            apart = np.square(rows[:, None] - self.windows[nearest])
            found.append(np.sqrt(apart.mean((1, 2))))
        return np.concatenate(found)

    def to_onnx(self, scale: Scale, metadata: Mapping[str, str]) -> bytes:
        """Return the file from readings (batch, window, channels) to scores and contributions."""
        from edgeml.graph import Graph, to_onnx

        length = json.loads(metadata["edgeml.preprocess"])["window"]
        channels, size = self.centre.shape
        count = min(_NEAREST, len(self.windows))
        graph = Graph()
        with graph:
            x = graph.input("readings", np.float32, ("batch", length, channels))
            z = (scale.trace(x) - self.centre) / self.unit
            z = ops.reshape(z, (-1, channels * size))
            near = ops.matmul(z, np.ascontiguousarray(2 * self.windows.T))
            _, nearest = ops.top_k(near - np.square(self.windows).sum(1), count)
            apart = ops.square(ops.expand_dims(z, 1) - ops.take(self.windows, nearest))
            each = ops.reshape(ops.mean(apart, axis=1), (-1, channels, size))
            shares = ops.sum(each, axis=2) * np.float32(1 / (channels * size))
            graph.outputs["score"] = ops.sqrt(ops.sum(shares, axis=1))
            graph.outputs["contributions"] = shares
        graph.metadata = dict(metadata)
        content: bytes = to_onnx(graph, name="normal").SerializeToString()
        return content


def _spread_out(z: Array, most: int) -> Array:
    """Return the rows that are least alike (Gonzalez, 1985: farthest first)."""
    if len(z) <= most:
        return z
    if len(z) > 20 * most:
        z = z[np.linspace(0, len(z) - 1, 20 * most).astype(int)]
    squares = np.square(z).sum(1)
    kept = [int(squares.argmin())]  # the most usual
    apart = np.full(len(z), np.inf, np.float32)
    while len(kept) < most:
        last = kept[-1]
        apart = np.minimum(apart, squares + squares[last] - 2 * (z @ z[last]))
        kept.append(int(apart.argmax()))
    found: Array = z[np.sort(kept)]
    return found
