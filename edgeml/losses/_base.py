"""The base of all losses, and how they are found by name."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml._names import snake
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit

Array = np.ndarray[Any, Any]


@dataclasses.dataclass
class Loss:
    """What training makes small: ``loss(y_true, y_pred, sample_weight) -> scalar``.

    A subclass computes the loss of each example in `call`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight" (the sum,
            divided by the weights' sum) or None.
        name: Its name.

    Example:
        >>> import numpy as np, edgeml
        >>> class Worst(edgeml.losses.Loss):
        ...     def call(self, y_true, y_pred):
        ...         return edgeml.ops.max(edgeml.ops.absolute(y_true - y_pred), axis=-1)
        >>> float(edgeml.function(Worst())(np.array([[1.0, 2.0]]), np.array([[1.5, 0.0]])))
        2.0
    """

    _: dataclasses.KW_ONLY
    reduction: str | None = "sum_over_batch_size"
    name: str = ""

    def __post_init__(self) -> None:
        known = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", None, "none")
        if self.reduction not in known:
            raise ConfigError(
                f"reduction: expected one of {known[:4]}, received {self.reduction!r}"
            )
        self.name = self.name or snake(type(self).__name__)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example; the last axis is gone."""
        raise NotImplementedError

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Return the loss.

        Args:
            y_true: Targets.
            y_pred: The model's output.
            sample_weight: (batch,), or one weight for each value of `call`.

        Steps that the output's mask leaves out do not count.

        Raises:
            ShapeError: targets or weights do not fit the output.
        """
        values = self.call(y_true, y_pred)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, values.dtype)
        masks = values.graph.root().masks
        mask = masks.get(values)
        if isinstance(y_pred, Tensor) and y_pred in masks and y_pred is not values:
            mask = masks[y_pred] if mask is None else ops.logical_and(mask, masks[y_pred])
        mean = self.reduction in ("sum_over_batch_size", "mean")
        weight = masked(mask, sample_weight, mean=mean)
        if weight is not None:
            weight = _spread(weight, values)
            values = values * weight
        if self.reduction in (None, "none"):
            return values
        if self.reduction == "sum":
            return ops.sum(values)
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            return ops.sum(values) / ops.maximum(ops.sum(weight), 1e-7)
        return ops.mean(values)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal loss."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}


@dataclasses.dataclass
class Wrapped(Loss):
    """A loss from a function: ``fn(y_true, y_pred)``, or ``fn(outputs, targets, weights)``."""

    fn: Callable[..., Tensor] = lambda t, p: ops.mean(ops.square(t - p), axis=-1)
    arguments: int = 2

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the function's value."""
        return self.fn(y_true, y_pred)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Return the loss; see `Loss`."""
        if self.arguments >= 3:
            mask = y_pred.graph.root().masks.get(y_pred)
            return self.fn(y_pred, y_true, masked(mask, sample_weight))
        return super().__call__(y_true, y_pred, sample_weight)


def masked(mask: Tensor | None, weight: Tensor | None, *, mean: bool = True) -> Tensor | None:
    """Return the weights of the steps that count.

    Args:
        mask: (batch, steps) bool, or None: all count.
        weight: (batch,) or (batch, steps), or None.
        mean: Whether they are scaled so that the mean over all is that over those that count.
    """
    if mask is None:
        return weight
    counted = emit("Cast", mask, to=1)
    if mean:
        total = emit("ReduceSum", counted, keepdims=0)
        counted = counted * (float(mask.size) / emit("Max", total, 1.0, like=total))
    return counted if weight is None else counted * _spread(weight, counted)


def _spread(weight: Tensor, values: Tensor) -> Tensor:
    """Return weights in the rank of the values that they multiply."""
    own, shape = list(weight.known_shape), list(values.known_shape)
    extra = len(own) - len(shape)
    both = [(size, other) for size, other in zip(own, shape, strict=False) if size != 1]
    wider = any(size != 1 for size in own[len(shape) :])
    if wider or differ([size for size, _ in both], [other for _, other in both]):
        raise ShapeError(
            f"sample_weight has the shape {tuple(own)}, and the loss has values of the shape "
            f"{tuple(shape)}: expected one weight for each example, or for each value",
            expected=tuple(shape), received=tuple(own),
        )  # fmt: skip
    if extra > 0:
        return ops.squeeze(weight, list(range(len(shape), len(own))))
    return ops.expand_dims(weight, list(range(len(own), len(shape)))) if extra else weight


def differ(shape: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether two shapes differ, as far as they are known."""
    if len(shape) != len(other):
        return True
    pairs = zip(shape, other, strict=True)
    return any(a != b for a, b in pairs if isinstance(a, int) and isinstance(b, int))


_by_name: dict[str, type[Loss]] = {}
_OF_LOGITS = ("sigmoid_cross_entropy", "softmax_cross_entropy")  # as TensorFlow.js means them


def named(*names: str) -> Callable[[type[Loss]], type[Loss]]:
    """Register a loss's class under its own name and others; a decorator."""

    def register(cls: type[Loss]) -> type[Loss]:
        _by_name.update(dict.fromkeys((*names, snake(cls.__name__)), cls))
        return cls

    return register


def get(loss: Any) -> Any:
    """Return a loss by name (Keras's or TensorFlow.js's spelling), or the one given.

    A dict ``{"class_name": …, "config": {…}}`` is what Keras writes. A function of two arguments is
    ``fn(y_true, y_pred)`` with a value for each example, as Keras's; one of three is
    ``fn(outputs, targets, weights)`` with a scalar.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> from edgeml import losses
        >>> losses.get("binaryCrossentropy").name
        'binary_crossentropy'
    """
    if loss is None or isinstance(loss, Loss):
        return loss
    options: dict[str, Any] = {}
    if isinstance(loss, Mapping):
        options = {snake(key): value for key, value in dict(loss.get("config") or {}).items()}
        loss = loss.get("class_name", "")
    if inspect.isclass(loss) and issubclass(loss, Loss):
        return loss()
    if callable(loss):
        code = getattr(loss, "__code__", None)
        count = code.co_argcount - hasattr(loss, "__self__") if code is not None else 2
        return Wrapped(fn=loss, arguments=count, name=getattr(loss, "__name__", "loss"))
    name = snake(str(loss))
    if name not in _by_name:
        near = difflib.get_close_matches(name, _by_name, 3) or sorted(_by_name)
        raise ConfigError(f"there is no loss {loss!r}; did you mean {', '.join(near)}?")
    found: Any = _by_name[name]
    return found(**({"from_logits": True} if name in _OF_LOGITS else {}), **options)
