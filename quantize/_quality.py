"""How good a model is on examples, and whether another is worse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import DataError, InputError, OutputError
from edgeml.quantize._metadata import get_metadata
from edgeml.quantize._model import Model
from edgeml.quantize._samples import Samples
from edgeml.runtime._errors import translated

Array = NDArray[Any]
Outputs = Mapping[str, Array]
Score = Callable[[Outputs, Outputs, Any], float]


@dataclass(frozen=True)
class Metric:
    """A score from 0 to 1 for one example; a model's is the mean, in points of 100.

    Args:
        name: What the report calls it.
        score: ``score(outputs, reference, label)``: the model's outputs, those of the model
            that came in, and the truth.
        labelled: Whether it needs the truth.
    """

    name: str
    score: Score
    labelled: bool = False


def metric_of(metric: Any, model: Model, samples: Samples, reference: Outputs) -> Metric:
    """Return the metric that a user means, or the one that fits the model.

    ``"accuracy"`` needs labels; ``"agreement"`` compares the most likely class with that of the
    model that came in; ``"boxes"`` the detections, matched at an overlap of one half;
    ``"closeness"`` is one minus the relative error of all outputs. A function
    ``fn(outputs, label) -> float`` from 0 to 1 is taken as it is.

    Raises:
        DataError: the metric is not known, or needs labels that are missing.
    """
    if callable(metric):
        return _of_function(metric)
    if metric is None:
        metric = _fitting(model, samples, reference)
    if metric == "boxes":
        return Metric("boxes", _boxes(model))
    if metric not in _METRICS:
        raise DataError(
            f"there is no metric {metric!r}: {', '.join(sorted([*_METRICS, 'boxes']))}, or a "
            "function of (outputs, label)"
        )
    found = _METRICS[metric]
    if found.labelled and samples.labels is None:
        raise DataError(
            f"{metric} needs labels, and the data have none: pass (inputs, labels), or take "
            "metric='agreement', which compares with the model that came in"
        )
    return found


def _of_function(function: Callable[[Outputs, Any], float]) -> Metric:
    name = getattr(function, "__name__", type(function).__name__)

    def score(outputs: Outputs, _: Outputs, label: Any) -> float:
        returned = function(outputs, label)
        try:
            found = float(returned)
        except (TypeError, ValueError):
            found = np.nan
        if not 0 <= found <= 1:
            raise DataError(
                f"metric {name} returned {returned!r:.100}; expected a number from 0 to 1, of "
                "which a hundredth is a point"
            )
        return found

    return Metric(name, score)


def _fitting(model: Model, samples: Samples, reference: Outputs) -> str:
    if get_metadata(model).get("task") == "object-detection":
        return "boxes"
    first, *others = reference.values()
    says = _says_classes(first) and any(has_classes(array) for array in others)
    classes = says or has_classes(first)
    if classes and samples.labels is not None:
        return "accuracy"
    task = str(get_metadata(model).get("task", ""))
    return "agreement" if classes and ("classif" in task or says or not others) else "closeness"


def has_classes(array: Array) -> bool:
    """Return whether an output is float (n, classes), a score for each class."""
    return array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind == "f"


def _says_classes(array: Array) -> bool:
    """Return whether an output is the classes themselves, as scikit-learn's are."""
    return array.ndim == 1 and array.dtype.kind in "iuOSU"


def _picked(outputs: Outputs) -> Array:
    """Return the class that a model says, for each row of its first output."""
    name, first = next(iter(outputs.items()))
    if first.dtype.kind != "f":
        return first.reshape(-1)
    rows = first.reshape(len(first), -1) if first.ndim > 1 else first.reshape(1, -1)
    if rows.shape[1] > 1:
        return np.asarray(rows.argmax(1))
    if not ((rows >= 0) & (rows <= 1)).all():
        raise DataError(
            f"output {name!r} is one number that is no probability, so that it says no class: "
            "pass a function of (outputs, label) as the metric"
        )
    return np.asarray(rows[:, 0] > 0.5, np.int64)


def _accuracy(outputs: Outputs, _: Outputs, label: Any) -> float:
    ours, right = _picked(outputs), np.asarray(label).reshape(-1)
    if len(ours) == 1 and len(right) > 1 and right.dtype.kind in "biuf":  # one-hot
        right = np.atleast_1d(right.argmax())
    scores = next(iter(outputs.values()))
    classes = scores.shape[1] if has_classes(scores) else 0
    if classes and right.dtype.kind in "iu" and not ((right >= 0) & (right < classes)).all():
        raise DataError(
            f"label {np.asarray(label).tolist()} is no class: the model has {classes}, which are "
            f"0 to {classes - 1}"
        )
    texts = [array.dtype.kind in "OSU" for array in (ours, right)]
    if len(ours) != len(right) or texts[0] != texts[1]:
        raise DataError(
            f"accuracy: the model says {ours.tolist()!r} where the label is "
            f"{np.asarray(label).tolist()!r}; expected the number of a class, or what its first "
            "output says"
        )
    return float(np.mean(ours == right))


