"""Where the files named in a device string are."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from edgeml.errors import DeviceNotFound

_SHIPPED = "edgeml:"


def media_path(device: str | os.PathLike[str]) -> Path:
    """Return the path of a media file; ``"edgeml:NAME"`` is one that ships with edgeml.

    Raises:
        DeviceNotFound: there is no such file.
    """
    text = os.fspath(device)
    if text.startswith(_SHIPPED):
        folder = Path(str(resources.files("edgeml") / "media"))
        path = folder / text.removeprefix(_SHIPPED)
        shipped = sorted(p.name for p in folder.glob("*")) if folder.is_dir() else []
        if path.parent != folder or not path.is_file():
            raise DeviceNotFound(
                f"{text} does not ship with edgeml; expected one of: {', '.join(shipped)}",
                device=text,
            )
        return path
    path = Path(text).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DeviceNotFound(f"{path} {what}; expected the path of a file", device=text)
    return path
