"""What tells words in live sound: each source by itself, each word once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from edgeml.streams import Sample, Stage
from edgeml.tasks._audio import Floats, Windows, check_audio
from edgeml.tasks._results import Wake

if TYPE_CHECKING:
    from edgeml.events import Output


class Ear(Protocol):
    """One source of sound, heard step by step."""

    steps: Windows

    def hear(self, step: Floats, t: int) -> Wake | None:
        """Return the event that a step of sound completes, if any."""

    def restart(self) -> None:
        """Forget the sound so far; refractory times go on."""


class Listener(Stage):
    """A stage with one `Ear` for each source; the base of what tells words."""

    _event = "Word"  # what discovery calls it

    @abstractmethod
    def _ear(self, source: str | None) -> Ear:
        """Return what hears a source; that of plain arrays for None."""

    def __call__(self, item: Any) -> Any:
        """Return the events in a sample as an iterator, or the last one in a plain array."""
        ear = self._ear(item.source if isinstance(item, Sample) else None)
        audio = check_audio(item, ear.steps.rate, self.name)
        if isinstance(item, Sample):
            return self._results(ear, audio, item)
        found = [wake for step, t in ear.steps.push(audio) if (wake := ear.hear(step, t))]
        return found[-1] if found else None

    def _results(self, ear: Ear, audio: Floats, item: Sample[Any]) -> Iterator[Sample[Any]]:
        if ear.steps.is_gap(item):
            ear.restart()
        for step, t in ear.steps.push(audio, item.t):
            if wake := ear.hear(step, t):
                yield item.replace(data=wake, t=t, duration=0)

    def outputs(self) -> Sequence[Output]:
        """Return what it publishes, for discovery."""
        from edgeml.events import Output

        when = "{{ value_json.time }}"
        return (Output(self._event, "sensor", when, device_class="timestamp"),)


class Once:
    """Tells a word once an utterance.

    Again only when its probability fell below the threshold, and the refractory time is over.

    Args:
        refractory: Seconds from one event to the next at least.
    """

    def __init__(self, refractory: float) -> None:
        self._refractory = round(refractory * 1e9)
        self._armed = True
        self._ready_at: int | None = None  # when the refractory time is over

    def restart(self) -> None:
        """Begin anew, but for the refractory time."""
        self._armed = True

    def tells(self, is_heard: bool, t: int) -> bool:
        """Return whether to tell it at time `t`, where it is heard."""
        ready = self._ready_at is None or t >= self._ready_at
        told = is_heard and self._armed and ready
        self._armed = not is_heard
        if told:
            self._ready_at = t + self._refractory
        return told
