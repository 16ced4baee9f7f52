"""Random numbers from a counter, so that a step can be repeated and resumed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeml.errors import GraphError
from edgeml.graph import Tensor, current_graph, emit, emit_many
from edgeml.ops._math import cast, cos, log, sqrt
from edgeml.ops._reduce import argmax
from edgeml.ops._shape import concatenate, expand_dims, reshape

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def random_bits(shape: Sequence[int]) -> Tensor:
    """Return random uint32, new in each step.

    Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
    2011): the key is the graph's input ``seed`` (seed, step), the counter the place and a number
    of this draw. Equal seeds and steps give equal numbers on every device.

    Example:
        >>> import edgeml
        >>> edgeml.function(lambda: edgeml.ops.random_bits((2, 3)))().shape
        (2, 3)
    """
    graph = current_graph()
    if graph is None:
        raise GraphError("random numbers are drawn inside edgeml.function(fn) or a layer's call()")
    seed, draw = graph.random_key()
    count = int(np.prod(shape, dtype=np.int64))
    half = (count + 1) // 2
    keys = emit_many(2, "Split", seed, np.array([1, 1], np.int64), axis=0)
    low = np.arange(half, dtype=np.uint32)
    high = np.full(half, draw, np.uint32)
    first, second = threefry2x32(keys, graph.constant(low), graph.constant(high))
    flat = concatenate([first, second])
    if 2 * half != count:
        flat = flat[:count]
    return reshape(flat, list(shape))


def threefry2x32(
    key: Sequence[Tensor], low: Tensor, high: Tensor, rounds: int = 20
) -> tuple[Tensor, Tensor]:
    """Return the two uint32 outputs of Threefry-2x32 for each pair of counters."""
    keys = [key[0], key[1], _xor(_xor(key[0], key[1]), np.uint32(_PARITY))]
    x, y = low + keys[0], high + keys[1]
    for i in range(rounds):
        x = x + y
        y = _xor(_rotate(y, _ROTATIONS[(i // 4) % 2][i % 4]), x)
        if i % 4 == 3:
            group = i // 4 + 1
            x = x + keys[group % 3]
            y = y + (keys[(group + 1) % 3] + np.uint32(group))
    return x, y


def _xor(x: Tensor, y: Tensor | np.uint32) -> Tensor:
    return emit("BitwiseXor", x, y)


def _rotate(x: Tensor, bits: int) -> Tensor:
    left = emit("BitShift", x, np.uint32(bits), direction="LEFT")
    right = emit("BitShift", x, np.uint32(32 - bits), direction="RIGHT")
    # The two have no bit in common, and Add is the fastest of the kernels that join them.
    return left + right


def random_uniform(shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return float32 numbers, uniform in [low, high), new in each step.

    Example:
        >>> import edgeml
        >>> edgeml.function(lambda: edgeml.ops.random_uniform((2, 3)))().shape
        (2, 3)
    """
    bits = emit("BitShift", random_bits(shape), np.uint32(8), direction="RIGHT")
    unit = cast(cast(bits, np.int32), np.float32) * (1.0 / (1 << 24))
    return unit * (high - low) + low


def random_normal(shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0) -> Tensor:
    """Return float32 numbers from a normal distribution, by the Box-Muller transform.

    Example:
        >>> import edgeml
        >>> edgeml.function(lambda: edgeml.ops.random_normal((2, 3)))().shape
        (2, 3)
    """
    first, second = random_uniform(shape), random_uniform(shape)
    radius = sqrt(log(1.0 - first) * -2.0)
    return radius * cos(second * (2.0 * np.pi)) * stddev + mean


def random_bernoulli(shape: Sequence[int], p: float) -> Tensor:
    """Return bool, true with probability `p`, new in each step.

    Example:
        >>> import edgeml
        >>> edgeml.function(lambda: edgeml.ops.random_bernoulli((2, 3), 0.5))().shape
        (2, 3)
    """
    threshold = np.uint32(min(round(p * 2.0**32), 2**32 - 1))
    return emit("Less", random_bits(shape), threshold)


def random_categorical(logits: Tensor, num_samples: int) -> Tensor:
    """Return classes drawn with the probabilities ``softmax(logits)``, new in each step.

    The largest of the logits with Gumbel noise (Gumbel, 1954; Maddison et al., 2014).

    Args:
        logits: Tensor (batch, classes) with a known shape.
        num_samples: How many to draw for each row.

    Returns:
        int64 (batch, num_samples).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.random_categorical(x, 4))
        >>> run(np.array([[-99.0, 0.0, -99.0]])).tolist()
        [[1, 1, 1, 1]]
    """
    batch, classes = logits.static_shape
    uniform = random_uniform((batch, num_samples, classes), 1e-7, 1.0)
    noise = -log(-log(uniform))
    return argmax(expand_dims(logits, 1) + noise, axis=-1)


def dropout(x: Tensor, rate: float) -> Tensor:
    """Set a fraction `rate` to zero and scale the rest by ``1 / (1 - rate)``, when training.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.dropout(x, 0.5))
        >>> run(np.ones((2, 3))).shape
        (2, 3)
    """
    keep = random_bernoulli(x.static_shape, 1.0 - rate)
    return emit("Where", keep, x * (1.0 / (1.0 - rate)), 0.0, like=x)
