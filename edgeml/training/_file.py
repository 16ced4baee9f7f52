"""An ONNX file as it is trained: its forward pass with a loss, for one shape of batch."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

from edgeml import ops
from edgeml.graph import Graph, Tensor, emit_many, from_onnx, live_nodes
from edgeml.training._inputs import Batch
from edgeml.training._step import Traced

_log = logging.getLogger("edgeml.training")


def find_squash(graph: Graph, loss: Any, from_logits: bool | None) -> str | None:
    """Return the softmax or sigmoid that ends the model, when the loss is a cross-entropy.

    The loss is then taken of what goes into it: the same value, without rounding.
    """
    if not hasattr(loss, "from_logits"):
        return None
    last = next(iter(graph.outputs.values())).producer
    squash = "Sigmoid" if loss.name.startswith("binary") else "Softmax"
    found = last is not None and last.op == squash
    if from_logits is None:
        _log.info(
            "the model ends in %s: its output is taken as %s; from_logits= says otherwise",
            last.op if last is not None else "an input",
            "probabilities" if found else "logits",
        )  # fmt: skip
    return squash if found and not from_logits else None


def trace_file(
    proto: Any, batch: Batch, loss: Any, *, squash: str | None, training: bool, batch_norm: str
) -> Traced:
    """Return a file's forward pass and loss, for batches like this one.

    Args:
        proto: The model.
        batch: Inputs, targets and weights.
        loss: An `edgeml.losses.Loss`.
        squash: What the loss is taken before; None: it is taken of the output.
        training: Whether dropout drops.
        batch_norm: "train": normalization uses the batch, when training.
    """
    arrays, targets, weights = batch
    graph = from_onnx(proto, {name: a.shape for name, a in arrays.items()})
    with graph:
        y = graph.input("target/0", targets[0].dtype, targets[0].shape)
        inputs, w = list(graph.inputs), None
        if weights and weights[0] is not None:
            w = graph.input("sample_weight/0", "float32", weights[0].shape)
            inputs.append(w)
        if training:
            _train_mode(graph, batch_norm)
        output = next(iter(graph.outputs.values()))
        made = output.producer
        logits = output if squash is None or made is None else made.x
        value = loss(y, _as_classes(logits, y, loss), w)
    return Traced(
        graph, inputs, [_as_classes(output, y, loss)], value, _initializers(graph, value),
        {str(old.name): new for old, new in graph.updates.items()},
    )  # fmt: skip


def _train_mode(graph: Graph, batch_norm: str) -> None:
    """Make dropout drop, and batch normalization use the batch, as asked for."""
    new: dict[Tensor, Tensor] = {}
    for node in live_nodes(graph.outputs.values()):
        node.inputs = [new.get(x, x) if x is not None else None for x in node.inputs]
        if node.op == "Dropout":
            ratio = node.input(1)
            rate = 0.5 if ratio is None or ratio.value is None else float(ratio.value)
            if rate > 0.0:
                new[node.output] = ops.dropout(node.x, rate)
        elif node.op == "BatchNormalization" and batch_norm == "train":
            made = emit_many(
                3, "BatchNormalization", *node.inputs, training_mode=1,
                epsilon=node.attr("epsilon"), momentum=node.attr("momentum"),
            )  # fmt: skip
            new[node.output] = made[0]
            for old, value in zip(node.inputs[3:5], made[1:], strict=True):
                assert old is not None
                graph.updates[old] = value
    if new:
        graph.replace(new)


def _initializers(graph: Graph, loss: Tensor) -> dict[Hashable, Tensor]:
    """Return the named constants that a loss depends on."""
    found: dict[Hashable, Tensor] = {}
    for node in live_nodes([loss, *graph.outputs.values(), *graph.updates.values()]):
        for x in node.uses():
            if x.producer is None and x.name and x.value is not None:
                found[x.name] = x
    return found


def _as_classes(prediction: Tensor, y: Tensor, loss: Any) -> Tensor:
    """ONNX models have their classes in axis 1; the losses take them in the last."""
    last = hasattr(loss, "from_logits") and getattr(loss, "axis", -1) == -1
    if not last or prediction.ndim <= 2:
        return prediction
    shape = prediction.static_shape
    if set(shape[2:]) == {1} and y.ndim <= 2:
        return ops.reshape(prediction, shape[:2])
    if y.ndim == prediction.ndim - 1 and y.static_shape == (shape[0], *shape[2:]):
        return ops.moveaxis(prediction, 1, -1)
    return prediction
