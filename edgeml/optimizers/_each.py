"""Optimizers that see a parameter as a whole, with Keras 3's names, defaults and formulas."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.optimizers._base import Optimizer, Scalars, Slots, named
from edgeml.optimizers._flat import Part, joined, shaped


@dataclass
class OfEach(Optimizer):
    """An optimizer whose update of a parameter depends on all of that parameter."""

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars,
        decay_mask: Tensor | None = None, parts: Sequence[Part] = (),
    ) -> tuple[Tensor, Slots]:  # fmt: skip
        """Emit the update of each parameter; see `Optimizer.update`."""
        parts = parts or [("", p.static_shape)]
        p = self._decayed(p, scalars, decay_mask)
        cut = {name: shaped(vector, parts) for name, vector in slots.items()}
        made = [
            self._apply_to(part, one, gradient, {n: cut[n][i] for n in cut}, scalars)
            for i, (part, one, gradient) in enumerate(
                zip(parts, shaped(p, parts), shaped(g, parts), strict=True)
            )
        ]
        moved = {name: joined([own[name] for _, own in made]) for name in slots}
        return joined([new for new, _ in made]), moved

    def _apply_to(
        self, part: Part, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars
    ) -> tuple[Tensor, Slots]:
        """Emit the update of one parameter; everything is in its shape."""
        raise NotImplementedError


@named("lamb")
@dataclass
class Lamb(OfEach):
    """Adam whose step in each parameter is as large as the parameter (You et al., 2020).

    Made for large batches.

    Args:
        beta_1: Momentum of the mean.
        beta_2: Momentum of the mean square.
        epsilon: Added to the root of the mean square.

    Example:
        >>> from edgeml.optimizers import Lamb
        >>> Lamb(0.01).beta_2
        0.999
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def scalars(self, step: int) -> dict[str, float]:
        """Return the learning rate, and the shares of mean and mean square."""
        return {
            "learning_rate": self.rate(step),
            "mean_share": 1.0 / (1.0 - self.beta_1**step),
            "square_share": 1.0 / (1.0 - self.beta_2**step),
        }

    def _apply_to(
        self, part: Part, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars
    ) -> tuple[Tensor, Slots]:
        mean = slots["mean"] * self.beta_1 + g * (1.0 - self.beta_1)
        square = slots["square"] * self.beta_2 + g * g * (1.0 - self.beta_2)
        spread = ops.sqrt(square * scalars["square_share"]) + self.epsilon
        step = mean * scalars["mean_share"] / spread
        size, length = emit("ReduceL2", p, keepdims=0), emit("ReduceL2", step, keepdims=0)
        both = ops.logical_and(size > 0.0, length > 0.0)
        ratio = ops.where(both, size / ops.where(both, length, 1.0), 1.0)
        return p - step * (ratio * scalars["learning_rate"]), {"mean": mean, "square": square}


@named("adafactor")
@dataclass
class Adafactor(OfEach):
    """Steps divided by mean squares of rows and columns alone (Shazeer and Stern, 2018).

    The numbers are the paper's and Keras's; the memory is not saved here, where each state vector
    has the size of all parameters. With the least state is `Lion`.

    Args:
        beta_2_decay: How the mean squares' momentum rises, below 0.
        epsilon_1: Added to squared gradients.
        epsilon_2: The smallest size that a parameter counts for.
        clip_threshold: Largest root mean square of a step, before the learning rate.
        relative_step: As in Keras, and without effect: the learning rate falls with the root of the
            steps in any case.

    Example:
        >>> from edgeml.optimizers import Adafactor
        >>> Adafactor(0.01).relative_step
        True
    """

    beta_2_decay: float = -0.8
    epsilon_1: float = 1e-30
    epsilon_2: float = 1e-3
    clip_threshold: float = 1.0
    relative_step: bool = True

    slots: ClassVar[tuple[str, ...]] = ("rows", "columns")

    def scalars(self, step: int) -> dict[str, float]:
        """Return the learning rate, that of a parameter of size 1, and the mean's share."""
        rate = self.rate(step)
        return {
            "learning_rate": rate, "step_size": min(rate, 1.0 / math.sqrt(step)),
            "share": float(step) ** self.beta_2_decay,
        }  # fmt: skip

    def _apply_to(
        self, part: Part, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars
    ) -> tuple[Tensor, Slots]:
        square, share = g * g + self.epsilon_1, scalars["share"]
        shape = part[1]
        if len(shape) < 2:
            spread = rows = slots["rows"] * (1.0 - share) + square * share
            new = {"rows": rows, "columns": slots["columns"]}
        else:
            # The means have fewer values than the vectors that hold them: they lie at the start.
            rows = _mean(slots["rows"], square, -1, share)
            columns = _mean(slots["columns"], square, -2, share)
            scale = rows / ops.mean(rows, axis=-2, keepdims=True)
            spread = scale * columns
            size = math.prod(shape)
            new = {"rows": _held(rows, size), "columns": _held(columns, size)}
        step = g / ops.sqrt(spread)
        step = step / ops.maximum(_rms(step) / self.clip_threshold, 1.0)
        size_of = ops.maximum(_rms(p), self.epsilon_2)
        return p - step * (size_of * scalars["step_size"]), new


