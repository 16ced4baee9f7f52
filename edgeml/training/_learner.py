"""How a model learns: its loss, metrics and steps."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from edgeml import losses as losses_module
from edgeml import metrics as metrics_module
from edgeml import optimizers
from edgeml.callbacks._history import History
from edgeml.errors import DataError, TrainingError
from edgeml.graph import Graph, Tensor, emit
from edgeml.graph._tree import leaves
from edgeml.layers._parameter import Parameter
from edgeml.training._engine import Engine, weighted_total
from edgeml.training._fit import Scores
from edgeml.training._goals import Goal, Wishes
from edgeml.training._inputs import Batch, Data
from edgeml.training._network import Network
from edgeml.training._parts import check_classes, metric, names_of
from edgeml.training._step import Traced

Array = np.ndarray[Any, Any]


class Learner(Network):
    """Layers with a loss, metrics and an engine that runs steps; see `Model`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stop_training = False
        self.optimizer: optimizers.Optimizer | None = None
        self.history: History | None = None
        self.loss: Any = None
        self.steps_per_execution = 1
        self._user_metadata: dict[str, Any] = {}
        self._wishes = Wishes()
        self._goals: list[Goal] = []
        self._engine: Engine | None = None
        self._engine_key: Any = None
        self._resolved: list[Scores] | None = None

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: a dict's keys, or those of the layers that make them."""
        return super().output_names or self._wishes.names()

    def _set_goals(self, count: int) -> None:
        """Say what is asked of each output, now that their number is known."""
        self._goals = self._wishes.goals(self._unique_names(count))

    @property
    def _wanted(self) -> list[int]:
        """The numbers of the outputs that have a loss or metrics."""
        return [i for i, goal in enumerate(self._goals) if goal.wanted]

    def _data(self, x: Any, y: Any, weight: Any, batch_size: int) -> Data:
        if self.optimizer is None:
            raise TrainingError(
                f"{self.name} is not compiled: call model.compile(optimizer=…, loss=…) first"
            )
        if x is None:
            raise DataError("fit, evaluate and predict need data: x is None")
        texts = [str(x.name) for x in self._inputs if x.dtype.kind == "O"]
        if texts:
            raise DataError(
                f"input {texts[0]!r} is text, and training steps take numbers: look words up in "
                "the pipeline of data, and put the layer before the model when it is trained"
            )
        if self._outputs is None and self._engine is None:  # the targets tell how many there are
            given = len(y) if isinstance(y, (tuple, list)) and all(map(_is_batch, y)) else 1
            self._set_goals(self._wishes.count() or given)
        names = self._names or names_of(x)
        outputs = self._unique_names(len(self._goals))
        wanted = [outputs[i] for i in self._wanted]
        return Data(x, y, weight, names, len(wanted), batch_size, self._dtypes(), wanted)

    def _validation(self, given: Any, batch_size: int) -> Data:
        """Return what `fit` was given to validate on."""
        parts = [*(given if isinstance(given, tuple) else (given,)), None, None]
        return self._data(parts[0], parts[1], parts[2], batch_size)

    @property
    def _scores(self) -> list[Scores]:
        """What counts losses and metrics: of training, and of validation."""
        assert self._resolved is not None
        return self._resolved

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
        return data.part(slice(None, at)), data.part(slice(at, None))

    def _check_labels(self, data: Data) -> None:
        if data.targets is None:
            return
        self._check_targets(data.targets)
        for i, y in zip(self._wanted, data.targets, strict=True):
            check_classes(self._goals[i].loss, y)

    def _check_targets(self, targets: Sequence[Array]) -> None:
        for i, y, shape in zip(self._wanted, targets, self._output_shapes, strict=True):
            losses_module.check_targets(self._goals[i].loss, y, (len(y), *shape[1:]))

    def _check_batch(self, batch: Batch) -> None:
        self._check_targets(batch[1])

    def _prepare(self, data: Data, seed: int | None = None) -> Engine:
        """Build the layers and the engine, when there is none that fits."""
        assert self.optimizer is not None
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
        """Make the metrics, once for training and once for validation."""
        goals = [self._goals[i] for i in self._wanted]
        each = self._unique_names(len(self._goals)) if len(self._goals) > 1 else []
        names = [each[i] for i in self._wanted if each]
        parts = [name for name, goal in zip(names, goals, strict=False) if goal.loss is not None]

        def resolve(items: Sequence[Any], i: int) -> list[metrics_module.Metric]:
            loss = getattr(goals[i].loss, "name", "")
            return [metric(item, loss, batch[1][i], self._output_shapes[i]) for item in items]

        self._resolved = [
            Scores(
                [resolve(goal.metrics, i) for i, goal in enumerate(goals)], prefix,
                names, [resolve(goal.weighted, i) for i, goal in enumerate(goals)], parts,
            ) for prefix in ("", "val_")
        ]  # fmt: skip

    def _trace_step(self, batch: Batch, training: bool) -> Traced:
        """Trace the forward pass and the loss for batches like this one."""
        arrays, targets, weights = batch
        self.known_inputs = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        graph = Graph()
        graph.training = training
        with graph:
            x = {name: graph.input(name, a.dtype, a.shape) for name, a in arrays.items()}
            outputs = leaves(self(self.arrange(x)))
            if len(self._goals) != len(outputs):
                self._set_goals(len(outputs))
            outputs = [outputs[i] for i in self._wanted]
            ys = [graph.input(f"target/{i}", y.dtype, y.shape) for i, y in enumerate(targets)]
            ws = [
                graph.input(f"sample_weight/{i}", w.dtype, w.shape) if w is not None else None
                for i, w in enumerate(weights)
            ]
            loss, parts = self._total_loss(graph, ys, outputs, ws)
        return Traced(
            graph, list(graph.inputs), outputs, loss,
            {t.parameter: t for t in graph.parameters},
            {t.parameter: new for t, new in graph.updates.items()} if training else {}, parts,
            {i: graph.masks[y] for i, y in enumerate(outputs) if y in graph.masks},
        )  # fmt: skip

    def _total_loss(
        self, graph: Graph, ys: Sequence[Tensor], outputs: Sequence[Tensor],
        weights: Sequence[Tensor | None],
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """Return the loss, and that of each output by name when there are several."""
        if len(ys) != len(outputs):
            raise DataError(
                f"{len(outputs)} outputs have a loss or metrics, received {len(ys)} targets"
            )
        names = self._unique_names(len(self._goals))
        found: dict[str, Tensor] = {}
        scales = []
        for i, y, output, w in itertools.zip_longest(self._wanted, ys, outputs, weights):
            goal = self._goals[i]
            if goal.loss is not None:
                found[names[i]] = goal.loss(y, output, w)
                scales.append(goal.weight)
        terms = [weighted_total(list(found.values()), scales)] if found else []
        terms += graph.losses
        if not terms:
            raise TrainingError("there is no loss: give one to compile(), or use layer.add_loss()")
        value = functools.reduce(operator.add, terms)
        if value.shape != ():
            value = emit("Reshape", value, np.array([], np.int64))
        return value, found if len(self._goals) > 1 else {}


def _is_batch(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0
