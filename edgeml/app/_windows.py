"""What a backbone takes, cut out of a stream: windows of motion or of sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import InputError, ModelError
from edgeml.streams import Sample
from edgeml.tasks._arguments import number_in, rate_in, whole_in
from edgeml.tasks._windows import Readings

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Grid:
    """How a window is made.

    Args:
        kind: "motion" or "audio".
        rate: Readings, or samples of sound, a second.
        window: How many a window has.
        hop: How many from one window to the next.
        channels: Names of the channels of motion.
        max_gap: Seconds between readings above which a window begins anew.
    """

    kind: str
    rate: float
    window: int
    hop: int
    channels: Sequence[str] = ()
    max_gap: float = 0.2

    @classmethod
    def of(cls, spec: Any, shape: Sequence[Any]) -> Grid | None:
        """Return what metadata and the input's shape say; None for what comes whole.

        Raises:
            ModelError: the metadata hold no such numbers.
        """
        kind, window = spec.get("type"), spec.get("window", shape[1] if len(shape) == 2 else None)
        motion = kind == "motion" and {"sample_rate", "window", "channels"} <= set(spec)
        if not motion and not (kind == "audio" and len(shape) == 2 and isinstance(window, int)):
            return None
        try:
            rate, window = rate_in(spec), whole_in({"window": window}, "window")
            hop = number_in(spec, "hop", window if motion else max(1, window // 2), least=1)
        except (KeyError, ValueError) as error:
            raise ModelError(
                "the model's metadata edgeml.preprocess: expected positive numbers for "
                f"sample_rate, window and hop; wrong at {error}"
            ) from error
        return cls(kind, rate, window, int(hop), tuple(spec["channels"]) if motion else ())

    @property
    def _period(self) -> float:
        return 1e9 / self.rate

    @property
    def _hop(self) -> int:
        return round(self.hop * 1e9 / self.rate)


class Windows:
    """Cuts the samples of each source into windows.

    Args:
        grid: How.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._of: dict[str, Any] = {}

    def __call__(self, sample: Sample[Any]) -> Iterator[Sample[Any]]:
        """Yield the windows that a sample completes."""
        make: Any = Readings if self.grid.kind == "motion" else _Sound
        part = self._of.setdefault(sample.source, make(self.grid))
        cut = self._motion if self.grid.kind == "motion" else self._sound
        for start, window in cut(part, sample):
            length = round(self.grid.window * self.grid._period)
            yield sample.replace(data=window, t=start, duration=length)

    def _motion(self, part: Any, sample: Sample[Any]) -> Iterator[tuple[int, Array]]:
        rows = np.atleast_2d(np.asarray(sample.data, np.float32))
        if rows.ndim != 2 or rows.shape[1] != len(self.grid.channels):
            raise self._refuse(f"readings of {len(self.grid.channels)} channels "
                               f"({', '.join(self.grid.channels)})", rows.shape)  # fmt: skip
        times = sample.t + np.arange(len(rows)) * (sample.duration / max(1, len(rows)))
        if part.is_gap(int(times[0])) or sample.meta.get("discontinuity"):
            part.reset()
        yield from part.push(times.astype(np.int64).tolist(), rows)

    def _sound(self, part: _Sound, sample: Sample[Any]) -> Iterator[tuple[int, Array]]:
        block = np.asarray(sample.data, np.float32)
        rate = 1e9 * len(block) / sample.duration if block.ndim and sample.duration else 0.0
        if block.ndim != 1 or abs(rate - self.grid.rate) > 0.01 * self.grid.rate:
            raise self._refuse(f"sound of one channel at {self.grid.rate:g} samples a second",
                               f"{block.shape} at {rate:.0f} a second")  # fmt: skip
        yield from part.push(sample.t, block, new=bool(sample.meta.get("discontinuity")))

    def _refuse(self, expected: str, received: Any) -> InputError:
        return InputError(
            f"expected {expected}; received {received}. Set it at the source",
            name="window", expected=expected, received=received,
        )  # fmt: skip


class _Sound:
    """One source of sound: what is still needed of it."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._kept = np.empty(0, np.float32)
        self._start = 0  # time of the first that is kept, ns

    def push(self, t: int, block: Array, *, new: bool) -> Iterator[tuple[int, Array]]:
        """Add a block, and yield the windows that are complete, with their start times."""
        grid = self._grid
        if new or not len(self._kept):
            self._kept, self._start = self._kept[:0], t
        self._kept = np.concatenate([self._kept, block])
        while len(self._kept) >= grid.window:
            yield self._start, self._kept[: grid.window].copy()
            self._kept = self._kept[grid.hop :]
            self._start += grid._hop
