"""Graphs from ONNX files, and back."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeml.errors import ModelFormatError
from edgeml.graph._infer import onnx, plain, to_dtype, to_elem_type
from edgeml.graph._ir import Array, Graph, Node, Shape, Tensor
from edgeml.runtime._load import resolve

_FOLD = 4096  # shape arithmetic is on small arrays; weights are never folded


def from_onnx(
    model: Any, shapes: Mapping[str, Sequence[int | str]] | None = None, *,
    dims: Mapping[str, int] | None = None,
) -> Graph:  # fmt: skip
    """Read an ONNX model.

    Shape arithmetic that becomes constant with the given shapes is folded. Models older than
    opset 18 are raised to it; local functions are inlined; initializers keep their names.

    Args:
        model: Path of a file, or an ``onnx.ModelProto``.
        shapes: New shapes of inputs, by name.
        dims: Numbers for symbolic dimensions, by name: ``{"batch": 32}``.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: the file is no model, or its operators cannot be raised to opset 18.
        ShapeError: the shapes do not fit.

    Example:
        >>> import numpy as np, edgeml
        >>> model = edgeml.Sequential([edgeml.Input((2,)), edgeml.layers.Dense(1)])
        >>> model.save("/tmp/edgeml-example.onnx")
        >>> [node.op for node in edgeml.graph.from_onnx("/tmp/edgeml-example.onnx").nodes]
        ['MatMul', 'Add']
    """
    proto = read_proto(model)
    graph = Graph()
    graph.opsets = {entry.domain.replace("ai.onnx", "") if entry.domain == "ai.onnx"
                    else entry.domain: entry.version for entry in proto.opset_import}  # fmt: skip
    graph.opsets.setdefault("", Graph.OPSET)
    graph.metadata = {entry.key: entry.value for entry in proto.metadata_props}
    _Reader(graph, dict(shapes or {}), dict(dims or {})).read(proto.graph, {})
    return graph


def read_proto(model: Any) -> Any:
    """Return the ModelProto of a file, raised to opset 18 or newer, local functions inlined.

    Files are named as for `edgeml.load`: a path, ``"edgeml:NAME"`` or a URL.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: the file is no model, or cannot be raised.
    """
    return _modern(*_load(model))


def _load(model: Any) -> tuple[Any, str]:
    if not isinstance(model, (str, os.PathLike)):
        return model, model.graph.name or "the model"
    path = resolve(model)
    load = onnx().load  # where it is not installed, that is no fault of the file
    try:
        proto = load(str(path))
    except Exception as error:
        raise ModelFormatError(f"{path} is not an ONNX model: {error}", path=str(path)) from error
    if not proto.graph.node and not proto.graph.output:
        raise ModelFormatError(f"{path} is not an ONNX model: it holds no graph", path=str(path))
    return proto, str(path)


def _modern(proto: Any, name: str) -> Any:
    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    version = max((e.version for e in proto.opset_import if e.domain in ("", "ai.onnx")), default=0)
    if not version or version >= Graph.OPSET:
        return proto
    from onnx import version_converter

    try:
        return version_converter.convert_version(proto, Graph.OPSET)
    except Exception as error:
        raise ModelFormatError(
            f"{name} has opset {version}, and cannot be raised to {Graph.OPSET}: {error}; "
            "export it again with opset 18 or newer",
            path=name,
        ) from error


def read_nodes(graph: Graph, nodes: Iterable[Any], known: dict[str, Tensor]) -> None:
    """Append NodeProtos to a graph; `known` has what they use, and gets what they make."""
    reader = _Reader(graph, {}, {})
    given = set(known.values())
    for node in nodes:
        reader.node(node, known)
    for tensor in set(known.values()) - given:
        tensor.name = None  # their names belong to the definition


class _Reader:
    def __init__(
        self, graph: Graph, shapes: dict[str, Sequence[int | str]], dims: dict[str, int]
    ) -> None:
        self._graph = graph
        self._shapes = shapes
        self._dims = dims

    def read(self, proto: Any, outer: Mapping[str, Tensor]) -> None:
        graph = self._graph
        known: dict[str, Tensor] = dict(outer)
        for tensor in proto.initializer:
            known[tensor.name] = graph.initializer(
                tensor.name, onnx().numpy_helper.to_array(tensor)
            )
        own = {tensor.name for tensor in proto.initializer}
        for info in proto.input:
            if info.name not in own:
                known[info.name] = graph.input(info.name, *self._input_type(info))
        for node in proto.node:
            self.node(node, known)
        for info in proto.output:
            made = graph.outputs[info.name] = known[info.name]
            if made.shape is None:  # what ONNX cannot infer the file may know
                made.shape = self._input_type(info)[1]

    def _input_type(self, info: Any) -> tuple[Any, Shape]:
        tensor = info.type.tensor_type
        dtype = to_dtype(tensor.elem_type) if tensor.elem_type else np.dtype(np.float32)
        if info.name in self._shapes:
            return dtype, tuple(self._shapes[info.name])
        if not tensor.HasField("shape"):
            return dtype, None
        dims = [
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{info.name}_{i}"
            for i, dim in enumerate(tensor.shape.dim)
        ]
        return dtype, tuple(self._dims.get(d, d) if isinstance(d, str) else d for d in dims)

    def node(self, proto: Any, known: dict[str, Tensor]) -> None:
        """Append one NodeProto."""
        graph = self._graph
        if proto.op_type == "Constant" and proto.domain in ("", "ai.onnx"):
            made = known[proto.output[0]] = graph.initializer(proto.output[0], _constant(proto))
            made.from_constant = True
            return
        inputs = [known[name] if name else None for name in proto.input]
        if proto.op_type == "If" and inputs[0] is not None and inputs[0].value is not None:
            self._branch(proto, bool(np.all(inputs[0].value)), known)
            return
        attributes = {a.name: self._attribute(a, known, inputs, proto) for a in proto.attribute}
        folded = _fold(proto, inputs, graph.opsets)
        if folded is not None:
            for name, value in folded.items():
                known[name] = graph.initializer(name, value)
                known[name].from_constant = True
            return
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        bodies = [value for value in attributes.values() if isinstance(value, Graph)]
        node = graph.node(
            proto.op_type, inputs, attributes, outputs=len(proto.output), domain=domain,
            name=proto.name, types=_control_flow(proto, bodies, inputs) if bodies else None,
        )  # fmt: skip
        for name, tensor in zip(proto.output, node.outputs, strict=True):
            if name and tensor is not None:
                tensor.name = name
                known[name] = tensor
        node.outputs = [
            tensor if name else None
            for name, tensor in zip(proto.output, node.outputs, strict=True)
        ]

    def _branch(self, proto: Any, condition: bool, known: dict[str, Tensor]) -> None:
        """Append the side of an If that is taken always."""
        wanted = "then_branch" if condition else "else_branch"
        side = next(a.g for a in proto.attribute if a.name == wanted)
        inner = dict(known)
        for tensor in side.initializer:
            value = onnx().numpy_helper.to_array(tensor)
            inner[tensor.name] = self._graph.initializer(tensor.name, value)
        for node in side.node:
            self.node(node, inner)
        for name, info in zip(proto.output, side.output, strict=True):
            known[name] = inner[info.name]

    def _attribute(
        self, proto: Any, known: Mapping[str, Tensor], inputs: Sequence[Tensor | None], node: Any
    ) -> Any:
        if proto.HasField("g"):
            body = Graph(parent=self._graph)
            _Reader(body, _body_shapes(proto.g, inputs, node), self._dims).read(proto.g, known)
            return body
        if proto.HasField("t"):
            return onnx().numpy_helper.to_array(proto.t)
        value = onnx().helper.get_attribute_value(proto)
        return value.decode() if isinstance(value, bytes) else value


def _body_shapes(body: Any, inputs: Sequence[Tensor | None], node: Any) -> dict[str, Any]:
    """Shapes of a Scan's or Loop's inner inputs, which files often leave out."""
    outer = [tensor.shape if tensor is not None else None for tensor in inputs]
    names = [info.name for info in body.input]
    if node.op_type == "Loop":
        found = dict(zip(names, [(), (), *outer[2:]], strict=False))
    elif node.op_type == "Scan":
        scans = next(a.i for a in node.attribute if a.name == "num_scan_inputs")
        axes = next((a.ints for a in node.attribute if a.name == "scan_input_axes"), [0] * scans)
        state = len(outer) - scans
        cut = [
            None if shape is None else (*shape[:axis], *shape[axis + 1 :])
            for shape, axis in zip(outer[state:], axes, strict=True)
        ]
        found = dict(zip(names, [*outer[:state], *cut], strict=True))
    else:
        found = {}
    return {name: shape for name, shape in found.items() if shape is not None}


def _control_flow(
    proto: Any, bodies: Sequence[Graph], inputs: Sequence[Tensor | None]
) -> list[tuple[Any, Shape]]:
    made = [(x.dtype, x.shape) for x in bodies[0].outputs.values()]
    if proto.op_type == "If":
        other = [x.shape for x in bodies[1].outputs.values()]
        return [(dtype, _either(a, b)) for (dtype, a), b in zip(made, other, strict=True)]
    if proto.op_type == "Loop":
        state = len(inputs) - 2
        made = made[1:]
        steps: int | str = f"{proto.output[0]}_steps"
    else:
        scans = next(a.i for a in proto.attribute if a.name == "num_scan_inputs")
        state = len(inputs) - scans
        first = inputs[state]
        steps = first.shape[0] if first is not None and first.shape else f"{proto.name}_steps"
    axes = next((a.ints for a in proto.attribute if a.name == "scan_output_axes"), None)
    found: list[tuple[Any, Shape]] = list(made[:state])
    for i, (dtype, shape) in enumerate(made[state:]):
        axis = axes[i] if axes else 0
        found.append((dtype, None if shape is None else (*shape[:axis], steps, *shape[axis:])))
    return found


def _either(a: Shape, b: Shape) -> Shape:
    """Return what two shapes have in common."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(m if m == n else f"{m}|{n}" for m, n in zip(a, b, strict=True))


