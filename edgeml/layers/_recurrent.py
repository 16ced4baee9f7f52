"""SimpleRNN, GRU and LSTM: the runtime's own operators, or a loop of what these cannot do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from edgeml import activations, ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor, emit_many
from edgeml.layers._cells import GRUCell, LSTMCell, SimpleRNNCell
from edgeml.layers._layer import Layer
from edgeml.layers._regularize import drop
from edgeml.layers._rnn import BaseRNN

# What ONNX's operators know: their names, alpha and beta.
_ACTIVATIONS: dict[str | None, tuple[str, float | None, float | None]] = {
    "tanh": ("Tanh", None, None), "sigmoid": ("Sigmoid", None, None), "relu": ("Relu", None, None),
    "hard_sigmoid": ("HardSigmoid", 1.0 / 6.0, 0.5), "softsign": ("Softsign", None, None),
    "softplus": ("Softplus", None, None), "linear": ("Affine", 1.0, 0.0),
    "elu": ("Elu", 1.0, None),
}  # fmt: skip


def cell_of(kind: type[Layer], layer: Layer, name: str) -> Any:
    """Return a cell with a layer's fields."""
    names = {field.name for field in dataclasses.fields(kind)} - {"name", "trainable"}
    return kind(**{key: getattr(layer, key) for key in names}, name=name)


class BaseRecurrent(BaseRNN):
    """What SimpleRNN, GRU and LSTM share; see `LSTM`."""

    op: ClassVar[str] = "RNN"
    # Where ONNX's gates stand among Keras's.
    order: ClassVar[Sequence[int]] = (0,)

    def _run(self, x: Tensor, start: Any, mask: Tensor | None) -> tuple[Tensor, list[Any]]:
        graph, cell = x.graph.root(), self.cell
        names = [activations.name_of(fn) for fn in self._functions()]
        if not set(names) <= set(_ACTIVATIONS) or (graph.training and cell.recurrent_dropout):
            return super()._run(x, start, mask)
        cell.add_weight_penalties(graph)
        if graph.training and cell.dropout:
            batch, _, features = x.static_shape
            x = drop(x, cell.dropout, (batch, 1, features))
        if mask is None:
            outputs, states = self._emit(x, start, None, names)
            return outputs if self.return_sequences else states[0], states
        counted = ops.expand_dims(mask, -1)
        x, lengths, place = _compacted(x, mask)
        outputs, states = self._emit(x, start, lengths, names)
        if not self.return_sequences:
            return states[0], states
        wide = ops.expand_dims(ops.maximum(place, np.int64(0)), -1)
        wide = wide * np.ones((1, 1, cell.units), np.int64)
        found = ops.take_along_axis(outputs, wide, 1)
        seen = ops.expand_dims(place >= np.int64(0), -1)
        return ops.where(counted if self.zero_output_for_mask else seen, found, 0.0), states

    def _functions(self) -> list[Any]:
        """Return the activations in ONNX's order."""
        gate, inner = getattr(self.cell, "recurrent_activation", None), self.cell.activation
        return {"RNN": [inner], "GRU": [gate, inner], "LSTM": [gate, inner, inner]}[self.op]

    def _emit(
        self, x: Tensor, start: Any, lengths: Tensor | None, names: Sequence[str | None]
    ) -> tuple[Tensor, list[Any]]:
        """Emit the runtime's operator."""
        cell = self.cell
        known = [_ACTIVATIONS[name] for name in names]
        made = emit_many(
            3 if self.op == "LSTM" else 2, self.op, ops.transpose(x, [1, 0, 2]),
            self._rows(cell.kernel), self._rows(cell.recurrent_kernel), self._onnx_bias(), lengths,
            *[ops.expand_dims(value, 0) for value in start or ()],
            hidden_size=cell.units, activations=[name for name, _, _ in known],
            activation_alpha=[alpha for _, alpha, _ in known if alpha is not None] or None,
            activation_beta=[beta for _, _, beta in known if beta is not None] or None,
            linear_before_reset=int(cell.reset_after) if self.op == "GRU" else None,
        )  # fmt: skip
        outputs = ops.transpose(ops.squeeze(made[0], 1), [1, 0, 2])
        return outputs, [ops.squeeze(value, 0) for value in made[1:]]

    def _ordered(self, weights: Any) -> Tensor:
        """Return the gates in ONNX's order, along the last axis."""
        parts = ops.split(weights, len(self.order), axis=-1)
        return parts[0] if len(parts) == 1 else ops.concatenate([parts[i] for i in self.order], -1)

    def _rows(self, weights: Any) -> Tensor:
        """Return Keras's (inputs, gates * units) as ONNX's (1, gates * units, inputs)."""
        return ops.expand_dims(ops.transpose(self._ordered(weights)), 0)

    def _onnx_bias(self) -> Tensor | None:
        bias = self.cell.bias
        if bias is None:
            return None
        if len(bias.shape) == 2:  # GRU: of both products
            return ops.reshape(bias, [1, bias.shape[0] * bias.shape[1]])
        zeros = np.zeros(bias.shape[0], np.float32)
        return ops.expand_dims(ops.concatenate([self._ordered(bias), zeros], -1), 0)


