"""Round weights so that the layers' outputs change least, not each weight by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.quantize._blocks import Block
from edgeml.quantize._calibrate import with_outputs
from edgeml.quantize._index import Index, attribute
from edgeml.quantize._model import Model
from edgeml.quantize._qdq import Params, Plan
from edgeml.quantize._session import open_model

Array = NDArray[Any]
_PLACES = 2048  # of one example's map that are looked at
_DAMP = 0.01  # of the mean of the diagonal
_LARGEST = 2304  # columns of a layer: its moments, and their inverse, take the square of them
_COLUMNS = 64  # that are rounded before the rest is told


def round_weights(
    model: Model, plan: Plan, feeds: Iterable[Mapping[str, Array]]
) -> dict[str, Array]:
    """Return the integers of a plan's weights, for the least error of each layer's output.

    Columns are rounded one after another, and those that follow make up for the error, weighed
    by how the layer's inputs vary together (Frantar et al., "GPTQ", 2022, after Hassibi and
    Stork's optimal brain surgeon). It needs no gradients and no labels: one pass over the data,
    one factorization a layer.

    Args:
        model: Float model.
        plan: What is quantized how; scales stay as they are.
        feeds: Real inputs; read once.

    Returns:
        Integers by initializer, for `write`; layers that are not plain products, or
        have more than 2304 inputs to a row, are missing.
    """
    index = Index(model)
    layers = [found for block in plan.blocks if (found := _layer(index, block, plan)) is not None]
    if not layers:
        return {}
    tensors = list(dict.fromkeys(layer.source for layer in layers))
    made = [name for name in tensors if name not in index.inputs]
    session = open_model(with_outputs(model, made))
    for feed in feeds:
        values = dict(zip(made, session.run(made, dict(feed)), strict=True)) if made else {}
        for layer in layers:
            layer.look(values.get(layer.source, feed.get(layer.source)))
    return {layer.name: layer.rounded(plan.weights[layer.name]) for layer in layers}


@dataclass
class _Layer:
    """A layer as products of rows of weights with columns of inputs.

    Args:
        name: The weights' initializer.
        source: The tensor that it reads.
        weights: float32, as the file has them.
        rows: Whether output channels come first; else last.
        window: (kernel, strides, pads, dilations) of a convolution that is no plain product.
        depthwise: Whether each channel has a kernel of its own.
    """

    name: str
    source: str
    weights: Array
    rows: bool
    window: tuple[list[int], list[int], list[int], list[int]] | None
    depthwise: bool
    moments: Array | None = None

    def look(self, x: Any) -> None:
        """Count an input: sums of products of what meets two weights of a row."""
        columns = self._columns(np.asarray(x, np.float32))
        step = -(-columns.shape[-1] // _PLACES)
        some = np.ascontiguousarray(columns[..., ::step])
        found = (some @ some.swapaxes(-1, -2)).astype(np.float64)
        self.moments = found if self.moments is None else self.moments + found

    def _columns(self, x: Array) -> Array:
        """Return [inputs of a row, places], or [channels, kernel, places] of a depthwise one."""
        if self.weights.ndim == 2:
            return x.reshape(-1, x.shape[-1]).T
        if self.window is None:
            return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
        kernel, strides, pads, dilations = self.window
        n = len(kernel)
        around = [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)]
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        axes = tuple(range(2, 2 + n))
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, around), reach, axis=axes)
        steps = tuple(slice(None, None, s) for s in strides)
        holes = tuple(slice(None, None, d) for d in dilations)
        windows = windows[(slice(None), slice(None), *steps, *holes)]
        # [batch, channel, places…, kernel…] to [channel, kernel, places]
        order = (1, *range(2 + n, 2 + 2 * n), 0, *range(2, 2 + n))
        found = windows.transpose(order).reshape(x.shape[1], int(np.prod(kernel)), -1)
        return found if self.depthwise else found.reshape(-1, found.shape[-1])

    def rounded(self, params: Params) -> Array:
        """Return the integers."""
        flat = self.weights if self.rows else self.weights.T
        matrix = flat.reshape(len(flat), -1).astype(np.float64)
        scale = np.broadcast_to(params.scale.astype(np.float64), (len(matrix),))
        nearest = params.quantize(self.weights)
        if self.moments is None:
            return nearest
        most = int(np.abs(nearest.astype(np.int64)).max(initial=1))  # 63 where a bit is left free
        limits = (-most, most)
        if self.depthwise:
            found = _compensate(
                matrix[:, None, :], scale[:, None], self.moments, limits, len(matrix[0])
            )[:, 0]
        else:
            found = _compensate(matrix[None], scale[None], self.moments[None], limits, _COLUMNS)[0]
        shaped = found.reshape(flat.shape).astype(params.zero_point.dtype)
        return shaped if self.rows else np.ascontiguousarray(shaped.T)


def _layer(index: Index, block: Block, plan: Plan) -> _Layer | None:
    if not block.weights or not block.inputs or index.is_constant(block.inputs[0]):
        return None
    (name,) = block.weights
    weights = index.constant(name)
    node = next(node for node in index.nodes if node.name == block.name)
    if weights is None or name not in plan.weights or node.input[0] != block.inputs[0]:
        return None
    if block.op != "Conv":
        rows = block.weights[name] == 0
        if weights.ndim != 2 or weights.shape[1 if rows else 0] > _LARGEST:
            return None
        return _Layer(name, block.inputs[0], weights, rows, None, depthwise=False)
    group = int(attribute(node, "group", 1))
    if attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return None
    if group > 1 and not (group == len(weights) and weights.shape[1] == 1):
        return None
    if weights[0].size > _LARGEST:
        return None
    kernel = list(weights.shape[2:])
    ones, zeros = [1] * len(kernel), [0] * 2 * len(kernel)
    window = (
        kernel, list(attribute(node, "strides", ones)), list(attribute(node, "pads", zeros)),
        list(attribute(node, "dilations", ones)),
    )  # fmt: skip
    plain = group == 1 and window == (ones, ones, zeros, ones)
    return _Layer(name, block.inputs[0], weights, True, None if plain else window, group > 1)


def _compensate(
    weights: Array, scale: Array, moments: Array, limits: tuple[int, int], together: int
) -> Array:
    """Return integers [groups, rows, columns] of weights, column by column.

    Args:
        weights: [groups, rows, columns]; changed.
        scale: [groups, rows].
        moments: [groups, columns, columns].
        limits: The integers' least and greatest.
        together: Columns that are rounded before those behind them are told.
    """
    columns = weights.shape[-1]
    diagonal = np.einsum("gii->gi", moments)
    order = np.argsort(-diagonal.sum(0), kind="stable")  # what matters most is rounded first
    back = np.argsort(order)
    weights = weights[..., order]
    damped = moments[:, order][:, :, order].copy()
    damped += np.eye(columns) * np.maximum(_DAMP * diagonal.mean(-1), 1e-12)[:, None, None]
    # The upper factor of the inverse has what each column owes to those behind it.
    factor = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(-1, -2)
    found = np.empty_like(weights)
    for start in range(0, columns, together):
        end = min(start + together, columns)
        owed = np.empty((*weights.shape[:2], end - start))
        for k in range(start, end):
            integers = np.clip(np.rint(weights[..., k] / scale), *limits)
            found[..., k] = integers
            error = (weights[..., k] - integers * scale) / factor[:, k, k, None]
            owed[..., k - start] = error
            weights[..., k:end] -= error[..., None] * factor[:, None, k, k:end]
        weights[..., end:] -= owed @ factor[:, start:end, end:]
    return found[..., back]
