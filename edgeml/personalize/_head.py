"""What all heads share: labels, a space of features, what is unknown, and the ONNX graph."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.personalize._adapt_blocks import through
from edgeml.personalize._held_out import ALONE, HeldOut, folds_of, threshold_of, weights_of

Array = np.ndarray[Any, Any]
UNKNOWN = "unknown"
_TINY = 1e-12
_ENOUGH = 5  # unknown examples, for their mean to be the centre


@dataclass(frozen=True)
class Space:
    """Features, moved to a centre and brought to length 1 (Wang et al., 2019: SimpleShot).

    Args:
        centre: float32 (size,).
        anchors: Directions that are known, of length 1, (anchors, size).
    """

    centre: Array
    anchors: Array

    @classmethod
    def of(cls, x: Array, y: Array, weights: Array, classes: int) -> Space:
        """Return the space of the classes' means; class number `classes` is the unknown.

        The centre is what anything at all looks like: the mean of unknown examples where there
        are some. It tells unknown from known far better than the mean of the classes.
        """
        outside = x[y == classes]
        centre = _means(x, y, weights, classes).mean(0)
        if len(outside) >= _ENOUGH:
            centre = outside.mean(0)
        elif classes == 1:
            centre = (centre + outside.mean(0)) / 2
        centre = centre.astype(np.float32)
        return cls(centre, unit(_means(unit(x - centre), y, weights, classes)))

    def __call__(self, x: Array) -> Array:
        """Return features in this space, (examples, size)."""
        return unit(x - self.centre)

    def similarity(self, x: Array) -> Array:
        """Return the cosine to the nearest anchor, (examples,)."""
        found: Array = (self(x) @ self.anchors.T).max(1)
        return found

    def trace(self, x: Any) -> tuple[Any, Any]:
        """Return what both of these are for a tensor."""
        moved = x - self.centre
        length = ops.sqrt(ops.sum(ops.square(moved), axis=1, keepdims=True))
        z = moved / ops.maximum(length, np.float32(_TINY))
        near = ops.matmul(z, np.ascontiguousarray(self.anchors.T))
        return z, ops.max(near, axis=1, keepdims=True)


def unit(x: Array) -> Array:
    """Return rows of length 1."""
    found: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), _TINY)
    return found.astype(np.float32)


def _means(z: Array, y: Array, weights: Array, classes: int) -> Array:
    shares = np.where(y == np.arange(classes)[:, None], weights, np.float32(0))
    found: Array = (shares / shares.sum(1, keepdims=True)) @ z
    return found


class Head(ABC):
    """Tells classes apart by the features that a backbone makes of samples; the base of all heads.

    Examples labelled ``"unknown"`` are of no class: they teach what to turn away. What is less
    like the nearest class than a threshold is unknown, too; the threshold comes from examples
    that were held out.

    Attributes:
        labels: The known classes, in the order in which they came.
        threshold: Cosine to the nearest class (or example, of `KNN`) below which it is unknown.
        held_out: What it says of its examples when it has not learned from them.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import NearestMean
        >>> head = NearestMean().fit(np.eye(2).repeat(3, 0), ["left"] * 3 + ["right"] * 3)
        >>> head.predict([[0.9, 0.1], [-1, -1]])
        ['left', 'unknown']
    """

    name = ""
    max_folds = 10
    alone = ALONE
    """Up to so many examples, each is held out alone."""
    rest = 0.0
    """Share of the time of training in which nothing is done."""
    blocks: bytes | None = None
    """ONNX file from what is kept of an example to its features; None: the features are kept."""

    labels: tuple[str, ...] = ()
    threshold: float = -1.0
    held_out: HeldOut
    _space: Space

    def fit(
        self, features: Any, labels: Sequence[str], *, weights: Any = None, keep: float = 0.95,
        groups: Any = None,
    ) -> Self:  # fmt: skip
        """Learn from examples, and forget those before.

        Classes weigh the same, however many examples they have.

        Args:
            features: float (examples, size).
            labels: One for each; ``"unknown"`` for what is of no class.
            weights: How much each example counts within its class; None: all the same.
            keep: Share of the known examples that the threshold should let through.
            groups: What each example belongs to, such as a recording; those of one are held out
                together. None: each stands for itself.

        Raises:
            DataError: there is one class only, or features hold NaN or infinity.
            ShapeError: there are not as many labels, or groups, as features.
        """
        if not 0 < keep <= 1:
            raise ConfigError(f"keep: expected above 0, up to 1; received {keep!r}")
        x, names = _checked(features, labels)
        self.labels = tuple(dict.fromkeys(name for name in names if name != UNKNOWN))
        if len(set(names)) < 2 or not self.labels:
            raise DataError(
                f"there is one class only, {names[0]!r}: add examples of another class, or of "
                f'anything else with the label "{UNKNOWN}"'
            )
        known = len(self.labels)
        numbers = {name: i for i, name in enumerate(self.labels)} | {UNKNOWN: known}
        y = np.array([numbers[name] for name in names])
        w = weights_of(y, weights)
        if groups is not None and len(groups) != len(x):
            raise ShapeError(f"there are {len(x)} rows of features and {len(groups)} groups",
                             expected=len(x), received=len(groups))  # fmt: skip
        folds = folds_of(y, self.max_folds, groups, alone=self.alone)
        scores, similarity = self._learn(self._taught(x), y, w, folds)
        seen = folds >= 0
        similarity = np.where(seen, similarity, np.nan).astype(np.float32)
        self.threshold = threshold_of(similarity, y < known, keep)
        said = self._named(_gated(scores, similarity, self.threshold, known))
        self.held_out = HeldOut(
            names, tuple(s if ok else None for s, ok in zip(said, seen, strict=True)),
            similarity, len(np.unique(folds[seen])),
        )  # fmt: skip
        return self

    def _learn(self, x: Array, y: Array, w: Array, folds: Array) -> tuple[Array, Array]:
        """Learn; return scores and similarities of the examples when they are held out."""
        known = len(self.labels)
        scores = np.zeros((len(x), self._columns(y)), np.float32)
        similarity = np.full(len(x), np.nan, np.float32)
        for fold in np.unique(folds[folds >= 0]):
            out = folds == fold
            part = copy.copy(self)
            part._learn_part(x[~out], y[~out], w[~out], known)
            features = part._after(x[out])
            scores[out] = part._scores(features)
            similarity[out] = part._space.similarity(features)
        self._learn_part(x, y, w, known)
        return scores, similarity

    def _columns(self, y: Array) -> int:
        """Return how many columns the scores have: the unknown is one where it was taught."""
        return int(y.max()) + 1

    def _before(self) -> bytes | None:
        """Return the ONNX file of what comes before the head, as it is now."""
        return self.blocks

    def _inner(self, x: Array) -> Array:
        """Return the features of what is kept of examples."""
        blocks = self._before()
        return x if blocks is None else through(blocks, x)

    def _taught(self, x: Array) -> Array:
        """Return what the head learns from."""
        return self._inner(x)

    def _after(self, x: Array) -> Array:
        """Return the features of what the head has learned from."""
        return x

    @abstractmethod
    def _learn_part(self, x: Array, y: Array, w: Array, known: int) -> None:
        """Learn from these examples alone."""

    @abstractmethod
    def _scores(self, x: Array) -> Array:
        """Return the probabilities of the known classes, and of the unknown where it was taught."""

    @abstractmethod
    def _trace_scores(self, z: Any) -> Any:
        """Return the same of a tensor that is in the head's space."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __call__(self, features: Any) -> Array:
        """Return probabilities float32 (examples, classes + 1): `labels`, then the unknown.

        Raises:
            DataError: the head has not learned yet, or features hold NaN or infinity.
            ShapeError: the features have another size.
        """
        x = self._inner(self._rows(features))
        similarity = self._space.similarity(x)
        return _gated(self._scores(x), similarity, self.threshold, len(self.labels))

    def predict(self, features: Any) -> list[str]:
        """Return a label, or ``"unknown"``, for each row of features (examples, size)."""
        return self._named(self(features))

    def _named(self, probabilities: Array) -> list[str]:
        names = (*self.labels, UNKNOWN)
        return [names[i] for i in probabilities.argmax(1)]

    def _rows(self, features: Any) -> Array:
        if not self.labels:
            raise DataError(f"{type(self).__name__} has not learned yet: call fit first")
        x, _ = _checked(features, None)
        if self.blocks is None and x.shape[1] != len(self._space.centre):
            raise ShapeError(
                f"the head knows features of {len(self._space.centre)} values, and these have "
                f"{x.shape[1]}: they are of another backbone",
                expected=len(self._space.centre), received=x.shape[1],
            )  # fmt: skip
        return x

    def trace(self, x: Any) -> Any:
        """Return the probabilities of a tensor of features, within a graph."""
        z, similarity = self._space.trace(x)
        known = len(self.labels)
        scores = self._trace_scores(z)[:, :known]
        kept = ops.where(similarity >= np.float32(self.threshold), scores, np.float32(0))
        rest = np.float32(1) - ops.sum(kept, axis=1, keepdims=True)
        return ops.concatenate([kept, ops.maximum(rest, np.float32(0))], axis=1)

    def to_onnx(self, metadata: Mapping[str, str] | None = None) -> Any:
        """Return an ``onnx.ModelProto`` from features (batch, size) to probabilities.

        Args:
            metadata: More for the file's metadata, which has the labels.

        Raises:
            DataError: the head has not learned yet.
        """
        from edgeml.graph import to_onnx

        if not self.labels:
            raise DataError(f"{type(self).__name__} has not learned yet: call fit first")
        graph, x = self._begin()
        with graph:
            graph.outputs["probabilities"] = self.trace(x)
        graph.metadata = {
            "edgeml.schema": "1", "edgeml.task": "personal-classification",
            "edgeml.labels": json.dumps([*self.labels, UNKNOWN]),
            "edgeml.postprocess": json.dumps({"output": "probabilities", "activation": "none"}),
            "edgeml.personalize": json.dumps({"method": self.name, "threshold": self.threshold}),
            **(metadata or {}),
        }  # fmt: skip
        return to_onnx(graph, name="head")

    def _begin(self) -> tuple[Any, Any]:
        """Return a graph, and the features in it."""
        from edgeml.graph import Graph, from_onnx
        from edgeml.graph._infer import onnx

        blocks = self._before()
        if blocks is None:
            graph = Graph()
            return graph, graph.input("features", np.float32, ("batch", len(self._space.centre)))
        graph = from_onnx(onnx().load_from_string(blocks))
        return graph, graph.outputs.pop("inner")

    def export(self, path: Any) -> None:
        """Write the head alone as an ONNX file, from features to probabilities."""
        from edgeml.training._files import writing

        content = self.to_onnx().SerializeToString()

        with writing(path, 0o600) as file:  # it was learned from somebody's data
            file.write(content)


def _checked(features: Any, labels: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    x = np.asarray(features, np.float32)
    if x.ndim != 2 or not x.size:
        raise ShapeError(f"features: expected an array (examples, size), received {x.shape}",
                         expected="(examples, size)", received=x.shape)  # fmt: skip
    if not np.isfinite(x).all():
        raise DataError("the features hold NaN or infinity")
    names = () if labels is None else tuple(map(str, labels))
    if labels is not None and len(names) != len(x):
        raise ShapeError(f"there are {len(x)} rows of features and {len(names)} labels",
                         expected=len(x), received=len(names))  # fmt: skip
    return x, names


def _gated(scores: Array, similarity: Array, threshold: float, known: int) -> Array:
    kept = np.where(similarity[:, None] >= threshold, scores[:, :known], np.float32(0))
    rest = np.maximum(1 - kept.sum(1, keepdims=True), 0)
    found: Array = np.concatenate([kept, rest], axis=1).astype(np.float32)
    return found
