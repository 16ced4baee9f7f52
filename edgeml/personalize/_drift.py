"""Whether what comes is still as it was when the head was taken into use."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.errors import ConfigError, ShapeError
from edgeml.streams import Sample, Stage

if TYPE_CHECKING:
    from edgeml.personalize._learner import Learner

Array = np.ndarray[Any, Any]
_log = logging.getLogger("edgeml.personalize")
_CHUNK = 10  # samples that follow each other and stay together when they are shuffled
_BLOCK = 12 * _CHUNK  # rows of distances at a time
_ALIKE = 0.25  # correlation of neighbours above which every other one is left out


@dataclass(frozen=True)
class Drift:
    """What comes is no longer as it was: time to collect and train anew.

    Attributes:
        t: Time of the last sample that was looked at, ns.
        distance: Energy distance as a share of the most there can be, 0 to 1.
        p: How likely a distance like this is without drift.
        before: Share of each label during the reference; empty where it was given.
        now: Share of each label among the recent samples.

    Example:
        >>> from edgeml.personalize import Drift
        >>> print(Drift(0, 0.31, 0.001, {"mug": 0.9, "unknown": 0.1}, {"unknown": 1.0}))
        features are not as they were (energy distance 0.31, p 0.001); mug 90% -> 0%, unknown \
