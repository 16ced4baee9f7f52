"""How much memory a step takes, from its graph alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from edgeml.errors import TrainingError
from edgeml.graph import Graph, Node, Tensor, live_nodes
from edgeml.training._state import State

# Operators whose output is their input's memory.
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "StopGradient",
                    "Held", "CustomGradient"})  # fmt: skip
# Operators that may write over an input of the same size that nobody needs any more.
_IN_PLACE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Tanh", "Exp", "Neg", "Clip", "Sqrt",
     "HardSigmoid", "Sign", "Abs", "Log", "Softmax", "Sum", "Max", "Min"}
)  # fmt: skip


def nbytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor with a static shape."""
    return tensor.size * tensor.dtype.itemsize


def peak_bytes(graph: Graph) -> int:
    """Return the most bytes that a graph's tensors take at one time, constants left out.

    The runtime frees a tensor after its last use, writes over inputs where it can, makes no copy
    for a view, and computes with 8-bit integers what stands between (de)quantization; this
    follows the order of the nodes with the same rules.
    """
    nodes = live_nodes(graph.outputs.values())
    root = _views(nodes)

    def source(tensor: Tensor) -> Tensor:
        while tensor in root:
            tensor = root[tensor]
        return tensor

    last: dict[Tensor, int] = {}
    for i, node in enumerate(nodes):
        last.update((source(x), i) for x in node.uses())
    last.update((source(y), len(nodes)) for y in graph.outputs.values())
    live = peak = 0
    for i, node in enumerate(nodes):
        made = [y for y in node.outputs if y is not None and y not in root]
        dying = [x for x in {source(x) for x in node.uses()}
                 if last[x] == i and x.producer is not None]  # fmt: skip
        live += sum(map(nbytes, made))
        if node.op in _IN_PLACE and any(nbytes(x) == nbytes(node.output) for x in dying):
            peak = max(peak, live - nbytes(node.output))
        else:
            peak = max(peak, live)
        live -= sum(map(nbytes, dying)) + sum(nbytes(y) for y in made if y not in last)
    return peak


def constant_bytes(graph: Graph) -> int:
    """Return the bytes of a graph's constants."""
    nodes = live_nodes(graph.outputs.values())
    used = {x for node in nodes for x in node.uses() if x.producer is None and x.value is not None}
    return sum(map(nbytes, used))


def _views(nodes: Sequence[Node]) -> dict[Tensor, Tensor]:
    """Return for each tensor that takes no memory of its own the one whose memory it is."""
    readers: dict[Tensor, list[Node]] = {}
    for node in nodes:
        for x in node.uses():
            readers.setdefault(x, []).append(node)
    integers = {node for node in nodes if _runs_on_integers(node, readers)}
    root: dict[Tensor, Tensor] = {}
    for node in nodes:
        read_by = readers.get(node.output, ())
        in_product = _is_fused(node, {reader.op for reader in read_by})
        dequantized = node.op == "DequantizeLinear" and integers.issuperset(read_by)
        if node.op in _VIEWS or in_product or dequantized:
            pairs = zip(node.outputs, node.inputs, strict=False)
            root.update((y, x) for y, x in pairs if x is not None and y is not None)
        elif node in integers:
            root[node.output] = readers[node.output][0].output
    return root


def _runs_on_integers(node: Node, readers: Mapping[Tensor, Sequence[Node]]) -> bool:
    """Return whether the runtime makes one operator on integers of dequantize, this, quantize."""
    made = [x.producer for x in node.uses() if x.dtype.kind == "f"]
    return [reader.op for reader in readers.get(node.output, ())] == ["QuantizeLinear"] and all(
        producer is not None and producer.op == "DequantizeLinear" for producer in made
    )


def _is_fused(node: Node, readers: Collection[str]) -> bool:
    """Return whether the runtime reads a transposed matrix as it lies, within a product."""
    if node.op != "Transpose" or not {"MatMul", "Gemm"}.issuperset(readers):
        return False
    perm = list(node.attr("perm") or reversed(range(node.x.ndim)))
    rank = len(perm)
    return rank >= 2 and perm == [*range(rank - 2), rank - 1, rank - 2]


# What was measured beside the tensors themselves: a session, and the allocator's gaps.
_SESSION = 10_000_000
_GAPS = 1.15
# Below this many bytes runs take their memory as one block, which is faster, beside the pieces of
# the first run; above, it matters more that memory is taken once.
_PLANNED = 16_000_000


def is_planned(peak: int) -> bool:
    """Return whether a step that needs so many bytes takes them as one block."""
    return peak < _PLANNED


def step_bytes(graph: Graph, state: State) -> int:
    """Return about how much a process grows with a step: session, tensors and state."""
    peak = peak_bytes(graph)
    constants = 2 * constant_bytes(graph)  # the runtime's, and those of the graph it came from
    tensors = int(peak * _GAPS) * (2 if is_planned(peak) else 1)
    return _SESSION + constants + tensors + state_bytes(state)


def state_bytes(state: State) -> int:
    """Return the bytes of parameters, optimizer's vectors and statistics, each held twice."""
    pairs = [*state.vectors.values(), *state.others.values()]
    return sum(array.nbytes for pair in pairs for array in pair)


def largest_batch(
    wanted: int, limit: int, predict: Callable[[int], int]
) -> tuple[int, Sequence[int]]:
    """Return the largest batch that divides `wanted` and fits, and the sizes that were tried.

    Raises:
        TrainingError: not even one example fits.
    """
    tried = []
    for parts in range(1, wanted + 1):
        if wanted % parts:
            continue
        size = wanted // parts
        tried.append(size)
        if predict(size) <= limit:
            return size, tried
    raise TrainingError(
        f"memory_limit={limit} bytes is too little: a step with one example takes about "
        f"{predict(1)} bytes. Train less of the model (trainable='head'), or make inputs smaller"
    )
