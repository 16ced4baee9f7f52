"""The delegate strings: ``entry[,entry…]``, an entry a kind or a delegate with its device."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

from edgeml.errors import DelegateError
from edgeml.runtime import _openvino
from edgeml.runtime._availability import AVAILABLE, Availability, Reason

log = logging.getLogger("edgeml.runtime")

NAMES = ("cpu", "openvino")

_ENTRY = re.compile(r"([a-z][a-z0-9_-]*)(?::([a-z0-9][a-z0-9_.-]*))?(!)?")


@dataclass(frozen=True)
class Entry:
    """One entry: ``"openvino:gpu!"`` is name ``openvino``, device ``gpu``, required."""

    name: str
    device: str | None = None
    required: bool = False

    def __str__(self) -> str:
        return self.name + (f":{self.device}" if self.device else "")


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
        found = available(entry)
        if found:
            return entry
        reasons.append(f"{entry}: {found}")
        log.warning("delegate %s", reasons[-1])
    raise DelegateError(
        f"no delegate of {delegate!r} can be had ({'; '.join(reasons)}). Add cpu to the list to "
        "fall back to it",
        delegate=delegate,
    )


def available(entry: Entry) -> Availability:
    """Return whether an entry can be had here."""
    if entry.name == "openvino":
        return _openvino.available(entry.device)
    if entry.name != "cpu":
        return Availability(
            Reason.UNKNOWN, f"this version runs models on {' and '.join(NAMES)} only"
        )
    if entry.device is not None:
        return Availability(Reason.NO_DEVICE, "the CPU has no devices to choose from")
    return AVAILABLE


def attach(entry: Entry, options: Any, threads: int) -> list[Any]:
    """Set a session's options for an entry, and return the providers to open it with."""
    if entry.name == "cpu":
        return ["CPUExecutionProvider"]
    if entry.required:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return _openvino.attach(options, entry.device, threads)