def _constant(proto: Any) -> Array:
    attribute = proto.attribute[0]
    value = onnx().helper.get_attribute_value(attribute)
    if attribute.name == "value":
        array: Array = onnx().numpy_helper.to_array(value)
        return array
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
             "value_ints": np.int64}  # fmt: skip
    return np.asarray(value, dtype=kinds.get(attribute.name, object))


def _fold(
    proto: Any, inputs: Sequence[Tensor | None], opsets: Mapping[str, int]
) -> dict[str, Array] | None:
    """Return the outputs of shape arithmetic on constants, or None."""
    if proto.op_type in ("Shape", "Size"):
        shape = inputs[0].shape if inputs[0] is not None else None
        if shape is None or any(isinstance(dim, str) for dim in shape):
            return None
        values: list[Array] = [np.broadcast_to(np.float32(0), shape)]  # type: ignore[arg-type]
    elif not inputs or proto.domain not in ("", "ai.onnx") or proto.op_type in _NOT_FOLDED:
        return None
    else:
        values = []
        for tensor in inputs:
            value = tensor.value if tensor is not None else None
            if tensor is not None and (value is None or value.size > _FOLD):
                return None
            values.append(value)  # type: ignore[arg-type]
        real = [x for x in inputs if x is not None and x.dtype.kind == "f"]
        if any(not x.from_constant for x in real) or (not real and not values):
            return None  # weights, biases and scales are not shape arithmetic
    return _evaluate(proto, values, opsets)


