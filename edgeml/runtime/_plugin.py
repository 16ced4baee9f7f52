"""Execution providers that install beside the stock onnxruntime and are registered at run time."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from edgeml._require import require
from edgeml.errors import DelegateError
from edgeml.runtime._availability import AVAILABLE, Availability, Reason
from edgeml.runtime._backend import Backend, Delegate
from edgeml.runtime._errors import reason


class Plugin(Backend):
    """A delegate whose provider is a plugin.

    Attributes:
        module: The plugin's import name; it has ``get_library_path()``.
        oldest: First release of onnxruntime that loads such plugins.
    """

    module: str
    oldest = "1.23"

    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had on a device; see `Backend.available`."""
        ort = runtime()
        if importlib.util.find_spec(self.module) is None:
            return Availability(
                Reason.NOT_INSTALLED,
                f"{self.module} is not installed",
                f"pip install {self.packages[0]}",
            )
        if not hasattr(ort, "register_execution_provider_library"):
            return Availability(
                Reason.WRONG_VERSION,
                f"it needs onnxruntime {self.oldest} or newer, there is {ort.__version__}",
                f'pip install "onnxruntime>={self.oldest}"',
            )
        try:
            found = self.found(device)
        except Exception as error:  # whatever a driver raises
            return Availability(
                Reason.WRONG_VERSION if re.search(r"\bAPI\b", str(error)) else Reason.BROKEN,
                f"onnxruntime {ort.__version__} cannot load it: {reason(error)}",
                f"pip install --upgrade onnxruntime {self.packages[0]}",
            )
        return AVAILABLE if found else self.without_device(device)

    def without_device(self, device: str | None) -> Availability:
        """Return why it can be loaded and not be had."""
        kind = self.devices[device or next(iter(self.devices))]
        return Availability(Reason.NO_DEVICE, f"its plugin finds no {kind.upper()} here")

    def found(self, device: str | None) -> list[Any]:
        """Return the runtime's devices of the provider, registering it first where needed."""
        ort = runtime()
        there = [entry for entry in ort.get_ep_devices() if entry.ep_name == self.provider]
        if not there:
            path = importlib.import_module(self.module).get_library_path()
            try:
                ort.register_execution_provider_library(self.provider, path)
            except Exception as error:  # registered before, on a machine without devices for it
                if "already registered" not in str(error):
                    raise
            there = [entry for entry in ort.get_ep_devices() if entry.ep_name == self.provider]
        return [entry for entry in there if self.is_on(entry, device)]

    def is_on(self, entry: Any, device: str | None) -> bool:
        """Return whether a device of the runtime is the one asked for."""
        return True

    def add(self, options: Any, delegate: Delegate, settings: dict[str, str]) -> list[Any]:
        """Add the provider on the first of its devices.

        Raises:
            DelegateError: the device has gone.
        """
        devices = self.found(delegate.device)
        if not devices:
            raise DelegateError(
                f"{delegate}: its device has gone since it was found. Connect it again, or add "
                "cpu to the list of delegates",
                delegate=str(delegate),
            )
        options.add_provider_for_devices(devices[:1], settings)
        return []


def runtime() -> Any:
    """Return onnxruntime."""
    return require("onnxruntime", extra="cpu", purpose="A delegate")
