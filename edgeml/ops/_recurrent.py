"""Recurrent networks over a sequence, in ONNX's layouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.graph import Tensor, as_tensor, emit_many
from edgeml.ops._math import Like, cast


def lstm(
    x: Like, w: Like, r: Like, b: Like = None, *, initial_h: Like = None, initial_c: Like = None,
    lengths: Like = None, direction: str = "forward", activations: Sequence[str] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return what an LSTM makes of a sequence.

    Args:
        x: Tensor (steps, batch, features).
        w: Weights of the input (directions, 4 * units, features); gates in the order input,
            output, forget, cell.
        r: Weights of the state (directions, 4 * units, units).
        b: Biases (directions, 8 * units), of the input and then of the state; None for zeros.
        initial_h: First state (directions, batch, units); None for zeros.
        initial_c: First cell state, the same.
        lengths: How many steps of each sequence count (batch,); None for all.
        direction: "forward", "reverse" or "bidirectional" (two directions).
        activations: ONNX's names, three for each direction; None for Sigmoid, Tanh, Tanh.

    Returns:
        Outputs (steps, directions, batch, units), the last state and the last cell state, both
        (directions, batch, units).

    Example:
        >>> import numpy as np, edgeml
        >>> x, w, r = np.ones((10, 2, 3)), np.ones((1, 16, 3)), np.ones((1, 16, 4))
        >>> y, h, c = edgeml.function(edgeml.ops.lstm)(x, w, r)
        >>> y.shape, h.shape
        ((10, 1, 2, 4), (1, 2, 4))
    """
    y, h, c = _run(3, "LSTM", x, w, r, b, lengths, initial_h, initial_c, direction=direction,
                   activations=activations)  # fmt: skip
    return y, h, c


def gru(
    x: Like, w: Like, r: Like, b: Like = None, *, initial_h: Like = None, lengths: Like = None,
    direction: str = "forward", activations: Sequence[str] | None = None,
    reset_after: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return what a GRU makes of a sequence: outputs and the last state; see `lstm`.

    Args:
        x: Tensor (steps, batch, features).
        w: Weights of the input (directions, 3 * units, features); gates in the order update,
            reset, hidden.
        r: Weights of the state (directions, 3 * units, units).
        b: Biases (directions, 6 * units); None for zeros.
        initial_h: First state (directions, batch, units); None for zeros.
        lengths: How many steps of each sequence count (batch,); None for all.
        direction: "forward", "reverse" or "bidirectional".
        activations: ONNX's names, two for each direction; None for Sigmoid, Tanh.
        reset_after: Whether the reset gate applies after the product with the state, as in Keras
            and PyTorch.

    Example:
        >>> import numpy as np, edgeml
        >>> x, w, r = np.ones((10, 2, 3)), np.ones((1, 12, 3)), np.ones((1, 12, 4))
        >>> edgeml.function(edgeml.ops.gru)(x, w, r)[0].shape
        (10, 1, 2, 4)
    """
    y, h = _run(2, "GRU", x, w, r, b, lengths, initial_h, direction=direction,
                activations=activations, linear_before_reset=int(reset_after))  # fmt: skip
    return y, h


def simple_rnn(
    x: Like, w: Like, r: Like, b: Like = None, *, initial_h: Like = None, lengths: Like = None,
    direction: str = "forward", activations: Sequence[str] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return what a simple recurrent network makes of a sequence; see `lstm`.

    Args:
        x: Tensor (steps, batch, features).
        w: Weights of the input (directions, units, features).
        r: Weights of the state (directions, units, units).
        b: Biases (directions, 2 * units); None for zeros.
        initial_h: First state (directions, batch, units); None for zeros.
        lengths: How many steps of each sequence count (batch,); None for all.
        direction: "forward", "reverse" or "bidirectional".
        activations: ONNX's names, one for each direction; None for Tanh.

    Example:
        >>> import numpy as np, edgeml
        >>> x, w, r = np.ones((10, 2, 3)), np.ones((1, 4, 3)), np.ones((1, 4, 4))
        >>> edgeml.function(edgeml.ops.simple_rnn)(x, w, r)[0].shape
        (10, 1, 2, 4)
    """
    y, h = _run(2, "RNN", x, w, r, b, lengths, initial_h, direction=direction,
                activations=activations)  # fmt: skip
    return y, h


def _run(count: int, op: str, x: Like, w: Like, r: Like, b: Like, lengths: Like,
         *states: Like, activations: Sequence[str] | None, **attributes: Any) -> Any:  # fmt: skip
    units = as_tensor(r).static_shape[-1]
    counted = None if lengths is None else cast(lengths, np.int32)
    names = None if activations is None else list(activations)
    return emit_many(count, op, x, w, r, b, counted, *states, hidden_size=units,
                     activations=names, **attributes)  # fmt: skip
