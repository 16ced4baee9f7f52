"""Whether the wake word was said."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml._require import require
from edgeml.errors import ModelError
from edgeml.tasks._arguments import check_seconds, check_share, number_in, whole_in
from edgeml.tasks._audio import Floats, Windows
from edgeml.tasks._listen import Listener, Once
from edgeml.tasks._outputs import check_finite
from edgeml.tasks._results import Wake
from edgeml.tasks._task import Model, Task

if TYPE_CHECKING:
    from edgeml.runtime import ModelStream, Session


class WakeWord(Listener, Task):
    """Tell when a wake word was said: `Wake`, from sound in blocks of any length.

    For streaming models of the micro-wake-word kind, at 16 kHz. It fires when the mean
    probability over the last windows reaches `cutoff`, and again only after it fell below it
    and `refractory` has passed: once an utterance.

    Each source of samples is followed by itself. A plain array continues the one before it,
    and returns the last `Wake` in it, or None.

    Args:
        model: Path, URL, ``"edgeml:NAME"``, or a `Session`.
        cutoff: Mean probability at which it fires, 0 to 1; None: what the model's metadata
            says.
        mean_over: Windows of 30 ms to average over; None: what the metadata says.
        refractory: Seconds from one event to the next at least.
        word: What the result calls the word; None: the model's label.
        preprocess: {"sample_rate": Hz, "features": a step, "frames": a call, "step_ms": of
            the front end}, instead of the metadata's.
        **options: delegate, threads, and as for `Stage`: name, on_error, timeout.

    Raises:
        MissingExtra: pymicro-features is not installed.
        ModelError: the model is for something else, or does not say how it is fed.
        InputError: the sound is not mono at 16 kHz.

    Example:
        >>> import numpy as np
        >>> from edgeml import WakeWord
        >>> WakeWord()(np.zeros(16000, np.float32)) is None
        True
    """

    task = "wake-word"
    _event = "Wake word"
    _outside = ("sample_rate",)

    def __init__(
        self,
        model: Model = "edgeml:okay_nabu.tflite",
        *,
        cutoff: float | None = None,
        mean_over: int | None = None,
        refractory: float = 2.0,
        word: str | None = None,
        preprocess: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, labels=None if word is None else [word], **options)
        if cutoff is not None:
            check_share(self.name, cutoff=cutoff)
        if mean_over is not None and mean_over < 1:
            raise ValueError(f"{self.name}: mean_over must be at least 1; received {mean_over!r}")
        check_seconds(self.name, refractory=refractory)
        self.cutoff = cutoff
        self.mean_over = mean_over
        self.refractory = refractory
        self._preprocess_given = preprocess
        self._ears: dict[str | None, _Ear] = {}

    def _prepare(self, session: Session) -> None:
        if self._preprocess_given is None:
            self._check_task(session, "preprocess={…}", "word=…", "cutoff=…", "mean_over=…")
        spec = self._preprocess_given or session.metadata.preprocess
        post = session.metadata.postprocess
        try:
            self._rate = whole_in(spec, "sample_rate", least=1000)
            self._frames, self._features = whole_in(spec, "frames"), whole_in(spec, "features")
            self._step = self._rate * whole_in(spec, "step_ms") // 1000
            given = self.cutoff
            self._cutoff = number_in(post, "threshold", most=1) if given is None else given
            self._mean_over = self.mean_over or whole_in(post, "mean_over")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.name}: {session.path} does not say how it is fed and read (wrong at "
                f'{error}); pass preprocess={{"sample_rate": 16000, "features": 40, '
                f'"frames": 3, "step_ms": 10}}, cutoff= and mean_over=',
                path=session.path,
            ) from error
        self._word = self._labels_of(session, 1)[0]

    def _try_out(self, session: Session) -> None:
        ear = _Ear(self, session)
        for step, t in ear.steps.push(np.zeros(self._rate, np.float32)):
            ear.hear(step, t)
        ear.stream.close()

    def aclose(self) -> None:
        """Free the model and the streams through it; idempotent."""
        ears, self._ears = self._ears, {}
        for ear in ears.values():
            if ear.task is self:  # else another task has taken its place
                ear.stream.close()
        super().aclose()

    def _ear(self, source: str | None) -> _Ear:
        session = self.session
        if (ear := self._ears.get(source)) is None:
            ear = self._ears[source] = _Ear(self, session)
        elif ear.task is not self:
            ear.go_on(self, session)
        return ear


class _Ear:
    """One source of sound: the front end, the model's state, and the last probabilities."""

    def __init__(self, task: WakeWord, session: Session) -> None:
        features = require("pymicro_features", extra="audio", purpose="edgeml.WakeWord")
        self.frontend = features.MicroFrontend()
        self.steps = Windows(task._step, task._rate)
        self.rows: list[list[float]] = []
        self.once = Once(task.refractory)
        self.go_on(task, session)

    def go_on(self, task: WakeWord, session: Session) -> None:
        """Go on with another model, whose state begins at zero; the refractory time goes on."""
        self.task = task
        self.session = session
        self.stream: ModelStream = session.stream()
        self.steps.size = task._step
        self.recent: deque[float] = deque(maxlen=task._mean_over)

    def hear(self, step: Floats, t: int) -> Wake | None:
        """Return the event, if this step of sound completes a wake word."""
        pcm = np.clip(np.rint(step * 32768), -32768, 32767).astype("<i2")
        if not (row := self.frontend.process_samples(pcm.tobytes()).features):
            return None  # the first window is not full yet
        self.rows.append(row)
        if len(self.rows) < self.task._frames:
            return None
        self.recent.append(self._probability())
        if len(self.recent) < self.task._mean_over:
            return None
        mean = sum(self.recent) / len(self.recent)
        told = self.once.tells(mean >= self.task._cutoff, t)
        return Wake(self.task._word, mean) if told else None

    def _probability(self) -> float:
        features = np.array(self.rows, np.float32)[None]
        self.rows.clear()
        spec, out = self.session.inputs[0], self.session.outputs[0]
        if spec.scale is not None:
            limits = np.iinfo(spec.dtype)
            quantized = np.rint(features / spec.scale) + (spec.zero_point or 0)
            features = np.clip(quantized, limits.min, limits.max).astype(spec.dtype)
        outputs = self.stream.run({spec.name: features})
        check_finite(outputs, self.session.path)
        value = float(outputs[out.name].reshape(-1)[0])
        return value if out.scale is None else (value - (out.zero_point or 0)) * out.scale

    def restart(self) -> None:
        """Forget the sound so far; the refractory time goes on."""
        self.rows.clear()
        self.recent.clear()
        self.once.restart()
        self.steps.reset()
        self.frontend.reset()
        self.stream.reset()
