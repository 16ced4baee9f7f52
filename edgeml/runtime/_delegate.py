"""The delegate strings, ``entry[,entry…]``, and the choice of the first that can be had."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from edgeml.errors import DelegateError, MissingExtra
from edgeml.runtime import _delegates
from edgeml.runtime._availability import AVAILABLE, Availability, Reason, barred
from edgeml.runtime._backend import Backend, Delegate

log = logging.getLogger("edgeml.runtime")

T = TypeVar("T")
DelegateLike = str | Delegate | Sequence[str | Delegate]
AUTO = "auto"
MEASURE = "measure"

_ENTRY = re.compile(r"([a-z][a-z0-9_-]*)(?::([a-z0-9][a-z0-9_.-]*))?(!)?")


def parse(delegate: DelegateLike) -> tuple[Delegate, ...]:
    """Read a delegate string, or a list of such and of `Delegate` objects.

    Raises:
        DelegateError: it is not of the form ``name[:device][!][,…]``.
    """
    if isinstance(delegate, Delegate):
        return (delegate,)
    if isinstance(delegate, str):
        return tuple(_entry(text.strip().lower(), delegate) for text in delegate.split(","))
    return tuple(entry for part in delegate for entry in parse(part))


def _entry(text: str, delegate: str) -> Delegate:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise DelegateError(
            f"delegate {delegate!r}: expected name[:device][!], with commas between several, "
            f'such as "cpu" or "npu,cpu"; received {text!r}',
            delegate=delegate,
        )
    name, device, required = match.groups()
    return Delegate(name, device, required is not None)


def first(
    delegate: DelegateLike, model_format: str, make: Callable[[Delegate, Backend], T]
) -> tuple[T, Delegate]:
    """Return what `make` makes with the first delegate that can be had, and the delegate.

    Each that cannot is logged with the reason, as is each with which `make` raises a
    DelegateError: a plugin may register, find its device and fail only then.

    Raises:
        DelegateError: none can be had, or an option is wrong.
    """
    entries = parse(delegate)
    for entry in entries:
        if entry.name not in (*_delegates.KINDS, AUTO) and (backend := _delegates.find(entry.name)):
            backend.check(entry)
    refused = []
    for candidate, found in _candidates(entries, model_format):
        backend = _delegates.find(candidate.name)
        if found and backend is not None:
            if found.reason is Reason.SIMULATED:
                log.warning("delegate %s: %s: its time says nothing", candidate, found)
            try:
                backend.check(candidate)  # of a kind: each may have other options
                return make(candidate, backend), candidate
            except DelegateError as error:
                found = Availability(Reason.BROKEN, str(error))
        refused.append(f"{candidate}: {found}")
        log.warning("delegate %s", refused[-1])
    asked = ",".join(map(str, entries))
    raise DelegateError(
        f"no delegate of {asked!r} can be had: {'; '.join(refused)}. Add cpu to the list to "
        "fall back to it",
        delegate=asked,
    )


def _candidates(
    entries: Sequence[Delegate], model_format: str
) -> Iterator[tuple[Delegate, Availability]]:
    """Yield the delegates of entries, in order, with whether each can be had."""
    for entry in entries:
        if entry.name == AUTO:
            yield Delegate("cpu"), AVAILABLE
        elif entry.name in _delegates.KINDS:
            yield from _of_kind(entry, model_format)
        else:
            yield entry, availability(entry, model_format)


def _of_kind(
    entry: Delegate, model_format: str = "onnx"
) -> Iterator[tuple[Delegate, Availability]]:
    """Yield the delegates of a kind that can be had; the kind itself if there is none."""
    reasons = []
    for candidate in every(entry.name):
        candidate = Delegate(candidate.name, candidate.device, entry.required, **entry.options)
        found = availability(candidate, model_format)
        if found.reason is Reason.AVAILABLE:
            yield candidate, found
        else:
            reasons.append(f"{candidate}: {found}")
    if entry.device is not None:
        reasons.insert(0, "a kind has no devices; name the delegate instead")
    yield (
        entry,
        Availability(
            Reason.NO_DEVICE, f"no {entry.name.upper()} can be had ({'; '.join(reasons)})"
        ),
    )


def every(kind: str | None = None) -> Iterator[Delegate]:
    """Yield each delegate on each of its devices; only those of a kind, if one is given."""
    for name in _delegates.names():
        backend = _delegates.find(name)
        if backend is None:
            continue
        if kind is None and not backend.devices:
            yield Delegate(name)
        for device, its_kind in backend.devices.items():
            if kind in (None, its_kind):
                yield Delegate(name, device)


def availability(entry: Delegate, model_format: str = "onnx") -> Availability:
    """Return whether one delegate can be had for models of a format."""
    if entry.name == MEASURE:
        return Availability(Reason.WRONG_FORMAT, "only edgeml.load can measure, as it has a file")
    backend = _delegates.find(entry.name)
    if backend is None:
        there = _delegates.names()
        near = difflib.get_close_matches(entry.name, [*there, *_delegates.KINDS], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return Availability(
            Reason.UNKNOWN, f"no delegate has this name; there are {', '.join(there)}{hint}"
        )
    if model_format not in backend.formats:
        return Availability(
            Reason.WRONG_FORMAT,
            f"it runs {' and '.join(backend.formats)} models, and this is {model_format}",
        )
    if not backend.has_device(entry.device):
        devices = ", ".join(backend.devices) or "none to choose from"
        return Availability(
            Reason.NO_DEVICE, f"it has no device {entry.device!r}; its devices: {devices}"
        )
    return _permitted(backend, entry.device)


def _permitted(backend: Backend, device: str | None) -> Availability:
    """Return whether a delegate can be had; without permission none of its devices is found."""
    found = backend.available(device)
    if found.reason in (Reason.NOT_INSTALLED, Reason.WRONG_VERSION):
        return found
    nodes = backend.nodes.get(device or next(iter(backend.devices), ""), ())
    why = barred(nodes)
    return found if why is None else why


def available(delegate: str | Delegate) -> Availability:
    """Return whether a delegate, or one of a kind, can be had here, and if not, why.

    Args:
        delegate: One entry, such as ``"openvino:gpu"`` or ``"npu"``.

    Raises:
        DelegateError: it is not of the form ``name[:device]``.

    Example:
        >>> from edgeml.runtime import available
        >>> available("opnvino").reason.value
        'unknown'
    """
    (entry, *others) = parse(delegate)
    if others:
        raise DelegateError(
            f"available() takes one entry; received {delegate!r}", delegate=str(delegate)
        )
    try:
        if entry.name in _delegates.KINDS:
            return next(_of_kind(entry))[1]
        return availability(entry)
    except MissingExtra as error:
        return _without_runtime(error)


def delegates() -> dict[str, Availability]:
    """Return every delegate, ours and others', on each of its devices: whether it can be had.

    Example:
        >>> from edgeml.runtime import delegates
        >>> bool(delegates()["cpu"])
        True
    """
    found = {}
    for entry in every():
        backend = _delegates.find(entry.name)
        if backend is not None:
            try:
                found[str(entry)] = _permitted(backend, entry.device)
            except MissingExtra as error:
                found[str(entry)] = _without_runtime(error)
    return found


def _without_runtime(error: MissingExtra) -> Availability:
    return Availability(Reason.NOT_INSTALLED, str(error))
