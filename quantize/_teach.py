"""What a student is trained on: a teacher's outputs beside the labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml import ops
from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.graph import Tensor
from edgeml.losses import Loss
from edgeml.quantize._index import Index
from edgeml.quantize._matched import Tap
from edgeml.quantize._model import Model
from edgeml.training._inputs import by_name

Array = NDArray[Any]


@dataclasses.dataclass
class Distillation(Loss):
    """Kullback-Leibler divergence from the teacher's softened probabilities, times T squared.

    Targets hold the teacher's logits, and in one more column the label when `hard` is above 0.

    Source: G. Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).

    Args:
        temperature: T; the higher, the more the teacher's small probabilities count.
        hard: Share of the loss that is the cross-entropy with the labels.
        from_logits: Whether the student's output comes before the softmax.
    """

    temperature: float = 4.0
    hard: float = 0.0
    from_logits: bool = False

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each example."""
        classes, given = y_pred.static_shape[-1], y_true.static_shape[-1] - bool(self.hard)
        if classes != given:
            raise ShapeError(
                f"the student has {classes} classes, and the teacher {given}: they must be as many",
                expected=given, received=classes,
            )  # fmt: skip
        teacher = y_true[:, :classes] * (1.0 / self.temperature)
        logits = y_pred if self.from_logits else ops.log(ops.clip(y_pred, 1e-7, 1.0))
        student = ops.log_softmax(logits * (1.0 / self.temperature))
        known = ops.log_softmax(teacher)
        soft = ops.sum(ops.exp(known) * (known - student), axis=-1) * self.temperature**2
        if not self.hard:
            return soft
        label = y_true[:, classes:]
        chosen = ops.cast(ops.equal(label, np.arange(classes, dtype=np.float32)), "float32")
        crossentropy = -ops.sum(chosen * ops.log_softmax(logits), axis=-1)
        return soft * (1.0 - self.hard) + crossentropy * self.hard


@dataclass(frozen=True)
class Ending:
    """How a model ends.

    Args:
        output: Name of its first output.
        logits: Name of what goes into the softmax that ends it, or of the output.
        softmax: Whether there is one.
        direct: Whether nothing comes behind it.
    """

    output: str
    logits: str
    softmax: bool
    direct: bool

    @classmethod
    def of(cls, model: Model) -> Ending:
        """Return how a model ends."""
        index = Index(model)
        output = name = model.graph.output[0].name
        while True:
            node = index.producer.get(name)
            if node is None or node.op_type not in (*_AFTER, "Softmax"):
                return cls(output, output, False, False)
            if node.op_type == "Softmax":
                return cls(output, node.input[0], True, name == output)
            name = node.input[0]


_AFTER = frozenset({"QuantizeLinear", "DequantizeLinear", "Identity"})


class Teacher:
    """A model whose answers others learn.

    Args:
        model: The ``onnx.ModelProto``.
        soft: Whether its logits are wanted; else its first output as it is.
    """

    def __init__(self, model: Model, *, soft: bool) -> None:
        ending = Ending.of(model)
        self._name = ending.logits if soft else ending.output
        self._soft = soft
        self._tap = Tap(model, [self._name])

    def __call__(self, arrays: Mapping[str, Array], number: int = 0) -> Array:
        """Return its answers for a batch: (batch, classes) when logits are wanted."""
        found = self._tap.run(arrays, number)[self._name]
        if not self._soft:
            return found
        flat = found.reshape(len(found), -1) if set(found.shape[2:]) <= {1} else found
        if flat.ndim != 2 or flat.shape[1] < 2:
            raise ShapeError(
                f"the teacher's output has the shape {found.shape}: a temperature is for two or "
                "more classes in one axis; use temperature=None, which compares outputs as they "
                "are",
                expected="(batch, classes)", received=found.shape,
            )  # fmt: skip
        return flat