_NOT_FOLDED = frozenset(
    [
        "If",
        "Loop",
        "Scan",
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "Dropout",
        "DequantizeLinear",
        "QuantizeLinear",
        "Conv",
        "ConvInteger",
        "MatMulInteger",
    ]
)


def _evaluate(
    proto: Any, values: Sequence[Array | None], opsets: Mapping[str, int]
) -> dict[str, Array] | None:
    from onnx.reference import ReferenceEvaluator

    feeds = {name: value for name, value in zip(proto.input, values, strict=True) if name}
    node = onnx().NodeProto()
    node.CopyFrom(proto)
    helper = onnx().helper
    infos = [helper.make_value_info(name, helper.make_tensor_type_proto(1, None)) for name in feeds]
    outs = [helper.make_value_info(n, helper.make_tensor_type_proto(1, None)) for n in proto.output]
    model = helper.make_model(
        helper.make_graph([node], "fold", infos, outs),
        opset_imports=[helper.make_opsetid("", opsets[""])],
    )
    try:
        results = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # an operator that the reference lacks stays a node
        return None
    if any(np.asarray(value).size > _FOLD for value in results):
        return None
    return dict(zip(proto.output, map(np.asarray, results), strict=True))


def live_nodes(targets: Iterable[Tensor]) -> list[Node]:
    """Return the nodes that `targets` need, each after those that it depends on.

    Example:
        >>> import numpy as np, edgeml
        >>> graph = edgeml.function(lambda x: (x + 1.0) * 2.0).trace(np.ones(2))
        >>> [node.op for node in edgeml.graph.live_nodes(graph.outputs.values())]
        ['Add', 'Mul']
    """
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [
        (x.producer, False) for x in reversed(list(targets)) if x.producer is not None
    ]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
            continue
        if node in done:
            continue
        done.add(node)
        stack.append((node, True))
        makers = [tensor.producer for tensor in reversed(node.uses())]
        stack += [(maker, False) for maker in makers if maker is not None and maker not in done]
    return order


