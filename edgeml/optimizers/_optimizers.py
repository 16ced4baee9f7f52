"""The optimizers, with Keras 3's names, defaults and formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.optimizers._base import Optimizer, Scalars, Slots, named


def _sqrt(x: Tensor) -> Tensor:
    return emit("Sqrt", x)


@named("sgd", "momentum")
@dataclass
class SGD(Optimizer):
    """Gradient descent, with momentum when asked for.

    Args:
        momentum: Fraction of the last step that is kept.
        nesterov: Whether the gradient is taken ahead of the step.

    Example:
        >>> from edgeml.optimizers import SGD
        >>> SGD(0.1, momentum=0.9).slots
        ('velocity',)
    """

    learning_rate: Any = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.momentum <= 1.0:
            raise ConfigError(f"momentum: expected 0 to 1, received {self.momentum}")
        self.slots = ("velocity",) if self.momentum else ()  # type: ignore[misc]

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        step = g * scalars["learning_rate"]
        if not self.momentum:
            return p - step, {}
        velocity = slots["velocity"] * self.momentum - step
        if self.nesterov:
            return p + (velocity * self.momentum - step), {"velocity": velocity}
        return p + velocity, {"velocity": velocity}


@named("rmsprop")
@dataclass
class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient (Tieleman and Hinton, 2012).

    Args:
        rho: Momentum of the mean square.
        momentum: Fraction of the last step that is kept.
        epsilon: Added to the mean square.
        centered: Whether to subtract the squared mean: a variance instead of a mean square.

    Example:
        >>> import edgeml
        >>> edgeml.optimizers.RMSprop(0.01, rho=0.95).learning_rate
        0.01
    """

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        more = (("velocity",) if self.momentum else ()) + (("mean",) if self.centered else ())
        self.slots = ("square", *more)  # type: ignore[misc]

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        square = slots["square"] * self.rho + g * g * (1.0 - self.rho)
        new: Slots = {"square": square}
        spread = square
        if self.centered:
            new["mean"] = mean = slots["mean"] * self.rho + g * (1.0 - self.rho)
            spread = square - mean * mean
        step = g * scalars["learning_rate"] / _sqrt(spread + self.epsilon)
        if self.momentum:
            new["velocity"] = step = slots["velocity"] * self.momentum + step
        return p - step, new


@named("adam")
@dataclass
class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2014).

    Args:
        beta_1: Momentum of the mean.
        beta_2: Momentum of the mean square.
        epsilon: Added to the root of the mean square.
        amsgrad: Whether to divide by the largest mean square so far (Reddi et al., 2018).

    Example:
        >>> import edgeml
        >>> edgeml.optimizers.Adam(0.01, amsgrad=True).learning_rate
        0.01
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.amsgrad:
            self.slots = ("mean", "square", "largest")  # type: ignore[misc]

    def scalars(self, step: int) -> dict[str, float]:
        """Return the learning rate, and the one with the start's bias taken out."""
        rate = self.rate(step)
        correction = math.sqrt(1.0 - self.beta_2**step) / (1.0 - self.beta_1**step)
        share = (1.0 - self.beta_1) / math.sqrt(1.0 - self.beta_2)
        return {"learning_rate": rate, "step_size": rate * correction * share}

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        # The slots are the moments divided by (1 - beta): two passes over memory less, and the
        # factors go into step size and epsilon.
        mean = slots["mean"] * self.beta_1 + g
        square = slots["square"] * self.beta_2 + g * g
        new: Slots = {"mean": mean, "square": square}
        spread = square
        if self.amsgrad:
            new["largest"] = spread = emit("Max", slots["largest"], square)
        epsilon = self.epsilon / math.sqrt(1.0 - self.beta_2)
        return p - mean / (_sqrt(spread) + epsilon) * scalars["step_size"], new


@named("adamw")
@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Example:
        >>> import edgeml
        >>> edgeml.optimizers.AdamW(0.01, weight_decay=0.05).learning_rate
        0.01
    """

    weight_decay: float | None = 0.004