@dataclass
class Lesson:
    """Data as a student gets it.

    Args:
        teacher: Gives the targets.
        names: The inputs' names.
        hard: Whether labels are wanted beside the teacher's answers.
    """

    teacher: Teacher
    names: list[str]
    hard: bool

    def targets(self, arrays: Mapping[str, Array], y: Any, number: int = 0) -> Array:
        """Return a batch's targets."""
        answers = self.teacher(arrays, number)
        if not self.hard:
            return answers
        if y is None:
            raise DataError("labels are missing: hard= is their weight, and data has (x, y) then")
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] > 1:
            labels = labels.argmax(1)
        labels = labels.reshape(-1)
        if len(labels) != len(answers):
            raise ShapeError(
                f"there are {len(labels)} labels for {len(answers)} examples",
                expected=len(answers), received=len(labels),
            )  # fmt: skip
        bad = (labels < 0) | (labels >= answers.shape[1])
        if bad.any():
            raise DataError(
                f"label {labels[bad][0]} is out of range: expected 0 to {answers.shape[1] - 1}"
            )
        return np.concatenate([answers, labels[:, None].astype(np.float32)], 1)

    def cached(
        self, x: Any, y: Any, batch_size: int, path: str | os.PathLike[str] | None
    ) -> tuple[dict[str, Array], Array]:
        """Return arrays with the targets of all examples; the teacher runs once.

        Args:
            x: Array or dict of arrays.
            y: Labels or None.
            batch_size: Examples in one run of the teacher.
            path: ``.npy`` file for the targets; they are then mapped, not in memory.
        """
        arrays = by_name(x, self.names)
        count = len(next(iter(arrays.values())))
        if not count:
            raise DataError("the data is empty: expected at least one example")
        targets: Array | None = None
        for number, at in enumerate(range(0, count, batch_size)):
            rows = slice(at, at + batch_size)
            part = {name: array[rows] for name, array in arrays.items()}
            made = self.targets(part, None if y is None else y[rows], number)
            if targets is None:
                shape = (count, *made.shape[1:])
                targets = _space(shape, path)
            targets[rows] = made
        assert targets is not None
        return arrays, targets


def _space(shape: tuple[int, ...], path: str | os.PathLike[str] | None) -> Array:
    if path is None:
        return np.empty(shape, np.float32)
    mapped: Array = np.lib.format.open_memmap(Path(path), "w+", np.float32, shape)
    return mapped


class Taught:
    """A dataset of batches with a teacher's answers for targets, worked out as they come."""

    def __init__(self, data: Any, lesson: Lesson) -> None:
        self._data = data
        self._lesson = lesson

    def __iter__(self) -> Iterator[tuple[dict[str, Array], Array]]:
        for number, element in enumerate(self._data):
            yield self._taught(element, number)

    def __len__(self) -> int:
        return len(self._data)

    def set_epoch(self, epoch: int) -> None:
        """Tell the dataset which epoch comes next."""
        if hasattr(self._data, "set_epoch"):
            self._data.set_epoch(epoch)

    def _taught(self, element: Any, number: int) -> tuple[dict[str, Array], Array]:
        x, y = (*element, None)[:2] if isinstance(element, tuple) else (element, None)
        arrays = by_name(x, self._lesson.names)
        return arrays, self._lesson.targets(arrays, y, number)


def split_data(data: Any) -> tuple[Any, Any, bool]:
    """Return (x, y, whether x is a stream of batches)."""
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(f"data: expected (x, y), received a tuple of {len(data)}")
        return data[0], data[1], False
    batches = isinstance(data, list) and bool(data) and isinstance(data[0], (Mapping, tuple))
    arrays = isinstance(data, (np.ndarray, Mapping)) or hasattr(data, "__array__")
    if not (batches or arrays or hasattr(data, "__iter__")):
        raise DataError(f"data: expected arrays, (x, y) or batches, received {type(data).__name__}")
    return data, None, not arrays


def make_loss(temperature: float | None, hard: float | None) -> Any:
    """Return the loss that compares a student with its teacher.

    Raises:
        ConfigError: temperature or weight cannot be.
    """
    if hard is not None and not 0.0 <= hard <= 1.0:
        raise ConfigError(f"hard: expected a share from 0 to 1, received {hard!r}")
    if temperature is None:
        if hard:
            raise ConfigError("hard: labels need a temperature; None compares outputs as they are")
        return "mse"
    if not (np.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"temperature: expected a number above 0, received {temperature!r}")
    return Distillation(temperature=float(temperature), hard=float(hard or 0.0))
