"""More optimizers that see each value by itself, with Keras 3's names, defaults and formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.optimizers._base import Array, Optimizer, Scalars, Slots, named


def _sqrt(x: Tensor) -> Tensor:
    return emit("Sqrt", x)


@named("adagrad")
@dataclass
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al., 2011).

    Args:
        initial_accumulator_value: What that sum starts with.
        epsilon: Added to the sum.

    Example:
        >>> from edgeml.optimizers import Adagrad
        >>> Adagrad(0.01).initial_accumulator_value
        0.1
    """

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    slots: ClassVar[tuple[str, ...]] = ("square",)

    def start(self, parameters: Array) -> dict[str, Any]:
        """Return the start values, by name, of the state vectors that do not start at zero."""
        return {"square": self.initial_accumulator_value}

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        square = slots["square"] + g * g
        step = g * scalars["learning_rate"] / _sqrt(square + self.epsilon)
        return p - step, {"square": square}


@named("adadelta")
@dataclass
class Adadelta(Optimizer):
    """Steps as large as the last ones were, for the gradients that there were (Zeiler, 2012).

    Args:
        rho: Momentum of both mean squares.
        epsilon: Added to both mean squares.

    Example:
        >>> from edgeml.optimizers import Adadelta
        >>> Adadelta(1.0).rho
        0.95
    """

    rho: float = 0.95
    epsilon: float = 1e-7

    slots: ClassVar[tuple[str, ...]] = ("square", "moved")

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        square = slots["square"] * self.rho + g * g * (1.0 - self.rho)
        step = g * _sqrt(slots["moved"] + self.epsilon) / _sqrt(square + self.epsilon)
        moved = slots["moved"] * self.rho + step * step * (1.0 - self.rho)
        return p - step * scalars["learning_rate"], {"square": square, "moved": moved}


@named("adamax")
@dataclass
class Adamax(Optimizer):
    """Adam with the largest gradient so far, fading, instead of a mean square (Kingma and Ba).

    Args:
        beta_1: Momentum of the mean.
        beta_2: How slowly the largest gradient fades.
        epsilon: Added to it.

    Example:
        >>> from edgeml.optimizers import Adamax
        >>> Adamax(0.01).beta_2
        0.999
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    slots: ClassVar[tuple[str, ...]] = ("mean", "largest")

    def scalars(self, step: int) -> dict[str, float]:
        """Return the learning rate, and the one with the start's bias taken out."""
        rate = self.rate(step)
        return {"learning_rate": rate, "step_size": rate / (1.0 - self.beta_1**step)}

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        mean = slots["mean"] * self.beta_1 + g * (1.0 - self.beta_1)
        largest = emit("Max", slots["largest"] * self.beta_2, emit("Abs", g))
        step = mean * scalars["step_size"] / (largest + self.epsilon)
        return p - step, {"mean": mean, "largest": largest}


