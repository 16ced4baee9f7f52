"""One training step as one graph: forward, backward and the optimizer's update."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.errors import TrainingError
from edgeml.graph import Graph, Node, Tensor, emit, gradients, live_nodes
from edgeml.graph._execute import open_session
from edgeml.optimizers import Optimizer
from edgeml.optimizers._flat import Part, joined, pieces
from edgeml.runtime._errors import translated
from edgeml.training._memory import is_planned, peak_bytes
from edgeml.training._state import State

Array = np.ndarray[Any, Any]


@dataclass
class Traced:
    """A forward pass with its loss, for one batch shape."""

    graph: Graph
    inputs: list[Tensor]
    """What is fed: the model's inputs, targets and sample weights."""
    outputs: list[Tensor]
    loss: Tensor | None
    variables: dict[Hashable, Tensor]
    """The initializers, by the key under which the state holds them."""
    states: dict[Hashable, Tensor] = field(default_factory=dict)
    """New values of running statistics and the like, by key."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """The loss of each output, by its name, when there are several."""
    masks: dict[int, Tensor] = field(default_factory=dict)
    """Which steps count, by the number of the output."""


def build_step(
    traced: Traced, state: State, optimizer: Optimizer | None, *, decay: Array | None = None
) -> Graph:
    """Return the graph of a step; without an optimizer, of loss and outputs alone.

    Args:
        traced: The forward pass.
        state: Where the variables lie in the flat vector.
        optimizer: Makes new parameters from gradients.
        decay: 1 for each value that weight decay applies to, else 0; None: all.
    """
    graph = traced.graph
    results: dict[str, Tensor] = {}
    with graph:
        if optimizer is not None:
            assert traced.loss is not None
            results |= _update(traced, state, optimizer, decay)
        # The same memory is given twice: whole to the optimizer, and in its parts, which saves
        # the graph the cutting.
        known = {
            traced.variables[key]: graph.input(f"parameter/{i}", np.float32, shape)
            for i, (key, shape) in enumerate(zip(state.keys, state.shapes, strict=True))
            if key in traced.variables
        }
        for i, key in enumerate(state.others):
            if key in traced.variables:
                old = traced.variables[key]
                known[old] = graph.input(f"other/{i}", old.dtype, old.shape)
                if optimizer is not None:
                    results[f"new/other/{i}"] = traced.states.get(key, old)
    if traced.loss is not None:
        results["loss"] = traced.loss
    results |= {f"loss/{name}": value for name, value in traced.losses.items()}
    results |= {f"mask/{i}": mask for i, mask in traced.masks.items()}
    results |= {f"output/{i}": y for i, y in enumerate(traced.outputs)}
    graph.outputs = results
    graph.replace(known)
    graph.inputs += [x for x in traced.inputs if x not in graph.inputs]
    if graph.seed is not None:
        graph.inputs.append(graph.seed)
    graph.metadata["edgeml.work"] = str(sum(map(_multiplications, live_nodes(results.values()))))
    graph.metadata["edgeml.memory"] = str(peak_bytes(graph))
    return graph


def _update(
    traced: Traced, state: State, optimizer: Optimizer, decay: Array | None
) -> dict[str, Tensor]:
    graph, loss = traced.graph, traced.loss
    assert loss is not None
    missing = [str(key) for key in state.keys if key not in traced.variables]
    if missing:
        raise TrainingError(f"the model does not use its parameter {missing[0]!r} any more")
    variables = [traced.variables[key] for key in state.keys]
    found = gradients([loss], variables)
    if not any(g is not None for g in found):
        raise TrainingError("the loss depends on none of the trainable parameters")
    grads = [
        g if g is not None else graph.constant(np.zeros(shape, np.float32))
        for g, shape in zip(found, state.shapes, strict=True)
    ]
    steps = optimizer.gradient_accumulation_steps or 1
    g = joined(optimizer.clip(grads) if steps == 1 else grads)
    vectors = {name: graph.input(name, np.float32, (state.size,)) for name in state.vectors}
    flat = vectors.pop("parameters")
    scalars = {name: graph.input(f"scalar/{name}", np.float32, ())
               for name in sorted(scalars_of(optimizer, 1))}  # fmt: skip
    own = {name: vectors[name] for name in optimizer.slots}
    mask = graph.constant(decay) if decay is not None else None
    results = {"gradient_norm": emit("ReduceL2", g, keepdims=0)}
    apply: Tensor | None = None
    if steps > 1:
        apply = graph.input("apply", np.bool_, ())
        total = vectors["accumulator"] + g
        results["new/accumulator"] = emit("Where", apply, 0.0, total, like=total)
        # Clipped is what one large batch would have given: the mean.
        g = joined(optimizer.clip(pieces(total * (1.0 / steps), state.sizes)))
    parts = [(path_of(key), shape) for key, shape in zip(state.keys, state.shapes, strict=True)]
    new, moved = optimizer.update(flat, g, own, scalars, decay_mask=mask, parts=parts)
    made = {"parameters": new, **moved}
    if optimizer.use_ema:
        momentum = scalars["ema_momentum"]
        made["average"] = vectors["average"] * momentum + new * (1.0 - momentum)
        if optimizer.ema_overwrite_frequency:
            now = emit("Cast", scalars["ema_overwrite"], to=9)
            made["parameters"] = emit("Where", now, made["average"], new)
    made["parameters"] = _constrained(made["parameters"], state.keys, parts)
    old = {"parameters": flat, **vectors}
    for name, value in made.items():
        results[f"new/{name}"] = value if apply is None else emit("Where", apply, value, old[name])
    return results


def path_of(key: Hashable) -> str:
    """Return the path of a parameter, or the name of an initializer."""
    return str(getattr(key, "path", key))


def _constrained(vector: Tensor, keys: Sequence[Hashable], parts: Sequence[Part]) -> Tensor:
    """Emit what brings each parameter to where its constraint wants it."""
    limits = [getattr(key, "constraint", None) for key in keys]
    if not any(limits):
        return vector
    sizes: list[int] = []
    chosen: list[Any] = []
    for limit, (_, shape) in zip(limits, parts, strict=True):
        size = math.prod(shape)
        if limit is None and chosen and chosen[-1] is None:  # neighbours that are free stay one
            sizes[-1] += size
        else:
            sizes.append(size)
            chosen.append(None if limit is None else (limit, shape))
    found = []
    for piece, limited in zip(pieces(vector, sizes), chosen, strict=True):
        if limited is not None:
            limit, shape = limited
            piece = limit(emit("Reshape", piece, np.array(shape, np.int64)))
        found.append(piece)
    return joined(found)


def scalars_of(optimizer: Optimizer, step: int) -> dict[str, float]:
    """Return what changes from step to step, by name; step 1 is the first."""
    scalars = optimizer.scalars(step)
    if optimizer.use_ema:  # the average starts with the first step's weights, not with zeros
        scalars["ema_momentum"] = optimizer.ema_momentum if step > 1 else 0.0
        if every := optimizer.ema_overwrite_frequency:
            scalars["ema_overwrite"] = float(step % every == 0)
    return scalars


def _multiplications(node: Node) -> int:
    if node.op in ("MatMul", "Gemm"):
        return node.output.size * int(node.x.static_shape[0 if node.attr("transA") else -1])
    if node.op in ("Conv", "ConvTranspose"):
        kernel = node.inputs[1]
        assert kernel is not None
        big = node.output if node.op == "Conv" else node.x
        return big.size * int(np.prod(kernel.static_shape[1:]))
    return node.output.size if node.output.shape is not None else 0


# Below this many multiplications handing work to a second thread costs more than it saves.
_SMALL = 4_000_000
# Inputs of fewer values than this are copied.
_COPIED = 50_000


def work(proto: Any) -> int:
    """Return about how many multiplications a step's matrix products and convolutions do."""
    return _noted(proto, "edgeml.work")


