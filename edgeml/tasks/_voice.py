"""Whether somebody speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgeml.errors import ModelError
from edgeml.streams import Sample
from edgeml.tasks._arguments import check_seconds, check_share, number_in, whole_in
from edgeml.tasks._audio import Floats, Windows, check_audio
from edgeml.tasks._outputs import check_finite, pick_output
from edgeml.tasks._results import Speech
from edgeml.tasks._task import Model, Task

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import ModelStream, Session


class VoiceActivity(Task):
    """Tell when speech begins and ends: `Speech`, from sound in blocks of any length.

    Speech begins when the probability reaches `onset` and does not fall below `offset` for
    `min_speech`; it ends when it falls below `offset` and does not reach `onset` again for
    `min_silence`. Sound that is missing for more than 0.25 s ends it too.

    Each source of samples is followed by itself. A plain array continues the one before it,
    and returns the state after it.

    Args:
        model: Path, URL, ``"edgeml:NAME"``, or a `Session`.
        emit: ``"change"``: a result when speech begins or ends, with the time at which it
            did, which is `min_speech` or `min_silence` ago; ``"every"``: one a window of
            32 ms.
        onset: Probability at which speech begins, 0 to 1; None: the metadata's, else 0.5.
        offset: Probability below which it ends; by default 0.15 less than `onset`.
        min_speech: Seconds that speech lasts at least.
        min_silence: Seconds that silence lasts at least.
        preprocess: {"sample_rate": Hz, "window": samples, "context": samples of the window
            before that come first, "constants": {input: value}}, instead of the metadata's.
        postprocess: {"output": name}, instead of the metadata's.
        **options: delegate, threads, and as for `Stage`: name, on_error, timeout.

    Raises:
        ModelError: the model is for something else, or does not say how it is fed.
        InputError: the sound is not mono at the model's rate.
        OutputError: the model returned NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from edgeml import VoiceActivity
        >>> VoiceActivity()(np.zeros(16000, np.float32)).active
        False
    """

    task = "voice-activity"
    _outside = ("sample_rate",)

    def __init__(
        self,
        model: Model = "edgeml:silero_vad.onnx",
        *,
        emit: Literal["change", "every"] = "change",
        onset: float | None = None,
        offset: float | None = None,
        min_speech: float = 0.1,
        min_silence: float = 0.5,
        preprocess: Mapping[str, Any] | None = None,
        postprocess: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if emit not in ("change", "every"):
            raise ValueError(f'{self.name}: emit must be "change" or "every"; received {emit!r}')
        given = {"onset": onset, "offset": offset}
        check_share(self.name, **{k: v for k, v in given.items() if v is not None})
        if onset is not None and offset is not None and offset > onset:
            raise ValueError(
                f"{self.name}: offset must not be above onset; received {offset!r} and {onset!r}"
            )
        check_seconds(self.name, min_speech=min_speech, min_silence=min_silence)
        self.emit = emit
        self.onset = onset
        self.offset = offset
        self.min_speech = min_speech
        self.min_silence = min_silence
        self._preprocess_given = preprocess
        self._postprocess_given = postprocess
        self._voices: dict[str | None, _Voice] = {}

    def _prepare(self, session: Session) -> None:
        if self._preprocess_given is None:
            self._check_task(session, "preprocess={…}", "postprocess={…}")
        spec = self._preprocess_given or session.metadata.preprocess
        try:
            self._rate, self._window = whole_in(spec, "sample_rate"), whole_in(spec, "window")
            self._context = whole_in(spec, "context", 0, least=0)
            self._constants = dict(spec.get("constants", {}))
            self._postprocess = self._postprocess_given or session.metadata.postprocess
            threshold = number_in(self._postprocess, "threshold", 0.5, most=1)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.name}: {session.path} does not say how sound becomes its input (wrong at "
                f'{error}); pass preprocess={{"sample_rate": 16000, "window": 512, …}}',
                path=session.path,
            ) from error
        onset = self._onset = threshold if self.onset is None else self.onset
        self._offset = max(0.01, onset - 0.15) if self.offset is None else self.offset
        known = {*session.metadata.state, *self._constants}
        inputs = [spec.name for spec in session.inputs if spec.name not in known]
        if not inputs:
            raise ModelError(
                f"{self.name}: {session.path} has no input for sound: each is a state or a "
                f"constant ({', '.join(sorted(known))})", path=session.path,
            )  # fmt: skip
        self._input = inputs[0]

    def _try_out(self, session: Session) -> None:
        voice = _Voice(self, session)
        voice.hear(np.zeros(self._window, np.float32), 0)
        voice.stream.close()

    def aclose(self) -> None:
        """Free the model and the streams through it; idempotent."""
        voices, self._voices = self._voices, {}
        for voice in voices.values():
            if voice.task is self:  # else another task has taken its place
                voice.stream.close()
        super().aclose()

    def __call__(self, item: Any) -> Any:
        """Return the results for a sample as an iterator, or the state after a plain array."""
        session = self.session
        audio = check_audio(item, self._rate, self.name)
        source = item.source if isinstance(item, Sample) else None
        if (voice := self._voices.get(source)) is None:
            voice = self._voices[source] = _Voice(self, session)
        elif voice.task is not self:
            voice.go_on(self, session)
        if source is not None:
            return self._results(voice, audio, item)
        found = [voice.hear(window, t) for window, t in voice.windows.push(audio)]
        changed = any(speech.changed for speech, _ in found)
        return Speech(voice.active, voice.probability, changed)

    def _results(self, voice: _Voice, audio: Floats, item: Sample[Any]) -> Iterator[Sample[Any]]:
        if voice.windows.is_gap(item):
            end = voice.windows.end
            if voice.restart():
                yield item.replace(data=Speech(False, 0.0, True), t=end, duration=0)
        for window, t in voice.windows.push(audio, item.t):
            speech, since = voice.hear(window, t)
            end = t + round(self._window * 1e9 / self._rate)
            if self.emit == "every":
                yield item.replace(data=speech, t=t, duration=end - t)
            elif speech.changed:
                yield item.replace(data=speech, t=since, duration=end - since)

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        template = "{{ 'ON' if value_json.data.active else 'OFF' }}"
        return (Output("Speech", "binary_sensor", template, device_class="sound"),)


class _Voice:
    """One source of sound: the model's state, and whether somebody speaks."""

    def __init__(self, task: VoiceActivity, session: Session) -> None:
        self.windows = Windows(task._window, task._rate)
        self.active = False
        self.probability = 0.0
        self.since: int | None = None  # when the other state may have begun
        self.go_on(task, session)

    def go_on(self, task: VoiceActivity, session: Session) -> None:
        """Go on with another model, whose state begins at zero; who speaks goes on speaking."""
        self.task = task
        self.path = session.path
        self.stream: ModelStream = session.stream(constants=task._constants)
        self.windows.size = task._window
        self.context = np.zeros(task._context, np.float32)

    def hear(self, window: Floats, t: int) -> tuple[Speech, int]:
        """Return the result for one window, and when its state began."""
        joined = np.concatenate([self.context, window])
        self.context = joined[len(joined) - len(self.context) :]
        outputs = self.stream.run({self.task._input: joined[None]})
        check_finite(outputs, self.path)
        values = pick_output(outputs, self.task._postprocess, self.path)
        self.probability = float(values.reshape(-1)[0])
        since = self._judge(t)
        return Speech(self.active, self.probability, since is not None), since or t

    def _judge(self, t: int) -> int | None:
        """Follow the probability; return when the state began, if it changed."""
        task, p = self.task, self.probability
        if self.active:
            begins, breaks, least = p < task._offset, p >= task._onset, task.min_silence
        else:
            begins, breaks, least = p >= task._onset, p < task._offset, task.min_speech
        if breaks:
            self.since = None
        elif begins and self.since is None:
            self.since = t
        end = t + round(task._window * 1e9 / task._rate)
        if self.since is None or breaks or end - self.since < least * 1e9:
            return None
        since, self.since = self.since, None
        self.active = not self.active
        return since

    def restart(self) -> bool:
        """Forget everything; return whether somebody spoke."""
        spoke = self.active
        self.active, self.probability, self.since = False, 0.0, None
        self.context[:] = 0
        self.windows.reset()
        self.stream.reset()
        return spoke
