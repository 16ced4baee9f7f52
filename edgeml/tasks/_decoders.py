"""Detector outputs of several shapes into candidate boxes, one decoder a shape.

A decoder gets all outputs of the model, the size of its input (height, width) and the least
score, and returns `Candidates` in pixels of that input. `make_decoder` finds it by the name
in the metadata's ``postprocess.decoder``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ModelError
from edgeml.tasks._outputs import ACTIVATIONS, Arrays, softmax

Floats = NDArray[np.float32]


class Candidates(NamedTuple):
    """Boxes above the least score, not yet rid of duplicates.

    Attributes:
        boxes: Corners left, top, right, bottom in pixels of the model's input, float32 [n, 4].
        scores: 0 to 1, float32 [n].
        classes: Index of the class, int [n].
    """

    boxes: Floats
    scores: Floats
    classes: NDArray[Any]


Decoder = Callable[[Arrays, tuple[int, int], float], Any]  # of Candidates or such a tuple


def nanodet(strides: Sequence[int] = (8, 16, 32), bins: int = 11) -> Decoder:
    """Each side's distance from a cell's centre as a distribution over `bins` strides.

    Outputs, for each stride: class probabilities [1, cells, classes] and [1, cells, 4 * bins].
    """
    if min(strides, default=0) < 1 or not 1 <= bins <= 1024:
        raise ValueError(f"strides {list(strides)}, bins {bins}")
    steps = np.arange(bins, dtype=np.float32)

    def decode(outputs: Arrays, size: tuple[int, int], min_score: float) -> Candidates:
        found = []
        for stride in strides:
            rows, columns = -(-size[0] // stride), -(-size[1] // stride)
            scores, distances = _of_cells(outputs, rows * columns, 4 * bins)
            keep, best, classes = _best_class(scores, min_score)
            shares = softmax(distances[keep].reshape(-1, 4, bins))
            sides = shares @ steps * stride
            centers = np.stack([keep % columns, keep // columns], 1) * stride + stride / 2
            boxes = np.concatenate([centers - sides[:, :2], centers + sides[:, 2:]], 1)
            found.append(Candidates(boxes.astype(np.float32), best, classes))
        return _joined(found)

    return decode


def yolo_v5(normalized: bool = False) -> Decoder:
    """[1, n, 5 + classes]: centre, size, objectness, class probabilities.

    Args:
        normalized: Boxes are in 0 to 1 of the input, not in its pixels.
    """

    def decode(outputs: Arrays, size: tuple[int, int], min_score: float) -> Candidates:
        rows = _single(outputs, 3)[0]
        rows = rows[rows[:, 4] >= min_score]  # a product is not larger than its factors
        keep, best, classes = _best_class(rows[:, 5:] * rows[:, 4:5], min_score)
        return Candidates(_corners(rows[keep, :4], size, normalized), best, classes)

    return decode


def yolo_v8(normalized: bool = False) -> Decoder:
    """[1, 4 + classes, n]: centre, size, class probabilities; no objectness.

    Args:
        normalized: Boxes are in 0 to 1 of the input, not in its pixels.
    """

    def decode(outputs: Arrays, size: tuple[int, int], min_score: float) -> Candidates:
        columns = _single(outputs, 3)[0]
        keep, best, classes = _best_class(columns[4:].T, min_score)
        return Candidates(_corners(columns[:4, keep].T, size, normalized), best, classes)

    return decode


def ssd(
    boxes: str | None = None,
    scores: str | None = None,
    classes: str | None = None,
    count: str | None = None,
    first_class: int = 0,
) -> Decoder:
    """Finished boxes [1, n, 4] (top, left, bottom, right in 0 to 1), with scores and classes.

    Args:
        boxes: Name of the output; by default the four are taken in the order boxes, classes,
            scores, count, that of TFLite's detection post-processing.
        scores: Name of the output [1, n].
        classes: Name of the output [1, n].
        count: Name of the output [1] of valid rows; where the model has none, all rows are.
        first_class: What the model calls the first label; 1 where it counts a background.
    """

    def decode(outputs: Arrays, size: tuple[int, int], min_score: float) -> Candidates:
        if boxes is None:
            if len(outputs) < 3:
                raise _misfit("ssd", "outputs boxes, classes, scores and count", outputs)
            names = [*outputs, None][:4]
        else:
            names = [boxes, classes, scores, count]
        if missing := [name for name in names[:3] if name not in outputs]:
            raise _misfit("ssd", f"an output {missing[0]!r}", outputs)
        all_boxes, all_classes, all_scores = (outputs[str(name)] for name in names[:3])
        valid = all_scores.size
        if names[3] is not None:
            valid = min(valid, int(outputs[names[3]].reshape(-1)[0]))
        best = all_scores.reshape(-1)[:valid].astype(np.float32)
        keep = np.flatnonzero(best >= min_score)
        height, width = size
        corners = all_boxes.reshape(-1, 4)[keep][:, [1, 0, 3, 2]].astype(np.float32)
        corners *= np.array([width, height, width, height], np.float32)
        index = all_classes.reshape(-1)[keep].astype(np.intp) - first_class
        return Candidates(corners, best[keep], index)

    return decode


def ssd_anchors(
    anchors: Any,
    scale: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
    activation: str = "sigmoid",
    background: bool = True,
) -> Decoder:
    """Boxes as offsets from anchors [1, n, 4] (y, x, height, width) and scores [1, n, classes].

    Args:
        anchors: Centre y, centre x, height, width of each anchor in 0 to 1, [n, 4].
        scale: What the four offsets were multiplied with.
        activation: Of the scores: ``"sigmoid"``, ``"softmax"`` or ``"none"``.
        background: The first class is the background, which has no label.
    """
    grid = np.asarray(anchors, np.float32)
    if grid.ndim != 2 or grid.shape[1] != 4:
        raise ModelError(f"ssd-anchors: expected anchors [n, 4]; received {list(grid.shape)}")
    apply = ACTIVATIONS[activation]

    def decode(outputs: Arrays, size: tuple[int, int], min_score: float) -> Candidates:
        arrays = [a for a in outputs.values() if a.ndim == 3 and a.shape[1] == len(grid)]
        offsets = next((a[0] for a in arrays if a.shape[2] == 4), None)
        logits = next((a[0] for a in arrays if a.shape[2] != 4), None)
        if offsets is None or logits is None:
            raise _misfit(
                "ssd-anchors", f"[1, {len(grid)}, 4] and [1, {len(grid)}, classes]", outputs
            )
        scores = apply(logits.astype(np.float32))[:, int(background) :]
        keep, best, classes = _best_class(scores, min_score)
        parts, near = offsets[keep].astype(np.float32) / np.asarray(scale, np.float32), grid[keep]
        middle = parts[:, :2] * near[:, 2:] + near[:, :2]
        extent = np.exp(parts[:, 2:]) * near[:, 2:]
        yxhw = np.concatenate([middle, extent], 1)
        return Candidates(_corners(yxhw[:, [1, 0, 3, 2]], size, True), best, classes)

    return decode


DECODERS: Mapping[str, Callable[..., Decoder]] = {
    "nanodet": nanodet,
    "ssd": ssd,
    "ssd-anchors": ssd_anchors,
    "yolo-v5": yolo_v5,
    "yolo-v8": yolo_v8,
}
# Of ``postprocess``, but not the decoder's.
_OTHER_KEYS = ("decoder", "threshold", "iou", "output", "activation")


def make_decoder(spec: Any, *, model: str) -> Decoder:
    """Return the decoder that a name, a callable or ``edgeml.postprocess`` asks for.

    Raises:
        ModelError: there is none of that name, or it has no such options.
    """
    if callable(spec):
        decoder: Decoder = spec
        return decoder
    spec = {"decoder": spec} if isinstance(spec, str) else spec
    name = spec.get("decoder") if isinstance(spec, Mapping) else None
    if not isinstance(name, str) or name not in DECODERS:
        raise ModelError(
            f"{model} does not say how its outputs become boxes: expected metadata "
            f"edgeml.postprocess with a decoder of {', '.join(DECODERS)}; received {spec!r}. Pass "
            f'decoder="NAME", or a callable (outputs, (height, width), min_score) -> '
            f"(boxes, scores, classes)",
            path=model,
        )
    # SSD has an activation of its own.
    own = _OTHER_KEYS[:-1] if name == "ssd-anchors" else _OTHER_KEYS
    options = {key: value for key, value in spec.items() if key not in own}
    try:
        return DECODERS[name](**options)
    except (TypeError, KeyError, ValueError) as error:
        raise ModelError(
            f"{model}: decoder {name} does not take these options: {error}; received {spec!r}",
            path=model,
        ) from error


def _best_class(scores: Floats, min_score: float) -> tuple[NDArray[np.intp], Floats, Any]:
    """Return row number, score and class of the rows [n, classes] that reach the score."""
    if scores.flags.c_contiguous and scores.size:
        # Nearly all rows are background. One flat comparison finds the others in a sixth of
        # the time that the maximum of every row takes.
        hits = np.flatnonzero(scores.reshape(-1) >= min_score)
        keep = np.unique(hits // scores.shape[1])
    else:
        keep = np.flatnonzero(scores.max(axis=1, initial=0) >= min_score)
    rows = scores[keep]
    return keep, rows.max(axis=1, initial=0).astype(np.float32), rows.argmax(axis=1)


def _corners(xywh: Floats, size: tuple[int, int], normalized: bool) -> Floats:
    half = xywh[:, 2:] / 2
    corners = np.concatenate([xywh[:, :2] - half, xywh[:, :2] + half], 1).astype(np.float32)
    if normalized:
        corners *= np.array([size[1], size[0]] * 2, np.float32)
    return corners


def _joined(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _single(outputs: Arrays, ndim: int) -> Floats:
    fitting = [a for a in outputs.values() if a.ndim == ndim and a.shape[0] == 1]
    if len(fitting) != 1:
        raise _misfit("yolo", "one output [1, …, …]", outputs)
    return fitting[0].astype(np.float32, copy=False)


def _of_cells(outputs: Arrays, cells: int, wide: int) -> tuple[Floats, Floats]:
    arrays = [a for a in outputs.values() if a.ndim == 3 and a.shape[1] == cells]
    scores = [a[0] for a in arrays if a.shape[2] != wide]
    distances = [a[0] for a in arrays if a.shape[2] == wide]
    if len(scores) != 1 or len(distances) != 1:
        raise _misfit("nanodet", f"[1, {cells}, classes] and [1, {cells}, {wide}]", outputs)
    return scores[0], distances[0]


def _misfit(decoder: str, expected: str, outputs: Arrays) -> ModelError:
    shapes = ", ".join(f"{name} {list(a.shape)}" for name, a in outputs.items())
    return ModelError(
        f"decoder {decoder}: expected {expected}; the model returned {shapes}. Pass the right "
        f'one as decoder="NAME" or a callable'
    )
