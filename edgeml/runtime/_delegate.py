"""The delegate strings: ``entry[,entry…]``, an entry a kind or a delegate with its device."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from edgeml.errors import DelegateError

log = logging.getLogger("edgeml.runtime")

AVAILABLE = ("cpu",)


@dataclass(frozen=True)
class Entry:
    """One entry: ``"openvino:gpu!"`` is name ``openvino``, device ``gpu``, required."""

    name: str
    device: str | None = None
    required: bool = False


def parse(delegate: str) -> tuple[Entry, ...]:
    """Read a delegate string; ``"auto"`` is ``"cpu"`` for now.

    Raises:
        DelegateError: an entry is empty.
    """
    entries = []
    for text in delegate.split(","):
        text = text.strip().lower()
        required = text.endswith("!")
        name, _, device = text.rstrip("!").partition(":")
        if not name:
            raise DelegateError(
                f'delegate {delegate!r}: an entry is empty; expected entry[,entry…], such as "cpu"',
                delegate=delegate,
            )
        entries.append(Entry("cpu" if name == "auto" else name, device or None, required))
    return tuple(entries)


def choose(delegate: str) -> Entry:
    """Return the first entry that can be had; each that cannot is logged.

    Raises:
        DelegateError: none can be had.
    """
    entries = parse(delegate)
    for entry in entries:
        if entry.name in AVAILABLE:
            return entry
        log.warning("delegate %s cannot be had: this version runs models on the CPU", entry.name)
    raise DelegateError(
        f"no delegate of {delegate!r} can be had; available: {', '.join(AVAILABLE)}. Add cpu to "
        f"the list to fall back to it",
        delegate=delegate,
    )
