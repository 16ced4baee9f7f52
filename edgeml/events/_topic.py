"""Topics and topic filters."""

from __future__ import annotations

from difflib import get_close_matches
from string import Formatter

_MAX_BYTES = 65_535  # of a topic, by MQTT's two bytes of length


def format_topic(template: str, **values: str) -> str:
    """Fill in a topic template; empty values leave no empty level behind.

    Raises:
        ValueError: the template has an unknown field or a wildcard, or a value has one.
    """
    try:
        parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"topic {template!r}: {error}") from None
    fields = [str(name) for name, _, _ in parts]
    if any(spec or conversion for _, spec, conversion in parts):
        raise ValueError(f"topic {template!r}: fields take no : or !, only their name")
    known = ", ".join(f"{{{v}}}" for v in values)
    for name in fields:
        if name not in values:
            near = get_close_matches(name, values, 1)
            hint = f"; did you mean {{{near[0]}}}?" if near else ""
            raise ValueError(f"topic {template!r}: unknown field {{{name}}}{hint} Known: {known}")
    for name in fields:
        if set("+#\0") & set(values[name]):
            raise ValueError(f"topic {template!r}: {name} {values[name]!r} has a wildcard, + or #")
    filled = "/".join(level for level in template.format(**values).split("/") if level)
    if set("+#\0") & set(filled):
        raise ValueError(f"topic {template!r}: + and # are for subscribing; use fields: {known}")
    if not filled or len(filled.encode()) > _MAX_BYTES:
        raise ValueError(f"topic {template!r}: expected 1 to {_MAX_BYTES} bytes when filled in")
    return filled


def check_filter(topic: str) -> None:
    """Check a topic filter.

    Raises:
        ValueError: a wildcard stands where none may, or the filter is empty or too long.
    """
    if not topic or "\0" in topic or len(topic.encode()) > _MAX_BYTES:
        raise ValueError(f"topic filter {topic!r}: expected 1 to {_MAX_BYTES} bytes without NUL")
    levels = topic.split("/")
    for place, level in enumerate(levels, 1):
        if "#" in level and (level != "#" or place != len(levels)):
            raise ValueError(
                f"topic filter {topic!r}: # must be the whole last level, such as 'home/#'"
            )
        if "+" in level and level != "+":
            raise ValueError(
                f"topic filter {topic!r}: + must be a whole level, such as 'home/+/motion'"
            )
