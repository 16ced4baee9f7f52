"""Models whose layers stand one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeml.errors import GraphError
from edgeml.graph import Tensor, current_graph
from edgeml.layers._functional import Input
from edgeml.layers._layer import Layer
from edgeml.training._model import Model


class Sequential(Model):
    """Layers one after the other.

    Args:
        layers: The layers; the first may be an `Input`.
        name: Its name.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.layers import Dense
        >>> model = edgeml.Sequential([Dense(8, activation="relu"), Dense(1)])
        >>> model.predict(np.ones((4, 3))).shape
        (4, 1)
    """

    def __init__(
        self, layers: Sequence[Any] = (), *, name: str = "", trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self._stack: list[Layer] = []
        self._start: Tensor | None = None
        for layer in layers:
            self.add(layer)

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return list(self._stack)

    def add(self, layer: Any) -> None:
        """Append a layer, or set the `Input` of an empty model."""
        if isinstance(layer, Tensor):
            if self._stack:
                raise GraphError("an Input comes first, before all layers")
            self._start = layer
            return
        if not isinstance(layer, Layer):
            raise GraphError(f"Sequential takes layers, received {type(layer).__name__}")
        self._stack.append(layer)
        self._rebuild()

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        if not self._stack:
            raise GraphError("there is no layer left to remove")
        layer = self._stack.pop()
        self._rebuild()
        return layer

    def _rebuild(self) -> None:
        self._release()
        self._predictor = None
        if self._start is not None and self._stack:
            y = self._start
            for layer in self._stack:
                y = layer(y)
            self._connect(self._start, y)

    def build(self, input_shape: Any) -> None:
        """Make all weights before there is data: the same as to start with an `Input`."""
        if self._start is None and self._stack and current_graph() is None:
            self._start = Input(input_shape[1:], batch_size=input_shape[0])
            self._rebuild()

    def call(self, x: Any) -> Any:
        """Apply the layers in order."""
        for layer in self._stack:
            x = layer(x)
        return x