@named("nadam")
@dataclass
class Nadam(Optimizer):
    """Adam with Nesterov's look ahead (Dozat, 2016).

    Args:
        beta_1: Momentum of the mean.
        beta_2: Momentum of the mean square.
        epsilon: Added to the root of the mean square.

    Example:
        >>> from edgeml.optimizers import Nadam
        >>> Nadam(0.01).beta_1
        0.9
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._product = (0, 1.0)  # of the momenta of so many steps

    def _momentum(self, step: int) -> float:
        return self.beta_1 * (1.0 - 0.5 * 0.96**step)

    def _momenta(self, step: int) -> float:
        """Return the product of the momenta up to a step."""
        done, product = self._product if self._product[0] <= step else (0, 1.0)
        for number in range(done + 1, step + 1):
            product *= self._momentum(number)
        self._product = step, product
        return product

    def scalars(self, step: int) -> dict[str, float]:
        """Return the learning rate, and the shares of mean, gradient and mean square."""
        rate, product = self.rate(step), self._momenta(step)
        ahead = self._momentum(step + 1)
        return {
            "learning_rate": rate,
            "mean_share": rate * ahead / (1.0 - product * ahead),
            "gradient_share": rate * (1.0 - self._momentum(step)) / (1.0 - product),
            "square_share": 1.0 / (1.0 - self.beta_2**step),
        }

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        mean = slots["mean"] * self.beta_1 + g * (1.0 - self.beta_1)
        square = slots["square"] * self.beta_2 + g * g * (1.0 - self.beta_2)
        step = mean * scalars["mean_share"] + g * scalars["gradient_share"]
        spread = _sqrt(square * scalars["square_share"]) + self.epsilon
        return p - step / spread, {"mean": mean, "square": square}


@named("lion")
@dataclass
class Lion(Optimizer):
    """Steps of equal size in all weights, by the mean gradient's sign (Chen et al., 2023).

    It keeps one vector where Adam keeps two. A tenth of Adam's learning rate is a good start.

    Args:
        beta_1: How much of the mean, and not of this gradient, decides; above 0.
        beta_2: Momentum of the mean.

    Example:
        >>> from edgeml.optimizers import Lion
        >>> Lion(1e-4, weight_decay=0.1).slots
        ('mean',)
    """

    beta_1: float = 0.9
    beta_2: float = 0.99

    slots: ClassVar[tuple[str, ...]] = ("mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.beta_1 <= 1.0:
            raise ConfigError(f"beta_1: expected above 0 to 1, received {self.beta_1}")

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        decided = slots["mean"] * self.beta_1 + g * (1.0 - self.beta_1)
        mean = slots["mean"] * self.beta_2 + g * (1.0 - self.beta_2)
        return p - emit("Sign", decided) * scalars["learning_rate"], {"mean": mean}


@named("ftrl")
@dataclass
class Ftrl(Optimizer):
    """Follow the regularized leader, for wide and sparse inputs (McMahan et al., 2013).

    Args:
        learning_rate_power: How the learning rate falls, at most 0; 0 is a fixed one.
        initial_accumulator_value: What the sum of squared gradients starts with, at least 0.
        l1_regularization_strength: At least 0; above it, weights of little use become zero.
        l2_regularization_strength: At least 0.
        l2_shrinkage_regularization_strength: At least 0; a penalty on the weights themselves.
        beta: The paper's beta.

    Example:
        >>> from edgeml.optimizers import Ftrl
        >>> Ftrl(0.1, l1_regularization_strength=0.01).learning_rate_power
        -0.5
    """

    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l2_shrinkage_regularization_strength: float = 0.0
    beta: float = 0.0

    slots: ClassVar[tuple[str, ...]] = ("square", "linear")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate_power > 0:
            raise ConfigError(
                f"learning_rate_power: expected at most 0, received {self.learning_rate_power}"
            )
        for name in (
            "initial_accumulator_value", "l1_regularization_strength",
            "l2_regularization_strength", "l2_shrinkage_regularization_strength",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}: expected at least 0, received {getattr(self, name)}")

    def start(self, parameters: Array) -> dict[str, Any]:
        """Return the start values, by name, of the state vectors that do not start at zero."""
        return {"square": self.initial_accumulator_value}

    def _power(self, x: Tensor) -> Tensor:
        if self.learning_rate_power == -0.5:
            return _sqrt(x)
        return emit("Pow", x, -float(self.learning_rate_power), like=x)

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        rate = scalars["learning_rate"]
        square = slots["square"] + g * g
        after = self._power(square)
        shrunk = g + p * (2.0 * self.l2_shrinkage_regularization_strength)
        linear = slots["linear"] + shrunk - p * ((after - self._power(slots["square"])) / rate)
        quadratic = (after + self.beta) / rate + 2.0 * self.l2_regularization_strength
        limit = float(self.l1_regularization_strength)
        within = emit("Clip", linear, -limit, limit)
        return (within - linear) / quadratic, {"square": square, "linear": linear}


@named("schedulefreeadamw")
@dataclass
class ScheduleFreeAdamW(Optimizer):
    """AdamW that averages instead of lowering the learning rate (Defazio et al., 2024).

    Args:
        beta_1: Where between the last step and the average gradients are taken, above 0.
        beta_2: Momentum of the mean square.
        epsilon: Added to the root of the mean square.
        warmup_steps: Steps over which the learning rate rises from zero.

    Example:
        >>> from edgeml.optimizers import ScheduleFreeAdamW
        >>> ScheduleFreeAdamW(warmup_steps=100).learning_rate
        0.0025
    """

    learning_rate: Any = 0.0025
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    warmup_steps: int = 0

    slots: ClassVar[tuple[str, ...]] = ("last", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.beta_1 <= 1.0:
            raise ConfigError(f"beta_1: expected above 0 to 1, received {self.beta_1}")

    def start(self, parameters: Array) -> dict[str, Any]:
        """Return the start values, by name, of the state vectors that do not start at zero."""
        return {"last": parameters}

    def scalars(self, step: int) -> dict[str, float]:
        """Return the learning rate, the one of this step, and the shares of the means."""
        rate = self.rate(step)
        warm = min(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        # Keras's weight decay is by the learning rate before the warm-up.
        return {
            "learning_rate": rate, "step_size": rate * warm, "share": 1.0 / step,
            "square_share": 1.0 / (1.0 - math.pow(self.beta_2, step)),
        }  # fmt: skip

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        square = slots["square"] * self.beta_2 + g * g * (1.0 - self.beta_2)
        spread = _sqrt(square * scalars["square_share"]) + self.epsilon
        last = slots["last"] - g * scalars["step_size"] / spread
        share = scalars["share"]
        average = (p - slots["last"] * (1.0 - self.beta_1)) * (1.0 / self.beta_1)
        average = average * (1.0 - share) + last * share
        new = last * (1.0 - self.beta_1) + average * self.beta_1
        return new, {"last": last, "square": square}