def _compacted(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move the steps that count to the front.

    Returns:
        The sequences, their lengths (int32), and for each step the place of the last step that
        counts up to it, whose output it repeats; -1 before the first.
    """
    steps, features = x.known_shape[1:]
    if isinstance(steps, str):
        raise ShapeError("the number of steps must be known to leave out some by a mask")
    counted = ops.cast(mask, np.int64)
    rank = counted * np.arange(steps, 0, -1, dtype=np.int64)
    _, order = ops.top_k(ops.cast(rank, np.float32), steps, 1)
    wide = ops.expand_dims(order, -1) * np.ones((1, 1, int(features)), np.int64)
    lengths = ops.cast(ops.sum(counted, 1), np.int32)
    place = ops.cumsum(ops.cast(counted, np.int32), 1) - np.int32(1)
    return ops.take_along_axis(x, wide, 1), lengths, ops.cast(place, np.int64)


class SimpleRNN(BaseRecurrent):
    """``h = activation(x @ kernel + h @ recurrent_kernel + bias)``; see `LSTM` for the arguments.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import SimpleRNN
        >>> SimpleRNN(3)(np.ones((2, 5, 4))).shape
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
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    recurrent_constraint: Any = None
    bias_constraint: Any = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cell = cell_of(SimpleRNNCell, self, "simple_rnn_cell")


class LSTM(BaseRecurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997).

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
        activity_regularizer: Penalty on the output.
        kernel_constraint: What the kernel is kept to after each update, from `edgeml.constraints`.
        recurrent_constraint: What the recurrent kernel is kept to.
        bias_constraint: What the bias is kept to.
        dropout: Fraction of the inputs dropped in training, the same at all steps.
        recurrent_dropout: Fraction of the state dropped in training, the same at all steps and for
            all gates; then training is slower, as the runtime's operator has no such thing.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.
        return_sequences: Whether to return the output of each step.
        return_state: Whether to return output, hidden and cell state.
        go_backwards: Whether to start at the end.
        stateful: Whether a batch goes on where the last one ended.
        unroll: As in Keras, and without effect.

    Input shape: (batch, steps, features). Weights, gates in the order input, forget, cell, output:
    kernel (features, 4 units), recurrent_kernel (units, 4 units), bias (4 units,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import LSTM
        >>> LSTM(3, return_sequences=True)(np.ones((2, 5, 4))).shape
        (2, 5, 3)
    """

    op = "LSTM"
    order = (0, 3, 1, 2)

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
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    recurrent_constraint: Any = None
    bias_constraint: Any = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    seed: int | None = None
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cell = cell_of(LSTMCell, self, "lstm_cell")


class GRU(BaseRecurrent):
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
    order = (0, 1, 2)

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
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    recurrent_constraint: Any = None
    bias_constraint: Any = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    seed: int | None = None
    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    reset_after: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cell = cell_of(GRUCell, self, "gru_cell")
