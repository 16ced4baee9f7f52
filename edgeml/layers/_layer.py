"""The base of all layers: fields, build, call."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import re
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, dataclass_transform

import numpy as np

from edgeml import constraints, initializers, regularizers
from edgeml._names import snake
from edgeml.errors import ShapeError
from edgeml.graph import Graph, Tensor, as_tensor, current_graph, emit, function
from edgeml.graph._tree import leaves, map_leaves
from edgeml.layers._config import serialize
from edgeml.layers._parameter import Array, Parameter

_counts: Counter[str] = Counter()
_seeds = itertools.count()
_seed = 0
_DIMENSIONS = re.compile(r"_?([123])_d(?=_|$)")


def set_random_seed(seed: int) -> None:
    """Make the initial weights of the layers built from now on reproducible.

    Args:
        seed: Any integer; layers built in the same order then start with the same weights.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dense, set_random_seed
        >>> def start():
        ...     set_random_seed(1)
        ...     return Dense(2)(np.ones((1, 3)))
        >>> bool((start() == start()).all())
        True
    """
    global _seeds, _seed
    _seed, _seeds = seed, itertools.count()


def clear_names() -> None:
    """Start over with the layers' automatic names: the next Dense is ``dense`` again.

    Example:
        >>> from edgeml.layers import Dense, clear_names
        >>> clear_names()
        >>> Dense(1).name, Dense(1).name
        ('dense', 'dense_1')
    """
    _counts.clear()


@dataclass_transform(eq_default=False)
@dataclasses.dataclass(eq=False, repr=False, init=False)
class Layer:
    """A function of tensors with parameters.

    A subclass lists its arguments as fields, makes its parameters in `build` and computes in
    `call`. (Keras's way, an ``__init__`` that calls ``super().__init__(**kwargs)``, works too.)

    Args:
        name: Its name; by default the class's in snake case, with a number.
        trainable: Whether its parameters may be trained; False freezes it.

    Attributes:
        input: What it was last called on when a functional model was put together.
        output: What it made then: ``Model(model.inputs, model.layers[3].output)`` is a part.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Layer
        >>> class Scale(Layer):
        ...     start: float = 1.0
        ...     def build(self, input_shape):
        ...         self.factor = self.add_weight("factor", (input_shape[-1],), "ones")
        ...     def call(self, x):
        ...         return x * self.factor * self.start
        >>> Scale(2.0)(np.ones((1, 3))).tolist()
        [[2.0, 2.0, 2.0]]
    """

    name: str = dataclasses.field(default="", kw_only=True)
    trainable: bool = dataclasses.field(default=True, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__annotations__" in cls.__dict__ and "__init__" not in cls.__dict__:
            dataclasses.dataclass(eq=False, repr=False)(cls)

    def __init__(self, *, name: str = "", trainable: bool = True) -> None:
        self.name = name
        self.trainable = trainable
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields; a subclass that overrides this calls it first."""
        if not self.name:
            kind = _DIMENSIONS.sub(r"\1d", snake(type(self).__name__))
            count = _counts[kind]
            _counts[kind] += 1
            self.name = kind if not count else f"{kind}_{count}"
        self.built = False
        self.supports_masking = True
        self._parameters: dict[str, Parameter] = {}

    def build(self, input_shape: Any) -> None:
        """Make the parameters; called once, with the shape of the first input.

        Args:
            input_shape: A tuple, None for an unknown dimension; a list of them for several inputs.
        """

    def call(self, x: Any) -> Any:
        """Return the layer's output; may take ``training`` and ``mask``, too."""
        raise NotImplementedError(f"{type(self).__name__} has no call(self, x)")

    def compute_mask(self, x: Any, mask: Tensor | None) -> Any:
        """Return the mask of the output, or a list with one (or None) for each of several.

        By default the input's, where the steps are the same.
        """
        return mask

    def add_weight(
        self, name: str, shape: Sequence[int], initializer: Any = "glorot_uniform", *,
        trainable: bool = True, dtype: Any = np.float32, regularizer: Any = None,
        constraint: Any = None,
    ) -> Parameter:  # fmt: skip
        """Make a parameter.

        Args:
            name: Its name within the layer.
            shape: Its shape, in Keras's order.
            initializer: Name, initializer or ``fn(shape, rng)``.
            trainable: False for state, such as running statistics.
            dtype: Its dtype.
            regularizer: Name or ``fn(tensor) -> scalar`` that is added to the loss.
            constraint: Name or ``fn(weight) -> weight``: what it is kept to after each update.
        """
        graph = current_graph()
        scope = graph.root().scope if graph is not None else f"{self.name}/"
        rng = np.random.default_rng([_seed, next(_seeds)])
        value = np.asarray(initializers.get(initializer)(tuple(shape), rng)).astype(dtype)
        found = Parameter(f"{scope}{name}", value, trainable=trainable)
        found.constraint = constraints.get(constraint)
        self._parameters[name] = found
        if regularizer is not None:
            self._regularized().append((found, regularizers.get(regularizer)))
        return found

    def add_own_weight(self, name: str, shape: Sequence[int], kind: str = "") -> Parameter:
        """Make a parameter with the initializer, regularizer and constraint among the fields.

        Args:
            name: Its name within the layer.
            shape: Its shape, in Keras's order.
            kind: What the fields' names start with; by default the name.
        """
        kind = kind or name
        return self.add_weight(
            name, shape, getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer", None),
            constraint=getattr(self, f"{kind}_constraint", None),
        )  # fmt: skip

    def build_once(self, input_shape: Any) -> None:
        """Build, when that was not done yet; the parameters' names stand below the caller's."""
        if self.built:
            return
        graph = current_graph()
        root = Graph() if graph is None else graph.root()
        outer, root.scope = root.scope, f"{root.scope}{self.name}/"
        try:
            self.build(input_shape)
        finally:
            root.scope = outer
        self.built = True

    def add_loss(self, value: Tensor) -> None:
        """Add a scalar to the loss of the model that is being traced."""
        value.graph.root().losses.append(value)

    def update(self, parameter: Parameter, value: Tensor) -> None:
        """Give a state parameter a new value at the end of each training step."""
        graph = value.graph.root()
        graph.updates[graph.parameter(parameter)] = value

    def latest(self, parameter: Parameter) -> Tensor:
        """Return a state parameter's value after the calls of this layer so far."""
        graph = current_graph()
        assert graph is not None
        tensor: Tensor = graph.root().parameter(parameter)
        return graph.root().updates.get(tensor, tensor)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the layer to tensors; to arrays, at once."""
        tensors = [value for value in leaves([args, kwargs]) if isinstance(value, Tensor)]
        if not tensors:
            return self._eagerly()(*args, **kwargs)
        if current_graph() is not None:
            return self._trace(tensors[0].graph.root(), args, kwargs)
        graph = tensors[0].graph
        for tensor in tensors[1:]:
            if tensor.graph is not graph:
                graph.merge(tensor.graph)
        with graph:
            result = self._trace(graph, args, kwargs)
            # An output that is the input itself would make the two indistinguishable.
            result = map_leaves(lambda y: emit("Identity", y) if y in tensors else y, result)
        self._call = Call(self, args, kwargs, result)
        graph.history.append(self._call)
        return result

    if not TYPE_CHECKING:  # type checkers are to know the attributes that there are

        def __getattr__(self, name: str) -> Any:
            """Return ``input`` or ``output``: of the last call when a model was put together.

            They are no properties, so that a layer may have attributes of these names.
            """
            if name in ("input", "output"):
                return self._symbolic(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _symbolic(self, which: str) -> Any:
        call: Call | None = self.__dict__.get("_call")
        if call is None:
            raise AttributeError(
                f"{self.__dict__.get('name', 'the layer')!r} has no {which}: it was not called on "
                "an Input, or on what other layers made of one"
            )
        if which == "output":
            return call.result
        return call.args[0] if len(call.args) == 1 else list(call.args)

    def _trace(self, graph: Graph, args: Any, kwargs: dict[str, Any]) -> Any:
        outer, training = graph.scope, graph.training
        accepted = _parameters_of(type(self).call)
        graph.scope = f"{outer}{self.name}/"
        try:
            if not self.built:
                self.build(map_leaves(shape_of, args[0] if len(args) == 1 else list(args)))
                self.built = True
            asked = kwargs.pop("training", None) if "training" in kwargs else None
            if asked is not None:
                graph.training = bool(asked)
            if "training" in accepted:
                kwargs = {**kwargs, "training": graph.training}
            first = next(iter(leaves(args)), None)
            mask = graph.masks.get(first) if isinstance(first, Tensor) else None
            if "mask" in accepted:
                given = kwargs.get("mask")
                mask = mask if given is None else map_leaves(as_tensor, given)
                kwargs = {**kwargs, "mask": mask}
            start = len(graph.nodes)
            result = self.call(*args, **kwargs)
            for change in self.__dict__.get("_passes", ()):
                result = change(graph.nodes[start:], result)
            self._add_penalties(graph, result)
        except ShapeError as error:
            if hasattr(error, "layer"):
                raise
            raise ShapeError(f"layer {self.name!r}: {error}", layer=self.name) from error
        finally:
            graph.scope, graph.training = outer, training
        if self.supports_masking:
            out = self.compute_mask(args[0] if args else None, mask)
            made = leaves(result)
            each = out if isinstance(out, list) else [out] * len(made)
            graph.masks.update({y: m for y, m in zip(made, each, strict=True) if m is not None})
        return result

    def enable_lora(
        self, rank: int, a_initializer: Any = "he_uniform", b_initializer: Any = "zeros",
        lora_alpha: float | None = None,
    ) -> None:  # fmt: skip
        """Freeze the kernel, and train a low-rank change of it instead (LoRA).

        What is computed is the same at first. A model's file holds merged weights; the adapters
        alone are written by `Model.save_lora_weights`.

        Args:
            rank: Rank of the change: of a kernel (n, m) it trains ``rank * (n + m)`` values.
            a_initializer: Initializer of the first factor.
            b_initializer: Initializer of the second; with zeros nothing changes at first.
            lora_alpha: The change is multiplied by ``lora_alpha / rank``; None: by 1.

        Raises:
            ConfigError: the layer has no kernel, is not built, or is adapted already.
        """
        from edgeml.layers._lora import enable_lora

        enable_lora(self, rank, a_initializer, b_initializer, lora_alpha)

    def _eagerly(self) -> Any:
        if "_eager" not in self.__dict__:
            self._eager = function(self)
        return self._eager

    def _regularized(self) -> list[tuple[Parameter, Any]]:
        return self.__dict__.setdefault("_regularizers", [])  # type: ignore[no-any-return]

    def _add_penalties(self, graph: Graph, result: Any) -> None:
        activity = regularizers.get(getattr(self, "activity_regularizer", None))
        if activity is not None:
            for y in leaves(result):  # as a mean over the batch: its size makes no difference
                if y.shape is not None and isinstance(y.shape[0], int):  # else: being built
                    self.add_loss(activity(y) * (1.0 / y.shape[0]))
        self.add_weight_penalties(graph)

    def add_weight_penalties(self, graph: Graph) -> None:
        """Add what the regularizers make of the parameters, once in a graph."""
        before = self.__dict__.get("_penalized")
        if before is not None and before() is graph:  # however often the layer is used
            return
        self._penalized = weakref.ref(graph)
        with graph:  # not in a loop's body, where a cell may be called
            for parameter, regularizer in self._regularized():
                self.add_loss(regularizer(graph.parameter(parameter)))

    @property
    def layers(self) -> list[Layer]:
        """The layers that this one holds in its attributes."""
        found: dict[int, Layer] = {}
        for key, value in vars(self).items():
            if key != "_eager":
                found.update({id(x): x for x in _layers_in(value)})
        return list(found.values())

    def flatten_layers(self) -> Iterator[Layer]:
        """Yield this layer and all within it."""
        yield self
        for layer in self.layers:
            yield from layer.flatten_layers()

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, of the layers within too; each once."""
        found = {id(p): p for p in self._parameters.values()}
        for layer in self.layers:
            found.update({id(p): p for p in layer.weights})
        return list(found.values())

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that training changes; none where a layer is frozen."""
        if not self.trainable:
            return []
        found = {id(p): p for p in self._parameters.values() if p.trainable}
        for layer in self.layers:
            found.update({id(p): p for p in layer.trainable_weights})
        return list(found.values())

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """The parameters that training does not change by gradients."""
        trained = {id(p) for p in self.trainable_weights}
        return [p for p in self.weights if id(p) not in trained]

    @property
    def variables(self) -> list[Parameter]:
        """The same as `weights`."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Parameter]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Parameter]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    def get_weights(self) -> list[Array]:
        """Return copies of all parameters, in Keras's shapes."""
        return [np.array(p.value) for p in self.weights]

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Set all parameters, in the order of `get_weights`.

        Raises:
            ShapeError: their number or a shape does not fit.
        """
        own = self.weights
        if len(own) != len(weights):
            raise ShapeError(
                f"{self.name!r} has {len(own)} weights, received {len(weights)}"
                + ("" if self.built else "; it is not built yet: call it once"),
                where=self.name, expected=len(own), received=len(weights),
            )  # fmt: skip
        for parameter, value in zip(own, weights, strict=True):
            parameter.value = value

    def count_params(self) -> int:
        """Return the number of values in all parameters."""
        return sum(int(np.prod(p.shape)) for p in self.weights)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal layer."""
        given = inspect.signature(type(self).__init__).parameters
        names = [name for name in given if name != "self" and hasattr(self, name)]
        config = {name: serialize(getattr(self, name)) for name in names}
        return {"name": self.name, "trainable": self.trainable, **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Return the layer that `get_config` described, without its weights."""
        from edgeml.layers._config import deserialize

        return cls(**{key: deserialize(value) for key, value in config.items()})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A layer's call while a functional model is put together."""

    layer: Layer
    args: Any
    kwargs: dict[str, Any]
    result: Any


def mask_of(tensor: Any) -> Tensor | None:
    """Return which steps of a traced tensor count, or None when they all do."""
    return tensor.graph.root().masks.get(tensor) if isinstance(tensor, Tensor) else None


def shape_of(tensor: Any) -> Any:
    """Return Keras's form of a shape: None for a dimension that is not known."""
    if not isinstance(tensor, Tensor):
        return None
    return tuple(None if isinstance(dim, str) else int(dim) for dim in tensor.known_shape)


@functools.cache
def _parameters_of(call: Any) -> frozenset[str]:
    return frozenset(inspect.signature(call).parameters)


def _layers_in(value: Any) -> list[Layer]:
    if isinstance(value, Layer):
        return [value]
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in _layers_in(item)]
    if isinstance(value, dict):
        return [x for item in value.values() for x in _layers_in(item)]
    return []
