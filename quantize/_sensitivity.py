"""Which blocks lose most in 8 bits: each alone, in one session, by switches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._blocks import Block
from edgeml.quantize._index import Index
from edgeml.quantize._model import Model
from edgeml.quantize._qdq import Plan
from edgeml.quantize._quality import divergence, outputs_of
from edgeml.quantize._session import open_model

Array = NDArray[Any]
SWITCHES = "edgeml_switches"


def switchable(model: Model, plan: Plan) -> tuple[Model, list[str]]:
    """Return a float model in which each rounding of a plan can be switched on by itself.

    It has one more input, bool [number of roundings]; which is which the list says. What is
    switched is a branch of an If, so that roundings which are off cost nothing, and weights on
    both sides are constants, for which the runtime has its best kernels.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    index = Index(model)
    activations = [name for name in plan.activations if not index.is_constant(name)]
    names = [*activations, *plan.weights]
    found = onnx.ModelProto()
    found.CopyFrom(model)
    _Switches(onnx, found, index, plan, {name: i for i, name in enumerate(names)}).write()
    entry = onnx.helper.make_tensor_value_info(SWITCHES, onnx.TensorProto.BOOL, [len(names)])
    found.graph.input.append(entry)
    del found.graph.value_info[:]
    return found, names


class _Switches:
    def __init__(
        self, onnx: Any, model: Model, index: Index, plan: Plan, number: Mapping[str, int]
    ) -> None:
        self._onnx = onnx
        self._make = onnx.helper.make_node
        self._model = model
        self._index = index
        self._plan = plan
        self._number = number
        self._nodes: list[Any] = []

    def write(self) -> None:
        graph = self._model.graph
        for name in self._number:
            self._add(f"{name}/place", np.array(self._number[name]))
            self._nodes.append(self._make("Gather", [SWITCHES, f"{name}/place"], [_switch(name)]))
        for name, params in self._plan.weights.items():
            array = self._index.constant(name)
            assert array is not None
            self._add(f"{name}/rounded", params.dequantize(params.quantize(array)))
        for name in self._index.inputs:
            self._activation(name)
        for node in self._index.nodes:
            self._node(node)
            for name in node.output:
                self._activation(name)
        for output in graph.output:
            if output.name in self._number:
                chosen = _chosen(output.name)
                self._nodes.append(self._make("Identity", [chosen], [f"{output.name}/out"]))
                output.name = f"{output.name}/out"
        del graph.node[:]
        graph.node.extend(self._nodes)

    def _add(self, name: str, value: Array) -> None:
        self._model.graph.initializer.append(self._onnx.numpy_helper.from_array(value, name))

    def _activation(self, name: str) -> None:
        params = self._plan.activations.get(name)
        if params is None:
            return
        self._add(f"{name}/scale", params.scale)
        self._add(f"{name}/zero", params.zero_point)
        constants = [f"{name}/scale", f"{name}/zero"]
        rounded = [
            self._make("QuantizeLinear", [name, *constants], [f"{name}/integers"]),
            self._make("DequantizeLinear", [f"{name}/integers", *constants], [f"{name}/then"]),
        ]
        kept = [self._make("Identity", [name], [f"{name}/else"])]
        self._branch(name, _chosen(name), rounded, kept)

    def _node(self, node: Any) -> None:
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        for i, name in enumerate(node.input):
            if name in self._plan.activations and not self._index.is_constant(name):
                copy.input[i] = _chosen(name)
        weights = [name for name in node.input if name in self._plan.weights]
        if not weights:
            self._nodes.append(copy)
            return
        sides = []
        for suffix in ("then", "else"):
            side = self._onnx.NodeProto()
            side.CopyFrom(copy)
            side.output[0] = f"{node.output[0]}/conv/{suffix}"
            for i, name in enumerate(side.input):
                if name in weights and suffix == "then":
                    side.input[i] = f"{name}/rounded"
            sides.append([side])
        self._branch(weights[0], node.output[0], *sides)

    def _branch(self, name: str, output: str, on: list[Any], off: list[Any]) -> None:
        helper = self._onnx.helper
        bodies = {}
        for key, nodes in (("then_branch", on), ("else_branch", off)):
            end = helper.make_tensor_value_info(nodes[-1].output[0], 1, None)
            bodies[key] = helper.make_graph(nodes, key, [], [end])
        self._nodes.append(self._make("If", [_switch(name)], [output], **bodies))


def _switch(name: str) -> str:
    return f"{name}/switch"


def _chosen(name: str) -> str:
    return f"{name}/chosen"


def sensitivities(
    model: Model, plan: Plan, feeds: Callable[[], Iterator[Mapping[str, Array]]], *,
    on_block: Callable[[int, int], None] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Return what each block costs when it alone is in 8 bits: the divergence of the outputs.

    Args:
        model: Float model.
        plan: Of all blocks.
        feeds: Called anew for each block; yields the examples to ask with.
        on_block: Called with (blocks done, blocks in all).
    """
    switched, names = switchable(model, plan)
    session = open_model(switched)
    wanted = [node.name for node in open_model(model).get_outputs()]
    off = np.zeros(len(names), bool)
    reference = [_plain(wanted, out) for out in _outputs(session, feeds(), off)]
    found = {}
    weighing = [block for block in plan.blocks if not block.passes]
    for done, block in enumerate(weighing):
        mask = np.isin(names, _roundings(block))
        gaps = [
            divergence(_plain(wanted, out), right)
            for out, right in zip(_outputs(session, feeds(), mask), reference, strict=True)
        ]
        found[block.name] = float(np.mean(gaps))
        if on_block is not None:
            on_block(done + 1, len(weighing))
    return found


def _roundings(block: Block) -> list[str]:
    return [*block.inputs, *block.outputs, *block.weights]


def _outputs(session: Any, feeds: Iterator[Mapping[str, Array]], mask: Array) -> Iterator[Any]:
    yield from outputs_of(session, ({**feed, SWITCHES: mask} for feed in feeds))


def _plain(names: Sequence[str], outputs: Mapping[str, Array]) -> dict[str, Array]:
    return dict(zip(names, outputs.values(), strict=True))


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
            logits = session.run(None, dict(feed))[0].reshape(1, -1).astype(np.float64)
            p = np.exp(logits - logits.max())
            label = np.array([rng.choice(p.size, p=(p / p.sum()).reshape(-1))])
            for name, gradient in trainer.gradients(dict(feed), label).items():
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
