"""The step after each task: results become events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeml.events import Event
from edgeml.streams import Clock, Sample, Stage


class Report(Stage):
    """Makes an event of each result, tells somebody, and passes it on.

    It is sync, so it runs in a worker thread: a slow listener never holds up the loop.

    Args:
        task: The task whose results come.
        tell: Called with each event.
        name: The stage's name.
    """

    def __init__(self, task: str, tell: Callable[[Event], None], *, name: str) -> None:
        super().__init__(name=name)
        self._task = task
        self._tell = tell
        self._clock = Clock()

    def __call__(self, sample: Sample[Any]) -> Sample[Event]:
        """Report one result."""
        event = Event.of(sample, self._clock, self._task)
        self._tell(event)
        return sample.with_data(event)
