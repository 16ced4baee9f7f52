"""The blocks of a graph that can run in 8 bits: what the runtime fuses into one kernel."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from edgeml.quantize._index import Index, attribute

WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
"""With constant weights, they are what quantization is for."""
FOLLOWING = frozenset(
    {"Add", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid"}
)
"""With 8-bit kernels of their own, of use between blocks that are in 8 bits."""
PASSING = frozenset(
    {"DepthToSpace", "Flatten", "Gather", "MaxPool", "Reshape", "Resize", "Slice",
     "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""What only moves values: output and input share scale and zero point."""
_FUSED = frozenset({"Relu", "Clip"})


@dataclass(frozen=True)
class Block:
    """Nodes that run as one 8-bit kernel, and what is quantized around them.

    Args:
        name: Name of its first node.
        op: Operator of its first node.
        nodes: Names of its nodes.
        inputs: Tensors it reads that are quantized; constants of elementwise operators too.
        outputs: Tensors it makes that are quantized.
        weights: Initializers quantized one scale an output channel, with the channels' axis.
        bias: Name of the bias initializer, or "".
    """

    name: str
    op: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: dict[str, int] = field(default_factory=dict, hash=False)
    bias: str = ""

    @property
    def passes(self) -> bool:
        """Whether it only moves values."""
        return self.op in PASSING


def find_blocks(index: Index, kernels: Collection[str]) -> list[Block]:
    """Return the blocks of a graph, in its order.

    Args:
        index: The graph; each node has a name (`simplify` gives them).
        kernels: Operators that the target runs in 8 bits.
    """
    found: list[Block] = []
    taken: set[str] = set()
    for node in index.nodes:
        if node.name in taken or node.op_type not in kernels or node.domain not in ("", "ai.onnx"):
            continue
        block = _weighted(index, node) if node.op_type in WEIGHTED else _other(index, node)
        if block is not None:
            taken.update(block.nodes)
            found.append(block)
    return found


def connected(blocks: Iterable[Block], floating: Collection[str]) -> list[Block]:
    """Return the blocks to quantize, when those called `floating` stay float.

    Operators without weights are quantized only where a neighbour before them is: alone, the
    conversions around them would cost more than they gain.
    """
    chosen: list[Block] = []
    made: set[str] = set()
    for block in blocks:
        if block.name in floating:
            continue
        if block.op in WEIGHTED or any(name in made for name in block.inputs):
            chosen.append(block)
            made.update(block.outputs)
    return chosen


def _weighted(index: Index, node: Any) -> Block | None:
    inputs = list(node.input)
    constant = [name for name in inputs[1:2] if index.is_constant(name)]
    if index.is_constant(inputs[0]):
        return None
    if not all(index.is_float(name) for name in inputs if name):
        return None
    if node.op_type != "MatMul" and not constant:
        return None
    shapes = [index.shape(name) or () for name in constant]
    if any(len(shape) < 2 or 0 in shape for shape in shapes):
        return None
    if node.op_type == "Gemm" and not _plain_gemm(index, node):
        return None
    bias = inputs[2] if len(inputs) > 2 else ""
    if bias and not index.is_constant(bias):
        return None
    read = tuple(name for name in inputs[:2] if not index.is_constant(name))
    weights = {name: _channel_axis(index, node, name) for name in constant}
    nodes, output = _with_activation(index, node)
    return Block(node.name, node.op_type, nodes, read, (output,), weights, bias)


def _plain_gemm(index: Index, node: Any) -> bool:
    """Return whether the runtime has a kernel: no factors, rows first, one bias an output."""
    shape = index.shape(node.input[2]) if len(node.input) > 2 else (1,)
    return (
        attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
        and not attribute(node, "transA", 0)
        and shape is not None and len(shape) == 1
    )  # fmt: skip


def _channel_axis(index: Index, node: Any, name: str) -> int:
    shape = index.shape(name)
    assert shape is not None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return max(0, len(shape) - 1)


def _with_activation(index: Index, node: Any) -> tuple[tuple[str, ...], str]:
    """Return the block's nodes and its output: a Relu or Clip behind it runs within the kernel."""
    reader = index.sole_reader(node.output[0])
    if reader is not None and reader.op_type in _FUSED:
        return (node.name, reader.name), reader.output[0]
    return (node.name,), node.output[0]


def _other(index: Index, node: Any) -> Block | None:
    moved = [node.input[0]] if node.op_type in PASSING else list(node.input)
    outputs = [name for name in node.output if name]
    if not moved or not all(index.is_float(name) for name in moved):
        return None
    if node.op_type == "Resize" and attribute(node, "mode", "nearest") != "nearest":
        return None
    if node.op_type == "MaxPool" and len(outputs) > 1:
        return None
    if all(index.is_constant(name) for name in moved):
        return None
    nodes: tuple[str, ...] = (node.name,)
    if node.op_type == "Add":
        nodes, output = _with_activation(index, node)
        outputs = [output]
    return Block(node.name, node.op_type, nodes, tuple(dict.fromkeys(moved)), tuple(outputs))