def _rms(x: Tensor) -> Tensor:
    return ops.sqrt(ops.mean(ops.square(x)))


def _mean(held: Tensor, square: Tensor, axis: int, share: Tensor) -> Tensor:
    """Emit the new mean squares, of the gradient's rank with 1 along the axis."""
    now = ops.mean(square, axis=axis, keepdims=True)
    size = math.prod(now.static_shape)
    flat = ops.reshape(held, [-1])
    old = ops.reshape(flat[:size], list(now.static_shape))
    return old * (1.0 - share) + now * share


def _held(mean: Tensor, size: int) -> Tensor:
    flat = ops.reshape(mean, [-1])
    empty = size - math.prod(mean.static_shape)
    return ops.pad(flat, [(0, empty)]) if empty else flat


@named("muon")
@dataclass
class Muon(OfEach):
    """Momentum made orthogonal for matrices, and AdamW for all else (Jordan et al., 2024).

    Embeddings, kernels of convolutions and vectors are AdamW's. A step of a matrix is scaled to
    the size of AdamW's (Liu et al., 2025), so that one learning rate fits both.

    Args:
        adam_beta_1: AdamW's momentum of the mean.
        adam_beta_2: AdamW's momentum of the mean square.
        adam_weight_decay: AdamW's weight decay; None for none.
        epsilon: Added to the root of AdamW's mean square.
        exclude_layers: Patterns (`re`) of the paths of matrices that are AdamW's too.
        exclude_embeddings: Whether embeddings are AdamW's.
        muon_a: Of the iteration ``a x + (b A + c A A) x`` with ``A = x transpose(x)``.
        muon_b: See `muon_a`.
        muon_c: See `muon_a`.
        adam_lr_ratio: AdamW's learning rate, by Muon's.
        momentum: Fraction of the last step's momentum that is kept.
        ns_steps: Number of iterations.
        nesterov: Whether the momentum is looked ahead of.
        rms_rate: Root mean square of a step, before the learning rate; None: as it comes.

    Example:
        >>> from edgeml.optimizers import Muon
        >>> Muon(0.01, exclude_layers=["head"]).momentum
        0.95
    """

    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    adam_weight_decay: float | None = 0.004
    epsilon: float = 1e-7
    _: dataclasses.KW_ONLY
    weight_decay: float | None = 0.004
    exclude_layers: Sequence[str] = ()
    exclude_embeddings: bool = True
    muon_a: float = 3.4445
    muon_b: float = -4.7750
    muon_c: float = 2.0315
    adam_lr_ratio: float = 1.0
    momentum: float = 0.95
    ns_steps: int = 5
    nesterov: bool = True
    rms_rate: float | None = 0.2

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ns_steps >= 1:
            raise ConfigError(f"ns_steps: expected at least 1, received {self.ns_steps!r}")

    def scalars(self, step: int) -> dict[str, float]:
        """Return the learning rate, and AdamW's with the start's bias taken out."""
        rate = self.rate(step)
        correction = math.sqrt(1.0 - self.adam_beta_2**step) / (1.0 - self.adam_beta_1**step)
        return {"learning_rate": rate, "step_size": rate * self.adam_lr_ratio * correction}

    def _decayed(self, p: Tensor, scalars: Scalars, mask: Tensor | None) -> Tensor:
        return p  # decided for each parameter

    def _of_adam(self, part: Part) -> bool:
        path, shape = part
        if len(shape) != 2 or (self.exclude_embeddings and "embedding" in path.lower()):
            return True
        return any(re.search(pattern, path) for pattern in self.exclude_layers)

    def _apply_to(
        self, part: Part, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars
    ) -> tuple[Tensor, Slots]:
        by_adam = self._of_adam(part)
        decay = self.adam_weight_decay if by_adam else self.weight_decay
        if decay and self.decays(part[0]):
            p = p - p * (scalars["learning_rate"] * decay)
        if by_adam:
            mean = slots["mean"] * self.adam_beta_1 + g * (1.0 - self.adam_beta_1)
            square = slots["square"] * self.adam_beta_2 + g * g * (1.0 - self.adam_beta_2)
            step = mean * scalars["step_size"] / (ops.sqrt(square) + self.epsilon)
            return p - step, {"mean": mean, "square": square}
        mean = slots["mean"] * self.momentum + g
        ahead = g + mean * self.momentum if self.nesterov else mean
        size = 1.0 if self.rms_rate is None else math.sqrt(max(part[1])) * self.rms_rate
        step = self._orthogonal(ahead) * (scalars["learning_rate"] * size)
        return p - step, {"mean": mean, "square": slots["square"]}

    def _orthogonal(self, x: Tensor) -> Tensor:
        """Emit about U V' of the singular value decomposition, by Newton and Schulz's steps."""
        rows, columns = x.static_shape
        x = ops.transpose(x) if rows > columns else x
        x = x / (emit("ReduceL2", x, keepdims=0) + 1e-7)
        for _ in range(self.ns_steps):
            product = ops.matmul(x, ops.transpose(x))
            both = product * self.muon_b + ops.matmul(product * self.muon_c, product)
            x = x * self.muon_a + ops.matmul(both, x)
        return ops.transpose(x) if rows > columns else x
