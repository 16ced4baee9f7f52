"""The delegate strings: ``entry[,entry…]``, an entry a kind or a delegate with its device."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from edgeml.errors import DelegateError

log = logging.getLogger("edgeml.runtime")

AVAILABLE = ("cpu",)

_ENTRY = re.compile(r"([a-z][a-z0-9_-]*)(?::([a-z0-9][a-z0-9_.-]*))?(!)?")


@dataclass(frozen=True)
class Entry:
    """One entry: ``"openvino:gpu!"`` is name ``openvino``, device ``gpu``, required."""

    name: str
    device: str | None = None
    required: bool = False


def parse(delegate: str) -> tuple[Entry, ...]:
    """Read a delegate string.

    Raises:
        DelegateError: it is not of the form ``name[:device][!][,…]``.
    """
    return tuple(_entry(text.strip().lower(), delegate) for text in delegate.split(","))


def _entry(text: str, delegate: str) -> Entry:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise DelegateError(
            f"delegate {delegate!r}: expected name[:device][!], with commas between several, "
            f'such as "cpu" or "npu,cpu"; received {text!r}',
            delegate=delegate,
        )
    name, device, required = match.groups()
    return Entry(name, device, required is not None)


def choose(delegate: str) -> Entry:
    """Return the first entry that can be had; each that cannot is logged with the reason.

    Raises:
        DelegateError: none can be had.
    """
    reasons = []
    for entry in parse(delegate):
        if entry.name == "auto":
            log.debug('delegate "auto": the CPU')
            return Entry("cpu")
        if entry.name not in AVAILABLE:
            reasons.append(f"{entry.name}: this version runs models on the CPU only")
        elif entry.device is not None:
            reasons.append(f"{entry.name}:{entry.device}: the CPU has no devices to choose from")
        else:
            return entry
        log.warning("delegate %s", reasons[-1])
    raise DelegateError(
        f"no delegate of {delegate!r} can be had ({'; '.join(reasons)}); available: "
        f"{', '.join(AVAILABLE)}. Add cpu to the list to fall back to it",
        delegate=delegate,
    )
