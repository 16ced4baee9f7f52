"""Models: layers with a loss, an optimizer and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeml import losses as losses_module
from edgeml import optimizers
from edgeml.callbacks._history import History
from edgeml.errors import DataError
from edgeml.training._fit import Plan, evaluate, listed, off_loop, refuse_on_loop, run
from edgeml.training._inputs import Data
from edgeml.training._learner import Learner
from edgeml.training._parts import names_of, restore, without_targets

Array = np.ndarray[Any, Any]


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
        self, optimizer: Any = "rmsprop", loss: Any = None, *, metrics: Any = (),
        loss_weights: Any = None,
    ) -> None:  # fmt: skip
        """Say how to train.

        Args:
            optimizer: Name or `edgeml.optimizers.Optimizer`.
            loss: Name, `edgeml.losses.Loss`, ``fn(y_true, y_pred)``; a list or dict for several
                outputs.
            metrics: Names or `edgeml.metrics.Metric`; a list of lists for several outputs.
            loss_weights: Weight of each output's loss.

        Raises:
            ConfigError: there is no such optimizer, loss or metric; the nearest names are told.
        """
        self.optimizer = optimizers.get(optimizer)
        self.loss = loss
        self._losses = [losses_module.get(item) for item in self._by_output(loss)]
        self._metrics = metrics
        self._loss_weights = loss_weights
        self._release()
        self._resolved = None

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int = 32, epochs: int = 1,
        verbose: Any = "auto", callbacks: Any = None, validation_split: float = 0.0,
        validation_data: Any = None, shuffle: bool = True, class_weight: Any = None,
        sample_weight: Any = None, initial_epoch: int = 0, steps_per_epoch: int | None = None,
        validation_freq: int = 1, seed: int = 0,
    ) -> History:  # fmt: skip
        """Train, and return what happened.

        Args:
            x: Array (examples, ...), a list or dict of them, or a dataset of ``(x, y)`` batches.
            y: Targets, when `x` has none.
            batch_size: Examples in a step.
            epochs: Passes over the data, counted from zero, not from `initial_epoch`.
            verbose: "auto", 0 (silent), 1 (a bar) or 2 (a line an epoch).
            callbacks: `edgeml.callbacks.Callback` objects.
            validation_split: Fraction of the examples, from the end, to validate on.
            validation_data: ``(x, y[, sample_weight])`` or a dataset, to validate on.
            shuffle: Whether each epoch has an order of its own.
            class_weight: Weight of each class, by its number.
            sample_weight: Weight of each example.
            initial_epoch: Number of the first epoch, for training that goes on.
            steps_per_epoch: Steps after which an epoch ends.
            validation_freq: Epochs from one validation to the next.
            seed: Seed of shuffling and dropout.

        Raises:
            TrainingError: the model is not compiled, or an event loop is running.
            DataError: data is empty, labels do not fit the loss, or there is one class only.
            ShapeError: shapes do not fit.
            NonFinite: data or loss hold NaN or infinity; the last good weights are kept.
        """
        refuse_on_loop("fit")
        return self._fit(
            x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data,
            shuffle, class_weight, sample_weight, initial_epoch, steps_per_epoch, validation_freq,
            seed,
        )  # fmt: skip

    async def fit_async(self, *args: Any, **kwargs: Any) -> History:
        """Train in a thread while the event loop goes on; the arguments are `fit`'s.

        A cancelled call stops after the step that is running.
        """

        def stop() -> None:
            self.stop_training = True

        found: History = await off_loop(lambda: self.fit(*args, **kwargs), stop)
        return found

    def _fit(
        self, x: Any, y: Any, batch_size: int, epochs: int, verbose: Any, callbacks: Any,
        validation_split: float, validation_data: Any, shuffle: bool, class_weight: Any,
        sample_weight: Any, initial_epoch: int, steps_per_epoch: int | None, validation_freq: int,
        seed: int,
    ) -> History:  # fmt: skip
        data = self._data(x, y, sample_weight, batch_size)
        validation = None
        if validation_data is not None:
            given = validation_data if isinstance(validation_data, tuple) else (validation_data,)
            parts = [*given, None, None][:3]
            validation = self._data(parts[0], parts[1], parts[2], batch_size)
        elif validation_split:
            data, validation = self._split(data, validation_split)
        engine = self._prepare(data, seed)
        self._check_labels(data)
        plan = Plan(
            data, epochs=epochs, initial_epoch=initial_epoch, validation=validation,
            validation_freq=validation_freq, shuffle=shuffle, steps_per_epoch=steps_per_epoch,
            verbose=verbose, callbacks=listed(callbacks), seed=seed, class_weight=class_weight,
            check=self._check_batch if data.streamed else None,
        )  # fmt: skip
        scores = self._scores()
        checking = self._scores(1, "val_")
        self.history = run(self, engine, scores, checking, plan)
        return self.history

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None) -> dict[str, float]:
        """Do one step on one batch; return loss and metrics of that batch."""
        refuse_on_loop("fit")
        data = self._data(x, y, sample_weight, 2**31 - 1)
        engine = self._prepare(data)
        batch = data.head()
        self._check_batch(batch)
        scores = self._scores()
        scores.reset()
        scores.add(engine.train(batch), batch)
        return scores.result()

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None) -> dict[str, float]:
        """Return loss and metrics of one batch, without training."""
        return self.evaluate(x, y, batch_size=2**31 - 1, sample_weight=sample_weight)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, sample_weight: Any = None
    ) -> dict[str, float]:
        """Return loss and metrics on data, by name."""
        data = self._data(x, y, sample_weight, batch_size)
        engine = self._prepare(data)
        return evaluate(engine, data, self._scores(1))

    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """Return the outputs for all examples of `x`.

        Args:
            x: Array, list or dict of arrays, or a dataset of batches.
            batch_size: Examples in one run.
        """
        names = self._names or names_of(x)
        data = Data(without_targets(x), None, None, names, 0, batch_size, self._dtypes())
        made: list[list[Array]] = []
        for arrays, _, _ in data.batches(None):
            made.append([np.asarray(y) for y in self._predict_batch(arrays)])
        if not made:
            raise DataError("there is nothing to predict: the data is empty")
        joined = [np.concatenate(parts) for parts in zip(*made, strict=True)]
        structure = self._outputs if self._outputs is not None else self._result_tree
        return restore(structure, joined)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch."""
        return self.predict(x, batch_size=2**31 - 1)

    def save(self, path: Any) -> None:
        """Write the model to one ``.onnx`` file that any ONNX tool runs; see `load_model`.

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
