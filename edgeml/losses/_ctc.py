"""Connectionist temporal classification: labels of a sequence without their times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor
from edgeml.graph.rules._recurrent_parts import scan
from edgeml.losses._base import Loss, named

_NEVER = -1e30  # a logarithm of zero that can be added to


@named()
@dataclass
class CTC(Loss):
    """Minus the logarithm of the labels' probability, whenever they come (Graves et al., 2006).

    Class 0 is the blank between labels, and fills targets that are shorter than others. The loss is
    infinite when there are fewer steps than the labels take: one for each, and one more between two
    equal ones.

    Targets: integers (batch, labels), 0 after the last label. Output: logits (batch, steps,
    classes).

    Example:
        >>> import numpy as np, edgeml
        >>> loss = edgeml.function(edgeml.losses.CTC())
        >>> round(float(loss(np.array([[1, 2]]), np.zeros((1, 4, 3)))), 3)
        1.686
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        if y_true.ndim != 2 or y_pred.ndim != 3:
            raise ShapeError(
                "CTC takes labels (batch, labels) and logits (batch, steps, classes), received "
                f"{tuple(y_true.known_shape)} and {tuple(y_pred.known_shape)}",
                received=(tuple(y_true.known_shape), tuple(y_pred.known_shape)),
            )
        labels = ops.cast(y_true, np.int64)

        @ops.custom_gradient
        def loss(logits: Tensor) -> Any:
            log_p = ops.log_softmax(logits)
            ways = _Ways(labels, log_p)
            alpha, total = ways.forward()

            def vjp(g: Tensor) -> Tensor:
                # Places add up to 1 at each step: that takes out what long sums have lost.
                seen = ops.transpose(ops.softmax(ways.backward() + alpha), (1, 0, 2))
                classes = int(logits.known_shape[-1])
                share = ops.matmul(seen, ops.one_hot(ways.states, classes, logits.dtype))
                return (ops.exp(log_p) - share) * ops.reshape(g, [-1, 1, 1])

            return ops.where(ops.less(total, 0.1 * _NEVER), np.inf, -total), vjp

        found: Tensor = loss(y_pred)
        return found


class _Ways:
    """All ways through a lattice: a blank, a label, a blank … for each example, at each step."""

    def __init__(self, labels: Tensor, log_p: Tensor) -> None:
        batch, count = (int(n) for n in labels.known_shape)
        self.batch, self.size = batch, 2 * count + 1
        blanks = ops.zeros_like(labels)
        pairs = ops.reshape(ops.stack([blanks, labels], axis=2), [batch, 2 * count])
        self.states = ops.pad(pairs, [(0, 0), (0, 1)], value=0)
        steps = int(log_p.known_shape[1])
        place = ops.broadcast_to(ops.expand_dims(self.states, 1), (batch, steps, self.size))
        self.emitted = ops.transpose(ops.take_along_axis(log_p, place, axis=2), (1, 0, 2))
        # A blank may be left out between two different labels.
        before = ops.pad(self.states[:, :-2], [(0, 0), (2, 0)], value=0)
        skips = ops.logical_and(ops.not_equal(self.states, np.int64(0)),
                                ops.not_equal(self.states, before))  # fmt: skip
        self.skip = ops.where(skips, np.float32(0.0), np.float32(_NEVER))
        length = ops.sum(ops.cast(ops.not_equal(labels, np.int64(0)), np.int64), axis=1,
                         keepdims=True)  # fmt: skip
        number = np.arange(self.size)[None]
        ends = ops.logical_or(ops.equal(length * 2, number), ops.equal(length * 2 - 1, number))
        self.end = ops.where(ends, np.float32(0.0), np.float32(_NEVER))

    def _moved(self, x: Tensor, by: int) -> Tensor:
        """Return values moved to higher places, or to lower ones."""
        fill = np.full((self.batch, abs(by)), _NEVER, np.float32)
        if by > 0:
            return ops.concatenate([fill, x[:, :-by]], axis=1)
        return ops.concatenate([x[:, -by:], fill], axis=1)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return (probability of the ways to each place (steps, batch, places), of all ways)."""
        start = np.full((self.batch, self.size), _NEVER, np.float32)
        start[:, 0] = 0.0

        def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            (alpha,) = state
            skipped = self._moved(alpha, 2) + self.skip
            ways = ops.stack([alpha, self._moved(alpha, 1), skipped])
            alpha = ops.logsumexp(ways, axis=0) + xs[0]
            return [alpha], [alpha * 1.0]

        graph = self.emitted.graph
        (last,), (each,) = scan(step, [graph.constant(start)], [self.emitted])
        return each, ops.logsumexp(last + self.end, axis=1)

    def backward(self) -> Tensor:
        """Return the probability of the ways from each place (steps, batch, places)."""

        def step(state: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            beta = state[0] + xs[0]
            skipped = self._moved(beta + self.skip, -2)
            ways = ops.stack([beta, self._moved(beta, -1), skipped])
            return [ops.logsumexp(ways, axis=0)], [state[0] * 1.0]

        _, (each,) = scan(step, [self.end], [self.emitted], reverse=True)
        return each
