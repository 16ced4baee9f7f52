"""Operators that the standard defines by a function of others, written out as those."""

from __future__ import annotations

from typing import Any

from edgeml.graph._infer import onnx, plain, to_elem_type
from edgeml.graph._ir import Node, Tensor
from edgeml.graph._onnx import read_nodes

_DOMAIN = "edgeml.expanded"


def expand(node: Node) -> list[Tensor] | None:
    """Return a node's outputs, made by the standard's definition of its operator.

    None where the standard has no such definition.
    """
    if node.domain or node.subgraphs():
        return None
    inputs = [f"i{i}" if x is not None else "" for i, x in enumerate(node.inputs)]
    outputs = [f"o{i}" if x is not None else "" for i, x in enumerate(node.outputs)]
    schema = _schema(node)
    if schema is None:
        return None
    proto = onnx().helper.make_node(node.op, inputs, outputs, **plain(node.attributes))
    proto.attribute.extend(
        given.default_value for name, given in schema.attributes.items()
        if name not in node.attributes and given.default_value.name
    )  # fmt: skip
    body = _body(schema, node, proto)
    known = {name: x for name, x in zip(inputs, node.inputs, strict=True) if x is not None}
    read_nodes(node.output.graph, _inlined(node, proto, body), known)
    first = known[outputs[0]]
    return [known.get(name, first) for name in outputs]


def _schema(node: Node) -> Any:
    """Return the operator's schema when it has a definition, else None."""
    try:
        found = onnx().defs.get_schema(node.op, node.output.graph.opset, "")
    except onnx().defs.SchemaError:
        return None
    return found if found.has_function or found.has_context_dependent_function else None


def _body(schema: Any, node: Node, proto: Any) -> Any:
    """Return the FunctionProto of the newest definition that the graph's opset knows."""
    opset = node.output.graph.opset
    if schema.has_function:
        version = max(v for v in schema.function_opset_versions if v <= opset)
        text = schema.get_function_with_opset_version(version)
    else:
        version = max(v for v in schema.context_dependent_function_opset_versions if v <= opset)
        text = schema.get_context_dependent_function_with_opset_version(
            version, proto.SerializeToString(), _types(node)
        )
    return onnx().FunctionProto.FromString(text)


def _types(node: Node) -> list[bytes]:
    make, empty = onnx().helper.make_tensor_type_proto, onnx().TypeProto()
    protos = [empty if x is None else make(to_elem_type(x.dtype), x.shape) for x in node.inputs]
    return [proto.SerializeToString() for proto in protos]


def _inlined(node: Node, proto: Any, body: Any) -> list[Any]:
    """Return the body's nodes with the node's names and attributes."""
    from onnx import inliner

    helper, opset = onnx().helper, node.output.graph.opset
    own, theirs = helper.make_opsetid(_DOMAIN, 1), helper.make_opsetid("", opset)
    body.domain = proto.domain = _DOMAIN
    del body.opset_import[:]
    body.opset_import.extend([theirs])
    pairs = zip(proto.input, node.inputs, strict=True)
    infos = [
        helper.make_tensor_value_info(name, to_elem_type(x.dtype), x.shape)
        for name, x in pairs if x is not None
    ]  # fmt: skip
    results = [
        helper.make_tensor_value_info(name, to_elem_type(x.dtype), x.shape)
        for name, x in zip(proto.output, node.outputs, strict=True) if x is not None
    ]  # fmt: skip
    model = helper.make_model(
        helper.make_graph([proto], node.op, infos, results), functions=[body],
        opset_imports=[theirs, own],
    )  # fmt: skip
    return list(inliner.inline_local_functions(model).graph.node)
