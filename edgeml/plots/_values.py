"""How weights and activations are distributed."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import DataError
from edgeml.graph import Node, live_nodes, to_onnx
from edgeml.graph._execute import open_session
from edgeml.plots._inputs import batch_of, only_input
from edgeml.plots._picture import (
    BLUE,
    GREY,
    ORANGE,
    Picture,
    grid_of,
    new_figure,
    percent,
    shown,
    tidy,
)
from edgeml.plots._probe import Array, Part, Probe, find_parts
from edgeml.runtime._errors import translated

_BATCH = 8
_COLUMNS = 5
_AT_THE_END = 0.01
_SQUASHED = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0),
             "Softsign": (-1.0, 1.0)}  # fmt: skip
Ends = tuple[float, float] | None


@dataclass
class Distribution:
    """How values are distributed.

    Attributes:
        count: How many there are.
        minimum: Of the finite ones; NaN when there are none.
        maximum: Likewise.
        mean: Likewise.
        std: Likewise.
        zeros: Share that is exactly 0.
        saturated: Share at the end of the range that they are stored in or cut to: int8 at its
            ends, Clip, sigmoid and tanh within 0.01 of theirs. None when there is no such end.
        nans: How many are NaN.
        infinities: How many are infinite.
        counts: How many values are in each bin.
        edges: Borders of the bins, one more.
    """

    count: int
    minimum: float
    maximum: float
    mean: float
    std: float
    zeros: float
    saturated: float | None
    nans: int
    infinities: int
    counts: NDArray[np.int64]
    edges: NDArray[np.float64]


@dataclass
class Histograms(Picture):
    """Distributions of several things, such as layers; see `weights` and `activations`.

    Attributes:
        model: Name of the model.
        of: What the values are.
        distributions: One for each layer or parameter, in the order of execution.
    """

    model: str
    of: str
    distributions: dict[str, Distribution]

    def _draw(self) -> Any:
        count = len(self.distributions)
        rows, columns = grid_of(count, _COLUMNS)
        figure = new_figure(2.3 * max(columns, 2), 1.5 * rows + 0.35)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (name, found) in zip(panels, self.distributions.items(), strict=False):
            _panel(axis, name, found)
        for axis in panels[count:]:
            axis.remove()
        figure.suptitle(shown(f"{self.of} of {self.model}", 40 * columns), fontsize=10)
        figure.supylabel("values in a bin (a bar of zeros is cut off)", fontsize=8)
        return figure


def _panel(axis: Any, name: str, found: Distribution) -> None:
    broken = found.nans + found.infinities
    color = ORANGE if broken else BLUE
    axis.stairs(found.counts, found.edges, fill=True, color=color)
    zero = (found.edges[:-1] <= 0) & (found.edges[1:] > 0)
    others = found.counts[~zero].max(initial=0)
    if found.counts.max(initial=0) > 2 * others > 0:  # mostly zeros, as after ReLU
        axis.set_ylim(0, 1.3 * others)
    axis.set_title(shown(name.removesuffix("_quantized"), 30), fontsize=7, pad=12)
    said = [f"{percent(found.zeros)} zero"]
    if found.saturated is not None:
        said.append(f"{percent(found.saturated)} saturated")
    if broken:
        said.append(f"{found.nans:,} NaN, {found.infinities:,} inf")
    axis.text(0.5, 1.02, ", ".join(said), transform=axis.transAxes, ha="center", fontsize=6,
              color=GREY if not broken else ORANGE)  # fmt: skip
    ends = [found.minimum, found.maximum]
    if np.isfinite(ends).all():
        ticks = ends if ends[0] < ends[1] else ends[:1]
        axis.set_xticks(ticks, [f"{v:.3g}" for v in ticks], fontsize=6)
    axis.set_yticks([])
    tidy(axis, grid="")
    axis.spines["left"].set_visible(False)


def histogram(values: Any, bins: int = 64) -> Distribution:
    """Return how values are distributed.

    Args:
        values: An array.
        bins: Number of bins, all as wide, from the smallest to the largest finite value.

    Example:
        >>> import numpy as np
        >>> from edgeml import plots
        >>> found = plots.histogram(np.array([0.0, 1.0, 2.0, np.nan]), bins=2)
        >>> found.counts.tolist(), found.zeros, found.nans
        ([1, 2], 0.25, 1)
    """
    return _tally(np.asarray(values), bins)


def weights(
    model: Any, *, layers: str | Sequence[str] | None = None, biases: bool = False, bins: int = 64
) -> Histograms:
    """Return how the weights of each layer are distributed; quantized ones as real numbers.

    Args:
        model: An `edgeml.Model`, an ``onnx.ModelProto`` or a file, as for `edgeml.plots.layers`.
        layers: Patterns of layers' names, such as ``"block1*"``; None: all.
        biases: Whether vectors (biases, statistics of normalization) are shown, too.
        bins: Number of bins.

    Raises:
        ModelNotFound: there is no such file.
        ConfigError: no layer has such a name.
        DataError: there are no weights.

    Example:
        >>> import edgeml
        >>> from edgeml import plots
        >>> model = edgeml.Sequential([edgeml.Input((4,)), edgeml.layers.Dense(3, name="head")])
        >>> found = plots.weights(model).distributions["head/kernel"]
        >>> found.count, int(found.counts.sum())
        (12, 12)
    """
    probe = Probe.open(model)
    graph = probe.graph()
    scales = {n.x: n for n in live_nodes(graph.outputs.values()) if n.op == "DequantizeLinear"}
    found: dict[str, Distribution] = {}
    for part in _chosen(find_parts(graph), layers, probe):
        for tensor in part.parameters:
            stored = tensor.value
            if stored is None or (stored.ndim < 2 and not biases):
                continue
            ends = np.iinfo(stored.dtype) if stored.dtype.kind in "iu" else None
            share = None if ends is None else np.isin(stored, (ends.min, ends.max)).mean()
            real = _dequantized(stored, scales[tensor]) if tensor in scales else stored
            found[str(tensor.name)] = _tally(real, bins)
            found[str(tensor.name)].saturated = None if share is None else float(share)
    if not found:
        raise DataError(f"{probe.name} has no weights there: they may be computed, or within loops")
    return Histograms(probe.name, "weights", found)


def activations(
    model: Any, x: Any, *, layers: str | Sequence[str] | None = None, preprocess: Any = None,
    bins: int = 64,
) -> Histograms:  # fmt: skip
    """Return how what each layer passes on is distributed, for some input.

    Args:
        model: As for `weights`; with one input.
        x: An array as the model takes it; a picture uint8 [height, width, 3] BGR; the path of a
            picture or ``.npy`` file, or a list of such paths.
        layers: Patterns of layers' names; None: all.
        preprocess: An `edgeml.tasks.ImagePreprocess`, or the same as a dict, instead of the
            metadata's.
        bins: Number of bins.

    Raises:
        ModelNotFound: there is no such file.
        ConfigError: no layer has such a name.
        InputError: the input does not fit.
        ModelError: the model does not say how a picture becomes its input.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml import plots
        >>> relu = edgeml.layers.ReLU(name="relu")
        >>> model = edgeml.Sequential([edgeml.Input((4,)), relu])
        >>> plots.activations(model, np.array([[-2.0, -1.0, 1.0, 3.0]])).distributions["relu"].zeros
        0.5
    """
    probe = Probe.open(model)
    graph = probe.graph()
    tensor = only_input(probe, graph)
    batch = batch_of(x, tensor, probe, preprocess)
    parts = [p for p in _chosen(find_parts(graph), layers, probe) if p.output.dtype.kind == "f"]
    graph.outputs = {f"edgeml/{i}": part.output for i, part in enumerate(parts)}
    session = open_session(to_onnx(graph), name=probe.name)
    bounds = [_bounds(part) for part in parts]
    tallies = [_Tally(bins, ends) for ends in bounds]
    first = tensor.known_shape[0]
    size = first if isinstance(first, int) else _BATCH
    for do in (_Tally.measure, _Tally.sort):  # two passes: nothing has to be kept
        for start in range(0, len(batch), size):
            with translated(probe.name):
                made = session.run(None, {tensor.name: batch[start : start + size]})
            for tally, values in zip(tallies, made, strict=True):
                do(tally, values)
    names = [part.name for part in parts]
    found = dict(zip(names, (tally.result() for tally in tallies), strict=True))
    return Histograms(probe.name, f"activations of {len(batch)} example{'s'[: len(batch) - 1]}",
                      found)  # fmt: skip


def _chosen(
    parts: Sequence[Part], patterns: str | Sequence[str] | None, probe: Probe
) -> list[Part]:
    if patterns is None:
        return list(parts)
    wanted: list[Part] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [part for part in parts if fnmatch.fnmatchcase(part.name, pattern)]
        wanted += found or [probe.part(parts, pattern)]
    return [part for part in parts if part in wanted]


def _dequantized(stored: Array, node: Node) -> Array:
    """Return the real numbers of quantized weights."""
    scale, zero = (np.asarray(x.value) if x is not None else None
                   for x in (node.input(1), node.input(2)))  # fmt: skip
    assert scale is not None
    shape = [1] * stored.ndim
    if scale.ndim == 1 and stored.ndim:
        shape[int(node.attr("axis", 1)) % stored.ndim] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape) if zero is not None else None
    shift = 0 if zero is None else zero.astype(np.int32)
    return np.asarray((stored.astype(np.int32) - shift) * scale, np.float32)


def _bounds(part: Part) -> Ends:
    """Return the range that a layer cuts its values to; zero, as of ReLU, is no such end."""
    ends: Ends = None
    for node in part.nodes:
        given = [None if x is None else x.value for x in node.inputs]
        if node.op == "QuantizeLinear" and given[1] is not None and given[1].size == 1:
            zero = int(given[2]) if len(given) > 2 and given[2] is not None else 0
            limits = np.iinfo(node.output.dtype)
            scale = float(given[1].reshape(()))
            ends = ((limits.min - zero) * scale, (limits.max - zero) * scale)
        elif node.op == "Clip":
            low, high = (float(v) if v is not None else d for v, d in zip(
                [*given[1:], None, None][:2], (-np.inf, np.inf), strict=True))  # fmt: skip
            ends = (low, high)
        elif node.op in _SQUASHED:
            low, high = _SQUASHED[node.op]
            ends = (low + _AT_THE_END, high - _AT_THE_END)
    return ends


class _Tally:
    """A distribution in the making: all values are seen once by `measure`, then by `sort`."""

    def __init__(self, bins: int, ends: Ends = None) -> None:
        self.bins, self.ends = bins, ends
        self.count = self.zeros = self.ended = self.nans = self.infinities = 0
        self.low, self.high = np.inf, -np.inf
        self.total = self.squares = 0.0
        self.counts = np.zeros(bins, np.int64)

    def measure(self, values: Array) -> None:
        """Count, and find the range."""
        self.count += values.size
        finite = values[np.isfinite(values)].astype(np.float64)
        self.nans += int(np.isnan(values).sum())
        self.infinities += int(np.isinf(values).sum())
        if not finite.size:
            return
        self.zeros += int(np.sum(finite == 0))
        self.low, self.high = min(self.low, finite.min()), max(self.high, finite.max())
        self.total += float(finite.sum())
        self.squares += float(np.square(finite).sum())
        if self.ends is not None:
            low, high = self.ends
            # The runtime's float32 and our product of scale and integer differ in the last digit.
            self.ended += int(np.sum(finite >= high - 1e-6 * abs(high)))
            self.ended += int(np.sum(finite <= low + 1e-6 * abs(low))) if low else 0

    def sort(self, values: Array) -> None:
        """Put the values into their bins."""
        finite = values[np.isfinite(values)].astype(np.float64)
        self.counts += np.histogram(finite, self.edges)[0]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Borders of the bins."""
        if self.low > self.high:  # nothing is finite
            return np.linspace(0.0, 1.0, self.bins + 1)
        same = self.low == self.high
        return np.linspace(self.low - 0.5 * same, self.high + 0.5 * same, self.bins + 1)

    def result(self) -> Distribution:
        """Return what was found."""
        known = self.count - self.nans - self.infinities
        mean = self.total / known if known else np.nan
        spread = np.sqrt(max(self.squares / known - mean**2, 0.0)) if known else np.nan
        return Distribution(
            count=self.count, minimum=float(self.low) if known else np.nan,
            maximum=float(self.high) if known else np.nan, mean=float(mean), std=float(spread),
            zeros=self.zeros / max(self.count, 1),
            saturated=None if self.ends is None else self.ended / max(self.count, 1),
            nans=self.nans, infinities=self.infinities, counts=self.counts, edges=self.edges,
        )  # fmt: skip


def _tally(values: Array, bins: int) -> Distribution:
    tally = _Tally(bins)
    tally.measure(values)
    tally.sort(values)
    return tally.result()
