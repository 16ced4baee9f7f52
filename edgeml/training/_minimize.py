"""Training steps on a loss of one's own: several models, or what `fit` has no words for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from edgeml import optimizers
from edgeml.errors import InputError, ShapeError, TrainingError
from edgeml.graph import Graph, Tensor, as_tensor
from edgeml.graph._tree import leaves, map_leaves, refill
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Array, Parameter
from edgeml.training._engine import Engine
from edgeml.training._inputs import Batch, as_array
from edgeml.training._step import Traced


def minimize(
    loss: Callable[..., Any], weights: Any, optimizer: Any = "adam", *, has_aux: bool = False,
    seed: int = 0, threads: int | None = None,
) -> Minimizer:  # fmt: skip
    """Return a function that does one training step each time it is called.

    The loss, its gradient and the optimizer's update are one graph, traced once for each
    combination of shapes, in training mode. Models that the loss uses and that are not among
    `weights` are not changed, but for their running statistics; what others change in them counts.

    Args:
        loss: ``fn(*arrays)`` that returns a scalar; with `has_aux`, (scalar, anything).
        weights: What the step changes: a model or layer (its trainable weights), a `Parameter`, or
            a list of those.
        optimizer: Name or `edgeml.optimizers.Optimizer`; one for each function, since it counts.
        has_aux: Whether `loss` returns more than the scalar.
        seed: Seed of the random operators; each step draws new numbers.
        threads: Threads of one step; None is all cores that the process may use.

    Returns:
        A `Minimizer`: called with arrays, it returns the loss before the step as a float, with
        `has_aux` (loss, the rest).

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml import ops
        >>> model = edgeml.Sequential([edgeml.Input((2,)), edgeml.layers.Dense(1)])
        >>> def error(x, y):
        ...     return ops.mean((model(x) - y) ** 2)
        >>> step = edgeml.training.minimize(error, model, "sgd")
        >>> x, y = np.eye(2), np.ones((2, 1))
        >>> step(x, y) > step(x, y)
        True
    """
    return Minimizer(loss, weights, optimizer, has_aux=has_aux, seed=seed, threads=threads)


class Minimizer:
    """A training step as a function; made by `minimize`.

    Attributes:
        optimizer: The optimizer.

    Example:
        >>> import numpy as np, edgeml
        >>> layer = edgeml.layers.Dense(1)
        >>> step = edgeml.training.minimize(lambda x: edgeml.ops.sum(layer(x) ** 2), layer)
        >>> _ = step(np.ones((1, 2)))
        >>> step.optimizer.iterations
        1
    """

    def __init__(
        self, loss: Callable[..., Any], weights: Any, optimizer: Any, *, has_aux: bool, seed: int,
        threads: int | None,
    ) -> None:  # fmt: skip
        functools.update_wrapper(self, loss)
        self.optimizer = optimizers.get(optimizer)
        self._loss = loss
        self._given = weights
        self._has_aux = has_aux
        self._seed = seed
        self._threads = threads
        self._engine: Engine | None = None
        self._programs: dict[Any, _Program] = {}

    def __call__(self, *args: Any) -> Any:
        """Do one step.

        Raises:
            InputError: an argument is neither numbers nor a structure of them.
            ShapeError: the loss is not a scalar.
            TrainingError: there are no weights, or the loss does not depend on them.
            NoGradient: an operator in between has no gradient rule.
            NonFinite: arguments, loss or gradient hold NaN or infinity; the weights are as before.
        """
        arrays = [as_array(value, f"argument {i}") for i, value in enumerate(leaves(args))]
        key = tuple((a.shape, a.dtype.str) for a in arrays), repr(map_leaves(lambda _: 0, args))
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = _Program(self, args, arrays)
        engine = self._homed(program)
        feeds = dict(zip(program.names, arrays, strict=False))
        for i, parameter in enumerate(program.read):
            feeds[f"read/{i}"] = parameter.value
        self._tracing = program
        result = engine.train((feeds, [], []), self.optimizer.iterations)
        outputs = [np.array(value) for value in result.outputs]  # the next step overwrites them
        for parameter, value in zip(program.updated, outputs[program.extra :], strict=True):
            parameter.value = value
        if not self._has_aux:
            return result.loss
        return result.loss, *refill(program.structure, iter(outputs[: program.extra]))

    def _homed(self, program: _Program) -> Engine:
        """Return the engine; what others have trained or set meanwhile is taken back."""
        if self._engine is None:
            trained: dict[Hashable, Array] = {p: p.value for p in program.trained}
            self._engine = Engine(
                self._trace, trained, {}, self.optimizer, seed=self._seed, threads=self._threads
            )
        state = self._engine.state
        for parameter in state.keys:
            assert isinstance(parameter, Parameter)
            if parameter.home is not state:
                state.set(parameter, parameter.value)
                parameter.move(state)
        return self._engine

    def _trace(self, batch: Batch, training: bool) -> Traced:
        return self._tracing.trace(batch[0])

    def chosen(self) -> list[Parameter]:
        """Return the parameters that steps change.

        Raises:
            InputError: what was given as weights holds something else.
        """
        found: list[Parameter] = []
        for item in leaves(self._given):
            if isinstance(item, Layer):
                found += item.trainable_weights
            elif isinstance(item, Parameter):
                found.append(item)
            else:
                raise InputError(
                    "weights: expected a model, a layer, a parameter or a list of those, received "
                    f"{type(item).__name__}",
                    expected="layers or parameters", received=type(item).__name__,
                )  # fmt: skip
        return list({id(p): p for p in found}.values())


class _Program:
    """The loss for one combination of shapes: what it trains, reads and updates."""

    def __init__(self, owner: Minimizer, args: Any, arrays: Sequence[Array]) -> None:
        self._owner = owner
        self._args = args
        self.names = [f"x{i}" for i in range(len(arrays))]
        self.trained: list[Parameter] = []
        self.read: list[Parameter] = []
        self.updated: list[Parameter] = []
        self.structure: Any = None
        self.extra = 0
        # Building layers, and knowing what is read, comes before the first step.
        self.trace(dict(zip(self.names, arrays, strict=True)))
        self._args = map_leaves(lambda _: 0, args)  # only the structure is kept

    def trace(self, arrays: dict[str, Array]) -> Traced:
        """Trace forward pass and loss."""
        graph, owner = Graph(), self._owner
        graph.training = True
        with graph:
            fed = [graph.input(n, arrays[n].dtype, arrays[n].shape) for n in self.names]
            made = owner._loss(*refill(self._args, iter(fed)))
            value, rest = (made[0], made[1:]) if owner._has_aux else (made, ())
            loss = _total(as_tensor(value), graph)
            rest = map_leaves(as_tensor, rest)
        self.structure = map_leaves(lambda _: 0, rest)
        self.extra = len(leaves(rest))
        self.trained = owner.chosen()
        if not self.trained:
            raise TrainingError("minimize: there are no weights to train: all are frozen")
        chosen = set(map(id, self.trained))
        tensors = [x for x in graph.parameters if id(x.parameter) not in chosen]
        for i, x in enumerate(tensors):
            x.name = f"read/{i}"
        self.read = [x.parameter for x in tensors]
        self.updated = [x.parameter for x in graph.updates]
        return Traced(
            graph, [*fed, *tensors], [*leaves(rest), *graph.updates.values()], loss,
            {x.parameter: x for x in graph.parameters if id(x.parameter) in chosen},
        )  # fmt: skip


def _total(value: Tensor, graph: Graph) -> Tensor:
    if value.shape not in ((), (1,)):
        raise ShapeError(
            f"a step makes a scalar small, and the loss is {value!r}: reduce it, for instance with "
            "ops.mean",
            expected=(), received=value.shape,
        )  # fmt: skip
    for term in graph.losses:  # regularizers, and what layers add
        value = value + term
    return value
