"""What each output of a model is asked for: a loss and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeml import losses, metrics
from edgeml.errors import ConfigError, GraphError


@dataclass
class Goal:
    """One output: its loss, that loss's weight in the sum, and its metrics."""

    loss: Any = None
    weight: float = 1.0
    metrics: list[Any] = field(default_factory=list)
    weighted: list[Any] = field(default_factory=list)
    """Metrics that count with the sample weights."""

    @property
    def wanted(self) -> bool:
        """Whether anything is asked of the output."""
        return self.loss is not None or bool(self.metrics or self.weighted)


@dataclass
class Wishes:
    """What `compile` was given, by output or for all of them.

    Args:
        loss: A loss for all outputs, or a list or dict of one for each.
        loss_weights: A list or dict of numbers.
        metrics: Metrics of the one output; a list of lists, or a dict, for several.
        weighted_metrics: The same, of metrics that count with the sample weights.
    """

    loss: Any = None
    loss_weights: Any = None
    metrics: Any = None
    weighted_metrics: Any = None

    def count(self) -> int | None:
        """Return the number of outputs, when a list or dict of losses tells it."""
        return len(self.loss) if isinstance(self.loss, (list, tuple, Mapping)) else None

    def names(self) -> list[str]:
        """Return the names of the outputs, when a dict of losses tells them."""
        return sorted(self.loss) if isinstance(self.loss, Mapping) else []

    def goals(self, names: Sequence[str]) -> list[Goal]:
        """Return the goal of each output.

        Raises:
            ConfigError: there is no such loss or metric, or there is not one for each output.
            GraphError: there is no output of that name.
        """
        count = len(names)
        given = self.loss if self.count() is not None else [self.loss] * count
        each = [
            _by_output("loss", given, names), _by_output("loss_weights", self.loss_weights, names),
            [_listed(m) for m in _metrics("metrics", self.metrics, names)],
            [_listed(m) for m in _metrics("weighted_metrics", self.weighted_metrics, names)],
        ]  # fmt: skip
        return [
            Goal(losses.get(loss), 1.0 if weight is None else float(weight), own, weighted)
            for loss, weight, own, weighted in zip(*each, strict=True)
        ]


def _by_output(what: str, value: Any, names: Sequence[str]) -> list[Any]:
    """Return an entry for each output, None where there is none."""
    if isinstance(value, Mapping):
        missing = [key for key in value if key not in names]
        if missing:
            raise GraphError(
                f"{what}: there is no output {missing[0]!r}; there are {', '.join(names)}"
            )
        return [value.get(name) for name in names]
    if value is None:
        return [None] * len(names)
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(values) != len(names):
        raise ConfigError(
            f"{what}: expected an entry for each of the {len(names)} outputs "
            f"({', '.join(names)}), received {len(values)}"
        )
    return values


def _metrics(what: str, value: Any, names: Sequence[str]) -> list[Any]:
    flat = not isinstance(value, Mapping) and not any(
        isinstance(item, (list, tuple)) for item in _listed(value)
    )
    if len(names) == 1 and flat:
        return [_listed(value)]
    return _by_output(what, value or None, names)


def _listed(value: Any) -> list[Any]:
    found = list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
    for item in found:
        if isinstance(item, str) and item.lower() not in ACCURACIES:
            metrics.get(item)  # a name that is not known is told at once
    return found


ACCURACIES = ("accuracy", "acc", "crossentropy", "ce")
"""Metrics that are chosen by the loss and the shapes."""
