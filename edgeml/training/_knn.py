"""A classifier that learns by keeping examples: nothing is trained."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, DataError, ModelFormatError, ModelNotFound, ShapeError
from edgeml.training._files import writing

Array = np.ndarray[Any, Any]
_METRICS = ("cosine", "euclidean")


@dataclass(frozen=True, slots=True)
class KNNResult:
    """What the nearest examples say.

    Args:
        label: The class that most of them have; the one added first, when several have as many.
        class_index: Its number, in the order in which classes were added.
        confidences: The share of each class among them, by label.

    Example:
        >>> from edgeml.training import KNNResult
        >>> KNNResult("cat", 0, {"cat": 1.0, "dog": 0.0}).label
        'cat'
    """

    label: str
    class_index: int
    confidences: dict[str, float]


class KNNClassifier:
    """Says which of the kept examples are nearest; learns a class from one example on.

    The examples are embeddings: what a model such as a picture's or a sound's network makes before
    its last layer.

    Args:
        metric: "cosine" (the angle, as TensorFlow.js's classifier) or "euclidean".

    Example:
        >>> import numpy as np
        >>> from edgeml.training import KNNClassifier
        >>> knn = KNNClassifier()
        >>> knn.add_example([1.0, 0.0], "left")
        >>> knn.add_example([0.0, 1.0], "right")
        >>> knn.predict_class([0.9, 0.2], k=1).label
        'left'
    """

    def __init__(self, metric: str = "cosine") -> None:
        if metric not in _METRICS:
            raise ConfigError(
                f"KNNClassifier: metric: expected one of {', '.join(_METRICS)}, received {metric!r}"
            )
        self.metric = metric
        self._examples: dict[str, list[Array]] = {}
        self._matrix: tuple[Array, Array] | None = None

    @property
    def labels(self) -> list[str]:
        """The classes, in the order in which they were added."""
        return list(self._examples)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self._examples)

    @property
    def class_example_count(self) -> dict[str, int]:
        """The number of examples of each class."""
        return {label: len(rows) for label, rows in self._examples.items()}

    def add_example(self, embedding: Any, label: str | int) -> None:
        """Keep an example, or a batch of one class.

        Args:
            embedding: float (size,), or (examples, size).
            label: Its class.

        Raises:
            DataError: it holds NaN or infinity.
            ShapeError: it has another size than those before.
        """
        rows = self._rows(embedding)
        self._examples.setdefault(str(label), []).extend(rows)
        self._matrix = None

    def _rows(self, embedding: Any) -> Array:
        rows = np.array(embedding, np.float32, ndmin=2)
        if rows.ndim != 2 or not rows.size:
            raise ShapeError(
                f"an embedding is (size,), a batch (examples, size); received {rows.shape}"
            )
        if not np.isfinite(rows).all():
            raise DataError("the embedding holds NaN or infinity")
        size = next((row.size for own in self._examples.values() for row in own), rows.shape[1])
        if rows.shape[1] != size:
            raise ShapeError(
                f"the examples have {size} values, and this one has {rows.shape[1]}",
                expected=size, received=rows.shape[1],
            )  # fmt: skip
        return rows

    def clear_class(self, label: str | int) -> None:
        """Forget the examples of a class.

        Raises:
            DataError: there is no such class.
        """
        if str(label) not in self._examples:
            raise DataError(f"there is no class {label!r}; there are {', '.join(self._examples)}")
        del self._examples[str(label)]
        self._matrix = None

    def clear_all_classes(self) -> None:
        """Forget everything."""
        self._examples.clear()
        self._matrix = None

    def predict_class(self, embedding: Any, k: int = 3) -> KNNResult:
        """Return what the `k` nearest examples of an embedding (size,) say.

        Raises:
            DataError: there are no examples yet.
        """
        (shares,) = self.predict_proba(np.reshape(np.asarray(embedding), (1, -1)), k)
        best = int(shares.argmax())
        labels = self.labels
        named = dict(zip(labels, map(float, shares), strict=True))
        return KNNResult(labels[best], best, named)

    def predict_proba(self, embeddings: Any, k: int = 3) -> Array:
        """Return the share of each class among the `k` nearest examples.

        Args:
            embeddings: float (batch, size).
            k: How many examples decide; of fewer, all.

        Returns:
            float32 (batch, classes), in the order of `labels`.

        Raises:
            DataError: there are no examples yet.
        """
        if not self._examples:
            raise DataError("there are no examples yet: call add_example(embedding, label)")
        if k < 1:
            raise ConfigError(f"k: expected at least 1, received {k}")
        rows = self._rows(embeddings)
        examples, classes = self._stacked()
        near = self._nearness(rows, examples)
        k = min(k, len(examples))
        nearest = np.argpartition(near, -k, axis=1)[:, -k:]
        votes = classes[nearest][:, :, None] == np.arange(self.num_classes)
        found: Array = votes.mean(1, dtype=np.float32)
        return found

    def _stacked(self) -> tuple[Array, Array]:
        """Return all examples as one matrix (of length 1, for angles), and their classes."""
        if self._matrix is None:
            rows = np.stack([row for own in self._examples.values() for row in own])
            counts = [len(own) for own in self._examples.values()]
            classes = np.repeat(np.arange(len(counts)), counts)
            self._matrix = (_unit(rows) if self.metric == "cosine" else rows), classes
        return self._matrix

    def _nearness(self, rows: Array, examples: Array) -> Array:
        """Return larger numbers for nearer examples, up to a constant of each row."""
        near: Array = rows @ examples.T
        if self.metric == "euclidean":
            near = near - 0.5 * np.square(examples).sum(1)
        return near

    def get_classifier_dataset(self) -> dict[str, Array]:
        """Return the examples (examples, size) of each class."""
        return {label: np.stack(rows) for label, rows in self._examples.items()}

    def set_classifier_dataset(self, dataset: Mapping[str, Any]) -> None:
        """Forget everything, and keep the examples (examples, size) of each class."""
        self.clear_all_classes()
        for label, rows in dataset.items():
            self.add_example(rows, label)

    def save(self, path: Any) -> None:
        """Write the examples to an ``.npz`` file, or with ``.onnx`` a model; see `export`."""
        path = Path(path)
        if path.suffix == ".onnx":
            self.export(path)
            return
        arrays = {f"examples/{i}": rows for i, rows in
                  enumerate(self.get_classifier_dataset().values())}  # fmt: skip
        text = json.dumps({"schema": 1, "labels": self.labels, "metric": self.metric})
        arrays["values"] = np.frombuffer(text.encode(), np.uint8)
        with writing(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Any) -> KNNClassifier:
        """Return a classifier with the examples that `save` wrote.

        Raises:
            ModelNotFound: there is no such file.
            ModelFormatError: it holds no examples.
        """
        path = Path(path)
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                values = json.loads(file["values"].tobytes())
                rows = [file[f"examples/{i}"] for i in range(len(values["labels"]))]
                found = cls(values["metric"])
        except FileNotFoundError as error:
            raise ModelNotFound(f"there is no file {path}", path=str(path)) from error
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ModelFormatError(f"{path} holds no examples: {error}", path=str(path)) from error
        found.set_classifier_dataset(dict(zip(values["labels"], rows, strict=True)))
        return found

    def export(self, path: Any, k: int = 3) -> None:
        """Write an ONNX model from embeddings (batch, size) to shares (batch, classes).

        Its metadata has the labels.

        Raises:
            DataError: there are no examples yet.
        """
        from edgeml.graph import Graph, to_onnx

        if not self._examples:
            raise DataError("there are no examples yet: call add_example(embedding, label)")
        graph = Graph()
        with graph:
            x = graph.input("embedding", np.float32, ("batch", self._stacked()[0].shape[1]))
            graph.outputs["confidences"] = self.trace(x, k)
        graph.metadata["edgeml.labels"] = json.dumps(self.labels)
        content = to_onnx(graph, name="knn").SerializeToString()
        with writing(path) as file:
            file.write(content)

    def trace(self, x: Any, k: int = 3) -> Any:
        """Return what `predict_proba` does, of a tensor within a graph."""
        from edgeml import ops
        from edgeml.graph import emit_many

        examples, classes = self._stacked()
        hot = (classes[:, None] == np.arange(self.num_classes)).astype(np.float32)
        near = ops.matmul(x, np.ascontiguousarray(examples.T))
        if self.metric == "euclidean":
            near = near - 0.5 * np.square(examples).sum(1)
        count = np.array([min(k, len(examples))], np.int64)
        nearest = emit_many(2, "TopK", near, count, axis=1)[1]
        return ops.mean(ops.take(hot, nearest), axis=1)


def _unit(rows: Array) -> Array:
    found: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found
