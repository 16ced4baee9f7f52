"""A simulated sysfs tree."""

from __future__ import annotations

import os
from pathlib import Path


class FakeIIO:
    r"""An industrial I/O device in a folder: pass `root` to `edgeml.devices.IIO`.

    Args:
        folder: An empty folder, such as pytest's ``tmp_path``.
        name: Name of the chip.
        number: Number of the device; several fakes may share a folder.

    Attributes:
        root: The folder with the devices.
        path: The folder of this device.

    Example:
        >>> import tempfile
        >>> chip = FakeIIO(tempfile.mkdtemp(), "bh1750")
        >>> chip.set("in_illuminance_input", 120)
        >>> (chip.path / "in_illuminance_input").read_text()
        '120\n'
    """

    def __init__(self, folder: str | os.PathLike[str], name: str = "fake", number: int = 0) -> None:
        self.root = Path(folder)
        self.name = name
        self.path = self.root / f"iio:device{number}"
        self._hidden = self.root / f".gone{number}"
        self.path.mkdir(parents=True)
        self.set("name", name)

    def set(self, file: str, value: float | str) -> None:
        """Write a file of the device, as the kernel would, in one step."""
        folder = self._hidden if self._hidden.exists() else self.path
        temporary = folder / f".{file}"
        temporary.write_text(f"{value}\n")
        temporary.replace(folder / file)

    def remove(self, file: str) -> None:
        """Remove one file."""
        (self.path / file).unlink()

    def unplug(self) -> None:
        """Take the device away."""
        self.path.rename(self._hidden)

    def plug_in(self) -> None:
        """Bring it back."""
        self._hidden.rename(self.path)