def to_onnx(graph: Graph, *, name: str = "edgeml", names: dict[Tensor, str] | None = None) -> Any:
    """Write a graph as an ``onnx.ModelProto``; what no output needs is left out.

    Args:
        graph: The graph; its inputs, outputs and named initializers keep their names.
        name: Name of the graph in the file.
        names: Filled with the name that each tensor got.

    Example:
        >>> import numpy as np, edgeml
        >>> graph = edgeml.function(lambda x: x + 1.0).trace(np.ones(2))
        >>> [node.op_type for node in edgeml.graph.to_onnx(graph).graph.node]
        ['Add']
    """
    writer = _Writer(names if names is not None else {})
    proto = writer.graph(graph, name)
    helper = onnx().helper
    domains = {node.domain for node in writer.nodes} - {"edgeml", ""}
    opsets = [helper.make_opsetid("", graph.opset)]
    opsets += [
        helper.make_opsetid(domain, graph.opsets.get(domain, 1)) for domain in sorted(domains)
    ]
    model = helper.make_model(proto, opset_imports=opsets, producer_name="edgeml")
    # The oldest format that can hold the opset: older runtimes open it, too.
    model.ir_version = max(8, helper.find_min_ir_version_for(opsets, ignore_unknown=True))
    for key, value in graph.metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model


