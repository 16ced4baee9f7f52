"""Which of the recent samples are worth a label."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.personalize._head import UNKNOWN, Space, unit
from edgeml.personalize._held_out import weights_of
from edgeml.personalize._store import matrix
from edgeml.streams import Sample, Stage
from edgeml.tasks import Classification

if TYPE_CHECKING:
    from edgeml.personalize._learner import Learner

Array = np.ndarray[Any, Any]
_OWN_SPACE = ("nearest-mean", "knn", "bias", "linear", "mlp")  # heads on features as stored
_NEW = 0.5  # uncertainty of what is like no class
_SAME = 0.02  # squared distance of directions below which two samples show the same


@dataclass(frozen=True)
class Suggestion:
    """A sample that is worth a label.

    Attributes:
        id: Its number, for `Suggestions.label`.
        t: When it was taken, ns on the pipeline's clock; 0 for plain data.
        result: What the head says of it.
        uncertainty: 0 for what is sure, 1 for what could as well be something else.
        why: In words.
        sample: The data, where `Suggestions` keeps them.

    Example:
        >>> from edgeml.personalize import Suggestion
        >>> Suggestion(4, 0, None, 0.9, "mug 0.55, plate 0.45").why
        'mug 0.55, plate 0.45'
    """

    id: int
    t: int
    result: Classification | None = field(repr=False, compare=False)
    uncertainty: float
    why: str
    sample: Any = field(default=None, repr=False, compare=False)


@dataclass
class _Kept:
    suggestion: Suggestion
    features: Array
    direction: Array
    nbytes: int


class Suggestions(Stage):
    """Stands in a stream instead of its learner, and remembers what is worth a label.

    Results pass as the learner gives them. What is remembered is bounded: of samples that show
    nearly the same one stays, the least sure; when there is no more room, the surest makes room;
    after `seconds` a sample is forgotten. All of it is in memory alone.

    A sample is uncertain when the two best classes are near each other (Scheffer et al., 2001:
    margin), or when it is near the threshold between known and unknown. What is like no class
    counts as half uncertain: it may be a new one.

    Args:
        learner: Whose stream it is; it stays the caller's.
        size: How many samples are remembered.
        budget: Bytes that they may take.
        seconds: How long.
        keep_samples: Whether the data are remembered, too, to show them to somebody; a learner
            with `keep_raw` needs them.
        **options: As for `Stage`: name, on_error, timeout.

    Raises:
        ConfigError: a setting is out of range.

    Example:
        >>> import tempfile, numpy as np
        >>> from edgeml.personalize import Learner, Suggestions
        >>> rng = np.random.default_rng(0)
        >>> learner = Learner("edgeml:activity_watch_int8.onnx", store=tempfile.mkdtemp())
        >>> suggestions = Suggestions(learner)
        >>> for _ in range(20):
        ...     result = suggestions(rng.normal(0, rng.uniform(1, 20), (100, 6)))
        >>> for found in suggestions.suggest(2):
        ...     _ = suggestions.label(found.id, "shaken")
        >>> learner.counts()
        {'shaken': 2}
        >>> learner.close()
    """

    def __init__(
        self, learner: Learner, *, size: int = 256, budget: int = 64 << 20,
        seconds: float = 3600.0, keep_samples: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        if size < 1 or budget < 1 or not seconds > 0:
            raise ConfigError(
                "Suggestions: expected size and budget of at least 1 and seconds above 0; received "
                f"{size!r}, {budget!r}, {seconds!r}"
            )
        self.learner = learner
        self.size = size
        self.budget = budget
        self.seconds = seconds
        self.keep_samples = keep_samples or learner.keep_raw
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self._next = 1
        self._head: Any = None
        self._edge: _Edge | None = None

    def __call__(self, item: Any) -> Any:
        """Return what the learner says of an item, and remember it where it is worth it."""
        found = self.learner(item)
        result = found.data if isinstance(found, Sample) else found
        if result.features is not None:
            with self._lock:
                self._remember(item, result)
        return found

    def _remember(self, item: Any, result: Classification) -> None:
        t = item.t if isinstance(item, Sample) else 0
        uncertainty, why = self._uncertainty(result)
        features = np.array(result.features, np.float32)
        data = item.data if isinstance(item, Sample) else item
        kept = np.array(data) if self.keep_samples else None
        size = 2 * features.nbytes + (0 if kept is None else kept.nbytes)
        new = _Kept(Suggestion(self._next, t, result, uncertainty, why, kept), features,
                    unit(features[None])[0], size)  # fmt: skip
        oldest = t - self.seconds * 1e9
        self._kept = [k for k in self._kept if not k.suggestion.t < oldest]
        if self._kept:
            near = 2 - 2 * np.stack([k.direction for k in self._kept]) @ new.direction
            same = int(near.argmin())
            if near[same] < _SAME:
                if self._kept[same].suggestion.uncertainty >= uncertainty:
                    return
                del self._kept[same]
        self._kept.append(new)
        self._next += 1
        while len(self._kept) > self.size or self.nbytes > self.budget:
            surest = min(range(len(self._kept)),
                         key=lambda i: self._kept[i].suggestion.uncertainty)  # fmt: skip
            del self._kept[surest]

    def _uncertainty(self, result: Classification) -> tuple[float, str]:
        head = self.learner._head
        if head is not self._head:
            self._head, self._edge = head, None if head is None else _Edge.of(self.learner, head)
        (first, best), *rest = result.top
        if head is None:
            return 1.0, "nothing has been learned yet"
        second, next_best = rest[0] if rest else ("", 0.0)
        margin = 1 - (best - next_best)
        near = 0.0 if self._edge is None else self._edge.nearness(result.features)
        if near > max(margin, 0.5):
            side = "above" if result.label != UNKNOWN else "below"
            return near, f"{result.label}, just {side} the threshold"
        if result.label == UNKNOWN:
            return max(margin, near, _NEW), "like no class: a new one?"
        return max(margin, near), f"{first} {best:.2f}, {second} {next_best:.2f}"

    @property
    def nbytes(self) -> int:
        """Bytes that the remembered samples take."""
        return sum(k.nbytes for k in self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def suggest(self, count: int = 5) -> list[Suggestion]:
        """Return samples to label: uncertain, and unlike each other and all examples.

        Args:
            count: How many at most.
        """
        examples = self.learner._chosen()
        with self._lock:
            kept = list(self._kept)
        if not kept:
            return []
        directions = np.stack([k.direction for k in kept])
        sure = np.array([k.suggestion.uncertainty for k in kept])
        apart = np.full(len(kept), 2.0)
        if examples:
            apart = 2 - 2 * (directions @ unit(matrix(examples)).T).max(1)
        found: list[Suggestion] = []
        while len(found) < min(count, len(kept)):
            value = np.where(apart > _SAME, (sure + 1e-3) * apart, 0)
            best = int(value.argmax())
            if not value[best]:
                break
            found.append(kept[best].suggestion)
            apart = np.minimum(apart, 2 - 2 * directions @ directions[best])
            apart[best] = 0
        return found

    def label(self, suggestion: int, label: str, *, subject: str = "") -> int | None:
        """Keep a suggested sample as an example; return what `Learner.add` returns.

        Args:
            suggestion: Its number.
            label: Its class; ``"unknown"`` for what is of no class.
            subject: Whom it is of.

        Raises:
            DataError: it is no longer remembered, or an example is nearly the same.
        """
        with self._lock:
            one = next((k for k in self._kept if k.suggestion.id == suggestion), None)
        if one is None:
            raise DataError(f"suggestion {suggestion} is no longer remembered: ask for new ones")
        added = self.learner.add_features(
            label, one.features, sample=one.suggestion.sample, subject=subject
        )
        self.dismiss(suggestion)
        return added

    def dismiss(self, suggestion: int) -> None:
        """Forget a sample that needs no label; nothing happens when it is not there."""
        with self._lock:
            self._kept = [k for k in self._kept if k.suggestion.id != suggestion]

    def clear(self) -> None:
        """Forget all samples."""
        with self._lock:
            self._kept = []


@dataclass(frozen=True)
class _Edge:
    """Where the unknown begins, by the examples in the store."""

    space: Space
    threshold: float
    width: float

    @classmethod
    def of(cls, learner: Learner, head: Any) -> _Edge | None:
        """Return that of a head in use; None where its examples are gone, or it turns none away."""
        said = json.loads(head[0].get_modelmeta().custom_metadata_map["edgeml.personalize"])
        if said.get("method") not in _OWN_SPACE:  # its features are not those in the store
            return None
        labels = [label for label in head[1] if label != UNKNOWN]
        examples = [e for e in learner._chosen() if e.label in (*labels, UNKNOWN)]
        numbers = {label: i for i, label in enumerate(labels)} | {UNKNOWN: len(labels)}
        y = np.array([numbers[e.label] for e in examples], int)
        threshold = float(said.get("threshold", -1.0))
        if threshold <= -1 or set(range(len(labels))) - set(y.tolist()) or len(set(y.tolist())) < 2:
            return None
        x = matrix(examples)
        space = Space.of(x, y, weights_of(y, None), len(labels))
        if said.get("method") == "knn":
            space = Space(space.centre, space(x[y < len(labels)]))
        return cls(space, threshold, float(space.similarity(x[y < len(labels)]).std()) + 0.05)

    def nearness(self, features: Any) -> float:
        """Return 1 at the threshold, and less further away."""
        gap = float(self.space.similarity(np.asarray(features)[None])[0]) - self.threshold
        return float(np.exp(-0.5 * np.square(gap / self.width)))
