"""The base of all metrics, and how they are found by name."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeml._names import snake
from edgeml.errors import ConfigError

Array = np.ndarray[Any, Any]


@dataclasses.dataclass
class Metric:
    """A number that tells how good outputs are, over as many batches as one likes.

    Args:
        name: Its name in history and logs.

    Example:
        >>> from edgeml.metrics import BinaryAccuracy
        >>> metric = BinaryAccuracy()
        >>> metric.update_state([1, 0], [0.9, 0.8])
        >>> metric.update_state([1, 1], [0.7, 0.6])
        >>> metric.result()
        0.75
    """

    _: dataclasses.KW_ONLY
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or snake(type(self).__name__)
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all that was counted."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Targets.
            y_pred: Outputs.
            sample_weight: Weight of each example, or of each value.
        """
        raise NotImplementedError

    def result(self) -> Any:
        """Return the metric of all that was counted: a float, or an array."""
        raise NotImplementedError

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Count a batch, and return the metric of all that was counted."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """Return the metric that `get_config` described."""
        return cls(**config)


@dataclasses.dataclass
class Mean(Metric):
    """The weighted mean of values: the base of most metrics."""

    def reset_state(self) -> None:
        """Forget all that was counted."""
        self._total = self._count = 0.0

    def add(self, values: Array, sample_weight: Any) -> None:
        """Count values, each with its example's weight."""
        if sample_weight is None:
            self._total += float(values.sum(dtype=np.float64))
            self._count += values.size
            return
        weight = np.asarray(sample_weight, np.float64)
        while weight.ndim > values.ndim and weight.shape[-1] == 1:
            weight = weight[..., 0]
        weight = weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
        self._total += float((values * weight).sum())
        self._count += float(np.broadcast_to(weight, values.shape).sum())

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the metric of each example."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; see `Metric`."""
        self.add(self.values(np.asarray(y_true), np.asarray(y_pred)), sample_weight)

    def result(self) -> float:
        """Return the mean, 0 when nothing was counted."""
        return self._total / self._count if self._count else 0.0


@dataclasses.dataclass
class MeanMetricWrapper(Mean):
    """The mean of a function ``fn(y_true, y_pred) -> value of each example``."""

    fn: Callable[[Array, Array], Any] = lambda y_true, y_pred: np.equal(y_true, y_pred)

    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the function's values."""
        return np.asarray(self.fn(y_true, y_pred), np.float64)


_by_name: dict[str, type[Metric]] = {}


def named(*names: str) -> Callable[[type[Metric]], type[Metric]]:
    """Register a metric's class under its own name and others; a decorator."""

    def register(cls: type[Metric]) -> type[Metric]:
        _by_name.update(dict.fromkeys((*names, snake(cls.__name__)), cls))
        return cls

    return register


def get(metric: Any) -> Metric:
    """Return a metric by name (Keras's or TensorFlow.js's spelling), or the one given.

    A function ``fn(y_true, y_pred) -> value of each example`` becomes its mean.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> from edgeml import metrics
        >>> metrics.get("mae").name, metrics.get("sparseCategoricalAccuracy").name
        ('mae', 'sparse_categorical_accuracy')
    """
    if isinstance(metric, Metric):
        return metric
    if inspect.isclass(metric) and issubclass(metric, Metric):
        return metric()
    if callable(metric):
        return MeanMetricWrapper(fn=metric, name=getattr(metric, "__name__", "metric"))
    name = snake(str(metric))
    if name not in _by_name:
        near = difflib.get_close_matches(name, _by_name, 3) or sorted(_by_name)
        raise ConfigError(f"there is no metric {metric!r}; did you mean {', '.join(near)}?")
    return _by_name[name](name=name)


def resolve_accuracy(
    loss: str, y_shape: Sequence[int], output_shape: Sequence[int], *, name: str = "accuracy"
) -> Metric:
    """Return what "accuracy" (or "crossentropy") means for a loss and its shapes, as Keras does.

    Args:
        loss: Name of the loss.
        y_shape: Shape of the targets.
        output_shape: Shape of the outputs.
        name: What was asked for.
    """
    kind = "crossentropy" if name in ("crossentropy", "ce") else "accuracy"
    if "binary" in loss or output_shape[-1] == 1:
        found = f"binary_{kind}"
    elif "sparse" in loss or len(y_shape) < len(output_shape) or y_shape[-1] == 1:
        found = f"sparse_categorical_{kind}"
    else:
        found = f"categorical_{kind}"
    return _by_name[found](name=name)
