"""Models: layers with a loss, an optimizer and metrics."""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from edgeml import optimizers
from edgeml.callbacks import CallbackList
from edgeml.callbacks._history import History
from edgeml.errors import ConfigError, DataError
from edgeml.graph._tree import leaves
from edgeml.layers._config import deserialize, serialize
from edgeml.layers._layer import Layer
from edgeml.layers._lora import adapters_of
from edgeml.metrics import Metric
from edgeml.training._fit import (
    Plan,
    evaluate,
    listed,
    off_loop,
    refuse_on_loop,
    run,
    with_class_weight,
)  # fmt: skip
from edgeml.training._goals import Wishes
from edgeml.training._inputs import Data
from edgeml.training._learner import Learner
from edgeml.training._parts import names_of, restore, returned, without_targets

Array = np.ndarray[Any, Any]
WHOLE = 2**31 - 1
"""A batch size that takes all examples at once."""


class Model(Learner):
    """Layers put together, with what it takes to train them; Keras's API.

    Three ways to make one: from `Input` to outputs (below), `Sequential`, or a subclass with
    ``call(self, x)``. Weights are float32; the batch comes first, channels last.

    Args:
        inputs: One `Input`, or a list or dict of them.
        outputs: What the layers made of them; one tensor or a list.
        name: Its name.

    Example:
        >>> import numpy as np, edgeml
        >>> x = edgeml.Input((2,))
        >>> model = edgeml.Model(x, edgeml.layers.Dense(1)(x))
        >>> model.compile(optimizer="sgd", loss="mse")
        >>> history = model.fit(np.ones((8, 2)), np.ones(8), epochs=2, verbose=0)
        >>> len(history.history["loss"])
        2
    """

    def __init__(
        self, inputs: Any = None, outputs: Any = None, *, name: str = "", trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if inputs is not None:
            self._connect(inputs, outputs)

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None,
        metrics: Any = None, weighted_metrics: Any = None, run_eagerly: bool = False,
        steps_per_execution: int = 1, jit_compile: Any = "auto", auto_scale_loss: bool = True,
    ) -> None:  # fmt: skip
        """Say how to train.

        Args:
            optimizer: Name or `edgeml.optimizers.Optimizer`.
            loss: Name, `edgeml.losses.Loss`, ``fn(y_true, y_pred)``; a list or dict for several
                outputs, None for an output that has none.
            loss_weights: Weight of each output's loss, a list or dict.
            metrics: Names or `edgeml.metrics.Metric`; for several outputs a list with an entry
                (one or a list) for each, or a dict.
            weighted_metrics: The same, for metrics that count with the sample weights.
            run_eagerly: Refused: a step is one graph. To look inside, call layers on arrays.
            steps_per_execution: Steps in one call of the runtime, as one graph. On a CPU it saves
                nothing, for a step is one bound call already; elsewhere a call may cost more.
                Callbacks are called once for all of them, and a NaN takes back all of them.
            jit_compile: As in Keras, and without effect: a step is compiled always.
            auto_scale_loss: As in Keras, and without effect: steps compute in float32.

        Raises:
            ConfigError: there is no such optimizer, loss or metric; the nearest names are told.
        """
        if run_eagerly:
            raise ConfigError("run_eagerly: a step is one graph, and is not run line by line")
        if steps_per_execution < 1:
            raise ConfigError(f"steps_per_execution: at least 1, received {steps_per_execution}")
        self.optimizer = optimizers.get(optimizer)
        self.loss = loss
        self.steps_per_execution = steps_per_execution
        self._wishes = Wishes(loss, loss_weights, metrics, weighted_metrics)
        self._set_goals(len(leaves(self._outputs)) or self._wishes.count() or 1)
        self._release()
        self._resolved = None

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.optimizer is not None

    def get_compile_config(self) -> dict[str, Any]:
        """Return what `compile` was given, as JSON values; nothing when it was not called.

        Raises:
            ModelFormatError: a loss or metric cannot be written.
        """
        if self.optimizer is None:
            return {}
        given = {field.name: getattr(self._wishes, field.name) for field in fields(self._wishes)}
        given["metrics"] = given["metrics"] or None
        return {
            "optimizer": serialize(self.optimizer), **serialize(given),
            "steps_per_execution": self.steps_per_execution,
        }  # fmt: skip

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Call `compile` with what `get_compile_config` returned.

        Raises:
            ModelFormatError: a loss or metric is not known here.
        """
        if config:
            self.compile(**{key: deserialize(value) for key, value in config.items()})

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that training counts; none before the first batch."""
        found = self._resolved[:1] if self._resolved else []
        return [m for scores in found for own in (*scores.metrics, *scores.weighted) for m in own]

    @property
    def metrics_names(self) -> list[str]:
        """What `evaluate` returns, by name; none before the first batch."""
        return self._resolved[0].names() if self._resolved else []

    def reset_metrics(self) -> None:
        """Forget what the metrics have counted; each epoch and each `train_on_batch` does it."""
        for scores in self._resolved or ():
            scores.reset()

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
        verbose: Any = "auto", callbacks: Any = None, validation_split: float = 0.0,
        validation_data: Any = None, shuffle: bool = True, class_weight: Any = None,
        sample_weight: Any = None, initial_epoch: int = 0, steps_per_epoch: int | None = None,
        validation_steps: int | None = None, validation_batch_size: int | None = None,
        validation_freq: int = 1, *, seed: int = 0,
    ) -> History:  # fmt: skip
        """Train, and return what happened.

        Args:
            x: Array (examples, ...), a list or dict of them, or a dataset of ``(x, y)`` batches.
            y: Targets, when `x` has none; a list or dict for several outputs.
            batch_size: Examples in a step; None is 32.
            epochs: Passes over the data, counted from zero, not from `initial_epoch`.
            verbose: "auto", 0 (silent), 1 (a bar) or 2 (a line an epoch).
            callbacks: `edgeml.callbacks.Callback` objects.
            validation_split: Fraction of the examples, from the end, to validate on.
            validation_data: ``(x, y[, sample_weight])`` or a dataset, to validate on.
            shuffle: Whether each epoch has an order of its own.
            class_weight: Weight of each class, by its number.
            sample_weight: Weight of each example; a list or dict for several outputs.
            initial_epoch: Number of the first epoch, for training that goes on.
            steps_per_epoch: Steps after which an epoch ends.
            validation_steps: Batches after which validation ends.
            validation_batch_size: Examples in a batch of validation; None is `batch_size`.
            validation_freq: Epochs from one validation to the next.
            seed: Seed of shuffling and dropout.

        Raises:
            TrainingError: the model is not compiled, or an event loop is running.
            DataError: data is empty, labels do not fit the loss, or there is one class only.
            ShapeError: shapes do not fit.
            NonFinite: data or loss hold NaN or infinity; the last good weights are kept.
        """
        refuse_on_loop("fit")
        size = 32 if batch_size is None else batch_size
        data, validation = self._data(x, y, sample_weight, size), None
        if validation_data is not None:
            validation = self._validation(validation_data, validation_batch_size or size)
        elif validation_split:
            data, validation = self._split(data, validation_split)
        engine = self._prepare(data, seed)
        self._check_labels(data)
        plan = Plan(
            data, epochs=epochs, initial_epoch=initial_epoch, validation=validation,
            validation_freq=validation_freq, validation_steps=validation_steps, shuffle=shuffle,
            steps_per_epoch=steps_per_epoch, steps_per_execution=self.steps_per_execution,
            verbose=verbose, callbacks=listed(callbacks), seed=seed, class_weight=class_weight,
            check=self._check_batch if data.streamed else None,
        )  # fmt: skip
        counted, checked = self._scores
        self.history = run(self, engine, counted, checked, plan)
        return self.history

    async def fit_async(self, *args: Any, **kwargs: Any) -> History:
        """Train in a thread while the event loop goes on; the arguments are `fit`'s.

        A cancelled call stops after the step that is running.
        """

        def stop() -> None:
            self.stop_training = True

        found: History = await off_loop(lambda: self.fit(*args, **kwargs), stop)
        return found

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None,
        return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """Do one step on one batch; return loss and metrics of that batch, before the step.

        Args:
            x: Inputs.
            y: Targets.
            sample_weight: Weight of each example.
            class_weight: Weight of each class, by its number.
            return_dict: Whether to return them by name; else a list.
        """
        refuse_on_loop("fit")
        data = self._data(x, y, sample_weight, WHOLE)
        engine = self._prepare(data)
        batch = with_class_weight(data.head(), class_weight)
        self._check_batch(batch)
        scores = self._scores[0]
        scores.reset()
        scores.add(engine.train(batch), batch)
        return returned(scores.result(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = True
    ) -> Any:
        """Return loss and metrics of one batch, without training."""
        return self.evaluate(x, y, WHOLE, sample_weight=sample_weight, return_dict=return_dict)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: Any = 0,
        sample_weight: Any = None, steps: int | None = None, callbacks: Any = None,
        return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """Return loss and metrics on data, by name.

        Args:
            x: Array, list or dict of arrays, or a dataset of ``(x, y)`` batches.
            y: Targets, when `x` has none.
            batch_size: Examples in one run; None is 32.
            verbose: As in Keras, and without effect: nothing is printed.
            sample_weight: Weight of each example.
            steps: Batches after which it ends.
            callbacks: Called at each batch.
            return_dict: Whether to return them by name (unlike Keras's, the default); else a list
                in the order of `metrics_names`.

        Raises:
            NonFinite: the data holds NaN or infinity.
        """
        data = self._data(x, y, sample_weight, 32 if batch_size is None else batch_size)
        engine = self._prepare(data)
        told = CallbackList(listed(callbacks), model=self, params={}) if callbacks else None
        scores = dataclasses.replace(self._scores[1], prefix="")
        return returned(evaluate(engine, data, scores, told, steps), return_dict)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = 0, steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:  # fmt: skip
        """Return the outputs for all examples of `x`.

        Args:
            x: Array, list or dict of arrays, or a dataset of batches.
            batch_size: Examples in one run; None is 256.
            verbose: As in Keras, and without effect: nothing is printed.
            steps: Batches after which it ends.
            callbacks: Called at each batch.
        """
        size = 256 if batch_size is None else batch_size
        self._refresh()
        names = self._names or names_of(x)
        data = Data(without_targets(x), None, None, names, 0, size, self._dtypes())
        told = CallbackList(listed(callbacks), model=self, params={})
        made: list[list[Array]] = []
        told.on_predict_begin()
        for number, (arrays, _, _) in enumerate(itertools.islice(data.batches(None), steps)):
            told.on_predict_batch_begin(number)
            made.append([np.asarray(y) for y in self._predict_batch(arrays)])
            told.on_predict_batch_end(number)
        told.on_predict_end()
        if not made:
            raise DataError("there is nothing to predict: the data is empty")
        joined = [np.concatenate(parts) for parts in zip(*made, strict=True)]
        structure = self._outputs if self._outputs is not None else self._result_tree
        return restore(structure, joined)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch."""
        return self.predict(x, WHOLE)

    def get_config(self) -> dict[str, Any]:
        """Return the layers and how they are connected; of a subclass, its arguments."""
        from edgeml.training._save import describe

        known = self.inputs or hasattr(self, "_stack")
        return describe(self) if known else super().get_config()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Return the model that `get_config` described, with new weights."""
        from edgeml.training._save import build

        return build(config) if "kind" in config else super().from_config(config)

    def to_json(self) -> str:
        """Return the layers and how they are connected as JSON; see `model_from_json`."""
        from edgeml.training._save import describe

        return json.dumps(describe(self))

    def enable_lora(
        self, rank: int, a_initializer: Any = "he_uniform", b_initializer: Any = "zeros",
        lora_alpha: float | None = None,
    ) -> None:  # fmt: skip
        """Train low-rank changes of all kernels instead of the weights (LoRA).

        All weights are frozen; see `edgeml.layers.Layer.enable_lora` for a single layer. `save`
        writes merged weights, and `save_lora_weights` the adapters alone.

        Args:
            rank: Rank of the changes.
            a_initializer: Initializer of each first factor.
            b_initializer: Initializer of each second one; with zeros nothing changes at first.
            lora_alpha: The changes are multiplied by ``lora_alpha / rank``; None: by 1.

        Raises:
            ConfigError: the model is not built, or has no kernels.
        """
        from edgeml.training._lora import adapt_model

        self._release()
        adapt_model(self, rank, a_initializer, b_initializer, lora_alpha)

    def save_lora_weights(self, path: Any) -> None:
        """Write the adapters alone to an ``.npz`` file, by the paths of the kernels."""
        from edgeml.training._lora import save_adapters

        save_adapters(Path(path), self._adapters())

    def load_lora_weights(self, path: Any) -> None:
        """Read adapters that `save_lora_weights` wrote, for equal layers with adapters.

        Raises:
            ShapeError: they are of other layers, or of another rank.
        """
        from edgeml.training._lora import check_adapters, load_adapters

        stored = load_adapters(Path(path))
        check_adapters(Path(path), stored, self._adapters())
        for adapter in adapters_of(self):
            adapter.a.value, adapter.b.value, _ = stored[adapter.weight.path]

    def _adapters(self) -> dict[str, tuple[Array, Array, float]]:
        found = {x.weight.path: (x.a.value, x.b.value, x.scale) for x in adapters_of(self)}
        if not found:
            raise ConfigError(f"{self.name} has no adapters: call enable_lora(rank) first")
        return found

    def set_user_defined_metadata(self, metadata: dict[str, Any]) -> None:
        """Keep JSON values with the model, in its file, too."""
        self._user_metadata = json.loads(json.dumps(metadata))

    def get_user_defined_metadata(self) -> dict[str, Any]:
        """Return what `set_user_defined_metadata` was given."""
        return dict(self._user_metadata)

    def save(self, path: Any) -> None:
        """Write the model to one ``.onnx`` file that any ONNX tool runs; see `load_model`.

        The file holds the weights, the layers and what `compile` was given; the optimizer's state
        is in checkpoints only.

        Args:
            path: File to write; replaced in one step, so that a crash leaves the old or the new.
        """
        from edgeml.training._save import save

        save(self, Path(path))

    def save_weights(self, path: Any) -> None:
        """Write all weights to an ``.npz`` file, by path."""
        from edgeml.training._save import save_weights

        save_weights(self, Path(path))

    def load_weights(self, path: Any) -> None:
        """Read weights that `save_weights` wrote, or those of a saved model.

        Raises:
            ShapeError: a weight is missing, or of another shape.
        """
        from edgeml.training._save import load_weights

        load_weights(self, Path(path))

    def summary(self, print_fn: Any = None) -> str:
        """Return, and print, the table of layers: name, output shape, parameters."""
        from edgeml.training._summary import summary

        text = summary(self)
        (print_fn or print)(text)
        return text

    def plot(self, path: Any = None) -> Any:
        """Draw the layers and how they are connected; return matplotlib's figure.

        Args:
            path: File to write (``.png``, ``.svg``, ``.pdf``), or None.
        """
        from edgeml.training._summary import plot

        return plot(self, path)
