"""The base of all optimizers, and how they are found by name."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from edgeml._names import snake
from edgeml.errors import ConfigError
from edgeml.graph import Tensor, emit
from edgeml.optimizers._flat import Part

Array = np.ndarray[Any, Any]
Slots = dict[str, Tensor]
Scalars = dict[str, Tensor]


@dataclasses.dataclass
class Optimizer:
    """Makes new parameters from gradients, on one flat vector of all parameters.

    Args:
        learning_rate: Step size, or a schedule ``fn(step) -> step size``.
        weight_decay: Fraction, times the learning rate, that each step takes from each weight.
        clipnorm: Largest norm of each parameter's gradient.
        clipvalue: Largest absolute value of a gradient.
        global_clipnorm: Largest norm of all gradients together.
        use_ema: Whether to end with an exponential moving average of the weights.
        ema_momentum: Momentum of that average.
        ema_overwrite_frequency: Steps after which the average becomes the weights, again and again;
            None: only when training ends.
        gradient_accumulation_steps: Steps whose gradients are averaged for one update.
        no_weight_decay: Patterns of the paths of parameters that weight decay leaves alone; see
            `exclude_from_weight_decay`.

    Example:
        >>> from edgeml.optimizers import SGD
        >>> SGD(0.1, global_clipnorm=1.0, gradient_accumulation_steps=4).rate(1)
        0.1
    """

    learning_rate: Any = 0.001
    _: dataclasses.KW_ONLY
    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None
    gradient_accumulation_steps: int | None = None
    no_weight_decay: Sequence[str] = ()

    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state vectors, each of the size of all parameters."""

    def __post_init__(self) -> None:
        self.iterations = 0
        given = [self.clipnorm, self.clipvalue, self.global_clipnorm]
        if sum(value is not None for value in given) > 1:
            raise ConfigError("only one of clipnorm, clipvalue and global_clipnorm can be set")
        for name in ("clipnorm", "clipvalue", "global_clipnorm"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name}: expected a number above 0, received {limit!r}")
        if self.weight_decay is not None and not self.weight_decay >= 0:
            raise ConfigError(f"weight_decay: expected at least 0, received {self.weight_decay!r}")
        if not 0.0 <= self.ema_momentum <= 1.0:
            raise ConfigError(f"ema_momentum: expected 0 to 1, received {self.ema_momentum!r}")
        for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
            steps = getattr(self, name)
            if steps is not None and not (isinstance(steps, int) and steps >= 1):
                raise ConfigError(f"{name}: expected at least 1, received {steps!r}")
        rate = self.learning_rate
        if not callable(rate) and not (np.isfinite(rate) and rate >= 0):
            raise ConfigError(f"learning_rate: expected a number of at least 0, received {rate!r}")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        rate = self.learning_rate
        return float(rate(step - 1)) if callable(rate) else float(rate)

    def scalars(self, step: int) -> dict[str, float]:
        """Return what changes from step to step, by name; step 1 is the first."""
        return {"learning_rate": self.rate(step)}

    def start(self, parameters: Array) -> dict[str, Any]:
        """Return the start values, by name, of the state vectors that do not start at zero."""
        return {}

    def update(
        self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars,
        decay_mask: Tensor | None = None, parts: Sequence[Part] = (),
    ) -> tuple[Tensor, Slots]:  # fmt: skip
        """Emit the update; return new parameters and new slots.

        Args:
            p: Parameters, float32 (n,).
            g: Gradient, float32 (n,).
            slots: The state vectors, by name.
            scalars: What `scalars` returned, as tensors.
            decay_mask: 1 where weight decay applies, else 0; None: everywhere.
            parts: Path and shape of each parameter, in their order in the vector.
        """
        return self._apply(self._decayed(p, scalars, decay_mask), g, slots, scalars)

    def _apply(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        raise NotImplementedError

    def _decayed(self, p: Tensor, scalars: Scalars, mask: Tensor | None) -> Tensor:
        if not self.weight_decay:
            return p
        share = scalars["learning_rate"] * self.weight_decay
        return p - p * (share if mask is None else mask * share)

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave parameters alone with weight decay; before training starts.

        Args:
            var_list: Parameters.
            var_names: Patterns (`re`) of their paths, such as ``"bias"``.
        """
        exact = [f"^{re.escape(p.path)}$" for p in var_list or ()]
        self.no_weight_decay = (*self.no_weight_decay, *exact, *(var_names or ()))

    def decays(self, path: str) -> bool:
        """Return whether weight decay applies to the parameter of this path."""
        return not any(re.search(pattern, path) for pattern in self.no_weight_decay)

    def clip(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Emit the limits on the gradients, one for each parameter."""
        if self.clipvalue is not None:
            limit = float(self.clipvalue)
            return [emit("Clip", g, -limit, limit) for g in grads]
        if self.clipnorm is not None:
            return [_limited(g, emit("ReduceL2", g, keepdims=0), self.clipnorm) for g in grads]
        if self.global_clipnorm is not None:
            squares = [emit("ReduceSumSquare", g, keepdims=0) for g in grads]
            norm = emit("Sqrt", emit("Sum", *squares))
            return [_limited(g, norm, self.global_clipnorm) for g in grads]
        return list(grads)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal optimizer."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Optimizer:
        """Return the optimizer that `get_config` described."""
        return cls(**config)


def _limited(g: Tensor, norm: Tensor, limit: float) -> Tensor:
    return g * (float(limit) / emit("Max", norm, float(limit), like=norm))


_by_name: dict[str, type[Optimizer]] = {}


def named(*names: str) -> Callable[[type[Optimizer]], type[Optimizer]]:
    """Register an optimizer's class under names; a decorator."""

    def register(cls: type[Optimizer]) -> type[Optimizer]:
        _by_name.update(dict.fromkeys(names, cls))
        return cls

    return register


def get(optimizer: Any) -> Optimizer:
    """Return an optimizer by name (any spelling), from a dict with its name, or the one given.

    Raises:
        ConfigError: there is none of that name, or no such argument; the message has the nearest.

    Example:
        >>> from edgeml import optimizers
        >>> optimizers.get("rmsProp").learning_rate
        0.001
        >>> optimizers.get({"name": "sgd", "learningRate": 0.5}).learning_rate
        0.5
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    given: dict[str, Any] = {}
    if isinstance(optimizer, Mapping):
        given = {snake(key): value for key, value in optimizer.items()}
        optimizer = given.pop("class_name", given.pop("name", ""))
        inner = {snake(key): value for key, value in dict(given.pop("config", {})).items()}
        # Keras's configs hold these two as well, which change nothing here.
        given |= {k: v for k, v in inner.items() if k not in ("name", "loss_scale_factor")}
    name = snake(str(optimizer)).replace("_", "")
    if name not in _by_name:
        near = difflib.get_close_matches(name, _by_name, 3) or sorted(_by_name)
        raise ConfigError(f"there is no optimizer {optimizer!r}; did you mean {', '.join(near)}?")
    known = {f.name.replace("_", ""): f.name for f in dataclasses.fields(_by_name[name])}
    options = {known.get(key.replace("_", ""), key): value for key, value in given.items()}
    for option in options:
        if option not in known.values():
            near = difflib.get_close_matches(option, known.values(), 3) or sorted(known.values())
            raise ConfigError(f"{name} has no argument {option!r}; did you mean {', '.join(near)}?")
    return _by_name[name](**options)