def _agreement(outputs: Outputs, reference: Outputs, _: Any) -> float:
    ours, theirs = _picked(outputs), _picked(reference)
    return float(np.mean(ours == theirs)) if len(ours) == len(theirs) else 0.0


def _closeness(outputs: Outputs, reference: Outputs, _: Any) -> float:
    return 1.0 - min(1.0, relative_error(outputs, reference))


def relative_error(outputs: Outputs, reference: Outputs) -> float:
    """Return the error of all float outputs, relative to their size; each counts the same."""
    errors = []
    for name, right in reference.items():
        if outputs[name].shape != right.shape:
            errors.append(1.0)
        elif right.dtype.kind == "f" and right.size:
            size = float(np.linalg.norm(right.astype(np.float64)))
            gap = float(np.linalg.norm(outputs[name].astype(np.float64) - right))
            errors.append(gap / size if size > 0 else float(gap > 0))
    if not errors:
        same = all(np.array_equal(outputs[name], right) for name, right in reference.items())
        return 0.0 if same else 1.0
    return float(np.mean(errors))


_METRICS = {
    "accuracy": Metric("accuracy", _accuracy, labelled=True),
    "agreement": Metric("agreement", _agreement),
    "closeness": Metric("closeness", _closeness),
}


def _boxes(model: Model) -> Score:
    """Return the share of boxes that both find, matched at an overlap of one half."""
    from edgeml.tasks._decoders import make_decoder
    from edgeml.tasks._nms import nms

    metadata = get_metadata(model)
    post = metadata.get("postprocess", {})
    size = metadata.get("preprocess", {}).get("size")
    if not isinstance(post, Mapping) or not size:
        raise DataError(
            "boxes: the model's metadata do not say how its outputs become boxes (edgeml."
            "postprocess, edgeml.preprocess): write them with edgeml.quantize.set_metadata"
        )
    decode = make_decoder(post, model="the model")
    threshold, limit = float(post.get("threshold", 0.4)), 100

    def found(outputs: Outputs) -> list[tuple[Array, int]]:
        boxes, scores, classes = map(
            np.asarray, decode(dict(outputs), (int(size[0]), int(size[1])), threshold)
        )
        keep = nms(boxes.reshape(-1, 4), scores, classes, float(post.get("iou", 0.5)), limit)
        return [(boxes[k], int(classes[k])) for k in keep]

    def score(outputs: Outputs, reference: Outputs, _: Any) -> float:
        ours, theirs = found(outputs), found(reference)
        if not ours and not theirs:
            return 1.0
        return 2 * _matched(ours, theirs) / (len(ours) + len(theirs))

    return score


def _matched(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    left = list(theirs)
    count = 0
    for box, label in ours:
        overlaps = [_overlap(box, other) if label == name else 0.0 for other, name in left]
        if overlaps and max(overlaps) >= 0.5:
            left.pop(int(np.argmax(overlaps)))
            count += 1
    return count


def _overlap(a: Array, b: Array) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inner = width * height
    return float(inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner))


def divergence(outputs: Outputs, reference: Outputs) -> float:
    """Return how far outputs are from those of the model that came in; 0 is the same.

    Where the first output tells classes apart, it is the Kullback-Leibler divergence of the
    probabilities; else the relative error of all outputs.
    """
    name, right = next(iter(reference.items()))
    if not has_classes(right) or outputs[name].shape != right.shape:
        return relative_error(outputs, reference)
    p, q = log_probabilities(right), log_probabilities(outputs[name])
    return float((np.exp(p) * (p - q)).sum(1).mean())


def log_probabilities(values: Array) -> Array:
    """Return the logarithms of probabilities (n, classes), from these or from logits."""
    values = values.astype(np.float64)
    if (values >= 0).all() and np.allclose(values.sum(1), 1.0, atol=1e-3):
        values = np.log(np.maximum(values, 1e-9))
    shifted = values - values.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def outputs_of(session: Any, feeds: Iterable[Mapping[str, Array]]) -> Iterable[Outputs]:
    """Yield a session's outputs by name; sequences and maps become arrays of their numbers.

    Raises:
        InputError: an example does not fit the model, or holds NaN or infinity.
        OutputError: an output holds NaN or infinity.
    """
    names = [node.name for node in session.get_outputs()]
    for feed in feeds:
        with translated("the model"):
            values = session.run(names, dict(feed))
        found = {name: _as_array(value) for name, value in zip(names, values, strict=True)}
        for name, array in found.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                _check_finite(feed)
                raise OutputError(f"output {name!r} holds NaN or infinity", name=name)
        yield found


def _check_finite(feed: Mapping[str, Array]) -> None:
    for name, array in feed.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"an example's {name!r} holds NaN or infinity", name=name)


def _as_array(value: Any) -> Array:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return np.array([[*row.values()] for row in value], np.float32)
    if isinstance(value, list):
        parts = [np.asarray(part).reshape(-1) for part in value]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)
    return np.empty(0, np.float32) if value is None else np.asarray(value)
