"""Where a model puts its examples: features in two dimensions."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ConfigError, DataError, MissingExtra
from edgeml.graph import Tensor, to_onnx
from edgeml.graph._execute import open_session
from edgeml.plots._inputs import batch_of, only_input
from edgeml.plots._picture import COLORS, MARKERS, Picture, new_figure, percent, shown, tidy
from edgeml.plots._probe import WEIGHTED, Array, Part, Probe, find_parts
from edgeml.runtime._errors import translated

_BATCH = 16
_IN_A_LEGEND = 20


@dataclass
class Embedding(Picture):
    """Examples as points, so that similar ones are near; see `embedding`.

    Attributes:
        method: ``"pca"`` or ``"tsne"``.
        points: float64 [examples, 2].
        labels: Class of each example; empty when not known.
        explained: PCA: the share of the variance that each axis has.
    """

    method: str
    points: NDArray[np.float64]
    labels: list[str]
    explained: list[float]

    def _draw(self) -> Any:
        names = list(dict.fromkeys(self.labels)) or [""]
        names = sorted(names, key=lambda n: (not n.isdecimal(), int(n) if n.isdecimal() else 0, n))
        beside = len(names) > 1
        figure = new_figure(5.2 + 1.6 * beside, 4.6)
        axis = figure.add_subplot()
        labels = np.array(self.labels or [""] * len(self.points))
        for i, name in enumerate(names):
            x, y = self.points[labels == name].T
            axis.scatter(
                x, y, s=16 if len(labels) > 100 else 45, alpha=0.8, linewidths=0,
                color=COLORS[i % len(COLORS)], marker=MARKERS[i % len(MARKERS)],
                label=shown(name, 24) if i < _IN_A_LEGEND else None,
            )  # fmt: skip
        if beside:
            more = len(names) - _IN_A_LEGEND
            title = f"and {more} more" if more > 0 else None
            axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), title=title,
                        title_fontsize=8)  # fmt: skip
        axes = [f"component {i + 1} ({percent(share)} of variance)"
                for i, share in enumerate(self.explained)]  # fmt: skip
        axis.set_xlabel(axes[0] if axes else "t-SNE 1 (distances have no unit)")
        axis.set_ylabel(axes[1] if axes else "t-SNE 2")
        axis.set_title(f"{len(self.points):,} examples", fontsize=11)
        axis.set_aspect("equal", adjustable="datalim")
        tidy(axis)
        return figure


def embedding(
    features: Any, labels: Sequence[Any] | None = None, *, method: str = "pca", seed: int = 0
) -> Embedding:
    """Return examples as points of a plane.

    PCA keeps the two directions in which the features vary most; their signs are chosen so that
    the largest entry of each direction is positive. t-SNE keeps neighbours together (van der
    Maaten and Hinton, 2008).

    Args:
        features: Array (examples, …), such as `features` returns.
        labels: Class of each example, for its colour.
        method: "pca", or "tsne", for which scikit-learn must be installed.
        seed: Of t-SNE.

    Raises:
        DataError: there are fewer than three examples, not as many labels, or NaN in them.
        ConfigError: there is no such method.
        MissingExtra: scikit-learn is not installed.

    Example:
        >>> import numpy as np
        >>> from edgeml import plots
        >>> line = np.arange(4.0)[:, None] * np.array([[3.0, 4.0]])
        >>> found = plots.embedding(line)
        >>> found.points[:, 0].round(3).tolist(), round(found.explained[0], 3)
        ([-7.5, -2.5, 2.5, 7.5], 1.0)
    """
    matrix = np.asarray(features, np.float64)
    matrix = matrix.reshape(len(matrix), -1) if matrix.ndim else matrix.reshape(0, 0)
    if len(matrix) < 3 or not matrix.shape[1]:
        raise DataError(f"a map needs at least three examples, received {len(matrix)}")
    if not np.isfinite(matrix).all():
        raise DataError("the features hold NaN or infinity")
    if labels is not None and len(labels) != len(matrix):
        raise DataError(f"expected {len(matrix)} labels, one an example; received {len(labels)}")
    names = [] if labels is None else [str(label) for label in labels]
    if method == "pca":
        points, explained = _pca(matrix)
        return Embedding(method, points, names, explained)
    if method != "tsne":
        raise ConfigError(f"method: expected 'pca' or 'tsne', received {method!r}")
    try:
        manifold = importlib.import_module("sklearn.manifold")
    except ImportError as error:
        raise MissingExtra(
            f"t-SNE needs scikit-learn, which is not installed ({error}): pip install "
            "scikit-learn; method='pca' needs nothing"
        ) from error
    near = min(30.0, (len(matrix) - 1) / 3)
    made = manifold.TSNE(2, perplexity=near, init="pca", random_state=seed).fit_transform(matrix)
    return Embedding(method, np.asarray(made, np.float64), names, [])


def _pca(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[float]]:
    centred = matrix - matrix.mean(axis=0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    kept = axes[:2]
    signs = np.sign(kept[range(len(kept)), np.abs(kept).argmax(axis=1)])
    points = left[:, :2] * sizes[:2] * np.where(signs == 0, 1.0, signs)
    shares = sizes[:2] ** 2 / (float(np.sum(sizes**2)) or 1.0)
    if len(sizes) < 2:
        points = np.column_stack([points, np.zeros(len(points))])
        shares = np.append(shares, 0.0)
    return points, shares.tolist()


def features(
    model: Any, x: Any, *, layer: str | None = None, preprocess: Any = None
) -> NDArray[np.float32]:
    """Return what a layer makes of examples, float32 [examples, features].

    Of a layer with picture-like maps it is the mean over the places.

    Args:
        model: An `edgeml.Model`, an ``onnx.ModelProto`` or a file, as for `edgeml.plots.layers`.
        x: An array as the model takes it; a picture uint8 [height, width, 3] BGR; the path of a
            picture or ``.npy`` file, or a list of such paths.
        layer: Name of the layer; None: the output that the metadata calls features, else what
            goes into the last layer that has weights.
        preprocess: An `edgeml.tasks.ImagePreprocess`, or the same as a dict, instead of the
            metadata's.

    Raises:
        ConfigError: there is no such layer; the message has the nearest names.
        InputError: the input does not fit.
        ModelError: the model does not say how a picture becomes its input.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml import plots
        >>> hidden, head = edgeml.layers.Dense(5, name="hidden"), edgeml.layers.Dense(2)
        >>> model = edgeml.Sequential([edgeml.Input((4,)), hidden, head])
        >>> plots.features(model, np.ones((3, 4))).shape
        (3, 5)
    """
    probe = Probe.open(model)
    graph = probe.graph()
    tensor = only_input(probe, graph)
    parts = find_parts(graph)
    if layer is not None:
        made = probe.part(parts, layer).output
    else:
        said = str(probe.metadata.postprocess.get("features", ""))
        made = graph.outputs[said] if said in graph.outputs else _before_last(parts, probe)
    batch = batch_of(x, tensor, probe, preprocess)
    graph.outputs = {"features": made}
    session = open_session(to_onnx(graph), name=probe.name)
    first = tensor.known_shape[0]
    size = first if isinstance(first, int) else _BATCH
    found: list[Array] = []
    for start in range(0, len(batch), size):
        with translated(probe.name):
            (values,) = session.run(None, {tensor.name: batch[start : start + size]})
        values = values.mean(axis=(2, 3)) if values.ndim == 4 else values
        found.append(values.reshape(len(batch[start : start + size]), -1))
    return np.concatenate(found).astype(np.float32)


def _before_last(parts: Sequence[Part], probe: Probe) -> Tensor:
    for part in reversed(parts):
        for node in part.nodes:
            if node.op in WEIGHTED and part is not parts[0]:
                return node.x
    raise ConfigError(f"{probe.name} has no layer before its last one: choose one with layer=…")
