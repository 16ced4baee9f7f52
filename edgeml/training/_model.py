"""Models: layers with a loss, an optimizer and metrics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeml import losses as losses_module
from edgeml import metrics as metrics_module
from edgeml import ops, optimizers
from edgeml.callbacks._history import History
from edgeml.errors import DataError, GraphError, TrainingError
from edgeml.graph import Graph, Tensor, emit
from edgeml.graph import function as graph_function
from edgeml.graph._tree import leaves, map_leaves
from edgeml.layers._functional import entries_between, replay
from edgeml.layers._layer import Call, Layer, shape_of
from edgeml.layers._parameter import Parameter
from edgeml.training._engine import Engine, weighted_total
from edgeml.training._fit import Plan, Scores, evaluate, listed, off_loop, refuse_on_loop, run
from edgeml.training._inputs import Batch, Data
from edgeml.training._parts import (
    check_classes,
    metric,
    names_of,
    numbered,
    restore,
    without_targets,
)  # fmt: skip
from edgeml.training._step import Traced

Array = np.ndarray[Any, Any]


class Model(Layer):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stop_training = False
        self.optimizer: optimizers.Optimizer | None = None
        self.history: History | None = None
        self.loss: Any = None
        self._inputs: list[Tensor] = []
        self._input_tree: Any = None
        self._outputs: Any = None
        self._entries: list[Any] = []
        self._engine: Engine | None = None
        self._engine_key: Any = None
        self._metrics: Any = ()
        self._loss_weights: Any = None
        self._resolved: Any = None
        self._names: list[str] = []
        self.known_inputs: dict[str, tuple[tuple[int, ...], Any]] = {}
        """Shapes and dtypes of the first batch, for a model without placeholders."""
        self._predictor: Any = None
        self._moving: list[Parameter] = []
        """What stateful layers carry from batch to batch."""

    def _connect(self, inputs: Any, outputs: Any) -> None:
        if outputs is None:
            raise GraphError("Model(inputs, outputs): outputs are missing")
        for tensor in leaves([inputs, outputs]):
            if not isinstance(tensor, Tensor):
                raise GraphError(
                    f"Model(inputs, outputs) takes what edgeml.Input() and layers return, "
                    f"received {type(tensor).__name__}"
                )
        self._input_tree, self._outputs = inputs, outputs
        self._inputs = leaves(inputs)
        self._names = [str(x.name) for x in self._inputs]
        self._entries = entries_between(self._inputs, leaves(outputs))
        self.built = True

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order of their calls; of a subclass, those in its attributes."""
        calls = [entry.layer for entry in self._entries if isinstance(entry, Call)]
        if calls:
            return list({id(layer): layer for layer in calls}.values())
        return super().layers

    def get_layer(self, name: str = "", index: int | None = None) -> Layer:
        """Return a layer by name or index.

        Raises:
            GraphError: there is none; the message has the names.
        """
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise GraphError(f"there is no layer {name!r}; there are {names}")

    @property
    def input_shape(self) -> Any:
        """Shape of the input, None for unknown dimensions; a list for several."""
        shapes = [shape_of(x) for x in self._inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """Shape of the output, None for unknown dimensions; a list for several."""
        return map_leaves(shape_of, self._outputs)

    @property
    def entries(self) -> list[Any]:
        """The calls of layers and the operators between them, in order."""
        return self._entries

    @property
    def input_tree(self) -> Any:
        """The placeholders as they were given."""
        return self._input_tree

    @property
    def output_tree(self) -> Any:
        """The outputs as they were given."""
        return self._outputs

    @property
    def inputs(self) -> list[Tensor]:
        """The placeholders of a functional model."""
        return self._inputs

    @property
    def outputs(self) -> list[Tensor]:
        """The outputs of a functional model, as other models can start from them."""
        return leaves(self._outputs)

    def call(self, *args: Any) -> Any:
        """Apply the layers again, to other tensors."""
        if not self._entries and not self._inputs:
            raise GraphError(
                f"{type(self).__name__} has neither inputs and outputs nor a call(self, x)"
            )
        given = args[0] if len(args) == 1 else list(args)
        if isinstance(given, Mapping) and not isinstance(self._input_tree, Mapping):
            values = [given[name] for name in self._names]
        else:
            values = leaves(given)
        if len(values) != len(self._inputs):
            raise GraphError(f"{self.name}: expected {len(self._inputs)} inputs, got {len(values)}")
        known = dict(zip(self._inputs, values, strict=True))
        found = replay(self._entries, known, values[0].graph)
        return map_leaves(lambda y: found.get(y, y), self._outputs)

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

    def _by_output(self, value: Any) -> list[Any]:
        if isinstance(value, Mapping):
            names = self.output_names
            missing = [key for key in value if key not in names]
            if missing:
                raise GraphError(f"there is no output {missing[0]!r}; there are {', '.join(names)}")
            return [value.get(name) for name in names]
        return list(value) if isinstance(value, (list, tuple)) else [value]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: those of the layers that make them."""
        made = {}
        for entry in self._entries:
            if isinstance(entry, Call):
                made.update(dict.fromkeys(leaves(entry.result), entry.layer.name))
        return [made.get(y, f"output_{i}") for i, y in enumerate(leaves(self._outputs))]

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

    def _data(self, x: Any, y: Any, weight: Any, batch_size: int) -> Data:
        if x is None:
            raise DataError("fit, evaluate and predict need data: x is None")
        count = len(leaves(self._outputs)) or 1
        names = self._names or names_of(x)
        outputs = self.output_names
        return Data(x, y, weight, names, count, batch_size, self._dtypes(), outputs)

    def _dtypes(self) -> dict[str, np.dtype[Any]]:
        """Return what the placeholders take."""
        return {str(x.name): x.dtype for x in self._inputs}

    def _split(self, data: Data, fraction: float) -> tuple[Data, Data]:
        if data.streamed:
            raise DataError("validation_split needs arrays: give validation_data for a dataset")
        at = int(data.size * (1.0 - fraction))
        if not 0 < at < data.size:
            raise DataError(
                f"validation_split={fraction} leaves {at} of {data.size} examples to train on and "
                f"{data.size - at} to validate on: both must be at least one"
            )
        halves = []
        for part in (slice(None, at), slice(at, None)):
            arrays = {name: a[part] for name, a in data._arrays.items()}
            y = [a[part] for a in data._targets]
            weight = None if data._weight is None else data._weight[part]
            halves.append(Data(arrays, y if len(y) > 1 else y[0], weight, data.names,
                               data.outputs, data.batch_size, data.dtypes))  # fmt: skip
        return halves[0], halves[1]

    def _check_labels(self, data: Data) -> None:
        if data.targets is None:
            return
        size = data.size
        for loss, y, shape in zip(self._losses, data.targets, self._output_shapes, strict=False):
            losses_module.check_targets(loss, y, (size, *shape[1:]))
            check_classes(loss, y)

    def _check_batch(self, batch: Batch) -> None:
        for loss, y, shape in zip(self._losses, batch[1], self._output_shapes, strict=False):
            losses_module.check_targets(loss, y, (len(y), *shape[1:]))

    def _prepare(self, data: Data, seed: int | None = None) -> Engine:
        """Build the layers and the engine, when there is none that fits."""
        if self.optimizer is None:
            raise TrainingError(
                f"{self.name} is not compiled: call model.compile(optimizer=…, loss=…) first"
            )
        batch = data.head()
        if self._engine is None or self._signature() != self._engine_key:
            before = self._engine
            self._release()
            first = self._trace_step(batch, True)  # builds what is not built
            self._output_shapes = [y.static_shape for y in first.outputs]
            trainable: dict[Hashable, Array] = {
                p: p.value for p in self.trainable_weights if p in first.variables
            }
            others: dict[Hashable, Array] = {p: p.value for p in first.states}  # type: ignore[attr-defined]
            self._engine = Engine(self._trace_step, trainable, others, self.optimizer)
            self._engine.take_over(before)
            for parameter in (*trainable, *others):
                assert isinstance(parameter, Parameter)
                parameter.move(self._engine.state)
            self._engine_key = self._signature()
            self._names = self._names or data.names  # type: ignore[assignment]
        if self._resolved is None:
            self._resolve_metrics(batch)
        if seed is not None:
            self._engine.seed = seed
        return self._engine

    def _signature(self) -> Any:
        """Return what the engine depends on: what it trains, and the values of all else."""
        state = self._engine.state if self._engine is not None else None
        trained = tuple(id(p) for p in self.trainable_weights)
        return trained, tuple(0 if p.home is state else p.version for p in self.weights)

    def _release(self) -> None:
        """Take the parameters back from an engine that does not fit any more."""
        if self._engine is not None:
            for key in (*self._engine.state.keys, *self._engine.state.others):
                assert isinstance(key, Parameter)
                if key.home is self._engine.state:  # another model may train it by now
                    key.move(None)
            self._engine = None

    def _resolve_metrics(self, batch: Batch) -> None:
        shapes = self._output_shapes
        per_output = list(self._metrics or ())
        nested = any(isinstance(item, (list, tuple)) for item in per_output)
        if isinstance(self._metrics, Mapping):
            per_output, nested = [self._metrics.get(n, ()) for n in self.output_names], True
        groups = per_output if nested else [per_output]
        groups = [g if isinstance(g, (list, tuple)) else [g] for g in groups]

        def resolve() -> list[list[metrics_module.Metric]]:
            found = []
            for i, group in enumerate(groups):
                y = batch[1][i] if i < len(batch[1]) else None
                name = getattr(self._losses[i], "name", "") if i < len(self._losses) else ""
                found.append([metric(item, name, y, shapes[i]) for item in group])
            return found

        self._resolved = (resolve(), resolve())

    def _scores(self, which: int = 0, prefix: str = "") -> Scores:
        """Return what counts losses and metrics: of training (0) or validation (1)."""
        return Scores(self._resolved[which], prefix, self._unique_names(len(self._output_shapes)))

    def _unique_names(self, count: int) -> list[str]:
        """Return a name for each output that a model has when it runs."""
        names = self.output_names
        unique = len(set(names)) == count == len(names)
        return names if unique else [f"output_{i}" for i in range(count)]

    def _trace_step(self, batch: Batch, training: bool) -> Traced:
        """Trace the forward pass and the loss for batches like this one."""
        arrays, targets, weight = batch
        self.known_inputs = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        graph = Graph()
        graph.training = training
        with graph:
            x = {name: graph.input(name, a.dtype, a.shape) for name, a in arrays.items()}
            result = self(self.arrange(x))
            outputs = leaves(result)
            ys = [graph.input(f"target/{i}", y.dtype, y.shape) for i, y in enumerate(targets)]
            w = (
                graph.input("sample_weight", np.float32, weight.shape)
                if weight is not None
                else None
            )
            loss, parts = self._total_loss(graph, ys, outputs, w)
        return Traced(
            graph, list(graph.inputs), outputs, loss,
            {t.parameter: t for t in graph.parameters},
            {t.parameter: new for t, new in graph.updates.items()} if training else {}, parts,
            {i: graph.masks[y] for i, y in enumerate(outputs) if y in graph.masks},
        )  # fmt: skip

    def build_from(self, shapes: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        """Build the layers for inputs of these shapes and dtypes, by name."""
        graph = Graph()
        with graph:
            self(self.arrange({n: graph.input(n, dtype, s) for n, (s, dtype) in shapes.items()}))
        self.known_inputs, self._names = dict(shapes), list(shapes)

    def arrange(self, x: dict[str, Any]) -> Any:
        """Return inputs by name as `call` takes them; (batch,) becomes (batch, 1) where needed."""
        if self._inputs:
            for tensor in self._inputs:
                value = x[str(tensor.name)]
                if value.ndim == 1 and tensor.ndim == 2:
                    x[str(tensor.name)] = ops.expand_dims(value, -1)
            return [x[name] for name in self._names] if len(x) > 1 else next(iter(x.values()))
        values = list(x.values())
        return values[0] if len(values) == 1 else x if not numbered(x) else values

    def _total_loss(
        self, graph: Graph, ys: Sequence[Tensor], outputs: Sequence[Tensor], weight: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and that of each output by name when there are several."""
        if len(self._losses) == 1 < len(outputs):
            chosen = self._losses * len(outputs)
        else:
            chosen = self._losses
        if len(ys) != len(outputs) and any(loss is not None for loss in chosen):
            raise DataError(f"the model has {len(outputs)} outputs, received {len(ys)} targets")
        found, weights = {}, []
        scale, names = self._by_output(self._loss_weights), self._unique_names(len(outputs))
        for i, (loss, y, output) in enumerate(zip(chosen, ys, outputs, strict=False)):
            if loss is None:
                continue
            found[names[i]] = loss(y, output, weight)
            weights.append(float(scale[i]) if i < len(scale) and scale[i] is not None else 1.0)
        total = [weighted_total(list(found.values()), weights)] if found else []
        total += graph.losses
        if not total:
            raise TrainingError("there is no loss: give one to compile(), or use layer.add_loss()")
        value = total[0]
        for term in total[1:]:
            value = value + term
        if value.shape != ():
            value = emit("Reshape", value, np.array([], np.int64))
        return value, found if len(outputs) > 1 else {}

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

    def _predict_batch(self, arrays: dict[str, Array]) -> list[Array]:
        self.known_inputs = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        if self._predictor is None:
            self._predictor = graph_function(self._forward)
        result, states = self._predictor(arrays)
        for parameter, value in zip(self._moving, states, strict=True):
            parameter.value = value
        self._result_tree = map_leaves(lambda _: 0, result)
        return leaves(result)

    def _forward(self, x: dict[str, Any]) -> Any:
        """Return the outputs, and the new states of stateful layers."""
        result = self(self.arrange(x))
        updates = leaves(result)[0].graph.root().updates
        self._moving = [tensor.parameter for tensor in updates]
        return result, list(updates.values())

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
