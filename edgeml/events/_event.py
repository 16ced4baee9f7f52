"""Events: what is published, and its schema."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from edgeml.streams import Clock, Sample

SCHEMA = 1

_MAX_VALUES = 4096  # of one array; more is data, not an event


@dataclass(frozen=True)
class Event:
    """A result of a task, or a reading of a source.

    Attributes:
        source: Name of the source.
        task: Name of the task; empty for a reading.
        time: Wall time of the capture, UTC.
        t_ns: Capture time on the pipeline's clock, ns.
        data: What was found, in JSON's types; `as_json` has been applied to it.

    Raises:
        TypeError: `data` cannot be expressed in JSON, such as a picture.
        ValueError: `time` has no time zone.

    Example:
        >>> from edgeml.events import Event
        >>> from edgeml.streams import Clock, Sample
        >>> Event.of(Sample(21.5, t=0, arrived=0, source="room"), Clock()).data
        21.5
    """

    source: str
    task: str
    time: datetime.datetime
    t_ns: int
    data: Any

    def __post_init__(self) -> None:
        if self.time.tzinfo is None:
            raise ValueError(f"time must have a time zone, such as UTC; received {self.time}")
        object.__setattr__(self, "data", as_json(self.data))

    @classmethod
    def of(cls, sample: Sample[Any], clock: Clock, task: str = "") -> Event:
        """Make the event of a sample whose data is a result.

        Raises:
            TypeError: the result cannot be expressed in JSON, such as a picture.
        """
        return cls(sample.source, task, clock.wall(sample.t), sample.t, sample.data)

    def to_dict(self) -> dict[str, Any]:
        """Return what is published; `schema` describes it."""
        time = self.time.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
        return {
            "type": "event", "schema": SCHEMA, "source": self.source, "task": self.task,
            "time": time.replace("+00:00", "Z"), "t_ns": self.t_ns, "data": self.data,
        }  # fmt: skip

    def to_json(self) -> str:
        """Return what is published, as text."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a published event."""
    text = resources.files("edgeml").joinpath("events/event.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def as_json(value: Any) -> Any:
    """Return a result in JSON's types; NaN and infinity become None.

    Raises:
        TypeError: it cannot be expressed, such as a picture.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Sample):
        return as_json(value.data)
    if hasattr(value, "to_dict"):
        return as_json(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray) and value.size <= _MAX_VALUES:
        return as_json(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(each) for each in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    what = f"an array of {value.size} values" if isinstance(value, np.ndarray) else type(value)
    raise TypeError(
        f"an event's data must be made of numbers, texts, lists, mappings and dataclasses; "
        f"received {what}. Put a stage before the sink that returns what shall be published"
    )
