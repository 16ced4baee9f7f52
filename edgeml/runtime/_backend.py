"""What a delegate is: the one small contract that ours and those of others keep."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from types import MappingProxyType
from typing import Any, Literal

from edgeml.errors import DelegateError
from edgeml.runtime._availability import Availability

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, init=False)
class Delegate:
    """A delegate with its device and options, where a string does not say enough.

    Args:
        name: Name of a delegate, or a kind: ``"npu"``, ``"gpu"``, ``"cpu"``.
        device: Which of its devices; None is its first.
        required: Whether every node must run there; else those that it does not take run on
            the CPU, which the log and `Session.placement` say.
        **options: By the delegate; see `edgeml.runtime.delegates`.

    Example:
        >>> from edgeml.runtime import Delegate
        >>> str(Delegate("openvino", device="GPU", precision="fp16"))
        'openvino:gpu'
    """

    name: str
    device: str | None
    required: bool
    options: Mapping[str, Any] = field(hash=False)

    def __init__(
        self, name: str, device: str | None = None, required: bool = False, **options: Any
    ) -> None:
        object.__setattr__(self, "name", name.lower())
        object.__setattr__(self, "device", None if device is None else str(device).lower())
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "options", MappingProxyType(options))

    def __str__(self) -> str:
        return self.name + (f":{self.device}" if self.device else "")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types; ``Delegate(**d)`` makes it again."""
        return {
            "name": self.name, "device": self.device, "required": self.required, **self.options
        }  # fmt: skip


class Backend(ABC):
    """What makes a delegate usable. Third parties write one and name it as an entry point.

    Such as, in their ``pyproject.toml``::

        [project.entry-points."edgeml.delegates"]
        toaster = "toaster_edgeml:ToasterBackend"

    Attributes:
        name: What delegate strings call it.
        provider: The execution provider's name in ONNX Runtime.
        devices: Kind (``"cpu"``, ``"gpu"``, ``"npu"``) by device; the first is the default.
        formats: Which models it runs: ``"onnx"``, ``"tflite"``.
        options: By name, the values that an option may have, or their type. All for ONNX models
            have ``dims``, sizes of free dimensions by name.
        packages: Distributions whose versions decide how fast it is.
        nodes: By device, patterns of the device nodes that it opens, such as
            ``("/dev/dri/renderD*",)``: where they are and may not be opened, that is why it
            cannot be had.
        engines: How what it compiles for a model can be kept: ``"context"``, the runtime writes
            it as a model (EPContext); ``"folder"``, it keeps it itself, in the folder that
            `attach` finds as ``delegate.options["cache"]``; None, there is nothing to keep.
            Those that have some take ``cache=False``.
    """

    name: str
    provider: str = ""
    devices: Mapping[str, str] = _NONE
    formats: Collection[str] = ("onnx",)
    options: Mapping[str, tuple[Any, ...] | type] = _NONE
    packages: tuple[str, ...] = ()
    nodes: Mapping[str, tuple[str, ...]] = _NONE
    engines: Literal["context", "folder"] | None = None

    @abstractmethod
    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had on one of its devices; None is the first."""

    @abstractmethod
    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Add it to an ``onnxruntime.SessionOptions``.

        Args:
            options: To change.
            delegate: With its device and checked options.
            threads: Threads of one call, for devices that share the CPU.

        Returns:
            The providers to open the session with; none where the options hold them.
        """

    def wrap(self, session: Any, delegate: Delegate) -> Any:
        """Return what is called in an ``onnxruntime.InferenceSession``'s place.

        For delegates whose calls need more than a session that was opened on them.
        """
        return session

    def precision(self, delegate: Delegate) -> str:
        """Return what float32 models are calculated in: ``"fp32"``, ``"fp16"`` or ``"bf16"``."""
        return str(delegate.options.get("precision", "fp32"))

    def keeps(self, delegate: Delegate) -> bool:
        """Return whether what it compiles is kept for the next load."""
        return self.engines is not None and bool(delegate.options.get("cache", True))

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages that are installed."""
        found = {}
        for package in self.packages:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return found

    def check(self, delegate: Delegate) -> None:
        """Refuse options that it does not have.

        Raises:
            DelegateError: an option is unknown, or has another value.
        """
        known = dict(self.options)
        if "onnx" in self.formats:
            known["dims"] = dict
        if self.engines is not None:
            known["cache"] = (True, False)
        for name, value in delegate.options.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise DelegateError(
                    f"delegate {self.name}: there is no option {name!r}"
                    + (f"; did you mean {near[0]}?" if near else ".")
                    + f" Its options: {', '.join(sorted(known)) or 'none'}",
                    delegate=str(delegate),
                )
            allowed = known[name]
            right = value in allowed if isinstance(allowed, tuple) else isinstance(value, allowed)
            if not right:
                expected = (
                    " or ".join(map(repr, allowed))
                    if isinstance(allowed, tuple)
                    else f"a value of type {allowed.__name__}"
                )
                raise DelegateError(
                    f"delegate {self.name}: {name} expects {expected}, received {value!r}",
                    delegate=str(delegate),
                )
        for dim, size in delegate.options.get("dims", {}).items():
            if not isinstance(size, int) or size < 1:
                raise DelegateError(
                    f"delegate {self.name}: dims expects sizes of at least 1 by the names of free "
                    f"dimensions, such as {{'N': 1}}; received {dim!r}: {size!r}",
                    delegate=str(delegate),
                )

    def has_device(self, device: str | None) -> bool:
        """Return whether a device may be asked for; None is the first."""
        return device is None or device in self.devices
