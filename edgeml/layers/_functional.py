"""Models put together from calls of layers on inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import GraphError
from edgeml.graph import Graph, Node, Tensor
from edgeml.graph._tree import leaves, map_leaves
from edgeml.layers._layer import Call, _counts

Entry = Call | Node


def Input(  # noqa: N802
    shape: Sequence[int | None] = (), batch_size: int | None = None, dtype: Any = "float32", *,
    batch_shape: Sequence[int | None] | None = None, name: str = "",
) -> Tensor:  # fmt: skip
    """Return the placeholder from which a functional model starts.

    Args:
        shape: Shape of one example, without the batch; None for a dimension that varies.
        batch_size: Number of examples, when it is fixed.
        dtype: dtype of the values.
        batch_shape: `batch_size` and `shape` as one.
        name: Name of the model's input.

    Example:
        >>> import edgeml
        >>> x = edgeml.Input((4,))
        >>> y = edgeml.layers.Dense(2)(x)
        >>> edgeml.Model(x, y).output_shape
        (None, 2)
    """
    if batch_shape is not None:
        batch_size, *shape = batch_shape
    if not name:
        count = _counts["input"]
        _counts["input"] += 1
        name = f"input_{count}" if count else "input"
    dims = [d if d is not None else f"{name}_{i + 1}" for i, d in enumerate(shape)]
    kind = np.dtype(object if dtype in ("string", "str", str) else dtype)
    return Graph().input(name, kind, (batch_size or "batch", *dims))


def entries_between(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Entry]:
    """Return the calls and operators that lead from `inputs` to `outputs`, in order.

    Raises:
        GraphError: an output needs an input that is not listed.
    """
    history: list[Entry] = outputs[0].graph.history
    maker: dict[Tensor, Entry] = {}
    for entry in history:
        made = leaves(entry.result) if isinstance(entry, Call) else entry.outputs
        maker.update({tensor: entry for tensor in made if tensor is not None})
    needed: set[int] = set()
    stack, seen = list(outputs), set(inputs)
    while stack:
        tensor = stack.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        found = maker.get(tensor)
        if found is None:
            if tensor.value is None:
                raise GraphError(
                    f"the outputs need {tensor!r}, which is none of the model's inputs "
                    f"({', '.join(str(x.name) for x in inputs)})"
                )
            continue
        needed.add(id(found))
        stack += _taken(found)
    return [entry for entry in history if id(entry) in needed]


def _taken(entry: Entry) -> list[Tensor]:
    if isinstance(entry, Call):
        return [x for x in leaves([entry.args, entry.kwargs]) if isinstance(x, Tensor)]
    return entry.uses()


def replay(
    entries: Sequence[Entry], known: dict[Tensor, Tensor], graph: Graph
) -> dict[Tensor, Tensor]:
    """Do the calls again on other tensors: `known` maps the placeholders to them."""

    def find(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value in known:
            return known[value]
        if value.parameter is not None:
            return graph.parameter(value.parameter)
        assert value.value is not None
        return graph.constant(value.value, value.dtype)

    for entry in entries:
        if isinstance(entry, Call):
            args, kwargs = map_leaves(find, (entry.args, entry.kwargs))
            result = entry.layer(*args, **kwargs)
            known.update(zip(leaves(entry.result), leaves(result), strict=True))
        else:
            inputs = [find(x) if x is not None else None for x in entry.inputs]
            made = graph.node(
                entry.op, inputs, entry.attributes, outputs=len(entry.outputs), domain=entry.domain
            )
            known.update(
                (old, new) for old, new in zip(entry.outputs, made.outputs, strict=True)
                if old is not None and new is not None
            )  # fmt: skip
    return known
