"""Loops over the steps of sequences, with any cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.graph._tree import leaves, map_leaves, refill
from edgeml.graph.rules._recurrent_parts import scan
from edgeml.layers._cells import StackedRNNCells
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Parameter


class BaseRNN(Layer):
    """What all layers that go from step to step share; see `RNN`."""

    # Fields of the subclasses, which have them in the order of Keras's arguments.
    return_sequences = False
    return_state = False
    go_backwards = False
    stateful = False
    zero_output_for_mask = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cell: Any = getattr(self, "cell", None)
        self.initial: list[Parameter] = []

    def build(self, input_shape: Any) -> None:
        """Build the cell, and make the state when it outlives a batch."""
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        if len(shape) < 3 or shape[-1] is None:
            raise ShapeError(
                f"{type(self).__name__} takes (batch, steps, features), received {shape}",
                received=shape,
            )
        self.cell.build_once((shape[0], *shape[2:]))
        if self.stateful and shape[0] is None:
            raise ShapeError("a stateful layer needs Input(…, batch_size=N)")

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Tensor | None = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Return the last output, or all, with the states when asked for.

        Args:
            sequences: (batch, steps, ...); a list holds the initial states, too.
            initial_state: A tensor for each state, as the cell has them.
            mask: Which steps count, bool (batch, steps): the others leave states and output.
            training: Whether dropout drops.
        """
        x = sequences
        if isinstance(x, (list, tuple)):
            x, initial_state = x[0], list(x[1:])
        if self.go_backwards:
            x = ops.flip(x, 1)
            mask = ops.flip(mask, 1) if mask is not None else None
        if initial_state is None and self.stateful:
            initial_state = self._kept(x)
        if initial_state is not None:
            initial_state = map_leaves(as_tensor, _listed(initial_state))
        outputs, states = self._run(x, initial_state, mask)
        for parameter, value in zip(self.initial, leaves(states), strict=False):
            self.update(parameter, value)
        return [outputs, *states] if self.return_state else outputs

    def _zeros(self) -> list[Any]:
        """Return the states of one example before the first step."""
        if hasattr(self.cell, "get_initial_state"):
            return _listed(self.cell.get_initial_state(1))
        sizes = _listed(self.cell.state_size)
        return map_leaves(lambda n: np.zeros((1, n), np.float32), sizes)  # type: ignore[no-any-return]

    def _kept(self, x: Tensor) -> Any:
        """Return the states that outlive a batch."""
        one = self._zeros()
        if not self.initial:
            batch = x.static_shape[0]
            self.initial = [
                self.add_weight(f"state_{i}", (batch, *value.shape[1:]), "zeros", trainable=False)
                for i, value in enumerate(leaves(one))
            ]
        return refill(one, iter(self.initial))

    def _run(self, x: Tensor, start: Any, mask: Tensor | None) -> tuple[Tensor, list[Any]]:
        """Return the output (or the outputs) and the last states."""
        if start is None:
            start = map_leaves(lambda value: _for_batch(value, x), self._zeros())
        before = leaves(start)
        # Only what is needed is kept: the outputs of all steps, or the last, in a state of its own.
        held = mask is not None or not self.return_sequences
        size = getattr(self.cell, "output_size", None)
        shape = (1, size) if isinstance(size, int) else (1, *before[0].known_shape[1:])
        first = [_for_batch(np.zeros(shape, np.float32), x)] if held else []
        sequences = [ops.transpose(x, [1, 0, *range(2, x.ndim)])]
        if mask is not None:
            sequences.append(ops.transpose(ops.cast(mask, np.bool_), [1, 0]))

        def step(now: list[Tensor], slices: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            states = refill(start, iter(now[len(first) :]))
            y, new = self.cell(slices[0], states)
            after = leaves(new)
            if mask is not None:
                gone = 0.0 if self.zero_output_for_mask else now[0]
                y = _choose(slices[1], y, gone)
                pairs = zip(after, now[1:], strict=True)
                after = [_choose(slices[1], value, old) for value, old in pairs]
            return [*([y] if held else []), *after], [y] if self.return_sequences else []

        last, emitted = scan(step, [*first, *before], sequences)
        states = refill(start, iter(last[len(first) :]))
        if not self.return_sequences:
            return last[0], states
        y = emitted[0]
        return ops.transpose(y, [1, 0, *range(2, y.ndim)]), states

    def compute_mask(self, x: Any, mask: Tensor | None) -> Any:
        """Return which outputs count: steps go on only when all are returned."""
        found = mask if self.return_sequences else None
        if not self.return_state:
            return found
        return [found, *[None] * len(leaves(self.cell.state_size))]

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, in Keras's order; states that outlive a batch come last."""
        states = {id(p) for p in self.initial}
        return [p for p in super().weights if id(p) not in states] + self.initial

    def reset_state(self) -> None:
        """Set a stateful layer's state to zero."""
        for parameter in self.initial:
            parameter.value = np.zeros(parameter.shape, np.float32)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _choose(flags: Tensor, yes: Tensor, no: Any) -> Tensor:
    """Choose whole examples: `flags` is (batch,)."""
    return ops.where(ops.expand_dims(flags, list(range(1, yes.ndim))), yes, no)


def _for_batch(value: Any, x: Tensor) -> Tensor:
    """Return a state of shape (1, ...) for each example of `x`."""
    rest = [int(n) for n in value.shape[1:]]
    batch = x.known_shape[0]
    if not isinstance(batch, str):
        if isinstance(value, np.ndarray):
            return as_tensor(np.repeat(value, batch, 0))
        return ops.broadcast_to(value, [int(batch), *rest])
    size = ops.slice_(ops.shape(x), [0], [1], [0])
    shape = ops.concatenate([size, np.array(rest, np.int64)], 0)
    return emit("Expand", value, shape, types=[(np.float32, (batch, *rest))])


class RNN(BaseRNN):
    """A cell applied from step to step.

    Args:
        cell: A layer with `state_size` (an int, or a list with one for each state) and
            ``call(inputs, states) -> (output, new states)``; a list of cells is stacked.
        return_sequences: Whether to return the output of each step.
        return_state: Whether to return the states after the last step, too.
        go_backwards: Whether to start at the end.
        stateful: Whether a batch goes on where the last one ended.
        unroll: As in Keras, and without effect: a loop is one operator.
        zero_output_for_mask: Whether the output of steps that do not count is 0, not the last one.

    Input shape: (batch, steps, ...). Output shape: what the cell makes, with the steps when all are
    returned.

    Raises:
        ConfigError: `cell` is no such layer.

    Example:
        >>> import numpy as np
        >>> from edgeml import ops
        >>> from edgeml.layers import RNN, Layer
        >>> class Sum(Layer):
        ...     state_size = 1
        ...     def call(self, x, states):
        ...         total = states[0] + ops.sum(x, -1, True)
        ...         return total, [total]
        >>> RNN(Sum())(np.ones((1, 3, 2))).tolist()
        [[6.0]]
    """

    cell: Any
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.cell, (list, tuple)):
            self.cell = StackedRNNCells(self.cell)
        if not isinstance(self.cell, Layer) or not hasattr(self.cell, "state_size"):
            raise ConfigError(
                "RNN: cell: expected a layer with state_size and call(inputs, states), or a list "
                f"of such, received {self.cell!r}"
            )
