"""The base of all metrics, and how they are found by name."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from edgeml._names import snake
from edgeml.errors import ConfigError, ShapeError
from edgeml.metrics._arrays import weights

M = TypeVar("M", bound="Metric")


class Metric:
    """A number that tells how good outputs are, over as many batches as one likes.

    A subclass has `update_state`, `result` and `reset_state`.

    Args:
        name: Its name in history and logs; by default that of the class.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import Metric
        >>> class WorstError(Metric):
        ...     worst = 0.0
        ...     def reset_state(self):
        ...         self.worst = 0.0
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.worst = max(self.worst, float(np.abs(y_true - y_pred).max()))
        ...     def result(self):
        ...         return self.worst
        >>> WorstError()(np.array([1.0, 2.0]), np.array([1.5, 2.0]))
        0.5
    """

    direction: ClassVar[str] = ""
    """"up" when larger is better, "down" when smaller is, "" when not known."""

    def __init__(self, name: str = "") -> None:
        self.name = name or snake(type(self).__name__)

    def reset_state(self) -> None:
        """Forget all that was counted."""
        raise NotImplementedError

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch: ``update_state(y_true, y_pred, sample_weight=None)``.

        Args:
            *args: Targets; outputs; and weights, of each example or of each value.
            **kwargs: The same by name.
        """
        raise NotImplementedError

    def result(self) -> Any:
        """Return the metric of all that was counted: a float, or an array."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Count a batch, and return the metric of all that was counted."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {"name": self.name}

    @classmethod
    def from_config(cls: type[M], config: dict[str, Any]) -> M:
        """Return the metric that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({given})"


@dataclasses.dataclass(eq=False, repr=False)
class Configured(Metric):
    """A metric whose arguments are its fields."""

    _: dataclasses.KW_ONLY
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or snake(type(self).__name__)
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}


_by_name: dict[str, type[Metric]] = {}


@dataclass_transform(eq_default=False)
def metric(*aliases: str) -> Callable[[type[M]], type[M]]:
    """Make a class's fields its arguments, and register it by name; a decorator.

    Args:
        *aliases: Names besides that of the class in snake case.
    """

    def register(cls: type[M]) -> type[M]:
        made = dataclasses.dataclass(eq=False, repr=False)(cls)
        _by_name.update(dict.fromkeys((*aliases, snake(cls.__name__)), made))
        return made

    return register


@dataclasses.dataclass(eq=False, repr=False)
class Averaged(Configured):
    """The weighted mean over examples: of an example with many values, their mean counts."""

    def reset_state(self) -> None:
        """Forget all that was counted."""
        self._total = self._count = 0.0

    def add(self, values: Any, sample_weight: Any = None) -> None:
        """Count values (examples, ...), with one weight for each example or each value.

        Raises:
            ShapeError: the weights do not fit.
        """
        values = np.asarray(values)
        if values.size == 0:
            return
        examples = values.shape[0] if values.ndim else 1
        if sample_weight is None:
            self._total += float(values.sum(dtype=np.float64)) * examples / values.size
            self._count += examples
            return
        weight = np.asarray(sample_weight, np.float64)
        if values.ndim == 0 < weight.ndim:
            raise ShapeError(
                f"{self.name}: one number for a whole batch cannot be weighted: return a value "
                "for each example",
                where=self.name,
            )
        if weight.ndim < values.ndim:
            values = values.mean(axis=tuple(range(weight.ndim, values.ndim)), dtype=np.float64)
        weight = weights(self.name, weight, values.shape)
        part = values.shape[0] / values.size if values.ndim else 1.0
        self._total += float((values * weight).sum()) * part
        self._count += float(weight.sum()) * part

    def result(self) -> float:
        """Return the mean; 0 when nothing was counted."""
        return self._total / self._count if self._count else 0.0


@metric()
class Mean(Averaged):
    """The weighted mean of values: ``update_state(values, sample_weight=None)``.

    Example:
        >>> from edgeml.metrics import Mean
        >>> mean = Mean("loss")
        >>> mean.update_state([1.0, 3.0])
        >>> mean.update_state([5.0], sample_weight=[2.0])
        >>> mean.result()
        3.5
    """

    name: str = "mean"

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Count values (examples, ...)."""
        self.add(values, sample_weight)


@metric()
class Sum(Averaged):
    """The weighted sum of values: ``update_state(values, sample_weight=None)``.

    Example:
        >>> from edgeml.metrics import Sum
        >>> total = Sum()
        >>> total.update_state([1.0, 3.0])
        >>> total.update_state([5.0], sample_weight=[2.0])
        >>> total.result()
        14.0
    """

    name: str = "sum"

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Count values (examples, ...), with one weight for each example or each value."""
        values = np.asarray(values, np.float64)
        self._total += float((values * weights(self.name, sample_weight, values.shape)).sum())

    def result(self) -> float:
        """Return the sum."""
        return self._total


