"""What recurrent layers do in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml import activations, initializers, ops
from edgeml.errors import ConfigError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer
from edgeml.layers._regularize import check_rate


class BaseCell(Layer):
    """What SimpleRNNCell, GRUCell and LSTMCell share; see `LSTMCell`."""

    gates = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        own: Any = self  # the fields stand in the subclasses, in the order of Keras's arguments
        if own.units < 1:
            raise ConfigError(
                f"{type(self).__name__}: units: expected a positive number, received {own.units}"
            )
        check_rate(self, "dropout")
        check_rate(self, "recurrent_dropout")

    @property
    def state_size(self) -> Any:
        """Size of the state."""
        own: Any = self
        return own.units

    @property
    def output_size(self) -> int:
        """Size of the output."""
        own: Any = self
        return int(own.units)

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        own: Any = self
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        wide = self.gates * own.units
        self.kernel = self.add_own_weight("kernel", (shape[-1], wide))
        self.recurrent_kernel = self.add_own_weight(
            "recurrent_kernel", (own.units, wide), "recurrent"
        )
        self.bias = self.add_bias() if own.use_bias else None

    def add_bias(self) -> Any:
        """Make the bias."""
        own: Any = self
        return self.add_own_weight("bias", (self.gates * own.units,))

    def dropped(self, x: Tensor, state: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        """Return input and state, in training with values dropped: the same at all steps."""
        own: Any = self
        if training:
            x, state = drop_at_all_steps(x, own.dropout), drop_at_all_steps(
                state, own.recurrent_dropout
            )  # fmt: skip
        return x, state


def drop_at_all_steps(x: Tensor, rate: float) -> Tensor:
    """Drop a fraction of the values; the mask is made before the loop, once."""
    if not rate:
        return x
    with x.graph.root():
        keep = ops.random_bernoulli(x.static_shape, 1.0 - rate)
    return ops.where(keep, x * (1.0 / (1.0 - rate)), 0.0)


def first_state(states: Any) -> Tensor:
    """Return the state, which may stand in a list."""
    found: Tensor = states[0] if isinstance(states, (list, tuple)) else states
    return found


def open_forget_gate(bias: Any, size: int) -> Any:
    """Return the initializer of the bias of four gates: 1 for the second, else that of `bias`."""

    def start(shape: tuple[int, ...], rng: Any) -> Any:
        make = initializers.get(bias)
        parts = make((size,), rng), np.ones(size, np.float32), make((2 * size,), rng)
        return np.concatenate(parts)

    return start


class SimpleRNNCell(BaseCell):
    """``h = activation(x @ kernel + h @ recurrent_kernel + bias)``, one step; see `LSTMCell`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RNN, SimpleRNNCell
        >>> RNN(SimpleRNNCell(3))(np.ones((2, 5, 4))).shape
        (2, 3)
    """

    units: int
    activation: Any = "tanh"
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    recurrent_initializer: Any = "orthogonal"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    recurrent_regularizer: Any = None
    bias_regularizer: Any = None
    kernel_constraint: Any = None
    recurrent_constraint: Any = None
    bias_constraint: Any = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    seed: int | None = None

    def call(self, sequence: Tensor, states: Any, training: bool = False) -> Any:  # type: ignore[override]
        """Return the output and the new state."""
        x, h = self.dropped(sequence, first_state(states), training)
        y = ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent_kernel)
        y = activations.get(self.activation)(y if self.bias is None else y + self.bias)
        return y, [y]


class GRUCell(BaseCell):
    """One step of a gated recurrent unit (Cho et al., 2014); see `LSTMCell` for the arguments.

    Args:
        reset_after: Whether the reset gate works after the product with the recurrent kernel.

    Weights, gates in the order update, reset, candidate: kernel (features, 3 units),
    recurrent_kernel (units, 3 units), bias (2, 3 units), or (3 units,) without `reset_after`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RNN, GRUCell
        >>> RNN([GRUCell(3), GRUCell(2)])(np.ones((2, 5, 4))).shape
        (2, 2)
    """

    gates = 3

    units: int
    activation: Any = "tanh"
    recurrent_activation: Any = "sigmoid"
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    recurrent_initializer: Any = "orthogonal"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    recurrent_regularizer: Any = None
    bias_regularizer: Any = None
    kernel_constraint: Any = None
    recurrent_constraint: Any = None
    bias_constraint: Any = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    reset_after: bool = True
    seed: int | None = None

    def add_bias(self) -> Any:
        """Make the bias."""
        wide = 3 * self.units
        return self.add_own_weight("bias", (2, wide) if self.reset_after else (wide,))

    def call(self, inputs: Tensor, states: Any, training: bool = False) -> Any:  # type: ignore[override]
        """Return the output and the new state."""
        old = first_state(states)
        x, h = self.dropped(inputs, old, training)
        bias, inner = self.bias, None
        if bias is not None and self.reset_after:
            bias, inner = ops.unstack(bias)
        wx = ops.matmul(x, self.kernel)
        xz, xr, xh = ops.split(wx if bias is None else wx + bias, 3, -1)
        gate, activation = (
            activations.get(self.recurrent_activation), activations.get(self.activation)
        )  # fmt: skip
        if self.reset_after:
            wh = ops.matmul(h, self.recurrent_kernel)
            hz, hr, hh = ops.split(wh if inner is None else wh + inner, 3, -1)
            z, r = gate(xz + hz), gate(xr + hr)
            candidate = activation(xh + r * hh)
        else:
            first, second = ops.split(self.recurrent_kernel, [2 * self.units], -1)
            hz, hr = ops.split(ops.matmul(h, first), 2, -1)
            z, r = gate(xz + hz), gate(xr + hr)
            candidate = activation(xh + ops.matmul(r * h, second))
        y = z * old + (1.0 - z) * candidate
        return y, [y]


class LSTMCell(BaseCell):
    """One step of long short-term memory (Hochreiter and Schmidhuber, 1997), for `RNN`.

    Args:
        units: Size of output and state.
        activation: Of the cell.
        recurrent_activation: Of the gates.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer of the kernel.
        recurrent_initializer: Initializer of the recurrent kernel.
        bias_initializer: Initializer of the bias.
        unit_forget_bias: Whether the forget gate starts open.
        kernel_regularizer: Penalty on the kernel, added to the loss.
        recurrent_regularizer: Penalty on the recurrent kernel.
        bias_regularizer: Penalty on the bias.
        kernel_constraint: What the kernel is kept to after each update, from `edgeml.constraints`.
        recurrent_constraint: What the recurrent kernel is kept to.
        bias_constraint: What the bias is kept to.
        dropout: Fraction of the inputs dropped in training, the same at all steps.
        recurrent_dropout: Fraction of the state dropped in training, the same at all steps and for
            all gates.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.

    Input shape: (batch, features) and a list of hidden and cell state, (batch, units). Output:
    (batch, units) and the new states. Weights, gates in the order input, forget, cell, output:
    kernel (features, 4 units), recurrent_kernel (units, 4 units), bias (4 units,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RNN, LSTMCell
        >>> RNN(LSTMCell(3), return_sequences=True)(np.ones((2, 5, 4))).shape
        (2, 5, 3)
    """

    gates = 4

    units: int
    activation: Any = "tanh"
    recurrent_activation: Any = "sigmoid"
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    recurrent_initializer: Any = "orthogonal"
    bias_initializer: Any = "zeros"
    unit_forget_bias: bool = True
    kernel_regularizer: Any = None
    recurrent_regularizer: Any = None
    bias_regularizer: Any = None
    kernel_constraint: Any = None
    recurrent_constraint: Any = None
    bias_constraint: Any = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    seed: int | None = None

    @property
    def state_size(self) -> list[int]:
        """Sizes of hidden and cell state."""
        return [self.units, self.units]

    def add_bias(self) -> Any:
        """Make the bias."""
        start = self.bias_initializer
        if self.unit_forget_bias:
            start = open_forget_gate(start, self.units)
        return self.add_weight(
            "bias", (4 * self.units,), start,
            regularizer=self.bias_regularizer, constraint=self.bias_constraint,
        )  # fmt: skip

    def call(self, inputs: Tensor, states: Any, training: bool = False) -> Any:  # type: ignore[override]
        """Return the output and the new states."""
        x, h = self.dropped(inputs, states[0], training)
        y = ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent_kernel)
        parts = ops.split(y if self.bias is None else y + self.bias, 4, -1)
        return lstm_step(self, parts, states[1])


def lstm_step(cell: Any, gates: Sequence[Tensor], c: Tensor) -> Any:
    """Return the output and the new states, of what goes into the four gates."""
    gate, activation = (
        activations.get(cell.recurrent_activation), activations.get(cell.activation)
    )  # fmt: skip
    i, f, new, o = gates
    c = gate(f) * c + gate(i) * activation(new)
    h = gate(o) * activation(c)
    return h, [h, c]


class StackedRNNCells(Layer):
    """Cells one on top of the other, as one.

    Args:
        cells: The cells, from the first to the last; each takes the output of the one before.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RNN, LSTMCell, StackedRNNCells
        >>> RNN(StackedRNNCells([LSTMCell(3), LSTMCell(2)]))(np.ones((2, 5, 4))).shape
        (2, 2)
    """

    cells: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cells = list(self.cells)
        for cell in self.cells:
            if not isinstance(cell, Layer) or not hasattr(cell, "state_size"):
                raise ConfigError(
                    "StackedRNNCells: cells: expected layers with state_size and "
                    f"call(inputs, states), received {cell!r}"
                )

    @property
    def state_size(self) -> list[Any]:
        """Sizes of the states of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """Size of the last cell's output."""
        last = self.cells[-1]
        size = getattr(last, "output_size", last.state_size)
        return int(size[0] if isinstance(size, (list, tuple)) else size)

    def build(self, input_shape: Any) -> None:
        """Build the cells."""
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        for cell in self.cells:
            cell.build_once(shape)
            size = getattr(cell, "output_size", cell.state_size)
            shape = (shape[0], size[0] if isinstance(size, (list, tuple)) else size)

    def call(self, inputs: Tensor, states: Any) -> Any:  # type: ignore[override]
        """Return the last cell's output and the new states of all."""
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            nested = isinstance(state, (list, tuple))
            inputs, after = cell(inputs, list(state) if nested else [state])
            after = list(after) if isinstance(after, (list, tuple)) else [after]
            new.append(after if nested else after[0])
        return inputs, new
