"""Tensor programs: graphs of ONNX operators, their files, and their gradients."""

from edgeml.graph._backward import gradients
from edgeml.graph._function import Function, function, grad, value_and_grad
from edgeml.graph._ir import Graph, Node, Tensor, as_tensor, current_graph, emit, emit_many
from edgeml.graph._onnx import from_onnx, live_nodes, to_onnx
from edgeml.graph._rules import lowering, no_grad, rule, supported_ops

__all__ = [
    "Function",
    "Graph",
    "Node",
    "Tensor",
    "as_tensor",
    "current_graph",
    "emit",
    "emit_many",
    "from_onnx",
    "function",
    "grad",
    "gradients",
    "live_nodes",
    "lowering",
    "no_grad",
    "rule",
    "supported_ops",
    "to_onnx",
    "value_and_grad",
]