class _Writer:
    def __init__(self, names: dict[Tensor, str]) -> None:
        self._names = names
        self._taken: set[str] = set()
        self._labels: set[str] = set()
        self._counter = itertools.count()
        self.nodes: list[Node] = []

    def graph(self, graph: Graph, name: str) -> Any:
        helper = onnx().helper
        nodes = live_nodes(graph.outputs.values())
        if graph.parent is not None:
            nodes = [node for node in nodes if node.output.graph is graph]
        self._reserve(graph, nodes)
        values: dict[Tensor, None] = {}
        protos: list[Any] = []
        for node in nodes:
            self.nodes.append(node)
            values.update({x: None for x in node.inputs if x is not None and _is_constant(x)})
            protos += self._node(node)
        outputs = []
        for label, tensor in graph.outputs.items():
            if self._name(tensor) != label:
                if _is_constant(tensor):
                    values[tensor] = None
                protos.append(helper.make_node("Identity", [self._name(tensor)], [label]))
            outputs.append(_info(label, tensor))
        if graph.parent is None:
            for node in nodes:  # constants that only the bodies use
                for body in node.subgraphs():
                    values.update(dict.fromkeys(_constants_within(body)))
            fixed = [tensor for tensor in values if _is_no_parameter(tensor)]
            protos = [*map(self._constant, fixed), *protos]
            initializers = [self._initializer(x) for x in values if not _is_no_parameter(x)]
        else:
            initializers = []  # a body's constants are its outermost graph's
        inputs = [_info(self._name(tensor), tensor) for tensor in graph.inputs]
        return helper.make_graph(protos, name, inputs, outputs, initializers)

    def _reserve(self, graph: Graph, nodes: Sequence[Node]) -> None:
        """Give away the names that must not change, first."""
        self._taken.update(graph.outputs)
        for tensor in graph.inputs:
            self._claim(tensor)
        made = {x for node in nodes for x in node.outputs if x is not None}
        for label, tensor in graph.outputs.items():
            if tensor in made and tensor not in self._names:
                self._names[tensor] = label
        for node in nodes:
            for x in (*node.inputs, *node.outputs):
                if x is not None and x.name:
                    self._claim(x)

    def _claim(self, tensor: Tensor) -> None:
        if tensor in self._names:
            return
        wanted = tensor.name or f"v{next(self._counter)}"
        name = wanted
        while name in self._taken:
            name = f"{wanted}_{next(self._counter)}"
        self._taken.add(name)
        self._names[tensor] = name

    def _name(self, tensor: Tensor | None) -> str:
        if tensor is None:
            return ""
        self._claim(tensor)
        return self._names[tensor]

    def _initializer(self, tensor: Tensor) -> Any:
        assert tensor.value is not None
        return onnx().numpy_helper.from_array(np.asarray(tensor.value), self._name(tensor))

    def _constant(self, tensor: Tensor) -> Any:
        value = self._initializer(tensor)
        return onnx().helper.make_node("Constant", [], [value.name], value=value)

    def _node(self, node: Node) -> list[Any]:
        helper = onnx().helper
        inputs = [self._name(x) for x in node.inputs]
        outputs = [self._name(x) for x in node.outputs]
        if node.domain == "edgeml":  # a boundary that only the gradient knows
            return [
                helper.make_node("Identity", [source], [target])
                for source, target in zip(inputs, outputs, strict=False)
            ]
        attributes = {
            key: self.graph(value, f"{node.op}_{key}") if isinstance(value, Graph) else value
            for key, value in node.attributes.items()
        }
        proto = helper.make_node(node.op, inputs, outputs, domain=node.domain, **plain(attributes))
        proto.name = self._node_name(node)
        return [proto]

    def _node_name(self, node: Node) -> str:
        name = node.name
        if name.endswith("/"):  # a scope, such as a layer's name
            name += node.op
        while name and name in self._labels:
            name = f"{name}_{next(self._counter)}"
        self._labels.add(name)
        return name


def _is_no_parameter(tensor: Tensor) -> bool:
    """Return whether a constant becomes a Constant node: a file's initializers may be trained."""
    nameless = tensor.name is None or tensor.from_constant
    return nameless and tensor.dtype.kind == "f" and tensor.size > 1


def _is_constant(tensor: Tensor) -> bool:
    return (
        tensor.producer is None and tensor.value is not None and tensor not in tensor.graph.inputs
    )


def _constants_within(body: Graph) -> list[Tensor]:
    found = [x for node in body.nodes for x in node.uses() if _is_constant(x)]
    found += [x for x in body.outputs.values() if _is_constant(x)]
    for node in body.nodes:
        for inner in node.subgraphs():
            found += _constants_within(inner)
    return found


def _info(name: str, tensor: Tensor) -> Any:
    return onnx().helper.make_tensor_value_info(name, to_elem_type(tensor.dtype), tensor.shape)