10% -> 100%: collect examples as they are now, and train
    """

    t: int
    distance: float
    p: float
    before: Mapping[str, float]
    now: Mapping[str, float]

    @property
    def why(self) -> str:
        """What has changed, in a sentence."""
        names = {*self.before, *self.now}
        moved = {n: self.now.get(n, 0.0) - self.before.get(n, 0.0) for n in names}
        most = sorted((n for n in names if abs(moved[n]) >= 0.05),
                      key=lambda n: (-abs(moved[n]), n))[:3]  # fmt: skip
        shares = ", ".join(f"{n} {self.before.get(n, 0.0):.0%} -> {self.now.get(n, 0.0):.0%}"
                           for n in most)  # fmt: skip
        return (
            f"features are not as they were (energy distance {self.distance:.2g}, p {self.p:.2g})"
            + (f"; {shares}" if shares and self.before else "")
        )

    def __str__(self) -> str:
        return f"{self.why}: collect examples as they are now, and train"

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"distance": self.distance, "p": self.p, "why": self.why,
                "before": dict(self.before), "now": dict(self.now)}  # fmt: skip


class DriftWatch(Stage):
    """Watches the features behind results, and says when they have drifted; passes all items on.

    What comes after the start, or after another head was accepted, shows how things are: the
    reference. After that, each `recent` samples are compared with it by their energy distance
    (Székely and Rizzo, 2004). How large it gets without drift is found by shuffling: both are cut
    into runs of ten samples, and the runs dealt anew (Kunsch, 1989: blocks). So that a check is
    wrong with the probability `false_alarms`, neighbours must not be alike: while they are, every
    other sample is left out, and the reference takes twice as long. What never occurred during
    the reference counts as drift: let it be as long as what varies by itself, such as a day.

    A stored example is no reference: examples were chosen, and are no sample of the stream.

    Args:
        learner: Whose head's change starts the watch anew; None: only `reset` does.
        every: Seconds of sample time between two that count, at least.
        reference: How many samples show how things are, a multiple of 10; or their features
            (samples, size), such as `features` of a watch before.
        recent: How many samples are compared with them at a time, a multiple of 10.
        false_alarms: Probability with which a check tells of drift that is none.
        on_drift: Called with a `Drift`, in the thread of the stage; once, until the watch starts
            anew. The sample at hand has it, too, as ``meta["drift"]``.
        name: Of the stage.

    Attributes:
        drift: What was found; None while all is as it was.
        checks: How often recent samples were compared.
        stride: How many samples, `every` seconds apart, stand for one that is looked at.

    Raises:
        ConfigError: a setting is out of range.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import DriftWatch
        >>> rng = np.random.default_rng(0)
        >>> watch = DriftWatch(every=0, reference=200, recent=50)
        >>> for row in rng.normal(size=(300, 8)):
        ...     _ = watch(row)
        >>> watch.checks, watch.drift
        (2, None)
        >>> for row in rng.normal(size=(50, 8)) + 1:
        ...     _ = watch(row)
        >>> watch.drift.p < 0.01
        True
    """

    def __init__(
        self, learner: Learner | None = None, *, every: float = 10.0, reference: Any = 400,
        recent: int = 100, false_alarms: float = 0.001,
        on_drift: Callable[[Drift], object] | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name=name)
        given = None if isinstance(reference, int) else np.asarray(reference, np.float32)
        count = reference if given is None else len(given) if given.ndim == 2 else 0
        if min(count, recent) < 2 * _CHUNK or count % _CHUNK or recent % _CHUNK:
            raise ConfigError(
                f"DriftWatch: expected a reference and recent samples of at least {2 * _CHUNK}, "
                f"multiples of {_CHUNK}; received {count!r} and {recent!r}"
            )
        if not 0 < false_alarms < 1 or not every >= 0:
            raise ConfigError(
                "DriftWatch: expected false_alarms between 0 and 1 and every of 0 or more seconds; "
                f"received {false_alarms!r}, {every!r}"
            )
        chunks = (count + recent) // _CHUNK
        if (most := math.comb(chunks, recent // _CHUNK)) * false_alarms < 20:
            raise ConfigError(
                f"DriftWatch: {count} and {recent} samples can be dealt in {most} ways, too few to "
                f"tell {false_alarms:g}: raise reference, recent or false_alarms"
            )
        self.every = every
        self.recent = recent
        self.false_alarms = false_alarms
        self.on_drift = on_drift
        self._learner = learner
        self._count = count
        self._given = given
        self._rng = np.random.default_rng(0)
        self._head: Any = None if learner is None else learner._head
        self._start(given)

    def _start(self, given: Array | None) -> None:
        self.drift: Drift | None = None
        self.checks = 0
        self.stride = 1
        self._passed = 0
        self._last: dict[str, int] = {}
        self._features: list[Array] = [] if given is None else list(given)
        self._labels: list[str] = []
        self._now: list[tuple[Array, str]] = []
        self._within: Array | None = None

    def reset(self) -> None:
        """Take what comes now as the reference."""
        self._start(None)

    @property
    def features(self) -> Array:
        """The reference so far, float32 (samples, size); for a watch in another process."""
        return np.stack(self._features) if self._features else np.empty((0, 0), np.float32)

    def __call__(self, item: Any) -> Any:
        """Return the item; where it shows drift, with that in its `meta`."""
        head = None if self._learner is None else self._learner._head
        if head is not self._head:  # another was accepted, or taken back
            self._head = head
            self.reset()
        data = item.data if isinstance(item, Sample) else item
        features = getattr(data, "features", data if isinstance(data, np.ndarray) else None)
        if features is None or (isinstance(item, Sample) and not self._counts(item)):
            return item
        found = self._take(np.asarray(features, np.float32).reshape(-1),
                           str(getattr(data, "label", "")), getattr(item, "t", 0))  # fmt: skip
        if found is None or not isinstance(item, Sample):
            return item
        return item.with_data(item.data, drift=found)

    def _counts(self, sample: Sample[Any]) -> bool:
        last = self._last.get(sample.source)
        if last is not None and 0 <= sample.t - last < self.every * 1e9:
            return False
        self._last[sample.source] = sample.t
        return True

    def _take(self, features: Array, label: str, t: int) -> Drift | None:
        if self._features and len(features) != len(self._features[0]):
            raise ShapeError(
                f"{self.name}: the reference has {len(self._features[0])} features, and this "
                f"sample has {len(features)}: they are of another backbone; call reset()",
                expected=len(self._features[0]), received=len(features),
            )  # fmt: skip
        self._passed += 1
        if (self._passed - 1) % self.stride:
            return None
        if len(self._features) < self._count:
            self._features.append(features)
            self._labels.append(label)
            if len(self._features) == self._count and _alike(self.features) > _ALIKE:
                self.stride *= 2
                self._features, self._labels = self._features[::2], self._labels[::2]
                _log.info("%s: samples are alike; one of %d counts", self.name, self.stride)
            return None
        self._now.append((features, label))
        if len(self._now) < self.recent:
            return None
        now, self._now = self._now, []
        self.checks += 1
        distance, p = self._compare(np.stack([row for row, _ in now]))
        if p > self.false_alarms or self.drift is not None:
            return None
        self.drift = Drift(t, distance, p, _shares(self._labels), _shares([n for _, n in now]))
        _log.warning("%s: %s", self.name, self.drift)
        if self.on_drift is not None:
            self.on_drift(self.drift)
        return self.drift

    def _compare(self, recent: Array) -> tuple[float, float]:
        """Return the energy distance to the reference as a share, and how likely it is."""
        before = self.features
        if self._within is None:
            self._within = _sums(before, before)
        across = _sums(before, recent)
        sums = np.block([[self._within, across], [across.T, _sums(recent, recent)]])
        count, chosen = len(sums), len(recent) // _CHUNK
        draws = max(500, math.ceil(5 / self.false_alarms))
        picks = np.zeros((draws, count))
        picks[0, -chosen:] = 1  # as they came, first; the others are dealt
        order = self._rng.permuted(np.tile(np.arange(count), (draws - 1, 1)), axis=1)
        np.put_along_axis(picks[1:], order[:, :chosen], 1, axis=1)
        energy, share = _energy(sums, picks)
        p = float((energy >= energy[0] * (1 - 1e-9)).sum() / draws)
        return float(share[0]), p


def _sums(a: Array, b: Array) -> Array:
    """Return the sums of distances between runs of samples, (runs of a, runs of b)."""
    squares = np.square(b).sum(1)
    rows = []
    for start in range(0, len(a), _BLOCK):
        part = a[start : start + _BLOCK]
        apart = np.square(part).sum(1)[:, None] + squares - 2 * part @ b.T
        rows.append(np.sqrt(np.maximum(apart, 0)))
    distances = np.concatenate(rows).astype(np.float64)
    found: Array = distances.reshape(len(a) // _CHUNK, _CHUNK, len(b) // _CHUNK, _CHUNK).sum((1, 3))
    return found


def _energy(sums: Array, picks: Array) -> tuple[Array, Array]:
    """Return energy distances between the picked runs and the others, and as shares."""
    others = 1 - picks
    m, n = _CHUNK * picks.sum(1), _CHUNK * others.sum(1)
    to_all = picks @ sums
    within = (to_all * picks).sum(1) / m**2
    across = (to_all * others).sum(1) / (m * n)
    beside = (others @ sums * others).sum(1) / n**2
    energy = 2 * across - within - beside
    return energy, energy / np.maximum(2 * across, 1e-30)


def _alike(rows: Array) -> float:
    """Return the correlation of rows that follow each other."""
    spread = float(np.square(rows - rows.mean(0)).sum(1).mean())
    steps = float(np.square(np.diff(rows, axis=0)).sum(1).mean())
    return 1 - steps / (2 * spread) if spread > 0 else 0.0


def _shares(labels: Sequence[str]) -> dict[str, float]:
    counts = Counter(label for label in labels if label)
    return {label: n / len(labels) for label, n in sorted(counts.items())}
