"""What a model is made of: layers between inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import GraphError
from edgeml.graph import Graph, Tensor, current_graph
from edgeml.graph import function as graph_function
from edgeml.graph._tree import leaves, map_leaves
from edgeml.layers._functional import entries_between, replay
from edgeml.layers._layer import Call, Layer, shape_of
from edgeml.layers._parameter import Parameter
from edgeml.training._parts import numbered

Array = np.ndarray[Any, Any]


class Network(Layer):
    """Layers put together: what they are, and how data goes through them; see `Model`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._inputs: list[Tensor] = []
        self._input_tree: Any = None
        self._outputs: Any = None
        self._entries: list[Any] = []
        self._names: list[str] = []
        self.known_inputs: dict[str, tuple[tuple[int, ...], Any]] = {}
        """Shapes and dtypes of the first batch, for a model without placeholders."""
        self._predictor: Any = None
        self._predicted: list[int] = []
        self._moving: list[Parameter] = []
        """What stateful layers carry from batch to batch."""

    def _connect(self, inputs: Any, outputs: Any) -> None:
        if outputs is None:
            raise GraphError("Model(inputs, outputs): outputs are missing")
        for tensor in leaves([inputs, outputs]):
            if not isinstance(tensor, Tensor):
                raise GraphError(
                    f"Model(inputs, outputs) takes what edgeml.Input() and layers return, "
                    f"received {type(tensor).__name__}"
                )
        self._input_tree, self._outputs = inputs, outputs
        self._inputs = leaves(inputs)
        self._names = [str(x.name) for x in self._inputs]
        self._entries = entries_between(self._inputs, leaves(outputs))
        self.built = True

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order of their calls; of a subclass, those in its attributes."""
        calls = [entry.layer for entry in self._entries if isinstance(entry, Call)]
        if calls:
            return list({id(layer): layer for layer in calls}.values())
        return super().layers

    def get_layer(self, name: str = "", index: int | None = None) -> Layer:
        """Return a layer by name or index.

        Raises:
            GraphError: there is none; the message has the names.
        """
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise GraphError(f"there is no layer {name!r}; there are {names}")

    @property
    def input_shape(self) -> Any:
        """Shape of the input, None for unknown dimensions; a list for several."""
        shapes = [shape_of(x) for x in self._inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """Shape of the output, None for unknown dimensions; a list for several."""
        return map_leaves(shape_of, self._outputs)

    def _symbolic(self, which: str) -> Any:
        if not self.__dict__.get("_inputs"):
            return super()._symbolic(which)
        return self._input_tree if which == "input" else self._outputs

    @property
    def entries(self) -> list[Any]:
        """The calls of layers and the operators between them, in order."""
        return self._entries

    @property
    def input_tree(self) -> Any:
        """The placeholders as they were given."""
        return self._input_tree

    @property
    def output_tree(self) -> Any:
        """The outputs as they were given."""
        return self._outputs

    @property
    def inputs(self) -> list[Tensor]:
        """The placeholders of a functional model."""
        return self._inputs

    @property
    def outputs(self) -> list[Tensor]:
        """The outputs of a functional model, as other models can start from them."""
        return leaves(self._outputs)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: a dict's keys, or those of the layers that make them."""
        if isinstance(self._outputs, Mapping):
            return sorted(self._outputs)
        made = {}
        for entry in self._entries:
            if isinstance(entry, Call):
                made.update(dict.fromkeys(leaves(entry.result), entry.layer.name))
        return [made.get(y, f"output_{i}") for i, y in enumerate(leaves(self._outputs))]

    def _unique_names(self, count: int) -> list[str]:
        """Return a name for each output that a model has when it runs."""
        names = self.output_names
        unique = len(set(names)) == count == len(names)
        return names if unique else [f"output_{i}" for i in range(count)]

    def call(self, *args: Any) -> Any:
        """Apply the layers again, to other tensors."""
        if not self._entries and not self._inputs:
            raise GraphError(
                f"{type(self).__name__} has neither inputs and outputs nor a call(self, x)"
            )
        given = args[0] if len(args) == 1 else list(args)
        if isinstance(given, Mapping) and not isinstance(self._input_tree, Mapping):
            values = [given[name] for name in self._names]
        else:
            values = leaves(given)
        if len(values) != len(self._inputs):
            raise GraphError(f"{self.name}: expected {len(self._inputs)} inputs, got {len(values)}")
        known = dict(zip(self._inputs, values, strict=True))
        found = replay(self._entries, known, values[0].graph)
        return map_leaves(lambda y: found.get(y, y), self._outputs)

    def compute_mask(self, x: Any, mask: Any) -> None:
        """Add no mask: its layers have given its outputs theirs."""

    def build(self, input_shape: Any) -> None:
        """Make all weights before there is data.

        Args:
            input_shape: Shape of the input with the batch, None where it is not known; a list or
                a dict of them.
        """
        if self.built or current_graph() is not None:  # or the layers' calls make them
            return
        if isinstance(input_shape, Mapping):
            shapes = dict(input_shape)
        elif isinstance(input_shape[0], (tuple, list)):
            shapes = {f"x_{i}": shape for i, shape in enumerate(input_shape)}
        else:
            shapes = {"x": input_shape}
        float32 = np.dtype(np.float32)
        self.build_from({
            name: ((shape[0] or 2, *[d or 1 for d in shape[1:]]), float32)
            for name, shape in shapes.items()
        })  # fmt: skip

    def build_from(self, shapes: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        """Build the layers for inputs of these shapes and dtypes, by name."""
        graph = Graph()
        with graph:
            self(self.arrange({n: graph.input(n, dtype, s) for n, (s, dtype) in shapes.items()}))
        self.known_inputs, self._names = dict(shapes), list(shapes)

    def arrange(self, x: dict[str, Any]) -> Any:
        """Return inputs by name as `call` takes them; (batch,) becomes (batch, 1) where needed."""
        if self._inputs:
            for tensor in self._inputs:
                value = x[str(tensor.name)]
                if value.ndim == 1 and tensor.ndim == 2:
                    x[str(tensor.name)] = ops.expand_dims(value, -1)
            return [x[name] for name in self._names] if len(x) > 1 else next(iter(x.values()))
        values = list(x.values())
        return values[0] if len(values) == 1 else x if not numbered(x) else values

    def reset_states(self) -> None:
        """Make stateful layers start anew."""
        for layer in self.flatten_layers():
            if layer is not self and hasattr(layer, "reset_state"):
                layer.reset_state()

    def _refresh(self) -> None:
        """Forget the graph for prediction when the layers have other parameters than it has."""
        known = [id(parameter) for parameter in self.weights]
        if known != self._predicted:
            self._predictor, self._predicted = None, known

    def _predict_batch(self, arrays: dict[str, Array]) -> list[Array]:
        self.known_inputs = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        if self._predictor is None:
            self._predictor = graph_function(self._forward)
        result, states = self._predictor(arrays)
        for parameter, value in zip(self._moving, states, strict=True):
            parameter.value = value
        self._result_tree = map_leaves(lambda _: 0, result)
        return leaves(result)

    def _forward(self, x: dict[str, Any]) -> Any:
        """Return the outputs, and the new states of stateful layers."""
        result = self(self.arrange(x))
        updates = leaves(result)[0].graph.root().updates
        self._moving = [tensor.parameter for tensor in updates]
        return result, list(updates.values())
