"""Taking examples from a live source."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.personalize._head import UNKNOWN
from edgeml.personalize._onset import Cutter, Rejected, cutter_for
from edgeml.streams import Sample

if TYPE_CHECKING:
    from edgeml.personalize._learner import Learner


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of collecting.

    Attributes:
        state: "countdown", "kept" or "rejected".
        left: Seconds of the countdown, or examples that are still wanted.
        example: Number of the example that was kept, unless others were kept instead.
        reason: Why a sample was rejected.

    Example:
        >>> from edgeml.personalize import Progress
        >>> Progress("kept", 4, example=12)
        Progress(state='kept', left=4, example=12, reason='')
    """

    state: Literal["countdown", "kept", "rejected"]
    left: float
    example: int | None = None
    reason: str = ""


class Collection:
    """Examples that are being taken from a source; made by `Learner.collect`.

    Iterating yields a `Progress` for each second of the countdown and for each sample that was
    tried. Samples with nothing in them, and such as were seen already, are rejected and told
    why. Leaving the block closes the source; the examples stay.

    A backbone that takes windows of sound or motion finds them itself in a source of shorter
    pieces: what is said, by `Utterances`, or a movement, by `Gestures`. For the label
    ``"unknown"`` everything counts, window after window.

    Example:
        >>> import asyncio, tempfile, numpy as np
        >>> from edgeml.personalize import Learner
        >>> from edgeml.streams import Source
        >>> rng = np.random.default_rng(0)
        >>> async def main():
        ...     windows = Source.of([rng.normal(size=(100, 6)) for _ in range(9)])
        ...     learner = Learner("edgeml:activity_watch_int8.onnx", store=tempfile.mkdtemp())
        ...     async with learner.collect("wave", windows, count=3, countdown=0) as collection:
        ...         kept = [p.example async for p in collection if p.state == "kept"]
        ...     learner.close()
        ...     return kept
        >>> asyncio.run(main())
        [1, 2, 3]
    """

    def __init__(
        self, learner: Learner, label: str, source: Any, count: int, countdown: float,
        every: float, subject: str,
    ) -> None:  # fmt: skip
        if count < 1 or countdown < 0 or every < 0:
            raise ConfigError(
                "collect: expected count of at least 1, countdown and every of 0 or more seconds; "
                f"received {count!r}, {countdown!r}, {every!r}"
            )
        self._learner = learner
        self._label = label
        self._source = source
        self._count = count
        self._countdown = countdown
        self._every = every
        self._subject = subject
        self._steps: AsyncIterator[Progress] | None = None
        self._items: Any = None
        self._cutter: Cutter | None = None

    async def __aenter__(self) -> Self:
        self._steps = self._run()
        return self

    def __aiter__(self) -> AsyncIterator[Progress]:
        if self._steps is None:
            raise ConfigError("collect is used as: async with learner.collect(…) as collection")
        return self._steps

    async def done(self) -> list[Progress]:
        """Take all that is still wanted; return the steps."""
        return [step async for step in self]

    async def __aexit__(self, *exc_info: object) -> None:
        for part in (self._steps, self._items):
            close = getattr(part, "aclose", None)
            if close is not None:
                await close()
        self._steps = None

    async def _run(self) -> AsyncIterator[Progress]:
        left = self._countdown
        while left > 0:
            yield Progress("countdown", left)
            await asyncio.sleep(min(1.0, left))
            left -= 1.0
        wanted, began = self._count, time.monotonic_ns()
        self._last: int | None = None
        self._items = aiter(self._source)
        async for item in self._items:
            # What a live source has waited with is of before the countdown's end.
            if isinstance(item, Sample) and 0 < item.arrived < began and self._countdown:
                continue
            for sample in await asyncio.to_thread(self._cut, item):
                step = await self._tried(sample, wanted)
                wanted -= step.state == "kept"
                yield step
                if not wanted:
                    return
        for sample in () if self._cutter is None else self._cutter.flush():
            step = await self._tried(sample, wanted)
            wanted -= step.state == "kept"
            yield step
            if not wanted:
                return
        raise DataError(
            f"the source ended after {self._count - wanted} of {self._count} examples of "
            f"{self._label!r}, which are kept"
        )

    def _cut(self, item: Any) -> list[Any]:
        """Return the samples to try: the item itself, or what is cut out of it and those before."""
        signal = self._learner.backbone.signal
        data = item.data if isinstance(item, Sample) else item
        if self._cutter is None and signal is not None and np.shape(data)[:1] != (signal.window,):
            self._cutter = cutter_for(signal, everything=self._label == UNKNOWN)
        if self._cutter is not None:
            return list(self._cutter.push(item))
        if isinstance(item, Sample):
            if self._last is not None and 0 <= item.t - self._last < self._every * 1e9:
                return []
            self._last = item.t
        return [item]

    async def _tried(self, sample: Any, wanted: int) -> Progress:
        if isinstance(sample, Rejected):
            return Progress("rejected", wanted, reason=sample.reason)
        return await asyncio.to_thread(self._add, sample, wanted)

    def _add(self, sample: Any, wanted: int) -> Progress:
        try:
            number = self._learner.add(self._label, sample, subject=self._subject)
        except DataError as error:
            return Progress("rejected", wanted, reason=str(error))
        return Progress("kept", wanted - 1, example=number)
