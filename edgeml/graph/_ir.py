"""The graph: tensors, the nodes that make them, and the graph that holds both."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from edgeml.errors import GraphError, InputError, ShapeError

Array = np.ndarray[Any, Any]
Dim = int | str  # a name stands for a dimension known only when the graph runs
Shape = tuple[Dim, ...] | None  # None: not even the rank is known

_CURRENT: contextvars.ContextVar[Graph | None] = contextvars.ContextVar("graph", default=None)


def current_graph() -> Graph | None:
    """Return the graph that is being traced, or None.

    Example:
        >>> import edgeml
        >>> edgeml.graph.current_graph() is None
        True
    """
    return _CURRENT.get()


class Tensor:
    """A value in a graph: what a node makes, an input, or a constant.

    Python's operators emit ONNX operators with NumPy's broadcasting::

        y = (x @ w + b) * 0.5

    Attributes:
        dtype: NumPy's dtype.
        shape: A tuple of ints, with a name (str) for each dimension that is not known yet;
            None when not even the rank is known.
        name: Its name in a file, or None to have one given when the graph is written.
        producer: The node that makes it; None for inputs and constants.
        value: The array of a constant or an initializer, else None.
    """

    __array_ufunc__ = None  # array * tensor comes to our __rmul__
    __slots__ = (
        "_value", "dtype", "from_constant", "graph", "name", "parameter", "producer", "shape",
    )  # fmt: skip

    def __init__(
        self, graph: Graph, dtype: Any, shape: Shape, name: str | None = None, *,
        producer: Node | None = None, value: Array | None = None, parameter: Any = None,
    ) -> None:  # fmt: skip
        self.graph = graph
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape = shape
        self.name = name
        self.producer = producer
        self.parameter = parameter
        self.from_constant = False
        """Whether a file has it as a Constant node: a number of the program, not a weight."""
        self._value = value

    def set_value(self, value: Array) -> None:
        """Give an initializer another array, of the same shape."""
        self._value = np.array(value, self.dtype)

    @property
    def value(self) -> Array | None:
        """The array of a constant; of a parameter, the array that it holds now."""
        if self.parameter is not None:
            return np.asarray(self.parameter.value)
        return self._value

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.known_shape)

    @property
    def known_shape(self) -> tuple[Dim, ...]:
        """The shape, when at least the rank is known.

        Raises:
            ShapeError: the rank is not known.
        """
        if self.shape is None:
            raise ShapeError(f"{self!r}: its rank is not known", where=self.name)
        return self.shape

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape, when each dimension is a number.

        Raises:
            ShapeError: a dimension is not known; bind it, for instance with a batch size.
        """
        dims = self.known_shape
        for dim in dims:
            if isinstance(dim, str):
                raise ShapeError(
                    f"{self!r}: dimension {dim!r} must be a number here: give the graph a "
                    "fixed shape, for instance a batch size",
                    where=self.name, received=dims,
                )  # fmt: skip
        return tuple(int(dim) for dim in dims)

    @property
    def size(self) -> int:
        """Number of elements of a static shape."""
        return int(np.prod(self.static_shape, dtype=np.int64))

    def __repr__(self) -> str:
        made = f" = {self.producer.op}" if self.producer else ""
        return f"<Tensor {self.name or ''}{made} {self.dtype}{_show(self.shape)}>"

    def __len__(self) -> int:
        return self.static_shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        raise TypeError(
            "a traced tensor has no truth value: use ops.where, or decide on Python values"
        )

    def __array__(self, *_args: Any, **_kwargs: Any) -> Array:
        raise TypeError(
            "a traced tensor has no numbers yet: NumPy functions do not work on it, use edgeml.ops"
        )

    def _emit(self, op: str, *inputs: Any) -> Tensor:
        return emit(op, *inputs, like=self)

    def __add__(self, other: Any) -> Tensor:
        return self._emit("Add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._emit("Add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._emit("Sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._emit("Sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._emit("Mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._emit("Mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._emit("Div", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._emit("Div", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return self._emit("Pow", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._emit("Pow", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self._emit("MatMul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._emit("MatMul", other, self)

    def __neg__(self) -> Tensor:
        return self._emit("Neg", self)

    def __abs__(self) -> Tensor:
        return self._emit("Abs", self)

    def __lt__(self, other: Any) -> Tensor:
        return self._emit("Less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return self._emit("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._emit("Greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._emit("GreaterOrEqual", self, other)

    def __getitem__(self, index: Any) -> Tensor:
        from edgeml.ops import getitem

        return getitem(self, index)


class Node:
    """One operator: what it takes, what it makes, and its attributes."""

    __slots__ = ("attributes", "domain", "inputs", "name", "op", "outputs")

    def __init__(
        self, op: str, inputs: Sequence[Tensor | None], attributes: dict[str, Any], *,
        domain: str = "", name: str = "",
    ) -> None:  # fmt: skip
        self.op = op
        self.domain = domain
        self.inputs: list[Tensor | None] = list(inputs)
        self.outputs: list[Tensor | None] = []
        self.attributes = attributes
        self.name = name

    def __repr__(self) -> str:
        label = f" {self.name!r}" if self.name else ""
        return f"<Node {self.op}{label}>"

    @property
    def output(self) -> Tensor:
        """The first output."""
        first = self.outputs[0]
        assert first is not None
        return first

    @property
    def x(self) -> Tensor:
        """The first input."""
        first = self.inputs[0]
        assert first is not None
        return first

    def input(self, i: int) -> Tensor | None:
        """Return input `i`, or None when an optional input is not given."""
        return self.inputs[i] if i < len(self.inputs) else None

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default` when it is not set."""
        return self.attributes.get(name, default)

    def extra_output(self, i: int) -> Tensor:
        """Return optional output `i`, asking the operator for it when nobody did before."""
        while len(self.outputs) <= i:
            self.outputs.append(None)
        found = self.outputs[i]
        if found is None:
            from edgeml.graph._infer import infer

            graph = self.output.graph
            dtype, shape = infer(self, graph.opsets, len(self.outputs))[i]
            found = self.outputs[i] = Tensor(graph, dtype, shape, producer=self)
        return found

    def subgraphs(self) -> list[Graph]:
        """Return the bodies of a control-flow operator."""
        return [value for value in self.attributes.values() if isinstance(value, Graph)]

    def uses(self) -> list[Tensor]:
        """Return all tensors that it needs: its inputs, and what its bodies take from outside."""
        found = [tensor for tensor in self.inputs if tensor is not None]
        for body in self.subgraphs():
            found += body.captures()
        return found


class Graph:
    """An ONNX graph under construction; see `from_onnx` and `to_onnx`.

    Args:
        opset: Version of the standard operators, 18 or newer.
        parent: The graph that a control-flow body stands in.

    Example:
        >>> from edgeml.graph import Graph
        >>> graph = Graph()
        >>> x = graph.input("x", "float32", ("batch", 4))
        >>> graph.outputs["y"] = x * 2.0 + 1.0
        >>> graph.outputs["y"].shape
        ('batch', 4)
    """

    OPSET: ClassVar[int] = 18

    def __init__(self, opset: int = OPSET, *, parent: Graph | None = None) -> None:
        self.parent = parent
        self.opsets: dict[str, int] = parent.opsets if parent else {"": opset}
        self.inputs: list[Tensor] = []
        self.outputs: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.metadata: dict[str, str] = {}
        self.updates: dict[Tensor, Tensor] = {}
        """New values of initializers that a training step keeps: running statistics."""
        self.training = False
        self.losses: list[Tensor] = []
        """Scalars that layers add to the loss."""
        self.masks: dict[Tensor, Tensor] = {}
        """Which steps of a sequence count, bool (batch, steps); kept beside the tensors."""
        self.history: list[Any] = []
        """What a functional model was put together from, in order."""
        self.scope = ""
        self.differentiated: frozenset[Tensor] = frozenset()
        """What depends on the variables, while gradients are taken: a lowering may ask."""
        self.seed: Tensor | None = None
        self.draws = 0
        self._constants: dict[Any, Tensor] = {}
        self._parameters: dict[int, Tensor] = {}
        self._tokens: list[contextvars.Token[Graph | None]] = []
        self.merged_into: Graph | None = None

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return self.opsets[""]

    def __enter__(self) -> Graph:
        self._tokens.append(_CURRENT.set(self))
        return self

    def __exit__(self, *_exc: object) -> None:
        _CURRENT.reset(self._tokens.pop())

    def input(self, name: str | None, dtype: Any, shape: Shape) -> Tensor:
        """Add an input and return it."""
        tensor = Tensor(self, dtype, shape, name)
        self.inputs.append(tensor)
        return tensor

    def initializer(self, name: str | None, value: Array) -> Tensor:
        """Return a named constant, such as the weights of a trained model."""
        return Tensor(self, value.dtype, value.shape, name, value=value)

    def parameter(self, parameter: Any) -> Tensor:
        """Return the tensor of a layer's parameter: one in each graph, however often it is used."""
        graph = self.root()
        found = graph._parameters.get(id(parameter))
        if found is None:
            value: Array = parameter.value
            found = Tensor(graph, value.dtype, value.shape, parameter.path, parameter=parameter)
            graph._parameters[id(parameter)] = found
        return found

    @property
    def parameters(self) -> list[Tensor]:
        """The tensors of the layers' parameters used so far."""
        return list(self._parameters.values())

    def random_key(self) -> tuple[Tensor, int]:
        """Return the input ``seed`` (uint32 [2]: seed and step), and a number for each draw."""
        graph = self.root()
        if graph.seed is None:
            graph.seed = Tensor(graph, np.uint32, (2,), "seed")
        graph.draws += 1
        return graph.seed, graph.draws

    def root(self) -> Graph:
        """Return the outermost graph."""
        graph = self
        while graph.parent is not None:
            graph = graph.parent
        return graph

    def constant(self, value: Any, dtype: Any = None) -> Tensor:
        """Return a constant tensor; float64 becomes float32 unless asked for."""
        array = np.asarray(value, dtype=dtype)
        if dtype is None and array.dtype == np.float64:
            array = array.astype(np.float32)
        if array.size > 16:
            return Tensor(self, array.dtype, array.shape, value=array)
        key = (array.dtype, array.shape, array.tobytes())
        graph = self.root()
        if key not in graph._constants:
            graph._constants[key] = Tensor(graph, array.dtype, array.shape, value=array)
        return graph._constants[key]

    def owns(self, tensor: Tensor) -> bool:
        """Return whether `tensor` may be used here: it is of this graph or of one around it."""
        graph: Graph | None = self
        while graph is not None:
            if tensor.graph is graph:
                return True
            graph = graph.parent
        return False

    def node(
        self, op: str, inputs: Sequence[Tensor | None], attributes: dict[str, Any] | None = None,
        *, outputs: int = 1, domain: str = "", name: str = "",
        types: Sequence[tuple[Any, Shape]] | None = None,
    ) -> Node:  # fmt: skip
        """Append an operator; its outputs' dtypes and shapes are inferred unless given as `types`.

        Raises:
            ShapeError: the inputs do not fit the operator or each other.
        """
        from edgeml.graph._infer import infer

        for tensor in inputs:
            if tensor is not None and not self.owns(tensor):
                raise GraphError(
                    f"{op}: {tensor!r} belongs to another trace: give it to the function as an "
                    "argument instead of using it from outside"
                )
        node = Node(op, inputs, attributes or {}, domain=domain, name=name or self.scope)
        found = types if types is not None else infer(node, self.opsets, outputs)
        node.outputs = [Tensor(self, dtype, shape, producer=node) for dtype, shape in found]
        self.nodes.append(node)
        if not self._tokens:
            self.history.append(node)
        return node

    def captures(self) -> list[Tensor]:
        """Return what the nodes use from the graphs around this one."""
        used = [tensor for node in self.nodes for tensor in node.uses()]
        used += self.outputs.values()
        return list(dict.fromkeys(tensor for tensor in used if tensor.graph is not self))

    def replace(self, new: dict[Tensor, Tensor]) -> None:
        """Make everything that used a key of `new` use its value instead."""
        for node in self.nodes:
            node.inputs = [new.get(x, x) if x is not None else None for x in node.inputs]
            for body in node.subgraphs():
                body.replace(new)
        self.outputs = {name: new.get(x, x) for name, x in self.outputs.items()}
        self.updates = {key: new.get(x, x) for key, x in self.updates.items()}

    def merge(self, other: Graph) -> None:
        """Take over all of `other`: two models under construction have met."""
        self.nodes += other.nodes
        self.inputs += other.inputs
        self.updates |= other.updates
        self.masks |= other.masks
        self.history += other.history
        self._constants |= other._constants
        self._parameters |= other._parameters
        own: list[Tensor] = [*other.inputs, *other._constants.values(), *other._parameters.values()]
        for node in other.nodes:
            own += [x for x in (*node.inputs, *node.outputs) if x is not None]
        for tensor in own:
            tensor.graph = self
        other.merged_into = self


def emit(
    op: str, *inputs: Any, domain: str = "", like: Tensor | None = None,
    types: Sequence[tuple[Any, Shape]] | None = None, **attributes: Any,
) -> Tensor:  # fmt: skip
    """Emit one ONNX operator into the graph of its inputs, and return its first output.

    Args:
        op: The operator's name, such as ``"Conv"``.
        inputs: Tensors, None for an optional input that is not given, or anything that becomes a
            constant. Python's numbers take the dtype of `like` (else of the first tensor).
        domain: The operator's domain; the standard's is empty.
        like: The tensor whose dtype Python's numbers take.
        types: (dtype, shape) of each output, for operators that ONNX cannot infer.
        attributes: ONNX attributes; those that are None are left out.

    Raises:
        ShapeError: the inputs do not fit.
        GraphError: nothing is being traced.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.graph.emit("Mish", x))(np.zeros(2)).tolist()
        [0.0, 0.0]
    """
    return emit_many(1, op, *inputs, domain=domain, like=like, types=types, **attributes)[0]


def emit_many(
    outputs: int, op: str, *inputs: Any, domain: str = "", like: Tensor | None = None,
    types: Sequence[tuple[Any, Shape]] | None = None, **attributes: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Emit one ONNX operator with several outputs; see `emit`.

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(lambda x: edgeml.graph.emit_many(2, "TopK", x, np.array([1])))(
        ...     np.array([1.0, 3.0]))
        (array([3.], dtype=float32), array([1], dtype=int64))
    """
    graph = _graph_of(op, inputs)
    if like is None:
        like = next((x for x in inputs if isinstance(x, Tensor)), None)
    tensors = [_as_tensor(graph, x, like) for x in inputs]
    while tensors and tensors[-1] is None:
        tensors.pop()
    given = {key: value for key, value in attributes.items() if value is not None}
    node = graph.node(op, tensors, given, outputs=outputs, domain=domain, types=types)
    return tuple(x for x in node.outputs if x is not None)


def with_vjp(
    values: Sequence[Tensor], arguments: Sequence[Tensor], vjp: Callable[..., Any]
) -> list[Tensor]:
    """Return `values`, whose gradient is what ``vjp(*gradients)`` returns for `arguments`.

    What `vjp` uses may depend on `arguments` through `held`: second derivatives go there.
    """
    node = values[0].graph.node(
        "CustomGradient", [*values, *arguments], {"vjp": vjp}, outputs=len(values), domain="edgeml"
    )
    return [x for x in node.outputs if x is not None]


def held(x: Tensor) -> Tensor:
    """Return `x` as the inside of a boundary made by `with_vjp` sees it: another tensor."""
    return x.graph.node("Held", [x], domain="edgeml").output


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """Return `value` as a tensor of the graph that is being traced.

    Example:
        >>> import edgeml
        >>> float(edgeml.function(lambda: edgeml.graph.as_tensor(2.0) * 3.0)())
        6.0
    """
    found = _as_tensor(_graph_of("a constant", [value, like]), value, like)
    assert found is not None
    return found


def _as_tensor(graph: Graph, value: Any, like: Tensor | None) -> Tensor | None:
    if value is None or isinstance(value, Tensor):
        return value
    if hasattr(value, "trainable") and hasattr(value, "path"):  # a layer's parameter
        return graph.parameter(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and like is not None:
        if like.dtype.kind in "iu" and not float(value).is_integer():
            raise InputError(
                f"{value} is no {like.dtype}: cast the tensor to float32 first, with ops.cast",
                expected=str(like.dtype), received=value,
            )  # fmt: skip
        return graph.constant(value, like.dtype)
    return graph.constant(value)


def _graph_of(op: str, inputs: Iterable[Any]) -> Graph:
    current = current_graph()
    if current is not None:
        return current
    found: Graph | None = None
    for value in inputs:
        if isinstance(value, Tensor):
            if found is None:
                found = value.graph
            elif value.graph is not found:
                found.merge(value.graph)
    if found is None:
        raise GraphError(
            f"{op}: nothing is being traced: call this inside edgeml.function(fn), in a layer's "
            "call(), or on the result of edgeml.Input()"
        )
    return found


def _show(shape: Shape) -> str:
    return "[?]" if shape is None else f"[{', '.join(map(str, shape))}]"
