"""An event as one line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeml.cli._output import printable

if TYPE_CHECKING:
    from edgeml.events import Event

_WIDTH = 100


def line_of(event: Event) -> str:
    """Return an event as a line: time of day (UTC), source, task, what was found."""
    who = f"{event.source} {event.task}".strip()
    time = event.time.strftime("%H:%M:%S.%f")[:-3]
    text = printable(f"{time}  {who}: {describe(event.data)}").replace("\n", "?")
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def describe(data: Any) -> str:
    """Return a result in words."""
    if not isinstance(data, dict):
        return _value(data)
    if isinstance(data.get("counts"), dict):
        found = ", ".join(f"{n} {label}" for label, n in data["counts"].items())
        return found or "nothing"
    if isinstance(data.get("label"), str) and isinstance(data.get("score"), float):
        return f"{data['label']} {data['score']:.0%}"
    return ", ".join(f"{key} {_value(value)}" for key, value in data.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | dict) and len(value) > 3:
        return f"({len(value)})"
    return str(value)
