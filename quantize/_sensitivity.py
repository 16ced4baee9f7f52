"""Which blocks lose most in 8 bits: each alone, in one session, by switches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._blocks import Block
from edgeml.quantize._index import Index
from edgeml.quantize._model import Model
from edgeml.quantize._qdq import Plan, write_block
from edgeml.quantize._quality import divergence, has_classes, log_probabilities, outputs_of
from edgeml.quantize._session import open_model

Array = NDArray[Any]
SWITCHES = "edgeml_switches"


def switchable(model: Model, plan: Plan) -> tuple[Model, list[str]]:
    """Return a float model in which each block of a plan can be switched to 8 bits by itself.

    It has one more input, bool [number of blocks]; which is which the list says. A block is an If
    whose one side is what `write` makes of the block alone, and whose other side is as it was,
    so that blocks which are off cost nothing. What only moves values has no switch.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    index = Index(model)
    blocks = [block for block in plan.blocks if not block.passes]
    last = {block.nodes[-1]: block for block in blocks}
    within = {name for block in blocks for name in block.nodes}
    number = {block.name: i for i, block in enumerate(blocks)}
    by_name = {node.name: node for node in index.nodes}
    found = onnx.ModelProto()
    found.CopyFrom(model)
    nodes: list[Any] = []
    for node in index.nodes:
        block = last.get(node.name)
        if block is not None:
            plain = [by_name[name] for name in block.nodes]
            rounded, constants = write_block(index, block, plan)
            sides = {
                "then_branch": _side(onnx, "in 8 bits", rounded, block, constants),
                "else_branch": _side(onnx, "in float", plain, block, {}),
            }
            switch, place = f"{SWITCHES}/{block.name}", f"{SWITCHES}/{block.name}/place"
            constant = onnx.numpy_helper.from_array(np.array(number[block.name]), place)
            found.graph.initializer.append(constant)
            nodes.append(onnx.helper.make_node("Gather", [SWITCHES, place], [switch]))
            nodes.append(onnx.helper.make_node("If", [switch], block.outputs, **sides))
        elif node.name not in within:
            nodes.append(node)
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    entry = onnx.helper.make_tensor_value_info(SWITCHES, onnx.TensorProto.BOOL, [len(blocks)])
    found.graph.input.append(entry)
    del found.graph.value_info[:]
    return found, list(number)


def _side(
    onnx: Any, name: str, nodes: Sequence[Any], block: Block, constants: Mapping[str, Array]
) -> Any:
    """Return a branch; what it makes has names of its own."""
    made = {output for node in nodes for output in node.output if output}
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for names in (copy.input, copy.output):
            for i, tensor in enumerate(names):
                if tensor in made:
                    names[i] = f"{tensor}/{name}"
        copies.append(copy)
    ends = [onnx.helper.make_tensor_value_info(f"{o}/{name}", 1, None) for o in block.outputs]
    stored = [
        onnx.numpy_helper.from_array(value.copy(order="C"), key) for key, value in constants.items()
    ]
    return onnx.helper.make_graph(copies, name, [], ends, stored)


def sensitivities(
    model: Model, plan: Plan, feeds: Callable[[], Iterator[Mapping[str, Array]]], *,
    seconds: float = math.inf, on_block: Callable[[int, int], None] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Return what each block costs when it alone is in 8 bits: the divergence of the outputs.

    Args:
        model: Float model.
        plan: Of all blocks.
        feeds: Called anew for each block; yields the examples to ask with.
        seconds: How long it may take; blocks that are not reached are left out.
        on_block: Called with (blocks done, blocks in all).
    """
    end = time.monotonic() + seconds
    switched, names = switchable(model, plan)
    session = open_model(switched)
    off = np.zeros(len(names), bool)
    reference = list(_outputs(session, feeds(), off))
    found = {}
    for done, name in enumerate(names):
        if time.monotonic() > end:
            break
        mask = off.copy()
        mask[done] = True
        gaps = [
            divergence(out, right)
            for out, right in zip(_outputs(session, feeds(), mask), reference, strict=True)
        ]
        found[name] = float(np.mean(gaps))
        if on_block is not None:
            on_block(done + 1, len(names))
    return found


def _outputs(session: Any, feeds: Iterator[Mapping[str, Array]], mask: Array) -> Iterator[Any]:
    yield from outputs_of(session, ({**feed, SWITCHES: mask} for feed in feeds))


def fisher(
    model: Model, plan: Plan, feeds: Iterator[Mapping[str, Array]], *, seed: int = 0
) -> dict[str, float]:
    """Return a second-order score by block: squared gradients times squared rounding errors.

    The empirical Fisher information stands for the Hessian's diagonal (Dong et al., "HAWQ-V2",
    2020); gradients are of the likelihood of classes drawn from the model's own answers, so no
    labels are needed. Empty where the model does not tell classes apart, or cannot be
    differentiated.
    """
    from edgeml.errors import EdgeMLError
    from edgeml.training import Trainer

    index = Index(model)
    rng = np.random.default_rng(seed)
    squares: dict[str, Array] = {}
    session = open_model(model)
    try:
        trainer = Trainer(model, loss="sparse_categorical_crossentropy")
        for feed in feeds:
            scores = session.run(None, dict(feed))[0]
            if not has_classes(scores):
                return {}
            p = np.exp(log_probabilities(scores))
            labels = np.array([rng.choice(len(row), p=row / row.sum()) for row in p])
            for name, gradient in trainer.gradients(dict(feed), labels).items():
                squares[name] = squares.get(name, 0.0) + gradient.astype(np.float64) ** 2
    except (EdgeMLError, ValueError):
        return {}
    found = {}
    for block in plan.blocks:
        for name in block.weights:
            array = index.constant(name)
            if array is not None and name in squares:
                params = plan.weights[name]
                error = params.dequantize(params.quantize(array)) - array
                found[block.name] = float((squares[name] * error**2).sum())
    return found


def rank_correlation(a: Mapping[str, float], b: Mapping[str, float]) -> float | None:
    """Return Spearman's rank correlation over the blocks in both, or None with under three."""
    common = [name for name in a if name in b]
    if len(common) < 3:
        return None
    ranks = [np.argsort(np.argsort([scores[name] for name in common])) for scores in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
