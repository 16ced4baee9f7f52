"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit_many
from edgeml.layers._config import deserialize, serialize
from edgeml.layers._layer import Layer, shape_of

_ACTIVATIONS = {
    "tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "hard_sigmoid": "HardSigmoid",
    "softsign": "Softsign", "softplus": "Softplus", "linear": "Affine", "elu": "Elu",
}  # fmt: skip


class BaseRecurrent(Layer):
    """What SimpleRNN, GRU and LSTM share; see `LSTM`."""

    op = "RNN"
    gates = 1
    states = 1

    units: int
    activation: Any = "tanh"
    use_bias: bool = True
    kernel_initializer: Any = "glorot_uniform"
    recurrent_initializer: Any = "orthogonal"
    bias_initializer: Any = "zeros"
    dropout: float = 0.0
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.initial: list[Any] = []

    def build(self, input_shape: Any) -> None:
        """Make the weights, and the state when it outlives a batch."""
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        if len(shape) != 3 or shape[-1] is None:
            raise ShapeError(f"{type(self).__name__} takes (batch, steps, features), got {shape}")
        wide = self.gates * self.units
        self.kernel = self.add_weight("kernel", (shape[-1], wide), self.kernel_initializer)
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel", (self.units, wide), self.recurrent_initializer
        )
        if self.use_bias:
            self.bias = self.add_weight("bias", self._bias_shape(), self._bias_start())
        if self.stateful:
            if shape[0] is None:
                raise ShapeError("a stateful layer needs Input(…, batch_size=N)")
            self.initial = [
                self.add_weight(f"state_{i}", (shape[0], self.units), "zeros", trainable=False)
                for i in range(self.states)
            ]

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def _bias_start(self) -> Any:
        return self.bias_initializer

    def _activations(self) -> list[str]:
        return [self._onnx_name(self.activation)]

    def _onnx_name(self, name: Any) -> str:
        if name not in _ACTIVATIONS:
            raise ConfigError(
                f"{type(self).__name__}: activation {name!r} cannot run here; these can: "
                f"{', '.join(_ACTIVATIONS)}"
            )
        return _ACTIVATIONS[name]

    def _attributes(self) -> dict[str, Any]:
        return {}

    def _order(self) -> Sequence[int]:
        """Where ONNX's gates stand among Keras's."""
        return range(self.gates)

    def _onnx_rows(self, weights: Any) -> Tensor:
        """Return Keras's (inputs, gates * units) as ONNX's (1, gates * units, inputs)."""
        parts = ops.split(weights, self.gates, axis=-1)
        ordered = parts if len(parts) == 1 else [parts[i] for i in self._order()]
        return ops.expand_dims(ops.transpose(ops.concatenate(ordered, -1)), 0)

    def _onnx_bias(self) -> Any:
        if not self.use_bias:
            return None
        parts = ops.split(self.bias, self.gates, axis=-1)
        row = ops.concatenate([parts[i] for i in self._order()], -1)
        zeros = np.zeros(self.gates * self.units, np.float32)
        return ops.expand_dims(ops.concatenate([row, zeros], -1), 0)

    def call(
        self, x: Any, initial_state: Any = None, mask: Tensor | None = None, training: bool = False
    ) -> Any:
        """Return the last output, or all, with the states when asked for.

        Args:
            x: (batch, steps, features); a list holds the initial states, too.
            initial_state: One (batch, units) for each state.
            mask: Which steps count, bool (batch, steps).
            training: Whether dropout drops.
        """
        if isinstance(x, (list, tuple)):
            x, initial_state = x[0], list(x[1:])
        if training and self.dropout:
            shape = (x.static_shape[0], 1, x.static_shape[2])
            keep = ops.random_bernoulli(shape, 1.0 - self.dropout)
            x = ops.where(keep, x * (1.0 / (1.0 - self.dropout)), 0.0)
        lengths = place = None
        if mask is not None:
            x, lengths, place = _compacted(x, mask)
        if self.go_backwards:
            x = ops.flip(x, 1) if lengths is None else _reversed(x, lengths)
        outputs, states = self._run(x, initial_state or self.initial, lengths)
        for parameter, value in zip(self.initial, states, strict=False):
            self.update(parameter, value)
        found = outputs if self.return_sequences else states[0]
        if self.return_sequences and place is not None:
            wide = ops.expand_dims(place, -1) * np.ones((1, 1, self.units), np.int64)
            found = ops.take_along_axis(outputs, wide, 1)
        return [found, *states] if self.return_state else found

    def _run(self, x: Tensor, initial: Sequence[Any], lengths: Tensor | None) -> Any:
        state: list[Any] = [ops.expand_dims(value, 0) for value in initial]
        made = emit_many(
            1 + self.states, self.op, ops.transpose(x, [1, 0, 2]), self._onnx_rows(self.kernel),
            self._onnx_rows(self.recurrent_kernel), self._onnx_bias(), lengths, *state,
            hidden_size=self.units, activations=self._activations(), **self._attributes(),
        )  # fmt: skip
        outputs = ops.transpose(ops.squeeze(made[0], 1), [1, 0, 2])
        return outputs, [ops.squeeze(value, 0) for value in made[1:]]

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Steps go on to the next layer only when all are returned."""
        return mask if self.return_sequences and not self.return_state else None

    def reset_state(self) -> None:
        """Set a stateful layer's state to zero."""
        for parameter in self.initial:
            parameter.value = np.zeros(parameter.shape, np.float32)


