"""Layers around another layer."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, as_tensor
from edgeml.initializers import TruncatedNormal
from edgeml.layers._config import deserialize, serialize
from edgeml.layers._layer import Layer, shape_of
from edgeml.layers._parameter import Parameter


class Wrapper(Layer):
    """The base of layers around another one; by itself it is that layer.

    Args:
        layer: The layer inside.

    Raises:
        ConfigError: `layer` is none.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dense, Wrapper
        >>> Wrapper(Dense(4))(np.ones((2, 3))).shape
        (2, 4)
    """

    layer: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.layer, Layer):
            raise ConfigError(f"{type(self).__name__}: expected a layer, received {self.layer!r}")

    def call(self, x: Any) -> Any:
        """Return the layer's output."""
        return self.layer(x)


class Bidirectional(Wrapper):
    """A recurrent layer from the start and one from the end, together.

    Args:
        layer: The layer; a copy of it goes backwards.
        merge_mode: "concat", "sum", "mul", "ave", or None for both.
        backward_layer: The layer for the other direction, when it is no copy.

    Input shape: as of `layer`. Output shape: twice its last axis for "concat", else its own; with
    `return_state` the states of both directions follow.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import GRU, Bidirectional
        >>> Bidirectional(GRU(3))(np.ones((2, 5, 4))).shape
        (2, 6)
    """

    merge_mode: str | None = "concat"
    backward_layer: Any = dataclasses.field(default=None, kw_only=True)

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
        for layer in (self.forward, self.backward):  # else what is repeated would stand elsewhere
            layer.zero_output_for_mask = layer.return_sequences
        for what in ("return_sequences", "return_state", "stateful"):
            if getattr(self.forward, what) != getattr(self.backward, what):
                raise ConfigError(f"Bidirectional: {what} must be the same in both directions")
        if self.forward.go_backwards == self.backward.go_backwards:
            raise ConfigError("Bidirectional: go_backwards must differ between the directions")

    def call(self, sequences: Tensor, initial_state: Any = None, mask: Tensor | None = None) -> Any:
        """Return both directions' outputs, merged.

        Args:
            sequences: (batch, steps, ...).
            initial_state: The states of the forward layer, then those of the backward layer.
            mask: Which steps count.
        """
        half = len(initial_state) // 2 if initial_state is not None else 0
        states = [initial_state[:half], initial_state[half:]] if half else [None, None]
        first = self.forward(sequences, initial_state=states[0], mask=mask)
        second = self.backward(sequences, initial_state=states[1], mask=mask)
        last = []
        if self.layer.return_state:
            last = [*first[1:], *second[1:]]
            first, second = first[0], second[0]
        if self.layer.return_sequences:
            second = ops.flip(second, 1)
        merged = self._merge(first, second)
        if not last:
            return merged
        return [*(merged if isinstance(merged, list) else [merged]), *last]

    def _merge(self, first: Tensor, second: Tensor) -> Any:
        if self.merge_mode == "concat":
            return ops.concatenate([first, second], -1)
        if self.merge_mode == "sum":
            return first + second
        if self.merge_mode == "mul":
            return first * second
        return (first + second) * 0.5 if self.merge_mode == "ave" else [first, second]

    def compute_mask(self, x: Any, mask: Tensor | None) -> Any:
        """Steps go on only when all are returned."""
        found = self.forward.compute_mask(x, mask)
        if not isinstance(found, list):
            return found
        both = found[:1] * (1 if self.merge_mode else 2)
        return both + found[1:] + found[1:]

    def reset_state(self) -> None:
        """Set the states of a stateful layer to zero."""
        self.forward.reset_state()
        self.backward.reset_state()


class TimeDistributed(Wrapper):
    """A layer applied to each step.

    Args:
        layer: The layer; it sees (batch * steps, ...).

    Input shape: (batch, steps, ...). Output shape: (batch, steps, what the layer makes of a step).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dense, TimeDistributed
        >>> TimeDistributed(Dense(4))(np.ones((2, 5, 3))).shape
        (2, 5, 4)
    """

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (batch, steps, ...)."""
        steps = x.known_shape[1]
        if isinstance(steps, str):
            raise ShapeError("TimeDistributed needs to know the number of steps")
        flat = ops.reshape(x, [-1, *(int(n) for n in x.known_shape[2:])])
        if mask is not None and mask.ndim > 2:  # steps within a step
            inside = [-1, *(int(n) for n in mask.known_shape[2:])]
            x.graph.root().masks[flat] = ops.reshape(mask, inside)
        y = self.layer(flat)
        return ops.reshape(y, [-1, steps, *(int(n) for n in shape_of(y)[1:])])


class SpectralNormalization(Wrapper):
    """A layer whose kernel has the largest singular value 1 (Miyato et al., 2018).

    In training the kernel is divided by what a power iteration estimates, and stays so.

    Args:
        layer: The layer; with a kernel, or an embedding.
        power_iterations: Iterations in a step of training.

    Input and output shape: the layer's. Weights: the layer's and vector_u (1, the kernel's last
    axis).

    Raises:
        ConfigError: the layer has no kernel.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dense, SpectralNormalization
        >>> SpectralNormalization(Dense(4))(np.ones((2, 3))).shape
        (2, 4)
    """

    power_iterations: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power_iterations < 1:
            raise ConfigError(
                "SpectralNormalization: power_iterations: expected a positive number, received "
                f"{self.power_iterations}"
            )

    def build(self, input_shape: Any) -> None:
        """Build the layer, and make the vector that the iterations start from."""
        self.layer.build_once(input_shape)
        names = [name for name in ("kernel", "embeddings") if hasattr(self.layer, name)]
        if not names:
            raise ConfigError(
                f"SpectralNormalization: {type(self.layer).__name__} has no kernel to normalize"
            )
        self._name = names[0]
        kernel: Parameter = getattr(self.layer, self._name)
        self.vector_u = self.add_weight(
            "vector_u", (1, kernel.shape[-1]), TruncatedNormal(stddev=0.02), trainable=False
        )
        before = kernel.constraint
        # What the optimizer makes of the kernel has another largest singular value again.
        kernel.constraint = lambda w: self._divided(before(w) if before else w)[0]

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the layer's output."""
        if not training:
            return self.layer(x)
        kernel = as_tensor(getattr(self.layer, self._name))
        divided, vector = self._divided(kernel)
        self.update(self.vector_u, vector)
        parameter = getattr(self.layer, self._name)
        # The gradient is that of the divided kernel, which is what the optimizer changes.
        setattr(self.layer, self._name, kernel + ops.stop_gradient(divided - kernel))
        try:
            return self.layer(x)
        finally:
            setattr(self.layer, self._name, parameter)

    def _divided(self, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernel with the largest singular value 1, and the iterations' last vector."""
        w = ops.reshape(kernel, [-1, kernel.static_shape[-1]])
        u, back = self.latest(self.vector_u), ops.transpose(w)
        for _ in range(self.power_iterations):
            v = _unit(ops.matmul(u, back))
            u = _unit(ops.matmul(v, w))
        sigma = ops.reshape(ops.matmul(ops.matmul(v, w), ops.transpose(u)), [])
        return kernel / ops.where(ops.equal(sigma, 0.0), 1.0, sigma), u


def _unit(x: Tensor) -> Tensor:
    return x / ops.maximum(ops.norm(x), 1e-7)
