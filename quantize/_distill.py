"""Distillation: a small model learns to answer as a large one does."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeml.quantize._channels import check_float
from edgeml.quantize._model import Model, load
from edgeml.quantize._teach import Ending, Lesson, Taught, Teacher, make_loss, split_data

_log = logging.getLogger("edgeml.quantize")


def distill(
    student: Model | str | os.PathLike[str], teacher: Model | str | os.PathLike[str], data: Any, *,
    epochs: int = 10, batch_size: int = 32, temperature: float | None = 4.0,
    hard: float | None = None, optimizer: Any = "adam", callbacks: Sequence[Any] = (),
    cache: str | os.PathLike[str] | None = None, seed: int = 0, verbose: Any = 0,
    **options: Any,
) -> Model:  # fmt: skip
    """Train a model on another one's answers, such as a pruned one on the one it was cut from.

    1. Examples need no labels; with `hard` above 0 they count, too.
    2. The teacher answers once for each example, when `data` is arrays; a dataset, which may
       change its examples from epoch to epoch, is answered as it comes.
    3. Ctrl-C ends it early with what has been learned.

    Args:
        student: Path or ``onnx.ModelProto``, float32; what is returned has its graph.
        teacher: Path or ``onnx.ModelProto`` with the same inputs and as many classes.
        data: Array or dict of inputs; ``(x, y)``; or a dataset (or list) of batches of those.
        epochs: Passes over the data.
        batch_size: Examples in a step, when `data` is arrays.
        temperature: What logits are divided by before their probabilities are compared; None
            compares outputs as they are, by their mean squared error, for models that do not
            classify.
        hard: Share of the loss, 0 to 1, that is the cross-entropy with labels; None is none.
        optimizer: Name or `edgeml.optimizers.Optimizer`.
        callbacks: `edgeml.callbacks.Callback` objects.
        cache: ``.npy`` file to keep the teacher's answers in, when memory does not suffice.
        seed: Seed of shuffling and dropout.
        verbose: "auto", 0, 1 or 2.
        options: More of `edgeml.training.Trainer`: ``trainable``, ``batch_norm``, ``threads`` …

    Raises:
        ModelFormatError: the student is quantized: use `train_quantized`.
        ShapeError: student and teacher differ in their classes.
        DataError: data is empty, or labels are missing or out of range.
        ConfigError: `temperature` or `hard` cannot be.
        NonFinite: data or loss hold NaN or infinity.
        InputError: the teacher has other inputs, or gets NaN or infinity.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import distill
        >>> def save(units, path):
        ...     edgeml.Sequential([edgeml.Input((4,), name="x"), edgeml.layers.Dense(units, "relu"),
        ...                        edgeml.layers.Dense(3)]).save(path)
        >>> save(32, "/tmp/edgeml-teacher.onnx"); save(4, "/tmp/edgeml-student.onnx")
        >>> x = np.random.rand(64, 4).astype("float32")
        >>> model = distill("/tmp/edgeml-student.onnx", "/tmp/edgeml-teacher.onnx", x, epochs=1)
    """
    proto = load(student)
    check_float(proto)
    goal = Goal(load(teacher), temperature, hard)
    fit = Fit(epochs, batch_size, list(callbacks), seed, verbose, cache)
    trainer = make_trainer(proto, goal, optimizer, seed, options)
    fit_taught(trainer, data, goal, fit)
    return exported(trainer)


@dataclass(frozen=True)
class Goal:
    """What a student is to become.

    Args:
        teacher: The model to answer like.
        temperature: See `distill`.
        hard: See `distill`.
    """

    teacher: Model
    temperature: float | None
    hard: float | None


@dataclass(frozen=True)
class Fit:
    """How long and in what steps; see `distill`."""

    epochs: int
    batch_size: int = 32
    callbacks: list[Any] = field(default_factory=list)
    seed: int = 0
    verbose: Any = 0
    cache: str | os.PathLike[str] | None = None


def make_trainer(
    student: Model, goal: Goal | Any, optimizer: Any, seed: int, options: Mapping[str, Any]
) -> Any:
    """Return the trainer of a student, with the loss of a goal (or the one given instead)."""
    from edgeml.training import Trainer

    loss = goal
    given = dict(options)
    ending = Ending.of(student)
    if isinstance(goal, Goal):
        loss = make_loss(goal.temperature, goal.hard)
    if ending.softmax and not ending.direct:  # else the trainer sees it by itself
        given.setdefault("from_logits", False)
    return Trainer(student, loss=loss, optimizer=optimizer, seed=seed, **given)


def fit_taught(trainer: Any, data: Any, goal: Goal, fit: Fit) -> None:
    """Train on a teacher's answers; Ctrl-C ends it early."""
    x, y, streamed = split_data(data)
    soft = goal.temperature is not None
    lesson = Lesson(Teacher(goal.teacher, soft=soft), trainer.input_names, bool(goal.hard))
    if streamed:
        _fit(trainer, Taught(x, lesson), None, fit)
        return
    arrays, targets = lesson.cached(x, y, max(fit.batch_size, 64), fit.cache)
    _fit(trainer, arrays, targets, fit)


def fit_labelled(trainer: Any, data: Any, fit: Fit) -> None:
    """Train on labels; Ctrl-C ends it early."""
    from edgeml.data import Dataset

    x, y, _ = split_data(data)
    _fit(trainer, Dataset.from_generator(lambda: iter(x)) if isinstance(x, list) else x, y, fit)


def _fit(trainer: Any, x: Any, y: Any, fit: Fit) -> None:
    try:
        trainer.fit(
            x, y, epochs=fit.epochs, batch_size=fit.batch_size, callbacks=fit.callbacks,
            verbose=fit.verbose,
        )  # fmt: skip
    except KeyboardInterrupt:
        _log.warning("training was interrupted in epoch %d; what it learned is kept", trainer.epoch)


def exported(trainer: Any) -> Model:
    """Return the model of a trainer with the weights as they are now."""
    with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
        path = Path(folder) / "model.onnx"
        trainer.export(path)
        return load(path)
