"""How a model learns: its loss, metrics and steps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeml import losses as losses_module
from edgeml import metrics as metrics_module
from edgeml import optimizers
from edgeml.callbacks._history import History
from edgeml.errors import DataError, GraphError, TrainingError
from edgeml.graph import Graph, Tensor, emit
from edgeml.graph._tree import leaves
from edgeml.layers._parameter import Parameter
from edgeml.training._engine import Engine, weighted_total
from edgeml.training._fit import Scores
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
        self._losses: list[Any] = []
        self._engine: Engine | None = None
        self._engine_key: Any = None
        self._metrics: Any = ()
        self._loss_weights: Any = None
        self._resolved: Any = None

    def _by_output(self, value: Any) -> list[Any]:
        if isinstance(value, Mapping):
            names = self.output_names
            missing = [key for key in value if key not in names]
            if missing:
                raise GraphError(f"there is no output {missing[0]!r}; there are {', '.join(names)}")
            return [value.get(name) for name in names]
        return list(value) if isinstance(value, (list, tuple)) else [value]

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
