"""LSTM whose products are convolutions, for sequences of pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor, as_tensor
from edgeml.layers._cells import drop_at_all_steps, lstm_step, open_forget_gate
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last
from edgeml.layers._recurrent import cell_of
from edgeml.layers._regularize import check_rate
from edgeml.layers._rnn import BaseRNN
from edgeml.layers._windows import Windowed, channels_of, convolve, kernel_first


class BaseConvLSTMCell(Windowed):
    """One step of a convolutional LSTM; see `ConvLSTM2DCell`."""

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    data_format: str | None = None
    dilation_rate: Any = 1
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate(self, "dropout")
        check_rate(self, "recurrent_dropout")

    @property
    def state_size(self) -> list[int]:
        """Channels of hidden and cell state."""
        return [self.filters, self.filters]

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        channels = channels_of(shape, self.rank, type(self).__name__)
        if None in shape[1:]:
            raise ShapeError(f"{type(self).__name__} needs to know the size of pictures: {shape}")
        reach = [(k - 1) * d for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)]
        kept = reach if self.padding == "valid" else [0] * self.rank
        sizes = zip(shape[1:-1], kept, self.strides, strict=True)
        self._sizes = [-(-(size - cut) // stride) for size, cut, stride in sizes]
        wide = 4 * self.filters
        self.kernel = self.add_own_weight("kernel", (*self.kernel_size, channels, wide))
        self.recurrent_kernel = self.add_own_weight(
            "recurrent_kernel", (*self.kernel_size, self.filters, wide), "recurrent"
        )
        start = self.bias_initializer
        if self.unit_forget_bias:
            start = open_forget_gate(start, self.filters)
        self.bias = self.add_weight(
            "bias", (wide,), start,
            regularizer=self.bias_regularizer, constraint=self.bias_constraint,
        ) if self.use_bias else None  # fmt: skip

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """Return the states before the first step: zeros."""
        return [np.zeros((batch_size, *self._sizes, self.filters), np.float32)] * 2

    def call(self, inputs: Tensor, states: Any, training: bool = False) -> Any:  # type: ignore[override]
        """Return the output and the new states."""
        x, h = inputs, as_tensor(states[0])
        if training:
            x = drop_at_all_steps(x, self.dropout)
            h = drop_at_all_steps(h, self.recurrent_dropout)
        y = convolve(
            channels_first(x), kernel_first(self.kernel, self.rank), strides=self.strides,
            padding=self.padding, dilations=self.dilation_rate, groups=1, bias=self.bias,
        )  # fmt: skip
        ones = [1] * self.rank
        y = y + convolve(
            channels_first(h), kernel_first(self.recurrent_kernel, self.rank), strides=ones,
            padding="same", dilations=ones, groups=1, bias=None,
        )  # fmt: skip
        out, new = lstm_step(self, ops.split(y, 4, 1), channels_first(as_tensor(states[1])))
        return channels_last(out), [channels_last(state) for state in new]


class ConvLSTM1DCell(BaseConvLSTMCell):
    """One step of a `ConvLSTM1D`; see `ConvLSTM2DCell`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RNN, ConvLSTM1DCell
        >>> RNN(ConvLSTM1DCell(2, 3))(np.ones((1, 4, 8, 1))).shape
        (1, 6, 2)
    """

    rank = 1


class ConvLSTM2DCell(BaseConvLSTMCell):
    """One step of a `ConvLSTM2D`, whose arguments it has, for `RNN`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RNN, ConvLSTM2DCell
        >>> RNN(ConvLSTM2DCell(2, 3))(np.ones((1, 4, 8, 8, 1))).shape
        (1, 6, 6, 2)
    """


class ConvLSTM3DCell(BaseConvLSTMCell):
    """One step of a `ConvLSTM3D`; see `ConvLSTM2DCell`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import RNN, ConvLSTM3DCell
        >>> RNN(ConvLSTM3DCell(2, 3))(np.ones((1, 2, 4, 4, 4, 1))).shape
        (1, 2, 2, 2, 2)
    """

    rank = 3


class BaseConvLSTM(BaseRNN):
    """What the convolutional LSTMs share; see `ConvLSTM2D`."""

    kind: ClassVar[type[Layer]] = ConvLSTM2DCell

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: str = "valid"
    data_format: str | None = None
    dilation_rate: Any = 1
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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cell = cell_of(self.kind, self, "conv_lstm_cell")


class ConvLSTM1D(BaseConvLSTM):
    """Convolutional LSTM over sequences of series; see `ConvLSTM2D` for the arguments.

    Input shape: (batch, steps, places, channels). Output shape: (batch, new places, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ConvLSTM1D
        >>> ConvLSTM1D(2, 3)(np.ones((1, 4, 8, 1))).shape
        (1, 6, 2)
    """

    kind = ConvLSTM1DCell


class ConvLSTM2D(BaseConvLSTM):
    """LSTM over sequences of pictures, with convolutions for its products (Shi et al., 2015).

    Args:
        filters: Number of channels of output and state.
        kernel_size: Rows and columns that a filter sees.
        strides: Rows and columns from one output to the next.
        padding: "valid" or "same", of the inputs' convolution; the state's is "same".
        data_format: None or "channels_last".
        dilation_rate: Distance between the places that a filter sees of the inputs.
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
        recurrent_dropout: Fraction of the state dropped in training, the same at all steps.
        seed: As in Keras, and without effect: all random numbers follow from `fit`'s seed.
        return_sequences: Whether to return the output of each step.
        return_state: Whether to return output, hidden and cell state.
        go_backwards: Whether to start at the end.
        stateful: Whether a batch goes on where the last one ended.

    Input shape: (batch, steps, rows, columns, channels). Output shape: (batch, new rows, new
    columns, filters), with the steps when all are returned. Weights, gates in the order input,
    forget, cell, output: kernel (rows, columns, channels, 4 filters), recurrent_kernel (rows,
    columns, filters, 4 filters), bias (4 filters,).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ConvLSTM2D
        >>> ConvLSTM2D(2, 3, padding="same")(np.ones((1, 4, 8, 8, 1))).shape
        (1, 8, 8, 2)
    """


class ConvLSTM3D(BaseConvLSTM):
    """Convolutional LSTM over sequences of volumes; see `ConvLSTM2D` for the arguments.

    Input shape: (batch, steps, depth, rows, columns, channels). Output shape: (batch, new depth,
    new rows, new columns, filters).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ConvLSTM3D
        >>> ConvLSTM3D(2, 2)(np.ones((1, 2, 4, 4, 4, 1))).shape
        (1, 3, 3, 3, 2)
    """

    kind = ConvLSTM3DCell
