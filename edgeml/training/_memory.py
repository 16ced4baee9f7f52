"""How much memory a step takes, from its graph alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeml.errors import TrainingError
from edgeml.graph import Graph, Node, Tensor, live_nodes
from edgeml.training._state import State

# Operators whose output is their input's memory.
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "StopGradient",
                    "CustomGradient"})  # fmt: skip
# Operators that may write over an input of the same size that nobody needs any more.
_IN_PLACE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Tanh", "Exp", "Neg", "Clip", "Sqrt", "Where",
     "Sign", "Abs", "Log", "Softmax", "Sum", "Max", "Min"}
)  # fmt: skip


def nbytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor with a static shape."""
    return tensor.size * tensor.dtype.itemsize


def peak_bytes(graph: Graph) -> int:
    """Return the most bytes that a graph's tensors take at one time, constants included.

    The runtime frees a tensor after its last use, writes over inputs where it can, and makes no
    copy for a view; this follows the order of the nodes with the same rules.
    """
    nodes = live_nodes(graph.outputs.values())
    root: dict[Tensor, Tensor] = {}

    def source(tensor: Tensor) -> Tensor:
        while tensor in root:
            tensor = root[tensor]
        return tensor

    for node in nodes:
        if node.op in _VIEWS:
            pairs = zip(node.outputs, node.inputs, strict=False)
            root.update((y, x) for y, x in pairs if x is not None and y is not None)
    last: dict[Tensor, int] = {}
    for i, node in enumerate(nodes):
        for x in node.uses():
            last[source(x)] = i
    for y in graph.outputs.values():
        last[source(y)] = len(nodes)
    constants = {
        source(x) for node in nodes for x in node.uses()
        if source(x).producer is None and source(x).value is not None
    }  # fmt: skip
    live = peak = 0
    for i, node in enumerate(nodes):
        live += _made(node, i, last, source)
        peak = max(peak, live + _workspace(node))
        for used in {source(x) for x in node.uses()}:
            if last.get(used) == i and used.producer is not None:
                live -= nbytes(used)
        unused = (y for y in node.outputs if y is not None and y not in root and y not in last)
        live -= sum(map(nbytes, unused))
    return peak + sum(nbytes(x) for x in constants)


def _made(node: Node, at: int, last: dict[Tensor, int], source: Callable[[Tensor], Tensor]) -> int:
    """Return the bytes that a node's outputs add."""
    if node.op in _VIEWS:
        return 0
    return sum(nbytes(y) for y in node.outputs if y is not None)


def _workspace(node: Node) -> int:
    """Return the scratch memory of a kernel: packed columns of a convolution."""
    if node.op in _IN_PLACE:
        # Written over an input that dies here: counted twice above, so taken off again.
        inputs = [x for x in node.inputs if x is not None and x.producer is not None]
        fits = any(nbytes(x) == nbytes(node.output) for x in inputs)
        return -nbytes(node.output) if fits else 0
    return 0


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
