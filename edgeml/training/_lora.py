"""Low-rank adapters of whole models and of ONNX files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml import initializers
from edgeml.errors import ConfigError, ModelFormatError, ModelNotFound, ShapeError, TrainingError
from edgeml.graph import Node, Tensor, from_onnx, live_nodes, to_onnx
from edgeml.graph._infer import onnx
from edgeml.layers._lora import adapters_of, attach, change, enable_lora, kernel_of
from edgeml.training._files import writing
from edgeml.training._select import find_groups, select

if TYPE_CHECKING:
    from edgeml.training._model import Model

Array = np.ndarray[Any, Any]


def adapt_model(model: Model, rank: int, a: Any, b: Any, lora_alpha: float | None) -> None:
    """Adapt each layer that has a kernel, and freeze all else; see `Model.enable_lora`."""
    layers = {id(layer): layer for layer in model.flatten_layers() if layer is not model}
    chosen = [layer for layer in layers.values() if kernel_of(layer) is not None]
    if not chosen:
        raise ConfigError(
            f"{model.name} has no layer with a kernel"
            + ("" if model.built else ": it is not built yet, call it once")
        )
    for layer in chosen:
        enable_lora(layer, rank, a, b, lora_alpha)
    trained = {id(p) for adapter in adapters_of(model) for p in (adapter.a, adapter.b)}
    for parameter in model.weights:
        parameter.trainable = id(parameter) in trained


def save_adapters(path: Path, values: Mapping[str, tuple[Array, Array, float]]) -> None:
    """Write adapters to an ``.npz`` file, by the names of the weights that they change."""
    arrays = {f"{name}/{which}": v[i] for name, v in values.items() for i, which in enumerate("ab")}
    text = json.dumps({"schema": 1, "scales": {name: v[2] for name, v in values.items()}})
    arrays["values"] = np.frombuffer(text.encode(), np.uint8)
    with writing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_adapters(path: Path) -> dict[str, tuple[Array, Array, float]]:
    """Return what `save_adapters` wrote.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: it holds no adapters.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            scales = json.loads(file["values"].tobytes())["scales"]
            return {n: (file[f"{n}/a"], file[f"{n}/b"], float(s)) for n, s in scales.items()}
    except FileNotFoundError as error:
        raise ModelNotFound(f"there is no file {path}", path=str(path)) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFormatError(f"{path} holds no adapters: {error}", path=str(path)) from error


def check_adapters(path: Path, stored: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Check that a file's adapters are those of a model.

    Raises:
        ShapeError: a name, a rank or a scale differs.
    """
    missing = set(own) ^ set(stored)
    if missing:
        name = sorted(missing)[0]
        where = "the model" if name in stored else str(path)
        raise ShapeError(f"{path}: {where} has no adapter of {name!r}", where=name)
    for name, (a, b, scale) in stored.items():
        ours = own[name]
        if a.shape != ours[0].shape or b.shape != ours[1].shape or scale != ours[2]:
            raise ShapeError(
                f"{path}: the adapter of {name!r} has the rank {len(b)} and the scale {scale}, "
                f"here are {len(ours[1])} and {ours[2]}",
                where=name,
            )


@dataclass
class Adapted:
    """An ONNX file with adapters.

    Args:
        base: The file as it was.
        proto: The file with adapters, which are initializers.
        names: The names (A, B) of the adapters, by that of the weight.
        order: How the change (in…, out…) is turned to the weight's layout, by name.
        scale: Factor of the changes.
        options: What `adapt_file` was given, to do it again.
    """

    base: Any
    proto: Any
    names: dict[str, tuple[str, str]]
    order: dict[str, Sequence[int]]
    scale: float
    options: dict[str, Any]

    @property
    def parameters(self) -> list[str]:
        """The names of all adapters."""
        return [name for pair in self.names.values() for name in pair]

    def merged(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Return the changed weights, in the file's layout, given the adapters' values."""
        stored = {t.name: t for t in self.base.graph.initializer}
        found = {}
        for name, (a, b) in self.names.items():
            moved = change(values[a], values[b], self.scale).transpose(self.order[name])
            found[name] = onnx().numpy_helper.to_array(stored[name]) + moved
        return found


def adapt_file(
    base: Any, rank: int, lora_alpha: float | None = None, weights: Any = "all", seed: int = 0
) -> Adapted:
    """Return an ONNX model with adapters beside its weights; see `Trainer.enable_lora`."""
    if rank < 1:
        raise ConfigError(f"rank: expected at least 1, received {rank}")
    graph = from_onnx(base)
    chosen = set(select(find_groups(graph), weights))
    nodes = live_nodes(graph.outputs.values())
    places = {name: (tensor, order) for name, tensor, order in map(_weight, nodes)
              if tensor is not None and name in chosen}  # fmt: skip
    if not places:
        raise TrainingError(
            f"weights={weights!r} holds no weight of a MatMul, Gemm, Conv (of one group) or Gather"
        )
    rng = np.random.default_rng([seed, rank])
    start = initializers.get("he_uniform")
    scale = 1.0 if lora_alpha is None else lora_alpha / rank
    names, orders = {}, {}
    with graph:
        for name, (weight, order) in places.items():
            shape = [weight.static_shape[i] for i in np.argsort(order)]
            a = np.asarray(start((*shape[:-1], rank), rng), np.float32)
            pair = names[name] = (f"{name}.lora_a", f"{name}.lora_b")
            orders[name] = order
            new = attach(
                nodes, weight, graph.initializer(pair[0], a),
                graph.initializer(pair[1], np.zeros((rank, shape[-1]), np.float32)), scale,
            )  # fmt: skip
            graph.outputs = {key: new.get(y, y) for key, y in graph.outputs.items()}
            nodes = live_nodes(graph.outputs.values())
    proto = to_onnx(graph, name=base.graph.name)
    options = {"rank": rank, "lora_alpha": lora_alpha, "weights": weights}
    return Adapted(base, proto, names, orders, scale, options)


def _weight(node: Node) -> tuple[str, Tensor | None, Sequence[int]]:
    """Return the weight of a node that may be adapted, and the order of its axes.

    The weight is what (in…, out…) becomes by a transposition with that order.
    """
    seen = node.input(0 if node.op == "Gather" else 1)
    tensor, order = seen, _order(node, seen.ndim if seen is not None and seen.shape else 0)
    if seen is not None and seen.producer is not None and seen.producer.op == "Transpose":
        tensor = seen.producer.x
        back = np.argsort(seen.producer.attr("perm") or [*range(seen.ndim)][::-1])
        order = [order[i] for i in back] if order else []
    if (tensor is None or tensor.producer is not None or tensor.value is None or not tensor.name
            or tensor.dtype != np.float32 or not order):  # fmt: skip
        return "", None, ()
    return tensor.name, tensor, order


def _order(node: Node, ndim: int) -> list[int]:
    """Return how (in…, out…) is turned to what a node takes; nothing: it is not adapted."""
    if node.op in ("MatMul", "Gather") and ndim == 2 and not node.attr("axis", 0):
        return [0, 1]
    if node.op == "Gemm" and not node.attr("transA", 0):
        return [1, 0] if node.attr("transB", 0) else [0, 1]
    if node.op == "Conv" and node.attr("group", 1) == 1:
        return [ndim - 1, ndim - 2, *range(ndim - 2)]
    return []