def _noted(proto: Any, key: str) -> int:
    return sum(int(entry.value) for entry in proto.metadata_props if entry.key == key)


def slot_names(optimizer: Optimizer) -> list[str]:
    """Return the names of all vectors that a step keeps beside the parameters."""
    names = list(optimizer.slots)
    if (optimizer.gradient_accumulation_steps or 1) > 1:
        names.append("accumulator")
    if optimizer.use_ema:
        names.append("average")
    return names


class Step:
    """A step as a session, with its memory bound: one call of `run` is one call of the runtime.

    Args:
        proto: What `build_step` returned.
        state: Read and, by a training step, written.
        threads: Threads of one call; None is all cores.
        delegate: Where it runs.
    """

    def __init__(
        self, proto: Any, state: State, *, threads: int | None = None, delegate: str = "cpu"
    ) -> None:
        self._state = state
        if threads is None and work(proto) < _SMALL:
            threads = 1
        self._session = open_session(
            proto, threads=threads, name="the training step", delegate=delegate, spin=True,
            plan_memory=is_planned(_noted(proto, "edgeml.memory")),
        )  # fmt: skip
        self._results: dict[str, Array] = {}
        self._scalars: dict[str, Array] = {}
        self._fed: dict[str, Array] = {}
        """Where small inputs are copied to, which is faster than binding other memory each time."""
        self._large: dict[str, type] = {}
        self.trains = any(node.name == "gradient_norm" for node in self._session.get_outputs())
        self._sort_inputs()
        self._bindings = [self._bind(0), self._bind(1)]

    def _sort_inputs(self) -> None:
        held = set(self._state.vectors) | {f"other/{i}" for i in range(len(self._state.others))}
        for node in self._session.get_inputs():
            kind = _DTYPES[node.type]
            if node.name in held or node.name.startswith("parameter/"):
                continue
            if node.name.startswith("scalar/") or node.name in ("seed", "apply"):
                self._scalars[node.name.removeprefix("scalar/")] = np.zeros(tuple(node.shape), kind)
            elif math.prod(node.shape) < _COPIED:
                self._fed[node.name] = np.zeros(tuple(node.shape), kind)
            else:
                self._large[node.name] = kind
        for node in self._session.get_outputs():
            if not node.name.startswith("new/"):
                self._results[node.name] = np.zeros(tuple(node.shape), _DTYPES[node.type])

    def _bind(self, side: int) -> Any:
        """Return a binding that reads the state's one side and writes the other."""
        binding = self._session.io_binding()
        arrays = dict(self._state.vectors)
        arrays |= {f"other/{i}": pair for i, pair in enumerate(self._state.others.values())}
        taken = {node.name for node in self._session.get_inputs()}
        made = {node.name for node in self._session.get_outputs()}
        for name, pair in arrays.items():
            if name in taken:
                _bind_input(binding, name, pair[side])
            if f"new/{name}" in made:
                _bind_output(binding, f"new/{name}", pair[1 - side])
        for i, array in enumerate(self._state.parameters(side)):
            if f"parameter/{i}" in taken:
                _bind_input(binding, f"parameter/{i}", array)
        for name, array in (self._scalars | self._fed).items():
            _bind_input(binding, name if name in taken else f"scalar/{name}", array)
        for name, array in self._results.items():
            _bind_output(binding, name, array)
        return binding

    def run(self, feeds: Mapping[str, Array], scalars: Mapping[str, Any]) -> dict[str, Array]:
        """Run once; the state's current side is not changed until `State.flip`.

        Args:
            feeds: Inputs, targets and weights, of the step's shapes.
            scalars: What changes from step to step: the optimizer's, ``seed``, ``apply``.

        Returns:
            Arrays by name: ``loss``, ``gradient_norm``, ``output/0`` …; they are overwritten by the
            next run.
        """
        binding = self._bindings[self._state.current]
        kept = []  # a binding holds addresses only
        for name, array in self._fed.items():
            array[...] = feeds[name]
        for name, kind in self._large.items():
            given: Array = np.ascontiguousarray(feeds[name], kind)
            kept.append(given)
            _bind_input(binding, name, given)
        for name, scalar in self._scalars.items():
            scalar[...] = scalars[name]
        try:
            self._session.run_with_iobinding(binding)
        except Exception:
            with translated("the training step"):
                raise
        return self._results


def _bind_input(binding: Any, name: str, array: Array) -> None:
    address = array.__array_interface__["data"][0]  # a third of the time of array.ctypes.data
    binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, address)


def _bind_output(binding: Any, name: str, array: Array) -> None:
    binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


_DTYPES: dict[str, type] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8, "tensor(uint32)": np.uint32, "tensor(bool)": np.bool_,
}  # fmt: skip