@dataclasses.dataclass(eq=False, repr=False)
class OfExamples(Averaged):
    """The mean of what `values` returns for each example."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """Return the metric of each example."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Targets.
            y_pred: Outputs.
            sample_weight: Weight of each example, or of each value.

        Raises:
            ShapeError: targets, outputs or weights do not fit together.
        """
        self.add(self.values(y_true, y_pred), sample_weight)


class MeanMetricWrapper(OfExamples):
    """The mean of a function ``fn(y_true, y_pred, **kwargs) -> value of each example``.

    Args:
        fn: Takes NumPy arrays.
        name: Its name; by default the function's.
        **kwargs: Arguments for the function.

    Example:
        >>> import numpy as np
        >>> from edgeml.metrics import MeanMetricWrapper
        >>> within = MeanMetricWrapper(lambda y, p, far: np.abs(y - p) < far, "within", far=0.5)
        >>> within(np.array([1.0, 2.0]), np.array([1.2, 3.0]))
        0.5
    """

    def __init__(self, fn: Callable[..., Any], name: str = "", **kwargs: Any) -> None:
        super().__init__(name=name or getattr(fn, "__name__", "metric"))
        self.fn, self.kwargs = fn, kwargs

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """Return the function's values."""
        return self.fn(np.asarray(y_true), np.asarray(y_pred), **self.kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {"fn": self.fn, "name": self.name, **self.kwargs}


def get(metric: Any) -> Metric:
    """Return a metric by name (Keras's or TensorFlow.js's spelling), or the one given.

    A function ``fn(y_true, y_pred) -> value of each example`` becomes its mean; a dict
    ``{"class_name": …, "config": {…}}`` is what Keras writes.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> from edgeml import metrics
        >>> metrics.get("mae").name, metrics.get("sparseCategoricalAccuracy").name
        ('mae', 'sparse_categorical_accuracy')
    """
    options: dict[str, Any] = {}
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, Mapping):
        options = {snake(key): value for key, value in dict(metric.get("config") or {}).items()}
        metric = metric.get("class_name", "")
    if inspect.isclass(metric) and issubclass(metric, Metric):
        return metric()
    if callable(metric):
        return MeanMetricWrapper(metric)
    name = snake(metric) if isinstance(metric, str) else ""
    if name not in _by_name:
        near = difflib.get_close_matches(name, _by_name, 3) or sorted(_by_name)
        raise ConfigError(f"there is no metric {metric!r}; did you mean {', '.join(near)}?")
    found = _by_name[name]
    needed = [
        p.name for p in inspect.signature(found).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in options
    ]  # fmt: skip
    if needed:
        raise ConfigError(
            f"the metric {name!r} needs {', '.join(needed)}: make it, "
            f"edgeml.metrics.{found.__name__}({needed[0]}=…), instead of naming it"
        )
    return found(**{"name": name, **options})


def resolve_accuracy(
    loss: str, y_shape: Sequence[int], output_shape: Sequence[int], *, name: str = "accuracy"
) -> Metric:
    """Return what "accuracy" (or "crossentropy") means for a loss and its shapes.

    As in Keras, one output means binary, and class numbers mean sparse; as in TensorFlow.js, so
    does the loss: several outputs with a binary cross-entropy are several yes-or-no answers.

    Args:
        loss: Name of the loss, in any spelling; "" when it has none.
        y_shape: Shape of the targets, with the batch.
        output_shape: Shape of the outputs, with the batch.
        name: What was asked for: "accuracy", "acc", "crossentropy" or "ce".

    Example:
        >>> from edgeml.metrics import resolve_accuracy
        >>> type(resolve_accuracy("mse", (32, 10), (32, 10))).__name__
        'CategoricalAccuracy'
    """
    kind = "crossentropy" if name.lower() in ("crossentropy", "ce") else "accuracy"
    loss = snake(loss)
    if "binary" in loss or len(output_shape) < 2 or output_shape[-1] == 1:
        found = f"binary_{kind}"
    elif "sparse" in loss or len(y_shape) < len(output_shape) or y_shape[-1] == 1:
        found = f"sparse_categorical_{kind}"
    else:
        found = f"categorical_{kind}"
    return _by_name[found](name=name)
