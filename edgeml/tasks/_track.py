"""Things that stay the same thing from frame to frame."""

from __future__ import annotations

from typing import Any

from edgeml.streams import Sample
from edgeml.tasks._arguments import check_seconds
from edgeml.tasks._results import Detection, Detections
from edgeml.tasks._timing import Timed


class Track(Timed):
    """Number the things in `Detections`, and keep those that are missed for a moment.

    A detection continues the track of the same label that it overlaps most. A track without
    one is reported at its last place until it is older than `hold`. Tracks are numbered from
    1 for each source.

    Args:
        hold: How long a thing that is not found stays, seconds of sample time.
        iou: Least overlap of a thing with its place in the last result, 0 to 1.
        name: Of the stage.
    """

    def __init__(self, hold: float, *, iou: float = 0.3, name: str | None = None) -> None:
        check_seconds("Track", hold=hold)
        super().__init__(name)
        self.hold = hold
        self.iou = iou

    def _next(self, sample: Sample[Any]) -> Any:
        tracks = self._memory.setdefault(sample.source, _Tracks())
        return sample.with_data(tracks.update(sample.data, sample.t, self.hold, self.iou))


class _Tracks:
    """The tracks of one source."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[Detection, int]] = {}  # track: (last detection, when)
        self.count = 0

    def update(self, found: Detections, t: int, hold: float, least: float) -> Detections:
        self.seen = {n: (d, at) for n, (d, at) in self.seen.items() if t - at <= hold * 1e9}
        pairs = sorted(
            (
                (overlap, -number, index)
                for index, new in enumerate(found)
                for number, (old, _) in self.seen.items()
                if new.label == old.label and (overlap := new.box.iou(old.box)) >= least
            ),
            reverse=True,
        )
        taken: dict[int, int] = {}  # index of a detection: track
        for _, negative, index in pairs:
            if index not in taken and -negative not in taken.values():
                taken[index] = -negative
        for index, new in enumerate(found):
            if (number := taken.get(index)) is None:
                number = self.count = self.count + 1
            self.seen[number] = (new.with_track(number), t)
        known = (detection for detection, _ in self.seen.values())
        return Detections(sorted(known, key=lambda d: -d.score))
