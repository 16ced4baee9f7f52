"""Training of any ONNX model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeml import losses as losses_module
from edgeml import metrics as metrics_module
from edgeml import optimizers
from edgeml.callbacks._history import History
from edgeml.errors import DataError, TrainingError
from edgeml.graph import from_onnx, gradients, to_onnx
from edgeml.graph._execute import open_session
from edgeml.graph._infer import onnx
from edgeml.graph._onnx import read_proto
from edgeml.training._budget import bytes_of, within_memory
from edgeml.training._checkpoint import Checkpoints, Position
from edgeml.training._engine import Engine, feeds_of
from edgeml.training._features import Cut, compute, cut
from edgeml.training._file import find_squash, trace_file
from edgeml.training._files import writing
from edgeml.training._fit import Plan, Scores, evaluate, listed, off_loop, refuse_on_loop, run
from edgeml.training._inputs import Batch, Data, check_finite
from edgeml.training._lora import (
    Adapted,
    adapt_file,
    check_adapters,
    load_adapters,
    save_adapters,
)  # fmt: skip
from edgeml.training._parts import check_classes, metric
from edgeml.training._quantized import quantized, with_masters
from edgeml.training._resume import read, write
from edgeml.training._save import set_initializers
from edgeml.training._select import find_groups, select, untied
from edgeml.training._step import Traced

Array = np.ndarray[Any, Any]


class Trainer:
    """Trains an ONNX model, whoever exported it, on the ordinary ONNX Runtime.

    Forward pass, loss, backward pass and optimizer are one graph, so that a step is one call of
    the runtime. What is not trained stays constant in that graph.

    Args:
        model: Path of an ONNX file, or an ``onnx.ModelProto``.
        loss: Name, `edgeml.losses.Loss`, or traced ``fn(outputs, targets, weights) -> scalar``.
        optimizer: Name or `edgeml.optimizers.Optimizer`.
        trainable: "all", "head" (the last layer), "last:N" (the last N layers), "bias", a pattern
            of initializers' names such as ``"classifier.*"``, or a list of patterns.
        metrics: Names or `edgeml.metrics.Metric`.
        batch_size: Examples in a step of `fit`; None is 32, or less under `memory_limit`.
        batch_norm: "frozen" uses the running statistics of the file and keeps them; "train" uses
            the batch's, and updates the running ones.
        seed: Seed of shuffling and dropout.
        delegate: Where steps run.
        threads: Threads of one step; None is all cores that the process may use.
        memory_limit: Bytes that a step's tensors may take; smaller batches whose gradients are
            accumulated take less, and `fit` uses them when they are needed.
        from_logits: Whether the model's output comes before softmax or sigmoid; None: look.
        cache_features: Whether `fit` computes what lies before the first trained parameter only
            once for each example.

    Raises:
        TrainingError: `trainable` matches nothing, or the limit is too small for one example.
        NoGradient: an operator after the first trained parameter has no gradient rule.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.training import Trainer
        >>> model = edgeml.Sequential([edgeml.Input((4,)), edgeml.layers.Dense(3)])
        >>> model.save("/tmp/edgeml-example.onnx")
        >>> trainer = Trainer("/tmp/edgeml-example.onnx", loss="sparse_categorical_crossentropy")
        >>> x, y = np.ones((8, 4), "float32"), np.arange(8) % 3
        >>> trainer.step(x, y) > trainer.step(x, y)
        True
    """

    def __init__(
        self, model: Any, *, loss: Any, optimizer: Any = "adam", trainable: Any = "all",
        metrics: Sequence[Any] = (), batch_size: int | None = None, batch_norm: str = "frozen",
        seed: int = 0, delegate: str = "cpu", threads: int | None = None,
        memory_limit: int | None = None, from_logits: bool | None = None,
        cache_features: bool = False,
    ) -> None:  # fmt: skip
        if batch_norm not in ("frozen", "train"):
            raise TrainingError(
                f"batch_norm: expected 'frozen' or 'train', received {batch_norm!r}"
            )
        self._proto = untied(read_proto(model))
        self.optimizer = optimizers.get(optimizer)
        self.loss = losses_module.get(loss)
        self.batch_norm = batch_norm
        self.metrics = list(metrics)
        self.batch_size = batch_size
        self.memory_limit = memory_limit
        self._accumulation = self.optimizer.gradient_accumulation_steps or 1
        self.cache_features = cache_features
        self.seed = seed
        self.stop_training = False
        self.history: History | None = None
        self._threads = threads
        self._delegate = delegate
        self._given = {"loss": loss, "trainable": trainable}
        graph = from_onnx(self._proto)
        self.input_names = [str(x.name) for x in graph.inputs]
        self._dtypes = {str(x.name): x.dtype for x in graph.inputs}
        self.parameters = select(find_groups(graph), trainable)
        self._masters = with_masters(self._proto, self.parameters)
        self._squash = find_squash(graph, self.loss, from_logits)
        self.from_logits = self._squash is None if from_logits is None else from_logits
        if self._squash is not None or self.from_logits:
            self.loss = losses_module.with_logits(self.loss, True)
        self._engine: Engine | None = None
        self._adapted: Adapted | None = None
        self._cut: Cut | None = None
        self._resolved: Any = None
        self.epoch = self.batch = 0

    def enable_lora(self, rank: int, lora_alpha: float | None = None, weights: Any = "all") -> None:
        """Train low-rank changes of weights instead of what `trainable` says (LoRA).

        The file's weights are frozen. What it computes is the same at first; `export` merges the
        changes into the weights, and `save_lora_weights` writes the adapters alone.

        Args:
            rank: Rank of the changes.
            lora_alpha: The changes are multiplied by ``lora_alpha / rank``; None: by 1.
            weights: Which weights of MatMul, Gemm, Conv and Gather: "all", "head", "last:N" or
                patterns of their names, as of `trainable`.

        Raises:
            TrainingError: steps were done already, or no such weight is among them.
        """
        if self._engine is not None or self._adapted is not None:
            raise TrainingError("enable_lora comes before the first step, and once")
        self._adapted = adapt_file(self._proto, rank, lora_alpha, weights, self.seed)
        self.parameters = self._adapted.parameters
        self._masters = self._adapted.proto

    def save_lora_weights(self, path: Any) -> None:
        """Write the adapters alone to an ``.npz`` file, by the names of the weights."""
        save_adapters(Path(path), self._adapters())

    def load_lora_weights(self, path: Any) -> None:
        """Read adapters that `save_lora_weights` wrote, for the same file and rank.

        Raises:
            ShapeError: they are of other weights, or of another rank.
        """
        stored = load_adapters(Path(path))
        check_adapters(Path(path), stored, self._adapters())
        assert self._adapted is not None
        pairs = self._adapted.names
        values = {n: v for name, ab in pairs.items() for n, v in zip(ab, stored[name][:2],
                                                                     strict=True)}  # fmt: skip
        set_initializers(self._masters, values)
        if self._engine is not None:
            for name, value in values.items():
                self._engine.state.set(name, value)

    def _adapters(self) -> dict[str, tuple[Array, Array, float]]:
        if self._adapted is None:
            raise TrainingError("there are no adapters: call enable_lora(rank) first")
        now = self._values(self._adapted.parameters)
        return {name: (now[a], now[b], self._adapted.scale)
                for name, (a, b) in self._adapted.names.items()}  # fmt: skip

    def _values(self, names: Sequence[str]) -> dict[str, Array]:
        """Return initializers as they are now."""
        if self._engine is not None:
            return {name: self._engine.state.view(name) for name in names}
        stored = {t.name: t for t in self._masters.graph.initializer}
        return {name: onnx().numpy_helper.to_array(stored[name]) for name in names}

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Do one step on one batch; return the loss before it.

        Args:
            x: Array of the model's input layout, or a dict by input name.
            y: Targets.
            sample_weight: One weight for each example.

        Raises:
            NonFinite: data, loss or gradient hold NaN or infinity; the weights are as before.
            DataError: labels do not fit the loss.
            ShapeError: shapes do not fit.
        """
        batch = self._data(x, y, sample_weight, 2**31 - 1).head()
        engine = self._prepare(batch)
        self._check_labels(batch[1])
        return engine.train(batch, self.batch).loss

    def gradients(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, Array]:
        """Return the gradient of the loss on one batch, by initializer, in the file's layout.

        Raises:
            NonFinite: the data holds NaN or infinity.
            DataError: labels do not fit the loss.
        """
        batch = self._data(x, y, sample_weight, 2**31 - 1).head()
        self._check_labels_shape(batch)
        check_finite(batch, 0)
        traced = self._trace(batch, True)
        losses_module.check_targets(self.loss, batch[1][0], traced.outputs[0].static_shape)
        wrt = [traced.variables[name] for name in self.parameters]
        assert traced.loss is not None
        found = gradients([traced.loss], wrt)
        graph = traced.graph
        graph.outputs = {f"gradient/{i}": g for i, g in enumerate(found) if g is not None}
        graph.inputs = list(traced.inputs)
        if graph.seed is not None:
            graph.inputs.append(graph.seed)
        self._use_current(traced)
        session = open_session(
            to_onnx(graph), threads=self._threads, name="the gradient", delegate=self._delegate
        )
        feeds = {**feeds_of(batch), "seed": np.array([self.seed, 0], np.uint32)}
        taken = {node.name for node in session.get_inputs()}
        values = session.run(None, {name: v for name, v in feeds.items() if name in taken})
        made = dict(zip(graph.outputs, values, strict=True))
        return {
            name: made.get(f"gradient/{i}", np.zeros(wrt[i].static_shape, np.float32))
            for i, name in enumerate(self.parameters)
        }

    def _use_current(self, traced: Traced) -> None:
        """Put the trained values into a traced graph."""
        if self._engine is None:
            return
        state = self._engine.state
        for key in (*state.keys, *state.others):
            traced.variables[key].set_value(state.view(key))

    def fit(
        self, x: Any, y: Any = None, *, epochs: int = 1, batch_size: int | None = None,
        validation_data: Any = None, callbacks: Any = None, sample_weight: Any = None,
        class_weight: Any = None, shuffle: bool = True, verbose: Any = "auto",
        steps_per_epoch: int | None = None, checkpoint: Any = None, checkpoint_steps: int = 100,
    ) -> History:  # fmt: skip
        """Train on all data, for some epochs.

        Args:
            x: Array, dict of arrays, or a dataset of ``(x, y)`` batches.
            y: Targets, when `x` has none.
            epochs: Passes over the data in all; a resumed trainer goes on where it was.
            batch_size: Examples in a step; None is the trainer's.
            validation_data: ``(x, y)`` or a dataset, to validate on after each epoch.
            callbacks: `edgeml.callbacks.Callback` objects.
            sample_weight: One weight for each example.
            class_weight: Weight of each class, by number.
            shuffle: Whether each epoch has an order of its own.
            verbose: "auto", 0, 1 or 2.
            steps_per_epoch: Steps after which an epoch ends.
            checkpoint: File to write a checkpoint to, while training.
            checkpoint_steps: Steps from one checkpoint to the next.

        Raises:
            TrainingError: an event loop is running: use `fit_async`.
            DataError: data is empty, or labels do not fit the loss.
            NonFinite: data or loss hold NaN or infinity; the last good weights are kept.
        """
        refuse_on_loop("fit")
        size = batch_size or self.batch_size or 32
        data = self._data(x, y, sample_weight, size)
        if self.memory_limit is not None:
            data = within_memory(self, data, size)
        head = data.head()
        engine = self._prepare(head)
        if data.targets is not None:
            self._check_labels(data.targets)
            check_classes(self.loss, data.targets[0])
        if self.cache_features:
            data = self._with_features(data)
            engine = self._prepare(data.head())
        validation = None
        if validation_data is not None:
            given = validation_data if isinstance(validation_data, tuple) else (validation_data,)
            parts = [*given, None, None][:3]
            validation = self._data(parts[0], parts[1], parts[2], size)
            validation = self._with_features(validation) if self.cache_features else validation
        if self.batch and self.batch == (steps_per_epoch or data.steps()):
            self.epoch, self.batch = self.epoch + 1, 0  # stopped between its last step and its end
        extra = [Checkpoints(self, Path(checkpoint), checkpoint_steps)] if checkpoint else []
        plan = Plan(
            data, epochs=epochs, initial_epoch=self.epoch, start_batch=self.batch,
            validation=validation, shuffle=shuffle, steps_per_epoch=steps_per_epoch,
            verbose=verbose, callbacks=[*listed(callbacks), Position(self), *extra],
            seed=self.seed, class_weight=class_weight,
            check=(lambda b: self._check_labels(b[1])) if data.streamed else None,
        )  # fmt: skip
        self._resolve_metrics(head)
        self.history = run(self, engine, Scores([self._resolved[0]]),
                           Scores([self._resolved[1]], "val_"), plan)  # fmt: skip
        return self.history

    async def fit_async(self, *args: Any, **kwargs: Any) -> History:
        """Train in a thread while the event loop goes on; the arguments are `fit`'s."""

        def stop() -> None:
            self.stop_training = True

        found: History = await off_loop(lambda: self.fit(*args, **kwargs), stop)
        return found

    def evaluate(self, x: Any, y: Any = None, *, batch_size: int = 32) -> dict[str, Any]:
        """Return loss and metrics on data, by name."""
        data = self._data(x, y, None, batch_size)
        batch = data.head()
        engine = self._prepare(batch)
        self._resolve_metrics(batch)
        return evaluate(engine, data, Scores([self._resolved[1]]))

    def predict(self, x: Any, *, batch_size: int = 32) -> Array:
        """Return the model's first output for all examples, with the weights as they are now."""
        data = Data(x, None, None, self.input_names, 0, batch_size, self._dtypes)
        session = open_session(self._trained_proto(), threads=self._threads, name="the model")
        name = session.get_outputs()[0].name
        return np.concatenate(
            [session.run([name], arrays)[0] for arrays, _, _ in data.batches(None)]
        )

    def export(self, path: Any) -> None:
        """Write the trained model: the given file with new values of what was trained.

        Names, metadata and all else are the file's own.

        Raises:
            CheckpointError: the file cannot be written; what was there before is kept.
        """
        content = self._trained_proto().SerializeToString()
        with writing(path) as file:
            file.write(content)

    def _trained_proto(self) -> Any:
        proto = onnx().ModelProto()
        proto.CopyFrom(self._proto)
        if self._adapted is not None:
            set_initializers(proto, self._adapted.merged(self._values(self._adapted.parameters)))
        if self._engine is not None:
            state = self._engine.state
            for tensor in proto.graph.initializer:
                if tensor.name in (*state.keys, *state.others):
                    value = state.view(tensor.name)
                    integers = quantized(self._proto, tensor.name, value)
                    value = value if integers is None else integers
                    tensor.CopyFrom(onnx().numpy_helper.from_array(value, tensor.name))
        return proto

    save = export
    """What `ModelCheckpoint` calls."""

    def get_weights(self) -> list[Array]:
        """Return copies of what training changes, in the order of `parameters`."""
        keys = self._changed()
        assert self._engine is not None
        return [self._engine.state.view(key).copy() for key in keys]

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Set what training changes to what `get_weights` returned."""
        keys = self._changed()
        assert self._engine is not None
        for key, value in zip(keys, weights, strict=True):
            self._engine.state.set(key, value)

    def _changed(self) -> list[str]:
        if self._engine is None:
            raise TrainingError("there are no trained weights yet: no step was done")
        return [str(key) for key in (*self._engine.state.keys, *self._engine.state.others)]

    def save_weights(self, path: Any) -> None:
        """Write what training changed to an ``.npz`` file, by initializer."""
        arrays = dict(zip(self._changed(), self.get_weights(), strict=True))
        with writing(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def checkpoint(self, path: Any) -> None:
        """Write everything that `resume` needs to go on bit for bit; one file, atomically.

        Raises:
            CheckpointError: it cannot be written; what was there before is kept.
        """
        write(self, Path(path))

    @classmethod
    def resume(cls, path: Any, *, model: Any = None, loss: Any = None, **options: Any) -> Trainer:
        """Return a trainer that goes on where a checkpoint was written.

        Args:
            path: A file that `checkpoint` wrote.
            model: The model, when it should be checked to be the checkpoint's.
            loss: The loss, when it is a function (a file cannot hold one).
            options: Of the constructor: ``delegate``, ``threads``.

        Raises:
            CheckpointError: the file is damaged, of a newer schema, or of another model.
        """
        return read(cls, Path(path), model, loss, options)

    def _data(self, x: Any, y: Any, weight: Any, batch_size: int) -> Data:
        return Data(x, y, weight, self.input_names, 1, batch_size, self._dtypes)

    def _check_labels(self, targets: Sequence[Array]) -> None:
        shape = self._output_shape
        losses_module.check_targets(self.loss, targets[0], (len(targets[0]), *shape[1:]))

    def _check_labels_shape(self, batch: Batch) -> None:
        if not batch[1]:
            raise DataError("training needs targets: y is missing")

    def predicted_memory(self, x: Any, y: Any) -> int:
        """Return about how many bytes the process grows with batches like this; nothing is run.

        Counted are a session, the step's tensors and constants, parameters and optimizer state;
        not the interpreter and the runtime's libraries. It is an estimate; recurrent layers were
        seen to take up to two thirds more.
        """
        batch = self._data(x, y, None, 2**31 - 1).head()
        return bytes_of(self._prepare(batch), batch)

    def _with_features(self, data: Data) -> Data:
        """Return the features instead of the inputs; the engine then trains the rest alone."""
        if data.streamed:
            raise TrainingError("cache_features needs arrays: a dataset is read anew each epoch")
        if self._cut is None:
            self._cut = cut(self._masters, self.parameters)
        found = compute(self._cut.features, data, threads=self._threads)
        y = data.targets
        return Data(found, y[0] if y else None, data.sample_weight, list(found), 1,
                    data.batch_size)  # fmt: skip

    def _prepare(self, batch: Batch) -> Engine:
        if self._engine is None:
            self._check_labels_shape(batch)
            traced = self._trace(batch, True)
            self._output_shape = traced.outputs[0].static_shape
            self._start([str(key) for key in traced.states])
        elif not hasattr(self, "_output_shape"):
            self._output_shape = self._trace(batch, True).outputs[0].static_shape
        assert self._engine is not None
        return self._engine

    def _start(self, states: Sequence[str]) -> Engine:
        self._engine = self._new_engine(states, self.optimizer)
        return self._engine

    def _new_engine(self, states: Sequence[str], optimizer: optimizers.Optimizer) -> Engine:
        values = {t.name: onnx().numpy_helper.to_array(t) for t in self._masters.graph.initializer}
        trainable: dict[Hashable, Array] = {name: values[name] for name in self.parameters}
        others: dict[Hashable, Array] = {name: values[name] for name in states}
        return Engine(
            self._trace, trainable, others, optimizer, seed=self.seed,
            threads=self._threads, delegate=self._delegate,
        )  # fmt: skip

    def _resolve_metrics(self, batch: Batch) -> None:
        if self._resolved is None:
            name = getattr(self.loss, "name", "")

            def resolve() -> list[metrics_module.Metric]:
                y, shape = batch[1][0], self._output_shape
                return [metric(item, name, y, shape) for item in self.metrics]

            self._resolved = (resolve(), resolve())

    def _trace(self, batch: Batch, training: bool) -> Traced:
        whole = self._cut is None or set(batch[0]) == set(self.input_names)
        proto = self._masters if whole else self._cut.rest  # type: ignore[union-attr]
        return trace_file(
            proto, batch, self.loss, squash=self._squash, training=training,
            batch_norm=self.batch_norm,
        )  # fmt: skip
