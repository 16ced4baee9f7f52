"""Words of one's own, found in live sound."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.errors import ConfigError
from edgeml.personalize._head import UNKNOWN
from edgeml.tasks import Wake
from edgeml.tasks._arguments import check_seconds, check_share
from edgeml.tasks._audio import Floats, Windows
from edgeml.tasks._listen import Listener, Once

if TYPE_CHECKING:
    from edgeml.personalize._learner import Learner

_SILENT = 1e-3  # of a window's peak; nothing was said in it


class Spotter(Listener):
    """Tells when one of a learner's words was said: `Wake`, once an utterance, from live sound.

    A window slides over the sound; the learner says what is in it. A word is told when its mean
    probability over the last steps reaches `threshold`, and again only after it fell below it and
    `refractory` has passed. Silence costs nothing. Each source of samples is followed by itself.
    A plain array continues the one before it, and gives the last `Wake` in it, or None.

    Args:
        learner: A `Learner` of a sound backbone; what it accepts is used at once. It stays the
            caller's to close.
        threshold: Mean probability at which a word is told, 0 to 1.
        hop: Seconds from one step to the next.
        mean_over: Steps to average over.
        refractory: Seconds from one event to the next at least.
        **options: As for `Stage`: name, on_error, timeout.

    Raises:
        ConfigError: the learner's backbone takes no windows of sound.
        InputError: the sound is not mono, or of another rate.

    Example:
        >>> import tempfile, numpy as np
        >>> from edgeml.personalize import Learner, Spotter
        >>> learner = Learner("edgeml:speech_embedding.onnx", store=tempfile.mkdtemp())
        >>> Spotter(learner)(np.zeros(32000, np.float32)) is None
        True
        >>> learner.close()
    """

    def __init__(
        self, learner: Learner, *, threshold: float = 0.9, hop: float = 0.08, mean_over: int = 1,
        refractory: float = 1.0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        signal = learner.backbone.signal
        if signal is None or signal.kind != "audio":
            raise ConfigError(
                f"{self.name}: {learner.backbone.name} takes no windows of sound; expected a "
                "backbone such as edgeml:speech_embedding.onnx"
            )
        check_share(self.name, threshold=threshold)
        check_seconds(self.name, refractory=refractory)
        if not hop > 0 or mean_over < 1:
            raise ConfigError(f"{self.name}: expected hop above 0 seconds and mean_over of at "
                              f"least 1; received {hop!r} and {mean_over!r}")  # fmt: skip
        self.learner = learner
        self.threshold = threshold
        self.mean_over = mean_over
        self.refractory = refractory
        self._rate, self._window = round(signal.rate), signal.window
        self._step = max(1, round(hop * signal.rate))
        self._ears: dict[str | None, _Ear] = {}

    def aclose(self) -> None:
        """Forget the sound so far; idempotent. The learner stays open."""
        self._ears.clear()

    def _ear(self, source: str | None) -> _Ear:
        if (ear := self._ears.get(source)) is None:
            ear = self._ears[source] = _Ear(self)
        return ear


class _Ear:
    """One source of sound: the last window, and what was told of each word."""

    def __init__(self, spotter: Spotter) -> None:
        self.spotter = spotter
        self.steps = Windows(spotter._step, spotter._rate)
        self.words: dict[str, _Word] = {}
        self.restart()

    def restart(self) -> None:
        """Forget the sound so far; the refractory times go on."""
        self.steps.reset()
        self.sound = np.zeros(self.spotter._window, np.float32)
        for word in self.words.values():
            word.restart()

    def hear(self, step: Floats, t: int) -> Wake | None:
        """Return the event that this step of sound completes, if any: the likeliest."""
        spotter = self.spotter
        self.sound = np.concatenate([self.sound, step])[-spotter._window :]
        labels, scores = self._scores()
        told = []
        for label in {*labels, *self.words} - {UNKNOWN}:
            word = self.words.setdefault(label, _Word(spotter))
            score = word.hear(scores[labels.index(label)] if label in labels else 0.0, t)
            if score is not None:
                told.append(Wake(label, score))
        return max(told, key=lambda wake: wake.score, default=None)

    def _scores(self) -> tuple[tuple[str, ...], list[float]]:
        learner = self.spotter.learner
        learner._follow()
        labels = learner.labels
        if len(labels) < 2 or np.abs(self.sound).max() < _SILENT:
            return labels, [0.0] * len(labels)
        # A word that is clipped is a word: what is refused as an example is not refused here.
        found = learner._classified(learner.backbone.embed(self.sound))
        return found.labels, found.scores.tolist()


class _Word:
    """How likely a word was in the last steps, and whether it was told already."""

    def __init__(self, spotter: Spotter) -> None:
        self.spotter = spotter
        self.recent: deque[float] = deque(maxlen=spotter.mean_over)
        self.once = Once(spotter.refractory)

    def restart(self) -> None:
        """Begin anew, but for the refractory time."""
        self.recent.clear()
        self.once.restart()

    def hear(self, score: float, t: int) -> float | None:
        """Take the next step's probability; return the mean if the word is to be told."""
        self.recent.append(score)
        mean = sum(self.recent) / self.spotter.mean_over
        return mean if self.once.tells(mean >= self.spotter.threshold, t) else None
