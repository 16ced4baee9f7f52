"""A head that is trained: one dense layer or more, and a softmax."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.layers import Parameter
from edgeml.optimizers import Adam
from edgeml.optimizers.schedules import CosineDecay
from edgeml.personalize._head import Array, Head, Space
from edgeml.training import minimize

_TRAIN = ("all", "bias")


class Softmax(Head):
    """A linear classifier, or with `hidden` a small network, trained on all features at once.

    A linear one starts as nearest class means, so that few steps do. The head and those with
    which it is tested on held-out examples are trained together, as one graph.

    Args:
        hidden: Units of a hidden layer; 0 for none.
        train: "all", or "bias": means stay as they are, and only the classes' offsets are trained.
        l2: Weight of the squared weights in the loss.
        steps: Steps of Adam, each on all examples.
        seed: Of a hidden layer's initial weights.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import Softmax
        >>> x = np.random.default_rng(0).normal(size=(30, 8)) + np.eye(8)[[0, 1, 2] * 10] * 5
        >>> Softmax().fit(x, ["mug", "plate", "cup"] * 10).predict(x[:3])
        ['mug', 'plate', 'cup']
    """

    max_folds = 5

    def __init__(
        self, hidden: int = 0, train: str = "all", l2: float = 1e-4, steps: int = 150, seed: int = 0
    ) -> None:
        if train not in _TRAIN:
            raise ConfigError(f"train: expected one of {', '.join(_TRAIN)}; received {train!r}")
        if hidden < 0 or steps < 1 or l2 < 0 or (hidden and train == "bias"):
            raise ConfigError(
                "Softmax: expected hidden of 0 or more (0 with train='bias'), steps of at least 1 "
                f"and l2 of 0 or more; received {hidden!r}, {steps!r}, {l2!r}"
            )
        self.hidden = hidden
        self.train = train
        self.l2 = l2
        self.steps = steps
        self.seed = seed
        self.name = "mlp" if hidden else "bias" if train == "bias" else "linear"
        self._layers: list[tuple[Array, Array]] = []

    def _learn(self, x: Array, y: Array, w: Array, folds: Array) -> tuple[Array, Array]:
        known, columns = len(self.labels), self._columns(y)
        parts = [*np.unique(folds[folds >= 0]), None]  # the last one learns from all
        used = np.stack([folds != part for part in parts]) if len(parts) > 1 else np.ones(
            (1, len(x)), bool)  # fmt: skip
        self._learn_part(x, y, w, known)
        z = self._space(x)
        layers = self._train(z, y, w * used, columns)
        logits = np.stack([_forward(z, [(k[i], b[i]) for k, b in layers])
                           for i in range(len(parts))])  # fmt: skip
        self._layers = [(k[-1], b[-1]) for k, b in layers]
        scores = _softmax(logits[-1])
        similarity = np.full(len(x), np.nan, np.float32)
        for number, part in enumerate(parts[:-1]):
            out = folds == part
            scores[out] = _softmax(logits[number, out])
            inside = Space.of(x[~out], y[~out], w[~out], known)
            similarity[out] = inside.similarity(x[out])
        return scores, similarity

    def _learn_part(self, x: Array, y: Array, w: Array, known: int) -> None:
        self._space = Space.of(x, y, w, known)

    def _train(self, z: Array, y: Array, weights: Array, columns: int) -> list[tuple[Array, Array]]:
        """Train one head for each row of weights (heads, examples); return their layers."""
        weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
        hot = np.eye(columns, dtype=np.float32)[y]
        first = self._first(z, hot, weights)
        # The first layers of all heads are one wide layer: one matrix product for all.
        (kernel, bias), *rest = first
        wide = kernel.transpose(1, 0, 2).reshape(kernel.shape[1], -1)
        layers = [(Parameter(f"kernel{i}", k), Parameter(f"bias{i}", b))
                  for i, (k, b) in enumerate([(wide, bias), *rest])]  # fmt: skip
        trained = [p for pair in layers for p in (pair[1:] if self.train == "bias" else pair)]

        def loss(z: Any, hot: Any, weights: Any) -> Any:
            first = ops.reshape(ops.matmul(z, layers[0][0]), (len(z), len(weights), -1))
            logits = ops.transpose(first, (1, 0, 2)) + layers[0][1]
            for kernel, bias in layers[1:]:
                logits = ops.matmul(ops.relu(logits), kernel) + bias
            wrong = ops.sum(-ops.log_softmax(logits) * hot, axis=-1)
            decay = [ops.sum(ops.square(kernel)) for kernel, _ in layers]
            return ops.sum(wrong * weights) + np.float32(self.l2 / 2) * sum(decay[1:], decay[0])

        step = minimize(loss, trained, Adam(CosineDecay(0.01 if rest else 0.05, self.steps)),
                        threads=1 if self.rest else None)  # fmt: skip
        for _ in range(self.steps):
            start = time.monotonic()
            step(z, hot, weights)
            if self.rest:
                time.sleep((time.monotonic() - start) * self.rest / (1 - self.rest))
        each = np.array(layers[0][0].value).reshape(kernel.shape[1], len(weights), -1)
        kernels = [each.transpose(1, 0, 2), *(np.array(k.value) for k, _ in layers[1:])]
        return list(zip(kernels, (np.array(b.value) for _, b in layers), strict=True))

    def _first(self, z: Array, hot: Array, weights: Array) -> list[tuple[Array, Array]]:
        """Return the layers (heads, in, out) and (heads, 1, out) that training starts with."""
        heads, columns = len(weights), hot.shape[1]
        if not self.hidden:
            share = (weights[:, :, None] * hot).transpose(1, 0, 2).reshape(len(z), -1)
            means = z.T @ (share / np.maximum(share.sum(0), 1e-12))
            means = means.reshape(-1, heads, columns).transpose(1, 0, 2)
            return [(8 * means, np.zeros((heads, 1, columns), np.float32))]
        rng = np.random.default_rng(self.seed)
        found = []
        for wide, narrow in ((z.shape[1], self.hidden), (self.hidden, columns)):
            kernel = rng.normal(0, np.sqrt(2 / wide), (1, wide, narrow)).repeat(heads, 0)
            found.append((kernel.astype(np.float32), np.zeros((heads, 1, narrow), np.float32)))
        return found

    def _scores(self, x: Array) -> Array:
        return _softmax(_forward(self._space(x), self._layers))

    def _trace_scores(self, z: Any) -> Any:
        return ops.softmax(_trace_forward(z, self._layers))


def _forward(z: Array, layers: Sequence[tuple[Array, Array]]) -> Array:
    for number, (kernel, bias) in enumerate(layers):
        z = (np.maximum(z, 0) if number else z) @ kernel + bias
    return z


def _trace_forward(z: Any, layers: Sequence[tuple[Any, Any]]) -> Any:
    for number, (kernel, bias) in enumerate(layers):
        z = ops.matmul(ops.relu(z) if number else z, kernel) + bias
    return z


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(-1, keepdims=True))
    found: Array = powers / powers.sum(-1, keepdims=True)
    return found.astype(np.float32)