def _compacted(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move the steps that count to the front.

    Returns:
        The sequences, their lengths (int32), and for each step the place of the last step that
        counts up to it: its output is what Keras has there.
    """
    steps, features = x.known_shape[1:]
    if isinstance(steps, str):
        raise ShapeError("the number of steps must be known to leave out some by a mask")
    counted = ops.cast(mask, np.int64)
    rank = counted * np.arange(steps, 0, -1, dtype=np.int64)
    _, order = ops.top_k(ops.cast(rank, np.float32), steps, 1)
    wide = ops.expand_dims(order, -1) * np.ones((1, 1, int(features)), np.int64)
    lengths = ops.cast(ops.sum(counted, 1), np.int32)
    place = ops.maximum(ops.cumsum(ops.cast(counted, np.int32), 1) - np.int32(1), np.int32(0))
    return ops.take_along_axis(x, wide, 1), lengths, ops.cast(place, np.int64)


def _reversed(x: Tensor, lengths: Tensor) -> Tensor:
    from edgeml.graph import emit

    return emit("ReverseSequence", x, ops.cast(lengths, np.int64), batch_axis=0, time_axis=1)


class SimpleRNN(BaseRecurrent):
    """``h = activation(x @ kernel + h @ recurrent_kernel + bias)``; see `LSTM` for the arguments.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SimpleRNN
        >>> SimpleRNN(3)(np.ones((2, 5, 4))).shape
        (2, 3)
    """


class _Gated(BaseRecurrent):
    recurrent_activation: Any = "sigmoid"


class LSTM(_Gated):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997).

    Args:
        units: Size of output and state.
        activation: Of the cell: tanh.
        use_bias: Whether to add a bias.
        dropout: Fraction of the inputs dropped in training, the same at all steps.
        return_sequences: Whether to return the output of each step.
        return_state: Whether to return output, hidden and cell state.
        go_backwards: Whether to start at the end.
        stateful: Whether a batch goes on where the last one ended.
        recurrent_activation: Of the gates: sigmoid.
        unit_forget_bias: Whether the forget gate starts open.

    Input shape: (batch, steps, features). Weights, gates in the order input, forget, cell, output:
    kernel (features, 4 units), recurrent_kernel (units, 4 units), bias (4 units,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import LSTM
        >>> LSTM(3, return_sequences=True)(np.ones((2, 5, 4))).shape
        (2, 5, 3)
    """

    op = "LSTM"
    gates = 4
    states = 2

    unit_forget_bias: bool = True

    def _bias_start(self) -> Any:
        if not self.unit_forget_bias:
            return self.bias_initializer
        start = np.zeros(4 * self.units, np.float32)
        start[self.units : 2 * self.units] = 1.0
        return lambda _shape, _rng: start

    def _order(self) -> Sequence[int]:
        return (0, 3, 1, 2)

    def _activations(self) -> list[str]:
        inner = self._onnx_name(self.activation)
        return [self._onnx_name(self.recurrent_activation), inner, inner]


class GRU(_Gated):
    """Gated recurrent unit (Cho et al., 2014); see `LSTM` for the arguments.

    Args:
        reset_after: Whether the reset gate works after the product with the recurrent kernel.

    Weights, gates in the order update, reset, candidate: kernel (features, 3 units),
    recurrent_kernel (units, 3 units), bias (2, 3 units), or (3 units,) without `reset_after`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GRU
        >>> GRU(3)(np.ones((2, 5, 4))).shape
        (2, 3)
    """

    op = "GRU"
    gates = 3

    reset_after: bool = True

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _onnx_bias(self) -> Any:
        if self.use_bias and self.reset_after:
            return ops.reshape(self.bias, [1, 6 * self.units])
        return super()._onnx_bias()

    def _activations(self) -> list[str]:
        return [self._onnx_name(self.recurrent_activation), self._onnx_name(self.activation)]

    def _attributes(self) -> dict[str, Any]:
        return {"linear_before_reset": int(self.reset_after)}


class Bidirectional(Layer):
    """A recurrent layer from the start and one from the end, together.

    Args:
        layer: The layer; a copy of it goes backwards.
        merge_mode: "concat", "sum", "mul", "ave", or None for both.
        backward_layer: The layer for the other direction, when it is no copy.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GRU, Bidirectional
        >>> Bidirectional(GRU(3))(np.ones((2, 5, 4))).shape
        (2, 6)
    """

    layer: Any
    merge_mode: str | None = "concat"
    backward_layer: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.merge_mode not in ("concat", "sum", "mul", "ave", None):
            raise ConfigError(
                f"merge_mode: expected concat, sum, mul, ave, not {self.merge_mode!r}"
            )
        self.forward = self.layer
        self.backward = self.backward_layer
        if self.backward is None:
            config = serialize(self.layer)
            config["config"] |= {
                "name": f"backward_{self.layer.name}", "go_backwards": not self.layer.go_backwards,
            }  # fmt: skip
            self.backward = deserialize(config)

    def call(self, x: Tensor, mask: Tensor | None = None, training: bool = False) -> Any:
        """Return both directions' outputs, merged."""
        first = self.forward(x, mask=mask)
        second = self.backward(x, mask=mask)
        states = []
        if self.layer.return_state:
            states = [*first[1:], *second[1:]]
            first, second = first[0], second[0]
        if self.layer.return_sequences:
            second = ops.flip(second, 1)
        merged = self._merge(first, second)
        if not states:
            return merged
        return [*(merged if isinstance(merged, list) else [merged]), *states]

    def _merge(self, first: Tensor, second: Tensor) -> Any:
        if self.merge_mode == "concat":
            return ops.concatenate([first, second], -1)
        if self.merge_mode == "sum":
            return first + second
        if self.merge_mode == "mul":
            return first * second
        return (first + second) * 0.5 if self.merge_mode == "ave" else [first, second]

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Steps go on only when all are returned."""
        return mask if self.layer.return_sequences else None


class TimeDistributed(Layer):
    """A layer applied to each step.

    Args:
        layer: The layer; it sees (batch * steps, ...).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dense, TimeDistributed
        >>> TimeDistributed(Dense(4))(np.ones((2, 5, 3))).shape
        (2, 5, 4)
    """

    layer: Any

    def call(self, x: Tensor) -> Tensor:
        """Return (batch, steps, ...)."""
        steps = x.known_shape[1]
        if isinstance(steps, str):
            raise ShapeError("TimeDistributed needs to know the number of steps")
        rest = [int(n) for n in x.known_shape[2:]]
        y = self.layer(ops.reshape(x, [-1, *rest]))
        return ops.reshape(y, [-1, steps, *(int(n) for n in shape_of(y)[1:])])
