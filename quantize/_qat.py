"""Training of quantized models: weights and scales learn with the rounding in place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from edgeml.errors import ConfigError
from edgeml.quantize._distill import (
    Fit,
    Goal,
    exported,
    fit_labelled,
    fit_taught,
    make_trainer,
)
from edgeml.quantize._masters import with_masters, written
from edgeml.quantize._model import Model, load


def train_quantized(
    quantized_model: Model | str | os.PathLike[str], data: Any, *,
    teacher: Model | str | os.PathLike[str] | None = None, epochs: int = 5, batch_size: int = 32,
    loss: Any = "sparse_categorical_crossentropy", temperature: float | None = 1.0,
    hard: float | None = None, scales: str = "learned", optimizer: Any = None,
    callbacks: Sequence[Any] = (), seed: int = 0, verbose: Any = 0, **options: Any,
) -> Model:  # fmt: skip
    """Train a quantized model further (quantization-aware training); return it quantized.

    1. Weights get float masters that are rounded in each step; gradients go straight through the
       rounding. Biases of 32 bits train in float.
    2. ``scales="learned"``: the step sizes of weights and of activations are trained, too, each by
       its logarithm, so that they stay positive; zero points stay, and so do the steps of the
       model's inputs, whose grid may be the sensor's own. What only moves values (pools, reshapes)
       keeps one step size for what goes in and what comes out.
    3. With a `teacher`, usually the float model, examples need no labels.
    4. What comes out has the given model's graph, with integers that are the rounded masters.
    5. Ctrl-C ends it early with what has been learned.

    Source: S. K. Esser et al., "Learned Step Size Quantization" (2020), for the scales' gradient.

    Args:
        quantized_model: Path or ``onnx.ModelProto`` with QuantizeLinear and DequantizeLinear.
        data: ``(x, y)``; an array or dict of inputs, when there is a teacher; or a dataset (or
            list) of batches of those.
        teacher: Path or ``onnx.ModelProto`` to answer like.
        epochs: Passes over the data.
        batch_size: Examples in a step, when `data` is arrays.
        loss: Loss with the labels, when there is no teacher.
        temperature: As in `distill`.
        hard: As in `distill`.
        scales: "learned" or "fixed".
        optimizer: Name or `edgeml.optimizers.Optimizer`; None is Adam with 0.0003.
        callbacks: `edgeml.callbacks.Callback` objects.
        seed: Seed of shuffling and dropout.
        verbose: "auto", 0, 1 or 2.
        options: More of `edgeml.training.Trainer`: ``threads``, ``from_logits`` …

    Raises:
        ModelFormatError: the model is not quantized.
        ConfigError: `scales`, `temperature` or `hard` cannot be.
        DataError: data is empty, or labels are missing or out of range.
        ShapeError: model and teacher differ in their classes.
        NonFinite: data or loss hold NaN or infinity.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import quantize_int8, simplify, train_quantized
        >>> net = edgeml.Sequential([edgeml.Input((4,), name="x"), edgeml.layers.Dense(2)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> x = np.random.rand(64, 4).astype("float32")
        >>> small = quantize_int8(simplify("/tmp/edgeml-example.onnx"), [{"x": x}])
        >>> better = train_quantized(small, (x, np.arange(64) % 2), epochs=1)
    """
    from edgeml.optimizers import Adam

    if scales not in ("learned", "fixed"):
        raise ConfigError(f"scales: expected 'learned' or 'fixed', received {scales!r}")
    given = load(quantized_model)
    masters = with_masters(given, learned=scales == "learned")
    fit = Fit(epochs, batch_size, list(callbacks), seed, verbose)
    goal: Any = loss if teacher is None else Goal(load(teacher), temperature, hard)
    chosen = Adam(3e-4) if optimizer is None else optimizer
    trainer = make_trainer(masters.model, goal, chosen, seed, options)
    found = [name for name in trainer.parameters if name not in masters.scales]
    trainer.parameters = list(dict.fromkeys([*found, *masters.parameters]))
    if isinstance(goal, Goal):
        fit_taught(trainer, data, goal, fit)
    else:
        fit_labelled(trainer, data, fit)
    return written(given, masters, exported(trainer))
