"""A dense layer over any axes."""

from __future__ import annotations

import dataclasses
import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeml import activations, initializers, ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer


def start_of(initializer: Any, inputs: Sequence[int], outputs: Sequence[int]) -> Callable[..., Any]:
    """Return an initializer that knows which axes of a kernel come in, and which go out."""

    def start(shape: Any, rng: Any) -> Any:
        first, last = [shape[i] for i in inputs], [shape[i] for i in outputs]
        flat = initializers.get(initializer)((math.prod(first), math.prod(last)), rng)
        back = np.argsort([*inputs, *outputs])
        return np.reshape(flat, [*first, *last]).transpose(back)

    return start


class EinsumDense(Layer):
    """``activation(einsum(equation, x, kernel) + bias)``.

    Args:
        equation: As of `edgeml.ops.einsum`: "abc,cd->abd", "...x,xy->...y" or "ab...,bc->ac...".
        output_shape: Shape of the output without the batch (and without what ... stands for); None
            for a size that the input has.
        activation: Name or function of a tensor; None for none.
        bias_axes: Letters of the output's axes that the bias has; None for no bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Penalty on the kernel, added to the loss.
        bias_regularizer: Penalty on the bias.
        kernel_constraint: What the kernel is kept to after each update, from `edgeml.constraints`.
        bias_constraint: What the bias is kept to.
        activity_regularizer: Penalty on the output.

    Input and output shape: as the equation says. Weights: kernel, of the sizes of its letters;
    bias, of the sizes of `bias_axes` and 1 for axes between and after them.

    Raises:
        ConfigError: the equation is of another form.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import EinsumDense
        >>> EinsumDense("abc,cd->abd", output_shape=(None, 8), bias_axes="d")(
        ...     np.ones((2, 3, 4))).shape
        (2, 3, 8)
    """

    equation: str
    output_shape: Any
    activation: Any = None
    bias_axes: str | None = None
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None
    activity_regularizer: Any = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        plain, before, after = "ab,bc->ac", "...b,bc->...c", "ab...,bc->ac..."
        terms = re.fullmatch(r"(\.{3})?(\w+)(\.{3})?,(\w+)->(\.{3})?(\w+)(\.{3})?", self.equation)
        if terms is None or terms.group(1, 3) != terms.group(5, 7) or all(terms.group(1, 3)):
            raise ConfigError(
                f"EinsumDense: equation: expected the form {plain}, {before} or {after}, received "
                f"{self.equation!r}"
            )
        self._terms = terms.group(2, 4, 6)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        x, kernel, y = self._terms
        missing = len(input_shape) - len(x)
        if missing < 0 or (missing and "..." not in self.equation):
            raise ShapeError(f"{self.equation!r} does not fit the input {input_shape}")
        free = "".join([c for c in string.ascii_letters if c not in x + kernel + y][:missing])
        before = self.equation.startswith("...")
        x, y = (free + x, free + y) if before else (x + free, y + free)
        self._equation = f"{x},{kernel}->{y}"
        of_input = dict(zip(x, input_shape, strict=True))
        given = self.output_shape
        sizes = [given] if isinstance(given, int) else list(given)
        # The batch, and what ... stands for, are the input's.
        own = [c for c in y if c not in free]
        own = own if before and free else own[1:]
        of_output = dict(of_input) | {
            c: n for c, n in zip(own, sizes, strict=False) if n is not None or c not in of_input
        }
        unknown = [c for c in kernel if of_output.get(c) is None]
        if unknown or len(own) != len(sizes):
            raise ShapeError(
                f"EinsumDense: {self.equation!r} needs to know the size of {unknown or own}; the "
                f"input is {input_shape}, output_shape {given}"
            )
        outputs = [i for i, c in enumerate(kernel) if c in y]
        inputs = [i for i, c in enumerate(kernel) if c not in y]
        self.kernel = self.add_weight(
            "kernel", [of_output[c] for c in kernel],
            start_of(self.kernel_initializer, inputs, outputs),
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        self.bias = None
        if self.bias_axes:
            tail = y[min(y.index(c) for c in self.bias_axes) :]
            shape = [of_output[c] if c in self.bias_axes else 1 for c in tail]
            self.bias = self.add_own_weight("bias", shape)

    def call(self, x: Tensor) -> Tensor:
        """Return the output; see the class."""
        y = ops.einsum(self._equation, x, self.kernel)
        return activations.get(self.activation)(y if self.bias is None else y + self.bias)
